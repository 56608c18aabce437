from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
a = spark.createDataFrame([(1, 2)], ["a", "b"])
b = spark.createDataFrame([(1,)], ["a"])
a.union(b).show()
