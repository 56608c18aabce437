from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.createDataFrame([('{"a": 1}',), ("{oops",)], ["value"]).coalesce(1).write.text("s3a://data/lines")
rows = spark.read.schema("a int").option("mode", "FAILFAST").json("s3a://data/lines")
print(rows.collect())
