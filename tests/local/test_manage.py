"""Data folders as services leave them, and processes that own one as a service does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pytest

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.folder import Address, DataFolder
from dataflow_magic.local.manage import (
    Status,
    check_is_data_folder,
    counted,
    measure,
    read_status,
    reset,
    stop,
    wait_for_runs,
)
from dataflow_magic.local.store import Store, Tally
from dataflow_magic.models.wire import RunState
from tests.local.scripted import Clock, is_served

NO_PROCESS = 999_999_999  # beyond the ids of processes

SERVICE = """
import os, signal, sys, time
from pathlib import Path
from dataflow_magic.local.folder import Address, DataFolder

folder = DataFolder(Path(sys.argv[1]))
folder.own()
publish = lambda pid: folder.write_address(Address("http://127.0.0.1:1", "a", "b", pid))
{more}
print("serves", flush=True)
time.sleep(60)
"""
ENDS = "publish(os.getpid())"
IGNORES = "signal.signal(signal.SIGTERM, signal.SIG_IGN); publish(os.getpid())"
HAS_NO_ADDRESS = ""
IS_GONE = f"publish({NO_PROCESS})"
IS_REPLACED = f"signal.signal(signal.SIGTERM, lambda *_: publish({NO_PROCESS})); publish(os.getpid())"


@contextmanager
def service(folder: DataFolder, more: str) -> Iterator[subprocess.Popen[str]]:
    """A process that owns a folder as a service does."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE.format(more=more), folder.path], stdout=subprocess.PIPE, text=True
    )
    try:
        assert cast("IO[str]", process.stdout).readline() == "serves\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def folder(tmp_path):
    """A folder that a service has served."""
    folder = DataFolder(tmp_path / "local")
    folder.make()
    folder.service_lock.touch()
    return folder


@pytest.fixture
def store(folder):
    return Store(folder.database, Clock().now)


def add_run(store: Store) -> str:
    job = store.add_job("daily", "SCRIPT", max_concurrent_runs=None, condition={}, extra={})
    return store.add_run(job, condition={}, parameters={}, trigger_id=None, workflow_id=None).run_id


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_noun_is_plural_unless_the_number_is_1():
    assert [counted(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


# Status


def test_the_status_of_a_missing_folder_is_empty_and_creates_nothing(tmp_path):
    assert read_status(DataFolder(tmp_path / "none")) == Status(False, None, None, Tally(), 0, 0)
    assert tree(tmp_path) == []


def test_the_status_of_a_served_folder_has_its_address_and_start(folder, store):
    add_run(store)
    before = time.time()
    with service(folder, ENDS) as process:
        found = read_status(folder)

    assert found.is_served
    assert found.address == Address("http://127.0.0.1:1", "a", "b", process.pid)
    assert found.since is not None
    assert before - 1 <= found.since.timestamp() <= time.time()
    assert found.tally == Tally(jobs=1, runs=1, waiting=1)


def test_the_status_ignores_the_address_of_a_killed_service(folder):
    folder.write_address(Address("http://127.0.0.1:1", "a", "b", NO_PROCESS))

    found = read_status(folder)

    assert (found.is_served, found.address, found.since) == (False, None, None)


def test_targets_of_links_are_not_counted(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "large").write_bytes(bytes(1000))
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "file").write_bytes(bytes(7))
    (tmp_path / "in" / "link").symlink_to(tmp_path / "outside" / "large")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "outside")

    assert measure(tmp_path / "in") == (1, 7)


# Waiting


def test_the_wait_ends_at_once_without_live_runs(folder, store):
    run_id = add_run(store)
    store.move(run_id, RunState.RUNNING)
    store.move(run_id, RunState.COMPLETED)

    wait_for_runs(folder, 0)


@pytest.mark.parametrize("state", ["READY", "RUNNING"])
def test_a_wait_that_times_out_says_what_to_do(folder, store, state):
    run_id = add_run(store)
    store.move(run_id, state)

    with pytest.raises(ConfigError) as refused:
        wait_for_runs(folder, 0.15)

    assert str(refused.value) == (
        "1 run READY or RUNNING after 0.15 s, so the service was not stopped; "
        "give a longer --timeout, or leave out --wait to end the runs with the service"
    )


# Stopping


def test_stopping_without_a_service_returns_none(folder):
    folder.write_address(Address("http://127.0.0.1:1", "a", "b", NO_PROCESS))

    assert stop(folder) is None


def test_a_service_has_ended_when_stop_returns(folder):
    with service(folder, ENDS) as process:
        stopped = stop(folder)

        assert stopped is not None
        assert stopped.pid == process.pid
        assert not is_served(folder)
        assert process.wait(60) == -signal.SIGTERM


def test_a_service_that_a_user_replaces_counts_as_stopped(folder):
    with service(folder, IS_REPLACED) as process:
        stopped = stop(folder)

        assert stopped is not None
        assert stopped.pid == process.pid


@pytest.mark.parametrize(
    ("kind", "who"),
    [
        (IGNORES, "process {pid}, which got SIGTERM,"),
        (HAS_NO_ADDRESS, "a process without an address"),
        (IS_GONE, f"process {NO_PROCESS}, which got SIGTERM,"),
    ],
    ids=["ignores it", "has no address", "has another process's address"],
)
def test_a_process_that_does_not_end_is_an_error_after_the_timeout(folder, kind, who):
    with service(folder, kind) as process, pytest.raises(ConfigError) as refused:
        stop(folder, 0.25)

    assert str(refused.value) == (
        f"{who.format(pid=process.pid)} still serves {folder.path} after 0.25 s; see its log, {folder.log}"
    )


# Reset


def test_reset_deletes_what_a_service_makes_and_nothing_else(folder, store):
    add_run(store)
    folder.write_address(Address("http://127.0.0.1:1", "a", "b", NO_PROCESS))
    folder.log.write_text("words")
    (folder.path / "service.log.1").write_text("older words")
    (folder.objects / "bucket" / "deep").mkdir(parents=True)
    (folder.objects / "bucket" / "deep" / "object").write_text("x")
    (folder.path / "runs" / "one").mkdir(parents=True)
    (folder.path / "notes.txt").write_text("mine")

    reset(folder)

    assert tree(folder.path) == ["notes.txt", "objects", "service.lock"]
    reset(folder)  # a second reset finds nothing to delete


def test_reset_follows_no_link(folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("kept")
    (folder.objects / "bucket").symlink_to(tmp_path / "outside")
    (folder.path / "runs").symlink_to(tmp_path / "outside")
    folder.log.symlink_to(tmp_path / "outside" / "kept")

    reset(folder)

    assert (tmp_path / "outside" / "kept").read_text() == "kept"
    assert tree(folder.path) == ["objects", "service.lock"]


def no_lock(folder: DataFolder) -> None:
    folder.service_lock.unlink()


def other_lock(folder: DataFolder) -> None:
    folder.service_lock.write_text("a file of another program")


def no_objects(folder: DataFolder) -> None:
    folder.objects.rmdir()


def objects_elsewhere(folder: DataFolder) -> None:
    folder.objects.rmdir()
    folder.objects.symlink_to(folder.path.parent)


def nothing(folder: DataFolder) -> None:
    no_objects(folder)
    no_lock(folder)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (no_lock, "no service.lock"),
        (other_lock, "no service.lock"),
        (no_objects, "no objects"),
        (objects_elsewhere, "no objects"),
        (nothing, "no service.lock and no objects"),
    ],
    ids=["no lock", "a lock with content", "no objects", "objects is a link", "neither"],
)
def test_a_folder_of_another_kind_is_left_alone(folder, change, missing):
    change(folder)
    (folder.path / "state.sqlite3").write_text("mine")
    before = tree(folder.path)

    for act in (check_is_data_folder, reset):
        with pytest.raises(ConfigError) as refused:
            act(folder)

        assert str(refused.value) == (
            f"{folder.path} is not the data folder of a local service "
            f"({missing} as a service makes it); nothing was deleted"
        )
    assert tree(folder.path) == before


def test_a_folder_that_is_served_is_left_alone(folder):
    with service(folder, ENDS) as process:
        with pytest.raises(ConfigError, match=f"already serves {folder.path} at .*, process {process.pid};"):
            reset(folder)

        assert folder.read_address() is not None
