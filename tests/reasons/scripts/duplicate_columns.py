from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
sales = spark.createDataFrame([(1, "x")], ["id", "item"])
prices = spark.createDataFrame([(1, 2.5)], ["id", "price"])
sales.join(prices, sales.id == prices.id).write.parquet("s3a://data/out/pairs")
