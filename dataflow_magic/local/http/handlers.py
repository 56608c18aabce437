"""What each operation of the service does: it reads, calls store or engine, and returns the response. No routes here."""
# ruff: noqa: D102 - the table in app.py says which operation each handler is

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from anyio import from_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request

from dataflow_magic.files import InvalidKey, object_path
from dataflow_magic.local.engine import Engine
from dataflow_magic.local.http.faults import Effects, FaultPlan, Faults
from dataflow_magic.local.http.operations import Operation
from dataflow_magic.local.http.requests import (
    ExecutionConfig,
    JobCreation,
    JobUpdate,
    PageExecution,
    SettingsExecution,
    read,
    read_paging,
)
from dataflow_magic.local.http.responses import (
    ExecutionResponse,
    FaultsResponse,
    HealthResponse,
    JobResponse,
    ListResponse,
    ProgressResponse,
    ServiceResponse,
    StartedResponse,
    execution_response,
    job_response,
    list_response,
    progress_response,
    started_response,
)
from dataflow_magic.local.log import event
from dataflow_magic.local.objects.paths import event_log_key
from dataflow_magic.local.options import Contract
from dataflow_magic.local.run import Refusal
from dataflow_magic.local.spark.event_log import ProgressReader
from dataflow_magic.local.spark.progress import Progress
from dataflow_magic.local.store import Store, StoredJob, StoredRun, is_id
from dataflow_magic.models.wire import RunState, is_final

__all__ = ["Backend", "Handlers"]

logger = logging.getLogger(__name__)

ALL = 1_000_000_000
"""More runs than any job has."""


@dataclass(frozen=True, slots=True)
class Backend:
    """The parts of the service behind its HTTP side.

    Parameters
    ----------
    now
        Returns the aware time of a response.
    contract
        The pages that rule how a run is started.
    most_waiting
        Limit of READY runs of all jobs; a start beyond it is the gateway's 429.
    """

    store: Store
    engine: Engine
    folder: Path
    now: Callable[[], datetime]
    contract: Contract = Contract.EXECUTE_JOB
    most_waiting: int = 1000


class Handlers:
    """A method per operation; each runs on a worker thread and calls engine and faults on the loop's.

    Parameters
    ----------
    operations
        All operations, for the OpenAPI document.
    """

    def __init__(self, backend: Backend, faults: Faults, operations: Sequence[Operation]) -> None:
        self._faults = faults
        self._operations = operations
        self._store = backend.store
        self._engine = backend.engine
        self._folder = backend.folder
        self._now = backend.now
        self._contract = backend.contract
        self._most_waiting = backend.most_waiting
        self._progress = ProgressReader()
        # Made once: anyone may ask, and it takes 25 ms.
        self._document = functools.cache(self._make_document)

    def handle(self, operation: Operation, request: Request, body: bytes) -> Any:
        """Return the response of an operation to a request.

        Raises
        ------
        Refusal
            The service refuses: first for an unknown job or run, then for the body, then for the state.
        HTTPException
            The gateway refuses.
        """
        found: dict[str, Any] = {}
        if "{jobId}" in operation.path:
            found["job"] = self._job(request.path_params["jobId"])
        if "{executionId}" in operation.path:
            found["run"] = self._run(found.pop("job"), request.path_params["executionId"])
        if operation.body:
            found["body"] = read(operation.body, body if body or operation.body_required else b"{}")
        return operation.handler(self, request, **found)

    def list_jobs(self, request: Request) -> ListResponse[JobResponse]:
        page, limit = read_paging(request.query_params)
        jobs, total = self._store.jobs(name=request.query_params.get("name"), page=page, limit=limit)
        return list_response(list(map(job_response, jobs)), total, page, limit)

    def create_job(self, _: Request, body: JobCreation) -> JobResponse:
        job = self._store.add_job(**body.fields())
        event(logger, "a job was created", jobId=job.job_id)
        return job_response(job)

    def get_job(self, _: Request, job: StoredJob) -> JobResponse:
        return job_response(job)

    def update_job(self, _: Request, job: StoredJob, body: JobUpdate | ExecutionConfig) -> JobResponse:
        updated = self._store.update_job(job.job_id, **body.changes(job))
        if updated is None:  # deleted since it was looked up
            raise _no_job(job.job_id)
        event(logger, "a job was changed", jobId=job.job_id)
        from_thread.run_sync(self._engine.wake)  # a higher maxConcurrentRuns may let a run start
        return job_response(updated)

    def delete_job(self, _: Request, job: StoredJob) -> Literal[True]:
        if not self._store.delete_job(job.job_id):
            raise Refusal(
                "bad-state", f"job {job.job_id} has a READY or RUNNING run; cancel it, or wait for its end"
            )
        event(logger, "a job was deleted", jobId=job.job_id)
        return True

    def execute_job(
        self, request: Request, job: StoredJob, body: PageExecution | SettingsExecution
    ) -> StartedResponse:
        condition = body.condition(job)
        if self._store.count_in(RunState.READY) >= self._most_waiting:
            raise HTTPException(429, f"{self._most_waiting} runs wait already.")
        try:
            run = self._store.add_run(
                job,
                condition=condition,
                parameters=dict(body.parameters),
                trigger_id=request.query_params.get("triggerId") or None,
                workflow_id=request.query_params.get("workflowId") or None,
            )
        except LookupError:
            raise _no_job(job.job_id) from None
        event(logger, "a run was accepted", runId=run.run_id, jobId=run.job_id)
        from_thread.run_sync(self._engine.wake)
        return _effects(request).altered(started_response(run), run)

    def list_executions(self, request: Request, job: StoredJob) -> ListResponse[ExecutionResponse]:
        page, limit = read_paging(request.query_params)
        effects = _effects(request)
        if effects.lag_seconds:
            all_runs, _ = self._store.runs(job.job_id, page=0, limit=ALL)
            listed = [run for run in all_runs if effects.is_listed(run, self._now())]
            runs, total = listed[page * limit : (page + 1) * limit], len(listed)
        else:
            runs, total = self._store.runs(job.job_id, page=page, limit=limit)
        return list_response([self._execution(run, effects) for run in runs], total, page, limit)

    def get_execution(self, request: Request, run: StoredRun) -> ExecutionResponse:
        return self._execution(run, _effects(request))

    def cancel_execution(self, _: Request, run: StoredRun) -> Literal[True]:
        from_thread.run(self._engine.cancel, run.run_id)
        event(logger, "a cancel was requested", runId=run.run_id, jobId=run.job_id)
        return True

    def get_progress(self, _: Request, run: StoredRun) -> ProgressResponse:
        # The state was read before the log, and a run that is final writes no more.
        is_over = is_final(run.status)
        log = event_log_key(run.condition["logPath"], run.run_id)
        try:
            folder = object_path(self._folder / "objects", log)
        except InvalidKey:  # the run fails for it before it has a log
            return progress_response(Progress(is_over=is_over))
        return progress_response(self._progress.read(run.run_id, folder, is_final=is_over))

    def get_faults(self, _: Request) -> FaultsResponse:
        return from_thread.run_sync(self._faults.report)

    def set_faults(self, _: Request, body: FaultPlan) -> FaultsResponse:
        from_thread.run_sync(self._faults.set, body.faults, body.seed)
        event(logger, "faults were set", count=len(body.faults))
        return from_thread.run_sync(self._faults.report)

    def clear_faults(self, _: Request) -> Literal[True]:
        from_thread.run_sync(self._faults.set, [])
        return True

    def describe_service(self, _: Request) -> ServiceResponse:
        return {
            "folder": str(self._folder),
            "objects": str(self._folder / "objects"),
            "pid": os.getpid(),
            "contract": self._contract,
            "activeRuns": self._engine.active,
        }

    def get_health(self, _: Request) -> HealthResponse:
        if fault := self._store.fault():
            raise HTTPException(503, f"The database cannot be used: {fault}.")
        return {"status": "ok", "version": _version()}

    def describe_api(self, _: Request) -> dict[str, Any]:
        return self._document()

    def _make_document(self) -> dict[str, Any]:
        # Imported at use, so that the service starts sooner.
        from dataflow_magic.local.http.openapi import document

        return document(self._operations, f"Data Flow, local service ({self._contract})", _version())

    def _execution(self, run: StoredRun, effects: Effects) -> ExecutionResponse:
        now = self._now()
        seen = effects.seen(run, now)
        response = execution_response(seen, now, self._engine.waiting_for(seen))
        return effects.altered(response, run)

    def _job(self, job_id: str) -> StoredJob:
        job = self._store.job(job_id) if is_id(job_id) else None
        if job is None:
            raise _no_job(job_id)
        return job

    def _run(self, job: StoredJob, run_id: str) -> StoredRun:
        run = self._store.run(run_id) if is_id(run_id) else None
        if run is None or run.job_id != job.job_id:
            raise Refusal("not-found", f"executionId: job {job.job_id} has no run {run_id!r}")
        return run


def _no_job(job_id: str) -> Refusal:
    return Refusal("not-found", f"jobId: there is no job {job_id!r}")


@functools.cache
def _version() -> str:
    return version("dataflow-magic")


def _effects(request: Request) -> Effects:
    effects: Effects = request.scope["effects"]
    return effects
