from concurrent.futures import ThreadPoolExecutor

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()


def rows(table):
    return spark.read.table(f"test.{table}").count()


with ThreadPoolExecutor(2) as pool:
    print(list(pool.map(rows, ["sales_of_nobody"])))
