from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.sparkContext._jvm.java.lang.Runtime.getRuntime().halt(50)
print(spark.range(3).count())
