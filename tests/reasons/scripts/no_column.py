from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
flights = spark.createDataFrame([("UA", 2, 5), ("AA", 30, 1)], ["carrier", "dep_delay", "arr_delay"])


def by_carrier(flights):
    late = flights.where(F.col("dep_dely") > 15)
    return late.groupBy("carrier").count()


by_carrier(flights).show()
