"""`Sweep`, the live handle of many runs of one cell: their states together, waiting for them, and ending them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Generator, Mapping
from dataclasses import replace
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
from dataflow_magic.card.words import UNSENT, words_of
from dataflow_magic.ledger.ledger import new_key
from dataflow_magic.models.request import SweepRequest
from dataflow_magic.models.view import KST
from dataflow_magic.models.wire import JobExecution, RunState
from dataflow_magic.session.detached import (
    INTERRUPTED_START,
    Detached,
    detachable,
    in_one_line,
    sweep_way_back,
)
from dataflow_magic.session.handle import Run
from dataflow_magic.session.loop import check_process
from dataflow_magic.session.run import CHANGED, LiveRun
from dataflow_magic.session.sweep.sending import AT_ONCE, Sending, Start
from dataflow_magic.session.watch import Hold

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Sweep"]

logger = logging.getLogger(__name__)

NOTICE_SECONDS: Final = 0.25
"""How often `async for` looks for runs that were sent meanwhile."""
REASON_LENGTH: Final = 300
"""Characters of a reason in the one line of an error."""


class Sweep:
    """Runs of one job that were started together, live.

    The first run is started when the sweep is made, the others in the background. ``sweep.result()`` waits for all,
    ``await sweep`` does so in a coroutine, ``sweep.cancel()`` ends them. A cell whose value is a sweep shows one card for
    all runs. Made by ``%%dataflow_run`` over a block with ``each``, ``zipped`` or ``rows``.
    """

    def __init__(
        self,
        request: SweepRequest,
        submit: Submit,
        keep: Callable[[Sweep], None] = lambda _: None,
        *,
        language: Callable[[], str] = lambda: "en",
    ) -> None:
        self._key = new_key()
        self._keep = keep
        self._request = request
        self._total = len(request.requests)
        self._submit = submit
        self._pid = os.getpid()
        self._language = language
        self._sending = Sending(request.requests, submit, self._changed)
        self._painter: Painter[SweepState] | None = None
        self._rows = Rows(request.swept)

    def __repr__(self) -> str:
        words = ", ".join(f"{number} {fmt.short(word)}" for word, number in self.counts.items())
        counts = f": {words}" if words else ""
        return f"<Sweep {self.key} of {self._total} runs of {fmt.short(self.job)}{counts}>"

    def _dataflow_name_(self) -> str:
        """Return what a word ``$sweep`` of a magic's line stands for."""
        return self.key

    @property
    def key(self) -> str:
        """The sweep's short id in this process."""
        return self._key

    @property
    def total(self) -> int:
        """The number of runs, also of those that are not sent."""
        return self._total

    @property
    def job(self) -> str:
        """The job's name."""
        runs = self.live
        return runs[0].job if runs else self._request.job

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs that were sent, in the order of the block; in place of a run that was started again, the newest."""
        return tuple(run.handle for run in self.live)

    @property
    def live(self) -> tuple[LiveRun, ...]:
        """The same runs as this package follows them."""
        return tuple(run for _, run in self._sending.runs)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many runs are in each state; ``UNSENT`` counts those whose request was not sent, or not yet."""
        counts = Counter(run.status for run in self.live)
        if unsent := self._total - counts.total():
            counts[UNSENT] = unsent
        return MappingProxyType(dict(counts))

    @property
    def is_completed(self) -> bool:
        """Whether every run of the sweep completed."""
        return set(self.counts) <= {RunState.COMPLETED}

    @property
    def error(self) -> str | None:
        """Why the rest was not sent; None where nothing stopped it."""
        return self._sending.stopped or None

    def reasons(self) -> dict[str, tuple[Run, ...]]:
        """Return the failed runs by cause, the most frequent first.

        Returns
        -------
        dict
            From Spark's error class, the type of the exception, or the reason where neither is known, to runs in the order
            of the block; empty where no run failed.
        """
        runs: dict[str, list[Run]] = {}
        for _, run in self._failed():
            runs.setdefault(run.view.cause, []).append(run.handle)
        return {cause: tuple(runs[cause]) for cause in sorted(runs, key=lambda cause: -len(runs[cause]))}

    @property
    def is_sending(self) -> bool:
        """Whether runs are still being started."""
        return self._sending.is_active

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be known of any run."""
        return self._sending.is_over

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be known of any run, as `Run.is_done`."""
        return self.is_over

    def result(self, timeout: float | None = None) -> tuple[JobExecution, ...]:
        """Wait for all runs to end and return their last snapshots, in the order of `runs`.

        Parameters
        ----------
        timeout
            Seconds to wait; None waits as long as the runs take.

        Raises
        ------
        SweepFailed
            Not every run completed.
        WaitTimeout
            The wait timed out; the runs are still active.
        DataflowError
            The sweep is active, and this process was forked from the one that started it.
        """
        self.wait(timeout)
        return self._results()

    def wait(self, timeout: float | None = None, watch: Callable[[], None] | None = None) -> None:
        """Wait for all runs to end, in whatever state.

        Parameters
        ----------
        timeout
            Seconds to wait; None waits as long as the runs take.
        watch
            Called in this thread at most twice a second, and once when all runs are over.

        Raises
        ------
        WaitTimeout
            Some runs are still active.
        Detached
            The user interrupted the wait; it is a `KeyboardInterrupt`, and the sweep continues.
        """
        try:
            self._wait(timeout, watch)
        except KeyboardInterrupt:
            raise Detached(f"stopped waiting; {sweep_way_back(self.key)}") from None

    def _wait(self, timeout: float | None, watch: Callable[[], None] | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            is_over = self.is_over
            if watch:
                watch()
            if is_over:
                return
            check_process(self._pid)
            pause = PAINT_SECONDS if watch else None
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._timed_out(timeout or 0.0)
                pause = left if pause is None else min(pause, left)
            with CHANGED:
                CHANGED.wait_for(lambda: self.is_over, pause)

    def wait_sent(self) -> None:
        """Wait until every run is started, or will not be."""
        if self.is_sending:
            check_process(self._pid)
        self._sending.wait()

    def __await__(self) -> Generator[Any, None, tuple[JobExecution, ...]]:
        """Wait for all runs to end without blocking, on any loop; as `result`."""
        return detachable(self._await(), lambda: sweep_way_back(self.key)).__await__()

    def cancel(self, *, sure: bool = False) -> None:
        """Start no more runs and cancel the active ones; returns once the service has answered for each.

        Parameters
        ----------
        sure
            Cancel also runs that were found by their parameters; see `Run.cancel`.

        Raises
        ------
        ServiceError
            Not every run was canceled; the message says how many, and why the first was not.
        """
        with in_one_line(f"interrupted; not every run of sweep {self.key} may have been canceled"):
            self._submit(self._cancel(sure=sure)).result()

    def again(self) -> Sweep:
        """Start every run once more and return these runs as a new sweep.

        Raises
        ------
        DataflowError
            The first run was certainly not started, and so none was.
        """
        return self._sweep_of([*range(self._total)], "the sweep was not started")

    def retry_failed(self) -> Sweep:
        """Start each FAILED run once more and return these runs as a new sweep.

        Raises
        ------
        BadState
            No run has failed.
        DataflowError
            The first run was certainly not started, and so none was.
        """
        return self._sweep_of([number for number, _ in self._failed()], "no run of the sweep has failed")

    def send_rest(self) -> Sweep:
        """Start the runs that were not sent because an earlier start was refused, and return them as a new sweep.

        Raises
        ------
        BadState
            All runs were sent, or are being sent.
        DataflowError
            The first run was certainly not started, and so none was.
        """
        numbers = [] if self.is_sending else self._sending.unsent
        return self._sweep_of(numbers, "nothing of the sweep was left unsent")

    def frame(self) -> pd.DataFrame:
        """Return `runs` as a table; see `dataflow_magic.ledger.frame.records_frame`."""
        # Late: pandas takes longer to import than all the rest.
        from dataflow_magic.ledger.frame import runs_frame

        return runs_frame(run.view for run in self.live)

    # Starting

    def begin(self, first: LiveRun, start: Start, hold: Hold) -> None:
        """Take the first run, which the caller has started, and start the others; ``hold`` sleeps as the service asks."""
        self._sending.begin(first, start, hold)
        self._keep(self)

    def note(self, _run: LiveRun) -> None:
        """Record that a run has changed; on the loop."""
        self._changed()

    def _changed(self) -> None:
        if self._painter is not None:
            self._painter.changed()

    def _sweep_of(self, numbers: list[int], if_none: str) -> Sweep:
        requests = tuple(self._request.requests[number] for number in numbers)
        start, hold = self._sending.start, self._sending.hold
        if not requests or start is None or hold is None:
            raise errors.BadState(f"{if_none}; there is nothing to start", status=400)
        sweep = Sweep(
            replace(self._request, requests=requests), self._submit, self._keep, language=self._language
        )

        async def start_first() -> LiveRun:
            return await start(requests[0], sweep.note)

        with in_one_line(INTERRUPTED_START):
            sweep.begin(self._submit(start_first()).result(), start, hold)
        return sweep

    # Ending

    async def __aiter__(self) -> AsyncIterator[Run]:
        """Yield each run once it is over, completed or not, in the order of their ends, until all are."""
        waits: dict[asyncio.Task[None], LiveRun] = {}
        known: set[LiveRun] = set()
        try:
            while waits or not self.is_over or len(known) < len(self.live):
                check_process(self._pid)
                for run in self.live:
                    if run not in known:
                        known.add(run)
                        waits[asyncio.create_task(_settled(run))] = run
                for task in await detachable(_first_done(waits), lambda: sweep_way_back(self.key)):
                    yield waits.pop(task).handle
        finally:
            for task in waits:
                task.cancel()

    async def _await(self) -> tuple[JobExecution, ...]:
        while not self.is_over:
            check_process(self._pid)
            await self._sending.join()
            for run in self.live:
                await _settled(run)
        return self._results()

    async def _cancel(self, *, sure: bool) -> None:
        if self.is_sending:
            self._sending.stop("the sweep was canceled")
            await self._cancel_active(sure=sure)
            # Starts that were under way are over then, and their runs are known.
            await self._sending.join()
        refusals = await self._cancel_active(sure=sure)
        if refusals:
            raise errors.ServiceError(f"{len(refusals)} of the runs could not be canceled: {refusals[0]}")

    async def _cancel_active(self, *, sure: bool) -> list[errors.DataflowError]:
        """Cancel the active runs and return the errors of those that could not be canceled."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def cancel(run: LiveRun) -> errors.DataflowError | None:
            async with gate:
                try:
                    await asyncio.to_thread(run.cancel, sure=sure)
                except errors.DataflowError as error:
                    return None if run.is_over else error
                return None

        active = [run for run in self.live if not run.is_over and not run.view.cancel_requested]
        return [error for error in await asyncio.gather(*map(cancel, active)) if error is not None]

    def _results(self) -> tuple[JobExecution, ...]:
        if not self.is_completed:
            raise self.failed()
        return tuple(run.view.execution for run in self.live if run.view.execution)

    def failed(self) -> errors.SweepFailed:
        """Return the error of a sweep that is over and did not complete: one line, with the first reason."""
        bad = {word: number for word, number in self.counts.items() if word != RunState.COMPLETED}
        failed = [run for _, run in self._failed()]
        first = next(iter(failed or [run for run in self.live if run.status != RunState.COMPLETED]), None)
        counts = ", ".join(f"{number} {word}" for word, number in bad.items())
        parts = [
            f"{sum(bad.values())} of {self._total} runs of {fmt.short(self.job)} did not complete ({counts})"
        ]
        if reason := " ".join(((first.reason if first else self.error) or "").split())[:REASON_LENGTH]:
            parts.append(f"run {first.run_id or first.key}: {reason}" if first else f"not sent: {reason}")
        if failed:
            parts.append(f".retry_failed() starts the {len(failed)} failed again")
        if UNSENT in bad:
            parts.append(f".send_rest() sends the {bad[UNSENT]} unsent")
        return errors.SweepFailed("; ".join(parts), run=first and first.handle, sweep=self)

    def _timed_out(self, timeout: float) -> errors.WaitTimeout:
        active = self._total - sum(run.is_over for run in self.live)
        return errors.WaitTimeout(
            f"{active} of {self._total} runs of {fmt.short(self.job)} are still active after {timeout:g} s; "
            f"wait again, or %dataflow_cancel {self.key} ends them",
            run=self,
        )

    def _failed(self) -> list[tuple[int, LiveRun]]:
        return [(number, run) for number, run in self._sending.runs if run.status == RunState.FAILED]

    # Showing

    def show(self) -> None:
        """Show the sweep below the running cell and keep it up to date there."""
        if self._total:
            self._shown().show()
        else:
            print(self)  # noqa: T201 - a card of nothing would say less

    def show_and_wait(self, timeout: float | None = None) -> None:
        """Show the sweep and wait for its end; after an interrupt or an error, what is shown stays up to date.

        Raises
        ------
        WaitTimeout
            Some runs are still active.
        """
        if self._total:
            self._shown().show_and_wait(lambda paint: self.wait(timeout, paint))

    def _ipython_display_(self) -> None:
        if not self._total:
            raise NotImplementedError  # IPython shows the repr then
        self._shown().show_value()

    def card_state(self, *, kernel_waits: bool = False) -> SweepState:
        """Return what the card of the sweep shows now."""
        # Read before the runs, so that a sweep that is over is shown with all its ends.
        is_over = self.is_over
        view = SweepView(
            swept=self._request.swept,
            total=self._total,
            runs=tuple((number, run.view) for number, run in self._sending.runs),
            retried=tuple((number, run.view) for number, run in self._sending.retried),
            retrying=self._sending.retrying,
            stopped=self._sending.stopped,
            held=self._sending.held,
            is_over=is_over,
            key=self.key,
        )
        words = words_of(self._language())
        return sweep_state(view, datetime.now(KST), rows=self._rows, kernel_waits=kernel_waits, words=words)

    def _shown(self) -> Painter[SweepState]:
        if self._painter is None:
            actions = Actions(
                cancel=lambda: self._clicked(self._cancel(sure=True)),
                again=lambda: self._clicked(self._retry()),
            )
            presenter = Presenter(SWEEP_CARD, actions, front_end(current_shell()))
            self._painter = Painter(self, presenter, self._submit)
        return self._painter

    async def _retry(self) -> None:
        """Start the failed runs again in their places, unless all runs are over: the card has ended then."""
        if not self.is_over:
            self._sending.retry([number for number, _ in self._failed()])

    def _clicked(self, work: Coroutine[Any, Any, None]) -> None:
        self._submit(work).add_done_callback(self._after_click)

    def _after_click(self, done: concurrent.futures.Future[None]) -> None:
        if done.cancelled() or done.exception():
            logger.warning("a button of %r: %s", self, "stopped" if done.cancelled() else done.exception())
        self._shown().presenter.offer()


async def _first_done(tasks: Collection[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Return the tasks that are done once the first is; none after some time, when more runs may have been sent."""
    if not tasks:
        await asyncio.sleep(NOTICE_SECONDS)
        return set()
    return (await asyncio.wait(tasks, timeout=NOTICE_SECONDS, return_when=asyncio.FIRST_COMPLETED))[0]


async def _settled(run: LiveRun) -> None:
    """Wait until a run is over, in whatever state."""
    with contextlib.suppress(errors.DataflowError):  # the caller asks each run how it ended
        await run
