"""Runs of one script that use one JVM, one after another: what a run changes, the next one does not see."""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.options import Options
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.spark.runner import SparkRunner
from tests.local.scripted import noting

pytestmark = [pytest.mark.anyio, pytest.mark.spark]

RUN_SECONDS = 300.0
SEED = 4

SCRIPT = """
import json, os, pathlib, subprocess, sys, tempfile

python = {
    "path": list(sys.path),
    "modules": sorted(sys.modules),
    "environment": {name: os.environ[name] for name in sorted(os.environ) if not name.startswith("PYSPARK_GATEWAY")},
    "here": sorted(os.listdir(".")),
    "scratch": sorted(os.listdir(tempfile.gettempdir())),
    "arguments": list(sys.argv[1:]),
}

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
sc, jvm, java = spark.sparkContext, spark._jvm, spark._jvm.java
root = jvm.org.apache.logging.log4j.LogManager.getRootLogger()
OF_A_RUN = (
    "spark.app.id", "spark.app.name", "spark.app.startTime", "spark.app.submitTime", "spark.driver.port", "spark.eventLog.dir",
)


def file_system():
    uri = java.net.URI("file:///")
    return jvm.org.apache.hadoop.fs.FileSystem.get(uri, sc._jsc.hadoopConfiguration())


properties = java.lang.System.getProperties()
spark_side = {
    "process": java.lang.ProcessHandle.current().pid(),
    "conf": {name: value for name, value in sorted(sc.getConf().getAll()) if name not in OF_A_RUN},
    "shuffles": spark.conf.get("spark.sql.shuffle.partitions"),
    "properties": {
        name: properties.getProperty(name)
        for name in sorted(properties.stringPropertyNames()) if name not in OF_A_RUN
    },
    "zone": java.util.TimeZone.getDefault().getID(),
    "locale": java.util.Locale.getDefault().toString(),
    "level": root.getLevel().toString(),
    "file_system": file_system().getConf().get("of.a.script"),
    "views": [table.name for table in spark.catalog.listTables()],
    "global_views": spark.sql("SHOW VIEWS IN global_temp").count(),
    "database": spark.catalog.currentDatabase(),
    "catalogs": [row[0] for row in spark.sql("SHOW CATALOGS").collect()],
    "functions": spark.sql("SHOW USER FUNCTIONS").count(),
    "cached": sc._jsc.getPersistentRDDs().size(),
    "files": list(sc.listFiles),
    "jars": list(sc.listArchives),
    "streams": len(spark.streams.active),
    "sum": spark.range(5).selectExpr("sum(id)").first()[0],
}


def leave_files():
    pathlib.Path("left.txt").write_text("left")
    pathlib.Path("lake").unlink()
    tempfile.mkdtemp(prefix="left")
    sc.addFile(__file__)


def change_settings():
    spark.conf.set("spark.sql.shuffle.partitions", "7")
    spark.sql("SET spark.sql.session.timeZone=Asia/Seoul")
    java.lang.System.setProperty("spark.sql.shuffle.partitions", "3")
    java.lang.System.setProperty("spark.of.a.script", "7")
    java.lang.System.setProperty("user.name", "somebody")
    java.lang.System.clearProperty("spark.sql.catalogImplementation")


def change_java():
    java.util.TimeZone.setDefault(java.util.TimeZone.getTimeZone("Asia/Seoul"))
    java.util.Locale.setDefault(java.util.Locale.KOREA)
    sc.setLogLevel("ERROR")


def use_file_systems():
    sc._jsc.hadoopConfiguration().set("of.a.script", "7")
    jvm.org.apache.hadoop.fs.FileSystem.closeAll()
    assert file_system().getConf().get("of.a.script") == "7"


def make_views():
    spark.range(3).createOrReplaceTempView("mine")
    spark.range(3).createOrReplaceGlobalTempView("mine")
    spark.sql("CREATE TEMPORARY FUNCTION mine() RETURNS INT RETURN 1")
    spark.udf.register("ours", lambda: 1)
    spark.range(3).cache().count()
    spark.sql("CREATE DATABASE IF NOT EXISTS of_a_script")
    spark.sql("USE of_a_script")


def change_python():
    sys.path.insert(0, "/nowhere")
    sys.modules["json.left"] = json
    os.environ["OF_A_SCRIPT"] = "7"
    os.umask(0)
    sys.argv.append("more")


def stream():
    query = spark.readStream.format("rate").load().writeStream.format("memory").queryName("mine").start()
    query.processAllAvailable()


def run_workers():
    sc.parallelize(range(4)).map(lambda number: os.environ.setdefault("OF_A_SCRIPT", "7")).collect()


def leave_a_thread():
    spark.left = java.util.Timer("of the script")


def leave_a_process():
    subprocess.Popen(["sleep", "600"], start_new_session=True)


def fail():
    raise SystemExit(3)


def nothing():
    pass


print(json.dumps([python, spark_side]))
globals()["$change"]()
if "$stops" == "yes":
    spark.stop()
"""

KEEPING = (
    "nothing",
    "leave_files",
    "change_settings",
    "change_java",
    "use_file_systems",
    "make_views",
    "change_python",
    "stream",
    "run_workers",
)
"""Changes after which the next run uses the same JVM."""
ENDING = {
    "leave_a_thread": (Outcome("COMPLETED"), "threads are left: of the script"),
    "leave_a_process": (Outcome("COMPLETED"), "processes are left"),
    "fail": (Outcome("FAILED", "the script exited with code 3"), None),
}
"""Changes after which it uses another one: how the run ends, and the reason in the service's log."""


def spec_in(folder: Path) -> RunSpec:
    objects = folder / "objects"
    for bucket in ("scripts", "logs", "lake"):
        (objects / bucket).mkdir(parents=True, exist_ok=True)
    (objects / "scripts" / "daily.py").write_text(SCRIPT)
    return RunSpec(
        run_id="",
        job_name="daily",
        script_path="scripts/",
        log_path="logs/",
        parameters={},
        workers=2,
        timeout_seconds=RUN_SECONDS,
        objects=objects,
        work=folder / "runs",
    )


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    name = "a JVM serves no other run"
    return [record.__dict__["about"]["reason"] for record in caplog.records if record.getMessage() == name]


async def seen(run: SparkRunner, spec: RunSpec, number: int, change: str) -> tuple[Outcome, int, Any]:
    """Run the script; return how it ended, its JVM, and what it saw before its change."""
    run_id = f"run{number:09}"
    stops = random.Random(number).choice(["yes", "no"])  # noqa: S311 - no secret
    outcome = await run(
        replace(
            spec,
            run_id=run_id,
            parameters={"$change": change, "$stops": stops},
            work=spec.work / run_id,
        ),
        cancel=asyncio.Event(),
        waiting=lambda _: None,
        started=noting([]),
    )
    log = (spec.objects / "logs" / run_id / "console.log").read_text()
    line = next((line for line in log.splitlines() if line.startswith("[{")), None)
    assert line, log
    folder = str(Path(json.loads(line)[0]["environment"]["TMPDIR"]).parent)
    python, spark = json.loads(line.replace(folder, "FOLDER"))
    assert (spec.objects / "logs" / run_id / "jvm.log").exists()
    return outcome, spark.pop("process"), [python, spark]


async def test_what_a_run_changes_the_next_run_in_its_jvm_does_not_see(tmp_path, archives, caplog):
    caplog.set_level(logging.INFO, "dataflow_magic.local")
    changes = [*KEEPING, *ENDING]
    random.Random(SEED).shuffle(changes)  # noqa: S311 - no secret
    async with SparkRunner(DataFolder(tmp_path), archives, Options()) as run:
        spec = spec_in(tmp_path)
        _, jvm, first = await seen(run, spec, 0, "nothing")
        for number, (earlier, change) in enumerate(
            zip(["nothing", *changes], [*changes, "nothing"], strict=True), 1
        ):
            before = refusals(caplog)
            outcome, next_jvm, now = await seen(run, spec, number, change)

            assert now == first, f"after {earlier}"
            assert (next_jvm == jvm) == (earlier in KEEPING), (earlier, refusals(caplog))
            assert outcome == ENDING.get(change, (Outcome("COMPLETED"), None))[0]
            if earlier in ENDING and (reason := ENDING[earlier][1]):
                assert reason in [*before, *refusals(caplog)]
            jvm = next_jvm


PROCESS_SCRIPT = """
import time
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
print(spark._jvm.java.lang.ProcessHandle.current().pid(), "works", flush=True)
spark.sparkContext.parallelize([0], 1).foreach(lambda _: time.sleep($seconds))
"""


class Runs:
    """Runs of a script that prints its JVM and then works so many seconds in one of Python's workers."""

    def __init__(self, run: SparkRunner, spec: RunSpec) -> None:
        self._run = run
        self._spec = spec
        self.write(PROCESS_SCRIPT)

    def write(self, script: str) -> None:
        (self._spec.objects / "scripts" / "daily.py").write_text(script)

    def log(self, number: int) -> str:
        log = self._spec.objects / "logs" / f"run{number}" / "console.log"
        return log.read_text() if log.exists() else ""

    def jvm(self, number: int) -> int:
        return int(next(line for line in self.log(number).splitlines() if line.endswith("works")).split()[0])

    async def run(self, number: int, *, seconds: int = 0, cancel: asyncio.Event | None = None) -> Outcome:
        run_id = f"run{number}"
        return await self._run(
            replace(
                self._spec,
                run_id=run_id,
                parameters={"$seconds": str(seconds)},
                work=self._spec.work / run_id,
            ),
            cancel=cancel or asyncio.Event(),
            waiting=lambda _: None,
            started=noting([]),
        )


async def test_only_the_next_run_of_the_same_script_uses_a_jvm_again(tmp_path, archives):
    async with SparkRunner(DataFolder(tmp_path), archives, Options()) as run:
        runs = Runs(run, spec_in(tmp_path))
        for number in (1, 2):
            assert await runs.run(number) == Outcome("COMPLETED"), runs.log(number)
        runs.write(PROCESS_SCRIPT + "\n# changed\n")
        assert await runs.run(3) == Outcome("COMPLETED")

    assert runs.jvm(1) == runs.jvm(2) != runs.jvm(3)
    assert not is_running(runs.jvm(2))
    assert not is_running(runs.jvm(3))


async def test_without_reuse_each_run_has_a_jvm_that_ends_with_it(tmp_path, archives):
    async with SparkRunner(DataFolder(tmp_path), archives, Options(reuse=False)) as run:
        runs = Runs(run, spec_in(tmp_path))
        for number in (1, 2):
            assert await runs.run(number) == Outcome("COMPLETED"), runs.log(number)
            assert not is_running(runs.jvm(number))

    assert runs.jvm(1) != runs.jvm(2)


async def test_a_cancel_ends_the_work_in_a_jvm_that_is_used_again(tmp_path, archives):
    async with SparkRunner(DataFolder(tmp_path), archives, Options()) as run:
        runs, cancel = Runs(run, spec_in(tmp_path)), asyncio.Event()
        assert await runs.run(1) == Outcome("COMPLETED"), runs.log(1)
        canceled = asyncio.ensure_future(runs.run(2, seconds=600, cancel=cancel))
        await until(lambda: "works" in runs.log(2))
        assert runs.jvm(2) == runs.jvm(1)
        assert is_running(runs.jvm(2))

        cancel.set()

        assert await canceled == Outcome("CANCELED", "canceled on request")
        assert not is_running(runs.jvm(2))
        assert await runs.run(3) == Outcome("COMPLETED")
        assert runs.jvm(3) != runs.jvm(2)


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(RUN_SECONDS):
        while not holds():  # noqa: ASYNC110 - files send no events
            await asyncio.sleep(0.05)
