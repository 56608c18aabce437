"""Finds the local service of a data folder, or starts it. Kernels import this module, so it imports no web framework."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from dataflow_magic.config.folders import user_folder
from dataflow_magic.errors import ConfigError
from dataflow_magic.files import try_lock
from dataflow_magic.local.folder import Address, DataFolder

__all__ = ["attach", "cache_folder", "default_folder", "peek", "peek_at"]

NEEDED = ("pyspark", "starlette", "uvicorn")
ATTACH_TIMEOUT_SECONDS = 30.0
ATTACH_POLL_SECONDS = 0.02

_started: list[subprocess.Popen[bytes]] = []
"""Services this process started; kept, so that each is reaped and Python does not warn of it."""


def default_folder(environment: Mapping[str, str]) -> DataFolder:
    """Return the data folder of this user: ``$DATAFLOW_MAGIC_HOME/local``, else the platform's folder for data."""
    return DataFolder(user_folder("data", environment) / "local")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of files that can be made again: ``$DATAFLOW_MAGIC_HOME/cache``, else the platform's cache folder."""
    folder = user_folder("cache", environment)
    return folder / "cache" if environment.get("DATAFLOW_MAGIC_HOME") else folder


def attach(folder: DataFolder, *, wait_seconds: float = ATTACH_TIMEOUT_SECONDS) -> tuple[Address, int]:
    """Return the address of the folder's service and this process's hold on it; start the service if none runs.

    Parameters
    ----------
    wait_seconds
        Timeout of each wait: for another process that starts the service, for an old service that ends, for the new
        service's address.

    Returns
    -------
    address
        Its URL and keys.
    hold
        A descriptor. The service runs at least until it is closed, or this process and its forks have ended.

    Raises
    ------
    ConfigError
        The extra is not installed, or the service does not start; the message has the last line it printed.
    """
    check_installed()
    folder.make()
    starting = _lock(
        folder.start_lock, _Wait(folder, "another process has been starting the local service", wait_seconds)
    )
    try:
        # The service takes this lock exclusively only while it ends.
        ending = _Wait(folder, "the local service has been ending", wait_seconds)
        hold = _lock(folder.users_lock, ending, shared=True)
        try:
            return _running(folder, wait_seconds) or _start(folder, wait_seconds), hold
        except BaseException:
            os.close(hold)
            raise
    finally:
        os.close(starting)


def peek(folder: DataFolder) -> Address | None:
    """Return the address of the folder's service; None when none runs. Starts nothing."""
    return folder.read_address() if folder.is_served else None


def peek_at(folder: DataFolder, endpoint: str) -> Address | None:
    """Return the address of the folder's service if it listens at an endpoint, which may name it ``localhost``.

    Another program may listen at any other endpoint, and would get signatures that this service accepts.
    """
    address = peek(folder)
    if address is None:
        return None
    asked, known = urlsplit(endpoint), urlsplit(address.endpoint)
    is_same = (asked.scheme, asked.port) == (known.scheme, known.port)
    return address if is_same and asked.hostname in {"localhost", known.hostname} else None


def check_installed(
    packages: Iterable[str] = NEEDED, *, what: str = "the local service", extra: str = "local"
) -> None:
    """Raise unless the packages of an extra are installed.

    Raises
    ------
    ConfigError
        Packages are missing; the message names them and the install command.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f'{what} needs {", ".join(missing)}: pip install "dataflow-magic[{extra}]"')


class _Wait:
    """One wait with a timeout, for a loop that sleeps between its looks."""

    def __init__(self, folder: DataFolder, what: str, seconds: float) -> None:
        self._message = f"{what} for {seconds:g} s; see its log, {folder.log}"
        self._deadline = time.monotonic() + seconds

    def sleep(self) -> None:
        if time.monotonic() >= self._deadline:
            raise ConfigError(self._message)
        time.sleep(ATTACH_POLL_SECONDS)


def _lock(path: Path, wait: _Wait, *, shared: bool = False) -> int:
    while (lock := try_lock(path, shared=shared)) is None:
        wait.sleep()
    return lock


def _running(folder: DataFolder, wait_seconds: float) -> Address | None:
    """Return the address of the service that runs, once it has started; None when none runs, or it has ended."""
    wait = _Wait(folder, "a process has held the data folder without an address", wait_seconds)
    while folder.is_served:
        if address := folder.read_address():
            return address
        wait.sleep()
    return None


def _start(folder: DataFolder, wait_seconds: float) -> Address:
    _started[:] = [process for process in _started if process.poll() is None]
    with folder.printed.open("wb") as printed:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", "dataflow_magic.local", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            env=_service_environment(os.environ),
            cwd=folder.path,
            start_new_session=True,  # an interrupt of the kernel must not reach it
        )
    _started.append(process)
    wait = _Wait(folder, "the local service has been starting", wait_seconds)
    while process.poll() is None:
        address = folder.read_address()
        if address and address.pid == process.pid:
            return address
        wait.sleep()
    # A service from the command line may have been faster; it serves as well.
    if other := _running(folder, wait_seconds):
        return other
    raise ConfigError(
        f"the local service ended at its start (code {process.returncode}): {_last_line(folder)}"
    )


def _service_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in inherited.items() if not _is_private(name)}
    if kept.get("DATAFLOW_MAGIC_HOME"):  # the service has another working folder
        kept["DATAFLOW_MAGIC_HOME"] = str(user_folder("data", kept))
    return kept


def _is_private(name: str) -> bool:
    # The service runs scripts, and needs no keys of the cloud.
    return name.startswith("NCLOUD_") or (name.startswith("DATAFLOW_") and name.endswith("_KEY"))


def _last_line(folder: DataFolder) -> str:
    lines = folder.printed.read_bytes().decode("utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
