"""A small Spark session that warms its JVM: it loads the classes and compiles the hot paths of most scripts.

Runs as the script of a JVM and writes files into its current folder. Imports nothing from this package.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - its usual name

ROWS = 50
ROUNDS = 2
"""The second round finds the classes loaded, so that more of a session's code is compiled."""


def main() -> None:
    """Read, aggregate, write and read back."""
    here = Path.cwd()
    source = here / "warm.csv"
    source.write_text("id,name,amount\n" + "\n".join(f"{i},n{i % 7},{i / 3}" for i in range(ROWS)))
    spark = SparkSession.builder.getOrCreate()
    spark.range(100).count()
    frame = spark.read.csv(source.as_uri(), header=True, inferSchema=True)
    parts = (here / "warm.parquet").as_uri()
    frame.groupBy("name").agg(F.sum("amount").alias("amount")).write.mode("overwrite").parquet(parts)
    spark.read.parquet(parts).createOrReplaceTempView("warm")
    spark.sql("SELECT name, amount FROM warm ORDER BY amount DESC LIMIT 3").collect()
    spark.stop()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for _ in range(ROUNDS):
        main()
