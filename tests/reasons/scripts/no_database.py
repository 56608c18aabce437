from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.sql("use sales_db")
