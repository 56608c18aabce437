from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.sql("select array(1, 2)[5] as third").show()
