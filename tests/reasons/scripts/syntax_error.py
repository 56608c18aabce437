from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
if spark.range(3).count() == 3
    print("three")
