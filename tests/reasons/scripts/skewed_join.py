# run: timeout=90 memory=512m
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.config("spark.sql.autoBroadcastJoinThreshold", -1).getOrCreate()
left = spark.range(0, 30_000).select(F.lit(1).alias("k"), F.repeat(F.lit("x"), 100).alias("v"))
print(left.join(left.withColumnRenamed("v", "w"), "k").agg(F.count(F.concat("v", "w"))).collect())
