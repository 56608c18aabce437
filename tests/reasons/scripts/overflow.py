from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
df = spark.createDataFrame([(2147483647,)], "n int")
df.select(F.col("n") + F.lit(1).cast("int")).show()
