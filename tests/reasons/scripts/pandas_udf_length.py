from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf

spark = SparkSession.builder.getOrCreate()


@pandas_udf("long")
def first(values):
    return values.head(1)


spark.range(5).select(first("id")).show()
