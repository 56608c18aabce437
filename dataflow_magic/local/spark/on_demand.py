"""A port whose server starts with the first connection and ends when it is idle. Knows nothing about the server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from dataflow_magic.local.tasks import end_tasks

__all__ = ["OnDemand"]

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
IDLE_SECONDS = 900.0
_CHUNK = 1 << 16

S = TypeVar("S")


class OnDemand(Generic[S]):
    """Forwards connections to a server that runs only while it is used.

    Parameters
    ----------
    start
        Starts the server, and returns it and its port on 127.0.0.1 once it accepts connections. An error is logged, and
        the connection that needed the server is closed.
    stop
        Ends the server.
    idle_seconds
        Time without a connection after which the server is ended.

    Notes
    -----
    An async context manager; ``port`` is set inside it.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[tuple[S, int]]],
        stop: Callable[[S], Awaitable[None]],
        *,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._start = start
        self._stop = stop
        self._idle_seconds = idle_seconds
        self._running: tuple[S, int] | None = None
        self._lock = asyncio.Lock()
        self._connections: set[asyncio.Task[None]] = set()
        self._idle: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None  # noqa: S101 - entered
        self._server.close()
        await end_tasks([*self._connections, *([self._idle] if self._idle else [])])
        await self._end()

    @property
    def is_running(self) -> bool:
        """Whether the server runs now."""
        return self._running is not None

    async def end_if_idle(self) -> None:
        """End the server now if it has no connection; the next connection starts a new one."""
        if not self._connections:
            await self._end()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a connection's handler is one
        self._connections.add(task)
        if self._idle is not None:
            self._idle.cancel()
        try:
            port = await self._port_of_the_server()
            to_server = await asyncio.open_connection(HOST, port)
            await _join((reader, writer), to_server)
        except asyncio.CancelledError:
            pass  # from `__aexit__` only; asyncio logs an error when a connection's handler is cancelled
        except Exception:
            logger.exception("forwarding a connection to a server on demand")
        finally:
            writer.close()
            self._connections.discard(task)
            if not self._connections:
                self._idle = asyncio.create_task(self._end_when_idle())

    async def _port_of_the_server(self) -> int:
        async with self._lock:
            if self._running is None:
                self._running = await self._start()
            return self._running[1]

    async def _end_when_idle(self) -> None:
        await asyncio.sleep(self._idle_seconds)
        await self.end_if_idle()

    async def _end(self) -> None:
        async with self._lock:
            running, self._running = self._running, None
            if running is not None:
                await self._stop(running[0])


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(left: Streams, right: Streams) -> None:
    """Copy in both directions until both sides have closed, or one fails."""
    try:
        await asyncio.gather(_copy(left[0], right[1]), _copy(right[0], left[1]))
    finally:
        right[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()
