"""Finds the local service of a data folder, or starts it. Kernels import this module, so it imports no web framework."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import platformdirs

from dataflow_magic.errors import ConfigError
from dataflow_magic.files import try_lock
from dataflow_magic.local.folder import Address, DataFolder

__all__ = ["attach", "cache_folder", "default_folder", "peek"]

NEEDED = ("pyspark", "starlette", "uvicorn")
ATTACH_TIMEOUT_SECONDS = 30.0
ATTACH_POLL_SECONDS = 0.02

T = TypeVar("T")

_started: list[subprocess.Popen[bytes]] = []
"""Services this process started; kept, so that each is reaped and Python does not warn of it."""


def default_folder(environment: Mapping[str, str]) -> DataFolder:
    """Return the data folder of this user: ``$DATAFLOW_MAGIC_HOME/local``, else the platform's folder for data."""
    home = environment.get("DATAFLOW_MAGIC_HOME")
    base = Path(home).expanduser() if home else platformdirs.user_data_path("dataflow-magic", appauthor=False)
    return DataFolder(base.resolve() / "local")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of files that can be made again: ``$DATAFLOW_MAGIC_HOME/cache``, else the platform's cache folder."""
    home = environment.get("DATAFLOW_MAGIC_HOME")
    if home:
        return Path(home).expanduser().resolve() / "cache"
    return platformdirs.user_cache_path("dataflow-magic", appauthor=False)


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
    wait = _Wait(folder, wait_seconds)
    starting = wait.until(
        lambda: try_lock(folder.start_lock), "another process has been starting the local service"
    )
    try:
        # The service takes this lock exclusively only while it ends.
        hold = wait.until(
            lambda: try_lock(folder.users_lock, shared=True), "the local service has been ending"
        )
        try:
            return _running(folder, wait) or _start(folder, wait), hold
        except BaseException:
            os.close(hold)
            raise
    finally:
        os.close(starting)


def peek(folder: DataFolder) -> Address | None:
    """Return the address of the folder's service; None when none runs. Starts nothing."""
    return folder.read_address() if folder.is_served else None


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


@dataclass(frozen=True, slots=True)
class _Wait:
    """Waits for one thing at a time, each with the same timeout."""

    folder: DataFolder
    seconds: float

    def until(self, look: Callable[[], T | None], what: str) -> T:
        """Return the first result of ``look`` that is not None; ``what`` describes the wait in the error."""
        deadline = time.monotonic() + self.seconds
        while (found := look()) is None:
            if time.monotonic() >= deadline:
                raise ConfigError(f"{what} for {self.seconds:g} s; see its log, {self.folder.log}")
            time.sleep(ATTACH_POLL_SECONDS)
        return found


def _running(folder: DataFolder, wait: _Wait) -> Address | None:
    """Return the address of the service that runs, once it has started; None when none runs, or it has ended."""

    def look() -> Address | Literal["none"] | None:
        return folder.read_address() if folder.is_served else "none"

    found: Address | Literal["none"] = wait.until(
        look, "a process has held the data folder without an address"
    )
    return None if found == "none" else found


def _start(folder: DataFolder, wait: _Wait) -> Address:
    _started[:] = [process for process in _started if process.poll() is None]
    with folder.printed.open("wb") as printed:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", "dataflow_magic.local", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            env={name: value for name, value in os.environ.items() if not _is_private(name)},
            cwd=folder.path,
            start_new_session=True,  # an interrupt of the kernel must not reach it
        )
    _started.append(process)

    def look() -> Address | Literal["ended"] | None:
        if process.poll() is not None:
            return "ended"
        address = folder.read_address()
        return address if address and address.pid == process.pid else None

    found: Address | Literal["ended"] = wait.until(look, "the local service has been starting")
    if found == "ended":
        # A service from the command line may have been faster; it serves as well.
        if other := _running(folder, wait):
            return other
        raise ConfigError(
            f"the local service ended at its start (code {process.returncode}): {_last_line(folder)}"
        )
    return found


def _is_private(name: str) -> bool:
    # The service runs scripts, and needs no keys of the cloud.
    return name.startswith("NCLOUD_") or (name.startswith("DATAFLOW_") and name.endswith("_KEY"))


def _last_line(folder: DataFolder) -> str:
    lines = folder.printed.read_bytes().decode("utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
