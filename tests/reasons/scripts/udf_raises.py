from pyspark.sql import SparkSession
from pyspark.sql.functions import udf

spark = SparkSession.builder.getOrCreate()


@udf("double")
def rate(total, count):
    share = total / count
    return share


df = spark.createDataFrame([(1, 2), (3, 0)], ["total", "count"])
df.select(rate("total", "count")).show()
