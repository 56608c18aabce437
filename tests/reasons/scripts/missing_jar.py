from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.sql("create temporary function f as 'com.example.Missing'")
spark.sql("select f(1)").show()
