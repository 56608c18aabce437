import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.config("spark.sql.broadcastTimeout", 1).getOrCreate()
spark.conf.set("spark.sql.adaptive.enabled", False)
slow = F.udf(lambda n: time.sleep(5) or n, "long")
small = spark.range(3).select(slow("id").alias("id"))
spark.range(10).join(F.broadcast(small), "id").show()
