from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.sql("select map_from_arrays(array(1, null), array(2, 3))").show()
