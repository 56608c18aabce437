import ctypes

from pyspark.sql import SparkSession
from pyspark.sql.functions import udf

spark = SparkSession.builder.getOrCreate()


@udf("long")
def crash(value):
    ctypes.string_at(0)


spark.range(2).select(crash("id")).show()
