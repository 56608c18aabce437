# run: memory=512m
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
long = spark.range(0, 64, numPartitions=1).select(F.repeat(F.col("id").cast("string"), 20_000_000).alias("text"))
print(long.agg(F.collect_list("text")).collect()[0][0][:1])
