from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
options = {"url": "jdbc:postgresql://127.0.0.1:1/db", "dbtable": "sales", "user": "u", "password": "p"}
spark.read.format("jdbc").options(**options, driver="org.postgresql.Driver").load().show()
