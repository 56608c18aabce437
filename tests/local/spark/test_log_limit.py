"""Logs that are written while they are cut."""

import asyncio
import sys
from contextlib import asynccontextmanager

import pytest

from dataflow_magic.local.spark.log_limit import keep_bounded

pytestmark = pytest.mark.anyio

LINES = """
for number in range(20_000):
    print(f"line {number:05}", flush=True)
"""


@asynccontextmanager
async def bounding(*logs, most_bytes):
    task = asyncio.create_task(keep_bounded(logs, most_bytes, look_seconds=0.01))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_log_that_grows_too_large_keeps_its_end_and_says_what_is_gone(tmp_path):
    log = tmp_path / "console.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", LINES, stdout=output)
        async with bounding(log, tmp_path / "none.log", most_bytes=40_000):
            await process.wait()
            await asyncio.sleep(0.1)

    first, *lines = log.read_text().splitlines()
    assert log.stat().st_size <= 40_000
    assert first.startswith("[")
    assert first.endswith(" bytes of older output were dropped here]")
    assert lines[-1] == "line 19999"
    assert all(line.startswith("line ") for line in lines)


async def test_a_log_within_its_bound_is_left_as_it_is(tmp_path):
    log = tmp_path / "console.log"
    log.write_bytes(b"x" * 400)

    async with bounding(log, most_bytes=400):
        await asyncio.sleep(0.05)

    assert log.read_bytes() == b"x" * 400


async def test_one_endless_line_is_cut_too(tmp_path):
    log = tmp_path / "console.log"
    log.write_bytes(b"x" * 4_000)

    async with bounding(log, most_bytes=400):
        await asyncio.sleep(0.05)

    assert log.read_bytes() == b"[4000 bytes of older output were dropped here]\n"
