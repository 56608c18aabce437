from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
days = spark.createDataFrame([("2026-13-45",)], ["day"])
days.select(F.to_date("day", "yyyy-MM-dd")).show()
