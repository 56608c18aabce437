from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.read.format("delta").load("s3a://data/delta").show()
