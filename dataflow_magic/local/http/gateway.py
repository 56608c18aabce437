"""The gateway in front of the local service: passes requests with a valid signature, refuses others in its own shape."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from types import MappingProxyType
from typing import NoReturn

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataflow_magic.local.http.faults import NO_EFFECTS, Faults
from dataflow_magic.local.http.responses import GatewayResponse
from dataflow_magic.local.keys import Keys
from dataflow_magic.signing import ACCESS_KEY_HEADER, MAX_SKEW_MS, SIGNATURE_HEADER, TIMESTAMP_HEADER, verify

__all__ = ["Gateway", "HangUp", "cut", "gateway_error", "names_this_service"]

HangUp = Callable[[Scope, Receive], Awaitable[None]]

PUBLIC = frozenset({b"/local/v1/health", b"/local/v1/openapi.json"})
"""Addresses that need no signature: they hold nothing private, and the tools that read them cannot sign."""

HOST = re.compile(
    r"(?:(?P<name>localhost)|(?P<v4>[0-9.]+)|\[(?P<v6>[0-9a-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)
LOOPBACK = IPv4Network("127.0.0.0/8")

MAX_HEAD = 16 << 10
"""Limit of a request's target and headers, bytes; more is a 413, as for a body."""

ERRORS = MappingProxyType(
    {
        401: ("200", "Authentication Failed"),
        403: ("210", "Permission Denied"),
        404: ("300", "Not Found Exception"),
        413: ("430", "Request Entity Too Large"),
        429: ("400", "Quota Exceeded"),
        500: ("900", "Unexpected Error"),
        503: ("500", "Endpoint Error"),
        504: ("510", "Endpoint Timeout"),
    }
)
"""Code and message of each status. Source: the vendor's table of gateway errors."""


class Gateway:
    """Refuses requests without a valid signature, and passes the others to an application with their raw target.

    Parameters
    ----------
    faults
        Faults of requests to the vendor's API; the local service's own API has none.
    hang_up
        Closes a request's connection without a response.
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
        """Respond as an ASGI application, to requests only: there is no lifespan and no web socket."""
        if not names_this_service(scope):
            wrong_host = gateway_error(403, "The Host header names no address of this service.")
            await wrong_host(scope, receive, _dated(send, self._clock()))
            return
        request = scope["method"], scope["path"]
        has_faults = scope["path"].startswith("/api/")
        now = self._clock() + (self._faults.skew_seconds(*request) if has_faults else 0)
        send = _dated(send, now)
        if refusal := self._refusal(scope, now):
            await refusal(scope, receive, send)
            return
        effects = self._faults.strike(*request) if has_faults else NO_EFFECTS
        scope["effects"] = effects
        if effects.latency_seconds:
            await asyncio.sleep(effects.latency_seconds)
        if effects.status:
            await _requested_error(effects.status, effects.retry_after)(scope, receive, send)
        elif effects.is_lost:
            await self._app(scope, receive, _discard)
            await self._hang_up(scope, receive)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, now: float) -> Response | None:
        if _head_size(scope) > MAX_HEAD:
            return gateway_error(413, f"The address and the headers are over {MAX_HEAD} bytes.")
        if scope["raw_path"] in PUBLIC:
            return None
        details = self._signature_error(scope, now)
        return gateway_error(401, details) if details else None

    def _signature_error(self, scope: Scope, now: float) -> str:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        names = (TIMESTAMP_HEADER, ACCESS_KEY_HEADER, SIGNATURE_HEADER)
        timestamp, access_key, signature = (headers.get(name, "") for name in names)
        if not (timestamp and access_key and signature):
            return "Authentication information are missing."
        query = scope["query_string"]
        # The raw bytes: the client signs the path before it is decoded.
        target = scope["raw_path"] + (b"?" + query if query else b"")
        is_valid = (
            timestamp.isascii()
            and timestamp.isdigit()
            and len(timestamp) < 20
            and abs(int(timestamp) - now * 1000) <= MAX_SKEW_MS
            and access_key == self._keys.access_key
            and verify(signature, scope["method"], target, int(timestamp), access_key, self._keys.secret_key)
        )
        return "" if is_valid else "Invalid authentication information."


def names_this_service(scope: Scope) -> bool:
    """Return whether a request has one Host header, with a loopback name or the address and port that took the request.

    A page of a browser may reach the service by a name of its own that leads to this machine (DNS rebinding); its requests
    then have that name. No user name, zone, final dot or empty port is accepted.
    """
    hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
    found = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if found is None:
        return False
    port = int(found["port"] or 80)
    if found["name"]:
        return port < 65536
    try:
        address = IPv6Address(found["v6"]) if found["v6"] else IPv4Address(found["v4"])
    except ValueError:
        return False
    is_loopback = address in LOOPBACK if address.version == 4 else address == IPv6Address("::1")
    return (port < 65536 and is_loopback) or (str(address), port) == tuple(scope["server"] or ())


def gateway_error(status: int, details: str) -> Response:
    """Return the gateway's response of an error status."""
    code, message = ERRORS[status]
    content: GatewayResponse = {"error": {"errorCode": code, "message": message, "details": details}}
    return JSONResponse(content, status)


async def cut(scope: Scope, receive: Receive) -> NoReturn:  # noqa: ARG001 - a HangUp
    """Hang up where there is no connection: the caller in this process gets the error."""
    raise ConnectionResetError("the response is lost: a requested fault")


async def _discard(message: Message) -> None:
    """Send nothing."""


def _dated(send: Send, now: float) -> Send:
    """Return a `send` that dates responses by the gateway's clock, which a fault may have set wrong."""

    async def dated(message: Message) -> None:
        if message["type"] == "http.response.start":
            date = formatdate(now, usegmt=True).encode()
            message = {**message, "headers": [*message["headers"], (b"date", date)]}
        await send(message)

    return dated


def _requested_error(status: int, retry_after: int | None) -> Response:
    response = gateway_error(status, "A requested fault.")
    if retry_after is not None:
        response.headers["retry-after"] = str(retry_after)
    return response


def _head_size(scope: Scope) -> int:
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return len(scope["raw_path"]) + len(scope["query_string"]) + headers
