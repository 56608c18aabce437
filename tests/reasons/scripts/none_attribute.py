from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
shown = spark.range(3).show()
shown.count()
