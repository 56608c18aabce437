"""Starts the runs of a sweep, as many at a time as may be alive, on the loop. Knows no card, no ledger and no IPython."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

from dataflow_magic import errors
from dataflow_magic.card.painter import Submit
from dataflow_magic.models.request import SweepRequest
from dataflow_magic.models.view import NOT_STARTED, UNCLEAR
from dataflow_magic.models.wire import KST, RunState
from dataflow_magic.session.run import CHANGED, LiveRun
from dataflow_magic.session.watch import Hold, held_words

__all__ = ["AT_ONCE", "Sending", "Start"]

logger = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""The most requests of a sweep that are under way at the same time."""
LEAST_REST: Final = 0.1
LONGEST_REST: Final = 60.0
REST: Final = 2.0
"""Seconds until a start that was refused as too many is retried; doubled each time."""
RETRY_SECONDS: Final = 10.0
LONGEST_RETRY: Final = 300.0
"""Seconds until a run that failed is started again, doubled each time, and at most."""
MOST_TRIES: Final = 3
"""How often a start is sent that never left."""

Start = Callable[[int, LiveRun | None, Callable[[LiveRun], None]], Awaitable[LiveRun]]
"""Starts the run of a request by its number, on the loop; the second argument is the run in its place so far, the third is
called on each change of the new one."""


class _PutBack(Exception):
    """The sending was paused, or its limit lowered, before the start was accepted."""


class Sending:
    """The starts of a sweep: which runs were started, which are queued, and why the rest is not sent.

    Parameters
    ----------
    request
        What is to be started, and how.
    submit
        Runs a coroutine on the loop.
    changed
        Called on the loop when a run is started, has changed, or none is sent any more.
    sleep
        Sleeps some seconds before a run that failed is started again.
    """

    def __init__(
        self,
        request: SweepRequest,
        submit: Submit,
        changed: Callable[[], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._request = request
        self._plan = request.plan
        self.max_parallel = request.plan.max_parallel
        self.job_limit: int | None = None
        """The job's own ``maxConcurrentRuns``; None where it has none, or was not read."""
        self._submit = submit
        self._changed = changed
        self._sleep = sleep
        self._start: Start | None = None
        self._hold: Hold | None = None
        self._runs: dict[int, LiveRun] = {}
        self._retried: list[tuple[int, LiveRun]] = []
        self._queue = deque(request.order)
        self._starting: set[int] = set()
        self._alive: set[int] = set()
        """Numbers of requests whose run may be alive, also while it is started."""
        self.keys: set[str] = set()
        """Of the runs that were started, also of those that have been replaced."""
        self._tries: Counter[int] = Counter()
        """By number, the runs that were started and have been replaced."""
        self._unsent_tries: Counter[int] = Counter()
        """By number, the starts that never left and were sent again."""
        self._failed: set[int] = set()
        """Numbers of requests whose run failed and is not started again by itself."""
        self._delayed: dict[int, asyncio.Task[None]] = {}
        """By number: what starts a failed run again after a while."""
        self._retrying: set[int] = set()
        self._held: dict[int, str] = {}
        """By request that waits until the service accepts it: why and until when."""
        self._stopped = ""
        self._paused = ""
        self._is_elsewhere = False
        self._drives = False
        """Whether runs are started from here; until then, nothing that is heard starts one."""
        self._halt = asyncio.Event()
        self._wake = asyncio.Event()
        self._is_active = False
        self._ended: concurrent.futures.Future[None] | None = None

    @property
    def runs(self) -> list[tuple[int, LiveRun]]:
        """The runs that were started and not replaced, with the numbers of their requests, in that order."""
        return sorted(self._runs.items())

    @property
    def retried(self) -> tuple[tuple[int, LiveRun], ...]:
        """The runs that another run has replaced."""
        return tuple(self._retried)

    @property
    def retrying(self) -> frozenset[int]:
        """The numbers of failed runs that are to be started again."""
        return frozenset((*tuple(self._retrying), *tuple(self._delayed)))

    @property
    def held(self) -> str:
        """Why and until when the next start waits; empty while none does."""
        return next(iter(tuple(self._held.values())), "")

    @property
    def unsent(self) -> list[int]:
        """The numbers of requests that are to be sent and were not, or not yet."""
        return [number for number in self._request.order if number not in self._runs]

    @property
    def is_left(self) -> bool:
        """Whether some request has no run yet, or a failed one that is to be started again."""
        return any(self._may_start(number) for number in self._request.order)

    @property
    def is_elsewhere(self) -> bool:
        """Whether another kernel may start its runs."""
        return self._is_elsewhere

    @property
    def stopped(self) -> str:
        """Why the rest is not sent; empty while it is, or when all were sent."""
        return self._stopped or self._paused

    @property
    def is_paused(self) -> bool:
        """Whether starts wait until the user resumes them."""
        return bool(self._paused)

    @property
    def can_pause(self) -> bool:
        """Whether starts are left that could wait until the user resumes them."""
        return not self._paused and bool(self._queue or self._delayed)

    @property
    def is_active(self) -> bool:
        """Whether runs are still being started, or wait to be."""
        return self._is_active

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be known of any run."""
        if self._is_active or self._delayed:
            return False
        if self._is_elsewhere and self.is_left:
            return False
        # A run that fails is over a moment before it is queued again.
        return all(
            run.is_over and (bool(self._stopped) or not (self._drives and self._is_due(number, run)))
            for number, run in self.runs
        )

    @property
    def limit(self) -> int | None:
        """The most runs alive at once: the smaller of the user's and the job's; None leaves it to the service."""
        return min((most for most in (self.max_parallel, self.job_limit) if most), default=None)

    def begin(self, start: Start, hold: Hold, first: LiveRun) -> None:
        """Start the runs; ``hold`` sleeps as the service asks.

        Parameters
        ----------
        first
            The run of the first request of the order, which the caller has started.
        """
        self._start, self._hold, self._drives = start, hold, True
        self._took(self._queue.popleft(), first)
        self._send_queue()

    def take(self, start: Start, hold: Hold) -> None:
        """Take how the runs of a sweep of the ledger are started; nothing is before `resume`. On the loop."""
        self._start, self._hold = start, hold
        self._queue.clear()

    def learn(self, number: int, run: LiveRun) -> None:
        """Take a run that another kernel has started; those of one request from the oldest on. On the loop."""
        if run.key in self.keys:
            return
        self._took(number, run)
        if run.is_over and run.status != UNCLEAR:
            self._alive.discard(number)
        self._changed()

    def stand(self, stopped: str, *, is_elsewhere: bool) -> None:
        """Take what the ledger says of a sweep that is not started from here; on the loop.

        Parameters
        ----------
        stopped
            Why nothing is started from here.
        is_elsewhere
            Whether another kernel may still start runs of it.
        """
        if (stopped, is_elsewhere) != (self._stopped, self._is_elsewhere):
            with CHANGED:
                self._stopped, self._is_elsewhere = stopped, is_elsewhere
                CHANGED.notify_all()
            self._changed()

    def heard(self, number: int, run: LiveRun) -> None:
        """Take a change of a run; on the loop."""
        if self._runs.get(number) is run:
            if not run.is_over or run.status == UNCLEAR:
                self._alive.add(number)
            elif number in self._alive and number not in self._starting:
                self._alive.discard(number)
                self._judge(number, run)
            self._wake.set()
        self._changed()

    def retry(self, numbers: Sequence[int]) -> None:
        """Start failed runs again in their places; on the loop."""
        fresh = [number for number in numbers if number not in self._retrying]
        self._is_elsewhere, self._drives = False, True
        self._retrying.update(fresh)
        self._failed.difference_update(fresh)
        self._put(fresh)

    def resume(self) -> None:
        """Start what was not started, and what certainly was not although it was sent; on the loop."""
        self._stopped = self._paused = ""
        self._is_elsewhere, self._drives = False, True
        self._halt.clear()
        waiting = {*self._queue, *self._starting, *self._delayed}
        self._put(
            [number for number in self._request.order if number not in waiting and self._may_start(number)]
        )
        self._wake.set()
        self._changed()

    def pause(self, reason: str) -> None:
        """Start no more until `resume`; starts under way still end. On the loop."""
        if self._queue or self._starting or self._delayed:
            self._paused = reason
            self._halt.set()
            self._changed()

    def stop(self, reason: str) -> None:
        """Start no more; starts under way still end. On the loop."""
        if not self._stopped or not self._is_active:
            self._stopped = reason
        self._paused = ""
        self._queue.clear()
        for task in self._delayed.values():
            task.cancel()
        self._delayed.clear()
        self._halt.set()
        self._wake.set()

    def wake(self) -> None:
        """Look again how many runs may be started; on the loop."""
        self._wake.set()

    def wait(self) -> None:
        """Block until every run is started, or will not be."""
        if self._ended is not None:
            concurrent.futures.wait([self._ended])

    async def join(self) -> None:
        """Wait until every run is started, or will not be; a caller that stops awaiting stops no start."""
        if self._ended is not None:
            await asyncio.shield(asyncio.wrap_future(self._ended))

    # Work

    def _took(self, number: int, run: LiveRun) -> None:
        before = self._runs.get(number)
        if before is not None and before is not run:
            self._retried.append((number, before))
            self._tries[number] += before.run_id is not None
        self._retrying.discard(number)
        self._runs[number] = run
        self.keys.add(run.key)
        self._alive.add(number)

    def _may_start(self, number: int) -> bool:
        run = self._runs.get(number)
        if run is None or run.view.settled == NOT_STARTED:
            return True
        return self._is_due(number, run)

    def _is_due(self, number: int, run: LiveRun) -> bool:
        """Whether a run failed and is to be started again without being asked."""
        return run.status == RunState.FAILED and self._tries[number] < self._plan.retry

    def _judge(self, number: int, run: LiveRun) -> None:
        """Send a start again that never left; start a failed run again after a while, or count it."""
        if not self._drives:
            return
        if run.was_never_sent and not self._stopped and self._unsent_tries[number] < MOST_TRIES:
            self._unsent_tries[number] += 1
            self._put([number])
        if run.status != RunState.FAILED or self._stopped:
            return
        if self._is_due(number, run):
            seconds = min(RETRY_SECONDS * 2 ** self._tries[number], LONGEST_RETRY)
            self._delayed[number] = asyncio.get_running_loop().create_task(self._retry_later(number, seconds))
            return
        self._failed.add(number)
        most = self._plan.stop_on_failure
        if (
            most is not None
            and len(self._failed) >= most
            and (self._queue or self._delayed or self._starting)
        ):
            count = len(self._failed)
            self.stop(
                "a run has failed, and the sweep stops there"
                if most == 1
                else f"{count} runs have failed, and the sweep stops there"
            )

    async def _retry_later(self, number: int, seconds: float) -> None:
        await self._sleep(seconds)
        self._delayed.pop(number, None)
        self.retry([number])

    def _put(self, numbers: Sequence[int]) -> None:
        self._queue.extend(numbers)
        if self._queue and not self._is_active:
            self._send_queue()
        self._wake.set()

    def _send_queue(self) -> None:
        self._stopped = ""
        self._is_active = True
        task = self._submit(self._send_all())
        # Not the task itself: waiting for a task that was canceled would raise as if the waiting were canceled.
        ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ended = ended
        task.add_done_callback(lambda task: self._end(task, ended))

    def _end(self, task: concurrent.futures.Future[None], ended: concurrent.futures.Future[None]) -> None:
        if task.cancelled() or task.exception():
            self._stopped = self._stopped or "the sending was ended"
            logger.warning("sending a sweep: %s", "stopped" if task.cancelled() else task.exception())
        with CHANGED:
            self._is_active = False
            CHANGED.notify_all()
        ended.set_result(None)

    async def _send_all(self) -> None:
        if not self._paused:
            self._halt.clear()
        starts: set[asyncio.Task[None]] = set()
        for number in tuple(self._alive):  # what ended before anybody listened
            self.heard(number, self._runs[number])
        try:
            while self._queue or starts:
                while self._has_room(len(starts)):
                    number = self._queue.popleft()
                    self._starting.add(number)
                    self._alive.add(number)
                    starts.add(asyncio.get_running_loop().create_task(self._start_one(number)))
                if not starts and self._is_stuck():
                    self.stop(
                        "runs whose outcome is unclear take up the whole limit; raise it, or name their runs"
                    )
                    break
                self._wake.clear()
                woken = asyncio.get_running_loop().create_task(self._wake.wait())
                try:
                    done, _ = await asyncio.wait({woken, *starts}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    woken.cancel()
                starts -= done
                for each in done - {woken}:
                    each.result()
        finally:
            for task in starts:
                task.cancel()
            self._queue.clear()
            self._retrying.clear()
            if not self._delayed:
                self._paused = ""
            self._is_active = False
            self._changed()

    def _has_room(self, starts: int) -> bool:
        if not self._queue or self._halt.is_set() or starts >= AT_ONCE:
            return False
        return self.limit is None or len(self._alive) < self.limit

    def _is_over_limit(self) -> bool:
        """Whether the limit was lowered since the start began."""
        return self.limit is not None and len(self._alive) > self.limit

    def _is_stuck(self) -> bool:
        """Whether all that may be alive are runs of which nothing more will be known."""
        return (
            not self._halt.is_set()
            and self.limit is not None
            and len(self._alive) >= self.limit
            and all(self._runs[number].is_over for number in self._alive)
        )

    async def _start_one(self, number: int) -> None:
        try:
            run = await self._send(number)
        except _PutBack:
            self._queue.appendleft(number)
            self._alive.discard(number)
        except errors.DataflowError as error:
            # The requests differ in values alone, so a refusal of one is very likely one of all. Nor do further
            # requests help a service that cannot be reached.
            self._alive.discard(number)
            self.stop(str(error))
        else:
            self._took(number, run)
            self._starting.discard(number)
            self.heard(number, run)
        finally:
            self._starting.discard(number)

    async def _send(self, number: int) -> LiveRun:
        """Start one run; retry while the service refuses it as too many, until the sending is stopped."""
        assert self._start is not None  # noqa: S101 - `begin` sets it
        rest = REST
        while True:
            try:
                return await self._start(number, self._runs.get(number), lambda run: self.heard(number, run))
            except errors.TooManyRequests as error:
                # There is room again once runs of this sweep, or of others, are over.
                pause = rest if error.retry_after is None else max(error.retry_after, LEAST_REST)
                await self._rest(number, error, pause)
                if self._paused or self._is_over_limit():
                    raise _PutBack from None
                if self._halt.is_set():
                    raise
                rest = min(2 * rest, LONGEST_REST)

    async def _rest(self, number: int, error: errors.TooManyRequests, seconds: float) -> None:
        """Rest before a start is retried, until the sending is stopped or the user acts on the service at the latest."""
        assert self._hold is not None  # noqa: S101 - `begin` sets it
        self._held[number] = words = held_words(error, seconds, datetime.now(KST))
        self._changed()
        tasks = [asyncio.ensure_future(self._hold(seconds, words)), asyncio.ensure_future(self._halt.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            del self._held[number]
            self._changed()
