"""Real Spark applications. A test takes one second, and eight if its script opens a Spark session."""

import asyncio
import json
import os
import re
import signal
import sys
import textwrap
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dataflow_magic.local.objects.paths import console_log_key, event_log_key, jvm_log_key
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.spark.application import run_application
from dataflow_magic.local.spark.event_log import EventLogReader
from dataflow_magic.local.spark.java import Java, find_java
from dataflow_magic.local.spark.progress import Progress
from dataflow_magic.local.spark.settings import QUICK_START
from tests.local.scripted import noting
from tests.local_archives import quick_options

LONG_SECONDS = 300.0


@dataclass
class Stage:
    """A folder of objects with a script, a run of it, and the calls it made."""

    spec: RunSpec
    java: Java
    options: Sequence[str] = QUICK_START
    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[str] = field(default_factory=list)

    @property
    def console(self) -> Path:
        return self.spec.objects / console_log_key(self.spec.log_path, self.spec.run_id)

    @property
    def events(self) -> Path:
        return self.spec.objects / event_log_key(self.spec.log_path, self.spec.run_id)

    def lines(self) -> list[str]:
        return self.console.read_text("utf-8").splitlines() if self.console.exists() else []

    async def run(self) -> Outcome:
        return await run_application(
            self.spec,
            java=self.java,
            cancel=self.cancel,
            waiting=self.calls.append,
            started=noting(self.calls),
            options=self.options,
        )

    async def printed(self, line: str) -> None:
        """Wait until the script has printed this line."""
        await until(lambda: line in self.lines())

    async def no_process_is_left(self) -> None:
        """Wait until no process is left: a grandchild may end a little later."""
        await until(lambda: not self.processes())

    def processes(self) -> list[int]:
        """Return the live processes of this run: all inherit its private folder as TMPDIR."""
        return processes_of(self.spec.work)


def processes_of(work: Path) -> list[int]:
    mark = f"TMPDIR={work}/".encode()
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                environment = (process / "environ").read_bytes()
            except OSError:
                continue
            if any(variable.startswith(mark) for variable in environment.split(b"\0")):
                found.append(int(process.name))
    return found


def java_that(home: Path, does: str) -> Java:
    launcher = home / "bin" / "java"
    launcher.parent.mkdir()
    launcher.write_text(f"#!/bin/sh\n{does}\n")
    launcher.chmod(0o755)
    return Java(home, 17, "PATH")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_SECONDS):
        while not holds():  # noqa: ASYNC110  files and /proc send no events
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def java():
    return find_java(os.environ)


@pytest.fixture
def stage(tmp_path, java, request):
    """Return a function that writes a script into a bucket and makes a run of it."""
    is_real = request.node.get_closest_marker("spark")
    options = quick_options(request.getfixturevalue("archives")) if is_real else QUICK_START

    def make(source: str, **changes: Any) -> Stage:
        objects = tmp_path / "객체 저장소 a%20b"
        for bucket in ("scripts", "logs", "lake"):
            (objects / bucket).mkdir(parents=True)
        (objects / "scripts" / "daily.py").write_text(textwrap.dedent(source), "utf-8")
        spec = RunSpec(
            run_id="mY3275GiRXkm",
            job_name="daily",
            script_path="scripts/",
            log_path="logs/runs/",
            parameters={},
            workers=2,
            timeout_seconds=LONG_SECONDS,
            objects=objects,
            work=tmp_path / "work 1",
        )
        return Stage(replace(spec, **changes), java, options)

    return make


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"script_path": "scripts/gone.py"},
            "no script at scripts/gone.py: upload it, or correct scriptPath",
        ),
        (
            {"script_path": "../daily.py"},
            "'../daily.py' is not a path in object storage: write bucket/key, "
            "without a scheme, .. or a leading slash",
        ),
        (
            {"log_path": "/var/log"},
            "'/var/log' is not a path in object storage: write bucket/key, "
            "without a scheme, .. or a leading slash",
        ),
        (
            {"log_path": "history/runs/"},
            "no bucket 'history' for the logs at history/runs/: make it, or correct logPath",
        ),
        ({"parameters": {"$": "x"}}, "the parameter '$' has no name: write $name"),
    ],
    ids=["no script", "script outside", "log outside", "no log bucket", "no parameter name"],
)
async def test_a_run_with_a_wrong_value_fails_before_a_process_starts(stage, changes, reason):
    run = stage("", **changes)

    assert await run.run() == Outcome("FAILED", reason)
    assert run.calls == []
    assert list((run.spec.objects / "logs").iterdir()) == []


@pytest.mark.anyio
async def test_a_run_whose_folder_cannot_be_created_fails(stage):
    run = stage("")
    run.spec.work.write_text("in the way")

    outcome = await run.run()

    assert outcome.state == "FAILED"
    assert outcome.reason.startswith("the run's files could not be prepared: ")
    assert "\n" not in outcome.reason


@pytest.mark.anyio
async def test_a_run_with_a_java_that_does_not_exist_fails(stage):
    run = stage("")
    run.java = Java(Path("/no/such/java"), 17, "JAVA_HOME")

    assert await run.run() == Outcome(
        "FAILED", "Spark did not start: [Errno 2] No such file or directory: '/no/such/java/bin/java'"
    )
    assert run.calls == ["starting Spark"]


@pytest.mark.anyio
async def test_the_reason_quotes_a_java_that_does_not_start(stage, tmp_path):
    run = stage("")
    run.java = java_that(tmp_path, "echo 'Error: no room for the heap' >&2; echo >&2; exit 1")

    assert await run.run() == Outcome(
        "FAILED",
        "Spark did not start: the JVM exited with code 1: Error: no room for the heap (see jvm.log)",
    )
    assert run.calls == ["starting Spark"]


@pytest.mark.anyio
async def test_a_run_canceled_while_spark_starts_never_runs_its_script(stage, tmp_path):
    run = stage("")
    run.java = java_that(tmp_path, "sleep 600")
    run.cancel.set()

    assert await run.run() == Outcome("CANCELED", "canceled on request")
    assert run.calls == ["starting Spark"]
    await run.no_process_is_left()


@pytest.mark.spark
@pytest.mark.anyio
async def test_a_script_whose_start_is_not_stored_does_not_run(stage):
    run = stage("print('begun')")

    async def refuse() -> None:
        raise LookupError("the store is gone")

    with pytest.raises(LookupError, match="the store is gone"):
        await run_application(
            run.spec, java=run.java, cancel=run.cancel, waiting=run.calls.append, started=refuse
        )

    assert run.lines() == []
    await run.no_process_is_left()


@pytest.mark.spark
@pytest.mark.anyio
async def test_a_script_reads_and_writes_its_buckets_and_leaves_its_logs(stage, tmp_path):
    run = stage(
        """
        import json, sys
        from pyspark.sql import SparkSession
        from pyspark.sql.functions import udf

        RATE = 2
        spark = SparkSession.builder.getOrCreate()
        sales = spark.read.csv("s3a://lake/$table", header=True, inferSchema=True)
        doubled = udf(lambda amount: amount * RATE, "int")
        sales.select("shop", doubled("amount").alias("amount")).write.parquet("s3a://lake/결과 1")
        sales.write.saveAsTable("sales")
        print(spark.read.csv("lake/$table").count(), len(open("lake/$table").readlines()), file=sys.stderr)
        for scheme in "s3a", "s3", "s3n":
            sales.write.json(f"{scheme}://lake/{scheme}")
        print(json.dumps({
            "arguments": sys.argv[1:],
            "rows": sorted(map(list, spark.read.parquet("s3://lake/결과 1").collect())),
            "frame": list(spark.table("sales").toPandas().shape),
            "schemes": spark.read.json(["s3a://lake/s3a", "s3a://lake/s3", "s3a://lake/s3n"]).count(),
            "app": [spark.sparkContext.appName, spark.sparkContext.master],
        }))
        for unknown in "s3a://nowhere/tmp", "s3a://lake/none.csv":
            try:
                spark.read.text(unknown)
            except Exception as error:
                print([line for line in str(error).splitlines() if unknown[:13] in line][0])
        print("done", file=sys.stderr)
        """,
        parameters={"$table": "원본/sales.csv", "$run_date": "2026-11-01"},
    )
    run.java = find_java({"DATAFLOW_JAVA": "wheel"})
    source = run.spec.objects / "lake" / "원본" / "sales.csv"
    source.parent.mkdir()
    source.write_text("shop,amount\nseoul,4\nbusan,3\n")

    outcome = await run.run()

    assert (outcome, run.calls) == (Outcome("COMPLETED"), ["starting Spark", "started"]), run.lines()
    counted, found, *errors = run.lines()
    assert counted == "3 3"  # a path without a scheme, for Spark and for Python
    assert json.loads(found) == {
        "arguments": ["--run_date=2026-11-01"],
        "rows": [["busan", 6], ["seoul", 8]],
        "frame": [2, 2],
        "schemes": 6,
        "app": ["daily mY3275GiRXkm", f"local[{min(2, len(os.sched_getaffinity(0)))}]"],
    }
    assert errors == [
        ": java.io.FileNotFoundException: no bucket 'nowhere' for s3a://nowhere/ in the objects of the local "
        "service: make it, or correct the path",
        "[PATH_NOT_FOUND] Path does not exist: s3a://lake/none.csv. SQLSTATE: 42K03",
        "done",
    ]
    assert event_log_is_complete(run)
    log = "".join(file.read_text() for file in run.events.rglob("events_*"))
    named = set(re.findall(r'"Stage Name":"(\w+) at [^"]*/script/daily\.py:\d+"', log))
    assert named >= {"csv", "parquet", "count", "json"}, named
    script, kept = run.spec.objects / "scripts" / "daily.py", run.events.parent / "script.py"
    assert kept.read_bytes() == script.read_bytes()  # with its names of parameters, not their values
    await run.no_process_is_left()
    assert (run.spec.work / "warehouse" / "sales" / "_SUCCESS").exists()
    assert sorted(tmp_path.iterdir()) == sorted([run.spec.objects, run.spec.work])


def event_log_is_complete(run: Stage) -> bool:
    lines = [line for log in run.events.rglob("events_*") for line in log.read_text().splitlines()]
    in_progress = list(run.events.rglob("*.inprogress"))
    return (
        any(json.loads(line)["Event"] == "SparkListenerApplicationEnd" for line in lines) and not in_progress
    )


@pytest.mark.spark
@pytest.mark.anyio
async def test_all_that_spark_writes_is_private(stage):
    run = stage("""
        import os
        from pyspark.sql import SparkSession, functions as F
        spark = SparkSession.builder.getOrCreate()
        table = spark.range(4).withColumn("day", F.col("id") % 2)
        table.write.parquet("s3a://lake/parquet")
        table.write.csv("lake/csv")
        table.write.partitionBy("day").json("s3a://lake/json")
        table.rdd.saveAsTextFile("s3a://lake/text")
        table.write.saveAsTable("own")
        open("lake/plain.txt", "w").write("x")
        for folder in ("lake", spark.conf.get("spark.sql.warehouse.dir").removeprefix("file:")):
            for place, folders, names in os.walk(folder):
                for name in folders + names:
                    mode = os.stat(os.path.join(place, name)).st_mode & 0o077
                    print("seen" if not mode else f"open {mode:o} {place}/{name}")
    """)
    before = os.umask(0o077)  # as the service has it
    try:
        assert await run.run() == Outcome("COMPLETED"), run.lines()
    finally:
        os.umask(before)

    lines = [line for line in run.lines() if line.startswith(("seen", "open "))]
    assert (len(lines) > 20, set(lines)) == (True, {"seen"})
    written = [run.console, run.events, *run.events.rglob("*"), *(run.spec.objects / "lake").rglob("*")]
    assert {
        f"{path} {path.stat().st_mode & 0o077:o}" for path in written if path.stat().st_mode & 0o077
    } == set()


@pytest.mark.spark
@pytest.mark.anyio
async def test_a_script_opens_what_its_user_may_open(stage, tmp_path):
    (tmp_path / "outside.txt").write_text("read outside")
    run = stage(f"""
        import os
        os.symlink({str(tmp_path / "outside.txt")!r}, "lake/link")
        print(open("lake/link").read())
    """)

    assert await run.run() == Outcome("COMPLETED"), run.lines()
    assert run.lines() == ["read outside"]


@pytest.mark.spark
@pytest.mark.anyio
async def test_an_uncaught_error_is_the_reason_and_its_traceback_is_logged(stage):
    run = stage(
        """
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.getOrCreate()
        spark.table("no_such_table").show()
        """
    )

    ended = await run.run()

    assert ended == Outcome("FAILED", "no table or view `no_such_table` [TABLE_OR_VIEW_NOT_FOUND]")
    assert run.lines()[0] == "Traceback (most recent call last):"
    assert run.lines()[1].endswith('/daily.py", line 5, in <module>')
    assert "job.py" not in run.console.read_text()
    assert any("[TABLE_OR_VIEW_NOT_FOUND]" in line for line in run.lines())


@pytest.mark.spark
@pytest.mark.anyio
async def test_the_exit_code_is_the_reason_and_the_whole_output_is_logged(stage):
    run = stage(
        """
        import os, subprocess, sys
        for number in range(20_000):
            os.write(1, b"%08d " % number + b"x" * 200 + b"\\n")
        subprocess.run(["echo", "from a child"])
        print("그리고", file=sys.stderr)
        sys.exit(3)
        """
    )

    assert await run.run() == Outcome("FAILED", "the script exited with code 3")
    assert run.console.stat().st_size == 20_000 * 210 + len("from a child\n그리고\n".encode())
    assert run.lines()[-3:] == ["00019999 " + "x" * 200, "from a child", "그리고"]


@pytest.mark.spark
@pytest.mark.anyio
async def test_a_script_that_prints_without_end_does_not_fill_the_disk(stage):
    run = stage(
        """
        import time
        for number in range(70):
            print(f"{number:03}", "x" * 1_000_000)
        print("printed", flush=True)
        time.sleep(5)
        """
    )

    assert await run.run() == Outcome("COMPLETED")

    assert run.console.stat().st_size <= 1 << 26
    first, *lines = run.lines()
    assert first.endswith("bytes of older output were dropped here]")
    assert lines[-1] == "printed"


@pytest.mark.spark
@pytest.mark.anyio
async def test_the_reason_names_the_signal_that_killed_the_script(stage):
    run = stage("import os, time\nprint(os.getpid())\ntime.sleep(600)\n")
    ending = asyncio.ensure_future(run.run())
    await until(lambda: len(run.lines()) == 1)

    os.kill(int(run.lines()[0]), signal.SIGKILL)

    assert await ending == Outcome("FAILED", "the script was killed by signal 9 (SIGKILL)")
    await run.no_process_is_left()


@pytest.mark.spark
@pytest.mark.anyio
async def test_a_script_that_times_out_is_killed_with_its_children(stage):
    run = stage(
        """
        import signal, subprocess, sys
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        while True:
            pass
        """,
        timeout_seconds=1.5,
    )

    assert await run.run() == Outcome("FAILED", "timed out after 1.5 s")
    await run.no_process_is_left()


LOOPING_UDF = """
    from pyspark.sql import SparkSession

    def forever(row):
        print("looping", flush=True)
        while True:
            pass

    spark = SparkSession.builder.getOrCreate()
    spark.sparkContext.parallelize([1, 2], 2).foreach(forever)
    """


@pytest.mark.spark
@pytest.mark.anyio
async def test_a_run_canceled_in_a_python_udf_leaves_no_worker_and_a_complete_event_log(stage):
    run = stage(LOOPING_UDF)
    ending = asyncio.ensure_future(run.run())
    jvm_log = run.spec.objects / jvm_log_key(run.spec.log_path, run.spec.run_id)
    await until(lambda: jvm_log.exists() and "looping" in jvm_log.read_text())
    groups = {os.getpgid(process) for process in run.processes()}

    run.cancel.set()

    assert await ending == Outcome("CANCELED", "canceled on request")
    assert len(groups) == 2  # pyspark's daemon leads its own group
    await run.no_process_is_left()
    assert event_log_is_complete(run)


@pytest.mark.spark
@pytest.mark.anyio
async def test_cancelling_the_task_kills_its_processes(stage):
    run = stage("print('up')\nwhile True: pass\n")
    task = asyncio.ensure_future(run.run())
    await run.printed("up")

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await run.no_process_is_left()


@pytest.mark.spark
@pytest.mark.anyio
async def test_the_reason_is_the_jvms_end_and_not_the_error_it_causes_in_the_script(stage):
    run = stage(
        """
        import os, signal
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.getOrCreate()
        os.kill(os.getpgrp(), signal.SIGKILL)
        spark.range(3).count()
        """
    )

    assert await run.run() == Outcome(
        "FAILED", "Spark's JVM was killed by signal 9 (SIGKILL) during the run (see jvm.log)"
    )
    await run.no_process_is_left()


@pytest.mark.spark
@pytest.mark.anyio
async def test_progress_shows_tasks_while_a_stage_runs(stage, tmp_path):
    run = stage(
        """
        import os, time
        from pyspark.sql import SparkSession

        def wait(number):
            while number >= 2 and not os.path.exists("$go"):
                time.sleep(0.05)
            return number % 2, number

        spark = SparkSession.builder.getOrCreate()
        numbers = spark.sparkContext.parallelize(range(4), 4).map(wait).reduceByKey(max, 2)
        numbers.collect()
        print(numbers.count())
        """,
        parameters={"$go": str(tmp_path / "go")},
        workers=1,
    )
    reader = EventLogReader(run.events)
    running = asyncio.create_task(run.run())

    await until(lambda: reader.read().tasks_done > 0 or running.done())
    early = reader.read()
    (tmp_path / "go").touch()

    assert await running == Outcome("COMPLETED")
    # The second job skips its first stage, whose results exist.
    assert reader.read(is_final=True) == Progress(3, 3, 8, 0, 8, is_over=True)
    assert (early.stages_done, early.stages_total, early.tasks_total) == (0, 2, 6)
    assert early.tasks_done in {1, 2}  # Spark writes events with a short delay
    assert [(stage.name, stage.tasks_total) for stage in early.running] == [("reduceByKey at daily.py:11", 4)]


SERVICE = """
import asyncio, subprocess, sys
from pathlib import Path
from dataflow_magic.local.spark.java import Java
from dataflow_magic.local.spark.application import run_application
from dataflow_magic.local.run import RunSpec

async def started():
    # Another child of the service, which outlives it and inherits its descriptors.
    subprocess.Popen(["sleep", "600"], close_fds=False)

spec = RunSpec("r1", "daily", "scripts/", "logs/", {}, 2, 600, Path(sys.argv[1]), Path(sys.argv[2]))
java = Java(Path(sys.argv[3]), int(sys.argv[4]), "")
asyncio.run(run_application(spec, java=java, cancel=asyncio.Event(), waiting=str, started=started))
"""


@pytest.mark.spark
@pytest.mark.anyio
async def test_no_run_outlives_a_service_that_is_killed(stage):
    run = stage("print('up')\nwhile True: pass\n", run_id="r1", log_path="logs/")
    arguments = [run.spec.objects, run.spec.work, run.java.home, run.java.version]
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVICE, *map(str, arguments), start_new_session=True
    )
    try:
        await run.printed("up")
        assert len(run.processes()) == 2

        service.kill()
        assert await service.wait() == -signal.SIGKILL

        await run.no_process_is_left()
    finally:
        os.killpg(service.pid, signal.SIGKILL)  # its session holds the sleeping child


@pytest.mark.spark
@pytest.mark.anyio
async def test_a_script_and_its_udfs_import_what_lies_beside_it_and_what_pyfiles_names(stage):
    run = stage(
        """
        import helper, prices.won, packed, single
        from pathlib import Path
        from pyspark.sql import SparkSession
        from pyspark.sql.functions import udf

        spark = SparkSession.builder.getOrCreate()
        frame = spark.range(3).repartition(2)
        print(sorted(row[0] for row in frame.select(udf(helper.double, "long")("id")).collect()))
        print(sorted(frame.rdd.map(lambda row: prices.won.price(row.id) + packed.ONE + single.TEN).collect()))
        print(Path(__file__).with_name("rates.csv").read_text())
        """,
        settings={"spark.submit.pyFiles": "s3a://lake/libs/packed.zip,lake/libs/single.py"},
    )
    scripts = run.spec.objects / "scripts"
    (scripts / "helper.py").write_text("def double(number):\n    return 2 * number\n")
    (scripts / "rates.csv").write_text("1300")
    (scripts / "prices").mkdir()
    (scripts / "prices" / "__init__.py").write_text("")
    (scripts / "prices" / "won.py").write_text("def price(number):\n    return 100 * number\n")
    libs = run.spec.objects / "lake" / "libs"
    libs.mkdir()
    (libs / "single.py").write_text("TEN = 10\n")
    with zipfile.ZipFile(libs / "packed.zip", "w") as archive:
        archive.writestr("packed.py", "ONE = 1\n")
    before = sorted(scripts.rglob("*"))

    assert await run.run() == Outcome("COMPLETED"), run.lines()
    assert run.lines() == ["[0, 2, 4]", "[11, 111, 211]", "1300"]
    assert sorted(scripts.rglob("*")) == before


@pytest.mark.spark
@pytest.mark.anyio
async def test_what_the_jvm_and_its_workers_print_is_in_the_scripts_log(stage):
    run = stage(
        """
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.appName("renamed").getOrCreate()
        sc = spark.sparkContext
        sc.parallelize(["a worker's line"]).foreach(print)
        sc._jvm.org.apache.log4j.Logger.getLogger("my.job").info("hidden")
        sc._jvm.org.slf4j.LoggerFactory.getLogger("my.job").warn("a warning of the script")
        rows = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 3).load().selectExpr("value * 7 as sevens")
        query = rows.writeStream.format("console").trigger(once=True).start()
        query.awaitTermination()
        print("done")
        """
    )

    assert await run.run() == Outcome("COMPLETED"), run.lines()
    console, jvm_log = run.lines(), run.spec.objects / jvm_log_key(run.spec.log_path, run.spec.run_id)
    for line in ("a worker's line", "Batch: 0", "|sevens|", "|    14|"):
        assert console.count(line) == 1, console
        assert line in jvm_log.read_text("utf-8").splitlines()
    assert sum(line.endswith(" WARN job: a warning of the script") for line in console) == 1
    assert "done" in console
    assert "hidden" not in jvm_log.read_text("utf-8")
    assert not any("NativeCodeLoader" in line or "log4j" in line for line in console), console
