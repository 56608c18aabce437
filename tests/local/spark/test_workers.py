import asyncio
import contextlib

import pytest

from dataflow_magic.local.spark.workers import report_missing_workers

pytestmark = pytest.mark.anyio
START = '{"Event":"SparkListenerApplicationStart"}\n'
WORKER = '{"Event":"SparkListenerExecutorAdded"}\n'


@contextlib.asynccontextmanager
async def reporting(folder, patience_seconds):
    said: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(
        report_missing_workers(
            folder, "spark://h:7077", said.put_nowait, patience_seconds=patience_seconds, poll_seconds=0.01
        )
    )
    try:
        async with asyncio.timeout(20):
            yield task, said
    finally:
        task.cancel()


async def test_a_run_without_a_worker_says_so_until_one_comes(tmp_path):
    log = tmp_path / "eventlog_v2_app" / "events_1_app"
    log.parent.mkdir()
    log.write_text(START)

    async with reporting(tmp_path, 0.05) as (task, said):
        assert await said.get() == "a worker of spark://h:7077"
        log.write_text(START + WORKER)
        assert await said.get() == ""
        await task

    assert said.empty()


async def test_a_run_whose_worker_comes_in_time_says_nothing(tmp_path):
    (tmp_path / "events").write_text(START + WORKER)

    async with reporting(tmp_path, 0) as (task, said):
        await task

    assert said.empty()


async def test_time_counts_from_the_applications_start(tmp_path):
    async with reporting(tmp_path / "none yet", 0) as (task, said):
        await asyncio.wait({task}, timeout=0.1)
        assert said.empty()
        (tmp_path / "none yet").mkdir()
        (tmp_path / "none yet" / "events").write_text(START)
        assert await said.get() == "a worker of spark://h:7077"
