"""A proxy between a client and a service that spoils requests and responses on purpose, byte by byte.

It serves streams: those of a socket (`a_proxy`), or those of a simulated network. Knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

__all__ = [
    "CALM",
    "FAULTS",
    "NOT_SENT",
    "SENT",
    "SLOW",
    "UNHEARD",
    "Fault",
    "Port",
    "Proxy",
    "Seen",
    "a_proxy",
]

PATIENCE = 60.0
MOST_MEBIBYTES = 80
"""Of an endless answer: more than a client may read."""


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    Parameters
    ----------
    reads
        Whether the proxy reads the whole request; otherwise it resets the connection within it.
    passes_on
        Whether the service gets it: at once, or ``late``, when the client may have given up.
    answer
        Makes what the client gets from the service's response (empty where the service got nothing); None resets the
        connection.
    holds
        Whether the client gets nothing until it gives up.
    drips
        Seconds between two bytes of the answer; 0 sends it at once.
    is_endless
        Whether the answer's body never ends.
    """

    name: str
    reads: bool = True
    passes_on: bool = True
    late: bool = False
    holds: bool = False
    drips: float = 0.0
    is_endless: bool = False
    answer: Callable[[bytes], bytes | None] = lambda answer: answer

    @property
    def is_sent(self) -> bool:
        """Whether the service gets the request."""
        return self.reads and self.passes_on


def _canned(
    status: str, body: bytes = b"", kind: str = "application/json", more: str = ""
) -> Callable[[bytes], bytes]:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return lambda _: head.encode() + body


def _half(answer: bytes) -> bytes:
    return answer[: len(answer) - 20]


def _truncated(answer: bytes) -> bytes:
    body = answer.partition(b"\r\n\r\n")[2]
    return _canned("200 OK", body[: len(body) // 2])(answer)


def _mislabelled(answer: bytes) -> bytes:
    return answer.replace(b"application/json", b"text/html")


@cache
def _packed(size: int) -> bytes:
    """Return a response that unpacks to that many bytes."""
    packer = zlib.compressobj(9, wbits=31)
    body = packer.compress(bytes(size)) + packer.flush()
    return _canned("200 OK", body, more="content-encoding: gzip\r\n")(b"")


CALM = Fault("calm")
RATE = b'{"error":{"errorCode":"420","message":"Rate Limited","details":""}}'
BAD = b'{"detail":"it does not like it","errorType":"bad-parameter"}'
GARBAGE = (
    b"",
    b"{}",
    b"null",
    b"true",
    b"[]",
    b"ok",
    b'{"jobExecutionId":""}',
    b'{"jobExecutionId":7}',
    b"\xff{",
)
STATUSES = (
    "204 No", "302 Found", "307 There", "408 Slow", "409 Conflict", "410 Gone", "418 Tea", "423 Locked", "425 Early",
    "499 Gone", "501 No", "508 Loop", "520 Oh",
)  # fmt: skip
"""Those by which no page of the vendor refuses a start."""
DEEP = b"[" * 2000 + b"]" * 2000
NOT_SENT = (
    Fault("reset at once", reads=False, answer=lambda _: None),
    Fault("reset before it is passed on", passes_on=False, answer=lambda _: None),
    Fault("held and never passed on", passes_on=False, holds=True),
    Fault("429", passes_on=False, answer=_canned("429 Too Many", RATE)),
    Fault("429, wait 2 s", passes_on=False, answer=_canned("429 No", RATE, more="retry-after: 2\r\n")),
    Fault(
        "429, wait for ever",
        passes_on=False,
        answer=_canned("429 No", RATE, more="retry-after: 999999999\r\n"),
    ),
    Fault("400 without the service", passes_on=False, answer=_canned("400 No", BAD)),
    Fault("503 without the service", passes_on=False, answer=_canned("503 No", b"{}")),
    Fault(
        "503, wait for ever",
        passes_on=False,
        answer=_canned("503 No", b"{}", more="retry-after: 999999999\r\n"),
    ),
    Fault(
        "502 as HTML without the service",
        passes_on=False,
        answer=_canned("502 Bad", b"<html>oh", "text/html"),
    ),
    Fault(
        "429 of something else without the service", passes_on=False, answer=_canned("429 Too Many", b"{}")
    ),
)
LOST = {
    "reset before it is passed on",
    "held and never passed on",
    "503 without the service",
    "502 as HTML without the service",
    "429 of something else without the service",
}
SENT = (
    Fault("reset after it was carried out", answer=lambda _: None),
    Fault("half an answer", answer=_half),
    Fault("an answer too late", holds=True),
    Fault("passed on too late", late=True, holds=True),
    Fault("500 though carried out", answer=_canned("500 Oh", b"{}")),
    Fault("502 as HTML though carried out", answer=_canned("502 Bad", b"<html>oh", "text/html")),
    Fault("503 though carried out", answer=_canned("503 No", b"", more="retry-after: 1\r\n")),
    Fault("504 though carried out", answer=_canned("504 Slow", b'{"error":{"errorCode":"510"}}')),
    Fault("429 of something else though carried out", answer=_canned("429 Too Many", b"{}")),
    Fault("half a JSON", answer=_truncated),
    Fault("a wrong content type", answer=_mislabelled),
    Fault("an answer that drips", drips=3.0),
    Fault("an answer without an end", is_endless=True),
    Fault("an answer too large", answer=lambda _: _packed(65 * 2**20)),
    Fault("an answer too deep", answer=_canned("200 OK", DEEP)),
    *(Fault(f"{status} though carried out", answer=_canned(status)) for status in STATUSES),
    *(Fault(f"{body!r} though carried out", answer=_canned("200 OK", body)) for body in GARBAGE),
)
UNHEARD = tuple(fault for fault in NOT_SENT if fault.name in LOST)
"""Those after which the client cannot know that the service has nothing of the request."""
SLOW = Fault("a slow answer", drips=0.18)
"""Whole, and within every bound: a start awaits it for a minute and a half."""
FAULTS = (*NOT_SENT, *SENT, SLOW)


@dataclass(frozen=True)
class Seen:
    """One request as the client sent it."""

    method: str
    path: str
    headers: bytes
    body: bytes = b""
    source: str = ""
    """The key of the start, or empty where it is not known."""

    @property
    def is_start(self) -> bool:
        return self.method == "POST" and self.path.partition("?")[0].endswith("/executions")


class Writer(Protocol):
    """The client's stream."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def reset(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class Proxy:
    """Stands before a service.

    Parameters
    ----------
    ask
        Sends a request to the service and returns the bytes of its response.
    plan
        Chooses what happens to a request.
    latency, lateness
        Seconds a request takes to the service, and those that a late one takes.
    port
        Where `a_proxy` listens.
    """

    ask: Callable[[Seen], Awaitable[bytes]]
    plan: Callable[[Seen], Fault] = lambda _: CALM
    latency: Callable[[], float] = lambda: 0.0
    lateness: Callable[[], float] = lambda: 0.0
    port: int = 0
    slowest_seconds: float = 0.0
    """From a request to the end of its answer, at most so far."""
    _tasks: set[asyncio.Task[bytes]] = field(default_factory=set)

    async def serve(
        self, reader: asyncio.StreamReader, writer: Writer, source: Callable[[bytes], str] = lambda _: ""
    ) -> None:
        """Serve one connection.

        Parameters
        ----------
        source
            Returns the key of the start whose body the client sends.
        """
        try:
            while (seen := await self._read(reader, source)) is not None:
                began, fault = asyncio.get_running_loop().time(), self.plan(seen)
                if not fault.reads:
                    writer.reset()
                    return
                asked = self._pass_on(seen, fault) if fault.passes_on else None
                if fault.holds:
                    await reader.read(1)  # until the client hangs up
                    return
                # A client that hangs up takes nothing back that was passed on.
                answer = fault.answer(await asyncio.shield(asked) if asked else b"")
                if answer is None:
                    writer.reset()
                    return
                await self._write(answer, reader, writer, fault)
                taken = asyncio.get_running_loop().time() - began
                self.slowest_seconds = max(self.slowest_seconds, taken)
                if fault is not CALM:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _write(self, answer: bytes, reader: asyncio.StreamReader, writer: Writer, fault: Fault) -> None:
        if fault.is_endless:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
            answer = b" " * 2**20
        pieces = [answer] * MOST_MEBIBYTES if fault.is_endless else [answer]
        if fault.drips:
            pieces = [answer[at : at + 1] for at in range(len(answer))]
        for piece in pieces:
            if reader.at_eof():  # the client hung up
                return
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(fault.drips)

    async def _read(self, reader: asyncio.StreamReader, source: Callable[[bytes], str]) -> Seen | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
        body = await reader.readexactly(_length(head))
        return Seen(method, path, head, body, source(body))

    def _pass_on(self, seen: Seen, fault: Fault) -> asyncio.Task[bytes]:
        async def ask() -> bytes:
            await asyncio.sleep(self.lateness() if fault.late else self.latency())
            return await self.ask(seen)

        task = asyncio.get_running_loop().create_task(ask())
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[bytes]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # reported to the client where it still waits


@dataclass
class Port:
    """A service at a port of this machine."""

    number: int

    async def __call__(self, seen: Seen) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        try:
            writer.write(seen.headers + seen.body)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            return head + await reader.readexactly(_length(head))
        finally:
            writer.close()


@contextmanager
def a_proxy(ask: Callable[[Seen], Awaitable[bytes]]) -> Iterator[Proxy]:
    """Give a proxy that listens at a port, on its own thread."""
    proxy, ready, loop = Proxy(ask), threading.Event(), asyncio.new_event_loop()

    async def run() -> None:
        server = await asyncio.start_server(
            lambda reader, writer: proxy.serve(reader, _SocketWriter(writer)), "127.0.0.1", 0
        )
        proxy.port = server.sockets[0].getsockname()[1]
        ready.set()
        try:
            await server.serve_forever()
        finally:
            server.close()

    def work() -> None:
        asyncio.set_event_loop(loop)
        with contextlib.suppress(asyncio.CancelledError, RuntimeError):
            loop.run_until_complete(run())
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield proxy
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)


class _SocketWriter:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.write = writer.write
        self.drain = writer.drain
        self.close = writer.close

    def reset(self) -> None:
        connection = self._writer.get_extra_info("socket")
        # Zero seconds to linger: the system sends a reset instead of a proper end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def _length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)
