from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
df = spark.createDataFrame([(1.0, 2.0), (None, 3.0)], "a double, b double")
VectorAssembler(inputCols=["a", "b"], outputCol="features").transform(df).show()
