"""Everything of one process: its loop, its connections, and the runs it started."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr

from dataflow_magic import errors
from dataflow_magic.answers import clock_words
from dataflow_magic.cell import JobRef, RunRequest
from dataflow_magic.client import Client
from dataflow_magic.connection import Connection
from dataflow_magic.handle import Run
from dataflow_magic.jobs import find_job, find_run_on
from dataflow_magic.ledger import Ledger, ledger_path, new_key
from dataflow_magic.loop import LoopThread
from dataflow_magic.models import Job, JobCondition, JobExecution
from dataflow_magic.reconcile import candidates
from dataflow_magic.record import RunRecord, record_of, view_of
from dataflow_magic.settings import Target, resolve_target
from dataflow_magic.view import KST, NOT_STARTED, UNCLEAR, RunView
from dataflow_magic.watch import CLOUD_PACE, LOCAL_PACE, Pace

__all__ = ["LocalService", "Session"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOKS = 20
"""How often a run whose answer was lost is looked for; a look that is refused counts, one without an answer does not."""
LOOK_SECONDS = 3.0
WRITE_SECONDS = 0.25
"""How long changes of runs are gathered before they are written to the ledger together."""
MOST_PAGES = 1000
"""Of a job's runs, when all are asked for: a million at most."""
MOST_NAMED = 10
LOST = "the answer to its start was lost"
CLOSED = "the extension was unloaded; the run itself goes on"


@dataclass(frozen=True, slots=True)
class LocalService:
    """A local service this process uses.

    Parameters
    ----------
    folder
        Its data folder.
    hold
        Descriptor that keeps it alive.
    """

    endpoint: str
    access_key: str
    secret_key: SecretStr
    folder: Path
    hold: int


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
    sleep
        Seconds asleep between two looks for a run whose answer was lost.

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
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.environment = environment
        self._configure_file = configure_file
        self._attach = attach
        self._transport = transport
        self._pace = pace
        self._sleep = sleep
        self._loop = LoopThread()
        self._lock = threading.Lock()
        self._closed = False
        self._connections: dict[Target | None, Connection] = {}
        """By target without its source; the local service's by None."""
        self._local: LocalService | None = None
        self._looking: asyncio.Task[None] | None = None
        self._runs: list[Run] = []
        self._job_names: set[str] = set()
        self._ledger = Ledger(ledger_path(environment))
        self._notebook = environment.get("JPY_SESSION_NAME", "")
        self._revived: dict[str, Run] = {}
        """By key: runs of kernels that are gone."""
        self._changed: set[Run] = set()
        self._unwritten: set[Run] = set()
        self._writing: asyncio.Task[None] | None = None
        self._is_recovered = False
        # A task nobody refers to may be collected before it is done.
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def runs(self) -> list[Run]:
        """The runs this process started, oldest first."""
        return list(self._runs)

    @property
    def job_names(self) -> set[str]:
        """The jobs this process has heard of, without asking for more."""
        return self._job_names | {run.job for run in self.runs}

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
        self._recover_once()
        if _needs_no_job(request):
            try:
                return self._send(request, Job(job_id=request.job.text), connection)
            except errors.NotFound:
                if request.job.kind == "id":
                    raise
        return self._send(request, self._loop.call(find_job(connection.client, request.job)), connection)

    def ask(self, target: Target, question: Callable[[Client], Awaitable[T]]) -> T:
        """Return what a target's client answers to one question."""
        connection = self.connect(target)
        self._recover_once()

        async def ask() -> T:
            return await question(connection.client)

        return self._loop.call(ask())

    def jobs(self, target: Target) -> list[Job]:
        """Return a target's jobs, at most 1,000."""

        async def question(client: Client) -> list[Job]:
            return (await client.list_jobs()).items

        jobs = self.ask(target, question)
        self._job_names.update(job.name for job in jobs)
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
        request = RunRequest(
            JobRef(view.job_id, "id"), view.condition, view.parameters, view.trigger_id, view.workflow_id
        )
        connection = self.connect(self.target(view.target))
        return self._send(request, Job(job_id=view.job_id, name=view.job_name), connection)

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
        self._recover_once()
        execution, found = self._loop.call(find_run_on(connection.client, run_id, job))
        view = _listed(target, connection.endpoint, found, execution)
        run = Run(view, connection, self._submit, self._note)
        self._runs.append(run)
        self._loop.call(self._resume(run, connection))
        return run

    def records(self) -> list[RunRecord]:
        """Return every run of this machine's ledger, oldest first; what this kernel knows newer is told newer."""
        known = {run.key: run for run in [*self._revived.values(), *self._runs] if run.key}
        return [
            record_of(known[record.key].view, record.kernel) if record.key in known else record
            for record in self._ledger.records()
        ]

    def executions(self, job: JobRef, target: Target) -> list[RunRecord]:
        """Return every run of a job that the service lists, in its order."""

        async def question(client: Client) -> list[RunRecord]:
            found = await find_job(client, job)
            return [
                record_of(_listed(target, client.endpoint, found, execution))
                async for page in client.pages(found.job_id, most=MOST_PAGES)
                for execution in page.items
            ]

        return self.ask(target, question)

    def new_client(self, target: Target) -> Client:
        """Return a client for a target that the caller uses on a loop of its own, and closes."""
        return self.connect(target).new_client()

    def connect(self, target: Target) -> Connection:
        """Return the connection to a target, made on first use; a local service is started if need be."""
        with self._lock:
            self._check_open()
            if target.kind == "local":
                return self._connect_local()
            key = replace(target, source="")
            if key not in self._connections:
                self._renew(target)
            if key not in self._connections:
                pace = CLOUD_PACE if target.kind == "cloud" else LOCAL_PACE
                self._connections[key] = Connection(
                    target.name,
                    target.endpoint,
                    target.access_key,
                    target.secret_key,
                    pace=self._pace or pace,
                    transport=self._transport,
                )
            return self._connections[key]

    def _renew(self, target: Target) -> None:
        """Have what is watched with other keys of the same target go on with these."""
        for other in list(self._connections):
            if other and (other.name, other.endpoint) == (target.name, target.endpoint):
                connection = self._connections.pop(other)
                connection.move(target.endpoint, target.access_key, target.secret_key)
                self._connections[replace(target, source="")] = connection

    def close(self) -> None:
        """Stop watching, for good; the runs go on, and who waits for one is told that nobody watches it."""
        with self._lock:
            closed, self._closed = self._closed, True
        if closed:
            return
        try:
            if self._connections:
                self._loop.submit(self._let_go()).result()
        finally:
            self._loop.stop()
            self._ledger.close()
            if self._local is not None:
                os.close(self._local.hold)

    async def _let_go(self) -> None:
        for run in [*self.runs, *self._revived.values()]:
            if not run.is_over:
                run.give_up(errors.DataflowError(f"nobody watches the run any more: {CLOSED}"))
        # All that runs on the loop is the session's, and must not meet a closed client.
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._write()
        for connection in self._connections.values():
            await connection.client.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise errors.DataflowError(CLOSED)

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine of a run on the loop, unless the session is closed."""
        try:
            self._check_open()
        except errors.DataflowError:
            coroutine.close()
            raise
        return self._loop.submit(coroutine)

    def _connect_local(self) -> Connection:
        before, service = self._local, self._attach()
        self._local = service
        if before is not None:
            os.close(before.hold)
        address = service.endpoint, service.access_key, service.secret_key
        connection = self._connections.get(None)
        if connection is None:
            self._connections[None] = connection = Connection(
                "local",
                *address,
                pace=self._pace or LOCAL_PACE,
                objects=service.folder / "objects",
                transport=self._transport,
            )
        elif before is not None and (before.endpoint, before.access_key) != address[:2]:
            connection.move(*address)
        return connection

    def _look_for_local(self) -> None:
        """Have a local service that gives no answer found, or started again; what is watched follows it there."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(
                asyncio.to_thread(self._connect_local_again)
            )

    def _connect_local_again(self) -> None:
        try:
            with self._lock:
                self._check_open()
                self._connect_local()
        except Exception:  # the run stays blind, says so, and the next poll looks again
            logger.debug("the local service was not found again", exc_info=True)

    def _send(self, request: RunRequest, job: Job, connection: Connection) -> Run:
        # Not cancelled by an interrupt: the request may be on its way, and the run must not be lost.
        return self._loop.submit(self._execute(request, job, connection)).result()

    async def _execute(self, request: RunRequest, job: Job, connection: Connection) -> Run:
        condition = request.condition.over(job.condition)
        view = RunView(
            target=connection.name,
            endpoint=connection.endpoint,
            job_id=job.job_id,
            job_name=job.name or job.job_id,
            condition=condition,
            parameters=request.parameters,
            submitted_at=datetime.now(KST),
            key=new_key(),
            notebook=self._notebook,
            trigger_id=request.trigger_id,
            workflow_id=request.workflow_id,
        )
        # Before anything leaves: who dies from here on leaves a trace of what may have been started.
        await asyncio.to_thread(self._ledger.add, view)
        run = Run(view, connection, self._submit, self._note)
        self._runs.append(run)
        try:
            execution = await connection.client.execute_job(
                job.job_id,
                condition,
                request.parameters,
                trigger_id=request.trigger_id,
                workflow_id=request.workflow_id,
            )
        except errors.OutcomeUnknown as error:
            run.lost(str(error))
            self._background(self._reconcile(run, connection))
        except errors.DataflowError:
            self._runs.remove(run)
            await self._take_back(view)
            raise
        else:
            await self._write_now(replace(view, execution=execution))
            self._follow(run, execution, connection)
        return run

    def _follow(self, run: Run, execution: JobExecution, connection: Connection) -> None:
        run.seen(execution)
        if words := clock_words(connection.client.clock_offset):
            run.off_clock(words)
        if not execution.is_final:
            is_local = connection is self._connections.get(None)
            listener = _LocalListener(run, self._look_for_local) if is_local else run
            connection.follow(run.view.job_id, execution.job_execution_id, listener)

    async def _reconcile(self, run: Run, connection: Connection) -> None:
        """Look for the run whose answer was lost, and adopt it only when it is the only one it can be."""
        job_id, looks = run.view.job_id, 0
        while looks < LOOKS:
            await self._sleep(LOOK_SECONDS)
            client = connection.client
            try:
                listed = [each async for page in client.pages(job_id) for each in page.items]
                offsets = timedelta(0), timedelta(seconds=client.clock_offset)
                found = candidates(run.view, listed, (), offsets)
                # After the list was read: what another kernel has started by now is told as its own.
                in_flight, owned = await asyncio.to_thread(
                    self._ledger.rivals, run.key, job_id, [each.job_execution_id for each in found]
                )
                if in_flight:
                    continue  # what is seen now may be theirs
                looks += 1
                found = [each for each in found if each.job_execution_id not in owned]
                if len(found) == 1:
                    if await asyncio.to_thread(self._ledger.adopt, replace(run.view, execution=found[0])):
                        self._follow(run, found[0], connection)
                        return
                    continue  # another kernel, whose answer was lost as well, was quicker
            except errors.DataflowError as error:
                looks += isinstance(error, errors.RequestRejected)
                run.blind(f"{LOST}, and looking for it failed: {error}")
                continue
            if found:
                ids = ", ".join(execution.job_execution_id for execution in found)
                run.give_up(
                    errors.OutcomeUnknown(
                        f"{LOST}, and {len(found)} runs may be it: {ids}; %dataflow_attach ID shows one"
                    ),
                    UNCLEAR,
                )
                return
            run.blind(f"{LOST}, and no such run is to be seen yet")
        if run.view.blind_reason.startswith(f"{LOST}, and no such"):
            run.give_up(
                errors.OutcomeUnknown(
                    f"{LOST}, and no such run is to be seen: it was not started; "
                    f"%dataflow_run --again {run.key} starts it again"
                ),
                NOT_STARTED,
            )
        else:
            run.give_up(errors.OutcomeUnknown(run.view.blind_reason))

    # The ledger

    def _note(self, run: Run) -> None:
        """Have a run's change written, together with others of the moment; on the loop."""
        self._changed.add(run)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write_soon())

    async def _write_soon(self) -> None:
        while self._changed:
            # Not the sleep that is handed in: that one is between two looks for a run.
            await asyncio.sleep(WRITE_SECONDS)
            await self._write()

    async def _write(self) -> None:
        changed, self._changed = self._changed | self._unwritten, set()
        self._unwritten = set()
        views = [run.view for run in changed if run.key]
        try:
            if views:
                await asyncio.to_thread(self._ledger.update, views)
        except errors.ConfigError:
            # The runs go on and are watched; with the next change this one is written as well.
            self._unwritten = changed
            logger.warning("the ledger could not be written", exc_info=True)

    async def _write_now(self, view: RunView) -> None:
        try:
            await asyncio.to_thread(self._ledger.update, [view])
        except errors.ConfigError:  # the intent is there, and the next change is written again
            logger.warning("the answer to a start could not be written", exc_info=True)

    async def _take_back(self, view: RunView) -> None:
        try:
            await asyncio.to_thread(self._ledger.remove, view.key)
        except errors.ConfigError:  # it stays as one that was lost, and is found not to have been started
            logger.warning("a run that was not started could not be taken back", exc_info=True)

    def _recover_once(self) -> None:
        """Look after the runs of kernels that are gone, in the background, once."""
        if not self._is_recovered:
            self._is_recovered = True
            self._submit(self._recover())

    async def _recover(self) -> None:
        try:
            orphans = await asyncio.to_thread(self._ledger.orphans)
            for record in orphans:
                await self._take_over(record)
        except errors.DataflowError:  # whoever starts a run or asks for one is told
            logger.debug("the ledger could not be read", exc_info=True)

    async def _take_over(self, record: RunRecord) -> None:
        try:
            connection = await asyncio.to_thread(self._connect_again, record)
        except errors.DataflowError:  # such as no credentials: another kernel may have them
            logger.debug(
                "run %s of %s stays as it is", record.run_id or record.key, record.job, exc_info=True
            )
            return
        if await asyncio.to_thread(self._ledger.claim, record):
            await self._revive(record, connection)

    def _connect_again(self, record: RunRecord) -> Connection:
        return self.connect(self.target(record.target))

    async def _revive(self, record: RunRecord, connection: Connection) -> Run:
        if record.key in self._revived:
            return self._revived[record.key]
        run = self._revived[record.key] = Run(view_of(record), connection, self._submit, self._note)
        await self._resume(run, connection)
        return run

    async def _resume(self, run: Run, connection: Connection) -> None:
        execution = run.view.execution
        if execution is not None:
            self._follow(run, execution, connection)
        elif not run.view.settled:
            run.lost(LOST)
            self._background(self._reconcile(run, connection))
        else:
            run.give_up(errors.OutcomeUnknown(run.view.blind_reason), run.view.settled)

    def _attach_record(self, record: RunRecord) -> Run:
        connection = self._connect_again(record)
        self._recover_once()
        # Whose kernel lives is looked after there; this one looks on, and writes the same.
        self._ledger.claim_if_orphan(record)
        run = self._loop.call(self._revive(record, connection))
        if run not in self._runs:
            self._runs.append(run)
        return run

    def _background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _LocalListener:
    """Passes on what a local run is told, and has a silent service looked for: it may have been killed."""

    def __init__(self, run: Run, look: Callable[[], None]) -> None:
        self._run = run
        self._look = look

    def seen(self, execution: JobExecution) -> None:
        self._run.seen(execution)

    def blind(self, reason: str) -> None:
        self._run.blind(reason)
        self._look()


def _several(text: str, ids: list[str]) -> errors.CellError:
    shown = ", ".join(ids[:MOST_NAMED]) + (", ..." if len(ids) > MOST_NAMED else "")
    return errors.CellError(f"{len(ids)} runs begin with {text!r}: {shown}")


def _listed(target: Target, endpoint: str, job: Job, execution: JobExecution) -> RunView:
    return RunView(
        target=target.name,
        endpoint=endpoint,
        job_id=execution.job_id or job.job_id,
        job_name=execution.job_name or job.name or job.job_id,
        condition=execution.job_condition or JobCondition(),
        parameters=execution.parameters,
        submitted_at=execution.created_date or datetime.now(KST),
        trigger_id=execution.trigger_id,
        workflow_id=execution.workflow_id,
        execution=execution,
    )


def _needs_no_job(request: RunRequest) -> bool:
    """Whether the request is whole without the job, so that a key that may not read jobs still works."""
    condition = request.condition
    whole = None not in (condition.nrn, condition.script_path, condition.log_path)
    return whole and request.job.may_be_id
