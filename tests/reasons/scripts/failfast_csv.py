from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.createDataFrame([("1,2",), ("x,y",)], ["value"]).coalesce(1).write.text("s3a://data/pairs")
rows = spark.read.schema("a int, b int").option("mode", "FAILFAST").csv("s3a://data/pairs")
print(rows.collect())
