from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.readStream.format("kafka").option("subscribe", "sales").load()
