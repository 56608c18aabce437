from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
left = spark.createDataFrame([(1, "a")], ["id", "name"])
right = spark.createDataFrame([(1, "b")], ["id", "name"])
left.join(right, left.id == right.id).select("name").show()
