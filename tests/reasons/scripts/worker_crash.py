import os

from pyspark.sql import SparkSession
from pyspark.sql.functions import udf

spark = SparkSession.builder.getOrCreate()


@udf("long")
def crash(value):
    os._exit(3)


spark.range(2).select(crash("id")).show()
