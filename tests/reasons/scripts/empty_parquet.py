from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.sparkContext.parallelize([]).saveAsTextFile("s3a://data/empty")
spark.read.parquet("s3a://data/empty").show()
