"""Runs on a real Spark cluster, whose master and workers are processes of this machine."""

import asyncio
import json
import os
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.options import Options
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.spark.catalog import free_port
from dataflow_magic.local.spark.java import find_java
from dataflow_magic.local.spark.runner import SparkRunner
from tests.local.scripted import noting
from tests.local.spark.cluster import Cluster, a_cluster

pytestmark = pytest.mark.anyio

LONG_SECONDS = 240.0

SCRIPT = """
import json, os, time
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext

def slowly(number):
    time.sleep($seconds)
    return os.getpid()

workers = context.parallelize(range($tasks), $tasks).map(slowly).collect()
spark.range(10).write.mode("overwrite").csv("s3a://lake/numbers")
print(json.dumps({"master": context.master, "workers": len(set(workers)), "tasks": len(workers)}))
"""


@dataclass
class Place:
    """A data folder with a script, and runs of it."""

    folder: DataFolder
    archives: Path
    waits: list[str] = field(default_factory=list)
    cancel: asyncio.Event = field(default_factory=asyncio.Event)

    def log(self, run_id: str, name: str = "console.log") -> Path:
        return self.folder.objects / "logs" / run_id / name

    async def run(self, spark: SparkRunner, run_id: str, **parameters: object) -> Outcome:
        spec = RunSpec(
            run_id=run_id,
            job_name="daily",
            script_path="scripts/",
            log_path="logs/",
            parameters={f"${name}": str(value) for name, value in parameters.items()},
            workers=2,
            timeout_seconds=LONG_SECONDS,
            objects=self.folder.objects,
            work=self.folder.path / "runs" / run_id,
        )
        return await spark(spec, cancel=self.cancel, waiting=self.waits.append, started=noting(self.waits))

    def runner(self, master: str) -> SparkRunner:
        # Executors of 512 MB: both fit on a small machine.
        conf = {"spark.executor.memory": "512m"}
        return SparkRunner(self.folder, self.archives, Options(warm=False, master=master, conf=conf))

    def tasks_done(self, run_id: str) -> int:
        events = self.log(run_id, "events").glob("*/events_*")
        return sum(text.count('"Event":"SparkListenerTaskEnd"') for text in (e.read_text() for e in events))


@pytest.fixture
def place(tmp_path, archives):
    folder = DataFolder(tmp_path / "local")
    for bucket in ("scripts", "logs", "lake"):
        (folder.objects / bucket).mkdir(parents=True)
    (folder.objects / "scripts" / "daily.py").write_text(textwrap.dedent(SCRIPT))
    return Place(folder, archives)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    with a_cluster(tmp_path_factory.mktemp("cluster"), find_java(os.environ)) as cluster:
        yield cluster


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_SECONDS):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def in_background(work) -> asyncio.Task[Outcome]:
    return asyncio.ensure_future(work)


@pytest.mark.spark
async def test_runs_use_the_cluster_and_survive_the_loss_of_a_worker(cluster, place):
    async with place.runner(cluster.url) as spark:
        canceled = in_background(place.run(spark, "run000000001", seconds=600, tasks=2))
        await until(lambda: len(cluster.executors()) == 2)
        place.cancel.set()
        assert await canceled == Outcome("CANCELED", "canceled on request")
        await until(lambda: not cluster.executors())

        place.cancel.clear()
        place.waits.clear()
        running = in_background(place.run(spark, "run000000002", seconds=0.5, tasks=24))
        await until(lambda: place.tasks_done("run000000002") > 2)
        assert len(cluster.executors()) == 2  # as many as numWorker
        cluster.kill_a_worker()

        assert await running == Outcome("COMPLETED"), place.log("run000000002").read_text()
        # A busy machine may take 15 seconds for the first executor, which the run then reports.
        waits = [each for each in place.waits if each not in {"", f"a worker of {cluster.url}"}]
        assert waits == [f"the Spark master at {cluster.url}", "starting Spark", "started"]
        result = json.loads(place.log("run000000002").read_text().splitlines()[-1])
        assert result["master"] == cluster.url
        assert result["tasks"] == 24
        assert result["workers"] >= 2
        assert list((place.folder.objects / "lake" / "numbers").glob("part-*"))

        cluster.kill_the_master()
        place.waits.clear()
        assert await place.run(spark, "run000000003", seconds=0, tasks=1) == Outcome(
            "FAILED",
            f"no Spark master answers at {cluster.url}: start it, or start the service with another --master",
        )
        assert place.waits == [f"the Spark master at {cluster.url}"]


async def test_a_run_fails_at_once_when_no_master_answers(place):
    master = f"spark://127.0.0.1:{free_port()}"
    async with place.runner(master) as spark:
        ended = await place.run(spark, "run000000001", seconds=0, tasks=1)

    assert ended == Outcome(
        "FAILED", f"no Spark master answers at {master}: start it, or start the service with another --master"
    )
