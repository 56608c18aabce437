"""When runs are polled, and what the polls saw: one poll per job covers all its active runs. Starts no thread.

A watch never gives up. While the service does not answer, it reports silence and polls on; while the service refuses the
keys, it waits for others. A job without active runs costs nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from dataflow_magic import errors
from dataflow_magic.models.wire import KST, ExecutionDelta, JobExecution

__all__ = ["CLOUD_PACE", "LOCAL_PACE", "Hold", "Pace", "RunReader", "Watch", "held_words", "next_delay"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often runs are polled.

    Parameters
    ----------
    first, last
        Seconds between two polls of a new run and of an old run.
    growth
        The interval between those two, as a fraction of the run's age.
    """

    first: float
    last: float
    growth: float = 0.05


LOCAL_PACE = Pace(0.25, 1.0, 0.01)
CLOUD_PACE = Pace(1.0, 15.0)


PAUSE = 20
"""How long refused keys are not used again, in longest intervals: five minutes in the cloud. Their owner may get the
right meanwhile."""
BATCH = 50
"""Runs of a page that are reported before other tasks of the loop get a turn."""
REST = 4.0
"""The shortest rest after a poll, as a multiple of its duration, so that polling takes a fifth of the time at most."""
SILENT_SECONDS = 5.0
"""How long a poll may go without an answer until the runs count as blind; the poll itself waits on."""


Hold = Callable[[float, str], Awaitable[None]]
"""Sleeps some seconds because the service asks for it; the second argument says why and until when, or is empty."""


def held_words(reason: object, seconds: float, now: datetime) -> str:
    """Return why and until when the service is sent no request."""
    until = (now + timedelta(seconds=seconds)).astimezone(KST)
    return f"{reason}; the service asks for no request before {until:%H:%M:%S} KST"


class RunReader(Protocol):
    """What a watch needs of a client."""

    async def get_execution(self, job_id: str, execution_id: str) -> JobExecution:
        """Return one run."""

    def deltas(self, job_id: str, marks: Mapping[str, int | None]) -> AsyncIterator[list[ExecutionDelta]]:
        """Yield, page by page, the runs of the job; see `Client.deltas`."""


PAUSED = "polling is paused until other keys are found, or these are tried again"


class Listener(Protocol):
    """Receives what a watch sees of one run. On the loop."""

    def seen(self, execution: JobExecution) -> None:
        """Take a snapshot from the service."""

    def blind(self, reason: str) -> None:
        """Note that the service gave no answer about the run, and why."""


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
        Age of the youngest active run.
    misses
        Polls in a row without an answer; each doubles the interval, up to the last.
    retry_after
        Seconds the service asked for, which the client bounds; the delay is never shorter.
    jitter
        0 to 1; spreads the interval from 80 to 120 percent.
    took_seconds
        Duration of the last poll; the interval is four times as long at least, up to the last.
    """
    interval = min(pace.last, max(pace.first, age_seconds * pace.growth, took_seconds * REST))
    if misses:
        interval = min(pace.last, interval * 2 ** min(misses, 10))
    return max(interval * (0.8 + 0.4 * jitter), retry_after or 0.0)


class Watch:
    """Polls the active runs of one job until all are over.

    Parameters
    ----------
    reader
        Returns the client to poll with; called before each poll, since a local service may have moved.
    on_silence
        Called when the service gives no answer about a run.
    on_list
        Called with the ids of the runs that a poll read in the job's list, of whomever.
    sleep, clock, jitter, now
        Seconds asleep, seconds on a steady clock, a number from 0 to 1, and the time of day.
    hold
        Sleeps for as long as the service asks, or until the user acts on it; by default `sleep`.
    silent_seconds
        How long a poll may take until its runs are reported blind.
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
        now: Callable[[], datetime] = lambda: datetime.now(KST),
        on_silence: Callable[[], None] = lambda: None,
        on_list: Callable[[Set[str]], None] = lambda _: None,
        hold: Hold | None = None,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self._reader = reader
        self._job_id = job_id
        self._pace = pace
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._now = now
        self._on_silence = on_silence
        self._on_list = on_list
        self._hold = hold or (lambda seconds, _: sleep(seconds))
        self._silent_seconds = silent_seconds
        self._silence: tuple[datetime, str] | None = None
        self._live: dict[str, tuple[Listener, float]] = {}
        self._marks: dict[str, int] = {}
        """By run id, the mark of the last list; none where the run must be reported again."""
        self._missing: set[str] = set()
        self._misses = 0
        self._pages = 1
        """How many pages the last list took until every active run was found."""
        self._long_rest: asyncio.Future[None] | None = None

    def add(self, run_id: str, listener: Listener) -> None:
        """Poll one more run too. On the loop."""
        self._live[run_id] = (listener, self._clock())
        self._pages = 1
        if self._long_rest is not None:
            self._long_rest.cancel()

    @property
    def is_over(self) -> bool:
        """Whether no run is left."""
        return not self._live

    @property
    def silence(self) -> str:
        """Since when the service does not answer polls, and why, in words; empty while it does. Any thread may read."""
        silence = self._silence
        if silence is None or self.is_over:
            return ""
        since, reason = silence
        return f"since {since.astimezone(KST):%H:%M:%S} KST" + (f": {reason}" if reason else "")

    async def follow(self) -> None:
        """Poll until every run is over."""
        while self._live:
            reader, began = self._reader(), self._clock()
            error = await self._poll(reader)
            if not self._live:
                return
            if isinstance(error, errors.NotSignedIn | errors.NotAllowed):
                await self._pause(reader, error)
                continue
            now = self._clock()
            age = now - max(since for _, since in self._live.values())
            retry_after = getattr(error, "retry_after", None)
            delay = next_delay(self._pace, age, self._misses, retry_after, self._jitter(), now - began)
            if retry_after is None:
                await self._rest(delay)
            else:
                await self._hold(delay, self._reason(error) if retry_after > self._pace.last else "")

    async def _poll(self, reader: RunReader) -> errors.DataflowError | None:
        """Poll every active run once; return the error where it failed."""
        unseen = set(self._live)
        asked = len(unseen)
        failed = None
        alarm = asyncio.get_running_loop().call_later(self._silent_seconds, self._all_blind, unseen, "")
        try:
            await self._read(reader, unseen)
        except errors.DataflowError as error:
            failed = error
            self._all_blind(unseen, self._reason(error))
        else:
            self._silence = None
        finally:
            alarm.cancel()
        self._misses = 0 if len(unseen) < asked else self._misses + 1
        return failed

    def _all_blind(self, unseen: set[str], reason: str) -> None:
        """Report that the service gives no answer about these runs; none for now where there is no reason."""
        self._silence = (self._silence[0] if self._silence else self._now()), reason
        for run_id in unseen & self._live.keys():
            self._blind(run_id, reason)

    def _reason(self, error: errors.DataflowError | None) -> str:
        """Return an error, and until when the service holds polling back where that is for longer than usual."""
        retry_after = getattr(error, "retry_after", None)
        if retry_after is None or retry_after <= self._pace.last:
            return str(error)
        return held_words(error, retry_after, self._now())

    async def _pause(self, refused: RunReader, error: errors.DataflowError) -> None:
        """Poll no more with refused keys until there are others, or the pause is over; `on_silence` may find them."""
        since = self._clock()
        while self._live and self._reader() is refused and self._clock() - since < PAUSE * self._pace.last:
            for run_id in self._live:
                self._blind(run_id, f"{PAUSED}: {error}")
            await self._sleep(self._pace.last)

    async def _read(self, reader: RunReader, unseen: set[str]) -> None:
        """Report each run as it is found, and remove it from ``unseen``; what stays got no answer."""
        # Single calls alone where a list would take as many pages as there are runs: the service promises no order.
        if len(unseen - self._missing) > self._pages:
            await self._read_list(reader, unseen)
        await self._read_each(reader, unseen)

    async def _read_list(self, reader: RunReader, unseen: set[str]) -> None:
        pages = 0
        listed = set[str]()
        marks = {run_id: self._marks.get(run_id) for run_id in unseen}
        async for page in reader.deltas(self._job_id, marks):
            pages += 1
            for number, delta in enumerate(page, 1):
                if number % BATCH == 0:
                    await asyncio.sleep(0)
                listed.add(delta.run_id)
                if delta.run_id in unseen:
                    self._take(delta, unseen)
            if unseen <= self._missing:
                break
        self._pages = pages
        self._on_list(listed)

    async def _read_each(self, reader: RunReader, unseen: set[str]) -> None:
        for run_id in list(unseen):
            try:
                execution = await reader.get_execution(self._job_id, run_id)
            except (errors.NotFound, errors.BadParameter, errors.BadState) as error:
                # Concerns this run alone: no page is read for it again.
                self._missing.add(run_id)
                self._blind(run_id, str(error))
            else:
                self._report(run_id, execution, unseen)

    def _take(self, delta: ExecutionDelta, unseen: set[str]) -> None:
        if delta.execution is None:
            unseen.discard(delta.run_id)
            self._missing.discard(delta.run_id)
            return
        self._report(delta.run_id, delta.execution, unseen)
        if delta.run_id in self._live:
            self._marks[delta.run_id] = delta.mark

    def _blind(self, run_id: str, reason: str) -> None:
        self._marks.pop(run_id, None)  # the next snapshot is reported even where nothing changed
        self._live[run_id][0].blind(reason)
        self._on_silence()

    def _report(self, run_id: str, execution: JobExecution, unseen: set[str]) -> None:
        unseen.discard(run_id)
        self._missing.discard(run_id)
        self._marks.pop(run_id, None)
        listener, _ = self._live[run_id]
        if execution.is_final:
            del self._live[run_id]
        listener.seen(execution)

    async def _rest(self, seconds: float) -> None:
        """Sleep; end early where a new run is added, which is polled at the pace of a new run."""
        if seconds <= self._pace.first * 2:
            await self._sleep(seconds)
            return
        self._long_rest = asyncio.ensure_future(self._sleep(seconds))
        try:
            await asyncio.wait({self._long_rest})
        finally:
            self._long_rest.cancel()
            self._long_rest = None
