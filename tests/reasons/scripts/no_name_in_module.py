from pyspark.sql.functions import dayofyears

print(dayofyears)
