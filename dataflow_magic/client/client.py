"""Typed, signed calls to the Data Flow API over httpx. Knows nothing of threads, polling or display.

Retries: a call that only reads is repeated on trouble of the network or of the service; one that changes something
only when it certainly did not arrive, because the API has no idempotency key. Each attempt is signed anew.
Proxies (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``) and certificates to trust instead of the usual ones
(``SSL_CERT_FILE``, ``SSL_CERT_DIR``) come from the environment.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import stamina
from pydantic import BaseModel, SecretStr

from dataflow_magic import errors
from dataflow_magic.client.auth import SignedAuth
from dataflow_magic.client.responses import raise_for
from dataflow_magic.models.secret import Parameter, Secret, masked, masked_text, secret_names
from dataflow_magic.models.view import Progress
from dataflow_magic.models.wire import Job, JobCondition, JobExecution, News, Page
from dataflow_magic.settings import CLOUD_ENDPOINT, is_loopback, mask
from dataflow_magic.signing import ACCESS_KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER

__all__ = ["Client", "Transport", "as_curl", "execution_body"]

API = "/api/v1"
ATTEMPTS = 4
"""Per call, the first included; together at most `RETRY_SECONDS`."""
RETRY_SECONDS = 15.0
M = TypeVar("M", bound=BaseModel)

Transport = httpx.AsyncBaseTransport
"""Where requests go: the network, an ASGI application, or a fake."""

# A proxy's refusal too: httpx tells it of a tunnel only, and what a forwarding proxy answers is an answer.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

# stamina logs each retry as a warning; where nobody set up logging, Python would print it into some cell.
logging.getLogger("stamina").addHandler(logging.NullHandler())


class Client:
    """The Data Flow API, one coroutine per operation.

    Parameters
    ----------
    access_key, secret_key
        Of the account or the local service.
    endpoint
        Base address without a path.
    transport
        Where requests go instead of the network: an ASGI application's transport, or a fake.
    now
        Seconds since the epoch, for signatures.
    timeout
        Seconds one attempt may take to be sent, and to be answered.
    clock_offset
        What an earlier client of the same service found, to begin with.

    Raises
    ------
    ConfigError
        Making one: a key no header can carry, or an environment whose proxy or certificates cannot be used.
    RequestRejected
        The service said no; the subclass says who has to act.
    ServiceBroken
        It failed, or answered outside its contract.
    Unreachable
        The request did not arrive.
    OutcomeUnknown
        A call that changes something left and no answer came.

    Examples
    --------
    >>> async with Client(access_key, secret_key) as client:  # doctest: +SKIP
    ...     job = (await client.list_jobs(name="daily_sales")).items[0]
    ...     run = await client.execute_job(job.job_id, job.condition, {"$table_name": "test.sample_table2"})

    Notes
    -----
    Redirects are not followed, since they would change the signed target. Every call raises as listed above.
    Source of every operation: ``api.ncloud-docs.com/docs/analytics-dataflow`` and its pages, read 2026-11.
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
    ) -> None:
        secret = secret_key if isinstance(secret_key, SecretStr) else SecretStr(secret_key)
        self.endpoint = endpoint.rstrip("/")
        self._auth = SignedAuth(access_key, secret, now=now, clock_offset=clock_offset)
        address = httpx.URL(self.endpoint)
        is_loopback_address = is_loopback(self.endpoint)
        if is_loopback_address and address.scheme == "http":
            # Nothing is encrypted, and to read the certificates of the world takes some 50 ms. This trusts nobody.
            verify: ssl.SSLContext | bool = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            verify = _certificates(os.environ)
        try:
            self._http = httpx.AsyncClient(
                base_url=address,
                auth=self._auth,
                headers={"accept": "application/json", "user-agent": "dataflow-magic"},
                timeout=httpx.Timeout(connect=10.0, read=timeout, write=timeout, pool=10.0),
                transport=transport,
                verify=verify,
                trust_env=not is_loopback_address,  # a proxy has no way to this machine's loopback
                follow_redirects=False,
            )
        except (ValueError, ImportError, httpx.InvalidURL):
            # Without the reason, which may quote the proxy's password.
            raise errors.ConfigError(
                "the proxy the environment names cannot be used; check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and "
                "NO_PROXY (for a SOCKS proxy, also that socksio is installed)"
            ) from None

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
        await self._http.aclose()

    @property
    def clock_offset(self) -> float:
        """Seconds the service's clock is ahead of this machine's; see `SignedAuth.clock_offset`."""
        return self._auth.clock_offset

    def service_time(self, moment: float) -> float:
        """Return the service's time at a moment of this machine's clock; see `SignedAuth.service_time`."""
        return self._auth.service_time(moment)

    async def execute_job(
        self,
        job_id: str,
        condition: JobCondition | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        *,
        trigger_id: str | None = None,
        workflow_id: str | None = None,
    ) -> JobExecution:
        """Start a run: ``POST /jobs/{jobId}/executions`` (executeJob, now createJobExecution).

        Parameters
        ----------
        condition
            Sent as it is. The executeJob page requires ``nrn``, ``scriptPath`` and ``logPath`` in it.
        parameters
            Sent as they are, so with the ``$`` of the page's example in each name; a secret one by its value, which
            neither the answer nor an error tells.

        Raises
        ------
        OutcomeUnknown
            The request left and no answer came, or none that tells the run: it is not repeated, since that could
            start a second run.
        """
        query = {"triggerId": trigger_id, "workflowId": workflow_id}
        body = execution_body(condition, parameters)
        execution = await self._change(JobExecution, f"/jobs/{_segment(job_id)}/executions", body, query)
        return masked(execution, parameters or {})

    async def get_execution(self, job_id: str, execution_id: str) -> JobExecution:
        """Return one run: ``GET /jobs/{jobId}/executions/{executionId}``."""
        return _read(
            JobExecution, await self._get(f"/jobs/{_segment(job_id)}/executions/{_segment(execution_id)}")
        )

    async def list_executions(self, job_id: str, *, page: int = 0, limit: int = 1000) -> Page[JobExecution]:
        """Return one page of a job's runs; the vendor names no order."""
        answer = await self._get(f"/jobs/{_segment(job_id)}/executions", {"page": page, "limit": limit})
        return _read(Page[JobExecution], answer)

    async def cancel_execution(self, job_id: str, execution_id: str) -> bool:
        """Ask for the end of a run: ``POST .../cancel``; True means asked, the state says when it is over."""
        path = f"/jobs/{_segment(job_id)}/executions/{_segment(execution_id)}/cancel"
        # Asking twice ends the same run once, so this may be repeated like a read.
        return (await self._repeat("POST", path)).content.strip() != b"false"

    async def get_job(self, job_id: str) -> Job:
        """Return one job: ``GET /jobs/{jobId}``."""
        return _read(Job, await self._get(f"/jobs/{_segment(job_id)}"))

    async def list_jobs(self, *, name: str | None = None, page: int = 0, limit: int = 1000) -> Page[Job]:
        """Return one page of jobs; ``name`` narrows it, by a rule the vendor does not print."""
        return _read(Page[Job], await self._get("/jobs", {"name": name, "page": page, "limit": limit}))

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
            body["jobCondition"] = _given(condition.to_wire())
        return await self._change(Job, "/jobs", body)

    async def update_job(
        self,
        job_id: str,
        *,
        type: str = "SCRIPT",  # noqa: A002 - the wire's word
        condition: JobCondition,
    ) -> Job:
        """Lay a condition over the one a job stores: ``PATCH /jobs/{jobId}`` (updateJob).

        A service without that is asked by ``PUT /jobs/{jobId}/executions`` (updateJobExecutionConfig), which older
        pages have too.

        Parameters
        ----------
        type
            The job's own; the page requires it.
        condition
            What is None is kept. The older pages require ``nrn``, ``scriptPath`` and ``logPath``.
        """
        path, settings = f"/jobs/{_segment(job_id)}", {"jobCondition": _given(condition.to_wire())}
        # Asking twice changes the same once, so this may be repeated like a read.
        try:
            return _read(Job, await self._repeat("PATCH", path, body={"type": type, **settings}))
        except errors.RequestRejected as error:
            # The service's own 404 is of a job that is not there; the gateway's of an address.
            if error.status not in {404, 405} or error.code == "not-found":
                raise
        return _read(Job, await self._repeat("PUT", f"{path}/executions", body=settings))

    async def pages(
        self, job_id: str, *, limit: int = 1000, most: int = 20
    ) -> AsyncIterator[Page[JobExecution]]:
        """Yield the pages of a job's runs until one is short, at most ``most`` of them."""
        for number in range(most):
            page = await self.list_executions(job_id, page=number, limit=limit)
            yield page
            if page.is_last(limit):
                return

    async def news(
        self, job_id: str, marks: Mapping[str, int | None], *, limit: int = 1000, most: int = 20
    ) -> AsyncIterator[list[News]]:
        """Yield what the pages of a job's runs tell of some of them, at most ``most`` pages.

        A run that is told as before is not read again: of a thousand that go on, hardly one has changed since the last
        poll.

        Parameters
        ----------
        marks
            By id, the mark a run was last told with, or None; other runs are left out.
        """

        def read(fields: dict[str, Any]) -> object:
            # While the page is parsed, so that its thousand objects never are there at once: collecting them stops all.
            run_id = fields.get("jobExecutionId")
            if not isinstance(run_id, str):
                return fields
            if run_id not in marks:
                return None
            mark = hash(repr(fields))
            return News(run_id, mark, None) if mark == marks[run_id] else (run_id, mark, fields)

        for number in range(most):
            answer = await self._get(f"/jobs/{_segment(job_id)}/executions", {"page": number, "limit": limit})
            page = _read(Page[Any], answer, read)
            yield [
                item
                if isinstance(item, News)
                else News(item[0], item[1], _model(JobExecution, item[2], answer))
                for item in page.items
                if isinstance(item, tuple)
            ]
            if page.is_last(limit):
                return

    async def local_objects(self) -> Path | None:
        """Return the folder a local service keeps its objects in; None where the service is not a local one."""
        try:
            answer = await self._repeat("GET", "/local/v1/service", api="")
            return Path(answer.json()["objects"])
        except (errors.RequestRejected, ValueError, TypeError, KeyError, RecursionError):
            return None

    async def local_progress(self, job_id: str, execution_id: str) -> Progress | None:
        """Return how far a run of a local service is; None where the service is not a local one, or knows no such run.

        Raises
        ------
        ServiceError
            It gives no answer.
        """
        path = f"/local/v1/jobs/{_segment(job_id)}/executions/{_segment(execution_id)}/progress"
        try:
            told = (await self._repeat("GET", path, api="")).json()
            return Progress(
                stages_done=int(told["stagesDone"]),
                stages_total=int(told["stagesTotal"]),
                tasks_done=int(told["tasksDone"]),
                tasks_total=int(told["tasksTotal"]),
                attempts_failed=int(told["tasksFailed"]),
                doing=", ".join(str(stage["name"]) for stage in told["running"]),
            )
        except (errors.RequestRejected, ValueError, TypeError, KeyError, RecursionError):
            return None

    async def _get(self, path: str, query: Mapping[str, Any] | None = None) -> httpx.Response:
        return await self._repeat("GET", path, query)

    async def _repeat(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        api: str = API,
    ) -> httpx.Response:
        """Send what may be sent again."""
        request = self._request(method, api + path, query, body)
        async for attempt in stamina.retry_context(
            on=_worth_repeating, attempts=ATTEMPTS, timeout=RETRY_SECONDS
        ):
            with attempt:
                try:
                    return await self._send(request, body)
                except httpx.RequestError as error:
                    raise errors.Unreachable(self._no_answer(error)) from error
        raise AssertionError("a retry loop returns or raises")  # pragma: no cover

    async def _change(
        self, model: type[M], path: str, body: Mapping[str, Any], query: Mapping[str, Any] | None = None
    ) -> M:
        """Send what must not be carried out twice: again only when it certainly did not arrive."""
        request = self._request("POST", API + path, query, body)
        async for attempt in stamina.retry_context(
            on=_worth_repeating, attempts=ATTEMPTS, timeout=RETRY_SECONDS
        ):
            with attempt:
                try:
                    return _read(model, await self._send(request, body))
                except NOT_SENT as error:
                    raise errors.Unreachable(self._no_answer(error)) from error
                except httpx.RequestError as error:
                    raise errors.OutcomeUnknown(self._lost_answer(type(error).__name__)) from error
                except errors.ServiceBroken as error:
                    # Also where the request was taken and the answer does not tell the run.
                    raise errors.OutcomeUnknown(self._lost_answer(str(error))) from error
        raise AssertionError("a retry loop returns or raises")  # pragma: no cover

    def _request(
        self, method: str, path: str, query: Mapping[str, Any] | None, body: Mapping[str, Any] | None
    ) -> httpx.Request:
        return self._http.build_request(
            method,
            path,
            # httpx sends a None as an empty value, which would be signed and refused.
            params=_given(query or {}) or None,
            # The encoded body has no name here: a traceback with its variables would show its secrets.
            content=None if body is None else encode(body),
            headers={} if body is None else {"content-type": "application/json"},
        )

    async def _send(self, request: httpx.Request, body: Mapping[str, Any] | None) -> httpx.Response:
        """Send a request once; `SignedAuth` repeats it after a correction of the clock."""
        try:
            response = await self._http.send(request)
        except httpx.InvalidURL as error:
            # httpx parses the address of a redirect even where it does not follow it.
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        if not response.is_success:
            raise_for(_without_secrets(response, body), self._auth.service_now())
        return response

    def _no_answer(self, error: httpx.RequestError) -> str:
        advice = "check that it is up and the network too"
        if isinstance(error, httpx.ProxyError):
            advice = "the proxy refused; check HTTPS_PROXY and NO_PROXY, and what the proxy lets through"
        elif "CERTIFICATE_VERIFY_FAILED" in str(error):
            advice = "its certificate is not trusted here; SSL_CERT_FILE may name those to trust"
        return f"no answer from {self.endpoint} ({type(error).__name__}: {error}); {advice}"

    def _lost_answer(self, what: str) -> str:
        return (
            f"the request went to {self.endpoint} and its answer was lost ({what}): it may or may not have been "
            "carried out. It is not sent again by itself; look at the job's runs before you do."
        )


def execution_body(
    condition: JobCondition | None, parameters: Mapping[str, Parameter] | None
) -> dict[str, Any]:
    """Return the body of executeJob, its fields in the page's order, without what nobody set."""
    body: dict[str, Any] = {}
    if condition is not None:
        body["jobCondition"] = _given(condition.to_wire())
    if parameters:
        body["parameters"] = dict(parameters)
    return body


def encode(body: Mapping[str, Any]) -> bytes:
    """Return the bytes of a JSON body: UTF-8, compact, order kept."""
    return json.dumps(
        body, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_revealed
    ).encode()


def as_curl(
    endpoint: str, path: str, body: Mapping[str, Any], query: Mapping[str, Any], access_key: str
) -> str:
    """Return a POST as a curl command with the access key masked and the signature left out."""
    given = _given(query)
    url = f"{endpoint}{API}{path}"
    if given:
        url += "?" + str(httpx.QueryParams(given))
    data = json.dumps(body, ensure_ascii=False, indent=2, default=repr)
    words = [
        f"curl --request POST {shlex.quote(url)}",
        f"--header '{TIMESTAMP_HEADER}: <milliseconds since 1970>'",
        f"--header '{ACCESS_KEY_HEADER}: {mask(access_key)}'",
        f"--header '{SIGNATURE_HEADER}: <redacted>'",
        "--header 'content-type: application/json'",
        f"--data {shlex.quote(data)}",
    ]
    return " \\\n  ".join(words)


def _certificates(environment: Mapping[str, str]) -> ssl.SSLContext | bool:
    """Return which certificates to trust; httpx reads the folder only without a file, and neither for loopback."""
    file, folder = environment.get("SSL_CERT_FILE") or None, environment.get("SSL_CERT_DIR") or None
    if not (file or folder):
        return True
    try:
        return ssl.create_default_context(cafile=file, capath=folder)
    except OSError as error:
        raise errors.ConfigError(
            f"cannot read the certificates of SSL_CERT_FILE={file} ({error.strerror or error})"
        ) from None


def _revealed(value: object) -> str:
    if not isinstance(value, Secret):
        raise TypeError(f"{type(value).__name__} is no JSON")
    text = value.reveal()
    if text is None:
        raise errors.CellError("the value of a secret parameter is not known in this process")
    return text


def _without_secrets(response: httpx.Response, body: Mapping[str, Any] | None) -> httpx.Response:
    """Return an answer that quotes no secret of what it answers: before its words are cut and put on one line."""
    parameters = (body or {}).get("parameters") or {}
    if not secret_names(parameters):
        return response
    text = masked_text(response.content.decode(errors="replace"), parameters)
    return httpx.Response(
        response.status_code,
        headers={name: value for name, value in response.headers.items() if name not in _OF_BYTES},
        content=text.encode(),
        request=response.request,
    )


_OF_BYTES = frozenset({"content-encoding", "content-length", "content-type", "transfer-encoding"})


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _segment(text: str) -> str:
    """Return an id fit for a path: escaped, so no id can change which address is called."""
    if not text or text in {".", ".."}:
        raise errors.CellError(f"{text!r} is not an id")
    return quote(text, safe="")


def _read(
    model: type[M], response: httpx.Response, hook: Callable[[dict[str, Any]], object] | None = None
) -> M:
    try:
        fields = response.json(object_hook=hook)
    except (ValueError, RecursionError) as error:
        raise _no_contract(model, response, error) from None
    return _model(model, fields, response)


def _model(model: type[M], fields: Any, response: httpx.Response) -> M:
    try:
        return model.model_validate(fields)
    except (ValueError, RecursionError) as error:  # pydantic's own is a ValueError
        raise _no_contract(model, response, error) from None


def _no_contract(model: type[BaseModel], response: httpx.Response, error: Exception) -> errors.ServiceBroken:
    kind = type(error).__name__
    return errors.ServiceBroken(
        f"the service answered {response.status_code} with something that is not a {model.__name__} ({kind})",
        status=response.status_code,
    )


def _worth_repeating(error: Exception) -> bool | float:
    """Say whether to send a request again, or after how many seconds; stamina's hook."""
    match error:
        case errors.TooManyRequests() | errors.ServiceBroken():
            after = error.retry_after
            return after is None or (after <= RETRY_SECONDS and after)
        case errors.Unreachable():
            return True
    return False
