from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print(sprak.range(3).count())
