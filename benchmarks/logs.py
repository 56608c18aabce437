"""A log of 1 GB in object storage: read, searched and tailed, beside the storage's own range reads.

The storage is a real one, SeaweedFS on loopback, which checks signatures. Each way is a process of its own, so that its memory is
its own; the ways take turns, and the medians of the rounds count. Every line goes through what users get: folding, masking of
two secrets, cutting. The peer reads the same object by ranges of the same size, with the same client, and looks at nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))

from dataflow_magic.client.objects import CloudObjects
from dataflow_magic.models.secret import Secret, masked_text
from dataflow_magic.session.logs.follow import LogLines, log_options
from dataflow_magic.session.logs.reader import PART_BYTES
from dataflow_magic.session.logs.search import Search
from dataflow_magic.session.loop import LoopThread
from tests.object_storage import ACCESS, SECRET, object_storage

T = TypeVar("T")
PATH = "logs/history/run000000001/console.log"
LINE = "2026-11-27 05:{:02}:16,123 INFO TaskSetManager: Finished task {}.0 in stage 4.0 (TID {}) in 45 ms on worker-2 (executor 1)\n"
RARE = "2026-11-27 05:14:16,123 ERROR Executor: Exception in task 0.0\n"
LINES_PER_BLOCK = 100_000
GIGABYTE = 10**9
ROUNDS = 5
PATIENCE_SECONDS = 300


def blocks(size: int) -> Iterator[bytes]:
    """Yield a log of at least so many bytes; each block has one rare line."""
    block = "".join(LINE.format(number % 60, number, number) for number in range(LINES_PER_BLOCK)) + RARE
    content = block.encode()
    for _ in range(-(-size // len(content))):
        yield content


async def upload(endpoint: str, size: int) -> None:
    """Write the log, in parts."""
    import obstore

    store, key = CloudObjects(ACCESS, secret(), endpoint)._locate(PATH)  # noqa: SLF001 - written by no user
    await obstore.put_async(store, key, blocks(size))


def secret() -> Any:
    from pydantic import SecretStr

    return SecretStr(SECRET)


class Source:
    """A run that is over, whose log this is."""

    is_over = True

    def __init__(self, endpoint: str) -> None:
        self._loop = LoopThread()
        self._objects = CloudObjects(ACCESS, secret(), endpoint)
        self._secrets = {"": Secret.of(SECRET), "$token": Secret.of("p@ss/word+12 of the run")}

    def submit(self, coroutine: Coroutine[Any, Any, T], /) -> concurrent.futures.Future[T]:
        return self._loop.submit(coroutine)

    async def objects(self) -> CloudObjects:
        return self._objects

    async def find(self) -> Search:
        return Search(PATH, ())

    def mask(self, text: str) -> str:
        return masked_text(text, self._secrets)

    def way_back(self) -> str:
        return ""


def ranges(endpoint: str) -> int:
    """Read all by ranges, one after another, and return the number of bytes."""

    async def read() -> int:
        objects = CloudObjects(ACCESS, secret(), endpoint)
        size = await objects.size(PATH)
        return sum(
            [
                len(await objects.part(PATH, place, min(size, place + PART_BYTES)))
                for place in range(0, size, PART_BYTES)
            ]
        )

    return asyncio.run(read())


def count(endpoint: str, **options: Any) -> int:
    """Return the number of lines, taken in lists as the magic and the command take them."""
    return sum(map(len, LogLines(Source(endpoint), log_options(**options)).batches()))


def one_by_one(endpoint: str) -> int:
    """Return the number of lines that ``async for`` takes."""

    async def take() -> int:
        number = 0
        async for _ in LogLines(Source(endpoint), log_options(follow=True)):
            number += 1
        return number

    return asyncio.run(take())


WAYS: dict[str, Callable[[str], int]] = {
    "the storage's range reads": ranges,
    "--follow, all lines": lambda endpoint: count(endpoint, follow=True),
    "async for, all lines": one_by_one,
    "--grep, 1 of 100,001 lines": lambda endpoint: count(endpoint, grep="ERROR|Exception"),
    "--grep, every second line": lambda endpoint: count(endpoint, grep=r"task \d*[02468]\.0 "),
    "--tail 50": lambda endpoint: count(endpoint, tail=50),
}


def measure(way: str, endpoint: str) -> dict[str, float]:
    """Return what one way found, its seconds, its processor seconds, and by how many MB the process grew."""
    import obstore  # noqa: F401 - what a session has loaded already
    import re2  # noqa: F401

    before, cpu, begin = _most_memory(), time.process_time(), time.perf_counter()
    found = WAYS[way](endpoint)
    return {
        "found": found,
        "seconds": time.perf_counter() - begin,
        "cpu": time.process_time() - cpu,
        "grown": _most_memory() - before,
    }


def _most_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def in_child(*words: str) -> dict[str, float]:
    """Return what this file prints as JSON in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, *words], stdout=subprocess.PIPE, check=True, timeout=PATIENCE_SECONDS
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(size: int, rounds: int) -> None:
    """Measure and print."""
    print(
        f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, a log of {size / 1e9:g} GB, {rounds} rounds\n"
    )
    with tempfile.TemporaryDirectory() as folder, object_storage(Path(folder)) as storage:
        asyncio.run(upload(storage.endpoint, size))
        ranges(storage.endpoint)  # fills the caches of the storage
        taken: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                taken[way].append(in_child("--measure", way, storage.endpoint))
    peer = [each["seconds"] for each in taken["the storage's range reads"]]
    print(f"{'':<28}{'found':>14}{'median':>10}{'of the peer':>13}{'worst':>8}{'CPU':>9}{'memory':>10}")
    for way, each in taken.items():
        ratios = [one["seconds"] / other for one, other in zip(each, peer, strict=True)]
        seconds, cpu = (statistics.median(one[name] for one in each) for name in ("seconds", "cpu"))
        print(
            f"{way:<28}{each[0]['found']:>14,}{seconds:>8.2f} s{statistics.median(ratios):>12.2f}x{max(ratios):>7.2f}x"
            f"{cpu:>7.2f} s{max(one['grown'] for one in each):>7.0f} MB"
        )


def from_command_line() -> None:
    """Be the process the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=GIGABYTE, metavar="BYTES", help="of the log")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(*given.measure)))
    else:
        main(given.size, given.rounds)


if __name__ == "__main__":
    from_command_line()
