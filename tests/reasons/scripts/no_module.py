import polars_of_nobody

print(polars_of_nobody)
