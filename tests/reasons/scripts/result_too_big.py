from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.config("spark.driver.maxResultSize", "1m").getOrCreate()
wide = spark.range(0, 20_000).select(F.sha2(F.col("id").cast("string"), 512).alias("text"))
print(len(wide.toPandas()))
