from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.createDataFrame([(1, 2.5)], "id int, price double").write.parquet("s3a://data/drift/day=1")
spark.createDataFrame([(1, "2,5")], "id int, price string").write.parquet("s3a://data/drift/day=2")
spark.read.schema("id int, price double").parquet("s3a://data/drift").agg({"price": "sum"}).show()
