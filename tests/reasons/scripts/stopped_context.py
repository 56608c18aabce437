from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
df = spark.range(3)
spark.stop()
print(df.count())
