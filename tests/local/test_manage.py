"""Data folders as services leave them, and processes that hold one as a service does."""

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
from dataflow_magic.local.manage import Status, check_ours, counted, empty, look, measure, stop, wait_for_runs
from dataflow_magic.local.store import Store, Tally
from dataflow_magic.models.wire import RunState
from tests.local.scripted import Clock, is_served

NOBODY = 999_999_999  # beyond the ids of processes

SERVICE = """
import os, signal, sys, time
from pathlib import Path
from dataflow_magic.local.folder import Address, DataFolder

folder = DataFolder(Path(sys.argv[1]))
folder.own()
tell = lambda pid: folder.write_address(Address("http://127.0.0.1:1", "a", "b", pid))
{more}
print("serves", flush=True)
time.sleep(60)
"""
ENDS = "tell(os.getpid())"
IGNORES = "signal.signal(signal.SIGTERM, signal.SIG_IGN); tell(os.getpid())"
HAS_NO_ADDRESS = ""
IS_GONE = f"tell({NOBODY})"
IS_REPLACED = f"signal.signal(signal.SIGTERM, lambda *_: tell({NOBODY})); tell(os.getpid())"


@contextmanager
def service(folder: DataFolder, more: str) -> Iterator[subprocess.Popen[str]]:
    """A process that serves a folder as far as others can see."""
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
    """A folder that was served."""
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


def test_a_number_of_things_has_their_plural_where_it_is_not_one():
    assert [counted(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


# Looking


def test_a_folder_that_is_not_there_has_nothing_and_is_not_made(tmp_path):
    assert look(DataFolder(tmp_path / "none")) == Status(False, None, None, Tally(), 0, 0)
    assert tree(tmp_path) == []


def test_a_served_folder_tells_where_and_since_when(folder, store):
    add_run(store)
    before = time.time()
    with service(folder, ENDS) as process:
        found = look(folder)

    assert found.is_served
    assert found.address == Address("http://127.0.0.1:1", "a", "b", process.pid)
    assert found.since is not None
    assert before - 1 <= found.since.timestamp() <= time.time()
    assert found.tally == Tally(jobs=1, runs=1, waiting=1)


def test_an_address_that_a_killed_service_left_is_none(folder):
    folder.write_address(Address("http://127.0.0.1:1", "a", "b", NOBODY))

    found = look(folder)

    assert (found.is_served, found.address, found.since) == (False, None, None)


def test_what_links_lead_to_is_not_counted(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "large").write_bytes(bytes(1000))
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "file").write_bytes(bytes(7))
    (tmp_path / "in" / "link").symlink_to(tmp_path / "outside" / "large")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "outside")

    assert measure(tmp_path / "in") == (1, 7)


# Waiting


def test_no_run_is_waited_for_where_none_goes_on(folder, store):
    run_id = add_run(store)
    store.move(run_id, RunState.RUNNING)
    store.move(run_id, RunState.COMPLETED)

    wait_for_runs(folder, 0)


@pytest.mark.parametrize("state", ["READY", "RUNNING"])
def test_a_run_that_takes_too_long_is_told_with_what_helps(folder, store, state):
    run_id = add_run(store)
    store.move(run_id, state)

    with pytest.raises(ConfigError) as refused:
        wait_for_runs(folder, 0.15)

    assert str(refused.value) == (
        "1 run not over after 0.15 s, so the service goes on; "
        "give a longer --timeout, or leave out --wait to end them with it"
    )


# Stopping


def test_where_no_service_is_none_is_stopped(folder):
    folder.write_address(Address("http://127.0.0.1:1", "a", "b", NOBODY))

    assert stop(folder) is None


def test_a_service_is_gone_when_stopping_it_returns(folder):
    with service(folder, ENDS) as process:
        stopped = stop(folder)

        assert stopped is not None
        assert stopped.pid == process.pid
        assert not is_served(folder)
        assert process.wait(60) == -signal.SIGTERM


def test_a_service_that_a_user_starts_anew_counts_as_stopped(folder):
    with service(folder, IS_REPLACED) as process:
        stopped = stop(folder)

        assert stopped is not None
        assert stopped.pid == process.pid


@pytest.mark.parametrize(
    ("kind", "who"),
    [
        (IGNORES, "process {pid}, which was asked to end,"),
        (HAS_NO_ADDRESS, "a process without an address"),
        (IS_GONE, f"process {NOBODY}, which was asked to end,"),
    ],
    ids=["ignores it", "has no address", "has another process's address"],
)
def test_a_process_that_does_not_end_is_told_after_a_while(folder, kind, who):
    with service(folder, kind) as process, pytest.raises(ConfigError) as refused:
        stop(folder, 0.25)

    assert str(refused.value) == (
        f"{who.format(pid=process.pid)} still serves {folder.path} after 0.25 s; its log is {folder.log}"
    )


# Emptying


def test_an_emptied_folder_is_as_new_and_keeps_what_is_not_ours(folder, store):
    add_run(store)
    folder.write_address(Address("http://127.0.0.1:1", "a", "b", NOBODY))
    folder.log.write_text("words")
    (folder.path / "service.log.1").write_text("older words")
    (folder.objects / "bucket" / "deep").mkdir(parents=True)
    (folder.objects / "bucket" / "deep" / "object").write_text("x")
    (folder.path / "runs" / "one").mkdir(parents=True)
    (folder.path / "notes.txt").write_text("mine")

    empty(folder)

    assert tree(folder.path) == ["notes.txt", "objects", "service.lock"]
    empty(folder)  # nothing more to do


def test_no_link_is_followed(folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("kept")
    (folder.objects / "bucket").symlink_to(tmp_path / "outside")
    (folder.path / "runs").symlink_to(tmp_path / "outside")
    folder.log.symlink_to(tmp_path / "outside" / "kept")

    empty(folder)

    assert (tmp_path / "outside" / "kept").read_text() == "kept"
    assert tree(folder.path) == ["objects", "service.lock"]


def no_lock(folder: DataFolder) -> None:
    folder.service_lock.unlink()


def other_lock(folder: DataFolder) -> None:
    folder.service_lock.write_text("a file of somebody else")


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
    ids=["no lock", "a lock with words", "no objects", "objects that are elsewhere", "neither"],
)
def test_a_folder_that_is_not_a_services_is_left_alone(folder, change, missing):
    change(folder)
    (folder.path / "state.sqlite3").write_text("mine")
    before = tree(folder.path)

    for act in (check_ours, empty):
        with pytest.raises(ConfigError) as refused:
            act(folder)

        assert str(refused.value) == (
            f"{folder.path} does not look like the data folder of a local service "
            f"({missing} as one makes it); nothing was deleted"
        )
    assert tree(folder.path) == before


def test_a_folder_that_is_served_is_left_alone(folder):
    with service(folder, ENDS) as process:
        with pytest.raises(ConfigError, match=f"already serves {folder.path} at .*, process {process.pid};"):
            empty(folder)

        assert folder.read_address() is not None
