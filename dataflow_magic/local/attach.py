"""Finds the local service of a data folder, or starts it. What a kernel imports of this package; no web framework."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.folder import Address, DataFolder, try_lock

__all__ = ["INSTALL", "attach", "default_folder", "peek"]

INSTALL = 'pip install "dataflow-magic[local]"'
START_SECONDS = 30.0
LOOK_SECONDS = 0.02

_started: list[subprocess.Popen[bytes]] = []
"""Services this process started, kept so that their end is noticed and nothing warns of a forgotten child."""


def default_folder(environment: Mapping[str, str]) -> DataFolder:
    """Return the data folder of this user: ``$DATAFLOW_MAGIC_HOME/local``, else the platform's place for data."""
    home = environment.get("DATAFLOW_MAGIC_HOME")
    base = Path(home).expanduser() if home else platformdirs.user_data_path("dataflow-magic", appauthor=False)
    return DataFolder(base.resolve() / "local")


def attach(folder: DataFolder) -> tuple[Address, int]:
    """Return the address of the folder's service, started if need be, and this process's hold on it.

    Returns
    -------
    address
        Where it is and the keys it takes.
    hold
        A descriptor; the service goes on at least until it is closed, or this process ends.

    Raises
    ------
    ConfigError
        The extra is not installed, or the service does not start; the message has its last words.
    """
    check_installed()
    folder.make()
    with _one_at_a_time(folder):
        hold = _hold(folder)
        try:
            return _running(folder) or _start(folder), hold
        except BaseException:
            os.close(hold)
            raise


def peek(folder: DataFolder) -> Address | None:
    """Return the address of the folder's service if it runs, without starting it."""
    if not folder.service_lock.exists():
        return None
    lock = try_lock(folder.service_lock, shared=True)
    if lock is None:
        return folder.read_address()
    os.close(lock)
    return None


def check_installed() -> None:
    """Refuse, with the command that helps, where the extra is missing.

    Raises
    ------
    ConfigError
        Naming the missing packages and the install command.
    """
    missing = [name for name in ("pyspark", "starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the local service needs {', '.join(missing)}: {INSTALL}")


@contextmanager
def _one_at_a_time(folder: DataFolder) -> Iterator[None]:
    descriptor = os.open(folder.start_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in _looks("another process has been starting the local service", folder):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
        yield
    finally:
        os.close(descriptor)


def _hold(folder: DataFolder) -> int:
    for _ in _looks(
        "the local service has been ending", folder
    ):  # it holds the lock whole only while it ends
        hold = try_lock(folder.users_lock, shared=True)
        if hold is not None:
            return hold
    raise AssertionError("bounded above")  # pragma: no cover


def _running(folder: DataFolder) -> Address | None:
    """Return the address of a service that runs, waiting for one that is about to; None when there is none."""
    for _ in _looks("a local service holds the folder without saying where it is", folder):
        lock = try_lock(folder.service_lock, shared=True)
        if lock is not None:
            os.close(lock)
            folder.remove_address()  # left by a process that was killed
            return None
        address = folder.read_address()
        if address is not None:
            return address
    raise AssertionError("bounded above")  # pragma: no cover


def _start(folder: DataFolder) -> Address:
    # The service needs none of the cloud's keys, and scripts run under it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NCLOUD_")}
    with folder.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "dataflow_magic.local", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=folder.path,
            start_new_session=True,  # an interrupt of the kernel is not meant for it
        )
    _started.append(process)
    for _ in _looks("the local service has been starting", folder):
        address = folder.read_address()
        if address is not None and address.pid == process.pid:
            return address
        if process.poll() is not None:
            break
    raise ConfigError(
        f"the local service ended at its start (code {process.returncode}): {_last_words(folder)}"
    )


def _looks(what: str, folder: DataFolder) -> Iterator[None]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        yield
        time.sleep(LOOK_SECONDS)
    raise ConfigError(f"{what} for {START_SECONDS:g} s; its log is {folder.log}: {_last_words(folder)}")


def _last_words(folder: DataFolder) -> str:
    try:
        lines = folder.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it said nothing"
