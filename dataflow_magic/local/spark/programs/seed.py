"""Makes the sample table ``test.sample_table2``, named as in the API's example. Imports nothing from this package."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession


def main(source: str) -> None:
    """Copy a parquet file into the table unless the table exists."""
    spark = SparkSession.builder.getOrCreate()
    spark.sql("CREATE DATABASE IF NOT EXISTS test")
    if not spark.catalog.tableExists("test.sample_table2"):
        spark.read.parquet(source).write.format("parquet").saveAsTable("test.sample_table2")
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1])
