"""Everything of one process: its loop, its connections, and the runs it started or looks after."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

from dataflow_magic import errors
from dataflow_magic.cell.script import LOCAL_DEFAULTS
from dataflow_magic.client.client import Client
from dataflow_magic.client.objects import FolderObjects
from dataflow_magic.client.responses import clock_words
from dataflow_magic.ledger.ledger import Ledger, ledger_path, new_key
from dataflow_magic.ledger.record import RunRecord, record_of
from dataflow_magic.ledger.writer import LedgerWriter
from dataflow_magic.models.request import JobRef, RunRequest, ScriptRequest, SweepRequest
from dataflow_magic.models.secret import Parameter, Secret
from dataflow_magic.models.view import KST, Past, RunView
from dataflow_magic.models.wire import Job, JobCondition, JobExecution
from dataflow_magic.session.connection import Connection
from dataflow_magic.session.connections import Connections, LocalService
from dataflow_magic.session.context import new_context
from dataflow_magic.session.jobs import find_job, find_run_on
from dataflow_magic.session.loop import LoopThread
from dataflow_magic.session.publish import Published, publish
from dataflow_magic.session.run import Home, Run
from dataflow_magic.session.sweep import Sweep
from dataflow_magic.session.tracker import RunSet
from dataflow_magic.session.watch import Pace
from dataflow_magic.settings import Target, language, profiles, resolve_target

__all__ = ["LocalService", "Session"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

MOST_PAGES = 1000
"""Of a job's runs, when all are asked for: a million at most."""
MOST_NAMED = 10
MOST_OFFERED = 50
"""Runs of the ledger that may be named without their whole table."""


class Session:
    """The runs of this process and how to reach their services.

    Parameters
    ----------
    environment
        Read anew at each call, so that a notebook may set a variable.
    configure_file
        ``~/.ncloud/configure``.
    attach
        Finds or starts the local service; called before each use of it, since it may have ended meanwhile.
    transport
        Where requests go instead of the network.
    pace
        How often runs are asked for; by default that of the target.
    now
        Seconds since the epoch: for signatures, and for when a run was submitted.
    sleep
        Seconds asleep between two looks for a run whose answer was lost.
    answer_seconds
        How long a request may take to be sent, and to be answered.

    Notes
    -----
    Any thread may call. What is known of runs changes on the loop alone.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        configure_file: Path,
        attach: Callable[[], LocalService],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        pace: Pace | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        answer_seconds: float = 30.0,
    ) -> None:
        self.environment = environment
        self.language_choice = "auto"
        """What cards are written in, as `settings.language` takes it."""
        self._configure_file = configure_file
        self._connections = Connections(
            self.target, attach, transport=transport, pace=pace, now=now, answer_seconds=answer_seconds
        )
        self._now = now
        self._loop = LoopThread(new_context)
        self._jobs: dict[str, Job] = {}
        """By id: as they were last read, for what may be named."""
        self._scripts: dict[str, dict[str, str]] = {}
        """By target and key: a digest of what this process last wrote or found there."""
        self._ledger = Ledger(ledger_path(environment))
        self._writer = LedgerWriter(self._ledger)
        self._notebook = environment.get("JPY_SESSION_NAME", "")
        home = Home(self._submit, past=self._past, repeat=self._repeat, language=self._language)
        self._runs = RunSet(
            self._ledger, self._writer, self._connections, home, self._connect_again, now=now, sleep=sleep
        )

    @property
    def runs(self) -> list[Run]:
        """The runs this process started, oldest first."""
        return self._runs.listed

    def job_names(self) -> set[str]:
        """Return the jobs this machine has started runs of and those this process has read, without asking a service."""
        heard = {job.name for job in list(self._jobs.values()) if job.name} | {run.job for run in self.runs}
        return heard.union(self._from_ledger(self._ledger.job_names))

    def run_names(self) -> list[str]:
        """Return ids and keys of the newest runs of this process and this machine, the newest first."""
        here = [name for run in reversed(self.runs) for name in (run.run_id, run.key)]
        newest = self._from_ledger(lambda: self._ledger.newest(MOST_OFFERED))
        there = [name for key, run_id in newest for name in (run_id, key)]
        return list(dict.fromkeys(name for name in [*here, *there] if name))

    def profile_names(self) -> list[str]:
        """Return the profiles of the configure file."""
        return profiles(self._configure_file)

    def parameter_names(self, job: str) -> list[str]:
        """Return the parameters that runs of a job, by its name or id, were given here, and its stored ones if it was read."""
        names = self._from_ledger(lambda: self._ledger.parameter_names(job))
        for read in list(self._jobs.values()):
            stored = (read.condition.model_extra or {}).get("parameters")
            if job in {read.job_id, read.name} and isinstance(stored, Mapping):
                names += [str(name).removeprefix("$") for name in stored]
        return sorted(set(names))

    def _from_ledger(self, read: Callable[[], list[T]]) -> list[T]:
        """Return what is offered out of the ledger: nothing where it cannot be read, which whoever starts a run is told."""
        try:
            return read()
        except errors.ConfigError:
            logger.debug("the ledger could not be read", exc_info=True)
            return []

    @property
    def configure_file(self) -> Path:
        """Where profiles are read from."""
        return self._configure_file

    def target(self, choice: str | None = None, profile: str | None = None) -> Target:
        """Choose the target; see `settings.resolve_target`."""
        return resolve_target(choice, profile, self.environment, self._configure_file)

    def start(self, request: RunRequest, target: Target) -> Run:
        """Start a run; returns once the service has answered, or once it is known that no answer came.

        Raises
        ------
        DataflowError
            The run was certainly not started.
        """
        connection = self.connect(target)
        self._recover_soon()
        return self._start(request, connection)[0]

    def sweep(self, request: SweepRequest, target: Target) -> Sweep:
        """Start the first run of a sweep, and have the others started by and by; the job is looked up once.

        Raises
        ------
        DataflowError
            The first was certainly not started, and so none is.
        """
        connection = self.connect(target)
        self._recover_soon()
        sweep = Sweep(request, self._submit, language=self._language)
        first, job = self._start(request.requests[0], connection, sweep.note)
        sweep.begin(first, lambda each, note: self._execute(each, job, connection, note))
        return sweep

    def _heard_of(self, jobs: Iterable[Job]) -> None:
        self._jobs |= {job.job_id: job for job in jobs}

    def prepare(self, work: Callable[[], object]) -> None:
        """Have something done on a thread while requests are under way; what becomes of it is not told."""
        self._submit(asyncio.to_thread(work))

    def ask(self, target: Target, question: Callable[[Client], Awaitable[T]]) -> T:
        """Return what a target's client answers to one question."""
        connection = self.connect(target)
        self._recover_soon()

        async def ask() -> T:
            return await question(connection.client)

        return self._loop.call(ask())

    def publish(self, request: ScriptRequest, target: Target) -> Published:
        """Write the script of a job, and make the job or change its condition; see `publish.publish`.

        Raises
        ------
        DataflowError
            As told there.
        """
        connection = self.connect(target)
        self._recover_soon()
        seen = self._scripts.setdefault(connection.name, {})

        async def write() -> Published:
            objects = await connection.objects()
            # Only a local service has them in a folder.
            defaults = LOCAL_DEFAULTS if isinstance(objects, FolderObjects) else JobCondition()
            return await publish(connection.client, objects, request, seen=seen, defaults=defaults)

        published = self._loop.call(write())
        self._heard_of([published.job])
        return published

    def jobs(self, target: Target) -> list[Job]:
        """Return a target's jobs, at most 1,000."""

        async def question(client: Client) -> list[Job]:
            return (await client.list_jobs()).items

        jobs = self.ask(target, question)
        self._heard_of(jobs)
        return jobs

    def find_run(self, text: str) -> Run:
        """Return the run whose id or key is, or begins with, ``text``: of this kernel, else of the ledger.

        A run of the ledger is watched from here from now on. ``@last`` is the newest: of this kernel, else of this
        notebook, else of this machine.

        Raises
        ------
        CellError
            None or several do.
        ConfigError
            The ledger cannot be read, or the run's target cannot be reached from here.
        """
        runs = self.runs
        if text == "@last":
            if runs:
                return runs[-1]
            last = self._ledger.last(self._notebook)
            if last is None:
                raise errors.NoSuchRun("no run was started on this machine yet")
            return self._attach_record(last)
        found = [run for run in runs if text and text in (run.run_id, run.key)]
        found = found or [
            run for run in runs if text and ((run.run_id or "").startswith(text) or run.key.startswith(text))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise _several(text, [run.run_id or run.key for run in found])
        records = self._ledger.find(text) if text else []
        if len(records) == 1:
            return self._attach_record(records[0])
        if records:
            raise _several(text, [record.run_id or record.key for record in records])
        raise errors.NoSuchRun(f"no run {text!r} was started here; %dataflow_runs --all lists them")

    def wait_for(self, runs: Iterable[Run], seconds: float | None = None, *, is_any: bool = False) -> None:
        """Return once all of the runs are over, or with ``is_any`` the first; at the latest after so many seconds."""

        async def settle(run: Run) -> None:
            with contextlib.suppress(errors.DataflowError):  # how it ended is asked for afterwards
                await run

        async def wait() -> None:
            tasks = [asyncio.create_task(settle(run)) for run in runs]
            until = asyncio.FIRST_COMPLETED if is_any else asyncio.ALL_COMPLETED
            try:
                await asyncio.wait(tasks, timeout=seconds, return_when=until)
            finally:
                for task in tasks:
                    task.cancel()

        waiting = self._submit(wait())
        try:
            waiting.result()
        finally:
            waiting.cancel()

    def start_again(self, text: str) -> Run:
        """Start the same as a run of this machine: its job, condition and parameters, at its target.

        Raises
        ------
        CellError
            As `find_run`.
        DataflowError
            As `start`.
        """
        view = self.find_run(text).view
        return self._loop.submit(self._repeat(view)).result()

    async def _repeat(self, view: RunView) -> Run:
        gone = [
            name
            for name, value in view.parameters.items()
            if isinstance(value, Secret) and not value.reveal()
        ]
        if gone:
            raise errors.CellError(
                f"run {view.run_id or view.key} had the secret parameter {', '.join(gone)}, whose value is kept nowhere; "
                "run the cell that started it instead"
            )
        connection = await asyncio.to_thread(self._connect_again, view.target)
        job = Job(job_id=view.job_id, name=view.job_name)
        return await self._execute(view.request, job, connection)

    def attach(self, run_id: str, target: Target, job: JobRef | None = None) -> Run:
        """Return a run the service knows and this machine does not, watched from now on.

        Parameters
        ----------
        run_id
            The service's id.
        job
            Whose run it is; without it, the target's jobs are asked one after another.

        Raises
        ------
        NotFound
            No such run.
        """
        connection = self.connect(target)
        self._recover_soon()
        execution, found = self._loop.call(find_run_on(connection.client, run_id, job))
        names = self._ledger.secret_names(execution.job_id or found.job_id)
        hidden = {name: Secret.unknown() for name in names}
        view = _listed(target, connection.endpoint, found, execution, hidden)
        return self._loop.call(self._runs.take(view, execution, connection))

    def records(self) -> list[RunRecord]:
        """Return every run of this machine's ledger, oldest first; what this kernel knows newer is told newer."""
        known = self._runs.known
        return [
            record_of(known[record.key].view, record.kernel) if record.key in known else record
            for record in self._ledger.records()
        ]

    def executions(self, job: JobRef, target: Target) -> list[RunRecord]:
        """Return every run of a job that the service lists, in its order."""

        async def question(client: Client) -> list[RunRecord]:
            found = await find_job(client, job)
            names = await asyncio.to_thread(self._ledger.secret_names, found.job_id)
            hidden = dict.fromkeys(names, Secret())
            return [
                record_of(_listed(target, client.endpoint, found, execution, hidden))
                async for page in client.pages(found.job_id, most=MOST_PAGES)
                for execution in page.items
            ]

        return self.ask(target, question)

    def new_client(self, target: Target) -> Client:
        """Return a client for a target that the caller uses on a loop of its own, and closes."""
        return self.connect(target).new_client()

    def connect(self, target: Target) -> Connection:
        """Return the connection to a target, made on first use; a local service is started if need be."""
        return self._connections.to(target)

    def clock_words(self, target: Target) -> str:
        """Return by how much this machine's clock was found to be off, in words; empty where it was not."""
        connection = self._connections.known(target)
        return clock_words(connection.client.clock_offset) if connection else ""

    def close(self) -> None:
        """Stop watching, for good; the runs go on, and who waits for one is told that nobody watches it."""
        if not self._connections.close():
            return
        try:
            if self._loop.is_begun:
                self._loop.submit(self._let_go()).result()
        finally:
            self._loop.stop()
            self._ledger.close()
            self._connections.let_go()

    async def _let_go(self) -> None:
        self._runs.let_go()
        # All that runs on the loop is the session's, and must not meet a closed client.
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._writer.flush()
        await self._connections.aclose()

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine of a run on the loop, unless the session is closed."""
        try:
            self._connections.check_open()
        except errors.DataflowError:
            coroutine.close()
            raise
        return self._loop.submit(coroutine)

    def _start(
        self, request: RunRequest, connection: Connection, note: Callable[[Run], None] | None = None
    ) -> tuple[Run, Job]:
        """Return the started run and its job."""
        if _needs_no_job(request):
            job = Job(job_id=request.job.text)
            try:
                return self._send(request, job, connection, note), job
            except errors.NotFound:
                if request.job.kind == "id":
                    raise
        job = self._loop.call(find_job(connection.client, request.job))
        self._heard_of([job])
        return self._send(request, job, connection, note), job

    def _send(
        self, request: RunRequest, job: Job, connection: Connection, note: Callable[[Run], None] | None = None
    ) -> Run:
        # Not cancelled by an interrupt: the request may be on its way, and the run must not be lost.
        return self._loop.submit(self._execute(request, job, connection, note)).result()

    async def _execute(
        self, request: RunRequest, job: Job, connection: Connection, note: Callable[[Run], None] | None = None
    ) -> Run:
        view = RunView(
            replace(request, job=JobRef(job.job_id, "id"), condition=request.condition.over(job.condition)),
            target=connection.name,
            endpoint=connection.endpoint,
            key=new_key(),
            job_name=job.name or job.job_id,
            submitted_at=datetime.fromtimestamp(self._now(), KST),
            notebook=self._notebook,
        )
        return await self._runs.start(view, connection, note)

    def _language(self) -> str:
        try:
            return language(self.language_choice, self.environment)
        except errors.ConfigError:  # a card that is read in English is better than none
            return "en"

    def _past(self, view: RunView) -> Past | None:
        try:
            return self._ledger.past(view.job_id, view.target)
        except errors.DataflowError:  # a card says less then
            logger.debug("the past of %r could not be read", view.job_name, exc_info=True)
            return None

    # Runs of kernels that are gone

    def _recover_soon(self) -> None:
        """Look after them in the background, now and then."""
        if self._runs.is_recovery_due():
            self._submit(self._runs.recover())

    def _connect_again(self, target: str) -> Connection:
        return self.connect(self.target(target))

    def _attach_record(self, record: RunRecord) -> Run:
        connection = self._connect_again(record.target)
        self._recover_soon()
        # Whose kernel lives is looked after there; this one looks on, and writes the same.
        self._ledger.look_after(record.key)
        run = self._loop.call(self._runs.revive(record, connection))
        self._runs.add(run)
        return run


def _several(text: str, ids: list[str]) -> errors.CellError:
    shown = ", ".join(ids[:MOST_NAMED]) + (", ..." if len(ids) > MOST_NAMED else "")
    return errors.CellError(f"{len(ids)} runs begin with {text!r}: {shown}")


def _listed(
    target: Target, endpoint: str, job: Job, execution: JobExecution, hidden: Mapping[str, Secret]
) -> RunView:
    """Return a run as the service tells it; what was secret in a start of this machine is so here as well."""
    parameters: dict[str, Parameter] = {
        name: hidden.get(name.removeprefix("$"), value) for name, value in execution.parameters.items()
    }
    if not parameters:  # they may be told later
        parameters = {f"${name}": secret for name, secret in hidden.items()} if not execution.is_final else {}
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
    )


def _needs_no_job(request: RunRequest) -> bool:
    """Whether the request is whole without the job, so that a key that may not read jobs still works."""
    condition = request.condition
    whole = None not in (condition.nrn, condition.script_path, condition.log_path)
    return whole and request.job.may_be_id
