"""Real service processes, and real processes that use them."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import platformdirs
import pytest

from dataflow_magic.client.client import Client
from dataflow_magic.errors import BadParameter, ConfigError
from dataflow_magic.files import try_lock
from dataflow_magic.local import launch as module
from dataflow_magic.local.folder import Address, DataFolder
from dataflow_magic.local.launch import attach, check_installed, default_folder, peek
from dataflow_magic.models.wire import JobCondition
from tests.local.scripted import end_service, eventually, is_served

NO_PROCESS = 999_999_999  # beyond the ids of processes

USER = """
import os, sys
from pathlib import Path
from dataflow_magic.local.launch import attach
from dataflow_magic.local.folder import DataFolder

print("here", flush=True)
for line in sys.stdin:
    address, hold = attach(DataFolder(Path(sys.argv[1])))
    print(address.pid, flush=True)
"""


@dataclass
class User:
    """A process that attaches to a service on request and uses it until it ends."""

    process: subprocess.Popen[str]

    def attach(self) -> int:
        """Attach, and return the service's process id."""
        self.request()
        return self.answer()

    def request(self) -> None:
        asked = cast("IO[str]", self.process.stdin)
        asked.write("attach\n")
        asked.flush()

    def answer(self) -> int:
        return int(cast("IO[str]", self.process.stdout).readline())

    def kill(self) -> None:
        """Kill the whole group, as a closed terminal or a container would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def users(folder: DataFolder, count: int) -> Iterator[list[User]]:
    processes = [
        User(
            subprocess.Popen(
                [sys.executable, "-c", USER, folder.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        for _ in range(count)
    ]
    try:
        for user in processes:
            assert cast("IO[str]", user.process.stdout).readline() == "here\n"
        yield processes
    finally:
        for user in processes:
            user.process.kill()
            user.process.communicate()


@contextmanager
def served(folder: DataFolder) -> Iterator[Address]:
    address, hold = attach(folder)
    try:
        yield address
    finally:
        os.close(hold)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    folder = DataFolder(tmp_path / "local")
    yield folder
    end_service(folder)


def environment_of(pid: int) -> dict[str, str]:
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(variable.partition("=")[::2] for variable in variables if variable)


def test_the_default_folder_is_in_the_platforms_data_folder():
    expected = platformdirs.user_data_path("dataflow-magic", appauthor=False).resolve() / "local"

    assert default_folder({}).path == default_folder({"DATAFLOW_MAGIC_HOME": ""}).path == expected


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert default_folder({"DATAFLOW_MAGIC_HOME": "/data"}).path == Path("/data/local")
    assert default_folder({"DATAFLOW_MAGIC_HOME": "~/data"}).path == tmp_path / "data" / "local"
    assert default_folder({"DATAFLOW_MAGIC_HOME": "data"}).path == tmp_path / "data" / "local"


def test_a_missing_package_of_another_extra_is_named_with_its_use():
    with pytest.raises(ConfigError) as refused:
        check_installed(["no_such_package"], what="the demo", extra="local,notebook")

    assert (
        str(refused.value) == 'the demo needs no_such_package: pip install "dataflow-magic[local,notebook]"'
    )


def test_a_missing_extra_is_an_error_with_the_install_command():
    check_installed()
    with pytest.raises(ConfigError) as refused:
        check_installed(["sqlite3", "no_such_package", "nor_this_one"])

    assert str(refused.value) == (
        'the local service needs no_such_package, nor_this_one: pip install "dataflow-magic[local]"'
    )


@pytest.mark.anyio
async def test_attach_starts_a_service_that_takes_the_keys_of_its_address(folder):
    with served(folder) as address:
        async with Client(address.access_key, address.secret_key, address.endpoint) as client:
            assert (await client.list_jobs(name="daily_delays")).count == 1


def test_a_service_gets_no_cloud_keys_and_its_own_stay_private(folder, monkeypatch):
    monkeypatch.setenv("NCLOUD_ACCESS_KEY", "cloud-access")
    monkeypatch.setenv("NCLOUD_SECRET_KEY", "cloud-secret")
    monkeypatch.setenv("DATAFLOW_LOCAL_SECRET_KEY", "local-secret")
    monkeypatch.setenv("DATAFLOW_TARGET", "local")
    with served(folder) as address:
        environment = environment_of(address.pid)
        command = Path(f"/proc/{address.pid}/cmdline").read_text()

        assert environment["DATAFLOW_TARGET"] == "local"
        assert not {"NCLOUD_ACCESS_KEY", "NCLOUD_SECRET_KEY", "DATAFLOW_LOCAL_SECRET_KEY"} & set(environment)
        assert "secret" not in "".join(environment.values())
        for key in (address.access_key, address.secret_key):
            assert key not in command + "".join(environment.values())
            assert key not in folder.log.read_text() + folder.printed.read_text()
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder.path / "service.json").stat().st_mode) == 0o600
        assert os.getsid(address.pid) == address.pid


@pytest.mark.anyio
async def test_a_started_service_follows_the_contract_of_the_environment(folder, monkeypatch):
    monkeypatch.setenv("DATAFLOW_LOCAL_CONTRACT", "2026-10")
    with served(folder) as address:
        async with Client(address.access_key, address.secret_key, address.endpoint) as client:
            job = (await client.list_jobs(name="slow_count")).items[0]
            with pytest.raises(BadParameter, match="timeout: Input should be greater than or equal to 1"):
                await client.execute_job(job.job_id, JobCondition(timeout=0).over(job.condition))


def test_an_unknown_contract_is_an_error_of_attach(folder, monkeypatch):
    monkeypatch.setenv("DATAFLOW_LOCAL_CONTRACT", "g2")

    with pytest.raises(ConfigError) as refused:
        attach(folder)

    assert str(refused.value) == (
        "the local service ended at its start (code 3): "
        "DATAFLOW_LOCAL_CONTRACT is 'g2'; set it to executejob or 2026-10"
    )


def test_ten_processes_that_attach_at_once_share_one_service(folder):
    with users(folder, 10) as processes:
        for user in processes:
            user.request()
        pids = {user.answer() for user in processes}

        assert len(pids) == 1
        with served(folder) as address:
            assert address.pid in pids


def test_a_service_outlives_its_starter_and_ends_after_its_last_user(folder):
    with users(folder, 3) as (first, second, third):
        pid = first.attach()
        assert second.attach() == pid

        first.kill()  # the one that started it
        assert second.attach() == pid

        second.kill()
        assert third.attach() == pid  # within the grace time, as a restarted kernel

        third.kill()
        eventually(lambda: not is_served(folder))
    assert folder.read_address() is None
    assert folder.printed.read_text() == ""


def test_an_address_left_by_a_killed_service_is_replaced(folder):
    with served(folder) as killed:
        os.kill(killed.pid, signal.SIGKILL)
        eventually(lambda: not is_served(folder))
        assert folder.read_address() == killed

        with served(folder) as address:
            assert address.pid != killed.pid
            assert address.secret_key == killed.secret_key
            assert folder.read_address() == address
            # The killed child is reaped too.
            assert killed.pid not in [process.pid for process in module._started]


def test_attach_waits_for_an_ending_service_and_replaces_it(folder):
    with served(folder) as ending:
        os.kill(ending.pid, signal.SIGTERM)
        eventually(lambda: folder.read_address() is None)

        with served(folder) as address:
            assert address.pid != ending.pid


def test_peek_returns_a_running_service_and_starts_none(folder):
    assert peek(folder) is None
    assert not folder.path.exists()

    folder.make()
    folder.write_address(Address("http://127.0.0.1:1", "a", "s", NO_PROCESS))
    assert peek(folder) is None  # left by a killed one
    with served(folder) as address:
        assert peek(folder) == address


def test_a_service_that_cannot_start_is_one_line_with_its_last_line(folder):
    folder.make()
    folder.database.mkdir()

    with pytest.raises(ConfigError) as refused:
        attach(folder)

    assert str(refused.value) == (
        "the local service ended at its start (code 1): "
        "sqlite3.OperationalError: unable to open database file"
    )
    assert not is_served(folder)
    users_lock = try_lock(folder.users_lock)  # attach has released it
    assert users_lock is not None
    os.close(users_lock)


def test_the_output_of_an_older_service_is_not_quoted(folder):
    folder.make()
    folder.printed.write_text("older output\n")
    before = list(module._started)

    def started() -> list[subprocess.Popen[bytes]]:
        return [process for process in module._started if process not in before]

    def kill() -> None:
        eventually(started)
        started()[0].kill()

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(ConfigError) as refused:
        attach(folder)
    thread.join()

    assert str(refused.value) == "the local service ended at its start (code -9): it printed nothing"


def test_an_unusable_folder_is_refused_in_one_line(folder):
    folder.path.write_text("a file in the way")

    with pytest.raises(ConfigError, match="cannot be used"):
        attach(folder)

    folder.path.unlink()


@pytest.mark.parametrize(
    ("held", "what"),
    [
        ("start_lock", "another process has been starting the local service"),
        ("users_lock", "the local service has been ending"),
        ("service_lock", "a process has held the data folder without an address"),
    ],
)
def test_a_wait_for_another_process_times_out(folder, held, what):
    folder.make()
    lock = try_lock(getattr(folder, held))
    assert lock is not None

    with pytest.raises(ConfigError) as refused:
        attach(folder, wait_seconds=0.05)

    os.close(lock)
    assert str(refused.value) == f"{what} for 0.05 s; see its log, {folder.log}"


def test_a_wait_for_a_slow_start_times_out(folder):
    with pytest.raises(ConfigError) as refused:
        attach(folder, wait_seconds=0)

    assert str(refused.value) == f"the local service has been starting for 0 s; see its log, {folder.log}"
    eventually(lambda: peek(folder))


def test_a_service_that_another_process_has_just_started_is_used(folder):
    theirs = Address("http://127.0.0.1:4242", "a", "s", NO_PROCESS)
    locks: list[int] = []

    def start_another() -> None:
        eventually(folder.printed.exists)  # the start is under way
        lock = try_lock(folder.service_lock)
        assert lock is not None
        folder.write_address(theirs)
        locks.append(lock)

    thread = threading.Thread(target=start_another)
    thread.start()
    address, hold = attach(folder)
    thread.join()

    assert address == theirs
    for descriptor in (hold, *locks):
        os.close(descriptor)
