"""Copies what one process logs to the log of another as it comes. Knows neither runs nor Spark."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dataflow_magic.local.tasks import end_tasks

__all__ = ["copy_lines"]

logger = logging.getLogger(__name__)

CHECK_SECONDS = 0.1
MOST_BYTES = 1 << 20
"""Of one copy, so that a log that grows fast is copied in parts."""


@asynccontextmanager
async def copy_lines(source: Path, target: Path, check_seconds: float = CHECK_SECONDS) -> AsyncIterator[None]:
    """Append each line that `source` gets inside the block to `target`; the last ones when the block ends.

    What `source` holds at the start is left out. Where `source` becomes shorter, it was cut: the copy goes on at its end.
    An error of a file is logged and ends the copy, not the block.
    """
    copy = _Copy(source, target)
    copying = asyncio.create_task(_until_cancelled(copy, check_seconds))
    try:
        yield
    finally:
        await end_tasks([copying])
        await asyncio.to_thread(copy.rest)


async def _until_cancelled(copy: _Copy, check_seconds: float) -> None:
    while await asyncio.to_thread(copy.next):  # noqa: ASYNC110 - files send no events
        await asyncio.sleep(check_seconds)


class _Copy:
    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._target = target
        self._place = source.stat().st_size if source.exists() else 0

    def next(self, *, is_last: bool = False) -> bool:
        """Copy the whole lines that have come, at most `MOST_BYTES`, and without an end the last one; False on an error."""
        try:
            size = self._source.stat().st_size if self._source.exists() else 0
            if size <= self._place:
                self._place = size
                return True
            with self._source.open("rb") as source:
                source.seek(self._place)
                content = source.read(MOST_BYTES)
            if not is_last and len(content) < MOST_BYTES:
                content = content[: content.rfind(b"\n") + 1]
            if content:
                with self._target.open("ab") as target:
                    target.write(content)
            self._place += len(content)
        except OSError as error:  # a run must not fail because of its log
            logger.warning("%s cannot be copied: %s", self._source.name, error.strerror)
            return False
        return True

    def rest(self) -> None:
        """Copy what is left, at most 64 MB."""
        for _ in range(64):
            place = self._place
            if not self.next(is_last=True) or self._place == place:
                return
