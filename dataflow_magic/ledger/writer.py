"""Writes runs to the ledger: a start before its request leaves, its outcome at once, other changes in batches.

Works on the caller's event loop; knows no live run. A ledger that cannot be written stops no run that is active: the
next batch contains what the last one failed to write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from dataflow_magic import errors
from dataflow_magic.ledger.ledger import Ledger
from dataflow_magic.models.attempt import Attempt
from dataflow_magic.models.view import RunView

__all__ = ["LedgerWriter", "StartLog"]

logger = logging.getLogger(__name__)

BATCH_SECONDS = 0.25
"""How long changes are collected before they are written together."""


class StartLog:
    """Keeps the attempts of one start; see `dataflow_magic.client.sending.AttemptLog`."""

    def __init__(self, ledger: Ledger, key: str, kept: Iterable[Attempt] = ()) -> None:
        self._ledger = ledger
        self._key = key
        self._kept = {attempt.number: attempt for attempt in kept}

    @property
    def kept(self) -> tuple[Attempt, ...]:
        """The attempts in the order of sending, each as it was last noted."""
        return tuple(self._kept.values())

    async def write(self, attempt: Attempt) -> None:
        """Write an attempt before it is sent; raises ConfigError where it cannot be written, so it must not be sent."""
        await asyncio.to_thread(self._ledger.keep, self._key, [attempt])
        self.note(attempt)

    def note(self, attempt: Attempt) -> None:
        """Note how an attempt ended; it is written with the outcome of the start."""
        self._kept[attempt.number] = attempt


class LedgerWriter:
    """What this process writes to a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._logs: dict[str, StartLog] = {}
        """By key: the attempts of starts whose run is unknown."""
        self._changed: dict[str, RunView] = {}
        """By key: the newest view of each run that changed."""
        self._unwritten: dict[str, RunView] = {}
        """By key: what a batch failed to write."""
        self._batch: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()

    async def intend(self, view: RunView) -> None:
        """Write a start; it is on disk when this returns.

        Raises
        ------
        ConfigError
            The ledger cannot be written, so the start must not be sent.
        """
        await asyncio.to_thread(self._ledger.add, view)

    def attempts(self, key: str, kept: Iterable[Attempt] = ()) -> StartLog:
        """Return what keeps the attempts of a start, beginning with those that the ledger has."""
        log = self._logs[key] = StartLog(self._ledger, key, kept)
        return log

    def kept(self, key: str) -> tuple[Attempt, ...] | None:
        """Return the attempts of a start whose run is unknown; None where they are. Any thread may call."""
        log = self._logs.get(key)
        return None if log is None else log.kept

    async def settle(self, view: RunView, kept: Iterable[Attempt] = ()) -> bool:
        """Write the outcome of a start; it is on disk when this returns, unless the ledger cannot be written.

        Returns
        -------
        bool
            False where another run of the ledger has the id: the start's run is another one.
        """
        try:
            return not await asyncio.to_thread(self._ledger.update, [view], {view.key: tuple(kept)})
        except errors.ConfigError:  # the start is in the ledger, and the run's next change is written again
            logger.warning("the outcome of a start could not be written", exc_info=True)
            return True

    async def withdraw(self, view: RunView) -> None:
        """Delete a start that the service refused."""
        self._logs.pop(view.key, None)
        try:
            await asyncio.to_thread(self._ledger.remove, view.key)
        except (
            errors.ConfigError
        ):  # it stays as a lost response, and reconciling finds that it was not started
            logger.warning("a run that was not started could not be deleted", exc_info=True)

    def note(self, view: RunView) -> None:
        """Write a change of a run with the next batch."""
        if view.key:
            if view.execution is not None:
                self._logs.pop(view.key, None)
            self._changed[view.key] = view
            if self._batch is None or self._batch.done():
                self._batch = asyncio.get_running_loop().create_task(self._write_batches())

    async def flush(self) -> None:
        """Write all changes; they are on disk when this returns. What cannot be written is tried again with the next change."""
        async with self._flushing:
            changed, self._changed = self._unwritten | self._changed, {}
            self._unwritten = {}
            if not changed:
                return
            try:
                await asyncio.to_thread(self._ledger.update, changed.values())
            except errors.ConfigError:
                self._unwritten = changed
                logger.warning("the ledger could not be written", exc_info=True)

    async def _write_batches(self) -> None:
        while self._changed:
            await asyncio.sleep(BATCH_SECONDS)
            await self.flush()
