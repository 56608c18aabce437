"""Keeps the logs of a run below a size while other processes write them. Knows neither runs nor Spark."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["MOST_LOG_BYTES", "limit_logs"]

logger = logging.getLogger(__name__)

MOST_LOG_BYTES = 64 << 20
"""Of one log. A script that prints ten lines a second fills it in days."""
SIZE_CHECK_SECONDS = 1.0
KEPT_SHARE = 0.25
"""Of `MOST_LOG_BYTES`, what a cut leaves."""

BLOCK_BYTES = 1 << 20


async def limit_logs(
    logs: Iterable[Path], most_bytes: int = MOST_LOG_BYTES, check_seconds: float = SIZE_CHECK_SECONDS
) -> None:
    """Cut each log that grows over the limit to its last quarter, below a line that reports the cut; until cancelled.

    A cut that has begun is complete when the cancelled task ends, so a reader then finds whole lines.

    Parameters
    ----------
    logs
        Their writers must append, as ``open(..., "a")`` and a shell's ``>>`` do. A line written during a cut may be
        lost. A file that does not exist is skipped.
    most_bytes
        Limit of each log. A log can exceed it between two checks.
    """
    logs = list(logs)
    while True:
        for log in logs:
            with suppress(FileNotFoundError):
                size = log.stat().st_size
                if size > most_bytes:
                    try:
                        await _complete(asyncio.to_thread(_cut, log, size - int(most_bytes * KEPT_SHARE)))
                    except OSError as error:  # a run must not fail because of its log
                        logger.warning("%s cannot be cut: %s", log.name, error.strerror)
        await asyncio.sleep(check_seconds)


async def _complete(work: Coroutine[Any, Any, None]) -> None:
    # A cancelled task leaves its thread running.
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _cut(log: Path, dropped: int) -> None:
    with log.open("r+b") as file:
        file.seek(dropped)
        dropped += len(file.readline())  # up to the start of a line
        log_file, copied = file.fileno(), dropped
        end = os.pwrite(log_file, b"[%d bytes of older output were dropped here]\n" % dropped, 0)
        while block := os.pread(log_file, BLOCK_BYTES, copied):
            copied += len(block)
            end += os.pwrite(log_file, block, end)
        # At once: this drops what a process writes after the last read.
        os.ftruncate(log_file, end)
