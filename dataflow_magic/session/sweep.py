"""`Sweep`, the live handle of many runs of one cell: starts them a few at a time, and tells of all together."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from dataflow_magic import errors
from dataflow_magic.card import format as fmt
from dataflow_magic.card.actions import Actions
from dataflow_magic.card.front_end import current_shell, front_end
from dataflow_magic.card.painter import PAINT_SECONDS, Painter, Submit
from dataflow_magic.card.presenter import Presenter
from dataflow_magic.card.sweep import SWEEP_CARD
from dataflow_magic.card.sweep.state import Rows, SweepState, SweepView, sweep_state
from dataflow_magic.card.sweep.words import ENDED_SENDING, SWEEP_CANCELED, UNSENT, sweep_words_of
from dataflow_magic.models.request import RunRequest, SweepRequest
from dataflow_magic.models.view import KST
from dataflow_magic.models.wire import JobExecution, RunState
from dataflow_magic.session.run import CHANGED, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Sweep"]

logger = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Requests of a sweep that are under way together."""
LEAST_REST: Final = 0.1
LONGEST_REST: Final = 60.0
REST: Final = 2.0
"""Seconds until what was refused as too many is sent again; doubled each time."""
REASON_LENGTH: Final = 300

Start = Callable[[RunRequest, Callable[[Run], None]], Awaitable[Run]]
"""Starts a run, on the loop, and has somebody told of its changes."""


class Sweep:
    """Runs of one job that were started together, live.

    The first is started when the sweep is made and the others by and by, whatever the notebook does meanwhile. Use
    ``sweep.result()`` to wait for all, ``await sweep`` where awaiting is at home, ``sweep.cancel()`` to end them. Showing
    it in a cell shows one card for all. Made by ``%%dataflow_run`` over a block with ``each`` or ``zipped``.
    """

    def __init__(
        self, request: SweepRequest, submit: Submit, *, language: Callable[[], str] = lambda: "en"
    ) -> None:
        self._request = request
        self._total = len(request.requests)
        self._submit = submit
        self._language = language
        self._start: Start | None = None
        self._runs: dict[int, Run] = {}
        self._retried: list[tuple[int, Run]] = []
        self._queue: deque[int] = deque(range(len(request.requests)))
        """Numbers of the requests that are to be sent."""
        self._again: set[int] = set()
        """Numbers of failed runs that are to be started once more."""
        self._stopped = ""
        self._halt = asyncio.Event()
        self._is_sending = False
        self._sending: concurrent.futures.Future[None] | None = None
        self._painter: Painter[SweepState] | None = None
        self._rows = Rows(request.swept)

    def __repr__(self) -> str:
        words = ", ".join(f"{number} {fmt.short(word)}" for word, number in self.counts.items())
        return f"<Sweep of {self._total} runs of {fmt.short(self.job)}: {words}>"

    @property
    def job(self) -> str:
        """The job's name."""
        runs = self.runs
        return runs[0].job if runs else self._request.requests[0].job.text

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs that were sent, in the order the block gives; of one that was started again, the newest."""
        return tuple(run for _, run in self._numbered())

    @property
    def counts(self) -> Mapping[str, int]:
        """How many runs are in each state; ``UNSENT`` are those whose request has not left."""
        runs = self.runs
        counts = Counter(run.status for run in runs)
        if unsent := self._total - len(runs):
            counts[UNSENT] = unsent
        return MappingProxyType(dict(counts))

    @property
    def is_completed(self) -> bool:
        """Whether every run that was asked for completed."""
        return set(self.counts) == {RunState.COMPLETED}

    @property
    def error(self) -> str | None:
        """Why the rest was not sent; None where there is nothing to tell."""
        return self._stopped or None

    @property
    def is_sending(self) -> bool:
        """Whether runs are still being started."""
        return self._is_sending

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be known of any run."""
        return not self.is_sending and all(run.is_over for run in list(self._runs.values()))

    def result(self, timeout: float | None = None) -> tuple[JobExecution, ...]:
        """Wait for all to end and return their last snapshots, in the order of `runs`.

        Parameters
        ----------
        timeout
            Seconds to wait; None waits as long as the runs take.

        Raises
        ------
        SweepFailed
            Not every run that was asked for completed.
        WaitTimeout
            The wait is over; the runs go on.
        """
        self.wait(timeout)
        return self._ended()

    def wait(self, timeout: float | None = None, watch: Callable[[], None] | None = None) -> None:
        """Wait for all to end, whatever the end is.

        Parameters
        ----------
        timeout
            Seconds to wait; None waits as long as the runs take.
        watch
            Called in this thread twice a second at most, and once when all are over.

        Raises
        ------
        WaitTimeout
            Some still go on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            over = self.is_over
            if watch:
                watch()
            if over:
                return
            pause = PAINT_SECONDS if watch else None
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._still_going(timeout or 0.0)
                pause = left if pause is None else min(pause, left)
            with CHANGED:
                CHANGED.wait_for(lambda: self.is_over, pause)

    def wait_sent(self) -> None:
        """Wait until every run is started, or it is known that the rest will not be."""
        if self._sending is not None:
            concurrent.futures.wait([self._sending])

    def __await__(self) -> Generator[Any, None, tuple[JobExecution, ...]]:
        """Wait for all to end without blocking; as `result`, on whatever loop awaits."""
        return self._await().__await__()

    def cancel(self) -> None:
        """Start no more, and ask the service to end those that live; returns once it has answered for each.

        Raises
        ------
        ServiceError
            The service did not take all the requests; the message says how many.
        """
        self._submit(self._cancel()).result()

    def retry_failed(self) -> Sweep:
        """Start the same as each FAILED run once more, as a sweep of its own.

        Raises
        ------
        BadState
            None has failed.
        DataflowError
            The first was certainly not started, and so none.
        """
        return self._sweep_of([number for number, _ in self._failed()], "no run of the sweep has failed")

    def send_rest(self) -> Sweep:
        """Start what was not sent because a start before it was refused, as a sweep of its own.

        Raises
        ------
        BadState
            All were sent, or are being sent.
        DataflowError
            The first was certainly not started, and so none.
        """
        numbers = [] if self._is_sending else [n for n in range(self._total) if n not in self._runs]
        return self._sweep_of(numbers, "nothing of the sweep was left unsent")

    def _sweep_of(self, numbers: list[int], without: str) -> Sweep:
        requests = tuple(self._request.requests[number] for number in numbers)
        if not requests or self._start is None:
            raise errors.BadState(f"{without}; there is nothing to start", status=400)
        request, start = SweepRequest(self._request.swept, requests), self._start
        again = Sweep(request, self._submit, language=self._language)

        async def start_first() -> Run:
            return await start(requests[0], again.note)

        again.begin(self._submit(start_first()).result(), start)
        return again

    def frame(self) -> pd.DataFrame:
        """Return `runs` as a table; see `dataflow_magic.ledger.frame.records_frame`."""
        # Late: pandas takes longer to import than all the rest.
        from dataflow_magic.ledger.frame import runs_frame

        return runs_frame(run.view for run in self.runs)

    # Starting

    def begin(self, first: Run, start: Start) -> None:
        """Take the first run, which was started, and start the others."""
        self._start = start
        self._runs[self._queue.popleft()] = first
        self._send_queue()

    def note(self, _run: Run) -> None:
        """Take note that more is known of a run; on the loop."""
        self._changed()

    def _changed(self) -> None:
        if self._painter is not None:
            self._painter.changed()

    def _send_queue(self) -> None:
        task = self._submit(self._send_all())
        self._stopped = ""
        self._is_sending = True
        # Not that of the task: who waits for it must not be told that it was canceled, as if he were.
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._sending = done
        task.add_done_callback(lambda task: self._sent(task, done))

    def _sent(self, task: concurrent.futures.Future[None], done: concurrent.futures.Future[None]) -> None:
        if task.cancelled() or task.exception():
            self._stopped = self._stopped or ENDED_SENDING
            logger.warning("the sending of %r: %s", self, "stopped" if task.cancelled() else task.exception())
        with CHANGED:
            self._is_sending = False
            CHANGED.notify_all()
        done.set_result(None)

    async def _send_all(self) -> None:
        self._halt.clear()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(self._queue))):
                    group.create_task(self._send_some())
        finally:
            self._queue.clear()
            self._again.clear()
            self._is_sending = False
            self._changed()

    async def _send_some(self) -> None:
        while self._queue:
            number = self._queue.popleft()
            try:
                run = await self._send_one(self._request.requests[number])
            except errors.DataflowError as error:
                # The others differ in values alone: what one is refused for, all but surely are. Nor is it good to go on
                # asking a service that is not to be reached.
                self._stop(str(error))
                return
            if number in self._again:
                self._again.discard(number)
                self._retried.append((number, self._runs[number]))
            self._runs[number] = run
            self._changed()

    async def _send_one(self, request: RunRequest) -> Run:
        assert self._start is not None  # noqa: S101 - set where the sweep begins
        rest = REST
        while True:
            try:
                return await self._start(request, self.note)
            except errors.TooManyRequests as error:
                # Not for good: there is room once runs of this sweep, or of others, are over.
                pause = rest if error.retry_after is None else max(error.retry_after, LEAST_REST)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._halt.wait(), pause)
                if self._halt.is_set():
                    raise
                rest = min(2 * rest, LONGEST_REST)

    def _stop(self, why: str) -> None:
        if not self._halt.is_set():
            self._stopped = why
        self._queue.clear()
        self._halt.set()

    async def _retry(self) -> None:
        """Start the failed runs again in their own places; where all are over, the card has ended and takes no more."""
        if self.is_over:
            return
        failed = [number for number, _ in self._failed() if number not in self._again]
        self._again.update(failed)
        self._queue.extend(failed)
        if failed and not self._is_sending:
            self._send_queue()

    # Ending

    async def _cancel(self) -> None:
        if self._is_sending and self._sending is not None:
            self._stop(SWEEP_CANCELED)
            await self._cancel_live()
            # Starts that were under way are over then, and their runs are known.
            await asyncio.wait([asyncio.wrap_future(self._sending)])
        wrong = await self._cancel_live()
        if wrong:
            raise errors.ServiceError(f"{len(wrong)} of the runs could not be canceled: {wrong[0]}")

    async def _cancel_live(self) -> list[errors.DataflowError]:
        """Return why those that still live could not be canceled."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def cancel(run: Run) -> errors.DataflowError | None:
            async with gate:
                try:
                    await asyncio.to_thread(run.cancel)
                except errors.DataflowError as error:
                    return None if run.is_over else error
                return None

        live = [run for run in self.runs if not run.is_over and not run.view.cancel_requested]
        return [error for error in await asyncio.gather(*map(cancel, live)) if error is not None]

    async def _await(self) -> tuple[JobExecution, ...]:
        while not self.is_over:
            if self._sending is not None:
                # Shielded: who stops awaiting must not end the starting.
                await asyncio.shield(asyncio.wrap_future(self._sending))
            for run in self.runs:
                with contextlib.suppress(errors.DataflowError):
                    await run
        return self._ended()

    def _ended(self) -> tuple[JobExecution, ...]:
        if not self.is_completed:
            raise self.failed()
        return tuple(run.view.execution for run in self.runs if run.view.execution)

    def failed(self) -> errors.SweepFailed:
        """Return the error of a sweep that is over and did not complete: one line, with the first reason."""
        bad = {word: number for word, number in self.counts.items() if word != RunState.COMPLETED}
        words = ", ".join(f"{number} {word}" for word, number in bad.items())
        failed = [run for _, run in self._failed()]
        first = next(iter(failed or [run for run in self.runs if run.status != RunState.COMPLETED]), None)
        reason = " ".join(((first.error if first else self.error) or "").split())[:REASON_LENGTH]
        where = f"run {first.run_id or first.key}" if first else "not sent"
        steps = [f".retry_failed() starts the {len(failed)} failed again"] if failed else []
        steps += [f".send_rest() sends the {bad[UNSENT]} unsent"] if UNSENT in bad else []
        return errors.SweepFailed(
            "; ".join(
                [
                    f"{sum(bad.values())} of {self._total} runs of {fmt.short(self.job)} did not complete ({words})",
                    *([f"{where}: {reason}"] if reason else []),
                    *steps,
                ]
            ),
            run=first,
            sweep=self,
        )

    def _still_going(self, timeout: float) -> errors.WaitTimeout:
        live = self._total - sum(run.is_over for run in self.runs)
        return errors.WaitTimeout(
            f"{live} of {self._total} runs of {fmt.short(self.job)} still go on after {timeout:g} s; wait again, or .cancel() of the sweep ends them",
            run=self,
        )

    def _numbered(self) -> list[tuple[int, Run]]:
        return sorted(self._runs.items())

    def _failed(self) -> list[tuple[int, Run]]:
        return [(number, run) for number, run in self._numbered() if run.status == RunState.FAILED]

    # Showing

    def show(self) -> None:
        """Show the sweep below the running cell and keep it up to date there."""
        self._shown().show()

    def show_and_wait(self, timeout: float | None = None) -> None:
        """Show the sweep and wait for its end; after an interrupt or an error, what is shown stays up to date.

        Raises
        ------
        WaitTimeout
            Some runs are still active.
        """
        self._shown().show_and_wait(lambda paint: self.wait(timeout, paint))

    def _ipython_display_(self) -> None:
        self._shown().show_value()

    def card_state(self, *, kernel_waits: bool = False) -> SweepState:
        """Return what the card of the sweep shows now."""
        # Read before the runs, so that a sweep that is over is shown with all its ends.
        is_over = self.is_over
        view = SweepView(
            swept=self._request.swept,
            total=self._total,
            runs=tuple((number, run.view) for number, run in self._numbered()),
            retried=tuple((number, run.view) for number, run in self._retried),
            retrying=frozenset(self._again),
            stopped=self._stopped,
            is_over=is_over,
        )
        words = sweep_words_of(self._language())
        return sweep_state(view, datetime.now(KST), rows=self._rows, kernel_waits=kernel_waits, words=words)

    def _shown(self) -> Painter[SweepState]:
        if self._painter is None:
            actions = Actions(
                cancel=lambda: self._clicked(self._cancel()), again=lambda: self._clicked(self._retry())
            )
            presenter = Presenter(SWEEP_CARD, actions, front_end(current_shell()))
            self._painter = Painter(self, presenter, self._submit)
        return self._painter

    def _clicked(self, work: Coroutine[Any, Any, None]) -> None:
        self._submit(work).add_done_callback(self._after_click)

    def _after_click(self, done: concurrent.futures.Future[None]) -> None:
        if done.cancelled() or done.exception():
            logger.warning("a button of %r: %s", self, "stopped" if done.cancelled() else done.exception())
        self._shown().presenter.offer()
