"""What one response may cost, and its reading within that: bytes, values, nesting, items and time. Knows no operation.

A service is another program, perhaps not a Data Flow service at all: its response must not take the kernel's memory or hold a
call for ever.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

__all__ = ["MOST_RETRY_AFTER", "OverBound", "bound", "check_items", "most_seconds", "read_json"]

MOST_BYTES = 64 * 2**20
"""Of a body, decoded. A page of 1,000 runs takes 1 MB; the rest is room for long parameters."""
MOST_VALUES = 1_000_000
"""Of a JSON text, counted at commas and opening brackets. A page of 1,000 runs has 30,000; each value takes up to 100 bytes."""
MOST_NESTING = 64
"""Levels of a JSON text. The API's responses have five; code that writes them again fails beyond some hundreds."""
MOST_ITEMS = 10_000
"""Of a page: ten times the longest this package asks for, since a service may ignore the limit it is asked for."""
MOST_RETRY_AFTER = 300.0
"""Seconds a service can hold back the next request by Retry-After: the time after which refused keys are tried again in the
cloud. A quota that lasts longer costs one request in five minutes."""

CONNECT_SECONDS = 10.0
"""Until a connection is free, and again until it is open."""

_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b'"[]{}'))


class OverBound(ValueError):
    """A response is over one of the bounds; the message names it."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


def most_seconds(timeout: float) -> float:
    """Return the seconds of one attempt: connecting, then the timeout for the request, for the response's head and its body."""
    return 2 * CONNECT_SECONDS + 3 * timeout


async def bound(response: httpx.Response) -> None:
    """Let the body of a response be read only up to `MOST_BYTES`; a response hook of httpx.

    The body is also unpacked here: httpx unpacks a whole chunk at once, whatever comes out of it.
    """
    packing = response.headers.pop("content-encoding", "").strip().lower()
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - of an AsyncClient
    response.stream = _Bounded(response.stream, response, is_packed=packing in {"gzip", "x-gzip", "deflate"})


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, response: httpx.Response, *, is_packed: bool) -> None:
        self._stream = stream
        self._response = response
        self._is_packed = is_packed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # In one piece: a list of pieces of one byte each would take many times their size.
        content = bytearray()
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32) if self._is_packed else None
        async for chunk in self._stream:
            try:
                content += unpacker.decompress(chunk, MOST_BYTES + 1 - len(content)) if unpacker else chunk
            except zlib.error as error:
                raise httpx.DecodingError(str(error), request=self._response.request) from error
            if len(content) > MOST_BYTES:
                raise OverBound(
                    f"the response is larger than {MOST_BYTES // 2**20} MiB, the limit",
                    status=self._response.status_code,
                )
        yield bytes(content)

    async def aclose(self) -> None:
        await self._stream.aclose()


def read_json(content: bytes, hook: Callable[[dict[str, Any]], object] | None = None) -> Any:
    """Return the JSON in a body; `hook` may replace each object while it is parsed.

    Raises
    ------
    OverBound
        It has too many values or nests too deep.
    ValueError, RecursionError
        It is no JSON in UTF-8, which is the only encoding of JSON between systems (RFC 8259, section 8.1).
    """
    if content.count(b",") + content.count(b"[") + content.count(b"{") > MOST_VALUES:
        raise OverBound(f"the response has more than {MOST_VALUES:,} values, the limit")
    if _is_too_deep(content):
        raise OverBound(f"the response nests deeper than {MOST_NESTING} levels, the limit")
    return json.loads(content.decode("utf-8-sig"), object_hook=hook)


def check_items(count: int, limit: int = 0) -> None:
    """Raise `OverBound` for a page with more than `MOST_ITEMS` items, or than were asked for where that is more."""
    most = max(MOST_ITEMS, limit)
    if count > most:
        raise OverBound(f"the page has more than {most:,} items, the limit")


def _is_too_deep(content: bytes) -> bool:
    """Whether brackets nest deeper than `MOST_NESTING`, at the speed of C; text that is no JSON may pass."""
    bare = content.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_TO_BRACKETS, _NO_BRACKETS)
    # Two adjacent quotes enclose no bracket, or end one string and begin the next.
    brackets = re.sub(rb'"[^"]*"', b"", bare.replace(b'""', b""))
    for _ in range(MOST_NESTING):
        outer = brackets.replace(b"[]", b"")
        if len(outer) == len(brackets):
            return False
        brackets = outer
    return b"[]" in brackets
