"""A proxy between a client and the local service that spoils requests and answers on purpose. On loopback, one thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["CALM", "FAULTS", "Fault", "Proxy", "Seen", "a_proxy"]

PATIENCE = 60.0


@dataclass(frozen=True)
class Fault:
    """What befalls one request.

    Parameters
    ----------
    reads
        Whether the whole request is read; otherwise the connection is reset within it.
    passes_on
        Whether the service gets it, in time or ``late``, when the client has given up.
    answer
        What comes back, made from the service's own answer (empty where it was not asked); None resets the connection.
    holds
        Whether nothing comes back as long as the client has patience.
    """

    name: str
    reads: bool = True
    passes_on: bool = True
    late: bool = False
    holds: bool = False
    answer: Callable[[bytes], bytes | None] = lambda answer: answer

    @property
    def is_sent(self) -> bool:
        """Whether the service may carry the request out."""
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


CALM = Fault("calm")
RATE = b'{"error":{"errorCode":"420","message":"Rate Limited","details":""}}'
NOT_SENT = (
    Fault("reset at once", reads=False, answer=lambda _: None),
    Fault("reset before it is passed on", passes_on=False, answer=lambda _: None),
    Fault("held and never passed on", passes_on=False, holds=True),
    Fault("429", passes_on=False, answer=_canned("429 Too Many", RATE)),
    Fault(
        "429 with Retry-After",
        passes_on=False,
        answer=_canned("429 Too Many", RATE, more="retry-after: 2\r\n"),
    ),
    Fault("503 without the service", passes_on=False, answer=_canned("503 No", b"{}")),
    Fault(
        "502 as HTML without the service",
        passes_on=False,
        answer=_canned("502 Bad", b"<html>oh", "text/html"),
    ),
)
SENT = (
    Fault("reset after it was carried out", answer=lambda _: None),
    Fault("half an answer", answer=_half),
    Fault("an answer too late", holds=True),
    Fault("passed on too late", late=True, holds=True),
    Fault("500 though carried out", answer=_canned("500 Oh", b"{}")),
    Fault("502 as HTML though carried out", answer=_canned("502 Bad", b"<html>oh", "text/html")),
    Fault("503 though carried out", answer=_canned("503 No", b"", more="retry-after: 1\r\n")),
    Fault("504 though carried out", answer=_canned("504 Slow", b'{"error":{"errorCode":"510"}}')),
    Fault("an empty answer", answer=_canned("200 OK")),
    Fault("half a JSON", answer=_truncated),
    Fault("a wrong content type", answer=_mislabelled),
)
FAULTS = NOT_SENT + SENT


@dataclass(frozen=True)
class Seen:
    """One request as it came by."""

    method: str
    path: str
    headers: bytes
    body: bytes = b""

    @property
    def is_start(self) -> bool:
        return self.method == "POST" and self.path.partition("?")[0].endswith("/executions")


@dataclass
class Proxy:
    """Stands before a service at a port.

    Parameters
    ----------
    plan
        Says what befalls a request; called on the proxy's thread.
    may_pass
        Waited for before a late request is passed on.
    """

    upstream: int
    plan: Callable[[Seen], Fault] = lambda _: CALM
    may_pass: Callable[[], bool] = lambda: True
    port: int = 0
    late: int = 0
    """Requests that are still held to be passed on late."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (seen := await self._read(reader)) is not None:
                fault = self.plan(seen)
                if not fault.reads:
                    _reset(writer)
                    return
                if fault.late:
                    self.late += 1
                    task = asyncio.get_running_loop().create_task(self._pass_late(seen))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                own = await self._ask(seen) if fault.passes_on and not fault.late else b""
                if fault.holds:
                    await reader.read(1)  # the client hangs up
                    return
                answer = fault.answer(own)
                if answer is None:
                    _reset(writer)
                    return
                writer.write(answer)
                await writer.drain()
                if fault is not CALM:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Seen | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
        return Seen(method, path, head, await reader.readexactly(_length(head)))

    async def _ask(self, seen: Seen) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            writer.write(seen.headers + seen.body)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            return head + await reader.readexactly(_length(head))
        finally:
            writer.close()

    async def _pass_late(self, seen: Seen) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not self.may_pass():  # noqa: ASYNC110 - another thread's word
                    await asyncio.sleep(0.002)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._ask(seen)
        finally:
            self.late -= 1


@contextmanager
def a_proxy(upstream: int) -> Iterator[Proxy]:
    """Give a proxy before a port, on a thread of its own."""
    proxy, ready, loop = Proxy(upstream), threading.Event(), asyncio.new_event_loop()

    async def run() -> None:
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
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


def _length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    # Zero seconds to linger: the system sends a reset instead of a proper end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
