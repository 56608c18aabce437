"""A small Spark session that warms its JVM: it loads the classes and compiles the hot paths of most scripts.

Runs as the script of a JVM and writes files into its current folder. Ends early once the file exists that its argument
names: a run waits for the JVM. Imports nothing from this package.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - its usual name

ROWS = 50
ROUNDS = 2
"""The second round finds the classes loaded, so that more of a session's code is compiled."""


def main(is_enough: Callable[[], bool]) -> None:
    """Read, aggregate, write and read back, as many of these as there is time for."""
    here = Path.cwd()
    source = here / "warm.csv"
    source.write_text("id,name,amount\n" + "\n".join(f"{i},n{i % 7},{i / 3}" for i in range(ROWS)))
    parts = (here / "warm.parquet").as_uri()
    spark = SparkSession.builder.getOrCreate()

    def write() -> None:
        frame = spark.read.csv(source.as_uri(), header=True, inferSchema=True)
        frame.groupBy("name").agg(F.sum("amount").alias("amount")).write.mode("overwrite").parquet(parts)

    def query() -> None:
        spark.read.parquet(parts).createOrReplaceTempView("warm")
        spark.sql("SELECT name, amount FROM warm ORDER BY amount DESC LIMIT 3").collect()

    for step in (spark.range(100).count, write, query):
        if is_enough():
            break
        step()
    spark.stop()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    enough = Path(sys.argv[1])
    for _ in range(ROUNDS):
        if not enough.exists():
            main(enough.exists)
