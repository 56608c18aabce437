from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
options = {"url": "jdbc:derby://127.0.0.1:1/db", "dbtable": "sales"}
spark.read.format("jdbc").options(**options).load().show()
