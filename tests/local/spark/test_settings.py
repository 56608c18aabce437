import sys
from pathlib import Path

import pytest

from dataflow_magic.local.run import RunSpec
from dataflow_magic.local.spark.settings import (
    OBJECT_STORAGE,
    cluster_settings,
    is_here,
    java_options,
    masters,
    run_environment,
    spark_settings,
)


@pytest.mark.parametrize(
    ("workers", "cores", "master"),
    [(2, 8, "local[2]"), (10, 4, "local[4]"), (0, 4, "local[1]")],
    ids=["numWorker", "no more than the machine has", "at least one"],
)
def test_workers_become_cores(workers, cores, master):
    spec = RunSpec("r1", "daily", "scripts/", "logs/", {}, workers, 60.0, Path("/objects"), Path("/private"))

    settings = spark_settings(spec, logs=spec.objects / "logs", cores=cores)

    assert settings["spark.master"] == master


def test_only_newer_javas_get_the_options_they_introduced():
    newer = {"--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"}

    assert newer.isdisjoint(java_options(17))
    assert newer.isdisjoint(java_options(21))
    assert newer <= set(java_options(25))


def test_a_run_inherits_no_secrets_and_no_spark_variables():
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


def test_workers_of_a_cluster_are_executors_of_one_core():
    assert cluster_settings("spark://h:7077", 4) == {
        "spark.master": "spark://h:7077",
        "spark.executor.instances": "4",
        "spark.executor.cores": "1",
        "spark.cores.max": "4",
    }


@pytest.mark.parametrize(
    ("master", "places", "here"),
    [
        ("", [], True),
        ("spark://127.0.0.1:7077", [("127.0.0.1", 7077)], True),
        ("spark://[::1]:7077,localhost:7078", [("::1", 7077), ("localhost", 7078)], True),
        ("spark://a:7077,127.0.0.1:7077", [("a", 7077), ("127.0.0.1", 7077)], False),
        ("spark://nowhere", [], False),
        ("yarn", [], False),
    ],
)
def test_a_run_stays_on_this_machine_when_all_its_masters_do(master, places, here):
    assert masters(master) == places
    assert is_here(master) is here


def test_settings_of_all_runs_win_and_a_run_on_another_machine_gets_no_loopback_address():
    spec = RunSpec(
        "r1",
        "daily",
        "scripts/",
        "logs/",
        {},
        2,
        60.0,
        Path("/objects"),
        Path("/private"),
        settings={"spark.ui.enabled": "true"},
        master="yarn",
        jars=(Path("/a.jar"),),
    )

    settings = spark_settings(spec, logs=spec.objects / "logs", cores=2)

    assert settings["spark.ui.enabled"] == "true"
    assert "spark.driver.host" not in settings
    assert settings["spark.jars"] == f"{OBJECT_STORAGE},/a.jar"
