from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()


def store(batch, number):
    rows = batch.count()
    raise RuntimeError(f"batch {number} of {rows} rows is not stored")


spark.createDataFrame([("a",)], ["value"]).write.text("s3a://data/incoming")
stream = spark.readStream.schema("value string").text("s3a://data/incoming")
query = stream.writeStream.foreachBatch(store).trigger(availableNow=True).start()
query.awaitTermination()
