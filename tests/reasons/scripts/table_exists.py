from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.sql("create table if not exists kept (n int) using parquet")
spark.sql("create table kept (n int) using parquet")
