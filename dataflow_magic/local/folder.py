"""The data folder of a local service: its files, and who holds it. Used by the service and by those who use it.

One process serves a folder: it holds ``service.lock``. Whoever uses it holds ``users.lock`` shared, so the service can
see, by taking it whole, that its last user is gone.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from dataflow_magic.errors import ConfigError
from dataflow_magic.files import is_locked, try_lock
from dataflow_magic.models.wire import KST

__all__ = ["Address", "DataFolder"]

LOOKERS = 5
LOOKER_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Address:
    """Where a running service is, the keys it takes and, in words, the Java it runs scripts with."""

    endpoint: str
    access_key: str
    secret_key: str
    pid: int
    java: str = ""

    def __repr__(self) -> str:
        return f"Address({self.endpoint!r}, pid={self.pid})"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Names of what a data folder holds."""

    path: Path

    @property
    def database(self) -> Path:
        """SQLite file of jobs and runs."""
        return self.path / "state.sqlite3"

    @property
    def objects(self) -> Path:
        """One folder per bucket."""
        return self.path / "objects"

    @property
    def runs(self) -> Path:
        """Scratch files of live runs, a folder per attempt."""
        return self.path / "runs"

    @property
    def warm(self) -> Path:
        """What warm JVMs need, and the runs in them: a private folder each."""
        return self.path / "warm"

    @property
    def log(self) -> Path:
        """What the service itself logs: JSON lines."""
        return self.path / "service.log"

    @property
    def words(self) -> Path:
        """What the service's process prints: its last words, when it cannot start."""
        return self.path / "service.err"

    @property
    def service_lock(self) -> Path:
        """Held whole by the process that serves the folder."""
        return self.path / "service.lock"

    @property
    def users_lock(self) -> Path:
        """Held shared by every user of the service."""
        return self.path / "users.lock"

    @property
    def start_lock(self) -> Path:
        """Held whole by whoever starts the service."""
        return self.path / "start.lock"

    @property
    def contents(self) -> tuple[Path, ...]:
        """All that may be in it but the locks."""
        database, address = self.database, self._address
        return (
            *(database.with_name(database.name + end) for end in ("", "-wal", "-shm", "-journal")),
            *(self.path / name for name in ("runs", "warm", "metastore", "warehouse")),
            self.objects,
            *self.path.glob(f"{self.log.name}*"),  # with those it was rotated to
            address,
            address.with_suffix(".new"),
        )

    @property
    def is_served(self) -> bool:
        """Whether a process serves the folder; says nothing of whether it takes requests yet."""
        return is_locked(self.service_lock)

    def own(self) -> int:
        """Take the folder as the process that serves it does, until the returned descriptor is closed.

        Raises
        ------
        ConfigError
            A process serves it.
        """
        for _ in range(
            LOOKERS
        ):  # whoever only looks whether it is served holds the lock for a moment as well
            lock = try_lock(self.service_lock)
            if lock is not None:
                return lock
            time.sleep(LOOKER_SECONDS)
        address = self.read_address()
        where = f" at {address.endpoint}, process {address.pid}" if address else ""
        raise ConfigError(
            f"a local service already serves {self.path}{where}; use it, or give another --data"
        )

    def make(self) -> None:
        """Make the folder, for this user only: results and logs may be private.

        Raises
        ------
        ConfigError
            It cannot be made.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.objects.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the data folder {self.path} cannot be used ({error.strerror}); "
                "give another --data, or set DATAFLOW_MAGIC_HOME to a folder that can"
            ) from None

    def write_address(self, address: Address) -> None:
        """Tell where the service is, in a file only this user can read."""
        new = self._address.with_suffix(".new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(address), file)
        new.replace(self._address)

    def read_address(self) -> Address | None:
        """Return where the service is, None when nothing says so."""
        try:
            return Address(**json.loads(self._address.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def served_since(self) -> datetime | None:
        """Return since when the address is told, None when nothing tells one."""
        try:
            return datetime.fromtimestamp(self._address.stat().st_mtime, KST)
        except FileNotFoundError:
            return None

    def remove_address(self) -> None:
        """Say that no service is here."""
        self._address.unlink(missing_ok=True)

    @property
    def _address(self) -> Path:
        return self.path / "service.json"
