from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.createDataFrame([("a,b",), ("1,2",)], ["value"]).write.text("s3a://data/plain")
spark.read.parquet("s3a://data/plain").show()
