from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
spark.range(10).write.mode("overwrite").csv("file:///dev/full/out")
