"""A scripted service for the client: in memory, or on a real port."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from dataflow_magic.client import Client
from dataflow_magic.models.wire import JobCondition
from dataflow_magic.signing import verify

ACCESS, SECRET = "ACCESSKEY0000000EXAM", "hunter2hunter2hunter2"
NOW = 1742459237.0
RUN = {"jobExecutionId": "p4Y5Pk000000", "jobId": "gqigvH000000", "status": "READY"}
JOB = {"jobId": "gqigvH000000", "name": "daily_sales"}
CONDITION = JobCondition(nrn="n", script_path="b/s/", log_path="b/l/")

Answer = httpx.Response | type[httpx.RequestError]


@dataclass
class FakeServer:
    """Send the scripted responses in turn, the last one forever, and record the requests.

    It refuses what is not signed over the very target that arrived, as the gateway does.
    """

    answers: list[Answer]
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        content = request.read()
        # A copy: a request that is sent again is the same object with other headers.
        self.requests.append(
            httpx.Request(
                request.method,
                request.url,
                headers=request.headers,
                content=content,
                extensions=request.extensions,
            )
        )
        headers = request.headers
        assert verify(
            headers["x-ncp-apigw-signature-v2"],
            request.method,
            request.url.raw_path,
            int(headers["x-ncp-apigw-timestamp"]),
            headers["x-ncp-iam-access-key"],
            SECRET,
        )
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, httpx.Response):
            return answer
        raise answer("the network is scripted", request=request)

    @property
    def targets(self) -> list[str]:
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]


def server(*answers: Answer | dict[str, Any]) -> FakeServer:
    return FakeServer([httpx.Response(200, json=a) if isinstance(a, dict) else a for a in answers])


def client(fake: FakeServer, now: Callable[[], float] = lambda: NOW, **options: Any) -> Client:
    return Client(ACCESS, SECRET, transport=httpx.MockTransport(fake), now=now, **options)


RATE = {"error": {"errorCode": "420", "message": "Rate Limited", "details": ""}}
BUSY = httpx.Response(429, json=RATE, headers={"retry-after": "1"})
DOWN = httpx.Response(503)


@asynccontextmanager
async def listening(answer: Callable[[bytes], bytes | None]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Listen on a real port; answer the head of each request with these bytes, or close the connection for None."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        content = answer(heads[-1])
        if content is None:
            writer.transport.abort()
            return
        writer.write(content)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", heads


def http_answer(body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(content), content)
