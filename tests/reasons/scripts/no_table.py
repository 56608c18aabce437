from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
sales = spark.read.table("test.salse")
print(sales.count())
