from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
try:
    spark.read.table("test.nothing_here")
except Exception:
    print(fallback.count())
