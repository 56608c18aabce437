from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
df = spark.createDataFrame([(1, [1, 2])], ["id", "items"])
df.select(F.col("id") + F.col("items")).show()
