from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
df = spark.createDataFrame([("12",), ("n/a",)], ["price"])
df.select(F.col("price").cast("int")).show()
