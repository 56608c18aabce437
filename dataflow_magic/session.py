"""Everything of one process: its loop, its connections, and the runs it started."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

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
from dataflow_magic.watch import CLOUD_PACE, LOCAL_PACE

__all__ = ["LocalService", "Session"]

T = TypeVar("T")

RECONCILE_TRIES = 20
RECONCILE_SECONDS = 3.0


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
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        configure_file: Path,
        attach: Callable[[], LocalService],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._environment = environment
        self._configure_file = configure_file
        self._attach = attach
        self._transport = transport
        self._loop = LoopThread()
        self._lock = threading.Lock()
        self._connections: dict[Target, Connection] = {}
        self._local: LocalService | None = None
        self._runs: list[Run] = []
        # A task nobody refers to may be collected before it is done.
        self._reconciling: set[asyncio.Task[None]] = set()

    @property
    def runs(self) -> list[Run]:
        """The runs this process started, oldest first."""
        return list(self._runs)

    def target(self, choice: str | None = None, profile: str | None = None) -> Target:
        """Choose the target; see `settings.resolve_target`."""
        return resolve_target(choice, profile, self._environment, self._configure_file)

    def start(self, request: RunRequest, target: Target) -> Run:
        """Start a run; returns once the service has answered, or once it is known that no answer came.

        Raises
        ------
        DataflowError
            The run was certainly not started.
        """
        connection = self.connect(target)
        # Not cancelled by an interrupt: the request may be on its way, and the run must not be lost.
        return self._loop.submit(self._start(request, connection)).result()

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

        return self.ask(target, question)

    def find_run(self, text: str) -> Run:
        """Return the run of this process whose id is, or begins with, ``text``; ``@last`` is the newest.

        Raises
        ------
        CellError
            None or several do.
        """
        if text == "@last" and self._runs:
            return self._runs[-1]
        found = [run for run in self._runs if run.run_id and run.run_id.startswith(text)]
        exact = [run for run in found if run.run_id == text]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            ids = ", ".join(run.run_id or "" for run in found)
            raise errors.CellError(f"{len(found)} runs begin with {text!r}: {ids}")
        raise errors.CellError(f"no run {text!r} was started here; %dataflow_runs lists them")

    def connect(self, target: Target) -> Connection:
        """Return the connection to a target, made on first use; a local service is started if need be."""
        with self._lock:
            if target.kind == "local":
                return self._connect_local(target)
            if target not in self._connections:
                pace = CLOUD_PACE if target.kind == "cloud" else LOCAL_PACE
                connection = Connection(
                    target.name,
                    target.endpoint,
                    target.access_key,
                    target.secret_key,
                    pace=pace,
                    objects=None,
                    transport=self._transport,
                )
                self._connections[target] = connection
            return self._connections[target]

    def close(self) -> None:
        """Stop watching; the runs go on."""
        self._loop.stop()
        if self._local is not None:
            os.close(self._local.hold)
            self._local = None
        self._connections.clear()

    def _connect_local(self, target: Target) -> Connection:
        before, service = self._local, self._attach()
        self._local = service
        if before is not None:
            os.close(before.hold)
        key = replace(target, source="")
        connection = self._connections.get(key)
        if connection is None:
            connection = Connection(
                "local",
                service.endpoint,
                service.access_key,
                service.secret_key,
                pace=LOCAL_PACE,
                objects=service.folder / "objects",
                transport=self._transport,
            )
            self._connections[key] = connection
        elif before is not None and before.endpoint != service.endpoint:
            connection.move(service.endpoint, service.access_key, service.secret_key)
        return connection

    async def _start(self, request: RunRequest, connection: Connection) -> Run:
        client = connection.client
        if not _needs_no_job(request):
            return await self._submit(request, await find_job(client, request.job), connection)
        try:
            return await self._submit(request, Job(job_id=request.job.text), connection)
        except errors.NotFound:
            if request.job.kind == "id":
                raise
            return await self._submit(request, await find_job(client, request.job), connection)

    async def _submit(self, request: RunRequest, job: Job, connection: Connection) -> Run:
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
        run = Run(view, connection, self._loop.submit)
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
            run.blind(str(error))
            self._reconciling.add(asyncio.get_running_loop().create_task(self._reconcile(run, connection)))
            return run
        except BaseException:
            self._runs.remove(run)
            raise
        self._follow(run, execution, connection)
        return run

    def _follow(self, run: Run, execution: JobExecution, connection: Connection) -> None:
        run.seen(execution)
        if not execution.is_final:
            connection.follow(run.view.job_id, execution.job_execution_id, run)

    async def _reconcile(self, run: Run, connection: Connection) -> None:
        """Look for the run whose answer was lost, and adopt it only when it is the only one it can be."""
        for _ in range(RECONCILE_TRIES):
            await asyncio.sleep(RECONCILE_SECONDS)
            known = {other.run_id for other in self._runs if other.run_id}
            try:
                found = [
                    execution
                    async for page in connection.client.pages(run.view.job_id)
                    for execution in candidates(run.view, page.items, known)
                ]
            except errors.DataflowError as error:
                run.blind(str(error))
                continue
            if len(found) == 1:
                self._follow(run, found[0], connection)
                return
            if found:
                ids = ", ".join(execution.job_execution_id for execution in found)
                run.blind(f"the answer to its start was lost and {len(found)} runs may be it: {ids}")
                return
            run.blind("the answer to its start was lost and no such run is to be seen yet")
        run.blind("the answer to its start was lost and no such run was seen; it was probably not started")


def _needs_no_job(request: RunRequest) -> bool:
    """Whether the request is whole without the job, so that a key that may not read jobs still works."""
    condition = request.condition
    whole = None not in (condition.nrn, condition.script_path, condition.log_path)
    return whole and request.job.may_be_id
