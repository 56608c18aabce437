# run: memory=512m
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.config("spark.driver.maxResultSize", "0").getOrCreate()
wide = spark.range(0, 200_000, numPartitions=4).select(F.repeat(F.lit("x"), 10_000).alias("text"))
print(len(wide.collect()))
