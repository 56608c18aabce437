"""What magics and the Python API call: the services, the runs and the ledger of one process, from any thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from dataflow_magic import errors
from dataflow_magic.card.run.reader import Reader
from dataflow_magic.card.words import Words, words_of
from dataflow_magic.cell.line import parse_job_ref
from dataflow_magic.cell.script import LOCAL_DEFAULTS
from dataflow_magic.cell.table import Listing
from dataflow_magic.client import Client, Transport
from dataflow_magic.client.objects import FolderObjects
from dataflow_magic.client.responses import clock_words
from dataflow_magic.config.credentials import profiles
from dataflow_magic.config.settings import FindLocal, Target, language, resolve_target
from dataflow_magic.ledger.ledger import Ledger, ledger_path
from dataflow_magic.ledger.record import RunRecord, record_of, view_of
from dataflow_magic.ledger.sweeps import SweepRecord, SweepSummary
from dataflow_magic.models.comparison import Comparison, Side, compared
from dataflow_magic.models.request import JobRef, RunRequest, ScriptRequest, SweepPlace, SweepRequest
from dataflow_magic.models.secret import Parameter, Secret
from dataflow_magic.models.view import KST, RunView
from dataflow_magic.models.wire import Job, JobCondition, JobExecution, RunState
from dataflow_magic.reasons.diagnosis import diagnose
from dataflow_magic.session.detached import INTERRUPTED_START, in_one_line
from dataflow_magic.session.jobs import find_job, find_run_on
from dataflow_magic.session.loop import LoopThread
from dataflow_magic.session.naming import (
    MOST_NAMED,
    MOST_OFFERED,
    Handle,
    find_named,
    live_of,
    name_of,
    names_to_offer,
)
from dataflow_magic.session.notebook import Notebook
from dataflow_magic.session.run import CHANGED, LiveRun
from dataflow_magic.session.scripts import Published, StoredScript, publish, read_script
from dataflow_magic.session.service import Service, ServiceAddress, ServicePool
from dataflow_magic.session.sweep.book import SweepBook
from dataflow_magic.session.sweep.handle import Sweep
from dataflow_magic.session.sweep.plan import skipped
from dataflow_magic.session.tracker import Tracker
from dataflow_magic.session.watch import Pace, held_words

__all__ = ["Session"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAGES_OF_RUNS = 1000
"""Of one job in a table: at most a million runs."""
RUN_ID = re.compile(r"[A-Za-z0-9_-]{12,}")
"""The service's ids have 12 characters in the vendor's full examples."""


class Session:
    """The runs of this process, and the services they run on.

    Parameters
    ----------
    environment
        Read at each call, so that a notebook may set a variable.
    configure_file
        ``~/.ncloud/configure``; need not exist.
    attach
        Finds or starts the local service; called before each use, since the service may have ended.
    find_local
        As in `settings.resolve_target`.
    transport
        Replaces the network.
    pace
        How often runs are polled; by default that of the target.
    now
        Seconds since the epoch: for signatures, and for when a run was submitted.
    steady
        Seconds that nobody sets; by default the system's, or ``now`` where that is handed in.
    sleep
        Sleeps some seconds between two looks for a run whose response was lost.
    answer_seconds
        How long a request may take to be sent, and to be answered.
    loop
        Where the session runs; by default a thread of its own.

    Notes
    -----
    Any thread may call. The views of runs change on the loop alone.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        configure_file: Path,
        attach: Callable[[], ServiceAddress],
        *,
        find_local: FindLocal = lambda _: None,
        transport: Transport | None = None,
        pace: Pace | None = None,
        now: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        answer_seconds: float = 30.0,
        loop: LoopThread | None = None,
    ) -> None:
        self.environment = environment
        self.language_choice = "auto"
        """The language of cards, as `settings.language` takes it."""
        self._configure_file = configure_file
        self._find_local = find_local
        self._loop = loop or LoopThread()
        self._ledger = Ledger(ledger_path(environment))
        self._notebook = Notebook(environment.get("JPY_SESSION_NAME", ""), self._note_rename)
        new_client = partial(Client, transport=transport, now=now, steady=steady, timeout=answer_seconds)
        self._services = ServicePool(self.target, attach, new_client=new_client, pace=pace)
        self._tracker = Tracker(
            self._loop,
            self._services,
            self._ledger,
            notebook=lambda: self._notebook.path,
            language=self._language,
            now=now,
            sleep=sleep,
        )
        self._book = SweepBook(
            self._tracker,
            self._services,
            self._ledger,
            first=self._start,
            language=self._language,
            notebook=lambda: self._notebook.path,
            now=now,
            sleep=sleep,
        )
        self._jobs: dict[str, Job] = {}
        """By id: the jobs as this process last read them, for completion."""

    # Targets

    @property
    def configure_file(self) -> Path:
        """Where profiles are read from."""
        return self._configure_file

    def target(self, choice: str | None = None, profile: str | None = None) -> Target:
        """Choose the target; see `settings.resolve_target`."""
        return resolve_target(
            choice, profile, self.environment, self._configure_file, find_local=self._find_local
        )

    def new_client(self, target: Target) -> Client:
        """Return a client for a target; the caller uses it on another loop, and closes it."""
        return self._services.connect(target).new_client()

    def clock_words(self, target: Target) -> str:
        """Return by how much this machine's clock is off, in words; empty where it was not found to be."""
        service = self._services.known(target)
        return clock_words(service.client.clock_offset) if service else ""

    def held_words(self, target: Target) -> str:
        """Return why and until when a target's service is asked less, as it demanded; empty where it is not."""
        service = self._services.known(target)
        return service.held if service else ""

    def silence_words(self, target: Target) -> str:
        """Return since when a target's service does not answer about live runs, and why; empty while it does."""
        service = self._services.known(target)
        return service.silence if service else ""

    def ask(self, target: Target, question: Callable[[Client], Awaitable[T]]) -> T:
        """Return what a coroutine function returns for the target's client."""
        service = self._connect(target)
        return self._loop.call(_answered(service, lambda: question(service.client)))

    def prepare(self, work: Callable[[], object]) -> None:
        """Run `work` on a thread; discard its result and errors."""
        self._tracker.submit(asyncio.to_thread(work))

    # Starting

    def start(self, request: RunRequest, target: Target) -> LiveRun:
        """Start a run; return once the service answered or the response is lost.

        Raises
        ------
        DataflowError
            The run was certainly not started.
        """
        return self._start(request, self._connect(target))[0]

    def sweep(self, request: SweepRequest, target: Target) -> Sweep:
        """Start the first run of a sweep, and the others in the background; the job is read once.

        It is in the ledger before its first run is started. A sweep without requests is over at once, and nothing is asked.

        Raises
        ------
        DataflowError
            The first run was certainly not started, and so none is.
        """
        return self._book.start(request, self._connect(target) if request.order else None)

    def unfinished(self, request: SweepRequest, target: Target) -> Sweep | None:
        """Return the newest sweep of the ledger that asks the same and did not start all of its runs; None where none did.

        One that another kernel drives is followed, and driven by that one alone.
        """
        if not request.requests:
            return None
        service = self._connect(target)
        return self._book.unfinished(request, service)

    def planned(
        self, request: SweepRequest, target: Target, *, asks_service: bool = False
    ) -> tuple[SweepRequest, JobCondition]:
        """Return a sweep without what earlier runs make unnecessary, and the job condition of its runs as far as it is known.

        The job is read only where its plan leaves something out.

        Parameters
        ----------
        asks_service
            Whether runs that only the service knows count too.

        Raises
        ------
        DataflowError
            The ledger, or the service, cannot be read.
        """
        if not request.requests:
            return request, JobCondition()
        first = request.requests[0]
        if request.plan.reprocess == "all":
            known = next(
                (job for job in self._jobs.values() if first.job.text in (job.job_id, job.name)), None
            )
            return request, first.condition.over(known.condition) if known else first.condition
        service = self._connect(target)
        job = self._loop.call(_answered(service, lambda: find_job(service.client, first.job)))
        self._remember([job])
        records = self._with_known(self._ledger.of_job(job.job_id, target.name))
        if asks_service:
            records += self.executions(JobRef(job.job_id, "id"), target)
        left_out = skipped(request, job.condition.script_path, records)
        return replace(request, skipped=left_out), first.condition.over(job.condition)

    def start_again(self, name: object, variables: Mapping[str, object] = MappingProxyType({})) -> Handle:
        """Start the same as a run or a sweep of this machine: its job, condition and parameters, at its target.

        Raises
        ------
        CellError
            As `find`; or the run had a secret parameter whose value is unknown here.
        DataflowError
            As `start`.
        """
        return self.find(name, variables).again()

    # Jobs

    def jobs(self, target: Target) -> list[Job]:
        """Return a target's jobs, at most 1,000."""

        async def question(client: Client) -> list[Job]:
            return (await client.list_jobs()).items

        jobs = self.ask(target, question)
        self._remember(jobs)
        return jobs

    def job(self, text: str, target: Target) -> Job:
        """Return the job of a target with this name or id.

        Raises
        ------
        CellError
            Several jobs have the name.
        NotFound
            None has; the message has the nearest name.
        """
        ref = parse_job_ref(text)
        job = self.ask(target, lambda client: find_job(client, ref))
        self._remember([job])
        return job

    def publish(self, request: ScriptRequest, target: Target) -> Published:
        """Write the script of a job, and create the job or change its condition; raises as `scripts.publish`."""

        async def write(service: Service, seen: dict[str, str]) -> Published:
            objects = await service.objects()
            # Only a local service keeps its objects in a folder.
            defaults = LOCAL_DEFAULTS if isinstance(objects, FolderObjects) else JobCondition()
            return await publish(service.client, objects, request, seen=seen, defaults=defaults)

        published = self._with_scripts(target, write)
        self._remember([published.job])
        return published

    @property
    def words(self) -> Words:
        """The labels and sentences of this session's language."""
        return words_of(self._language())

    def read_script(self, job: JobRef, target: Target) -> StoredScript:
        """Return the script of a job; raises as `scripts.read_script`."""

        async def read(service: Service, seen: dict[str, str]) -> StoredScript:
            return await read_script(service.client, await service.objects(), job, seen=seen)

        return self._with_scripts(target, read)

    # Runs

    @property
    def runs(self) -> list[LiveRun]:
        """The runs this process started, oldest first."""
        return self._tracker.listed

    @property
    def handles(self) -> list[Handle]:
        """The sweeps of this process, and the runs that belong to none."""
        of_sweeps = {run for sweep in self._book.sweeps for run in sweep.live}
        return [*self._book.sweeps, *(run for run in self.runs if run not in of_sweeps)]

    def find(self, name: object, variables: Mapping[str, object] = MappingProxyType({})) -> Handle:
        """Return the run or the sweep that a name means; every command and function that takes one uses it.

        This kernel follows a run of the ledger from then on.

        Parameters
        ----------
        name
            A handle itself, an id or a key, a beginning of one that no other has, ``@last``, or a variable.
        variables
            The names that the user's code sees.

        Raises
        ------
        NoSuchRun
            Nothing has the name; the message has the nearest names.
        CellError
            Several runs begin with it.
        ConfigError
            The ledger cannot be read, or the run's target cannot be reached from here.
        """
        if (handle := live_of(name)) is not None:
            return handle
        if not isinstance(name, str):
            raise errors.CellError(f"{name!r:.40} names no run; give a run, a sweep, an id or a key")
        found = find_named(
            name, variables, self.runs, self._book.sweeps, self._ledger, self._book.table, self._notebook.path
        )
        if isinstance(found, RunRecord):
            return self._follow_record(found)
        if isinstance(found, SweepRecord):
            return self._book.take_up(found)
        if isinstance(found, LiveRun):
            found.poll_soon()
        return found

    def get(
        self,
        name: object,
        variables: Mapping[str, object] = MappingProxyType({}),
        *,
        target: Callable[[], Target],
        job: str | None = None,
        carries_on: bool = True,
    ) -> Handle:
        """Return what `find` does, or the run that only the service knows by this id.

        A sweep whose kernel has ended, or that an interrupt has paused, goes on here unless ``carries_on`` is False.

        Parameters
        ----------
        target
            Returns where to look for an id that this machine does not know.
        job
            As `attach`.

        Raises
        ------
        NotFound
            The service has no such run.
        DataflowError
            As `find`.
        """
        try:
            found = self.find(name, variables)
        except errors.NoSuchRun:
            if not isinstance(name, str) or not RUN_ID.fullmatch(name):
                raise
            return self.attach(name, target(), None if job is None else parse_job_ref(job))
        if isinstance(found, Sweep) and carries_on:
            found.carry_on()
        return found

    def attach(self, run_id: str, target: Target, job: JobRef | None = None) -> LiveRun:
        """Return a run that the service knows and this machine does not, followed from now on.

        Parameters
        ----------
        run_id
            The service's id.
        job
            The run's job; without it, the target's jobs are asked one after another.

        Raises
        ------
        NotFound
            No such run.
        """
        service = self._connect(target)
        execution, found = self._loop.call(
            _answered(service, lambda: find_run_on(service.client, run_id, job))
        )
        names = self._ledger.secret_names(execution.job_id or found.job_id)
        secrets = {name: Secret.unknown() for name in names}
        view = _view_of_listed(target, service.endpoint, found, execution, secrets)
        return self._loop.call(self._tracker.attach(view, execution, service))

    def wait_for(self, runs: Iterable[Handle], seconds: float | None = None, *, is_any: bool = False) -> None:
        """Return once all runs and sweeps are over, or with ``is_any`` the first; after ``seconds`` at the latest."""

        async def settle(run: Handle) -> None:
            with contextlib.suppress(errors.DataflowError):  # the caller asks each run how it ended
                await run

        async def wait() -> None:
            tasks = [asyncio.create_task(settle(run)) for run in runs]
            until = asyncio.FIRST_COMPLETED if is_any else asyncio.ALL_COMPLETED
            try:
                await asyncio.wait(tasks, timeout=seconds, return_when=until)
            finally:
                for task in tasks:
                    task.cancel()

        waiting = self._tracker.submit(wait())
        try:
            waiting.result()
        finally:
            waiting.cancel()

    def take_over(self, seconds: float) -> None:
        """Follow the active runs of dead kernels; return once the service has answered about each, or after `seconds`.

        Raises
        ------
        ConfigError
            The ledger cannot be read.
        """
        self._loop.check_process()
        self.hear_of(self._loop.call(self._tracker.take_over()), seconds)

    def hear_of(self, runs: Iterable[LiveRun], seconds: float) -> None:
        """Return once the service has answered about each run, or after `seconds`: a ledger knows older states."""
        runs = list(runs)
        with CHANGED:
            CHANGED.wait_for(lambda: all(run.is_heard for run in runs), seconds)

    def read_progress(self, run: LiveRun) -> None:
        """Read Spark's progress of a run while it is active, for who shows it."""
        Reader(run, lambda: True, self._tracker.submit).start()

    def compare(
        self, names: Sequence[object], variables: Mapping[str, object] = MappingProxyType({})
    ) -> Comparison:
        """Return what differs between two runs, named as for `find`.

        Raises
        ------
        CellError
            A name means a sweep, or both mean the same run.
        DataflowError
            As `find`.
        """
        runs = [self._one_run(name, variables) for name in names]
        if runs[0] is runs[1]:
            raise errors.CellError(f"both are run {name_of(runs[0])}; name another one")

        async def read() -> list[Side]:
            return list(await asyncio.gather(*(run.read_side() for run in runs)))

        first, second = self._loop.call(read())
        return Comparison(name_of(runs[0]), name_of(runs[1]), tuple(compared(first, second)))

    def _one_run(self, name: object, variables: Mapping[str, object]) -> LiveRun:
        handle = self.find(name, variables)
        if isinstance(handle, Sweep):
            ids = ", ".join(name_of(run) for run in handle.live[:MOST_NAMED])
            raise errors.CellError(f"{handle.key} is a sweep; name two runs, such as of its own: {ids}")
        return handle

    # Tables

    def select(self, listing: Listing, target: Target | None) -> list[RunRecord]:
        """Return the runs of the place that a listing names: of this process, of this machine, or of a target."""
        if listing.remote is not None and target is not None:
            return self.executions(listing.remote, target)
        records = self.records() if listing.everywhere else [record_of(run.view) for run in self.runs]
        here = self._notebook.path
        return [
            record._replace(notebook=here) if record.notebook in self._notebook.old_paths else record
            for record in records
        ]

    def records(self) -> list[RunRecord]:
        """Return every run of this machine's ledger, oldest first, with what this kernel knows of it since."""
        return self._with_known(self._ledger.records())

    def sweeps(self) -> list[SweepSummary]:
        """Return every sweep of this machine's ledger, the newest first.

        Raises
        ------
        ConfigError
            The ledger cannot be read.
        """
        self._loop.check_process()
        return self._book.summaries()

    def _with_known(self, records: Iterable[RunRecord]) -> list[RunRecord]:
        known = self._tracker.known
        return [
            record_of(known[record.key].view, record.kernel) if record.key in known else record
            for record in records
        ]

    def executions(self, job: JobRef, target: Target) -> list[RunRecord]:
        """Return every run of a job that the service lists, in its order, each with what this machine's ledger knows of it.

        A start of the job that counts as not started, or as unclear, is corrected where the list shows its run.
        """
        service = self._connect(target)

        async def question() -> list[RunRecord]:
            client = service.client
            found = await find_job(client, job)
            names = await asyncio.to_thread(self._ledger.secret_names, found.job_id)
            secrets = dict.fromkeys(names, Secret())
            read_at = client.clock.steady()
            listing = await client.listing(found.job_id, most=PAGES_OF_RUNS)
            await self._tracker.correct(found.job_id, service, listing, read_at)
            stored = await asyncio.to_thread(self._ledger.started, found.job_id)
            known = {run_id: view_of(record) for run_id, record in stored.items()}
            # What is not yet written, such as the reason of a failure.
            known |= {run.run_id: run.view for run in self._tracker.known.values() if run.run_id in known}
            views = [_view_of_listed(target, client.endpoint, found, each, secrets) for each in listing.runs]
            return [record_of(_with_news(known.get(view.run_id or ""), view)) for view in views]

        return self._loop.call(_answered(service, question))

    # Completion: asks no service

    def job_names(self) -> set[str]:
        """Return the jobs that this machine started runs of and those that this process read."""
        read = {job.name for job in list(self._jobs.values()) if job.name} | {run.job for run in self.runs}
        return read.union(self._from_ledger(self._ledger.job_names))

    def run_names(self, beginning: str, variables: Mapping[str, object]) -> dict[str, str]:
        """Return names of runs and sweeps of this process and this machine; see `naming.names_to_offer`."""
        stored = self._from_ledger(lambda: self._ledger.newest(MOST_OFFERED))
        return names_to_offer(beginning, variables, [*self.runs, *self._book.sweeps], stored)

    def profile_names(self) -> list[str]:
        """Return the profiles of the configure file."""
        return profiles(self._configure_file)

    def parameter_names(self, job: str) -> list[str]:
        """Return the parameters of earlier runs of a job, by its name or id, and those stored in the job where it was read."""
        names = self._from_ledger(lambda: self._ledger.parameter_names(job))
        for read in list(self._jobs.values()):
            stored = (read.condition.model_extra or {}).get("parameters")
            if job in {read.job_id, read.name} and isinstance(stored, Mapping):
                names += [str(name).removeprefix("$") for name in stored]
        return sorted(set(names))

    # Ending

    def close(self) -> None:
        """Stop following runs, for good; the runs continue, and every wait for one ends with an error."""
        # A forked process closes nothing that belongs to its parent.
        if self._loop.is_foreign or not self._services.close():
            return
        try:
            if self._loop.is_running:
                self._loop.submit(self._aclose()).result()
        finally:
            self._loop.stop()
            self._ledger.close()
            self._services.release()

    async def _aclose(self) -> None:
        await self._tracker.aclose()
        await self._services.aclose()

    # Work

    def _connect(self, target: Target) -> Service:
        self._loop.check_process()
        service = self._services.connect(target)
        self._tracker.recover_soon(service)
        return service

    def _start(
        self,
        request: RunRequest,
        service: Service,
        on_change: Callable[[LiveRun], None] | None = None,
        place: SweepPlace | None = None,
        before: Callable[[Job], None] = lambda _: None,
    ) -> tuple[LiveRun, Job]:
        """Return the started run and its job, which is read only where the request needs it; call ``before`` with it first."""

        def send(job: Job) -> tuple[LiveRun, Job]:
            before(job)
            # An interrupt does not cancel it: the request may have left, and the run must not be lost.
            start = _answered(service, lambda: self._tracker.start(request, job, service, on_change, place))
            try:
                with in_one_line(INTERRUPTED_START):
                    return self._loop.submit(start).result(), job
            except errors.TooManyRequests as error:
                raise _until(error) from error

        if _needs_no_job(request):
            try:
                return send(Job(job_id=request.job.text))
            except errors.NotFound:
                if request.job.kind == "id":
                    raise
        job = self._loop.call(find_job(service.client, request.job))
        self._remember([job])
        return send(job)

    def _with_scripts(self, target: Target, work: Callable[[Service, dict[str, str]], Awaitable[T]]) -> T:
        """Return what `work` returns for the scripts that this notebook wrote or read, which it updates; on the loop."""
        service = self._connect(target)
        known = self._ledger.scripts(service.name, self._notebook.path)
        seen = dict(known)
        try:
            return self._loop.call(_answered(service, lambda: work(service, seen)))
        finally:
            # Also where the service then refused the job: the script is there.
            if new := {key: digest for key, digest in seen.items() if known.get(key) != digest}:
                try:
                    self._ledger.keep_scripts(service.name, self._notebook.path, new)
                except errors.ConfigError:  # the script is written; the next change of it asks for --force
                    logger.warning("a script that was written is not in the ledger", exc_info=True)

    def _follow_record(self, record: RunRecord) -> LiveRun:
        service = self._services.reconnect(record.target)
        self._tracker.recover_soon(service)
        # A living kernel keeps its run: this one follows it too, and writes the same.
        self._ledger.look_after(record.key)
        return self._loop.call(self._tracker.follow_record(record, service))

    def _note_rename(self, before: str, now: str) -> None:
        try:
            self._ledger.rename_notebook(before, now)
        except errors.ConfigError:  # the next start reports it
            logger.debug("the renamed notebook could not be written", exc_info=True)

    def _remember(self, jobs: Iterable[Job]) -> None:
        self._jobs |= {job.job_id: job for job in jobs}

    def _from_ledger(self, read: Callable[[], list[T]]) -> list[T]:
        """Return what the ledger offers for completion; nothing where it cannot be read, which the next start reports."""
        try:
            return read()
        except errors.ConfigError:
            logger.debug("the ledger could not be read", exc_info=True)
            return []

    def _language(self) -> str:
        try:
            return language(self.language_choice, self.environment)
        except errors.ConfigError:  # an English card is better than none
            return "en"


def _until(error: errors.TooManyRequests) -> errors.TooManyRequests:
    """Return the error with the time from which the service takes requests again, where it names one."""
    if error.retry_after is None:
        return error
    words = held_words(error, error.retry_after, datetime.now(KST))
    return errors.TooManyRequests(
        words, status=error.status, code=error.code, detail=error.detail, retry_after=error.retry_after
    )


async def _answered(service: Service, ask: Callable[[], Awaitable[T]]) -> T:
    """Return what the service answers to the user; what was held back is tried again then."""
    answer = await ask()
    service.wake()
    return answer


def _view_of_listed(
    target: Target, endpoint: str, job: Job, execution: JobExecution, secrets: Mapping[str, Secret]
) -> RunView:
    """Return a run as the service lists it; a parameter that was secret in some start of this machine stays secret."""
    parameters: dict[str, Parameter] = {
        name: secrets.get(name.removeprefix("$"), value) for name, value in execution.parameters.items()
    }
    if not parameters and not execution.is_final:  # the service may list them later
        parameters = {f"${name}": secret for name, secret in secrets.items()}
    request = RunRequest(
        JobRef(execution.job_id or job.job_id, "id"),
        execution.job_condition or JobCondition(),
        parameters,
        execution.trigger_id,
        execution.workflow_id,
    )
    return RunView(
        request,
        target=target.name,
        endpoint=endpoint,
        key="",
        job_name=execution.job_name or job.name or job.job_id,
        submitted_at=execution.created_date or datetime.now(KST),
        execution=execution,
        failure=diagnose("", execution.status_detail, execution.status)
        if execution.status == RunState.FAILED and execution.status_detail
        else None,
    )


def _with_news(known: RunView | None, listed: RunView) -> RunView:
    """Return what this machine knows of a run, with the service's newest snapshot; what is listed where it knows nothing.

    A parameter that is masked in the list stays masked.
    """
    if known is None:
        return listed
    hidden = {name: value for name, value in listed.request.parameters.items() if isinstance(value, Secret)}
    shown = {name: hidden.get(name, value) for name, value in known.request.parameters.items()}
    request = replace(known.request, parameters=shown)
    return replace(
        known, request=request, execution=listed.execution, failure=known.failure or listed.failure
    )


def _needs_no_job(request: RunRequest) -> bool:
    """Whether the request is complete without the job, so that a key without the right to read jobs works."""
    condition = request.condition
    required = (condition.nrn, condition.script_path, condition.log_path)
    return None not in required and request.job.may_be_id
