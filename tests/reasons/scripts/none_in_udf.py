from pyspark.sql import SparkSession
from pyspark.sql.functions import udf

spark = SparkSession.builder.getOrCreate()
upper = udf(lambda text: text.upper(), "string")
spark.createDataFrame([("a",), (None,)], ["t"]).select(upper("t")).show()
