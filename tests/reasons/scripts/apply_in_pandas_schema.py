from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()


def totals(group):
    return group.groupby("k", as_index=False)["n"].sum().rename(columns={"n": "sum"})


df = spark.createDataFrame([("a", 1), ("a", 2), ("b", 3)], ["k", "n"])
df.groupBy("k").applyInPandas(totals, schema="k string, total long").show()
