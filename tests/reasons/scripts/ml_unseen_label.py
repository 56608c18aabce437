from pyspark.ml.feature import StringIndexer
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
train = spark.createDataFrame([("a",), ("b",)], ["k"])
test = spark.createDataFrame([("c",)], ["k"])
StringIndexer(inputCol="k", outputCol="i").fit(train).transform(test).show()
