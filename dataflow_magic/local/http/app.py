"""The API of the local service as an ASGI application: one table of operations, the routes and the errors made from it.

All addresses below ``/local/v1`` are the local service's own; the others are the vendor's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dataflow_magic.local.http import responses
from dataflow_magic.local.http.faults import FaultPlan, Faults
from dataflow_magic.local.http.gateway import Gateway, HangUp, cut, gateway_error
from dataflow_magic.local.http.handlers import Backend, Handlers
from dataflow_magic.local.http.operations import Operation
from dataflow_magic.local.http.requests import (
    PAGE_LIMIT,
    ExecutionConfig,
    JobCreation,
    JobUpdate,
    PageExecution,
    SettingsExecution,
)
from dataflow_magic.local.keys import Keys
from dataflow_magic.local.options import Contract
from dataflow_magic.local.run import Refusal, RefusalKind

__all__ = ["RUN", "Backend", "Keys", "create_app", "operations"]

JOBS = "/api/v1/jobs"
JOB = f"{JOBS}/{{jobId}}"
RUNS = f"{JOB}/executions"
RUN = f"{RUNS}/{{executionId}}"
PROGRESS = "/local/v1/jobs/{jobId}/executions/{executionId}/progress"
FAULTS = "/local/v1/faults"
SERVICE = "/local/v1/service"
HEALTH = "/local/v1/health"
OPENAPI = "/local/v1/openapi.json"

TEXT = {"type": "string"}
PAGING = {
    "page": {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 0},
    "limit": {"type": "integer", "minimum": 0, "maximum": PAGE_LIMIT, "default": PAGE_LIMIT},
}
JobList = responses.ListResponse[responses.JobResponse]
RunList = responses.ListResponse[responses.ExecutionResponse]

UNSIGNED_THREADS = 16
MAX_BODY = 1 << 20
"""Limit of a request body, bytes; more is the gateway's 413."""
REFUSAL_STATUS: Mapping[RefusalKind, int] = MappingProxyType(
    {"bad-parameter": 400, "bad-state": 400, "not-found": 404}
)


def operations(contract: Contract) -> list[Operation]:
    """Return all operations of a service under a contract."""
    job, run, done = responses.JobResponse, responses.ExecutionResponse, Literal[True]
    by_page = contract == Contract.EXECUTE_JOB
    start = Operation(
        "POST",
        RUNS,
        "executeJob" if by_page else "createJobExecution",
        Handlers.execute_job,
        responses.StartedResponse,
        PageExecution if by_page else SettingsExecution,
        body_required=by_page,
        query={"triggerId": TEXT, "workflowId": TEXT},
        has_quota=True,
    )
    return [
        Operation("GET", JOBS, "getJobs", Handlers.list_jobs, JobList, query={"name": TEXT, **PAGING}),
        Operation("POST", JOBS, "createJob", Handlers.create_job, job, JobCreation),
        Operation("GET", JOB, "getJob", Handlers.get_job, job),
        Operation("PATCH", JOB, "updateJob", Handlers.update_job, job, JobUpdate),
        Operation("DELETE", JOB, "deleteJob", Handlers.delete_job, done),
        Operation("PUT", RUNS, "updateJobExecutionConfig", Handlers.update_job, job, ExecutionConfig),
        start,
        Operation("GET", RUNS, "getJobExecutions", Handlers.list_executions, RunList, query=PAGING),
        Operation("GET", RUN, "getJobExecution", Handlers.get_execution, run),
        Operation("POST", f"{RUN}/cancel", "cancelJobExecution", Handlers.cancel_execution, done),
        Operation("GET", PROGRESS, "getProgress", Handlers.get_progress, responses.ProgressResponse),
        Operation("GET", FAULTS, "getFaults", Handlers.get_faults, responses.FaultsResponse),
        Operation("PUT", FAULTS, "setFaults", Handlers.set_faults, responses.FaultsResponse, FaultPlan),
        Operation("DELETE", FAULTS, "clearFaults", Handlers.clear_faults, done),
        Operation("GET", SERVICE, "describeService", Handlers.describe_service, responses.ServiceResponse),
        Operation("GET", HEALTH, "getHealth", Handlers.get_health, responses.HealthResponse, signed=False),
        Operation("GET", OPENAPI, "describeApi", Handlers.describe_api, dict[str, Any], signed=False),
    ]


def create_app(
    backend: Backend, keys: Keys, *, clock: Callable[[], float] = time.time, hang_up: HangUp = cut
) -> ASGIApp:
    """Return the service as an ASGI application.

    Parameters
    ----------
    clock
        Seconds since the epoch, for the age of signatures.
    hang_up
        Closes a request's connection without a response, for the fault of that kind.
    """
    faults = Faults()
    table = operations(backend.contract)
    threads = CapacityLimiter(UNSIGNED_THREADS)
    handlers = Handlers(backend, faults, table)
    app = Starlette(
        routes=[
            Route(each.path, _endpoint(handlers, each, threads), methods=[each.method]) for each in table
        ],
        exception_handlers={
            Refusal: _respond_to_refusal,
            HTTPException: _respond_as_gateway,
            ClientDisconnect: _respond_to_nobody,
            Exception: _respond_to_bug,
        },
    )
    app.router.redirect_slashes = False  # the gateway knows each address in one spelling
    return Gateway(app, keys, clock, faults, hang_up)


def _endpoint(
    handlers: Handlers, operation: Operation, unsigned_threads: CapacityLimiter
) -> Callable[[Request], Awaitable[Response]]:
    def respond(request: Request, body: bytes) -> Response:
        content = json.dumps(handlers.handle(operation, request, body), ensure_ascii=False)
        return Response(content, media_type="application/json")

    async def endpoint(request: Request) -> Response:
        body = await _body(request) if operation.body else b""
        # Signed requests may all wait for a locked database; the others have threads of their own, to say so.
        threads = None if operation.signed else unsigned_threads
        return await to_thread.run_sync(respond, request, body, limiter=threads)

    return endpoint


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"The body is over {MAX_BODY} bytes.")
    return body


async def _respond_to_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - registered for it
    content: responses.RefusalResponse = {"detail": error.detail, "errorType": error.kind}
    return JSONResponse(content, REFUSAL_STATUS[error.kind])


async def _respond_as_gateway(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    if error.status_code < 413:  # no such address, or no such method there: both are 404 to the gateway
        return gateway_error(404, "URL not found.")
    return gateway_error(error.status_code, error.detail)


async def _respond_to_nobody(*_: object) -> Response:
    return Response()  # the client has gone before the end of its body, which is no error of the service


async def _respond_to_bug(_: Request, error: Exception) -> Response:
    return gateway_error(500, type(error).__name__)
