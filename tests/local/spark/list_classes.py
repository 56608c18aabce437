"""``make classes``: lists the classes that the warm-up's session loads in a fresh JVM, in their order."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from dataflow_magic.local.spark.java import find_java
from dataflow_magic.local.spark.jvm import gateway_command, launch_gateway, spark_home
from dataflow_magic.local.spark.process_group import ProcessGroup
from dataflow_magic.local.spark.runner import run_program
from dataflow_magic.local.spark.settings import CLASSES, QUICK_START

__all__ = ["loaded"]

WARMUP = CLASSES.with_name("warmup.py")
SETTINGS = {
    "spark.master": "local[2]",
    "spark.app.name": "classes",
    "spark.ui.enabled": "false",
    "spark.eventLog.enabled": "true",
    "spark.eventLog.compress": "false",
}
_LOADED = re.compile(r"\] ([\w.$]+) source: ")
_MADE_BY_RUNS = re.compile(r"\$\$Lambda|LambdaForm|GeneratedClass|jdk\.proxy|\$Proxy|Accessor[0-9]+$")


def loaded(log: Iterable[str]) -> list[str]:
    """Return the classes in Java's log of loaded classes, without those that are made anew in each JVM."""
    found = (_LOADED.search(line) for line in log)
    return [match[1] for match in found if match and not _MADE_BY_RUNS.search(match[1])]


async def main() -> None:
    """Write the list."""
    java, home = find_java(os.environ), spark_home()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        settings = SETTINGS | {"spark.eventLog.dir": folder.as_uri(), "java.io.tmpdir": place}
        log = folder / "classes.log"
        command = gateway_command(java, home, [*QUICK_START, f"-Xlog:class+load:file={log}"], settings)
        group = ProcessGroup(folder)
        try:
            gateway = await launch_gateway(command, group, folder, home=home, log=folder / "jvm.log")
            assert gateway is not None
            await run_program(gateway, home, WARMUP, str(folder / "enough"))
        finally:
            await group.end()
        names = loaded(log.read_text("utf-8", "replace").splitlines())
    CLASSES.write_bytes(gzip.compress("\n".join(names).encode("ascii"), mtime=0))


if __name__ == "__main__":
    asyncio.run(main())
