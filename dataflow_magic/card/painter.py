"""Keeps what is shown of one run up to date: paints what changes, and reads meanwhile what only a card tells.

While a cell waits it paints from its own thread, otherwise the loop does. Starts no thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Protocol

from dataflow_magic import errors
from dataflow_magic.card.presenter import Presenter
from dataflow_magic.card.run.state import tick_seconds
from dataflow_magic.models.view import KST, Past, Progress, RunView
from dataflow_magic.models.wire import RunState

__all__ = ["Showing", "Subject", "Submit"]

logger = logging.getLogger(__name__)

PAINT_SECONDS = 0.5
PROGRESS_SECONDS = 1.0
LOG_SECONDS = 2.0

Submit = Callable[[Coroutine[Any, Any, Any]], "concurrent.futures.Future[Any]"]
"""Runs a coroutine on the loop, from any thread."""


class Subject(Protocol):
    """What of a run is shown, and what can be asked of it meanwhile."""

    @property
    def view(self) -> RunView:
        """All that is known now."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be known."""

    def tell(self, **changes: Any) -> None:
        """Take what only the card is told, as fields of the view; on the loop."""

    def read_past(self) -> Past | None:
        """Return how long its job took before. Blocks."""

    async def read_progress(self) -> Progress | None:
        """Return how far it is, None where nobody will tell."""

    async def read_log_tail(self) -> tuple[str, ...]:
        """Return the last lines of its log."""


class Showing:
    """What is shown of one run.

    Parameters
    ----------
    presenter
        Shows it where we are.
    """

    def __init__(self, run: Subject, presenter: Presenter, submit: Submit) -> None:
        self._run = run
        self._presenter = presenter
        self._submit = submit
        self._news: asyncio.Event | None = None
        self._is_waited_on = False
        self._is_painting = self._is_following = self._is_reading_log = False
        self._wants_log = False

    @property
    def presenter(self) -> Presenter:
        """What shows it."""
        return self._presenter

    def show(self, *, kernel_waits: bool = False, beside: Showing | None = None) -> None:
        """Show the run below the running cell, or in the outputs of another one, and keep it up to date there.

        Parameters
        ----------
        kernel_waits
            The cell goes on to wait, and paints by `paint` until it says `stop_waiting`.
        """
        self._is_waited_on = kernel_waits
        self._presenter.show(
            self._run.view, _now(), kernel_waits=kernel_waits, beside=beside.presenter if beside else None
        )
        if not kernel_waits:
            self._paint_from_now_on()
        if self._presenter.is_shown and not self._run.is_over:
            self._submit(self._follow())

    def paint(self) -> None:
        """Paint from a cell that waits: while it blocks, only its own messages are its output."""
        self._presenter.update(self._run.view, _now(), kernel_waits=True)

    def stop_waiting(self) -> None:
        """Have the loop paint from now on: the cell waits no longer, and the run may go on."""
        self._is_waited_on = False
        self._paint_from_now_on()

    def changed(self) -> None:
        """Take note that there is something new to paint; on the loop."""
        if self._news is not None:
            self._news.set()

    def look_at_log(self, wanted: bool) -> None:
        """Begin or end reading the log's tail; from any thread."""
        self._wants_log = wanted
        self._submit(self._follow_log())

    def paint_now(self) -> None:
        """Paint at once; what cannot be painted is left to the next change."""
        try:
            self._presenter.update(self._run.view, _now())
        except Exception:
            logger.debug("the card of %r could not be painted", self._run, exc_info=True)

    def _paint_from_now_on(self) -> None:
        if not self._presenter.is_shown:
            return
        if self._run.is_over:
            self.paint_now()
        else:
            self._submit(self._paint())

    async def _paint(self) -> None:
        # Decided on the loop, so that a painter about to leave and one about to begin cannot miss each other.
        if self._is_painting:
            return
        self._is_painting = True
        try:
            await self._keep_painting()
        finally:
            self._is_painting = False

    async def _keep_painting(self) -> None:
        painted: RunView | None = None
        since = changed = 0.0
        self._news = news = asyncio.Event()
        while not self._is_waited_on:
            news.clear()
            over, view, now = self._run.is_over, self._run.view, time.monotonic()
            if view is not painted or now - since >= tick_seconds(view.elapsed_seconds(_now())):
                changed = changed if view is painted else now
                painted, since = view, now
                self.paint_now()
            if over:
                return
            # A change is shown at once, and the next one not before this time is over.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), PAINT_SECONDS)
            await asyncio.sleep(max(0.0, changed + PAINT_SECONDS - time.monotonic()))

    async def _follow(self) -> None:
        """Read what only a card tells: how long the job took before, and how far the run is."""
        if self._is_following:
            return
        self._is_following = True
        try:
            if (past := await asyncio.to_thread(self._run.read_past)) is not None:
                self._run.tell(past=past)
            while self._presenter.is_live and not self._run.is_over:
                if self._run.view.status == RunState.RUNNING and not await self._read_progress():
                    return
                await asyncio.sleep(PROGRESS_SECONDS)
        finally:
            self._is_following = False

    async def _read_progress(self) -> bool:
        """Read how far the run is; False where nobody will tell."""
        try:
            progress = await self._run.read_progress()
        except errors.DataflowError:  # the watch tells of a silent service
            return True
        if progress is not None:
            self._run.tell(progress=progress)
        return progress is not None

    async def _follow_log(self) -> None:
        if self._is_reading_log:
            return
        self._is_reading_log = True
        try:
            while self._wants_log and not self._run.is_over:
                try:
                    self._run.tell(log_tail=await self._run.read_log_tail())
                except errors.DataflowError as error:
                    self._run.tell(log_tail=(str(error),))
                await asyncio.sleep(LOG_SECONDS)
        finally:
            self._is_reading_log = False
            self._run.tell(log_tail=None)


def _now() -> datetime:
    return datetime.now(KST)
