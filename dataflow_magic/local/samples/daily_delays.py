"""Departure delays and weather of one airport, day by day, for one month of 2013.

Parameters
    origin       EWR, JFK or LGA
    month        1 to 12
    source_path  where flights.parquet and weather.csv.gz are
    result_path  where the table goes; each origin and month is a partition of it, replaced as a whole

The paths have defaults. One row per day:
    date                    in New York
    flights                 scheduled, the cancelled ones included
    cancelled               those that never left
    mean_dep_delay_minutes  of those that left; early ones count as negative
    share_delayed           of those that left, the share (0 to 1) that left more than 15 minutes late
    mean_wind_mph           over the hours with flights; empty where no weather was recorded
    precip_inches           likewise, their sum
"""

import argparse

from pyspark.sql import SparkSession
from pyspark.sql import functions as F


def given(text, default):
    """A parameter written into this script; the dollar name still stands where the run was given none."""
    return default if text.startswith("$") else text


# Data Flow replaces a dollar name by the parameter's value before the script starts...
source_path = given("$source_path", default="s3a://dataflow-sample/nycflights13").rstrip("/")
result_path = given("$result_path", default="s3a://dataflow-sample/results/daily_delays").rstrip("/")


def daily_delays(flights, weather):
    """One row per day from the flights and the hourly weather of one airport and month."""
    # By the hour first: joined flight by flight, the rain of a busy hour would be counted once per flight.
    hourly_flights = flights.groupBy("year", "month", "day", "hour").agg(
        F.count("*").alias("flights"),
        F.count("dep_delay").alias("departed"),
        F.sum("dep_delay").alias("delay_minutes"),
        F.count_if(F.col("dep_delay") > 15).alias("delayed"),
    )
    # The hour in which the clocks go back is in the weather twice.
    hourly_weather = weather.groupBy("year", "month", "day", "hour").agg(
        F.avg("wind_speed").alias("wind_speed"),
        F.sum("precip").alias("precip"),
    )
    return (
        hourly_flights.join(hourly_weather, ["year", "month", "day", "hour"], "left")
        .groupBy(F.make_date("year", "month", "day").alias("date"))
        .agg(
            F.sum("flights").alias("flights"),
            (F.sum("flights") - F.sum("departed")).alias("cancelled"),
            # try_divide: on a day when nothing left there is no mean.
            F.try_divide(F.sum("delay_minutes"), F.sum("departed")).alias("mean_dep_delay_minutes"),
            F.try_divide(F.sum("delayed"), F.sum("departed")).alias("share_delayed"),
            F.avg("wind_speed").alias("mean_wind_mph"),
            F.sum("precip").alias("precip_inches"),
        )
        .orderBy("date")
    )


def main(spark, origin, month):
    all_flights = spark.read.parquet(f"{source_path}/flights.parquet")
    all_weather = spark.read.csv(
        f"{source_path}/weather.csv.gz", header=True, inferSchema=True, nullValue="NA"
    )
    here_and_then = (F.col("origin") == origin) & (F.col("month") == month)
    flights = all_flights.where(here_and_then)
    weather = all_weather.where(here_and_then)

    found = flights.count()
    if found == 0:
        airports = [row.origin for row in all_flights.select("origin").distinct().orderBy("origin").collect()]
        raise ValueError(f"no flights from {origin!r} in month {month}; the table has {', '.join(airports)}")
    print(f"read {found} flights and {weather.count()} hours of weather from {source_path}", flush=True)

    table = f"{result_path}/origin={origin}/month={month}"
    daily_delays(flights, weather).coalesce(1).write.mode("overwrite").parquet(table)

    days = spark.read.parquet(table)
    worst = days.orderBy(F.desc("mean_dep_delay_minutes")).first()
    print(f"wrote {days.count()} days to {table}", flush=True)
    print(
        f"worst day {worst.date}: {worst.mean_dep_delay_minutes:.1f} minutes late on average, "
        f"{worst.cancelled} of {worst.flights} flights cancelled",
        flush=True,
    )


if __name__ == "__main__":
    # ...and passes the parameters which the text does not name as --name=value.
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--origin", required=True)
    parser.add_argument("--month", required=True, type=int, choices=range(1, 13))
    options = parser.parse_args()

    with SparkSession.builder.appName("daily_delays").getOrCreate() as spark:
        main(spark, options.origin, options.month)
