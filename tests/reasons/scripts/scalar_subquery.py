from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.range(3).createOrReplaceTempView("t")
spark.sql("select (select id from t) as one").show()
