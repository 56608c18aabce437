"""Everything of one process: its loop, its connections, and the runs it started."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr

from dataflow_magic import errors
from dataflow_magic.cell import RunRequest
from dataflow_magic.client import Client
from dataflow_magic.connection import Connection
from dataflow_magic.handle import Run
from dataflow_magic.jobs import find_job
from dataflow_magic.loop import LoopThread
from dataflow_magic.models import Job, JobExecution
from dataflow_magic.reconcile import candidates
from dataflow_magic.settings import Target, resolve_target
from dataflow_magic.view import KST, RunView
from dataflow_magic.watch import CLOUD_PACE, LOCAL_PACE, Pace

__all__ = ["LocalService", "Session"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOKS = 20
"""How often a run whose answer was lost is looked for; a look that is refused counts, one without an answer does not."""
LOOK_SECONDS = 3.0
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
        self._unanswered: set[Run] = set()
        self._known: set[str] = set()
        # A task nobody refers to may be collected before it is done.
        self._reconciling: set[asyncio.Task[None]] = set()

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
        """Return the run of this process whose id is, or begins with, ``text``; ``@last`` is the newest.

        Raises
        ------
        CellError
            None or several do.
        """
        runs = self.runs
        if text == "@last" and runs:
            return runs[-1]
        found = [run for run in runs if text and run.run_id and run.run_id.startswith(text)]
        exact = [run for run in found if run.run_id == text]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            ids = ", ".join(run.run_id or "" for run in found)
            raise errors.CellError(f"{len(found)} runs begin with {text!r}: {ids}")
        raise errors.CellError(f"no run {text!r} was started here; %dataflow_runs lists them")

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
            if self._local is not None:
                os.close(self._local.hold)

    async def _let_go(self) -> None:
        for run in self.runs:
            if not run.is_over:
                run.give_up(errors.DataflowError(f"nobody watches the run any more: {CLOSED}"))
        # All that runs on the loop is the session's, and must not meet a closed client.
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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
            trigger_id=request.trigger_id,
            workflow_id=request.workflow_id,
        )
        run = Run(view, connection, self._submit)
        self._runs.append(run)
        self._unanswered.add(run)
        try:
            execution = await connection.client.execute_job(
                job.job_id,
                condition,
                request.parameters,
                trigger_id=request.trigger_id,
                workflow_id=request.workflow_id,
            )
        except errors.OutcomeUnknown as error:
            run.blind(str(error))
            task = asyncio.get_running_loop().create_task(self._reconcile(run, connection))
            self._reconciling.add(task)
            task.add_done_callback(self._reconciling.discard)
            return run
        except BaseException:
            self._runs.remove(run)
            raise
        finally:
            self._unanswered.discard(run)
        self._follow(run, execution, connection)
        return run

    def _follow(self, run: Run, execution: JobExecution, connection: Connection) -> None:
        self._known.add(execution.job_execution_id)
        run.seen(execution)
        if not execution.is_final:
            is_local = connection is self._connections.get(None)
            listener = _LocalListener(run, self._look_for_local) if is_local else run
            connection.follow(run.view.job_id, execution.job_execution_id, listener)

    async def _reconcile(self, run: Run, connection: Connection) -> None:
        """Look for the run whose answer was lost, and adopt it only when it is the only one it can be."""
        job_id, looks = run.view.job_id, 0
        while looks < LOOKS:
            await self._sleep(LOOK_SECONDS)
            try:
                listed = [each async for page in connection.client.pages(job_id) for each in page.items]
            except errors.DataflowError as error:
                looks += isinstance(error, errors.RequestRejected)
                run.blind(f"{LOST}, and looking for it failed: {error}")
                continue
            if any(other.view.job_id == job_id for other in self._unanswered):
                continue  # what is seen now may be theirs
            looks += 1
            found = candidates(run.view, listed, self._known)
            if len(found) == 1:
                self._follow(run, found[0], connection)
                return
            if found:
                ids = ", ".join(execution.job_execution_id for execution in found)
                run.give_up(errors.OutcomeUnknown(f"{LOST}, and {len(found)} runs may be it: {ids}"))
                return
            run.blind(f"{LOST}, and no such run is to be seen: it was probably not started")
        run.give_up(errors.OutcomeUnknown(run.view.blind_reason))


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


def _needs_no_job(request: RunRequest) -> bool:
    """Whether the request is whole without the job, so that a key that may not read jobs still works."""
    condition = request.condition
    whole = None not in (condition.nrn, condition.script_path, condition.log_path)
    return whole and request.job.may_be_id
