from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print(spark.read.json("s3a://nobody-has-this-bucket/a.json").count())
