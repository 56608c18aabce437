"""The runs of one process: starts them, follows them, reconciles lost responses, and takes over runs of dead kernels."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Set
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

from dataflow_magic import errors
from dataflow_magic.client.pages import Listing
from dataflow_magic.client.responses import clock_words
from dataflow_magic.ledger.ledger import Ledger, new_key
from dataflow_magic.ledger.record import RunRecord, view_of
from dataflow_magic.ledger.writer import LedgerWriter
from dataflow_magic.models.attempt import Attempt
from dataflow_magic.models.marker import marker_problem, unmarked
from dataflow_magic.models.request import JobRef, RunRequest, SweepPlace
from dataflow_magic.models.secret import Secret
from dataflow_magic.models.view import KST, UNCLEAR, Past, RunView
from dataflow_magic.models.wire import Job, JobExecution
from dataflow_magic.session.loop import LoopThread
from dataflow_magic.session.reconcile import LOST, PAGES_PER_LOOK, Found, Look, adopt_named, reconcile, review
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.service import CLOSED, Service, ServicePool

__all__ = ["Tracker"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

RECOVER_SECONDS = 30.0
"""Between two looks for runs of dead kernels at least."""
REVIEW_SECONDS = 86_400.0
"""Age of a start, given up without a run, up to which a new kernel looks for it once more."""
MOST_REVIEWED = 20
"""Such starts of which a new kernel, or a list that is read for a table, looks for the run."""
BATCH = 100
"""Runs that are taken over before other tasks of the loop get a turn."""


class Tracker:
    """The live runs of a process.

    Parameters
    ----------
    loop
        Runs everything here.
    services
        Reaches the runs' targets.
    ledger
        Records every start before it is sent.
    notebook
        Returns what is recorded with each start; empty where unknown.
    language
        Returns the language of cards.
    now
        Seconds since the epoch.
    sleep
        Sleeps some seconds between two looks for a lost run.

    Notes
    -----
    Coroutines and `note` belong on the loop; any thread may call the rest.
    """

    def __init__(
        self,
        loop: LoopThread,
        services: ServicePool,
        ledger: Ledger,
        *,
        notebook: Callable[[], str],
        language: Callable[[], str],
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._loop = loop
        self._services = services
        self._ledger = ledger
        self._writer = LedgerWriter(ledger)
        ledger.known = lambda: [(run.view, self._writer.kept(key)) for key, run in self.known.items()]
        self._notebook = notebook
        self._now = now
        self._sleep = sleep
        self._language = language
        self._listed: list[LiveRun] = []
        self._revived: dict[str, LiveRun] = {}
        """By key: runs of the ledger that this process did not start."""
        self._lock = threading.Lock()
        self._recovered_at: float | None = None
        # The loop keeps only weak references to tasks.
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def listed(self) -> list[LiveRun]:
        """The runs this process started, or was asked for by name, oldest first."""
        return list(self._listed)

    @property
    def known(self) -> dict[str, LiveRun]:
        """Every run of the ledger that this process follows, by its key."""
        return {run.key: run for run in [*self._revived.values(), *self._listed] if run.key}

    # Starting

    async def start(
        self,
        request: RunRequest,
        job: Job,
        service: Service,
        on_change: Callable[[LiveRun], None] | None = None,
        place: SweepPlace | None = None,
    ) -> LiveRun:
        """Start a run of a job; return once the service answered or the response is lost.

        Parameters
        ----------
        on_change
            Called with the run after each change of its view.
        place
            Where the run is in its sweep.

        Raises
        ------
        CellError
            The request cannot carry the marker it asks for, or has a secret whose value this process does not know.
        DataflowError
            The run was certainly not started.
        """
        _check_secrets(request, f"run {place.number + 1} of sweep {place.sweep}" if place else "the run")
        view = self._view(request, job, service, place)
        if problem := marker_problem(view.request):
            raise errors.CellError(problem)
        # Before the request leaves: a kernel that dies from here on leaves a trace of what it may have started.
        await self._writer.intend(view)
        log = self._writer.attempts(view.key)
        older = frozenset(service.listed.get(view.job_id, ()))
        run = LiveRun(view, service, self, on_change)
        self._listed.append(run)
        try:
            execution = await service.client.execute_job(
                view.job_id, view.condition, view.parameters, **view.request.query, attempts=log
            )
        except errors.OutcomeUnknown:
            logger.debug("%r", run, exc_info=True)
            await self._lose(run, f"{LOST}; it is looked for among the job's runs", service, log.kept)
        except errors.DataflowError:
            self._listed.remove(run)
            await self._writer.withdraw(view)
            raise
        except Exception as error:  # an error of this package does not say whether the request left
            await self._lose(run, f"{LOST} ({type(error).__name__})", service, log.kept)
            raise
        else:
            is_new = execution.job_execution_id not in older and not self._has(
                execution.job_execution_id, service
            )
            if is_new and await self._writer.settle(replace(view, execution=execution), log.kept):
                self._follow(run, execution, service)
            else:
                await self._refuse(run, execution, log.kept)
        return run

    def _has(self, run_id: str, service: Service) -> bool:
        """Whether a run of this process has an id, also one that only the service lists."""
        runs = (*self._listed, *self._revived.values())
        return any(run.run_id == run_id and run.view.endpoint == service.endpoint for run in runs)

    async def start_again(
        self,
        view: RunView,
        on_change: Callable[[LiveRun], None] | None = None,
        place: SweepPlace | None = None,
    ) -> LiveRun:
        """Start the same as another run: its job, condition, parameters and place of the marker, at its target.

        A run that counts as not started is looked for once more; where the service has it by now, it is returned instead.

        Raises
        ------
        CellError
            The run had a secret parameter whose value this process does not know, or may have been started after all.
        DataflowError
            As `start`; or the job's runs could not be read.
        """
        _check_secrets(view.request, f"run {view.run_id or view.key}")
        service = await asyncio.to_thread(self._services.reconnect, view.target)
        if view.execution is None and (found := await self._look_again(view, service)) is not None:
            return found
        # A run that only the service lists shows the marker of the kernel that started it.
        request = view.request if view.key else unmarked(view.request)
        job = Job(job_id=view.job_id, name=view.job_name)
        return await self.start(request, job, service, on_change, place)

    async def _look_again(self, view: RunView, service: Service) -> LiveRun | None:
        """Return the run of a start whose response was lost, where the service has it by now."""
        name = view.key
        if not view.settled:
            raise errors.CellError(
                f"run {name} may have been started: {view.blind_reason or 'it has no answer yet'}; "
                f"%dataflow_wait {name} waits until that is clear"
            )
        run = self._known_or_new(view, service)
        look = Look(run, service, self._ledger)
        found = await look.again()
        if found is not None:
            self._list(run)
            self._found(run, found, service)
            return run
        if look.is_doubtful and view.settled != UNCLEAR:
            raise errors.CellError(
                f"run {name} may have been started after all: the job has a run that may be it; look with "
                f"%dataflow_runs --remote {view.job_name}, then %dataflow_attach ID takes that run for it"
            )
        return None

    def _view(self, request: RunRequest, job: Job, service: Service, place: SweepPlace | None) -> RunView:
        whole = request.condition.over(job.condition)
        return RunView(
            replace(request, job=JobRef(job.job_id, "id"), condition=whole),
            target=service.name,
            endpoint=service.endpoint,
            key=new_key(),
            job_name=job.name or job.job_id,
            submitted_at=datetime.fromtimestamp(self._now(), KST),
            notebook=self._notebook(),
            place=place,
        )

    # Runs that were started elsewhere

    async def attach(self, view: RunView, execution: JobExecution, service: Service) -> LiveRun:
        """Return a run of the service, followed from now on: as the outcome of a lost start where it matches one."""
        start = await asyncio.to_thread(adopt_named, self._ledger, execution, view)
        if start is None:
            run = LiveRun(view, service, self)
            self._list(run)
            self._follow(run, execution, service)
        else:
            run = self._known_or_new(start, service)
            self._list(run)
            self._found(run, Found(execution, start.found_by), service)
        return run

    async def correct(self, job_id: str, service: Service, listing: Listing, read_at: float) -> None:
        """Take a list that was read for another purpose as news of starts of its job that were given up without a run.

        Parameters
        ----------
        read_at
            When its reading began, by this machine's steady clock.
        """
        for record in await asyncio.to_thread(self._ledger.unsettled, 0, MOST_REVIEWED):
            if record.job_id != job_id or record.endpoint != service.endpoint:
                continue
            run = self._known_or_new(view_of(record), service)
            found = await Look(run, service, self._ledger).take_from(listing, read_at)
            if found is not None:
                self._found(run, found, service)

    async def follow_record(self, record: RunRecord, service: Service) -> LiveRun:
        """Return a run of the ledger, followed from now on and among those listed."""
        run = await self.revive(record, service)
        self._list(run)
        return run

    async def revive(self, record: RunRecord, service: Service) -> LiveRun:
        """Return a run of the ledger, followed from now on."""
        await self._learn_attempts(record)
        if record.key in self._revived:
            return self._revived[record.key]
        run = self._revived[record.key] = LiveRun(view_of(record), service, self)
        view = run.view
        if view.execution is not None:
            run.seen(view.execution, is_stored=True)
            self._watch(run, view.execution, service)
        elif view.settled:
            run.give_up(errors.OutcomeUnknown(view.blind_reason), view.settled)
            self._background(self._review(Look(run, service, self._ledger), service, at_once=True))
        else:
            run.lost(LOST)
            self._background(self._reconcile(run, service))
        return run

    def recover_soon(self, service: Service) -> None:
        """Take over runs of dead kernels in the background, every 30 seconds at most.

        Starts at this service that were given up without a run are looked for once more by each new kernel.
        """
        with self._lock:
            now = time.monotonic()
            if self._recovered_at is not None and now - self._recovered_at < RECOVER_SECONDS:
                return
            self._recovered_at = now
        self.submit(self._recover(service))

    async def _learn_attempts(self, record: RunRecord) -> None:
        """Read when an earlier kernel sent a start, so that the ledger can get it back once it was deleted."""
        if record.keeps_attempts and record.run_id is None and record.key not in self.known:
            kept = await asyncio.to_thread(self._ledger.attempts, [record.key])
            self._writer.attempts(record.key, kept[record.key])

    def _known_or_new(self, view: RunView, service: Service) -> LiveRun:
        """Return the handle of a start; a new one counts as given up where the start does."""
        known = self.known.get(view.key)
        if known is not None:
            return known
        run = LiveRun(replace(view, execution=None), service, self)
        if view.settled:
            run.give_up(errors.OutcomeUnknown(view.blind_reason), view.settled)
        return run

    async def _recover(self, service: Service) -> None:
        try:
            since = int((self._now() - REVIEW_SECONDS) * 1e6)
            for record in await asyncio.to_thread(self._ledger.unsettled, since, MOST_REVIEWED):
                if record.endpoint != service.endpoint or record.key in self.known:
                    continue
                await self._learn_attempts(record)
                if record.key not in self.known:
                    run = self._revived[record.key] = self._known_or_new(view_of(record), service)
                    self._background(self._review(Look(run, service, self._ledger), service, at_once=True))
            await self.take_over()
        except errors.DataflowError:  # the next start reports it
            logger.debug("the ledger could not be read", exc_info=True)

    async def take_over(self) -> list[LiveRun]:
        """Return the active runs of dead kernels, followed from now on, as far as their targets can be reached.

        Raises
        ------
        ConfigError
            The ledger cannot be read.
        """
        orphans = await asyncio.to_thread(self._ledger.orphans)
        orphans.sort(key=lambda record: record.target)
        taken: list[LiveRun] = []
        for target, records in groupby(orphans, lambda record: record.target):
            taken += await self._take_over(target, list(records))
        return taken

    async def _take_over(self, target: str, orphans: list[RunRecord]) -> list[LiveRun]:
        try:
            service = await asyncio.to_thread(self._services.reconnect, target)
        except errors.DataflowError:  # such as no credentials: another kernel may have them
            logger.debug("%d runs of %s stay as they are", len(orphans), target, exc_info=True)
            return []
        taken = []
        for number, record in enumerate(await asyncio.to_thread(self._ledger.claim, orphans), 1):
            if number % BATCH == 0:
                await asyncio.sleep(0)
            taken.append(await self.revive(record, service))
        return taken

    # What a run needs

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop; raises `DataflowError` where the session is closed."""
        try:
            self._services.check_open()
        except errors.DataflowError:
            coroutine.close()
            raise
        return self._loop.submit(coroutine)

    def note(self, view: RunView) -> None:
        """Record a change of a run. On the loop."""
        self._writer.note(view)

    async def flush(self) -> None:
        """Write to the ledger what has changed of runs."""
        await self._writer.flush()

    def past(self, view: RunView) -> Past | None:
        """Return how long earlier runs of the job ran; None where the ledger cannot be read. Blocks; not on the loop."""
        try:
            self.submit(self._writer.flush()).result()  # a run that ended just now counts too
            return self._ledger.past(view)
        except errors.DataflowError:  # the card shows less
            logger.debug("the past of %r could not be read", view.job_name, exc_info=True)
            return None

    def language(self) -> str:
        """Return the language of cards."""
        return self._language()

    # Ending

    async def aclose(self) -> None:
        """Stop following: end every wait for a run, cancel the loop's tasks and write what is not written."""
        for run in [*self._listed, *self._revived.values()]:
            if not run.is_over:
                run.give_up(errors.DataflowError(f"this kernel follows the run no longer: {CLOSED}"))
        # Every task of the loop belongs to the session, and must not use a closed client.
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._writer.flush()

    # Work

    def _list(self, run: LiveRun) -> None:
        if run not in self._listed:
            self._listed.append(run)

    def _follow(self, run: LiveRun, execution: JobExecution, service: Service) -> None:
        run.seen(execution)
        self._watch(run, execution, service)

    def _found(self, run: LiveRun, found: Found, service: Service) -> None:
        """Follow the run that was found for a start from now on."""
        self._revived[run.key] = run
        run.found(found.execution, found.found_by)
        self._watch(run, found.execution, service)

    def _watch(self, run: LiveRun, execution: JobExecution, service: Service) -> None:
        if words := clock_words(service.client.clock_offset):
            run.off_clock(words)
        if not execution.is_final:
            job_id = run.view.job_id
            service.follow(
                job_id, execution.job_execution_id, run, partial(self._compare_list, service, job_id)
            )

    def _compare_list(self, service: Service, job_id: str, run_ids: Set[str]) -> None:
        """Look for the starts of a job that were given up where a poll lists a run that no look has seen."""
        seen = service.listed.get(job_id)
        if seen is None or run_ids <= seen:  # no start of the job was looked for, or nothing is new
            return
        seen |= run_ids
        if any(run.view.settled and run.view.job_id == job_id for run in self.known.values()):
            self._background(self._read_once_more(service, job_id))

    async def _read_once_more(self, service: Service, job_id: str) -> None:
        with contextlib.suppress(errors.DataflowError):  # the verdicts stay as they are
            read_at = service.client.clock.steady()
            listing = await service.client.listing(job_id, most=PAGES_PER_LOOK)
            await self.correct(job_id, service, listing, read_at)

    async def _lose(self, run: LiveRun, reason: str, service: Service, kept: tuple[Attempt, ...]) -> None:
        run.lost(reason)
        # At once: while the ledger says "sending", kernels that reconcile the same job wait for this answer.
        await self._writer.settle(run.view, kept)
        self._background(self._reconcile(run, service))

    async def _refuse(self, run: LiveRun, execution: JobExecution, kept: tuple[Attempt, ...]) -> None:
        """Leave open which run is a start's, after the service answered with one that is another start's."""
        name = execution.job_execution_id
        run.give_up(
            errors.OutcomeUnknown(
                f"the service answered with the run {name}, which is another start's; "
                "%dataflow_attach ID names the right one"
            ),
            UNCLEAR,
        )
        await self._writer.settle(run.view, kept)

    async def _reconcile(self, run: LiveRun, service: Service) -> None:
        look = Look(run, service, self._ledger)
        found = await reconcile(look, now=self._now, sleep=self._sleep)
        if found is not None:
            self._found(run, found, service)
            return
        await self._writer.settle(run.view)
        if run.view.settled:
            await self._review(look, service)

    async def _review(self, look: Look, service: Service, *, at_once: bool = False) -> None:
        found = await review(look, sleep=self._sleep, at_once=at_once)
        if found is not None:
            self._found(look.run, found, service)

    def _background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _check_secrets(request: RunRequest, name: str) -> None:
    """Refuse a request with a secret whose value this process does not know."""
    secrets = [
        name for name, value in request.parameters.items() if isinstance(value, Secret) and not value.reveal()
    ]
    if secrets:
        raise errors.CellError(
            f"{name} had the secret parameter {', '.join(secrets)}, whose value is stored nowhere; run the cell that "
            "started it instead"
        )
