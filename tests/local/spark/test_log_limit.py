"""Logs that other processes write while the service cuts them."""

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

from dataflow_magic.local.spark.log_limit import limit_logs
from tests.local.scripted import until

pytestmark = pytest.mark.anyio

LINES = r"""
import os, sys
for number in range(20_000):
    os.write(1, b"line %05d\n" % number)
print("written", file=sys.stderr, flush=True)
sys.stdin.readline()
os.write(1, b"the last line\n")
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
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", LINES, stdout=output, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        async with limiting(log, tmp_path / "none.log", most_bytes=40_000):
            assert process.stderr
            assert await process.stderr.readline() == b"written\n"
            await until(lambda: log.stat().st_size <= 40_000)
            await process.communicate(b"go\n")
            await until(lambda: log.stat().st_size <= 40_000)

    first, *lines = log.read_text().splitlines()
    assert log.stat().st_size <= 40_000
    assert first.startswith("[")
    assert first.endswith(" bytes of older output were dropped here]")
    assert lines.pop() == "the last line"
    assert [line for line in lines if not line.startswith("line ")] == []


async def test_a_log_is_not_changed_any_more_once_the_limit_has_ended(tmp_path):
    log = tmp_path / "console.log"
    lines = b"".join(b"line %05d\n" % number for number in range(100_000))  # 1.1 MB
    for milliseconds in range(12):
        log.write_bytes(lines)
        async with limiting(log, most_bytes=900_000):
            await asyncio.sleep(milliseconds / 1_000)

        left = log.read_bytes()
        await asyncio.sleep(0.02)
        assert log.read_bytes() == left
        assert left in (lines, b"[875006 bytes of older output were dropped here]\n" + lines[875_006:])


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
