from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.range(4).selectExpr("id", "id % 2 as odd").createOrReplaceTempView("t")
spark.sql("select id, odd, count(*) from t group by odd").show()
