"""The sweeps of a process: starts them, and takes up those that the ledger knows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from datetime import datetime
from typing import Any, TypeVar

from dataflow_magic import errors
from dataflow_magic.card.words import UNSENT
from dataflow_magic.ledger.ledger import Ledger, new_key
from dataflow_magic.ledger.record import microseconds
from dataflow_magic.ledger.sweeps import SweepRecord, SweepState, SweepTable
from dataflow_magic.models.request import RunRequest, SweepPlace, SweepRequest
from dataflow_magic.models.wire import KST, Job
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.service import Service, ServicePool
from dataflow_magic.session.sweep.handle import Sweep
from dataflow_magic.session.sweep.sending import Start
from dataflow_magic.session.tracker import Tracker

__all__ = ["FirstStart", "SweepBook"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

MOST_COMPARED = 50
"""Sweeps of which one may be continued by the same command."""
ELSEWHERE = "another kernel starts its runs"
LEFT = "its kernel has ended; %dataflow_attach {key} starts the rest"

FirstStart = Callable[
    [RunRequest, Service, Callable[[LiveRun], None], SweepPlace, Callable[[Job], None]], tuple[LiveRun, Job]
]
"""Starts the first run of a sweep and returns it with its job; the last argument is called with the job before the start."""


class SweepBook:
    """What a sweep needs of its session, and the sweeps of the process.

    Parameters
    ----------
    first
        Starts the first run of a sweep, in the caller's thread.
    language
        Returns the language of cards.
    notebook
        Returns what is recorded with each sweep; empty where unknown.
    now
        Seconds since the epoch.
    sleep
        Sleeps some seconds before a run that failed is started again.
    """

    def __init__(
        self,
        tracker: Tracker,
        services: ServicePool,
        ledger: Ledger,
        *,
        first: FirstStart,
        language: Callable[[], str],
        notebook: Callable[[], str],
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._tracker = tracker
        self._services = services
        self._ledger = ledger
        self.table = SweepTable(ledger)
        self._first = first
        self._language = language
        self._notebook = notebook
        self._now = now
        self.sleep = sleep
        self._sweeps: list[Sweep] = []
        self._records: dict[str, tuple[SweepRecord, Service]] = {}

    @property
    def sweeps(self) -> list[Sweep]:
        """The sweeps of this process, oldest first."""
        return list(self._sweeps)

    # What a sweep needs

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop; raises `DataflowError` where the session is closed."""
        return self._tracker.submit(coroutine)

    def language(self) -> str:
        """Return the language of cards."""
        return self._language()

    async def note(self, sweep: Sweep, state: SweepState, story: str) -> None:
        """Write whether and how what is left of a sweep is started; a ledger that cannot be written stops nothing."""
        try:
            await asyncio.to_thread(self.table.note, sweep.key, state, story, sweep.plan)
        except errors.ConfigError:  # the next start reports it
            logger.warning("the state of %r could not be written", sweep, exc_info=True)

    async def claim(self, sweep: Sweep) -> bool:
        """Make this kernel the one that starts the runs of a sweep; False where another one lives that does."""
        return await asyncio.to_thread(self.table.claim, sweep.key)

    def start_like(self, sweep: Sweep, request: SweepRequest) -> Sweep:
        """Start runs of a sweep once more as a new sweep; raises as `start`."""
        return self.start(request, self._records[sweep.key][1])

    # Starting

    def start(self, request: SweepRequest, service: Service | None) -> Sweep:
        """Start the first run of a sweep, and the others in the background; the job is read once.

        The sweep is in the ledger before its first run is started. One without runs is over at once.

        Parameters
        ----------
        service
            Where to start them; None where there is nothing to start.

        Raises
        ------
        DataflowError
            The first run was certainly not started, and so none is.
        """
        key = new_key()
        sweep = Sweep(request, self, key)
        if service is None or not request.order:
            self._sweeps.append(sweep)
            return sweep
        number = request.order[0]
        record = SweepRecord(
            key,
            request,
            job=request.requests[0].job.text,
            target=service.name,
            endpoint=service.endpoint,
            notebook=self._notebook(),
            submitted=microseconds(datetime.fromtimestamp(self._now(), KST)),
        )

        def keep(job: Job) -> None:
            self.table.keep(record.of_job(job))

        def heard(run: LiveRun) -> None:
            sweep.heard(number, run)

        try:
            first, job = self._first(request.requests[number], service, heard, SweepPlace(key, number), keep)
        except errors.DataflowError:
            self._forget(key)
            raise
        known = record.of_job(job)
        self._records[key] = known, service
        sweep.begin(self._starter(known, service), service.hold, first)
        self._sweeps.append(sweep)
        return sweep

    def _forget(self, key: str) -> None:
        try:
            self.table.remove(key)
        except errors.ConfigError:  # it stays as a sweep of which nothing was started
            logger.warning("a sweep that was not started could not be deleted", exc_info=True)

    def _starter(self, record: SweepRecord, service: Service) -> Start:
        job = Job(job_id=record.job_id, name=record.job)

        async def start(number: int, before: LiveRun | None, note: Callable[[LiveRun], None]) -> LiveRun:
            place = SweepPlace(record.key, number)
            if before is not None and before.view.execution is None and not before.was_never_sent:
                return await self._tracker.start_again(before.view, note, place)
            return await self._tracker.start(record.request.requests[number], job, service, note, place)

        return start

    # Sweeps of the ledger

    def take_up(self, record: SweepRecord) -> Sweep:
        """Return a sweep of the ledger with the runs that it has; nothing is started until it is resumed.

        Raises
        ------
        ConfigError
            The ledger cannot be read, or the sweep's target cannot be reached from here.
        """
        service = self._services.reconnect(record.target)
        self._tracker.recover_soon(service)
        is_elsewhere = self.table.is_driven_elsewhere(record.kernel)
        story = ELSEWHERE if is_elsewhere else record.story
        sweep = Sweep(record.request, self, record.key)
        self._records[record.key] = record, service
        is_left = record.state != "stopped" and not is_elsewhere
        self.submit(self._take_up(sweep, record, service, story, is_left=is_left)).result()
        self._sweeps.append(sweep)
        return sweep

    def unfinished(self, request: SweepRequest, service: Service) -> Sweep | None:
        """Return the newest sweep at a service that asks the same and did not start all of its runs; None where none did."""
        wanted = [each.parameters for each in request.requests]
        job = request.requests[0].job.text
        for record in self.table.newest(MOST_COMPARED):
            if (
                record.endpoint == service.endpoint
                and job in (record.job, record.job_id)
                and [each.parameters for each in record.request.requests] == wanted
                and not self.table.is_driven_elsewhere(record.kernel)
            ):
                known = next((sweep for sweep in self._sweeps if sweep.key == record.key), None)
                sweep = known or self.take_up(record)
                return sweep if UNSENT in sweep.counts else None
        return None

    async def _take_up(
        self, sweep: Sweep, record: SweepRecord, service: Service, story: str, *, is_left: bool
    ) -> None:
        newest: dict[int, LiveRun] = {}
        replaced: list[tuple[int, LiveRun]] = []
        rows = await asyncio.to_thread(self._ledger.of_sweep, record.key)
        dead = [row for row in rows if not self._ledger.lives(row.kernel)]
        await asyncio.to_thread(self._ledger.claim, dead)
        for row in rows:
            run = await self._tracker.follow_record(row, service)
            number = row.number or 0
            run.on_change(lambda run, number=number: sweep.heard(number, run))  # type: ignore[misc]
            if number in newest:
                replaced.append((number, newest[number]))
            newest[number] = run
        if not story and len(record.request.order) > len(newest):
            story = LEFT.format(key=record.key)
        sweep.take(self._starter(record, service), service.hold, newest, replaced, story, is_left=is_left)
