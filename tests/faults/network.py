"""Connections in memory between httpx, whose parser of HTTP stays in use, and a function that serves streams."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import httpcore
import httpx

__all__ = ["Network", "Writer"]

Serve = Callable[[asyncio.StreamReader, "Writer"], Coroutine[Any, Any, None]]


class Network(httpcore.AsyncNetworkBackend):
    """The network as one process sees it.

    Parameters
    ----------
    loop
        Where the other side runs.
    serve
        Serves each connection there, with the streams of `asyncio.start_server`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, serve: Serve) -> None:
        self._loop = loop
        self._serve = serve
        self._open: set[_Stream] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_cut = False

    def transport(self) -> httpx.AsyncHTTPTransport:
        """Return a transport over this network."""
        transport = httpx.AsyncHTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        transport._pool = httpcore.AsyncConnectionPool(network_backend=self)
        return transport

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - all addresses are one
        port: int,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ASYNC109, ARG002
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        if self._is_cut:
            raise httpcore.ConnectError("the process is gone")
        here = asyncio.get_running_loop()
        requests, answers = asyncio.StreamReader(loop=self._loop), asyncio.StreamReader(loop=here)
        stream = _Stream(answers, self._loop, requests)
        self._open.add(stream)
        self._loop.call_soon_threadsafe(self._accept, requests, Writer(here, answers))
        return stream

    def cut(self) -> None:
        """Close every connection, as the system does when a process ends."""
        self._is_cut = True
        for stream in self._open:
            stream.close()

    def _accept(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Writer:
    """The side of a connection that answers; what `asyncio.StreamWriter` is to a server."""

    def __init__(self, loop: asyncio.AbstractEventLoop, reader: asyncio.StreamReader) -> None:
        self._loop = loop
        self._reader = reader

    def write(self, data: bytes) -> None:
        self._loop.call_soon_threadsafe(self._reader.feed_data, data)

    async def drain(self) -> None:
        """Return: there is room for all."""

    def reset(self) -> None:
        """Break the connection off."""
        self._loop.call_soon_threadsafe(self._reader.set_exception, ConnectionResetError())

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._reader.feed_eof)


class _Stream(httpcore.AsyncNetworkStream):
    """The side of a connection that asks."""

    def __init__(
        self, answers: asyncio.StreamReader, loop: asyncio.AbstractEventLoop, requests: asyncio.StreamReader
    ) -> None:
        self._answers = answers
        self._loop = loop
        self._requests = requests

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        try:
            async with asyncio.timeout(timeout):
                return await self._answers.read(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout from None
        except ConnectionError:
            raise httpcore.ReadError from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109, ARG002
        if self._answers.exception():
            raise httpcore.WriteError
        self._loop.call_soon_threadsafe(self._requests.feed_data, buffer)

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._requests.feed_eof)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return bool(self._answers._buffer or self._answers._eof or self._answers.exception())  # type: ignore[attr-defined]
        return None
