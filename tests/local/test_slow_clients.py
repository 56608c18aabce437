"""Clients that send slowly, never end or never read: the service keeps its descriptors, its CPU time and its other clients."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import IO, cast

import httpx
import pytest

from dataflow_magic.local.http.connection import connection_limit
from dataflow_magic.local.server import serve
from dataflow_magic.signing import sign
from tests.local.scripted import eventually

CLIENT_SECONDS = 1.0
ATTACK_SECONDS = 2.0
CONNECTIONS = 100
KEYS = "AK_TEST", "SK_TEST"

SERVICE = f"""
import asyncio, resource, sys
from contextlib import nullcontext
from pathlib import Path
from dataflow_magic.local.http.app import Keys
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.server import serve

resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), int(sys.argv[2])))
serve(
    DataFolder(Path(sys.argv[1])), Keys(*{KEYS}), nullcontext(None), client_seconds={CLIENT_SECONDS},
    ready=lambda text: print(text, flush=True),
)
"""


@dataclass
class Service:
    """A service process whose resources a test measures."""

    process: subprocess.Popen[str]
    folder: Path
    endpoint: str
    clients: list[socket.socket] = field(default_factory=list)

    def is_well(self) -> bool:
        """Whether it answers a new client now, as a client sees it that tries again."""
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.endpoint}/local/v1/health", timeout=20, trust_env=False).is_success
        return False

    def connect(self) -> socket.socket:
        host, _, port = self.endpoint.removeprefix("http://").partition(":")
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(5)
        client.connect((host, int(port)))
        client.setblocking(False)
        return client

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def connections(self) -> int:
        """Its open descriptors that are sockets: also those of its loop and the one that listens."""
        sockets = 0
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                sockets += str(descriptor.readlink()).startswith("socket:")
        return sockets

    def cpu_seconds(self) -> float:
        times = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def log_bytes(self) -> int:
        return (self.folder / "service.log").stat().st_size


@contextmanager
def serving(folder: Path, descriptors: int) -> Iterator[Service]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, folder, str(descriptors)], stdout=subprocess.PIPE, text=True
    ) as process:
        service = Service(process, folder, cast("IO[str]", process.stdout).readline().strip())
        try:
            for _ in range(3):
                assert service.is_well()
            yield service
        finally:
            process.kill()
            for client in service.clients:
                client.close()


def start_of_a_run() -> bytes:
    """Return the head of a signed request whose body has 100 bytes."""
    target, now = "/api/v1/jobs", int(time.time() * 1000)
    return (
        f"POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n"
        f"x-ncp-apigw-timestamp: {now}\r\nx-ncp-iam-access-key: {KEYS[0]}\r\n"
        f"x-ncp-apigw-signature-v2: {sign('POST', target.encode(), now, *KEYS)}\r\n\r\n"
    ).encode()


HEALTH = b"GET /local/v1/health HTTP/1.1\r\nhost: localhost\r\n"
DOCUMENT = b"GET /local/v1/openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n"

ATTACKS: dict[str, tuple[Callable[[], bytes], bytes]] = {
    "silent": (lambda: b"", b""),
    "a head in drops": (lambda: HEALTH + b"x: ", b"y"),
    "a head that never ends": (lambda: HEALTH, b"x: y\r\n"),
    "a body in drops": (start_of_a_run, b" "),
    "a body that is refused, in drops": (lambda: start_of_a_run().replace(KEYS[0].encode(), b"x"), b" "),
    "a head after a request": (lambda: HEALTH + b"\r\n" + HEALTH, b""),
    "a body after a request": (lambda: HEALTH + b"\r\n" + start_of_a_run(), b""),
    "responses that nobody reads": (lambda: DOCUMENT * 500, b""),
}
"""What a client of each kind sends at first, and then again and again."""


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_service_with_few_descriptors_outlives_slow_clients_and_serves_others(tmp_path, attack):
    first, rest = ATTACKS[attack]
    with serving(tmp_path / "local", 64) as service:
        before = service.descriptors(), service.connections(), service.memory_mb()
        is_over = threading.Event()
        attacker = threading.Thread(target=attack_until, args=(is_over, service, first, rest))
        attacker.start()
        try:
            deadline = time.monotonic() + ATTACK_SECONDS
            while time.monotonic() < deadline:
                eventually(service.is_well)
        finally:
            is_over.set()
            attacker.join()

        # The clients stay connected. Only the limit of time ends what has become of their connections.
        eventually(lambda: service.connections() <= before[1])
        spent = service.cpu_seconds()
        time.sleep(1)  # the time that is measured: a busy machine makes the service spend less of it
        assert service.cpu_seconds() - spent < 0.5
        assert service.is_well()
        assert service.descriptors() <= before[0] + 8
        assert service.memory_mb() < before[2] + 50
        assert service.log_bytes() < 100_000


def attack_until(is_over: threading.Event, service: Service, first: Callable[[], bytes], rest: bytes) -> None:
    """Keep the connections open and send; replace those that the service closes."""
    while not is_over.wait(0.02):
        if len(service.clients) < CONNECTIONS:
            for _ in range(10):
                with suppress(OSError):
                    service.clients.append(service.connect())
                    service.clients[-1].send(first())
        for client in list(service.clients):
            try:
                if rest:
                    client.send(rest)
            except BlockingIOError:
                continue
            except OSError:
                service.clients.remove(client)
                client.close()


@pytest.mark.parametrize(
    ("descriptors", "connections"), [(0, 8), (64, 8), (256, 48), (1024, 240), (1 << 20, 512), (-1, 512)]
)
def test_the_limit_of_connections_leaves_descriptors_for_all_else(descriptors, connections):
    assert connection_limit(descriptors) == connections


def test_a_client_has_thirty_seconds_unless_a_test_gives_it_less():
    assert signature(serve).parameters["client_seconds"].default == 30.0


def test_silent_connections_are_closed_and_their_descriptors_return(tmp_path):
    with serving(tmp_path / "local", 1024) as service:
        before = service.connections()
        service.clients.extend(service.connect() for _ in range(200))

        for client in service.clients:
            client.settimeout(20)
            assert client.recv(1) == b""  # the end of the connection
        eventually(lambda: service.connections() <= before)
        assert service.is_well()
