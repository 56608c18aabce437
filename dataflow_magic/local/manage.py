"""Reads the status of a data folder and its service, stops the service, resets the folder. Starts and prints nothing."""

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

__all__ = [
    "Status",
    "check_is_data_folder",
    "counted",
    "measure",
    "read_status",
    "reset",
    "stop",
    "wait_for_runs",
]

STOP_TIMEOUT_SECONDS = 30.0
"""Time for the service to end its runs and itself."""
STATUS_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Status:
    """A data folder at one moment.

    Parameters
    ----------
    is_served
        Whether a process serves it; a service that starts or ends has no address.
    since
        When the service published its address.
    tally
        None when the database cannot be read.
    files, size
        How many files are below the folder, and their bytes.
    """

    is_served: bool
    address: Address | None
    since: datetime | None
    tally: Tally | None
    files: int
    size: int


def counted(number: int, thing: str) -> str:
    """Return a number with its noun: ``1 run``, ``2 runs``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def read_status(folder: DataFolder) -> Status:
    """Return the status of a folder, which need not exist."""
    is_served = folder.is_served
    return Status(
        is_served,
        folder.read_address() if is_served else None,
        folder.served_since() if is_served else None,
        tally(folder.database),
        *measure(folder.path),
    )


def measure(folder: Path) -> tuple[int, int]:
    """Return how many files are below a folder, and their bytes; targets of links are not counted."""
    sizes = []
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # a run has removed its scratch file
                found = os.lstat(os.path.join(place, name))  # noqa: PTH118 - faster, for thousands of files
                if stat.S_ISREG(found.st_mode):
                    sizes.append(found.st_size)
    return len(sizes), sum(sizes)


def wait_for_runs(folder: DataFolder, seconds: float) -> None:
    """Return once no run is READY or RUNNING, runs included that are started during the wait.

    Raises
    ------
    ConfigError
        Runs are still READY or RUNNING after this time.
    """
    deadline = time.monotonic() + seconds
    while (found := tally(folder.database)) and (live := found.running + found.waiting):
        if time.monotonic() >= deadline:
            raise ConfigError(
                f"{counted(live, 'run')} READY or RUNNING after {seconds:g} s, so the service was not stopped; "
                "give a longer --timeout, or leave out --wait to end the runs with the service"
            )
        time.sleep(STATUS_POLL_SECONDS)


def stop(folder: DataFolder, seconds: float = STOP_TIMEOUT_SECONDS) -> Address | None:
    """Stop the folder's service, and return its address once it has ended; None when none ran.

    Raises
    ------
    ConfigError
        The service has not ended after this time.
    """
    deadline = time.monotonic() + seconds
    signaled: Address | None = None
    while folder.is_served:
        address = folder.read_address()
        if address and signaled and address.pid != signaled.pid:
            break  # a user has already started the next service
        if address and not signaled:
            signaled = address
            with suppress(ProcessLookupError):
                os.kill(address.pid, signal.SIGTERM)
        if time.monotonic() >= deadline:
            who = (
                f"process {signaled.pid}, which got SIGTERM," if signaled else "a process without an address"
            )
            raise ConfigError(
                f"{who} still serves {folder.path} after {seconds:g} s; see its log, {folder.log}"
            )
        time.sleep(STATUS_POLL_SECONDS)
    return signaled


def check_is_data_folder(folder: DataFolder) -> None:
    """Raise unless a local service has made the folder.

    Raises
    ------
    ConfigError
        A file that every service makes is missing; the message names it.
    """
    # A service makes both before anything else, and the lock stays empty.
    marks = {folder.service_lock: _is_empty_file, folder.objects: _is_folder}
    missing = [path.name for path, is_mark in marks.items() if not is_mark(path)]
    if missing:
        raise ConfigError(
            f"{folder.path} is not the data folder of a local service "
            f"(no {' and no '.join(missing)} as a service makes it); nothing was deleted"
        )


def reset(folder: DataFolder) -> None:
    """Delete the jobs, runs, logs and objects of a folder; other files stay.

    Raises
    ------
    ConfigError
        It is not a data folder, or a service serves it.
    OSError
        A file cannot be deleted.
    """
    check_is_data_folder(folder)
    lock = folder.own()
    try:
        for path in folder.contents:
            if _is_folder(path):
                shutil.rmtree(path)  # follows no link
            else:
                path.unlink(missing_ok=True)
        folder.make()
    finally:
        os.close(lock)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_empty_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == 0
