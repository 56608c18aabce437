"""Sends signed requests to one service over httpx, and again where that is safe. Knows no operation of the API."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol
from urllib.request import getproxies

import httpx
import stamina
from pydantic import SecretStr

from dataflow_magic import errors
from dataflow_magic.client.auth import SIGNED, SignedAuth
from dataflow_magic.client.bounds import CONNECT_SECONDS, OverBound, bound, most_seconds
from dataflow_magic.client.proxies import proxy_of
from dataflow_magic.client.responses import is_refusal, raise_for
from dataflow_magic.config.credentials import mask
from dataflow_magic.config.settings import is_loopback
from dataflow_magic.models.attempt import ANSWERED, LOST_ATTEMPT, UNSENT, Attempt
from dataflow_magic.models.secret import Secret, masked_text, secret_names
from dataflow_magic.signing import ACCESS_KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER

__all__ = ["API", "AttemptLog", "Sender", "Transport", "as_curl", "certificates", "given"]

API = "/api/v1"
ATTEMPTS = 4
"""Per call, the first included; together at most `RETRY_SECONDS`."""
RETRY_SECONDS = 15.0

Transport = httpx.AsyncBaseTransport
"""Where requests go: the network, an ASGI application, or a fake."""

_LOG: Final = "dataflow_magic.attempts"
"""Extension of a request: the `AttemptLog` that each of its attempts goes to."""
_ATTEMPT: Final = "dataflow_magic.attempt"
"""Extension of a request: its attempt that has not ended."""
_COUNT: Final = "dataflow_magic.attempts_count"
"""Extension of a request: how many attempts it was so far."""


class AttemptLog(Protocol):
    """Keeps the attempts of one request that must not be carried out twice."""

    async def write(self, attempt: Attempt) -> None:
        """Write an attempt that is signed and not sent yet; where that fails, it is not sent."""

    def note(self, attempt: Attempt) -> None:
        """Note how an attempt ended; its number says which."""


# httpx raises ProxyError only when a proxy opens no tunnel; the refusal of a forwarding proxy is a response.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

_OF_CONTENT = frozenset({"content-encoding", "content-length", "content-type", "transfer-encoding"})
"""Headers that describe the bytes of a response."""

# stamina logs each retry as a warning, which Python prints into a cell unless a handler takes it.
logging.getLogger("stamina").addHandler(logging.NullHandler())


class Sender:
    """Send requests to one service; the parameters and the errors are those of `Client`."""

    def __init__(
        self,
        access_key: str,
        secret_key: SecretStr,
        endpoint: str,
        *,
        transport: Transport | None,
        now: Callable[[], float],
        timeout: float,
        clock_offset: float,
        steady: Callable[[], float] | None = None,
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._seconds = most_seconds(timeout)
        self.auth = SignedAuth(access_key, secret_key, now=now, clock_offset=clock_offset, steady=steady)
        is_local = is_loopback(self.endpoint)
        # A proxy cannot reach this machine's loopback.
        proxy = None if is_local or transport is not None else proxy_of(self.endpoint, getproxies())
        if is_local and httpx.URL(self.endpoint).scheme == "http":
            # Plain http needs no certificates, and reading the system's takes 50 ms. This context trusts none.
            verify: ssl.SSLContext | bool = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            verify = certificates(os.environ)
        try:
            self._http = httpx.AsyncClient(
                base_url=self.endpoint,
                auth=self.auth,
                headers={
                    "accept": "application/json",
                    "accept-encoding": "gzip",
                    "user-agent": "dataflow-magic",
                },
                timeout=httpx.Timeout(timeout, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS),
                event_hooks={"request": [self._write_attempt], "response": [bound]},
                transport=transport,
                verify=verify,
                proxy=proxy,
                trust_env=False,
                follow_redirects=False,
            )
        except (ValueError, ImportError, httpx.InvalidURL):
            # Without httpx's message, which may quote the proxy's password.
            raise errors.ConfigError(
                "the proxy in the environment cannot be used; check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY "
                "(a SOCKS proxy also needs the package socksio)"
            ) from None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        is_repeatable: bool,
        attempts: AttemptLog | None = None,
    ) -> httpx.Response:
        """Return the successful response to a request.

        Parameters
        ----------
        path
            Of the endpoint, with its escapes.
        query, body
            A query value of None is left out; the body is sent as JSON.
        is_repeatable
            Whether the service may carry out the request twice. If so, it is also sent again after a lost response or
            a failure of the service; if not, only when it certainly did not arrive.
        attempts
            Keeps each attempt, before it is sent and when it ended.

        Raises
        ------
        RequestRejected, ServiceBroken, Unreachable, OutcomeUnknown
            The first three after the last attempt; OutcomeUnknown only for a request that is not repeatable.
        """
        request = self._http.build_request(
            method,
            path,
            # httpx sends a None as an empty value, and the gateway refuses that.
            params=given(query or {}) or None,
            # The encoded body gets no name: a traceback with its variables would show the secrets in it.
            content=None if body is None else _encoded(body),
            headers={} if body is None else {"content-type": "application/json"},
            extensions={} if attempts is None else {_LOG: attempts},
        )
        try:
            async for attempt in stamina.retry_context(
                on=_retry_after, attempts=ATTEMPTS, timeout=RETRY_SECONDS
            ):
                with attempt:
                    return await self._attempt(request, body, is_repeatable=is_repeatable)
        except OverBound as error:  # not retried: the next response would be no smaller
            if not is_repeatable:
                raise self.lost_response(str(error)) from error
            raise errors.ServiceBroken(
                f"{error}; check that {self.endpoint} is a Data Flow service", status=error.status
            ) from error
        raise AssertionError("a retry loop returns or raises")  # pragma: no cover

    def lost_response(self, reason: str) -> errors.OutcomeUnknown:
        """Return the error for a request that the service may have carried out."""
        return errors.OutcomeUnknown(
            f"the response from {self.endpoint} was lost ({reason}): the service may or may not have carried out the "
            "request. It is not sent again automatically; check the job's runs before you send it again."
        )

    async def _attempt(
        self, request: httpx.Request, body: Mapping[str, Any] | None, *, is_repeatable: bool
    ) -> httpx.Response:
        """Send the request once; raise OutcomeUnknown where it may not be repeated and may have been carried out."""
        try:
            response = await self._send_once(request, body)
        except httpx.RequestError as error:
            is_unsent = isinstance(error, _NOT_SENT)
            self._note(request, UNSENT if is_unsent else LOST_ATTEMPT)
            if is_repeatable or is_unsent:
                raise errors.Unreachable(self._no_answer(error)) from error
            raise self.lost_response(type(error).__name__) from error
        except (errors.ServiceBroken, errors.RequestRejected) as error:
            code = error.code if isinstance(error, errors.RequestRejected) else ""
            is_refused = is_refusal(error.status, code)
            self._note(request, UNSENT if is_refused else LOST_ATTEMPT)
            if is_repeatable or is_refused:
                raise
            raise self.lost_response(str(error)) from error
        self._note(request, ANSWERED)
        return response

    async def _write_attempt(self, request: httpx.Request) -> None:
        """Write the attempt that a request is from now on; httpx calls this after it was signed, each time."""
        log = request.extensions.get(_LOG)
        if log is None:
            return
        before = request.extensions.get(_ATTEMPT)
        if before is not None:  # it was refused for its clock, and is signed again
            self._note(request, UNSENT)
        number = request.extensions.get(_COUNT, 0) + 1
        attempt = replace(request.extensions[SIGNED], number=number)
        request.extensions |= {_COUNT: number, _ATTEMPT: attempt}
        await log.write(attempt)

    def _note(self, request: httpx.Request, outcome: str) -> None:
        attempt = request.extensions.pop(_ATTEMPT, None)
        if attempt is not None:
            now, steady = round(self.auth.clock.now() * 1e6), round(self.auth.clock.steady() * 1e6)
            ended = replace(attempt, ended_us=now, ended_steady_us=steady, outcome=outcome)
            request.extensions[_LOG].note(ended)

    async def _send_once(self, request: httpx.Request, body: Mapping[str, Any] | None) -> httpx.Response:
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._http.send(request)
        except TimeoutError:  # the timeouts of httpx are per read, and a body may arrive byte by byte
            raise OverBound(f"the response did not end within {self._seconds:g} s, the limit") from None
        except httpx.InvalidURL as error:
            # httpx parses the address of a redirect even where it does not follow it.
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        if not response.is_success:
            raise_for(_without_secrets(response, body), self.auth.service_now())
        return response

    def _no_answer(self, error: httpx.RequestError) -> str:
        advice = "check that the service is running and the network reaches it"
        if isinstance(error, httpx.ProxyError):
            advice = "the proxy refused; check HTTPS_PROXY and NO_PROXY, and what the proxy allows"
        elif "CERTIFICATE_VERIFY_FAILED" in str(error):
            advice = "its certificate is not trusted; name the certificates to trust in SSL_CERT_FILE"
        return f"no answer from {self.endpoint} ({type(error).__name__}: {error}); {advice}"


def as_curl(
    endpoint: str, path: str, body: Mapping[str, Any], query: Mapping[str, Any], access_key: str
) -> str:
    """Return a POST as a curl command, with the access key masked and the signature left out."""
    parameters = given(query)
    url = f"{endpoint}{API}{path}" + (f"?{httpx.QueryParams(parameters)}" if parameters else "")
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


def certificates(environment: Mapping[str, str]) -> ssl.SSLContext | bool:
    """Return the certificates to trust for httpx: those of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, else True.

    httpx itself reads the folder only where no file is named, and neither for loopback.
    """
    file, folder = environment.get("SSL_CERT_FILE") or None, environment.get("SSL_CERT_DIR") or None
    if not (file or folder):
        return True
    try:
        return ssl.create_default_context(cafile=file, capath=folder)
    except OSError as error:
        raise errors.ConfigError(
            f"cannot read the certificates of SSL_CERT_FILE={file} ({error.strerror or error})"
        ) from None


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(
        body, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_revealed
    ).encode()


def _revealed(value: object) -> str:
    if not isinstance(value, Secret):
        raise TypeError(f"{type(value).__name__} is no JSON")
    text = value.reveal()
    if text is None:
        raise errors.CellError("the value of a secret parameter is not known in this process")
    return text


def _without_secrets(response: httpx.Response, body: Mapping[str, Any] | None) -> httpx.Response:
    """Return a response that quotes no secret of the request, before its words are cut and joined into one line."""
    parameters = (body or {}).get("parameters") or {}
    if not secret_names(parameters):
        return response
    text = masked_text(response.content.decode(errors="replace"), parameters)
    return httpx.Response(
        response.status_code,
        headers={name: value for name, value in response.headers.items() if name not in _OF_CONTENT},
        content=text.encode(),
        request=response.request,
    )


def _retry_after(error: Exception) -> bool | float:
    """Return whether to send a request again, or after how many seconds; stamina's hook."""
    match error:
        case errors.TooManyRequests() | errors.ServiceBroken():
            after = error.retry_after
            return after is None or (after <= RETRY_SECONDS and after)
        case errors.Unreachable():
            return True
    return False
