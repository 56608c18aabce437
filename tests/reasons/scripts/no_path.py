from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
day = "2026-11-09"
sales = spark.read.parquet(f"s3a://data/sales/{day}")
print(sales.count())
