from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
numbers = spark.sparkContext.parallelize(range(3))
print(numbers.map(lambda n: spark.range(n).count()).collect())
