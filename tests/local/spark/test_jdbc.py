"""A JDBC driver in a jar of the service's: a script writes and reads a table of a database that its JVM embeds."""

import asyncio
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.options import Options
from dataflow_magic.local.run import Outcome
from dataflow_magic.local.spark.jvm import spark_home
from dataflow_magic.local.spark.runner import SparkRunner
from tests.local.scripted import noting
from tests.local.spark.test_runner import RUN_SECONDS, spec_in

pytestmark = [pytest.mark.anyio, pytest.mark.spark]

SCRIPT = """
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
url, driver = "jdbc:derbi:memory:shop;create=true", {"driver": "org.apache.derbi.jdbc.EmbeddedDriver"}
items = spark.range(1, 5).selectExpr("id", "concat('item ', id) AS name", "id / 4 AS price")
items.write.option("createTableColumnTypes", "name VARCHAR(20)").jdbc(url, "items", properties=driver)
read = spark.read.jdbc(url, "items", column="id", lowerBound=1, upperBound=5, numPartitions=2, properties=driver)
print(read.schema.simpleString())
print([tuple(row) for row in read.where("price > 0.5").orderBy("id").collect()])
"""


def write_driver(jar: Path) -> None:
    """Write a driver that Spark does not have: that of the Derby in PySpark, with another name of the same length."""
    with zipfile.ZipFile(jar, "w") as driver:
        for part in (spark_home() / "jars").glob("derby*.jar"):
            with zipfile.ZipFile(part) as archive:
                for name in archive.namelist():
                    if name.startswith("org/"):
                        content = archive.read(name).replace(b"derby", b"derbi")
                        driver.writestr(name.replace("derby", "derbi"), content)


async def test_a_script_writes_and_reads_a_table_with_a_jdbc_driver_that_a_jar_adds(tmp_path, archives):
    folder = DataFolder(tmp_path / "data")
    for bucket in ("scripts", "logs"):
        (folder.objects / bucket).mkdir(parents=True)
    (folder.objects / "scripts" / "daily.py").write_text(SCRIPT)
    write_driver(tmp_path / "driver.jar")

    async with SparkRunner(folder, archives, Options(warm=False, jars=(tmp_path / "driver.jar",))) as run:
        outcome = await run(
            replace(spec_in(folder.path), timeout_seconds=RUN_SECONDS),
            cancel=asyncio.Event(),
            waiting=lambda _: None,
            started=noting([]),
        )

    (log,) = folder.objects.glob("logs/*/console.log")
    assert outcome == Outcome("COMPLETED"), log.read_text()
    assert log.read_text().splitlines() == [
        "struct<id:bigint,name:string,price:double>",
        "[(3, 'item 3', 0.75), (4, 'item 4', 1.0)]",
    ]
