"""The HTTP face of the local service: the routes behind its gateway.

Each handler reads, calls store or engine, and answers; rules live in `contract`. Served besides the vendor's
operations, all below ``/local/v1``: ``service``, which tells where the objects are kept, ``health``, ``openapi.json``,
``faults``, and how far a run is.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dataflow_magic.local.engine import Engine
from dataflow_magic.local.http import contract
from dataflow_magic.local.http.faults import Faults, Struck
from dataflow_magic.local.http.gateway import Gateway, HangUp, Keys, cut, gateway_error
from dataflow_magic.local.log import event
from dataflow_magic.local.options import Contract
from dataflow_magic.local.run import Refusal, RefusalKind
from dataflow_magic.local.spark.event_log import Tails
from dataflow_magic.local.spark.progress import Progress
from dataflow_magic.local.spark.script import ScriptProblem, object_path
from dataflow_magic.local.spark.settings import event_log_key
from dataflow_magic.local.store import Store, StoredJob, StoredRun, is_id
from dataflow_magic.models.wire import RunState, is_final

__all__ = ["Keys", "Service", "create_app"]

logger = logging.getLogger(__name__)

MAX_BODY = 1 << 20
"""Bytes of a request body; more is the gateway's 413."""
REFUSAL_STATUS: Mapping[RefusalKind, int] = MappingProxyType(
    {"bad-parameter": 400, "bad-state": 400, "not-found": 404}
)
ALL = 1_000_000_000
"""More runs than any job has."""


@dataclass(frozen=True, slots=True)
class Service:
    """What the handlers work with.

    Parameters
    ----------
    now
        Gives the aware time answers are made at.
    contract
        Which pages a start of a run is read by.
    most_waiting
        How many runs may be READY, of all jobs; a start beyond that is the gateway's 429.
    """

    store: Store
    engine: Engine
    folder: Path
    now: Callable[[], datetime]
    contract: Contract = Contract.EXECUTE_JOB
    most_waiting: int = 1000


def create_app(
    service: Service, keys: Keys, *, clock: Callable[[], float] = time.time, hang_up: HangUp = cut
) -> ASGIApp:
    """Return the service as an ASGI application.

    Parameters
    ----------
    clock
        Seconds since the epoch, for the age of signatures.
    hang_up
        Ends a request's connection without an answer, for the fault of that kind.
    """
    faults = Faults()
    handlers = _Handlers(service, faults)
    app = Starlette(
        routes=[
            Route("/api/v1/jobs", handlers.list_jobs, methods=["GET"]),
            Route("/api/v1/jobs", handlers.create_job, methods=["POST"]),
            Route("/api/v1/jobs/{job_id}", handlers.get_job, methods=["GET"]),
            Route("/api/v1/jobs/{job_id}", handlers.update_job, methods=["PATCH"]),
            Route("/api/v1/jobs/{job_id}", handlers.delete_job, methods=["DELETE"]),
            Route("/api/v1/jobs/{job_id}/executions", handlers.update_execution_config, methods=["PUT"]),
            Route("/api/v1/jobs/{job_id}/executions", handlers.execute_job, methods=["POST"]),
            Route("/api/v1/jobs/{job_id}/executions", handlers.list_executions, methods=["GET"]),
            Route("/api/v1/jobs/{job_id}/executions/{run_id}", handlers.get_execution, methods=["GET"]),
            Route(
                "/api/v1/jobs/{job_id}/executions/{run_id}/cancel",
                handlers.cancel_execution,
                methods=["POST"],
            ),
            Route(
                "/local/v1/jobs/{job_id}/executions/{run_id}/progress",
                handlers.tell_progress,
                methods=["GET"],
            ),
            Route("/local/v1/faults", handlers.tell_faults, methods=["GET"]),
            Route("/local/v1/faults", handlers.set_faults, methods=["PUT"]),
            Route("/local/v1/faults", handlers.clear_faults, methods=["DELETE"]),
            Route("/local/v1/service", handlers.describe, methods=["GET"]),
            Route("/local/v1/health", handlers.tell_health, methods=["GET"]),
            Route("/local/v1/openapi.json", handlers.describe_api, methods=["GET"]),
        ],
        exception_handlers={
            Refusal: _answer_refusal,
            HTTPException: _answer_at_the_gate,
            Exception: _answer_own_fault,
        },
    )
    app.router.redirect_slashes = False  # the gateway knows no other spelling of an address
    return Gateway(app, keys, clock, faults, hang_up)


class _Handlers:
    def __init__(self, service: Service, faults: Faults) -> None:
        self._faults = faults
        self._store = service.store
        self._engine = service.engine
        self._folder = service.folder
        self._now = service.now
        self._contract = service.contract
        self._most_waiting = service.most_waiting
        self._tails = Tails()

    def list_jobs(self, request: Request) -> Response:
        page, limit = contract.read_paging(request.query_params)
        jobs, total = self._store.jobs(name=request.query_params.get("name"), page=page, limit=limit)
        return _json(contract.list_answer([contract.job_answer(job) for job in jobs], total, page, limit))

    async def create_job(self, request: Request) -> Response:
        fields = contract.read_job(await _body(request))
        job = await run_in_threadpool(self._store.add_job, **fields)
        event(logger, "a job was created", jobId=job.job_id)
        return _json(contract.job_answer(job))

    def get_job(self, request: Request) -> Response:
        return _json(contract.job_answer(self._job(request)))

    async def update_job(self, request: Request) -> Response:
        job = await run_in_threadpool(self._job, request)
        return await self._update(job, contract.read_job_update(await _body(request), job))

    async def update_execution_config(self, request: Request) -> Response:
        job = await run_in_threadpool(self._job, request)
        return await self._update(job, contract.read_execution_config(await _body(request), job))

    def delete_job(self, request: Request) -> Response:
        job = self._job(request)
        if not self._store.delete_job(job.job_id):
            raise Refusal(
                "bad-state",
                f"job {job.job_id} has a READY or RUNNING run; cancel it, or wait for its end",
            )
        event(logger, "a job was deleted", jobId=job.job_id)
        return _json(True)

    async def execute_job(self, request: Request) -> Response:
        job = await run_in_threadpool(self._job, request)
        condition, parameters = self._read_execution(await _body(request), job)
        if await run_in_threadpool(self._store.count_in, RunState.READY) >= self._most_waiting:
            raise HTTPException(429, f"{self._most_waiting} runs wait already.")
        try:
            run = await run_in_threadpool(
                self._store.add_run,
                job,
                condition=condition,
                parameters=parameters,
                trigger_id=request.query_params.get("triggerId") or None,
                workflow_id=request.query_params.get("workflowId") or None,
            )
        except LookupError:
            raise _no_job(job.job_id) from None
        event(logger, "a run was accepted", runId=run.run_id, jobId=run.job_id)
        self._engine.wake()
        return _json(_struck(request).altered(contract.started_answer(run), run))

    def list_executions(self, request: Request) -> Response:
        job = self._job(request)
        page, limit = contract.read_paging(request.query_params)
        struck = _struck(request)
        if struck.lag_seconds:
            all_runs, _ = self._store.runs(job.job_id, page=0, limit=ALL)
            listed = [run for run in all_runs if struck.is_listed(run, self._now())]
            runs, total = listed[page * limit : (page + 1) * limit], len(listed)
        else:
            runs, total = self._store.runs(job.job_id, page=page, limit=limit)
        return _json(contract.list_answer([self._told(run, struck) for run in runs], total, page, limit))

    def get_execution(self, request: Request) -> Response:
        return _json(self._told(self._run(request), _struck(request)))

    async def cancel_execution(self, request: Request) -> Response:
        run = await run_in_threadpool(self._run, request)
        self._engine.cancel(run.run_id)
        event(logger, "a run's end was asked for", runId=run.run_id, jobId=run.job_id)
        return _json(True)

    def tell_health(self, _: Request) -> Response:
        self._store.count_in(RunState.READY)  # a service without its database is not well
        return _json({"status": "ok", "version": _version()})

    def tell_progress(self, request: Request) -> Response:
        run = self._run(request)  # before its log is read: a run that is final writes no more
        is_over = is_final(run.status)
        log = event_log_key(run.condition["logPath"], run.run_id)
        try:
            folder = object_path(self._folder / "objects", log)
        except ScriptProblem:  # for which the run fails before it has a log
            return _json(contract.progress_answer(Progress(is_over=is_over)))
        return _json(contract.progress_answer(self._tails.look(run.run_id, folder, is_final=is_over)))

    def describe(self, _: Request) -> Response:
        return _json(
            {
                "folder": str(self._folder),
                "objects": str(self._folder / "objects"),
                "pid": os.getpid(),
                "contract": self._contract,
                "activeRuns": self._engine.active,
            }
        )

    async def tell_faults(self, _: Request) -> Response:
        return _json(self._faults.told())

    async def set_faults(self, request: Request) -> Response:
        plan = contract.read_faults(await _body(request))
        self._faults.set(plan.faults, plan.seed)
        event(logger, "faults were set", count=len(plan.faults))
        return _json(self._faults.told())

    async def clear_faults(self, _: Request) -> Response:
        self._faults.set([])
        return _json(True)

    def describe_api(self, _: Request) -> Response:
        # Here, since a start of the service need not wait for what is hardly ever asked for.
        from dataflow_magic.local.http.openapi import document

        return _json(document(self._contract, _version()))

    def _read_execution(self, body: bytes, job: StoredJob) -> tuple[dict[str, Any], dict[str, Any]]:
        if self._contract == Contract.EXECUTE_JOB:
            return contract.read_execution(body)
        return contract.read_execution_over(body, job)

    async def _update(self, job: StoredJob, changes: dict[str, Any]) -> Response:
        updated = await run_in_threadpool(self._store.update_job, job.job_id, **changes)
        if updated is None:  # deleted meanwhile
            raise _no_job(job.job_id)
        event(logger, "a job was changed", jobId=job.job_id)
        self._engine.wake()  # more of its runs may go at once now
        return _json(contract.job_answer(updated))

    def _told(self, run: StoredRun, struck: Struck) -> dict[str, Any]:
        now = self._now()
        seen = struck.seen(run, now)
        return struck.altered(contract.execution_answer(seen, now, self._engine.waiting_for(seen)), run)

    def _job(self, request: Request) -> StoredJob:
        job_id = request.path_params["job_id"]
        job = self._store.job(job_id) if is_id(job_id) else None
        if job is None:
            raise _no_job(job_id)
        return job

    def _run(self, request: Request) -> StoredRun:
        job = self._job(request)
        run_id = request.path_params["run_id"]
        run = self._store.run(run_id) if is_id(run_id) else None
        if run is None or run.job_id != job.job_id:
            raise Refusal("not-found", f"executionId: job {job.job_id} has no run {run_id!r}")
        return run


def _no_job(job_id: str) -> Refusal:
    return Refusal("not-found", f"jobId: there is no job {job_id!r}")


@functools.cache
def _version() -> str:
    return version("dataflow-magic")


def _struck(request: Request) -> Struck:
    struck: Struck = request.scope["struck"]
    return struck


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"The body is over {MAX_BODY} bytes.")
    return body


def _json(answer: Any) -> Response:
    return Response(json.dumps(answer, ensure_ascii=False), media_type="application/json")


async def _answer_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - registered for it
    return JSONResponse({"detail": error.detail, "errorType": error.kind}, REFUSAL_STATUS[error.kind])


async def _answer_at_the_gate(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    # To the gateway a method nobody serves is an address nobody serves.
    return (
        gateway_error(404, "URL not found.")
        if error.status_code < 413
        else gateway_error(error.status_code, error.detail)
    )


async def _answer_own_fault(_: Request, error: Exception) -> Response:
    return gateway_error(500, type(error).__name__)
