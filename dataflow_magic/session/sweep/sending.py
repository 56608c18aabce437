"""Starts the runs of a sweep, a few at a time, on the loop. Knows no card and no IPython."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

from dataflow_magic import errors
from dataflow_magic.card.painter import Submit
from dataflow_magic.models.request import RunRequest
from dataflow_magic.models.wire import KST
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

Start = Callable[[RunRequest, Callable[[LiveRun], None]], Awaitable[LiveRun]]
"""Starts a run, on the loop; the second argument is called on each change of the run."""


class Sending:
    """The starts of a sweep: which runs were started, which are queued, and why the rest is not sent.

    Parameters
    ----------
    requests
        In the order of the block; the first is started by the caller.
    submit
        Runs a coroutine on the loop.
    changed
        Called on the loop when a run is started, has changed, or none is sent any more.
    """

    def __init__(self, requests: Sequence[RunRequest], submit: Submit, changed: Callable[[], None]) -> None:
        self._requests = requests
        self._submit = submit
        self._changed = changed
        self._start: Start | None = None
        self._hold: Hold | None = None
        self._runs: dict[int, LiveRun] = {}
        self._retried: list[tuple[int, LiveRun]] = []
        self._queue = deque(range(1, len(requests)))
        self._retrying: set[int] = set()
        self._held: dict[int, str] = {}
        """By request that waits until the service accepts it: why and until when."""
        self._stopped = ""
        self._halt = asyncio.Event()
        self._is_active = False
        self._ended: concurrent.futures.Future[None] | None = None

    @property
    def start(self) -> Start | None:
        """Starts one run; None before `begin`."""
        return self._start

    @property
    def runs(self) -> list[tuple[int, LiveRun]]:
        """The runs that were started and not replaced, with the numbers of their requests, in that order."""
        return sorted(self._runs.items())

    @property
    def retried(self) -> tuple[tuple[int, LiveRun], ...]:
        """The failed runs that another run has replaced."""
        return tuple(self._retried)

    @property
    def retrying(self) -> frozenset[int]:
        """The numbers of failed runs that are queued to be started again."""
        return frozenset(self._retrying)

    @property
    def held(self) -> str:
        """Why and until when the next start waits; empty while none does."""
        return next(iter(tuple(self._held.values())), "")

    @property
    def hold(self) -> Hold | None:
        """Sleeps as long as the service asks; None before `begin`."""
        return self._hold

    @property
    def unsent(self) -> list[int]:
        """The numbers of requests that were not sent, or not yet."""
        return [number for number in range(len(self._requests)) if number not in self._runs]

    @property
    def stopped(self) -> str:
        """Why the rest is not sent; empty while it is, or when all were sent."""
        return self._stopped

    @property
    def is_active(self) -> bool:
        """Whether runs are still being started."""
        return self._is_active

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be known of any run."""
        return not self._is_active and all(run.is_over for run in list(self._runs.values()))

    def begin(self, first: LiveRun, start: Start, hold: Hold) -> None:
        """Take the first run, which the caller has started, and start the others; ``hold`` sleeps as the service asks."""
        self._start, self._hold = start, hold
        self._runs[0] = first
        self._send_queue()

    def retry(self, numbers: Sequence[int]) -> None:
        """Start failed runs again in their places; on the loop."""
        fresh = [number for number in numbers if number not in self._retrying]
        self._retrying.update(fresh)
        self._queue.extend(fresh)
        if fresh and not self._is_active:
            self._send_queue()

    def stop(self, reason: str) -> None:
        """Start no more; starts under way still end. On the loop."""
        if not self._halt.is_set():
            self._stopped = reason
        self._queue.clear()
        self._halt.set()

    def wait(self) -> None:
        """Block until every run is started, or will not be."""
        if self._ended is not None:
            concurrent.futures.wait([self._ended])

    async def join(self) -> None:
        """Wait until every run is started, or will not be; a caller that stops awaiting stops no start."""
        if self._ended is not None:
            await asyncio.shield(asyncio.wrap_future(self._ended))

    def _send_queue(self) -> None:
        task = self._submit(self._send_all())
        self._stopped = ""
        self._is_active = True
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
        self._halt.clear()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(self._queue))):
                    group.create_task(self._send_some())
        finally:
            self._queue.clear()
            self._retrying.clear()
            self._is_active = False
            self._changed()

    async def _send_some(self) -> None:
        while self._queue:
            number = self._queue.popleft()
            try:
                run = await self._send(number)
            except errors.DataflowError as error:
                # The requests differ in values alone, so a refusal of one is very likely one of all. Nor do further
                # requests help a service that cannot be reached.
                self.stop(str(error))
                return
            if number in self._retrying:
                self._retrying.discard(number)
                self._retried.append((number, self._runs[number]))
            self._runs[number] = run
            self._changed()

    async def _send(self, number: int) -> LiveRun:
        """Start one run; retry while the service refuses it as too many, until the sending is stopped."""
        assert self._start is not None  # noqa: S101 - `begin` sets it
        rest = REST
        while True:
            try:
                return await self._start(self._requests[number], lambda _: self._changed())
            except errors.TooManyRequests as error:
                # There is room again once runs of this sweep, or of others, are over.
                pause = rest if error.retry_after is None else max(error.retry_after, LEAST_REST)
                await self._rest(number, error, pause)
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
