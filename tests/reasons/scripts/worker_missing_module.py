from pyspark.sql import SparkSession
from pyspark.sql.functions import udf

spark = SparkSession.builder.getOrCreate()


@udf("string")
def place(value):
    import geocoder_of_nobody

    return geocoder_of_nobody.name(value)


spark.range(2).select(place("id")).show()
