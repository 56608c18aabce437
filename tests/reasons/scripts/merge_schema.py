from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.createDataFrame([(1, 2)], "id int, n int").write.parquet("s3a://data/merge/day=1")
spark.createDataFrame([(1, "2")], "id int, n string").write.parquet("s3a://data/merge/day=2")
spark.read.option("mergeSchema", True).parquet("s3a://data/merge").show()
