from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf

spark = SparkSession.builder.getOrCreate()


@pandas_udf("long")
def longer(values):
    return values.map(lambda value: f"{value} pieces")


spark.range(3).select(longer("id")).show()
