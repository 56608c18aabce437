from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.createDataFrame([("{oops",)], ["value"]).write.text("s3a://data/oops")
spark.read.json("s3a://data/oops").select("_corrupt_record").show()
