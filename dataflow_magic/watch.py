"""When to ask for runs, and what was seen: one poll per job covers all its live runs. Starts no thread, paints nothing.

It never gives up: while the service gives no answer it says so and asks on. It costs nothing when no run is live.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from dataflow_magic import errors
from dataflow_magic.models import JobExecution, Page

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


class RunReader(Protocol):
    """What of a client the watch needs."""

    async def get_execution(self, job_id: str, execution_id: str) -> JobExecution:
        """Return one run."""

    def pages(self, job_id: str) -> AsyncIterator[Page[JobExecution]]:
        """Yield the pages of a job's runs."""


class Listener(Protocol):
    """What is told of one run, on the loop."""

    def seen(self, execution: JobExecution) -> None:
        """Take the state the service told."""

    def blind(self, reason: str) -> None:
        """Take note that the service gave no answer on the run, and why."""


def next_delay(
    pace: Pace, age_seconds: float, misses: int, retry_after: float | None, jitter: float
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
    """
    interval = min(pace.last, max(pace.first, age_seconds * pace.growth))
    if misses:
        interval = min(pace.last, interval * 2 ** min(misses, 10))
    return max(interval * (0.8 + 0.4 * jitter), retry_after or 0.0)


class Watch:
    """Follows the live runs of one job until all are over.

    Parameters
    ----------
    reader
        Gives the client to ask with, anew for each poll: a local service may have moved.
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
    ) -> None:
        self._reader = reader
        self._job_id = job_id
        self._pace = pace
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._live: dict[str, tuple[Listener, float]] = {}
        self._misses = 0

    def add(self, run_id: str, listener: Listener) -> None:
        """Follow one more run; on the loop."""
        self._live[run_id] = (listener, self._clock())

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to follow."""
        return not self._live

    async def follow(self) -> None:
        """Poll until every run is over."""
        while self._live:
            retry_after = await self._poll()
            if not self._live:
                return
            age = self._clock() - max(since for _, since in self._live.values())
            await self._sleep(next_delay(self._pace, age, self._misses, retry_after, self._jitter()))

    async def _poll(self) -> float | None:
        """Ask once; returns the seconds the service asked to wait, if it did."""
        try:
            found = await self._read(set(self._live))
        except errors.DataflowError as error:
            self._misses += 1
            for listener, _ in list(self._live.values()):
                listener.blind(str(error))
            return getattr(error, "retry_after", None)
        self._misses = 0
        for run_id, execution in found.items():
            listener, _ = self._live[run_id]
            if execution.is_final:
                del self._live[run_id]
            listener.seen(execution)
        return None

    async def _read(self, wanted: set[str]) -> dict[str, JobExecution]:
        client = self._reader()
        found: dict[str, JobExecution] = {}
        if len(wanted) > 1:
            async for page in client.pages(self._job_id):
                found |= {e.job_execution_id: e for e in page.items if e.job_execution_id in wanted}
                if len(found) == len(wanted):
                    return found
        for run_id in wanted - found.keys():
            found[run_id] = await client.get_execution(self._job_id, run_id)
        return found
