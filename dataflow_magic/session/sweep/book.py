"""The sweeps of a process: starts them, and takes up those that the ledger knows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from dataflow_magic import errors
from dataflow_magic.card.words import UNSENT
from dataflow_magic.ledger.ledger import Ledger, new_key
from dataflow_magic.ledger.record import microseconds
from dataflow_magic.ledger.sweeps import Standing, SweepRecord, SweepState, SweepSummary, SweepTable
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
WATCH_SECONDS = 2.0
"""Between two looks for what another kernel has started meanwhile."""
ELSEWHERE = "another kernel starts its runs"
OF_NOTEBOOK = "the kernel of {notebook} starts its runs"
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
        self.table.known = self._driven
        self._first = first
        self._language = language
        self._notebook = notebook
        self._now = now
        self.sleep = sleep
        self._sweeps: list[Sweep] = []
        self._records: dict[str, tuple[SweepRecord, Service]] = {}
        self._watches: set[asyncio.Task[None]] = set()

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
        return await asyncio.to_thread(self.table.claim, sweep.key, self._notebook())

    def start_like(self, sweep: Sweep, request: SweepRequest) -> Sweep:
        """Start runs of a sweep once more as a new sweep; raises as `start`."""
        return self.start(request, self._records[sweep.key][1])

    def summaries(self) -> list[SweepSummary]:
        """Return every sweep of the ledger, the newest first; raises ConfigError where it cannot be read."""
        with contextlib.suppress(errors.DataflowError):  # the session is closed
            self.submit(self._tracker.flush()).result()  # what happened just now counts too
        return self.table.summaries()

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
        sweep.begin(self._starter(known, service), service.hold, first, known.job_limit)
        self._sweeps.append(sweep)
        return sweep

    def _forget(self, key: str) -> None:
        try:
            self.table.remove(key)
        except errors.ConfigError:  # it stays as a sweep of which nothing was started
            logger.warning("a sweep that was not started could not be deleted", exc_info=True)

    def _driven(self) -> list[SweepRecord]:
        """Return the sweeps that this kernel drives, as the ledger should have them."""
        driven = []
        for sweep in self.sweeps:
            if sweep.drives and sweep.key in self._records:
                record, (state, story) = self._records[sweep.key][0], sweep.standing
                request = replace(record.request, plan=sweep.plan)
                driven.append(replace(record, request=request, state=state, story=story))
        return driven

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
        sweep = Sweep(record.request, self, record.key)
        self._records[record.key] = record, service
        self.submit(self._take_up(sweep, record, service)).result()
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
            ):
                known = next((sweep for sweep in self._sweeps if sweep.key == record.key), None)
                sweep = known or self.take_up(record)
                return sweep if UNSENT in sweep.counts else None
        return None

    async def look(self, sweep: Sweep) -> None:
        """Take from the ledger which runs other kernels have started of a sweep, and who starts the rest. On the loop.

        Raises
        ------
        ConfigError
            The ledger cannot be read.
        """
        _, service = self._records[sweep.key]
        standing = await asyncio.to_thread(self.table.standing, sweep.key)
        rows = await asyncio.to_thread(self._ledger.of_sweep, sweep.key, sweep.keys)
        lives = {kernel: self._ledger.lives(kernel) for kernel in {row.kernel for row in rows}}
        await asyncio.to_thread(self._ledger.claim, [row for row in rows if not lives[row.kernel]])
        for row in rows:
            is_on_its_way = row.phase == "sending" and lives[row.kernel] and row.kernel != self._ledger.kernel
            if not is_on_its_way:
                run = await self._tracker.follow_record(row, service)
                number = row.number or 0
                run.on_change(lambda run, number=number: sweep.heard(number, run))  # type: ignore[misc]
                sweep.learn(number, run)
        if standing is not None:
            self._stand(sweep, standing)

    def _stand(self, sweep: Sweep, standing: Standing) -> None:
        is_stopped = standing.state == "stopped"
        if self.table.is_driven_elsewhere(standing.kernel):
            words = OF_NOTEBOOK.format(notebook=standing.notebook) if standing.notebook else ELSEWHERE
            if is_stopped or not sweep.is_unsent:
                words = standing.story
            sweep.stand(words, standing.plan, is_elsewhere=not is_stopped)
            return
        story = standing.story
        if not story and sweep.is_unsent:
            story = LEFT.format(key=sweep.key)
        sweep.stand(story, standing.plan, is_left=not is_stopped)

    async def _take_up(self, sweep: Sweep, record: SweepRecord, service: Service) -> None:
        sweep.take(self._starter(record, service), service.hold, record.job_limit)
        await sweep.look()
        if sweep.is_elsewhere:
            watch = asyncio.get_running_loop().create_task(self._watch(sweep))
            self._watches.add(watch)
            watch.add_done_callback(self._watches.discard)

    async def _watch(self, sweep: Sweep) -> None:
        """Follow what another kernel starts of a sweep, until that is over, or that kernel."""
        while sweep.is_elsewhere and not sweep.is_over:
            await self.sleep(WATCH_SECONDS)
            if not sweep.is_elsewhere:  # it was resumed here meanwhile
                return
            try:
                await sweep.look()
            except errors.DataflowError:  # the next look may read it
                logger.debug("%r could not be read again", sweep, exc_info=True)
