from pyspark.sql import SparkSession
from pyspark.sql.functions import udf
from shared_prices import parse_price

spark = SparkSession.builder.getOrCreate()
price = udf(parse_price, "double")
df = spark.createDataFrame([("12.50 EUR",), ("free",)], ["text"])
df.select(price("text")).show()
