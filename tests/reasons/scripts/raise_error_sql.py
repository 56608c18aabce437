from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
spark.range(3).select(F.raise_error(F.lit("a check failed: 3 rows have no key"))).collect()
