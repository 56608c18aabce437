"""Typed calls of the Data Flow API, one coroutine per operation. Knows no thread, no polling and no display.

Source of every operation: ``api.ncloud-docs.com/docs/analytics-dataflow`` and its pages, read 2026-11.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, SecretStr

from dataflow_magic import errors
from dataflow_magic.client.bounds import OverBound, check_items, read_json
from dataflow_magic.client.clock import Clock
from dataflow_magic.client.pages import Listing, read_list
from dataflow_magic.client.sending import API, AttemptLog, Sender, Transport, given
from dataflow_magic.config.settings import CLOUD_ENDPOINT
from dataflow_magic.models.attempt import ServiceClock
from dataflow_magic.models.secret import Parameter, masked
from dataflow_magic.models.view import Progress
from dataflow_magic.models.wire import ExecutionDelta, Job, JobCondition, JobExecution, Page

__all__ = ["Client", "execution_body", "execution_query"]

M = TypeVar("M", bound=BaseModel)

NO_IDS = frozenset({"", ".", ".."})
"""Texts that no address can have for an id."""


class Client:
    """The Data Flow API of one service, one coroutine per operation.

    A call that only reads, or that may be carried out twice, is sent again when the network or the service fails: up to
    four attempts in 15 seconds. A call that creates something is sent again only when it certainly did not arrive,
    because the API has no idempotency key. Redirects are not followed, since they would change the signed target.

    Parameters
    ----------
    access_key, secret_key
        Of the account or the local service.
    endpoint
        Base address without a path.
    transport
        Where requests go instead of the network: an ASGI application's transport, or a fake.
    now
        This machine's clock, in seconds since the epoch.
    timeout
        Seconds of one attempt until the request is sent, again until its response arrives, and again until that is whole.
    clock_offset
        The initial `clock_offset`, as an earlier client of the same service measured it.
    steady
        Seconds that nobody sets; by default the system's, or ``now`` where that is handed in.

    Raises
    ------
    ConfigError
        When it is made: a key that no header can carry, or a proxy or certificates in the environment that cannot be
        used.
    RequestRejected
        In every call: the service refused; the subclass says who has to act.
    ServiceBroken
        In every call: the service failed, or its response breaks the contract or a limit of `dataflow_magic.client.bounds`.
    Unreachable
        In every call: the request did not arrive.
    OutcomeUnknown
        In calls that create something: the request left and its response was lost.

    Examples
    --------
    >>> async with Client(access_key, secret_key) as client:  # doctest: +SKIP
    ...     job = (await client.list_jobs(name="daily_sales")).items[0]
    ...     run = await client.execute_job(job.job_id, job.condition, {"$table_name": "test.sample_table2"})

    Notes
    -----
    Proxies (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``) and certificates to trust instead of the system's
    (``SSL_CERT_FILE``, ``SSL_CERT_DIR``) come from the environment.
    """

    def __init__(
        self,
        access_key: str,
        secret_key: SecretStr | str,
        endpoint: str = CLOUD_ENDPOINT,
        *,
        transport: Transport | None = None,
        now: Callable[[], float] = time.time,
        timeout: float = 30.0,
        clock_offset: float = 0.0,
        steady: Callable[[], float] | None = None,
    ) -> None:
        self._sender = Sender(
            access_key,
            secret_key if isinstance(secret_key, SecretStr) else SecretStr(secret_key),
            endpoint,
            transport=transport,
            now=now,
            timeout=timeout,
            clock_offset=clock_offset,
            steady=steady,
        )

    def __repr__(self) -> str:
        return f"Client({self.endpoint!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sender.aclose()

    @property
    def endpoint(self) -> str:
        """Base address of the service, without a slash at its end."""
        return self._sender.endpoint

    @property
    def clock_offset(self) -> float:
        """Seconds the service's clock is ahead of this machine's; see `SignedAuth.clock_offset`."""
        return self._sender.auth.clock_offset

    @property
    def clock(self) -> Clock:
        """The clocks of this machine, by which requests are signed and measured."""
        return self._sender.auth.clock

    @property
    def service_clock(self) -> ServiceClock | None:
        """The service's clock as its newest response with a ``Date`` showed it; None before there is one."""
        return self._sender.auth.service_clock

    def service_time(self, steady: float) -> float:
        """Return the earliest time of the service at a moment of ``clock.steady``; see `SignedAuth.service_time`."""
        return self._sender.auth.service_time(steady)

    async def execute_job(
        self,
        job_id: str,
        condition: JobCondition | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        *,
        trigger_id: str | None = None,
        workflow_id: str | None = None,
        attempts: AttemptLog | None = None,
    ) -> JobExecution:
        """Start a run: ``POST /jobs/{jobId}/executions`` (executeJob, now createJobExecution).

        Parameters
        ----------
        condition
            Sent as it is. The executeJob page requires ``nrn``, ``scriptPath`` and ``logPath`` in it.
        parameters
            Sent as they are, so each name with the ``$`` of the page's example. The value of a secret parameter is sent;
            the returned run and errors show it masked.
        attempts
            Keeps each attempt: written before it is sent, noted when it ended.

        Raises
        ------
        OutcomeUnknown
            The request left, and its response was lost or does not describe the run. The request is not sent again,
            since that could start a second run.
        """
        query = execution_query(trigger_id=trigger_id, workflow_id=workflow_id)
        body = execution_body(condition, parameters)
        execution = await self._create(JobExecution, f"{_job(job_id)}/executions", body, query, attempts)
        if execution.job_execution_id in NO_IDS:
            raise self._sender.lost_response(f"its run has the id {execution.job_execution_id!r}")
        return masked(execution, parameters or {})

    async def get_execution(self, job_id: str, execution_id: str) -> JobExecution:
        """Return one run: ``GET /jobs/{jobId}/executions/{executionId}``."""
        return _read(JobExecution, await self._repeat("GET", _execution(job_id, execution_id)))

    async def list_executions(self, job_id: str, *, page: int = 0, limit: int = 1000) -> Page[JobExecution]:
        """Return one page of a job's runs; the vendor documents no order."""
        return _read(Page[JobExecution], await self._execution_page(job_id, page, limit), limit=limit)

    async def cancel_execution(self, job_id: str, execution_id: str) -> bool:
        """Request the cancellation of a run: ``POST .../cancel``. The run's state shows when it has ended.

        Returns
        -------
        bool
            False where the service answers ``false``.
        """
        # A second cancel of a run changes nothing.
        response = await self._repeat("POST", f"{_execution(job_id, execution_id)}/cancel")
        return response.content.strip() != b"false"

    async def get_job(self, job_id: str) -> Job:
        """Return one job: ``GET /jobs/{jobId}``."""
        return _read(Job, await self._repeat("GET", _job(job_id)))

    async def list_jobs(self, *, name: str | None = None, page: int = 0, limit: int = 1000) -> Page[Job]:
        """Return one page of jobs. ``name`` filters them; the vendor does not document whether by equality."""
        query = {"name": name, "page": page, "limit": limit}
        return _read(Page[Job], await self._repeat("GET", f"{API}/jobs", query), limit=limit)

    async def create_job(
        self,
        name: str,
        *,
        type: str = "SCRIPT",  # noqa: A002 - the wire's word
        condition: JobCondition | None = None,
        max_concurrent_runs: int | None = None,
        **fields: Any,
    ) -> Job:
        """Store a job: ``POST /jobs``.

        Parameters
        ----------
        name
            3 to 100 of ``A-Z a-z 0-9 _ -``, the first a letter or ``_``.
        type
            ``SCRIPT`` or ``VISUAL``.
        fields
            Further fields by their wire names, such as ``nodes``.
        """
        body: dict[str, Any] = {"name": name, "type": type, **fields}
        if max_concurrent_runs is not None:
            body["maxConcurrentRuns"] = max_concurrent_runs
        if condition is not None:
            body["jobCondition"] = given(condition.to_wire())
        return await self._create(Job, f"{API}/jobs", body)

    async def update_job(
        self,
        job_id: str,
        *,
        type: str = "SCRIPT",  # noqa: A002 - the wire's word
        condition: JobCondition,
    ) -> Job:
        """Lay a condition over the stored one of a job: ``PATCH /jobs/{jobId}`` (updateJob).

        Where the service does not know that call, ``PUT /jobs/{jobId}/executions`` (updateJobExecutionConfig) of the older
        pages is sent.

        Parameters
        ----------
        type
            The job's own; the page requires it.
        condition
            A field that is None keeps its stored value. The older pages require ``nrn``, ``scriptPath`` and ``logPath``.
        """
        # A second update with the same condition changes nothing.
        settings = {"jobCondition": given(condition.to_wire())}
        try:
            return _read(Job, await self._repeat("PATCH", _job(job_id), body={"type": type, **settings}))
        except errors.RequestRejected as error:
            # The service's own 404 means that there is no such job; the gateway's means that there is no such address.
            if error.status not in {404, 405} or error.code == "not-found":
                raise
        return _read(Job, await self._repeat("PUT", f"{_job(job_id)}/executions", body=settings))

    async def pages(
        self, job_id: str, *, limit: int = 1000, most: int = 20
    ) -> AsyncIterator[Page[JobExecution]]:
        """Yield the pages of a job's runs up to the last, at most ``most`` of them."""
        for number in range(most):
            page = await self.list_executions(job_id, page=number, limit=limit)
            yield page
            if page.is_last(limit):
                return

    async def listing(self, job_id: str, *, most: int = 100, since: datetime | None = None) -> Listing:
        """Return a job's runs, and whether they are certainly all of them; see `pages.read_list`."""

        async def read(number: int, limit: int) -> Page[JobExecution]:
            return await self.list_executions(job_id, page=number, limit=limit)

        return await read_list(read, most=most, since=since)

    async def deltas(
        self, job_id: str, marks: Mapping[str, int | None], *, limit: int = 1000, most: int = 20
    ) -> AsyncIterator[list[ExecutionDelta]]:
        """Yield, page by page, what the list of a job's runs says of them, at most ``most`` pages.

        An execution is parsed only where it differs from the last poll: of a thousand active runs, hardly one does.

        Parameters
        ----------
        marks
            By run id the `ExecutionDelta.mark` of the last poll, or None; of other runs only the id is yielded.
        """

        def read(fields: dict[str, Any]) -> object:
            # Called while the JSON is parsed: a thousand objects alive at once would pause the loop for their collection.
            run_id = fields.get("jobExecutionId")
            if not isinstance(run_id, str):
                return fields
            if run_id not in marks:
                return ExecutionDelta(run_id, 0, None)
            found.append(run_id)
            check_items(len(found), limit)  # a run may be repeated, and each is parsed
            mark = hash(repr(fields))
            is_new = mark != marks[run_id]
            return ExecutionDelta(run_id, mark, JobExecution.model_validate(fields) if is_new else None)

        for number in range(most):
            found: list[str] = []
            page = _read(Page[Any], await self._execution_page(job_id, number, limit), read, limit=limit)
            yield [item for item in page.items if isinstance(item, ExecutionDelta)]
            if page.is_last(limit):
                return

    async def local_objects(self) -> Path | None:
        """Return the folder in which a local service keeps its objects; None for any other service."""
        try:
            response = await self._repeat("GET", "/local/v1/service")
            return Path(read_json(response.content)["objects"])
        except (errors.RequestRejected, ValueError, TypeError, KeyError, RecursionError):
            return None

    async def local_progress(self, job_id: str, execution_id: str) -> Progress | None:
        """Return the progress of a run of a local service; None for any other service or an unknown run.

        Raises
        ------
        ServiceError
            The service does not answer.
        """
        path = _execution(job_id, execution_id, api="/local/v1")
        try:
            fields = read_json((await self._repeat("GET", f"{path}/progress")).content)
            return Progress(
                stages_done=int(fields["stagesDone"]),
                stages_total=int(fields["stagesTotal"]),
                tasks_done=int(fields["tasksDone"]),
                tasks_total=int(fields["tasksTotal"]),
                attempts_failed=int(fields["tasksFailed"]),
                doing=", ".join(str(stage["name"]) for stage in fields["running"]),
            )
        except (errors.RequestRejected, ValueError, TypeError, KeyError, RecursionError):
            return None

    async def _execution_page(self, job_id: str, page: int, limit: int) -> httpx.Response:
        return await self._repeat("GET", f"{_job(job_id)}/executions", {"page": page, "limit": limit})

    async def _repeat(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        """Send a request that the service may carry out twice."""
        return await self._sender.send(method, path, query=query, body=body, is_repeatable=True)

    async def _create(
        self,
        model: type[M],
        path: str,
        body: Mapping[str, Any],
        query: Mapping[str, Any] | None = None,
        attempts: AttemptLog | None = None,
    ) -> M:
        """Send a request that the service must not carry out twice, and return what it created."""
        response = await self._sender.send(
            "POST", path, query=query, body=body, is_repeatable=False, attempts=attempts
        )
        try:
            return _read(model, response)
        except errors.ServiceBroken as error:
            raise self._sender.lost_response(str(error)) from error


def execution_body(
    condition: JobCondition | None, parameters: Mapping[str, Parameter] | None
) -> dict[str, Any]:
    """Return the body of executeJob: its fields in the page's order, without those that are None."""
    body: dict[str, Any] = {}
    if condition is not None:
        body["jobCondition"] = given(condition.to_wire())
    if parameters:
        body["parameters"] = dict(parameters)
    return body


def execution_query(*, trigger_id: str | None, workflow_id: str | None) -> dict[str, str | None]:
    """Return the query of executeJob by the page's names."""
    return {"triggerId": trigger_id, "workflowId": workflow_id}


def _job(job_id: str, api: str = API) -> str:
    return f"{api}/jobs/{_segment(job_id)}"


def _execution(job_id: str, execution_id: str, api: str = API) -> str:
    return f"{_job(job_id, api)}/executions/{_segment(execution_id)}"


def _segment(text: str) -> str:
    """Return an id escaped for a path, so that no id can change which address is called."""
    if text in NO_IDS:
        raise errors.CellError(f"{text!r} is not an id")
    return quote(text, safe="")


def _read(
    model: type[M],
    response: httpx.Response,
    hook: Callable[[dict[str, Any]], object] | None = None,
    *,
    limit: int = 0,
) -> M:
    """Return the JSON of a response as a model; `hook` may replace each object while it is parsed."""
    status = response.status_code
    try:
        fields = read_json(response.content, hook)
        if isinstance(fields, dict) and isinstance(items := fields.get("list"), list):
            check_items(len(items), limit)
        return model.model_validate(fields)
    except OverBound as error:
        raise errors.ServiceBroken(str(error), status=status) from None
    except (ValueError, RecursionError) as error:  # pydantic's ValidationError is a ValueError
        raise errors.ServiceBroken(
            f"the service answered {status} with something that is not a {model.__name__} ({type(error).__name__})",
            status=status,
        ) from None
