from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.range(3).createOrReplaceTempView("numbers")
spark.sql("select id, idd from numbers").show()
