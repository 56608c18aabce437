"""Requests that no client sends, at the real local service: each gets a response below 500 or a closed connection, soon.

``python -m tests.faults.malformed SEED COUNT`` sends that many, drawn from that seed, and prints what came back.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.fake import ACCESS_KEY, CONDITION, signature
from tests.faults.local_service import a_service

__all__ = ["Report", "send_malformed"]

MOST_SECONDS = 20.0
"""From the end of a request to the end of its response: generous to a busy machine."""
PATIENCE = 0.3
"""Seconds for which a service that waits for the rest of a request is left waiting."""
WARM = 100
"""Requests before memory and descriptors are measured for the first time."""
MOST_GROWTH = 64 << 20
"""Bytes of memory: what allocators keep, and far less than if each of 10,000 requests left its 100 kB."""
MOST_DESCRIPTORS = 16

TEXTS = (
    "", " ", "\0", "x", "..", "%", "%00", "%zz", "%2e%2e%2f", "é", "\u202e", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "'; drop table runs; --", "a" * 300, "a" * 5000, "-1", "1e9", "9" * 400, "٣", "+1", "0x10", "1_0", "null", "true", "nan",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 11, 10**30, 1.5, 1e308, [], [[]], {}, {"": ""}, {"a": {"b": []}}, *TEXTS,
)  # fmt: skip
BODIES = (
    b"", b" ", b"{", b"}", b"null", b"[]", b"7", b'"x"', b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"a":NaN}', b'{"a":1e999}',
    b'{"a":' + b"9" * 6000 + b"}", b'{"a":"\\ud800"}', b'{"a":1,"a":2}', b"[" * 100_000, b'{"a":' * 20_000, b"{}" * 1000,
    b'{"jobCondition":' + b"[" * 900 + b"]" * 900 + b"}", b"\x1f\x8b\x08garbage", b"a" * (1 << 20), b'"' + b"a" * (2 << 20),
    b'{"jobCondition":null}', b'{"parameters":{}}', json.dumps({"name": "abc", "type": "SCRIPT", "nodes": "x" * 70_000}).encode(),
)  # fmt: skip
HEADERS = (
    b"no colon", b": no name", b"x: \0", b"x: \xff\xfe", b"a b: c", b"x" * 20_000 + b": y", b"x: " + b"y" * 70_000,
    b" folded: line", b"x:\r\n y", b"content-length: -1", b"content-length: 1, 2", b"content-length: 99999999999999999999",
    b"content-length: 1e3", b"content-length: 7", b"transfer-encoding: chunked", b"transfer-encoding: gzip, chunked",
    b"transfer-encoding: nothing", b"expect: 100-continue", b"upgrade: websocket\r\nconnection: upgrade",
    b"upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP__", b"connection: \xff",
    b"host: evil.example", b"host:", b"content-type: text/html; charset=hex", b"content-encoding: gzip", b"range: bytes=0-",
    b"x-ncp-apigw-timestamp: 9", b"cookie: " + b"a=b; " * 3000, *(b"x-%d: y" % number for number in range(3)),
)  # fmt: skip
LINES = (
    b"", b"\r\n\r\n", b"GET", b"GET /", b"GET  / HTTP/1.1", b"GET / HTTP/9.9", b"GET / HTTP/1.1 more", b"GET / http/1.1",
    b"GET * HTTP/1.1", b"GET http://evil.example/ HTTP/1.1", b"CONNECT evil.example:443 HTTP/1.1", b"\x16\x03\x01\x02\x00\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM", b"GET /\xff HTTP/1.1", b"G\0T / HTTP/1.1", b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
    b"get /api/v1/jobs HTTP/1.1", b"GET /api/v1/jobs", b"GET /api/v1/jobs HTTP/1.0", b"GET //api//v1/jobs HTTP/1.1",
    b"GET /api/v1/../../etc/passwd HTTP/1.1", b"GET /api/v1/jobs#x HTTP/1.1", b"GET ?x HTTP/1.1", b"\n" * 200,
)  # fmt: skip
METHODS = (
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "BREW",
    "get",
    "GE T",
    "X" * 300,
)


@dataclass
class Report:
    """What came back.

    Parameters
    ----------
    statuses
        How many responses had each status; 0 counts connections that were closed without one.
    wrong
        Requests with a response of 500 or more, or none in time.
    growth
        Bytes of memory the service has more than after the first requests.
    descriptors
        Descriptors it has more.
    is_well
        Whether it answers properly afterwards.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    growth: int = 0
    descriptors: int = 0
    is_well: bool = False

    @property
    def is_wrong(self) -> bool:
        is_flat = self.growth < MOST_GROWTH and self.descriptors < MOST_DESCRIPTORS
        return bool(self.wrong) or not (is_flat and self.is_well)

    def __str__(self) -> str:
        counts = ", ".join(
            f"{count:,} x {status or 'closed'}" for status, count in sorted(self.statuses.items())
        )
        grown = f"memory {self.growth / 2**20:+.1f} MiB, descriptors {self.descriptors:+}"
        well = "well" if self.is_well else "NOT WELL"
        return "\n".join([*self.wrong, f"{counts}; {grown}; the service is {well} afterwards"])


def send_malformed(seed: int, count: int) -> Report:
    """Start a service, send it malformed requests, and look at it afterwards."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder, a_service(Path(folder) / "data") as (port, process):
        job_id = json.loads(_send(port, _well_formed("GET", "/api/v1/jobs"))[1])["list"][0]["jobId"]
        before = _memory(process.pid), _descriptors(process.pid)
        for number in range(count):
            if number == WARM:
                before = _memory(process.pid), _descriptors(process.pid)
            random = Random(f"{seed} {number}")  # noqa: S311 - to be drawn again
            request = draw(random, job_id)
            status, _ = _send(port, request)
            report.statuses[status] += 1
            if status >= 500 or status < 0:
                report.wrong.append(f"{status} at seed {seed}, request {number}: {request[:300]!r}")
        status, body = _send(port, _well_formed("GET", "/local/v1/health"))
        start = _well_formed("POST", f"/api/v1/jobs/{job_id}/executions", {"jobCondition": CONDITION})
        report.is_well = (
            status == 200 and body != b"" and _send(port, start)[0] == 200 and process.poll() is None
        )
        report.growth = _memory(process.pid) - before[0]
        report.descriptors = _descriptors(process.pid) - before[1]
    return report


def draw(random: Random, job_id: str) -> bytes:
    """Draw a request: a proper one with one to three things wrong."""
    if random.random() < 0.1:
        return random.choice(LINES) + b"\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
    method, target, body = _draw_operation(random, job_id)
    content = b"" if body is None else json.dumps(body).encode()
    headers: list[bytes] = []
    is_signed = True
    for _ in range(random.choice((1, 1, 2, 3))):
        match random.choice(("method", "target", "target", "content", "content", "headers", "signature")):
            case "method":
                method = random.choice(METHODS)
            case "target":
                target = _spoilt_target(random, target)
            case "content":
                spoilt = json.dumps(_spoilt(random, body)).encode("utf-8", "surrogatepass")
                content = random.choice((random.choice(BODIES), spoilt, content[: len(content) // 2]))
            case "headers":
                headers += random.choices(HEADERS, k=random.choice((1, 1, 2, 300)))
            case "signature":
                is_signed = False
    if method == "DELETE":
        target = target.replace(job_id, "abcdefgh1234")  # the job is there for the other requests
    return _request(
        method,
        target.encode(errors="replace"),
        content,
        headers,
        signs=_signs(random) if not is_signed else None,
    )


def _spoilt_target(random: Random, target: str) -> str:
    text = _text(random)
    if random.random() < 0.4:
        return random.choice((target + "/", target.upper(), "/" + target, text, f"/api/v1/{text}"))
    name = random.choice(("page", "limit", "name", "triggerId", "workflowId", text))
    return target + random.choice("?&") + name + random.choice(("=", "", "==")) + _text(random)


def _draw_operation(random: Random, job_id: str) -> tuple[str, str, Any]:
    job = f"/api/v1/jobs/{random.choice((job_id, job_id, job_id, _text(random)))}"
    run = f"{job}/executions/{random.choice(('abcdefgh1234', _text(random)))}"
    new = {
        "name": f"job_{random.randrange(10**9)}",
        "type": "SCRIPT",
        "jobCondition": {**CONDITION, "parameters": {"a": "b"}},
    }
    operations: tuple[tuple[str, str, Any], ...] = (
        ("GET", "/api/v1/jobs?page=0&limit=4", None),
        ("POST", "/api/v1/jobs", new),
        ("GET", job, None),
        ("PATCH", job, {"type": "SCRIPT", "jobCondition": CONDITION}),
        ("PUT", f"{job}/executions", {"jobCondition": CONDITION}),
        ("POST", f"{job}/executions", {"jobCondition": CONDITION, "parameters": {"$a": "1"}}),
        ("GET", f"{job}/executions?page=0&limit=4", None),
        ("GET", run, None),
        ("POST", f"{run}/cancel", None),
        ("GET", f"/local/v1{run.removeprefix('/api/v1')}/progress", None),
        ("PUT", "/local/v1/faults", {"seed": 1, "faults": [{"kind": "latency", "seconds": 0}]}),
        ("GET", "/local/v1/service", None),
        ("GET", "/local/v1/health", None),
        ("GET", "/local/v1/openapi.json", None),
    )
    return random.choice(operations)


def _spoilt(random: Random, value: Any) -> Any:
    """Return a JSON value with one part replaced, removed or added."""
    if not isinstance(value, dict) or not value or random.random() < 0.2:
        return random.choice(VALUES)
    name = random.choice([*value, "more"])
    if name == "more":
        return {**value, random.choice(TEXTS): random.choice(VALUES)}
    if random.random() < 0.2:
        return {each: part for each, part in value.items() if each != name}
    return {**value, name: _spoilt(random, value[name])}


def _text(random: Random) -> str:
    return random.choice(TEXTS)


def _signs(random: Random) -> list[bytes]:
    """Draw the headers of a signature that is not valid."""
    stamp = random.choice(
        ("", "0", "-1", "1.5", "9" * 400, "٣٤", str(int(time.time() * 1000)), "now")
    ).encode()
    key = random.choice((b"", b"\xff", ACCESS_KEY.encode()))
    value = random.choice((b"", b"A" * 44, b"\xff" * 44, b"=" * 5000, b"\0"))
    lines = [
        b"x-ncp-apigw-timestamp: " + stamp,
        b"x-ncp-iam-access-key: " + key,
        b"x-ncp-apigw-signature-v2: " + value,
    ]
    return random.sample(lines, random.randrange(4))


def _well_formed(method: str, target: str, body: Any = None) -> bytes:
    return _request(method, target.encode(), b"" if body is None else json.dumps(body).encode(), [])


def _request(
    method: str, target: bytes, content: bytes, headers: list[bytes], signs: list[bytes] | None = None
) -> bytes:
    stamp = str(int(time.time() * 1000))
    if signs is None:
        signs = [
            f"x-ncp-apigw-timestamp: {stamp}".encode(),
            f"x-ncp-iam-access-key: {ACCESS_KEY}".encode(),
            f"x-ncp-apigw-signature-v2: {signature(method.encode(), target, stamp)}".encode(),
        ]
    length = [b"content-length: %d" % len(content)] if content else []
    lines = [
        method.encode() + b" " + target + b" HTTP/1.1",
        b"host: 127.0.0.1",
        b"connection: close",
        *signs,
        *length,
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + content


def _send(port: int, request: bytes) -> tuple[int, bytes]:
    """Send bytes and nothing more; return status and body of the response, 0 for none, and -1 where it takes too long."""
    received = bytearray()
    deadline = time.monotonic() + MOST_SECONDS
    connecting = socket.create_connection(("127.0.0.1", port), timeout=MOST_SECONDS)
    with (
        connecting as connection,
        contextlib.suppress(OSError),
    ):  # it may hang up in the middle of the request
        connection.sendall(request)
        connection.settimeout(PATIENCE)
        while time.monotonic() < deadline:
            try:
                chunk = connection.recv(1 << 16)
            except TimeoutError:
                # It waits for the rest of the request: there is none.
                connection.shutdown(socket.SHUT_WR)
                continue
            if not chunk:
                break
            received += chunk
        else:
            return -1, b""
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 1"):  # it would have taken the body
        head, _, body = body.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]) if len(words) > 1 and words[1].isdigit() else 0), body


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def main(seed: int, count: int) -> int:
    """Send requests and print what came back; return the exit code."""
    begun = time.monotonic()
    report = send_malformed(seed, count)
    sys.stdout.write(
        f"{count:,} malformed requests from seed {seed}, {time.monotonic() - begun:.0f} s: {report}" + "\n"
    )
    return int(report.is_wrong)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
