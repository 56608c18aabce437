"""Keep Spark busy for a while: a job to watch, and to cancel.

Counts, two million numbers at a time, those whose SHA-256 begins with 000: one in 4096 on average.

Parameters
    seconds  about how long to go on, 60 when not given; a step that has begun is finished
"""

import argparse
import time

from pyspark.sql import SparkSession

STEP = 2_000_000


def main(spark, seconds):
    started = time.monotonic()
    numbers = hits = 0
    while numbers == 0 or time.monotonic() - started < seconds:
        step = spark.range(numbers, numbers + STEP, numPartitions=8)
        hits += step.where("sha2(cast(id AS string), 256) LIKE '000%'").count()
        numbers += STEP
        elapsed = time.monotonic() - started
        print(f"{elapsed:.0f} of {seconds} s: {hits} hits among {numbers} numbers", flush=True)
    print(f"done: one hit in {numbers / hits:.0f} numbers", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()

    with SparkSession.builder.appName("slow_count").getOrCreate() as spark:
        main(spark, options.seconds)
