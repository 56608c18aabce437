from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
lines = spark.sparkContext.parallelize(["1,2", "3"])
pairs = lines.map(lambda line: (line.split(",")[0], int(line.split(",")[1])))
print(pairs.collect())
