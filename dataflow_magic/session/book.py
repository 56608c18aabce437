"""Writes what becomes of runs to the ledger: a start before it leaves, its answer at once, all else gathered. On the loop.

A ledger that cannot be written stops no run that goes on: what is not written is written with the next change.
"""

from __future__ import annotations

import asyncio
import logging

from dataflow_magic import errors
from dataflow_magic.ledger.ledger import Ledger
from dataflow_magic.models.view import RunView
from dataflow_magic.session.run import Run

__all__ = ["Book"]

logger = logging.getLogger(__name__)

WRITE_SECONDS = 0.25
"""How long changes of runs are gathered before they are written together."""


class Book:
    """What of this process's runs is to be written to a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._changed: set[Run] = set()
        self._unwritten: set[Run] = set()
        self._writing: asyncio.Task[None] | None = None

    async def intend(self, view: RunView) -> None:
        """Have a start on the disk before its request leaves.

        Raises
        ------
        ConfigError
            It cannot be written, so it must not be sent.
        """
        await asyncio.to_thread(self._ledger.add, view)

    async def put(self, view: RunView) -> None:
        """Have what became of a start on the disk at once."""
        try:
            await asyncio.to_thread(self._ledger.update, [view])
        except errors.ConfigError:  # the intent is there, and the next change is written again
            logger.warning("what became of a start could not be written", exc_info=True)

    async def take_back(self, view: RunView) -> None:
        """Strike out a start that was refused."""
        try:
            await asyncio.to_thread(self._ledger.remove, view.key)
        except errors.ConfigError:  # it stays as one that was lost, and is found not to have been started
            logger.warning("a run that was not started could not be taken back", exc_info=True)

    def note(self, run: Run) -> None:
        """Have a run's change written, together with others of the moment."""
        if run.key:
            self._changed.add(run)
            if self._writing is None or self._writing.done():
                self._writing = asyncio.get_running_loop().create_task(self._write_soon())

    async def write(self) -> None:
        """Write what is not written yet."""
        changed, self._changed = self._changed | self._unwritten, set()
        self._unwritten = set()
        if not changed:
            return
        try:
            await asyncio.to_thread(self._ledger.update, [run.view for run in changed])
        except errors.ConfigError:
            self._unwritten = changed
            logger.warning("the ledger could not be written", exc_info=True)

    async def _write_soon(self) -> None:
        while self._changed:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write()
