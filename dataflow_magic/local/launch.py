"""Finds the local service of a data folder, or starts it. What a kernel imports of this package; no web framework."""

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
WAIT_SECONDS = 30.0
LOOK_SECONDS = 0.02

T = TypeVar("T")

_started: list[subprocess.Popen[bytes]] = []
"""Services this process started, kept so that their end is noticed and nothing warns of a forgotten child."""


def default_folder(environment: Mapping[str, str]) -> DataFolder:
    """Return the data folder of this user: ``$DATAFLOW_MAGIC_HOME/local``, else the platform's place for data."""
    home = environment.get("DATAFLOW_MAGIC_HOME")
    base = Path(home).expanduser() if home else platformdirs.user_data_path("dataflow-magic", appauthor=False)
    return DataFolder(base.resolve() / "local")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return where what can be made again is kept: ``$DATAFLOW_MAGIC_HOME/cache``, else the platform's place for caches."""
    home = environment.get("DATAFLOW_MAGIC_HOME")
    if home:
        return Path(home).expanduser().resolve() / "cache"
    return platformdirs.user_cache_path("dataflow-magic", appauthor=False)


def attach(folder: DataFolder, *, wait_seconds: float = WAIT_SECONDS) -> tuple[Address, int]:
    """Return the address of the folder's service, started if need be, and this process's hold on it.

    Parameters
    ----------
    wait_seconds
        For each of: another process that starts the service, an old one that ends, the new one's first sign.

    Returns
    -------
    address
        Where it is and the keys it takes.
    hold
        A descriptor; the service goes on at least until it is closed, or this process and its forks have ended.

    Raises
    ------
    ConfigError
        The extra is not installed, or the service does not start; the message has its last words.
    """
    check_installed()
    folder.make()
    wait = _Wait(folder, wait_seconds)
    starting = wait.until(
        lambda: try_lock(folder.start_lock), "another process has been starting the local service"
    )
    try:
        # The service takes this lock whole only while it ends.
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
    """Return the address of the folder's service if it runs, without starting it."""
    return folder.read_address() if folder.is_served else None


def check_installed(
    packages: Iterable[str] = NEEDED, *, what: str = "the local service", extra: str = "local"
) -> None:
    """Refuse, with the command that helps, where an extra of this package is missing.

    Raises
    ------
    ConfigError
        Naming the missing packages and the install command.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f'{what} needs {", ".join(missing)}: pip install "dataflow-magic[{extra}]"')


@dataclass(frozen=True, slots=True)
class _Wait:
    """Patience, and what to say when it is over."""

    folder: DataFolder
    seconds: float

    def until(self, look: Callable[[], T | None], what: str) -> T:
        """Return what ``look`` gives as soon as that is not None."""
        deadline = time.monotonic() + self.seconds
        while (found := look()) is None:
            if time.monotonic() >= deadline:
                raise ConfigError(f"{what} for {self.seconds:g} s; its log is {self.folder.log}")
            time.sleep(LOOK_SECONDS)
        return found


def _running(folder: DataFolder, wait: _Wait) -> Address | None:
    """Return the address of a service that runs, waiting for one that starts or ends; None when there is none."""

    def look() -> Address | Literal["none"] | None:
        return folder.read_address() if folder.is_served else "none"

    found: Address | Literal["none"] = wait.until(
        look, "a process holds the data folder without saying where its service is"
    )
    return None if found == "none" else found


def _start(folder: DataFolder, wait: _Wait) -> Address:
    _started[:] = [process for process in _started if process.poll() is None]
    with folder.words.open("wb") as words:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", "dataflow_magic.local", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env={name: value for name, value in os.environ.items() if not _is_private(name)},
            cwd=folder.path,
            start_new_session=True,  # an interrupt of the kernel is not meant for it
        )
    _started.append(process)

    def look() -> Address | Literal["ended"] | None:
        if process.poll() is not None:
            return "ended"
        address = folder.read_address()
        return address if address and address.pid == process.pid else None

    found: Address | Literal["ended"] = wait.until(look, "the local service has been starting")
    if found == "ended":
        # Where somebody else was quicker, on the command line, theirs is as good.
        if other := _running(folder, wait):
            return other
        raise ConfigError(
            f"the local service ended at its start (code {process.returncode}): {_last_words(folder)}"
        )
    return found


def _is_private(name: str) -> bool:
    # The service needs no key of the cloud, and scripts run under it.
    return name.startswith("NCLOUD_") or (name.startswith("DATAFLOW_") and name.endswith("_KEY"))


def _last_words(folder: DataFolder) -> str:
    words = folder.words.read_bytes().decode("utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(words) if line.strip()), "it said nothing")
