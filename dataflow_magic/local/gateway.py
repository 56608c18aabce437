"""The gateway before the local service: lets through what is signed right, and says no in a shape of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dataflow_magic.signing import ACCESS_KEY_HEADER, MAX_SKEW_MS, SIGNATURE_HEADER, TIMESTAMP_HEADER, verify

__all__ = ["Gateway", "Keys", "gateway_error"]

PUBLIC = frozenset({b"/local/v1/openapi.json"})
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
    """Answers what is not signed right; what is, goes on with its raw target untouched."""

    def __init__(self, app: ASGIApp, keys: Keys, clock: Callable[[], float]) -> None:
        self._app = app
        self._keys = keys
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        if _head_size(scope) > MAX_HEAD:
            return gateway_error(413, f"The address and the headers are over {MAX_HEAD} bytes.")
        if scope["raw_path"] in PUBLIC:
            return None
        details = self._distrust(scope)
        return gateway_error(401, details) if details else None

    def _distrust(self, scope: Scope) -> str:
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
            and abs(int(timestamp) - self._clock() * 1000) <= MAX_SKEW_MS
            and access_key == self._keys.access_key
            and verify(signature, scope["method"], target, int(timestamp), access_key, self._keys.secret_key)
        )
        return "" if good else "Invalid authentication information."


def gateway_error(status: int, details: str) -> Response:
    """Return how the gateway says no."""
    code, message = ERRORS[status]
    return JSONResponse({"error": {"errorCode": code, "message": message, "details": details}}, status)


def _head_size(scope: Scope) -> int:
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return len(scope["raw_path"]) + len(scope["query_string"]) + headers
