from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
rows = spark.range(3).count()
assert rows > 1000, f"only {rows} rows arrived"
