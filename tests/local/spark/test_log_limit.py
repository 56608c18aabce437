"""Logs that other processes write while the service cuts them."""

import asyncio
import sys
from contextlib import asynccontextmanager

import pytest

from dataflow_magic.local.spark.log_limit import limit_logs

pytestmark = pytest.mark.anyio

LINES = """
for number in range(20_000):
    print(f"line {number:05}", flush=True)
"""


@asynccontextmanager
async def limiting(*logs, most_bytes):
    task = asyncio.create_task(limit_logs(logs, most_bytes, check_seconds=0.01))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_log_over_its_limit_keeps_its_end_and_reports_how_much_was_dropped(tmp_path):
    log = tmp_path / "console.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", LINES, stdout=output)
        async with limiting(log, tmp_path / "none.log", most_bytes=40_000):
            await process.wait()
            await asyncio.sleep(0.1)

    first, *lines = log.read_text().splitlines()
    assert log.stat().st_size <= 40_000
    assert first.startswith("[")
    assert first.endswith(" bytes of older output were dropped here]")
    assert lines[-1] == "line 19999"
    assert all(line.startswith("line ") for line in lines)


async def test_a_log_at_its_limit_is_left_unchanged(tmp_path):
    log = tmp_path / "console.log"
    log.write_bytes(b"x" * 400)

    async with limiting(log, most_bytes=400):
        await asyncio.sleep(0.05)

    assert log.read_bytes() == b"x" * 400


async def test_a_single_line_over_the_limit_is_dropped(tmp_path):
    log = tmp_path / "console.log"
    log.write_bytes(b"x" * 4_000)

    async with limiting(log, most_bytes=400):
        await asyncio.sleep(0.05)

    assert log.read_bytes() == b"[4000 bytes of older output were dropped here]\n"
