from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
df = spark.range(3)
df.where(F.col("id") > 0 and F.col("id") < 2).show()
