"""`Sweep`, the live handle of many runs of one cell: their states together, waiting for them, and ending them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Mapping,
)
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from dataflow_magic import errors
from dataflow_magic.card import format as fmt
from dataflow_magic.card.painter import PAINT_SECONDS
from dataflow_magic.card.sweep.state import SweepState, SweepView
from dataflow_magic.card.words import SKIPPED, UNSENT
from dataflow_magic.ledger.sweeps import SweepState as StoredState
from dataflow_magic.models.request import SweepPlan, SweepRequest
from dataflow_magic.models.secret import Parameter
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
from dataflow_magic.session.results import MOST_ROWS, read_results
from dataflow_magic.session.run import CHANGED, LiveRun
from dataflow_magic.session.sweep.outcome import failure, timed_out
from dataflow_magic.session.sweep.sending import AT_ONCE, Sending, Start
from dataflow_magic.session.sweep.showing import Showing
from dataflow_magic.session.watch import Hold

if TYPE_CHECKING:
    import pandas as pd

    from dataflow_magic.ledger.frame import RunsFrame
    from dataflow_magic.ledger.results import Format

__all__ = ["Sweep"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

NOTICE_SECONDS: Final = 0.25
"""How often `async for` looks for runs that were sent meanwhile."""
PAUSED: Final = "paused"
CANCELED: Final = "the sweep was canceled"


class Book(Protocol):
    """What a sweep needs of its session."""

    sleep: Callable[[float], Awaitable[None]]
    """Sleeps some seconds before a run that failed is started again."""

    def submit(self, coroutine: Coroutine[Any, Any, T], /) -> concurrent.futures.Future[T]:
        """Run a coroutine on the loop, from any thread."""

    def language(self) -> str:
        """Return the language of cards."""

    async def note(self, sweep: Sweep, state: StoredState, story: str, /) -> None:
        """Write whether and how what is left of a sweep is started."""

    async def look(self, sweep: Sweep, /) -> None:
        """Take from the ledger which runs other kernels have started of a sweep, and who starts the rest."""

    async def claim(self, sweep: Sweep, /) -> bool:
        """Make this kernel the one that starts the runs of a sweep; False where another one lives that does."""

    def start_like(self, sweep: Sweep, request: SweepRequest, /) -> Sweep:
        """Start runs of a sweep once more as a new sweep."""


class Sweep:
    """Runs of one job that were started together, live.

    The first run is started when the sweep is made, the others in the background. ``sweep.result()`` waits for all,
    ``await sweep`` does so in a coroutine, ``sweep.cancel()`` ends them. A cell whose value is a sweep shows one card for
    all runs. Made by ``%%dataflow_run`` over a block with ``each``, ``zipped`` or ``rows``.
    """

    def __init__(self, request: SweepRequest, book: Book, key: str) -> None:
        self._key = key
        self._variable = ""
        """The variable that ``-o`` bound it to; its card names it."""
        self._request = request
        self._total = len(request.order)
        self._book = book
        self._submit = book.submit
        self._pid = os.getpid()
        self._is_left = False
        self._drives = False
        """Whether this kernel has started runs of it."""
        self._looking = asyncio.Lock()
        """Held while the ledger is read: a look that began before this kernel took over must not end after that."""
        self._sending = Sending(request, book.submit, self._changed, sleep=book.sleep)
        self._showing = Showing(self, request.swept, book.submit, book.language)

    def __repr__(self) -> str:
        words = ", ".join(f"{number} {fmt.short(word)}" for word, number in self.counts.items())
        counts = f": {words}" if words else ""
        return f"<Sweep {self.key} of {self._total} runs of {fmt.short(self.job)}{counts}>"

    def _dataflow_name_(self) -> str:
        """Return what a word ``$sweep`` of a magic's line stands for."""
        return self.key

    @property
    def key(self) -> str:
        """The sweep's short id on this machine."""
        return self._key

    @property
    def total(self) -> int:
        """The number of runs, also of those that are not sent, without those that are skipped."""
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
        """How many runs are in each state; ``UNSENT`` counts requests that were not sent, or not yet, ``SKIPPED`` those that need not be."""
        counts = Counter(run.status for run in self.live)
        if unsent := len(self._sending.unsent):
            counts[UNSENT] = unsent
        if skipped := len(self._request.skipped):
            counts[SKIPPED] = skipped
        return MappingProxyType(dict(counts))

    @property
    def is_completed(self) -> bool:
        """Whether every run of the sweep completed, or was skipped since an earlier one had."""
        return set(self.counts) <= {RunState.COMPLETED, SKIPPED}

    @property
    def error(self) -> str | None:
        """Why the rest was not sent; None where nothing stopped it."""
        return self._sending.stopped or None

    @property
    def plan(self) -> SweepPlan:
        """How its runs are started."""
        return replace(self._request.plan, max_parallel=self.max_parallel)

    @property
    def max_parallel(self) -> int | None:
        """The most runs that are alive at once; None leaves the limit to the service. May be set while the sweep runs."""
        return self._sending.max_parallel

    @max_parallel.setter
    def max_parallel(self, most: int | None) -> None:
        if most is not None and (type(most) is not int or most < 1):
            raise errors.CellError(
                f"max_parallel={most!r} is no number of runs; give 1 or more, or None for no limit"
            )
        self._sending.max_parallel = most

        async def note() -> None:
            self._sending.wake()
            await self._book.note(self, self._state, self._sending.stopped)

        if not self.is_over:
            self._submit(note()).result()

    @property
    def failed_runs(self) -> list[tuple[int, LiveRun]]:
        """The same as this package follows them, with the numbers of their requests."""
        return [(number, run) for number, run in self._sending.runs if run.status == RunState.FAILED]

    @property
    def failed(self) -> tuple[Run, ...]:
        """The runs that FAILED and were not started again, in the order of the block."""
        return tuple(run.handle for _, run in self.failed_runs)

    @property
    def skipped(self) -> tuple[Mapping[str, Parameter], ...]:
        """The parameters of the requests that are not sent, since an earlier run makes them unnecessary."""
        return tuple(self._request.requests[number].parameters for number in sorted(self._request.skipped))

    def reasons(self) -> dict[str, tuple[Run, ...]]:
        """Return the failed runs by cause, the most frequent first.

        Returns
        -------
        dict
            From Spark's error class, the type of the exception, or the reason where neither is known, to runs in the order
            of the block; empty where no run failed.
        """
        runs: dict[str, list[Run]] = {}
        for _, run in self.failed_runs:
            runs.setdefault(run.view.cause, []).append(run.handle)
        return {cause: tuple(runs[cause]) for cause in sorted(runs, key=lambda cause: -len(runs[cause]))}

    @property
    def is_sending(self) -> bool:
        """Whether runs are still being started."""
        return self._sending.is_active

    @property
    def drives(self) -> bool:
        """Whether this kernel starts its runs, or did."""
        return self._drives

    @property
    def standing(self) -> tuple[StoredState, str]:
        """Whether what is left of it is started, and why not, as the ledger has it."""
        return self._state, self._sending.stopped

    @property
    def is_elsewhere(self) -> bool:
        """Whether another kernel starts its runs; this one follows them."""
        return self._sending.is_elsewhere

    @property
    def is_unsent(self) -> bool:
        """Whether a request has no run, or a failed one that is to be started again."""
        return self._sending.is_left

    @property
    def keys(self) -> frozenset[str]:
        """The keys of all its runs, also of those that another has replaced."""
        return frozenset(self._sending.keys)

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
            raise Detached(f"stopped waiting; {self._interrupted()}") from None

    def _interrupted(self) -> str:
        """Start no more runs after an interrupt of the user, and return what to do next, in words."""
        if not self.is_sending:
            return sweep_way_back(self.key)
        with contextlib.suppress(errors.DataflowError):  # the session is closed: nothing is started any more
            self.pause()
        unsent = len(self._sending.unsent)
        return f"{unsent} of {self._total} runs are not started, and wait for %dataflow_attach {self.key}"

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
                    raise timed_out(self, timeout or 0.0)
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
        return detachable(self._await(), self._interrupted).__await__()

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
        """Start every run once more, without those that were skipped, and return these runs as a new sweep.

        Raises
        ------
        DataflowError
            The first run was certainly not started, and so none was.
        """
        return self._sweep_of(sorted(self._request.order), "the sweep was not started")

    def retry_failed(self) -> Sweep:
        """Start each FAILED run once more and return these runs as a new sweep.

        Raises
        ------
        BadState
            No run has failed.
        DataflowError
            The first run was certainly not started, and so none was.
        """
        return self._sweep_of([number for number, _ in self.failed_runs], "no run of the sweep has failed")

    def pause(self) -> None:
        """Start no more runs until `resume`; those that were started continue."""
        self._submit(self._pause()).result()

    def resume(self) -> None:
        """Start what was not started: after `pause` or `cancel`, after a refusal, or of a kernel that has ended.

        A start that counts as not started is looked for once more, and then sent again.

        Raises
        ------
        BadState
            Another kernel starts the runs of the sweep.
        """
        self._submit(self._resume()).result()

    def carry_on(self) -> None:
        """Resume a sweep that waits for its user: one that was paused, or that its kernel left; raises as `resume`."""
        if self.is_elsewhere:  # that kernel may have ended meanwhile
            self._submit(self.look()).result()
        if self._is_left or self._sending.is_paused:
            self.resume()

    async def _pause(self) -> None:
        self._sending.pause(PAUSED)
        if self._sending.is_paused:
            await self._book.note(self, "paused", PAUSED)

    async def _resume(self) -> None:
        async with self._looking:
            await self._take_over()
            self._is_left = False
            self._sending.resume()
        await self._book.note(self, "open", "")

    async def _take_over(self) -> None:
        """Make this kernel the one that starts its runs; `_looking` is held."""
        if not await self._book.claim(self):
            raise errors.BadState(
                f"another kernel starts the runs of sweep {self.key}; it can be resumed here once that one has ended",
                status=400,
            )
        if not self._drives:
            # What its kernel has started since the ledger was read.
            await self._book.look(self)
            self._drives = True

    def frame(self) -> RunsFrame:
        """Return `runs` as a table; see `dataflow_magic.ledger.frame.records_frame`."""
        # Late: pandas takes longer to import than all the rest.
        from dataflow_magic.ledger.frame import runs_frame

        return runs_frame(run.view for run in self.live)

    def table(
        self,
        path: str | None = None,
        *,
        rows: int | None = MOST_ROWS,
        format: Format | None = None,  # noqa: A002 - as of `Run.table`
        **options: Any,
    ) -> pd.DataFrame:
        """Return what the completed runs wrote, below one another in the order of the block.

        Parameters
        ----------
        path, format, options
            As of `Run.table`, for each run: ``s3a://bucket/days/$run_date``.
        rows
            The most rows of all runs together; a warning says that there are more. None reads all.

        Returns
        -------
        DataFrame
            First a column ``param.NAME`` for each swept parameter, with numbers, booleans and days where all of its texts are;
            then the columns of the results.

        Raises
        ------
        CellError
            No run has completed, or as `Run.table`.
        DataflowError
            As `Run.table`.
        """
        done = [run for run in self.live if run.status == RunState.COMPLETED]
        if not done:
            raise errors.CellError(f"no run of sweep {self.key} has completed, so there is no result to read")
        with in_one_line("interrupted; the results were not read"):
            return read_results(done, self._request.swept, path, rows, format, options)

    # Starting

    def begin(self, start: Start, hold: Hold, first: LiveRun, job_limit: int | None) -> None:
        """Take the first run, which the caller has started, and start the others.

        Parameters
        ----------
        hold
            Sleeps as the service asks.
        job_limit
            The job's own limit of runs alive at once, where it is known.
        """
        self._drives = True
        self._sending.job_limit = job_limit
        self._sending.begin(start, hold, first)

    def take(self, start: Start, hold: Hold, job_limit: int | None) -> None:
        """Take how the runs of a sweep of the ledger are started, as `begin`; nothing is before `resume`. On the loop."""
        self._sending.job_limit = job_limit
        self._sending.take(start, hold)

    async def look(self) -> None:
        """Take from the ledger what other kernels have started, unless this kernel starts its runs; on the loop."""
        async with self._looking:
            if not self._drives:
                await self._book.look(self)

    def learn(self, number: int, run: LiveRun) -> None:
        """Take a run that another kernel has started; on the loop."""
        self._sending.learn(number, run)

    def stand(
        self, story: str, plan: SweepPlan, *, is_left: bool = False, is_elsewhere: bool = False
    ) -> None:
        """Take what the ledger says of a sweep that this kernel does not drive; on the loop.

        Parameters
        ----------
        story
            Why nothing is started from here.
        is_left
            Whether the kernel that drove it has ended, or was paused, before it had started all.
        is_elsewhere
            Whether another kernel may still start runs of it.
        """
        self._is_left = is_left
        self._sending.max_parallel = plan.max_parallel
        self._sending.stand(story, is_elsewhere=is_elsewhere)

    def heard(self, number: int, run: LiveRun) -> None:
        """Take a change of the run of a request; on the loop."""
        self._sending.heard(number, run)

    @property
    def _state(self) -> StoredState:
        if self._sending.is_paused:
            return "paused"
        return "stopped" if self._sending.stopped else "open"

    def _changed(self) -> None:
        self._showing.changed()

    def _sweep_of(self, numbers: list[int], if_none: str) -> Sweep:
        requests = tuple(self._request.requests[number] for number in numbers)
        if not requests:
            raise errors.BadState(f"{if_none}; there is nothing to start", status=400)
        with in_one_line(INTERRUPTED_START):
            return self._book.start_like(self, replace(self._request, requests=requests, skipped={}))

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
            if not self.is_over:  # a run that failed is started again after a while
                await asyncio.sleep(NOTICE_SECONDS)
        return self._results()

    async def _cancel(self, *, sure: bool) -> None:
        if self.is_elsewhere:
            raise errors.BadState(
                f"another kernel starts the runs of sweep {self.key}; cancel it there, or end that kernel first",
                status=400,
            )
        if not self.is_over or self._is_left:
            self._is_left = False
            self._sending.stop(CANCELED)
            await self._book.note(self, "stopped", CANCELED)
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
            raise self.failure()
        return tuple(run.view.execution for run in self.live if run.view.execution)

    def failure(self) -> errors.SweepFailed:
        """Return the error of a sweep that is over and did not complete: one line, with the first reason."""
        return failure(self)

    # Showing

    def show(self) -> None:
        """Show the sweep below the running cell and keep it up to date there."""
        if self.live:
            self._showing.painter.show()
        else:
            print(self)  # noqa: T201 - a card of nothing would say less

    def show_and_wait(self, timeout: float | None = None) -> None:
        """Show the sweep and wait for its end; after an interrupt or an error, what is shown stays up to date.

        Raises
        ------
        WaitTimeout
            Some runs are still active.
        """
        if self.live:
            self._showing.painter.show_and_wait(lambda paint: self.wait(timeout, paint))

    def _ipython_display_(self) -> None:
        if not self.live:
            raise NotImplementedError  # IPython shows the repr then
        self._showing.painter.show_value()

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
            skipped=len(self._request.skipped),
            variable=self._variable,
            is_elsewhere=self.is_elsewhere,
            job_limit=self._sending.job_limit if self._sending.limit != self.max_parallel else None,
            can_pause=self._sending.can_pause,
            can_resume=self._sending.is_paused or (self._is_left and self.is_unsent),
        )
        return self._showing.state(view, kernel_waits=kernel_waits)

    # What the card's buttons do; on the loop

    async def click_cancel(self) -> None:
        """Start no more runs and cancel the active ones; the card's question said how they were found."""
        await self._cancel(sure=True)

    async def click_pause(self, *, pauses: bool) -> None:
        """Start no more runs, or the rest."""
        await (self._pause() if pauses else self._resume())

    async def click_retry(self) -> None:
        """Start the failed runs again in their places."""
        async with self._looking:
            await self._take_over()
            self._sending.retry([number for number, _ in self.failed_runs])


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
