from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
for _ in range(2):
    spark.range(3).write.parquet("s3a://data/out/numbers")
