import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_address
from typing import IO, cast

import httpx
import pytest

from dataflow_magic.client.client import Client
from dataflow_magic.errors import ConfigError
from dataflow_magic.files import try_lock
from dataflow_magic.local.__main__ import main
from dataflow_magic.local.folder import Address, DataFolder
from dataflow_magic.local.http.app import Keys
from dataflow_magic.local.server import _url, serve
from dataflow_magic.local.store import Store
from dataflow_magic.models.view import KST
from dataflow_magic.signing import sign
from tests.local.scripted import ScriptedRuns, eventually, is_served

IGNORING_SIGINT = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
"""Starts a command as a shell script starts one in the background."""
KEYS = Keys("AK_TEST", "SK_TEST")
GRACE = 0.15

SERVICE = """
import asyncio, subprocess, sys
from contextlib import nullcontext
from pathlib import Path
from dataflow_magic.local.http.app import Keys
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.server import serve
from dataflow_magic.local.run import Outcome

folder, port, grace = DataFolder(Path(sys.argv[1])), int(sys.argv[2]), sys.argv[3]

async def run(spec, *, cancel, waiting, started):
    with (folder.path / "ignored_by_a_script").open("w") as file:
        subprocess.run(["grep", "SigIgn", "/proc/self/status"], stdout=file)
    await started()
    while not (folder.path / "finish").exists():
        await asyncio.sleep(0.01)
    return Outcome("COMPLETED")

keys = Keys("AK_TEST", "SK_TEST")
grace = float(grace) if grace else None
serve(folder, keys, nullcontext(run), port=port, grace_seconds=grace, ready=lambda text: print(text, flush=True))
print("served", flush=True)
"""


@dataclass
class Running:
    """A service process and its URL."""

    process: subprocess.Popen[str]
    folder: DataFolder
    endpoint: str

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; return the exit code and the rest of the output."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        printed, _ = self.process.communicate(timeout=20)
        return self.process.returncode, printed


@contextmanager
def running(
    folder: DataFolder, *, port: int = 0, grace: float | None = None, parent: Sequence[str] = ()
) -> Iterator[Running]:
    process = subprocess.Popen(
        [*parent, sys.executable, "-c", SERVICE, folder.path, str(port), "" if grace is None else str(grace)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Running(process, folder, cast("IO[str]", process.stdout).readline().strip())
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path / "local")


def store_of(folder: DataFolder) -> Store:
    folder.make()
    return Store(folder.database, lambda: datetime.now(KST))


def add_runs(folder: DataFolder, count: int) -> list[str]:
    """Add READY runs of a job that runs one at a time; return their ids."""
    store = store_of(folder)
    condition = {"numWorker": 2, "timeout": 30, "scriptPath": "b/s/", "logPath": "b/l/"}
    job = store.add_job("narrow", "SCRIPT", max_concurrent_runs=1, condition=condition, extra={})
    return [
        store.add_run(job, condition=condition, parameters={}, trigger_id=None, workflow_id=None).run_id
        for _ in range(count)
    ]


def state_of(folder: DataFolder, run_id: str) -> tuple[str, str]:
    run = store_of(folder).run(run_id)
    assert run is not None
    return run.status, run.detail


def signed(method: str, target: str) -> dict[str, str]:
    now = int(time.time() * 1000)
    return {
        "x-ncp-apigw-timestamp": str(now),
        "x-ncp-iam-access-key": KEYS.access_key,
        "x-ncp-apigw-signature-v2": sign(method, target.encode(), now, KEYS.access_key, KEYS.secret_key),
    }


def test_all_that_a_service_creates_is_private_under_any_umask(folder):
    add_runs(folder, 1)
    with running(folder, parent=("sh", "-c", 'umask 000; exec "$@"', "sh")) as service:
        eventually(lambda: (folder.path / "ignored_by_a_script").exists())
        modes = {path: path.stat().st_mode & 0o077 for path in (folder.path, *folder.path.rglob("*"))}
        service.end(signal.SIGTERM)

    assert {folder.database, folder.log, folder.path / "ignored_by_a_script"} < set(modes)
    assert {str(path) for path, mode in modes.items() if mode} == set()


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service that all tests of its module share; none ends it."""
    folder = DataFolder(tmp_path_factory.mktemp("shared") / "local")
    with running(folder) as service:
        yield service


@pytest.mark.anyio
async def test_a_service_answers_at_the_address_in_its_folder(folder):
    port = free_port()
    with running(folder, port=port) as service:
        assert service.endpoint == f"http://127.0.0.1:{port}"
        address = folder.read_address()
        assert address is not None
        assert replace(address, java="") == Address(
            service.endpoint, "AK_TEST", "SK_TEST", service.process.pid
        )
        assert re.fullmatch(r"\d+ from .+", address.java)

        async with Client("AK_TEST", "SK_TEST", service.endpoint) as client:
            assert [job.name for job in (await client.list_jobs()).items] == [
                "daily_delays",
                "slow_count",
            ]
            assert await client.local_objects() == folder.objects

    assert (folder.objects / "dataflow-sample" / "scripts" / "daily_delays.py").is_file()


def test_a_service_listens_on_loopback_only(service):
    port = int(service.endpoint.rpartition(":")[2])

    with pytest.raises(ConnectionRefusedError):  # another address of this machine
        socket.create_connection(("127.0.0.2", port), timeout=5)


@pytest.mark.parametrize("size", [20_000, 40_000])
def test_a_head_over_the_limit_is_the_gateways_413(service, size):
    response = httpx.get(service.endpoint + "/api/v1/jobs", headers={"x": "y" * size}, trust_env=False)

    assert (response.status_code, response.json()) == (
        413,
        {
            "error": {
                "errorCode": "430",
                "message": "Request Entity Too Large",
                "details": "The address and the headers are over 16384 bytes.",
            }
        },
    )


def test_a_body_over_the_limit_is_the_gateways_413(service):
    target = "/api/v1/jobs"

    response = httpx.post(
        service.endpoint + target,
        content=b"x" * 2_000_000,
        headers=signed("POST", target),
        trust_env=False,
    )

    assert (response.status_code, response.json()["error"]["errorCode"]) == (413, "430")
    assert "date" in response.headers  # shows clients that their clock is wrong, not their key


@pytest.mark.parametrize(
    ("number", "parent", "code", "printed"),
    [
        (signal.SIGTERM, (), 0, "served\n"),
        (signal.SIGINT, (), -signal.SIGINT, "KeyboardInterrupt\n"),
        (signal.SIGINT, IGNORING_SIGINT, -signal.SIGINT, "KeyboardInterrupt\n"),
    ],
    ids=["terminated", "interrupted", "interrupted, its parent ignores SIGINT"],
)
def test_a_service_ended_by_a_signal_fails_its_runs_and_leaves_no_address(
    folder, number, parent, code, printed
):
    ran, waits = add_runs(folder, 2)
    with running(folder, parent=parent) as service:
        eventually(lambda: state_of(folder, ran)[0] == "RUNNING")

        ended = service.end(number)

        assert (ended[0], ended[1].endswith(printed)) == (code, True)
    assert state_of(folder, ran) == ("FAILED", "the local service stopped while it ran")
    assert state_of(folder, waits) == ("READY", "")
    assert folder.read_address() is None
    assert not is_served(folder)
    ignored = int((folder.path / "ignored_by_a_script").read_text().split()[1], 16)
    assert not ignored & 1 << signal.SIGINT - 1


def test_a_service_after_a_killed_one_fails_its_running_run_and_starts_the_waiting_one(folder):
    ran, waits = add_runs(folder, 2)
    with running(folder) as killed:
        eventually(lambda: state_of(folder, ran)[0] == "RUNNING")
        killed.process.kill()
        killed.process.wait()
        assert state_of(folder, ran)[0] == "RUNNING"
        assert folder.read_address() is not None

        with running(folder) as service:
            assert service.endpoint != killed.endpoint
            address = folder.read_address()
            assert address is not None
            assert address.pid == service.process.pid
            assert state_of(folder, ran) == ("FAILED", "the local service stopped while it ran")
            eventually(lambda: state_of(folder, waits)[0] == "RUNNING")
            assert service.end(signal.SIGTERM)[0] == 0

    jobs, _ = store_of(folder).jobs(name=None, page=0, limit=10)
    assert sorted(job.name for job in jobs) == ["daily_delays", "narrow", "slow_count"]


def test_a_service_logs_its_start_its_end_and_its_errors_and_prints_nothing(folder):
    with running(folder) as service:
        with closing(sqlite3.connect(folder.database)) as db:
            db.execute("DROP TABLE jobs")
        target = "/api/v1/jobs"
        response = httpx.get(service.endpoint + target, headers=signed("GET", target), trust_env=False)
        assert response.status_code == 500

        assert service.end(signal.SIGTERM) == (0, "served\n")

    lines = [json.loads(line) for line in folder.log.read_text().splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("the service has started", "INFO"),
        ("Exception in ASGI application", "ERROR"),
        ("the service ends", "INFO"),
    ]
    assert (lines[0]["contract"], lines[0]["pid"]) == ("executejob", service.process.pid)
    assert lines[1]["error"] == "OperationalError: no such table: jobs"
    assert "store.py" in lines[1]["frames"][-1]


def test_a_service_ends_while_a_request_hangs(folder):
    with running(folder) as service:
        host, _, port = service.endpoint.removeprefix("http://").partition(":")
        target = "/api/v1/jobs"
        head = [f"POST {target} HTTP/1.1", "host: localhost", "content-length: 100"]
        head += [f"{name}: {value}" for name, value in signed("POST", target).items()]
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall("\r\n".join([*head, "", "{"]).encode())

            assert service.end(signal.SIGTERM)[0] == 0


def test_an_unused_service_ends(folder):
    with running(folder, grace=GRACE) as service:
        assert service.ended() == (0, "served\n")

    assert folder.read_address() is None
    assert not is_served(folder)


def test_a_service_stays_while_it_has_a_live_run_or_a_user(folder):
    first, second = add_runs(folder, 2)
    with running(folder, grace=GRACE) as service:
        with pytest.raises(subprocess.TimeoutExpired):
            service.process.wait(timeout=2 * GRACE)

        hold = try_lock(folder.users_lock, shared=True)
        assert hold is not None
        (folder.path / "finish").touch()
        eventually(lambda: state_of(folder, second)[0] == "COMPLETED")
        with pytest.raises(subprocess.TimeoutExpired):
            service.process.wait(timeout=2 * GRACE)

        os.close(hold)
        assert service.ended() == (0, "served\n")
    assert state_of(folder, first)[0] == "COMPLETED"


def test_a_service_whose_folder_was_removed_ends(folder, tmp_path):
    folder.make()
    hold = try_lock(folder.users_lock, shared=True)
    assert hold is not None
    with running(folder, grace=GRACE) as service:
        folder.path.rename(tmp_path / "elsewhere")

        assert service.ended() == (0, "served\n")
    os.close(hold)


def test_a_port_in_use_is_refused_in_one_line(folder):
    folder.make()
    folder.write_address(Address("http://127.0.0.1:4242", "a", "s", 4711))  # a killed service leaves one
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            serve(folder, KEYS, nullcontext(ScriptedRuns()), port=port)

    assert str(refused.value) == (
        f"port {port} of 127.0.0.1 cannot be used (Address already in use); give another --port"
    )
    assert not is_served(folder)
    assert folder.read_address() is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("192.168.1.5", "http://192.168.1.5:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),  # noqa: S104
        ("::", "http://[::1]:1"),
        ("fd00::5", "http://[fd00::5]:1"),
    ],
)
def test_the_url_of_a_service_works_on_this_machine(host, url):
    assert _url(host, 1) == url


def test_a_service_listens_at_an_ipv6_address(folder):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with closing(socket.create_server(("::1", 0), family=socket.AF_INET6)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            serve(folder, KEYS, nullcontext(ScriptedRuns()), host=ip_address("::1"), port=port)

    assert str(refused.value) == (
        f"port {port} of ::1 cannot be used (Address already in use); give another --port"
    )


@pytest.mark.parametrize(
    ("address", "where"),
    [
        (Address("http://127.0.0.1:4242", "a", "s", 4711), " at http://127.0.0.1:4242, process 4711"),
        (None, ""),
    ],
    ids=["with an address", "without one"],
)
def test_a_folder_that_is_served_is_refused_in_one_line(folder, address, where):
    folder.make()
    lock = try_lock(folder.service_lock)
    assert lock is not None
    if address:
        folder.write_address(address)

    with pytest.raises(ConfigError) as refused:
        serve(folder, KEYS, nullcontext(ScriptedRuns()))

    os.close(lock)
    assert str(refused.value) == (
        f"a local service already serves {folder.path}{where}; use it, or give another --data"
    )
    assert folder.read_address() == address


def test_a_service_starts_while_another_process_reads_the_status(folder):
    folder.make()
    looking = try_lock(folder.service_lock, shared=True)
    assert looking is not None
    threading.Timer(0.02, os.close, [looking]).start()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(ConfigError, match=f"port {port} "):  # it owned the folder by then
            serve(folder, KEYS, nullcontext(ScriptedRuns()), port=port)


def test_a_process_that_cannot_serve_prints_one_line(tmp_path, capsys):
    (tmp_path / "local").write_text("a file in the way")

    assert main(str(tmp_path / "local")) == 3

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"the data folder {tmp_path}/local cannot be used (")
    assert printed.err.count("\n") == 1


def test_a_process_with_an_unknown_contract_prints_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DATAFLOW_LOCAL_CONTRACT", "g2")

    assert main(str(tmp_path / "local")) == 3
    assert capsys.readouterr() == (
        "",
        "DATAFLOW_LOCAL_CONTRACT is 'g2'; set it to executejob or 2026-10\n",
    )
