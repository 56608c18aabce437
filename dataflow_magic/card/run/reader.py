"""Reads what only the card of a run shows: how long its job took before, its progress, the end of its log.

Reads while a user can see it, and no longer. Starts no thread; knows no session and no client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from dataflow_magic import errors
from dataflow_magic.card.painter import Submit
from dataflow_magic.models.view import Past, Progress, RunView
from dataflow_magic.models.wire import RunState

__all__ = ["Readable", "Reader"]

PROGRESS_SECONDS: Final = 1.0
LOG_SECONDS: Final = 2.0


class Readable(Protocol):
    """What can be read of a run."""

    @property
    def view(self) -> RunView:
        """All that is known now."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be known."""

    def set_card_fields(self, **changes: Any) -> None:
        """Set fields of the view that only the card shows; on the loop."""

    def read_past(self) -> Past | None:
        """Return how long its job took before. Blocks."""

    async def read_progress(self) -> Progress | None:
        """Return its progress, None where the service reports none."""

    async def read_log_tail(self) -> tuple[str, ...]:
        """Return the last lines of its log."""


class Reader:
    """Reads for the card of one run.

    Parameters
    ----------
    is_live
        Returns whether a user can watch the card.
    submit
        Runs the reading tasks.
    """

    def __init__(self, run: Readable, is_live: Callable[[], bool], submit: Submit) -> None:
        self._run = run
        self._is_live = is_live
        self._submit = submit
        self._is_reading = self._is_reading_log = False
        self._wants_log = False

    def start(self) -> None:
        """Begin reading the past and the progress, unless the run is over or that has begun; from any thread."""
        if not self._run.is_over:
            self._submit(self._read())

    def read_log(self, wanted: bool) -> None:
        """Begin or end reading the log; from any thread."""
        self._wants_log = wanted
        self._submit(self._read_log())

    async def _read(self) -> None:
        if self._is_reading:
            return
        self._is_reading = True
        try:
            if (past := await asyncio.to_thread(self._run.read_past)) is not None:
                self._run.set_card_fields(past=past)
            while self._is_live() and not self._run.is_over:
                if self._run.view.status == RunState.RUNNING and not await self._read_progress():
                    return
                await asyncio.sleep(PROGRESS_SECONDS)
        finally:
            self._is_reading = False

    async def _read_progress(self) -> bool:
        """Read the progress; False where the service reports none."""
        try:
            progress = await self._run.read_progress()
        except errors.DataflowError:  # the watch reports a silent service
            return True
        if progress is not None:
            self._run.set_card_fields(progress=progress.after(self._run.view.progress))
        return progress is not None

    async def _read_log(self) -> None:
        if self._is_reading_log:
            return
        self._is_reading_log = True
        try:
            while self._wants_log and not self._run.is_over:
                try:
                    tail = await self._run.read_log_tail()
                except errors.DataflowError as error:
                    tail = (str(error),)
                self._run.set_card_fields(log_tail=tail)
                await asyncio.sleep(LOG_SECONDS)
        finally:
            self._is_reading_log = False
            self._run.set_card_fields(log_tail=None)
