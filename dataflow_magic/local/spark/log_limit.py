"""Keeps the logs of a run from filling the disk while others write them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["MOST_BYTES", "keep_bounded"]

logger = logging.getLogger(__name__)

MOST_BYTES = 64 << 20
"""Of one log. A script that prints ten lines a second has them for days."""
LOOK_SECONDS = 1.0
KEPT = 4
"""What part of a log is kept when it is cut: a fourth."""


async def keep_bounded(
    logs: Iterable[Path], most_bytes: int = MOST_BYTES, look_seconds: float = LOOK_SECONDS
) -> None:
    """Cut logs that grow over a size to their last fourth, with a line that says so; until cancelled.

    Parameters
    ----------
    logs
        Whoever writes one must append, as ``open(..., "a")`` and a shell's ``>>`` do. What is written in the
        very moment of a cut may be lost. One that is not there is passed over.
    most_bytes
        Of each. Between two looks a log can grow over it.
    """
    logs = list(logs)
    while True:
        for log in logs:
            with suppress(FileNotFoundError):
                size = log.stat().st_size
                if size > most_bytes:
                    try:
                        await asyncio.to_thread(_cut, log, size - most_bytes // KEPT)
                    except OSError as error:  # the run is not to fail for its log
                        logger.warning("%s cannot be cut: %s", log.name, error.strerror)
        await asyncio.sleep(look_seconds)


def _cut(log: Path, dropped: int) -> None:
    with log.open("r+b") as file:
        file.seek(dropped)
        dropped += len(file.readline())  # to the beginning of a line
        kept = file.read()
        file.seek(0)
        file.write(b"[%d bytes of older output were dropped here]\n" % dropped + kept)
        file.truncate()
