"""A JVM without an archive of classes loads those of a first session while it starts."""

import gzip
import os
import zipfile
from pathlib import Path

import anyio
import pytest

from dataflow_magic.local.spark.java import Java, find_java
from dataflow_magic.local.spark.jvm import gateway_command, launch_gateway, spark_home
from dataflow_magic.local.spark.process_group import ProcessGroup
from dataflow_magic.local.spark.settings import CLASSES, OBJECT_STORAGE, QUICK_START
from tests.local.spark.list_classes import loaded

LAST = "org.apache.spark.sql.execution.datasources.parquet.ParquetFileFormat"
"""A class that only a session's work loads."""


def names() -> list[str]:
    return gzip.decompress(CLASSES.read_bytes()).decode("ascii").split("\n")


@pytest.mark.parametrize(
    ("eager", "options", "main"),
    [
        (True, [], ["dataflow.EagerPythonGatewayServer", str(CLASSES)]),
        (True, ["-XX:SharedArchiveFile=a"], ["org.apache.spark.api.python.PythonGatewayServer"]),
        (False, [], ["org.apache.spark.api.python.PythonGatewayServer"]),
    ],
    ids=["no archive", "an archive", "no run"],
)
def test_only_a_jvm_of_a_run_without_an_archive_loads_classes_early(tmp_path, eager, options, main):
    command = gateway_command(Java(tmp_path, 17, "PATH"), tmp_path, options, eager=eager)

    assert command[command.index("-cp") + 2 :] == main


def test_the_classes_of_a_log_are_listed_without_those_that_each_jvm_makes():
    log = [
        "[0.012s][info][class,load] java.lang.Object source: jrt:/java.base",
        "[1.2s][info][class,load] org.apache.spark.SparkConf$ source: file:/spark/jars/spark-core_2.13-4.3.0.jar",
        "[1.3s][info][class,load] org.apache.spark.SparkConf$$Lambda/0x0000000801 source: org.apache.spark.SparkConf",
        "[1.4s][info][class,load] org.apache.spark.SparkConf$$Lambda$7 source: org.apache.spark.SparkConf",
        "[1.5s][info][class,load] org.apache.spark.sql.catalyst.expressions.GeneratedClass source: __JVM_DefineClass__",
        "[1.6s][info][class,load] jdk.proxy2.$Proxy33 source: __JVM_LookupDefineClass__",
    ]

    assert loaded(log) == ["java.lang.Object", "org.apache.spark.SparkConf$"]


def test_the_list_has_the_classes_of_this_pyspark():
    known = set()
    for jar in (*(spark_home() / "jars").glob("*.jar"), OBJECT_STORAGE):
        with zipfile.ZipFile(jar) as archive:
            known |= {name.removesuffix(".class").replace("/", ".") for name in archive.namelist()}
    of_apache = [name for name in names() if name.startswith("org.apache.")]

    assert LAST in of_apache
    assert len(of_apache) > 6000
    assert [name for name in of_apache if name not in known] == [], "run make classes"


@pytest.mark.anyio
@pytest.mark.spark
async def test_a_jvm_has_the_classes_of_a_session_before_it_gets_one(tmp_path: Path):
    log = tmp_path / "classes.log"
    options = [*QUICK_START, f"-Xlog:class+load:file={log}"]
    command = gateway_command(find_java(os.environ), spark_home(), options, eager=True)
    group = ProcessGroup(tmp_path)
    try:
        await launch_gateway(command, group, tmp_path, home=spark_home(), log=tmp_path / "jvm.log")
        with anyio.fail_after(120):
            while f" {LAST} source: " not in log.read_text():  # noqa: ASYNC110 - files send no events
                await anyio.sleep(0.1)
    finally:
        await group.end()
