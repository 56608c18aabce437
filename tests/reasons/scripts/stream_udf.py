from pyspark.sql import SparkSession
from pyspark.sql.functions import udf

spark = SparkSession.builder.getOrCreate()
number = udf(lambda text: int(text), "int")
spark.createDataFrame([("a",)], ["value"]).write.text("s3a://data/numbers")
stream = spark.readStream.schema("value string").text("s3a://data/numbers").select(number("value"))
stream.writeStream.format("noop").trigger(availableNow=True).start().awaitTermination()
