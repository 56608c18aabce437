from pyspark.sql import SparkSession

spark = SparkSession.builder.master("yarn").getOrCreate()
print(spark.range(3).count())
