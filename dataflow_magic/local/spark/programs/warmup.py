"""A small Spark session which leaves its JVM warm: the classes loaded, the hot paths compiled. Imports nothing of ours.

Run as a script beside a gateway, in the folder whose files it may make; what it does is what most scripts begin with.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

ROWS = 50
ROUNDS = 2
"""The second finds the classes there, and has more compiled of what every session does."""


def main() -> None:
    """Read, aggregate, write, read back."""
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
