from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
sales = spark.createDataFrame([(10, 2), (7, 0)], ["amount", "units"])
priced = sales.withColumn("price", F.col("amount") / F.col("units"))
priced.show()
