"""The data folder of a local service: the names of its files, its address, its locks. It knows no HTTP and no database.

One process serves a folder; it holds ``service.lock``. Each user holds ``users.lock`` shared: when the service gets
that lock exclusively, its last user is gone.
"""

from __future__ import annotations

import json
import os
import stat
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from dataflow_magic.errors import ConfigError
from dataflow_magic.files import create_private, is_locked, try_lock
from dataflow_magic.models.wire import KST

__all__ = ["Address", "DataFolder"]

_NOT_IN_PATHS = frozenset(":;,[]{}*?\\")
"""What separates Java's class path, the attributes of a Derby URL and Spark's lists of files, and the signs of the patterns
as which Spark reads the folder of a table."""
OWN_ATTEMPTS = 5
OWN_RETRY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Address:
    """URL of a running service, the keys it takes, its process, and the Java it runs scripts with, as text for people."""

    endpoint: str
    access_key: str
    secret_key: str
    pid: int
    java: str = ""

    def __repr__(self) -> str:
        return f"Address({self.endpoint!r}, pid={self.pid})"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """One data folder, and the names of its files."""

    path: Path

    @property
    def database(self) -> Path:
        """The SQLite file of jobs and runs."""
        return self.path / "state.sqlite3"

    @property
    def objects(self) -> Path:
        """Holds one folder per bucket."""
        return self.path / "objects"

    @property
    def runs(self) -> Path:
        """Holds a scratch folder per attempt of a live run."""
        return self.path / "runs"

    @property
    def warm(self) -> Path:
        """Holds a private folder per warm JVM."""
        return self.path / "warm"

    @property
    def jars(self) -> Path:
        """Jars that the user puts on the class path of every run; need not exist."""
        return self.path / "jars"

    @property
    def log(self) -> Path:
        """The service's own log, JSON lines."""
        return self.path / "service.log"

    @property
    def printed(self) -> Path:
        """What the service's process prints: the error when it cannot start."""
        return self.path / "service.err"

    @property
    def keys(self) -> Path:
        """The service's own keys; they outlive a reset, so that programs which know them continue to work."""
        return self.path / "keys.env"

    @property
    def service_lock(self) -> Path:
        """Held exclusively by the process that serves the folder."""
        return self.path / "service.lock"

    @property
    def users_lock(self) -> Path:
        """Held shared by each user of the service."""
        return self.path / "users.lock"

    @property
    def start_lock(self) -> Path:
        """Held exclusively by the process that starts the service."""
        return self.path / "start.lock"

    @property
    def contents(self) -> tuple[Path, ...]:
        """All files and folders a service makes, but the locks and the keys."""
        database, address = self.database, self._address
        return (
            *(database.with_name(database.name + end) for end in ("", "-wal", "-shm", "-journal")),
            *(self.path / name for name in ("runs", "warm", "metastore", "warehouse")),
            self.objects,
            *self.path.glob(f"{self.log.name}*"),  # rotated files included
            address,
            address.with_suffix(".new"),
        )

    @property
    def is_served(self) -> bool:
        """Whether a process serves the folder; it may not accept requests yet."""
        return is_locked(self.service_lock)

    def own(self) -> int:
        """Return a descriptor that owns the folder, as the process that serves it, until it is closed.

        Raises
        ------
        ConfigError
            Another process serves the folder.
        """
        for _ in range(OWN_ATTEMPTS):  # `is_served` of other processes takes the lock for a moment
            lock = try_lock(self.service_lock)
            if lock is not None:
                return lock
            time.sleep(OWN_RETRY_SECONDS)
        address = self.read_address()
        where = f" at {address.endpoint}, process {address.pid}" if address else ""
        raise ConfigError(
            f"a local service already serves {self.path}{where}; use it, or give another --data"
        )

    def make(self) -> None:
        """Create the folder for this user only, since results and logs may be private; close an existing one to others.

        Raises
        ------
        ConfigError
            The folder's path has a character that ends a path for Java or Spark, the folder cannot be created, another
            user owns it or a part of it, or a mode cannot be set.
        """
        self._check_path()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _close_to_others(self.path)
            self.objects.mkdir(mode=0o700, exist_ok=True)
            for path in (*self.contents, *self.path.glob("*.lock"), self.printed):
                _close_to_others(path)
        except OSError as error:
            raise ConfigError(
                f"the data folder {self.path} cannot be used ({error.strerror}); "
                "give another --data, or set DATAFLOW_MAGIC_HOME to a folder that can"
            ) from None

    def _check_path(self) -> None:
        for character in str(self.path):
            if character in _NOT_IN_PATHS or not character.isprintable():
                raise ConfigError(
                    f"the data folder {str(self.path)!a} cannot be used: Java and Spark do not read {character!a} as part of "
                    "a path; give another --data, or set DATAFLOW_MAGIC_HOME to a folder without it"
                )

    def write_address(self, address: Address) -> None:
        """Publish the address in a file that only this user can read."""
        create_private(self._address, json.dumps(asdict(address)))

    def read_address(self) -> Address | None:
        """Return the address of the service; None without a valid file."""
        try:
            return Address(**json.loads(self._address.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def served_since(self) -> datetime | None:
        """Return when the address was published; None without one."""
        try:
            return datetime.fromtimestamp(self._address.stat().st_mtime, KST)
        except FileNotFoundError:
            return None

    def remove_address(self) -> None:
        """Remove the address, if there is one."""
        self._address.unlink(missing_ok=True)

    @property
    def _address(self) -> Path:
        return self.path / "service.json"


def _close_to_others(path: Path) -> None:
    """Leave a file or folder to this user alone; what lies below a closed folder is closed too."""
    try:
        found = path.lstat()
        if found.st_uid != os.geteuid():
            raise ConfigError(
                f"user {found.st_uid} owns {path}, not the user of the service, {os.geteuid()}; "
                "give another --data, or set DATAFLOW_MAGIC_HOME to a folder of your own"
            )
        if found.st_mode & stat.S_ISVTX:
            raise ConfigError(f"users share the folder {path}; give another --data, a folder of your own")
        if found.st_mode & 0o077 and not stat.S_ISLNK(found.st_mode):
            path.chmod(0o700 if stat.S_ISDIR(found.st_mode) else 0o600)
    except FileNotFoundError:  # a running service removes files
        return
