from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.sql("select count(*) form test.sales").show()
