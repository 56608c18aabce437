from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.sql("create table if not exists pairs (a int, b string) using parquet")
spark.sql("insert into pairs values (1, 'x', 3)")
