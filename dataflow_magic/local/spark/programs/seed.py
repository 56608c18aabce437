"""Makes the table of the API's own example, ``test.sample_table2``, of the flights. Run beside a gateway; imports nothing of ours."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession


def main(source: str) -> None:
    """Copy a parquet file into the table, where there is none."""
    spark = SparkSession.builder.getOrCreate()
    spark.sql("CREATE DATABASE IF NOT EXISTS test")
    if not spark.catalog.tableExists("test.sample_table2"):
        spark.read.parquet(source).write.format("parquet").saveAsTable("test.sample_table2")
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1])
