"""An archive of Java's classes for all Spark tests: with it, a JVM takes half the time to its first result."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.options import Options
from dataflow_magic.local.spark.class_archive import Archive
from dataflow_magic.local.spark.java import find_java
from dataflow_magic.local.spark.jvm import NoSpark, spark_home
from dataflow_magic.local.spark.runner import SparkRunner
from dataflow_magic.local.spark.settings import QUICK_START

__all__ = ["make_archive", "quick_options"]

TRAINING_SECONDS = 240.0


def make_archive(folder: Path) -> None:
    """Make the archive in `folder` unless that was tried, or wait for the process that makes it."""
    folder.mkdir(exist_ok=True)
    with (folder / "tried").open("a+") as tried, ThreadPoolExecutor(1) as aside:
        fcntl.flock(tried, fcntl.LOCK_EX)
        if not tried.tell():
            tried.write("once")
            with suppress(NoSpark):  # tests do without where the machine is too busy
                # On a thread: a browser test has an event loop in this one.
                aside.submit(asyncio.run, _make(folder)).result()


def quick_options(folder: Path) -> list[str]:
    """Return the options of a JVM that uses the archive."""
    return [*QUICK_START, *Archive(folder, find_java(os.environ), spark_home()).options()]


async def _make(folder: Path) -> None:
    data = DataFolder(folder / "data")
    data.make()
    java, home = find_java(os.environ), spark_home()
    async with SparkRunner(data, folder, Options(warm=False)) as runner:

        async def train(options: Sequence[str]) -> bool:
            # As the runner does it, but with the usual priority: tests wait for it.
            gateway = await runner._warmed(java, home, [*QUICK_START, *options], seconds=TRAINING_SECONDS)
            await gateway.group.close(TRAINING_SECONDS)
            return gateway.process.returncode == 0

        await Archive(folder, java, home).make(train)
