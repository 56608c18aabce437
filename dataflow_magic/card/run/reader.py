"""Reads what only the card of a run shows: how long its job took before, its progress, the end of its log.

Reads while a user can see it, and no longer. Starts no thread; knows no session and no client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, Protocol

from dataflow_magic import errors
from dataflow_magic.card import format as fmt
from dataflow_magic.card.painter import Submit
from dataflow_magic.models.log import LogTail
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
        """Return the last whole lines of its log, oldest first."""

    async def read_last_lines(self) -> None:
        """Read the end of an ended run's log for its card, unless that is known."""

    async def read_hotspots(self) -> None:
        """Read where an ended run's time went for its card, unless that is known."""


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
        """Begin reading the past and the progress, or of a run that is over its log's end and its stages; from any thread."""
        self._submit(self._read_end() if self._run.is_over else self._read())

    def read_log(self, wanted: bool) -> None:
        """Begin or end reading the log; from any thread."""
        self._wants_log = wanted
        self._submit(self._read_log())

    async def _read_end(self) -> None:
        await self._run.read_last_lines()
        await self._run.read_hotspots()

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
        if not self._wants_log:
            self._run.set_card_fields(log_tail=None)
        elif not self._is_reading_log:
            self._is_reading_log = True
            try:
                await self._keep_reading_log()
            finally:
                self._is_reading_log = False

    async def _keep_reading_log(self) -> None:
        log = LogTail()
        while self._wants_log:
            is_over = self._run.is_over  # before the read, so that the last one has the end of the log
            try:
                log = log.after([fmt.log_line(line) for line in await self._run.read_log_tail()])
            except errors.DataflowError as error:
                log = replace(log, fault=str(error))
            if self._wants_log:
                self._run.set_card_fields(log_tail=log)
            if is_over:
                return
            await asyncio.sleep(LOG_SECONDS)
