"""When to ask for runs, and what was seen: one poll per job covers all its live runs. Starts no thread, paints nothing.

It never gives up: while the service gives no answer it says so and asks on; while it takes no key it says so and waits for
another. It costs nothing when no run is live.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from dataflow_magic import errors
from dataflow_magic.models.wire import JobExecution, News

__all__ = ["CLOUD_PACE", "LOCAL_PACE", "Pace", "RunReader", "Watch", "next_delay"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to ask.

    Parameters
    ----------
    first, last
        Seconds between two polls of a young and of an old run.
    growth
        The interval as a part of the run's age, between those two.
    """

    first: float
    last: float
    growth: float = 0.05


LOCAL_PACE = Pace(0.25, 1.0, 0.01)
CLOUD_PACE = Pace(1.0, 15.0)


PAUSE = 20
"""How long keys that were refused are not used again, in longest intervals: five minutes in the cloud. Somebody may have
given them the right meanwhile."""
BREATH = 50
"""How many runs of a page are told of between two turns of the loop for others."""
REST = 4.0
"""The least rest after a poll, as a multiple of what it took: who watches much does not get to do nothing else."""


class RunReader(Protocol):
    """What of a client the watch needs."""

    async def get_execution(self, job_id: str, execution_id: str) -> JobExecution:
        """Return one run."""

    def news(self, job_id: str, marks: Mapping[str, int | None]) -> AsyncIterator[list[News]]:
        """Yield, page by page, what is told of the job's runs that are marked."""


PAUSED = "watching is paused until other keys are found, or the same are tried again"


class Listener(Protocol):
    """What is told of one run, on the loop."""

    def seen(self, execution: JobExecution) -> None:
        """Take the state the service told."""

    def blind(self, reason: str) -> None:
        """Take note that the service gave no answer on the run, and why."""


def next_delay(
    pace: Pace,
    age_seconds: float,
    misses: int,
    retry_after: float | None,
    jitter: float,
    took_seconds: float = 0.0,
) -> float:
    """Return the seconds to the next poll.

    Parameters
    ----------
    age_seconds
        Of the youngest live run.
    misses
        Polls in a row without an answer; each doubles the interval.
    retry_after
        What the service asked for; never undercut.
    jitter
        0 to 1; spreads the interval from 80 to 120 percent.
    took_seconds
        By the poll before; a rest is four times as long at least, though not beyond the last interval.
    """
    interval = min(pace.last, max(pace.first, age_seconds * pace.growth, took_seconds * REST))
    if misses:
        interval = min(pace.last, interval * 2 ** min(misses, 10))
    return max(interval * (0.8 + 0.4 * jitter), retry_after or 0.0)


class Watch:
    """Follows the live runs of one job until all are over.

    Parameters
    ----------
    reader
        Returns the client to poll with; called before each poll, since a local service may have moved.
    on_silence
        Called when the service gives no answer about a run.
    sleep, clock, jitter
        Seconds asleep, seconds on a steady clock, and a number from 0 to 1.
    """

    def __init__(
        self,
        reader: Callable[[], RunReader],
        job_id: str,
        pace: Pace,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        on_silence: Callable[[], None] = lambda: None,
    ) -> None:
        self._reader = reader
        self._job_id = job_id
        self._pace = pace
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._on_silence = on_silence
        self._live: dict[str, tuple[Listener, float]] = {}
        self._marks: dict[str, int] = {}
        """What each run was last told with by a list; none where it must be told anew."""
        self._missing: set[str] = set()
        self._misses = 0
        self._pages = 1
        """How many the newest list took until every live run was found."""
        self._long_rest: asyncio.Future[None] | None = None

    def add(self, run_id: str, listener: Listener) -> None:
        """Follow one more run; on the loop."""
        self._live[run_id] = (listener, self._clock())
        self._pages = 1
        if self._long_rest is not None:
            self._long_rest.cancel()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to follow."""
        return not self._live

    async def follow(self) -> None:
        """Poll until every run is over."""
        while self._live:
            reader, began = self._reader(), self._clock()
            trouble = await self._poll(reader)
            if not self._live:
                return
            if isinstance(trouble, errors.NotSignedIn | errors.NotAllowed):
                await self._pause(reader, trouble)
                continue
            now = self._clock()
            age = now - max(since for _, since in self._live.values())
            retry_after = getattr(trouble, "retry_after", None)
            delay = next_delay(self._pace, age, self._misses, retry_after, self._jitter(), now - began)
            await self._rest(delay, wakeable=retry_after is None)

    async def _poll(self, reader: RunReader) -> errors.DataflowError | None:
        """Ask once for every live run; returns what went wrong."""
        unseen = set(self._live)
        asked = len(unseen)
        trouble = None
        try:
            await self._read(reader, unseen)
        except errors.DataflowError as error:
            trouble = error
            for run_id in unseen:
                self._blind(run_id, str(error))
        self._misses = 0 if len(unseen) < asked else self._misses + 1
        return trouble

    async def _pause(self, refused: RunReader, trouble: errors.DataflowError) -> None:
        """Ask no more with keys that were refused, until there are others; who listens may look for them."""
        since = self._clock()
        while self._live and self._reader() is refused and self._clock() - since < PAUSE * self._pace.last:
            for run_id in self._live:
                self._blind(run_id, f"{PAUSED}: {trouble}")
            await self._sleep(self._pace.last)

    async def _read(self, client: RunReader, unseen: set[str]) -> None:
        """Tell of each run as it is found, and strike it off; what stays could not be asked for."""
        # Where a list takes as many pages as there are runs to find, each is asked for by itself: no order is promised.
        if len(unseen - self._missing) > self._pages:
            pages = 0
            marks = {run_id: self._marks.get(run_id) for run_id in unseen}
            async for page in client.news(self._job_id, marks):
                pages += 1
                for number, news in enumerate(page, 1):
                    if number % BREATH == 0:
                        await asyncio.sleep(0)
                    if news.run_id in unseen:
                        self._take(news, unseen)
                if unseen <= self._missing:
                    break
            self._pages = pages
        for run_id in list(unseen):
            try:
                execution = await client.get_execution(self._job_id, run_id)
            except (errors.NotFound, errors.BadParameter, errors.BadState) as error:
                # This one's trouble alone: the others go on, and no page is read for it again.
                self._missing.add(run_id)
                self._blind(run_id, str(error))
            else:
                self._tell(run_id, execution, unseen)

    def _take(self, news: News, unseen: set[str]) -> None:
        if news.execution is None:
            unseen.discard(news.run_id)
            self._missing.discard(news.run_id)
            return
        self._tell(news.run_id, news.execution, unseen)
        if news.run_id in self._live:
            self._marks[news.run_id] = news.mark

    def _blind(self, run_id: str, reason: str) -> None:
        self._marks.pop(run_id, None)  # what is told next is news, though it be the same
        self._live[run_id][0].blind(reason)
        self._on_silence()

    def _tell(self, run_id: str, execution: JobExecution, unseen: set[str]) -> None:
        unseen.discard(run_id)
        self._missing.discard(run_id)
        self._marks.pop(run_id, None)
        listener, _ = self._live[run_id]
        if execution.is_final:
            del self._live[run_id]
        listener.seen(execution)

    async def _rest(self, seconds: float, *, wakeable: bool) -> None:
        """Sleep, but not for long when a new run is added: it is asked for at the pace of a young one."""
        if not wakeable or seconds <= self._pace.first * 2:
            await self._sleep(seconds)
            return
        self._long_rest = asyncio.ensure_future(self._sleep(seconds))
        try:
            await asyncio.wait({self._long_rest})
        finally:
            self._long_rest.cancel()
            self._long_rest = None
