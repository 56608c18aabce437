import sys
from pathlib import Path

import pytest

from dataflow_magic.local.sparkconf import (
    RunSpec,
    console_log_key,
    event_log_key,
    java_options,
    jvm_log_key,
    mountable_buckets,
    run_environment,
    spark_settings,
)


@pytest.mark.parametrize("log_path", ["logs/runs/", "logs/runs"])
def test_a_runs_logs_lie_in_its_own_folder_below_the_log_path(log_path):
    assert console_log_key(log_path, "r1") == "logs/runs/r1/console.log"
    assert jvm_log_key(log_path, "r1") == "logs/runs/r1/jvm.log"
    assert event_log_key(log_path, "r1") == "logs/runs/r1/events/"


def test_buckets_hadoop_cannot_name_are_left_out():
    names = ["lake.eu", "lake", "my_bucket", ".cache", "버킷", "a.b", "a.b.c", "raw-1"]

    assert mountable_buckets(names) == ["a.b", "lake", "raw-1"]


@pytest.mark.parametrize(
    ("workers", "cores", "master"),
    [(2, 8, "local[2]"), (10, 4, "local[4]"), (0, 4, "local[1]")],
    ids=["as asked", "no more than the machine has", "at least one"],
)
def test_workers_become_cores(workers, cores, master):
    spec = RunSpec("r1", "daily", "scripts/", "logs/", {}, workers, 60.0, Path("/objects"), Path("/private"))

    settings = spark_settings(spec, buckets=[], logs=spec.objects / "logs", cores=cores)

    assert settings["spark.master"] == master


def test_java_17_gets_no_option_that_only_newer_ones_know():
    newer = {"--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"}

    assert newer.isdisjoint(java_options(17))
    assert newer.isdisjoint(java_options(21))
    assert newer <= set(java_options(25))


def test_secrets_and_other_sparks_stay_out_of_the_environment():
    inherited = {
        "PATH": "/bin",
        "NCLOUD_SECRET_KEY": "s",
        "NCLOUD_ACCESS_KEY": "a",
        "DATAFLOW_ACCESS_KEY": "a",
        "DATAFLOW_TARGET": "local",
        "SPARK_REMOTE": "sc://elsewhere",
        "PYSPARK_GATEWAY_PORT": "1",
        "PYTHONWARNINGS": "error",
    }

    environment = run_environment(inherited, work=Path("/private"))

    assert environment == {
        "PATH": "/bin",
        "DATAFLOW_TARGET": "local",
        "SPARK_LOCAL_DIRS": "/private/scratch",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONHASHSEED": "0",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "error,ignore:PySpark does not yet fully support pandas:FutureWarning",
        "TMPDIR": "/private/scratch",
    }
