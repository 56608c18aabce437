from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.readStream.format("rate").load().show()
