"""Looks at a data folder and its service, ends the service, empties the folder. Starts nothing and prints nothing."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.folder import Address, DataFolder
from dataflow_magic.local.store import Tally, tally

__all__ = ["Status", "check_ours", "counted", "empty", "look", "measure", "stop", "wait_for_runs"]

STOP_SECONDS = 30.0
"""For the service to end its runs and be gone."""
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Status:
    """A data folder at one moment.

    Parameters
    ----------
    is_served
        Whether a process serves it; one that starts or ends has no address.
    since
        When its service told its address.
    tally
        None where the database cannot be read.
    files, size
        How many there are below the folder, and their bytes.
    """

    is_served: bool
    address: Address | None
    since: datetime | None
    tally: Tally | None
    files: int
    size: int


def counted(number: int, thing: str) -> str:
    """Return a number of things in words: ``1 run``, ``2 runs``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def look(folder: DataFolder) -> Status:
    """Return how things stand with a folder, which need not exist."""
    is_served = folder.is_served
    return Status(
        is_served,
        folder.read_address() if is_served else None,
        folder.served_since() if is_served else None,
        tally(folder.database),
        *measure(folder.path),
    )


def measure(folder: Path) -> tuple[int, int]:
    """Return how many files are below a folder, and their bytes; what links lead to is not counted."""
    sizes = []
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # a run's scratch file, gone meanwhile
                found = os.lstat(os.path.join(place, name))  # noqa: PTH118 - thousands of them
                if stat.S_ISREG(found.st_mode):
                    sizes.append(found.st_size)
    return len(sizes), sum(sizes)


def wait_for_runs(folder: DataFolder, seconds: float) -> None:
    """Return once no run goes on or waits; new ones that are started meanwhile are waited for as well.

    Raises
    ------
    ConfigError
        Some still do after so long.
    """
    deadline = time.monotonic() + seconds
    while (found := tally(folder.database)) and (live := found.running + found.waiting):
        if time.monotonic() >= deadline:
            raise ConfigError(
                f"{counted(live, 'run')} not over after {seconds:g} s, so the service goes on; "
                "give a longer --timeout, or leave out --wait to end them with it"
            )
        time.sleep(LOOK_SECONDS)


def stop(folder: DataFolder, seconds: float = STOP_SECONDS) -> Address | None:
    """Have the folder's service end, and return where it was once it is gone; None when there was none.

    Raises
    ------
    ConfigError
        It is not gone after so long.
    """
    deadline = time.monotonic() + seconds
    asked: Address | None = None
    while folder.is_served:
        address = folder.read_address()
        if address and asked and address.pid != asked.pid:
            break  # a user of it was quick to start it anew
        if address and not asked:
            asked = address
            with suppress(ProcessLookupError):
                os.kill(address.pid, signal.SIGTERM)
        if time.monotonic() >= deadline:
            who = f"process {asked.pid}, which was asked to end," if asked else "a process without an address"
            raise ConfigError(
                f"{who} still serves {folder.path} after {seconds:g} s; its log is {folder.log}"
            )
        time.sleep(LOOK_SECONDS)
    return asked


def check_ours(folder: DataFolder) -> None:
    """Refuse a folder that no local service has made.

    Raises
    ------
    ConfigError
        Saying what is missing.
    """
    # Both are made before anything else, and the lock never has a content.
    marks = {folder.service_lock: _is_empty_file, folder.objects: _is_folder}
    missing = [path.name for path, is_mark in marks.items() if not is_mark(path)]
    if missing:
        raise ConfigError(
            f"{folder.path} does not look like the data folder of a local service "
            f"(no {' and no '.join(missing)} as one makes it); nothing was deleted"
        )


def empty(folder: DataFolder) -> None:
    """Delete the jobs, runs, logs and objects of a folder nobody serves; what a service does not make stays.

    Raises
    ------
    ConfigError
        It is not ours, or is served.
    OSError
        Something cannot be deleted.
    """
    check_ours(folder)
    lock = folder.own()
    try:
        for path in folder.contents:
            if _is_folder(path):
                shutil.rmtree(path)  # of links it deletes the link
            else:
                path.unlink(missing_ok=True)
        folder.make()
    finally:
        os.close(lock)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_empty_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == 0
