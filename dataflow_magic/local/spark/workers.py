"""Notices from a run's event log that no worker of a cluster takes its work. Starts no process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["PATIENCE_SECONDS", "report_missing_workers"]

PATIENCE_SECONDS = 15.0
"""From the application's start, as Spark itself waits before its first warning of the kind."""
_POLL_SECONDS = 1.0
_STARTED = b'"Event":"SparkListenerApplicationStart"'
_WORKER = b'"Event":"SparkListenerExecutorAdded"'
_READ_BYTES = 4 << 20  # until the first worker comes, an event log holds the settings and little else


async def report_missing_workers(
    events: Path,
    master: str,
    waiting: Callable[[str], None],
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    poll_seconds: float = _POLL_SECONDS,
) -> None:
    """Report that a run waits for a worker of its cluster, and that it no longer does; return when it has one.

    Parameters
    ----------
    events
        The folder of the run's event log.
    waiting
        Called with what the run waits for after `patience_seconds` without a worker, and with an empty text when the first
        one has come.
    """
    loop = asyncio.get_running_loop()
    started: float | None = None
    is_reported = False
    while True:
        content = await asyncio.to_thread(_read, events)
        if _WORKER in content:
            if is_reported:
                waiting("")
            return
        if _STARTED in content and started is None:
            started = loop.time()
        if started is not None and not is_reported and loop.time() - started >= patience_seconds:
            is_reported = True
            waiting(f"a worker of {master}")
        await asyncio.sleep(poll_seconds)


def _read(events: Path) -> bytes:
    content = b""
    with suppress(OSError):
        for file in sorted(
            path for path in events.rglob("*") if path.is_file() and not path.name.startswith(".")
        ):
            with file.open("rb") as log:
                content += log.read(_READ_BYTES)
    return content
