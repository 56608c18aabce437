from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
rows = spark.range(int("$limit"))
print(rows.count())
