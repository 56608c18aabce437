"""The local service of a data folder from outside: the processes of its runs, and its end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataflow_magic.files import try_lock
from dataflow_magic.local import launch
from dataflow_magic.local.folder import DataFolder

__all__ = ["no_credentials", "processes_of", "service_folder"]

END_SECONDS = 20.0


@contextmanager
def service_folder(home: Path, archives: Path | None = None) -> Iterator[DataFolder]:
    """Give the data folder below a ``DATAFLOW_MAGIC_HOME``; its service is stopped afterwards.

    Its JVMs use the archive of classes in `archives`, if that is given.
    """
    if archives is not None:
        home.mkdir(exist_ok=True)
        (home / "cache").symlink_to(archives)
    folder = DataFolder(home.resolve() / "local")
    try:
        yield folder
    finally:
        if folder.service_lock.exists():
            _end_service(folder)


def processes_of(folder: DataFolder, run_id: str) -> list[int]:
    """Return the live processes of a run: all inherit its private folder as TMPDIR."""
    mark = f"TMPDIR={folder.path}/runs/{run_id}-".encode()
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            # Gone meanwhile, or another user's.
            with suppress(OSError):
                environment = (process / "environ").read_bytes()
                if any(variable.startswith(mark) for variable in environment.split(b"\0")):
                    found.append(int(process.name))
    return found


def no_credentials() -> dict[str, str | None]:
    """Return changes to the environment that remove all variables which choose a target or its keys."""
    return {
        name: None
        for name in os.environ
        if name.startswith(("NCLOUD_", "DATAFLOW_")) and name != "DATAFLOW_LOCAL_WARM"
    }


def _end_service(folder: DataFolder) -> None:
    deadline = time.monotonic() + END_SECONDS
    asked: int | None = None
    while not _is_ended(folder):
        address, late = folder.read_address(), time.monotonic() > deadline
        if address and (late or address.pid != asked):
            asked = address.pid
            with suppress(ProcessLookupError):
                os.kill(asked, signal.SIGKILL if late else signal.SIGTERM)
        assert time.monotonic() < deadline + 1, f"the service of {folder.path} does not end"
        time.sleep(0.05)
    for process in launch._started:
        # Python warns of a child that was never waited for.
        if process.pid == asked:
            process.wait(END_SECONDS)


def _is_ended(folder: DataFolder) -> bool:
    lock = try_lock(folder.service_lock)
    if lock is not None:
        os.close(lock)
    return lock is not None
