"""The gateway before the local service: lets through what is signed right, and says no in a shape of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from types import MappingProxyType
from typing import NoReturn

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataflow_magic.local.http.faults import NOTHING, Faults
from dataflow_magic.signing import ACCESS_KEY_HEADER, MAX_SKEW_MS, SIGNATURE_HEADER, TIMESTAMP_HEADER, verify

__all__ = ["Gateway", "HangUp", "Keys", "cut", "gateway_error"]

HangUp = Callable[[Scope, Receive], Awaitable[None]]

PUBLIC = frozenset({b"/local/v1/health", b"/local/v1/openapi.json"})
"""What is read without a signature: it tells nothing private, and the tools that read it cannot sign."""

MAX_HEAD = 16 << 10
"""Bytes of a request's target and headers; more is the gateway's 413, as for a body."""

ERRORS = MappingProxyType(
    {
        401: ("200", "Authentication Failed"),
        404: ("300", "Not Found Exception"),
        413: ("430", "Request Entity Too Large"),
        429: ("400", "Quota Exceeded"),
        500: ("900", "Unexpected Error"),
        503: ("500", "Endpoint Error"),
        504: ("510", "Endpoint Timeout"),
    }
)
"""Code and message of each status, by the vendor's table."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The one key pair the service takes."""

    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return "Keys(...)"


class Gateway:
    """Answers what is not signed right; what is, goes on with its raw target untouched.

    Parameters
    ----------
    faults
        What befalls requests of the vendor's API; those of the local service's own are spared.
    hang_up
        Ends a request's connection without an answer.
    """

    def __init__(
        self, app: ASGIApp, keys: Keys, clock: Callable[[], float], faults: Faults, hang_up: HangUp
    ) -> None:
        self._app = app
        self._keys = keys
        self._clock = clock
        self._faults = faults
        self._hang_up = hang_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application; of requests alone, there being no lifespan and no web sockets."""
        request = scope["method"], scope["path"]
        is_spared = not scope["path"].startswith("/api/")
        now = self._clock() + (0 if is_spared else self._faults.skew_seconds(*request))
        send = _dated(send, now)
        if refusal := self._refusal(scope, now):
            await refusal(scope, receive, send)
            return
        struck = NOTHING if is_spared else self._faults.strike(*request)
        scope["struck"] = struck
        if struck.latency_seconds:
            await asyncio.sleep(struck.latency_seconds)
        if struck.status:
            await _fault(struck.status, struck.retry_after)(scope, receive, send)
        elif struck.is_lost:
            await self._app(scope, receive, _to_nobody)
            await self._hang_up(scope, receive)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, now: float) -> Response | None:
        if _head_size(scope) > MAX_HEAD:
            return gateway_error(413, f"The address and the headers are over {MAX_HEAD} bytes.")
        if scope["raw_path"] in PUBLIC:
            return None
        details = self._distrust(scope, now)
        return gateway_error(401, details) if details else None

    def _distrust(self, scope: Scope, now: float) -> str:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        names = (TIMESTAMP_HEADER, ACCESS_KEY_HEADER, SIGNATURE_HEADER)
        timestamp, access_key, signature = (headers.get(name, "") for name in names)
        if not (timestamp and access_key and signature):
            return "Authentication information are missing."
        query = scope["query_string"]
        # As it came over the wire: the decoded path is not what was signed.
        target = scope["raw_path"] + (b"?" + query if query else b"")
        good = (
            timestamp.isascii()
            and timestamp.isdigit()
            and len(timestamp) < 20
            and abs(int(timestamp) - now * 1000) <= MAX_SKEW_MS
            and access_key == self._keys.access_key
            and verify(signature, scope["method"], target, int(timestamp), access_key, self._keys.secret_key)
        )
        return "" if good else "Invalid authentication information."


def gateway_error(status: int, details: str) -> Response:
    """Return how the gateway says no."""
    code, message = ERRORS[status]
    return JSONResponse({"error": {"errorCode": code, "message": message, "details": details}}, status)


async def cut(scope: Scope, receive: Receive) -> NoReturn:  # noqa: ARG001 - as `HangUp` has it
    """Hang up where there is no connection: whoever called the application in this process gets the error."""
    raise ConnectionResetError("the reply is lost: a fault that was asked for")


async def _to_nobody(message: Message) -> None:
    """Lose what is sent."""


def _dated(send: Send, now: float) -> Send:
    """Return a way to send that dates answers by the gateway's clock, which may be off."""

    async def dated(message: Message) -> None:
        if message["type"] == "http.response.start":
            date = formatdate(now, usegmt=True).encode()
            message = {**message, "headers": [*message["headers"], (b"date", date)]}
        await send(message)

    return dated


def _fault(status: int, retry_after: int | None) -> Response:
    answer = gateway_error(status, "A fault that was asked for.")
    if retry_after is not None:
        answer.headers["retry-after"] = str(retry_after)
    return answer


def _head_size(scope: Scope) -> int:
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return len(scope["raw_path"]) + len(scope["query_string"]) + headers
