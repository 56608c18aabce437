from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
options = {"url": "jdbc:hive2://127.0.0.1:1/db", "dbtable": "sales"}
spark.read.format("jdbc").options(**options, driver="org.apache.hive.jdbc.HiveDriver").load().show()
