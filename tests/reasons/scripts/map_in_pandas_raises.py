from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()


def clean(batches):
    for batch in batches:
        yield batch[batch["prise"] > 0]


df = spark.createDataFrame([(1.0,), (2.0,)], ["price"])
df.mapInPandas(clean, schema="price double").show()
