"""The record on disk of every run this machine started.

SQLite in WAL mode, so that several kernels write at once. A start is on disk when `Ledger.add` returns, and its request may
leave only after that. Stores neither access keys nor values of secret parameters.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

from dataflow_magic.config.folders import user_folder
from dataflow_magic.errors import ConfigError
from dataflow_magic.files import is_locked, try_lock
from dataflow_magic.ledger.record import RunRecord, parameters_of, record_of
from dataflow_magic.ledger.schema import MIGRATIONS
from dataflow_magic.models.attempt import Attempt
from dataflow_magic.models.secret import secret_names
from dataflow_magic.models.view import NOT_STARTED, UNCLEAR, Past, RunView
from dataflow_magic.models.wire import RunState

__all__ = ["Ledger", "Standing", "ledger_path", "new_key"]

OLDEST_SQLITE = (3, 24)
"""The first with ``ON CONFLICT DO UPDATE``, the newest syntax of this module."""
BUSY_SECONDS = 30.0
"""How long a writer waits for other writers; one transaction takes milliseconds."""
MOST_PAST = 20
"""Runs of a job that `Ledger.past` compares with."""
MOST_READ = 500
"""Runs of a job that `Ledger.past` reads to find those."""
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Letters of keys: none looks like another."""

FIELDS = ", ".join(RunRecord._fields)
TABLE_FIELDS = FIELDS.replace("execution", "''")
"""Without the snapshots, which are most of the bytes and in no table."""
CHANGING = (
    "run_id", "job", "status", "running", "ended", "waited", "ran", "total", "timed_by", "error", "error_class", "own_line",
    "phase", "is_live", "story", "endpoint", "execution"
)  # fmt: skip
ATTEMPT_FIELDS = tuple(field.name for field in fields(Attempt))
KEEP = (
    f"INSERT OR REPLACE INTO attempts (key, {', '.join(ATTEMPT_FIELDS)}) "  # noqa: S608 - fixed text
    f"VALUES (?{', ?' * len(ATTEMPT_FIELDS)})"
)
COUNT = (
    "INSERT INTO names VALUES (?, ?, ?, 1, ?) ON CONFLICT (job_id, name) DO UPDATE SET "
    "uses = uses + 1, job = excluded.job, is_secret = max(is_secret, excluded.is_secret)"
)
INSERT = f"INSERT INTO runs ({FIELDS}) VALUES ({', '.join('?' * len(RunRecord._fields))})"  # noqa: S608 - fixed text
INSERT_UNLESS_THERE = INSERT.replace("INSERT", "INSERT OR IGNORE", 1)
UPDATE = (
    f"UPDATE runs SET {', '.join(f'{name} = :{name}' for name in CHANGING)}, "  # noqa: S608 - fixed text
    "found_by = coalesce(nullif(:found_by, ''), found_by) WHERE key = :key "
    # Several kernels may follow a run, and one may know less than another: an update never removes knowledge.
    "AND (run_id IS NULL OR run_id = :run_id) "
    "AND (is_live OR NOT :is_live OR (run_id IS NULL AND :run_id IS NOT NULL))"
)


class Standing(NamedTuple):
    """What the ledger knows of a job while one of its starts is reconciled.

    Attributes
    ----------
    lost
        Every start of the job whose run is unknown, including the one that is reconciled.
    owned
        The given ids that runs of the ledger have.
    is_in_flight
        Whether a living kernel awaits the answer to another start of the job: a run that is listed now may be its
        outcome.
    attempts
        By key, the attempts of the starts of ``lost``; None for a start whose attempts were not kept.
    """

    lost: list[RunRecord]
    owned: set[str]
    is_in_flight: bool
    attempts: dict[str, tuple[Attempt, ...] | None]


def ledger_path(environment: Mapping[str, str]) -> Path:
    """Return the path of this user's ledger: in ``$DATAFLOW_MAGIC_HOME``, else in the platform's state folder."""
    return user_folder("state", environment) / "ledger.sqlite3"


def new_key() -> str:
    """Return a new key: eight letters and digits, so it never looks like a service's id of twelve."""
    return "".join(secrets.choice(LETTERS) for _ in range(8))


class Ledger:
    """The runs of this machine.

    Parameters
    ----------
    path
        SQLite file; created with its folder on the first call.

    Attributes
    ----------
    known
        Returns the runs of this kernel, each with its attempts, or None where those are unknown or no longer needed. Those
        that are missing are inserted before anything else is read or written, once the file was deleted or replaced. Any
        thread may call it.
    on_restore
        Inserts what else is missing then, in the same transaction.

    Raises
    ------
    ConfigError
        From every method: the file cannot be read or written, is no ledger, or is of a newer version.

    Notes
    -----
    Any thread may call. While open, the ledger holds a lock file, which shows other kernels that the owner of its runs
    lives. A forked process does not keep it: there the ledger is one of another kernel, without runs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kernel = secrets.token_hex(8)
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._alive: int | None = None
        self._opened: list[tuple[int, int] | None] = []
        """What `_files` returned when the file was opened."""
        self._size = 0
        self.known: Callable[[], Iterable[tuple[RunView, tuple[Attempt, ...] | None]]] = tuple
        self.on_restore: Callable[[sqlite3.Connection], None] = _nothing
        _ledgers.add(self)

    def before_fork(self) -> None:
        """Close the file, since SQLite may not be used across a fork, and keep other threads out until `after_fork`."""
        self._lock.acquire()
        if self._db is not None:
            self._db.close()
            self._db = None

    def after_fork(self, *, in_child: bool = False) -> None:
        """Let threads in again; a child releases what its parent holds, and owns no run."""
        if in_child:
            self.kernel = secrets.token_hex(8)
            self.known, self.on_restore, self._opened = tuple, _nothing, []
            if self._alive is not None:
                os.close(self._alive)
                self._alive = None
        self._lock.release()

    def add(self, view: RunView) -> None:
        """Insert a run that is about to be started; it is on disk when this returns."""
        with self.writing() as db:
            self._insert(db, INSERT, view, ())

    def keep(self, key: str, attempts: Iterable[Attempt]) -> None:
        """Write attempts of a start, each in place of what is known of it; they are on disk when this returns.

        Raises
        ------
        ConfigError
            Also where the start is not in the ledger.
        """
        with self.writing() as db:
            if not db.execute("SELECT 1 FROM runs WHERE key = ?", (key,)).fetchone():
                raise sqlite3.IntegrityError("the start is no longer in it")
            _keep(db, {key: attempts})

    def attempts(self, keys: Iterable[str]) -> dict[str, tuple[Attempt, ...]]:
        """Return the attempts of starts by their keys, in the order of sending; none for a key without any."""
        with self.reading() as db:
            return _attempts(db, keys)

    def update(
        self, views: Iterable[RunView], kept: Mapping[str, Iterable[Attempt]] = MappingProxyType({})
    ) -> set[str]:
        """Update runs in one transaction; ignore those that are not in the ledger.

        A view that knows less than the ledger, or whose id another run of the ledger has, changes nothing.

        Parameters
        ----------
        kept
            By key, attempts to write with them, as `keep`.

        Returns
        -------
        set of str
            The keys of the views whose id another run has.
        """
        taken = set()
        with self.writing() as db:
            for view in views:
                try:
                    db.execute(UPDATE, record_of(view, self.kernel)._asdict())
                except sqlite3.IntegrityError:
                    taken.add(view.key)
            _keep(db, kept)
        return taken

    def adopt(self, view: RunView) -> bool:
        """Record the run that was found for a lost start; False where the start or the run belongs to another by now."""
        with self.writing() as db:
            try:
                changed = db.execute(f"{UPDATE} AND run_id IS NULL", record_of(view)._asdict())
            except sqlite3.IntegrityError:
                return False
            return changed.rowcount == 1

    def remove(self, key: str) -> None:
        """Delete a run that was certainly not started."""
        with self.writing() as db:
            gone = db.execute("SELECT job_id, parameters FROM runs WHERE key = ?", (key,)).fetchall()
            db.execute("DELETE FROM runs WHERE key = ?", (key,))
            db.execute("DELETE FROM attempts WHERE key = ?", (key,))
            for job_id, parameters in gone:
                names = ["", *(name.removeprefix("$") for name in parameters_of(parameters))]
                db.executemany(
                    "UPDATE names SET uses = uses - 1 WHERE job_id = ? AND name = ?",
                    [(job_id, name) for name in names],
                )

    def parameter_names(self, job: str) -> list[str]:
        """Return the parameters of a job's runs, by its name or id, sorted, without their ``$``."""
        return self._names("name", "(job_id = ?1 OR job = ?1) AND name <> '' AND uses > 0", job)

    def secret_names(self, job_id: str) -> list[str]:
        """Return the parameters of a job that were secret in any start, sorted, without their ``$``."""
        return self._names("name", "job_id = ? AND is_secret", job_id)

    def job_names(self) -> list[str]:
        """Return the names of the jobs that have runs, sorted."""
        return self._names("job", "name = '' AND uses > 0")

    def started(self, job_id: str) -> dict[str, RunRecord]:
        """Return the runs of a job that the service gave an id, by that id, without their snapshots."""
        query = f"SELECT {TABLE_FIELDS} FROM runs WHERE job_id = ? AND run_id IS NOT NULL"  # noqa: S608 - fixed text
        return {record.run_id: record for record in self._read(query, job_id) if record.run_id}

    def newest(self, most: int) -> list[RunRecord]:
        """Return the newest active runs and then the newest others, at most ``most`` of each, without their snapshots."""
        return [
            record
            for where in ("is_live", "NOT is_live")
            for record in self._read(
                f"SELECT {TABLE_FIELDS} FROM runs WHERE {where} ORDER BY submitted DESC LIMIT ?",  # noqa: S608 - fixed text
                most,
            )
        ]

    def _names(self, column: str, where: str, *values: str) -> list[str]:
        # Completion reads the names at each Tab key: reading all runs would be too slow.
        query = f"SELECT DISTINCT {column} FROM names WHERE {where} ORDER BY 1"  # noqa: S608 - fixed text
        with self.reading() as db:
            return [name for (name,) in db.execute(query, values)]

    def records(self) -> list[RunRecord]:
        """Return every run, oldest first, without its snapshot."""
        return self._read(f"SELECT {TABLE_FIELDS} FROM runs ORDER BY submitted")  # noqa: S608 - fixed text

    def find(self, text: str) -> list[RunRecord]:
        """Return the runs whose key or id is ``text``, or else those whose key or id begins with it, oldest first."""
        exact = self._read(f"SELECT {FIELDS} FROM runs WHERE key = ? OR run_id = ?", text, text)  # noqa: S608 - fixed text
        where = "substr(run_id, 1, length(?1)) = ?1 OR substr(key, 1, length(?1)) = ?1"
        return exact or self._read(f"SELECT {FIELDS} FROM runs WHERE {where} ORDER BY submitted", text)  # noqa: S608 - fixed text

    def last(self, notebook: str) -> RunRecord | None:
        """Return the newest run of a notebook, else of the machine; None for an empty ledger."""
        order = "ORDER BY notebook IS ? DESC, submitted DESC LIMIT 1"
        found = self._read(f"SELECT {FIELDS} FROM runs {order}", notebook or None)  # noqa: S608 - fixed text
        return found[0] if found else None

    def past(self, view: RunView) -> Past:
        """Return how long the newest completed runs of a run's job ran that had the same parameter names, at most 20."""
        names = {name.removeprefix("$") for name in view.parameters}
        seconds: list[float] = []
        with self.reading() as db:
            rows = db.execute(
                "SELECT ran, parameters FROM runs WHERE job_id = ? AND target = ? AND status = ? AND ran IS NOT NULL "
                "ORDER BY submitted DESC LIMIT ?",
                (view.job_id, view.target, RunState.COMPLETED, MOST_READ),
            )
            for ran, parameters in rows:
                if names == {name.removeprefix("$") for name in parameters_of(parameters)}:
                    seconds.append(ran / 1e6)
                if len(seconds) == MOST_PAST:
                    break
        taken = seconds or [0.0]
        return Past(median(taken), min(taken), max(taken), len(seconds))

    def standing(self, key: str, job_id: str, run_ids: Iterable[str]) -> Standing:
        """Return what the ledger knows of a job while the start with this key is reconciled against ``run_ids``."""
        with self.reading() as db:
            rows = db.execute(
                f"SELECT {FIELDS} FROM runs WHERE job_id = ? AND run_id IS NULL AND (is_live OR status IN (?, ?))",  # noqa: S608 - fixed text
                (job_id, UNCLEAR, NOT_STARTED),
            ).fetchall()
            owned = db.execute(
                "SELECT run_id FROM runs WHERE job_id = ? AND run_id IN (SELECT value FROM json_each(?))",
                (job_id, json.dumps(list(run_ids))),
            ).fetchall()
            lost = [RunRecord._make(row) for row in rows]
            attempts = _attempts(db, [record.key for record in lost])
        kept = {record.key: attempts[record.key] if record.keeps_attempts else None for record in lost}
        sending = {record.kernel for record in lost if record.phase == "sending" and record.key != key}
        return Standing(lost, {run_id for (run_id,) in owned}, any(map(self.lives, sending)), kept)

    def of_job(self, job_id: str, target: str) -> list[RunRecord]:
        """Return every run of a job at a target, oldest first, without its snapshot."""
        query = f"SELECT {TABLE_FIELDS} FROM runs WHERE job_id = ? AND target = ? ORDER BY submitted"  # noqa: S608 - fixed text
        return self._read(query, job_id, target)

    def of_sweep(self, key: str, known: Iterable[str] = ()) -> list[RunRecord]:
        """Return the runs of a sweep but for those of the keys ``known``, oldest first."""
        where = "sweep = ? AND key NOT IN (SELECT value FROM json_each(?)) ORDER BY submitted"
        return self._read(f"SELECT {FIELDS} FROM runs WHERE {where}", key, json.dumps(list(known)))  # noqa: S608 - fixed text

    def unsettled(self, since: int, most: int) -> list[RunRecord]:
        """Return the newest starts, submitted later than ``since``, whose search ended without a run; the newest first."""
        query = (
            f"SELECT {FIELDS} FROM runs WHERE run_id IS NULL AND status IN (?, ?) AND submitted > ? "  # noqa: S608 - fixed text
            "ORDER BY submitted DESC LIMIT ?"
        )
        return self._read(query, NOT_STARTED, UNCLEAR, since, most)

    def orphans(self) -> list[RunRecord]:
        """Return the active runs whose kernel is dead, oldest first."""
        with self.reading() as db:
            kernels = db.execute("SELECT DISTINCT kernel FROM runs WHERE is_live").fetchall()
        gone = [kernel for (kernel,) in kernels if not self.lives(kernel)]
        where = "is_live AND kernel IN (SELECT value FROM json_each(?)) ORDER BY submitted"
        return self._read(f"SELECT {FIELDS} FROM runs WHERE {where}", json.dumps(gone)) if gone else []  # noqa: S608 - fixed text

    def claim(self, orphans: Iterable[RunRecord]) -> list[RunRecord]:
        """Make this kernel the owner of runs of dead kernels; return those that no other kernel claimed first."""
        with self.writing() as db:
            return [
                record
                for record in orphans
                if db.execute(
                    "UPDATE runs SET kernel = ? WHERE key = ? AND kernel = ?",
                    (self.kernel, record.key, record.kernel),
                ).rowcount
            ]

    def look_after(self, key: str) -> RunRecord | None:
        """Return a run, claimed by this kernel where its owner is dead; None where the ledger does not have it."""
        found = self._read(f"SELECT {FIELDS} FROM runs WHERE key = ?", key)  # noqa: S608 - fixed text
        if found and not self.lives(found[0].kernel) and self.claim(found):
            return found[0]._replace(kernel=self.kernel)
        return found[0] if found else None

    def rename_notebook(self, before: str, now: str) -> None:
        """Give the runs, sweeps and scripts of a notebook its new path."""
        with self.writing() as db:
            db.execute("UPDATE runs SET notebook = ? WHERE notebook = ?", (now, before))
            db.execute("UPDATE sweeps SET notebook = ? WHERE notebook = ?", (now, before))
            db.execute("UPDATE OR REPLACE scripts SET notebook = ? WHERE notebook = ?", (now, before))

    def scripts(self, target: str, notebook: str) -> dict[str, str]:
        """Return, by key, the digest of each script of a target that a notebook last wrote or read."""
        with self.reading() as db:
            query = "SELECT key, digest FROM scripts WHERE target = ? AND notebook = ?"
            return dict(db.execute(query, (target, notebook)).fetchall())

    def keep_scripts(self, target: str, notebook: str, digests: Mapping[str, str]) -> None:
        """Write, by key, the digests of scripts that a notebook wrote or read."""
        with self.writing() as db:
            rows = [(target, key, notebook, digest) for key, digest in digests.items()]
            db.executemany("INSERT OR REPLACE INTO scripts VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file and release this kernel's runs: another kernel may claim them."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None
            if self._alive is not None:
                self._kernel_file(self.kernel).unlink(missing_ok=True)
                os.close(self._alive)
                self._alive = None

    def lives(self, kernel: str) -> bool:
        """Whether the process of a kernel lives."""
        return kernel == self.kernel or is_locked(self._kernel_file(kernel))

    def _kernel_file(self, kernel: str) -> Path:
        return self.path.parent / "kernels" / kernel

    def _read(self, query: str, *values: str | int | None) -> list[RunRecord]:
        with self.reading() as db:
            return [RunRecord._make(row) for row in db.execute(query, values)]

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the database inside one snapshot of it."""
        with self._transaction("BEGIN", "read") as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the database inside a transaction that is on disk when it ends."""
        with self._transaction("BEGIN IMMEDIATE", "written") as db:
            yield db

    @contextmanager
    def _transaction(self, begin: str, done: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                db = self._current()
                db.execute(begin)
                try:
                    yield db
                    db.execute("COMMIT")
                    self._check_place()
                finally:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
            except (OSError, sqlite3.Error) as error:
                reason = getattr(error, "strerror", None) or error
                raise ConfigError(
                    f"the ledger {self.path} cannot be {done} ({reason}); free disk space or repair the file, or set "
                    "DATAFLOW_MAGIC_HOME to a writable folder: a run starts only once it is in a ledger"
                ) from None

    def _current(self) -> sqlite3.Connection:
        """Return a connection to the file that is at the path now."""
        if self._db is not None and self._files() != self._opened:
            self._leave(self._db)
        db = self._db or self._open()
        self._check_place()
        return db

    def _check_place(self) -> None:
        if self._files() != self._opened:
            raise sqlite3.OperationalError("it was deleted or replaced meanwhile")
        size = self.path.stat().st_size
        if size < self._size:  # this package never shrinks it
            raise sqlite3.DatabaseError(f"it was cut from {self._size:,} to {size:,} bytes; delete it")
        self._size = size

    def _leave(self, db: sqlite3.Connection) -> None:
        """Close a file of which a part was deleted or replaced."""
        self._db = None
        with contextlib.suppress(sqlite3.Error):
            db.close()
        now = self._files()
        if now[0] != self._opened[0]:
            # SQLite would read the log of the old file as one of the new file.
            for path, before, after in zip(self._paths, self._opened[:3], now[:3], strict=False):
                if before == after:
                    path.unlink(missing_ok=True)
        if now[3] != self._opened[3] and self._alive is not None:
            os.close(self._alive)
            self._alive = None

    @property
    def _paths(self) -> tuple[Path, ...]:
        log, index = (self.path.with_name(self.path.name + end) for end in ("-wal", "-shm"))
        return self.path, log, index, self._kernel_file(self.kernel)

    def _files(self) -> list[tuple[int, int] | None]:
        """Return device and inode of the file, its log, the log's index and the lock; None for one that is missing."""
        return [_identity(path) for path in self._paths]

    def _open(self) -> sqlite3.Connection:
        check_sqlite(sqlite3.sqlite_version_info)
        # Readable by this user only: parameters and paths may be private.
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._kernel_file("").mkdir(mode=0o700, exist_ok=True)
        if self._alive is None:
            self._alive = try_lock(self._kernel_file(self.kernel))
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            # Each commit is on disk when it returns; the default in WAL mode waits for the next checkpoint.
            db.execute("PRAGMA synchronous = FULL")
            self._migrate(db)
            # The log and its index exist from the first transaction on.
            db.execute("SELECT count(*) FROM names").fetchone()
            if self._opened:
                self._restore(db)
        except BaseException:
            db.close()
            raise
        self._opened, self._size = self._files(), 0
        self._db = db
        return db

    def _restore(self, db: sqlite3.Connection) -> None:
        """Insert the runs of this kernel that are missing: without them, a run of one start would count as another's."""
        db.execute("BEGIN IMMEDIATE")
        for view, attempts in self.known():
            self._insert(db, INSERT_UNLESS_THERE, view, attempts)
        self.on_restore(db)
        db.execute("COMMIT")

    def _insert(
        self, db: sqlite3.Connection, insert: str, view: RunView, attempts: tuple[Attempt, ...] | None
    ) -> None:
        record = record_of(view, self.kernel)._replace(keeps_attempts=int(attempts is not None))
        if not db.execute(insert, record).rowcount:
            return
        asked = view.request.parameters
        hidden = secret_names(asked)
        # The empty name counts the job's runs.
        names = ["", *(name.removeprefix("$") for name in asked)]
        db.executemany(COUNT, [(view.job_id, name, view.job_name, name in hidden) for name in names])
        _keep(db, {view.key: attempts or ()})

    def _migrate(self, db: sqlite3.Connection) -> None:
        if _version(db) == len(MIGRATIONS):
            return
        db.execute("BEGIN IMMEDIATE")
        # Another kernel may have migrated the file meanwhile.
        version = _version(db)
        if version > len(MIGRATIONS):
            raise sqlite3.DatabaseError(f"its version is {version}; this package knows {len(MIGRATIONS)}")
        for script in MIGRATIONS[version:]:
            for statement in script.split(";"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")


def _nothing(_: sqlite3.Connection) -> None:
    """Insert nothing."""


def check_sqlite(version: tuple[int, ...]) -> None:
    """Raise where SQLite is older than 3.24.

    Raises
    ------
    sqlite3.NotSupportedError
        It is older; the message has both versions.
    """
    if version < OLDEST_SQLITE:
        raise sqlite3.NotSupportedError(
            f"this Python has SQLite {'.'.join(map(str, version))}, and the ledger needs 3.24 or newer"
        )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


_ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()
_forking: list[Ledger] = []
_fork = threading.Lock()
"""Held while a thread forks, so that no other thread's fork changes what it closes."""


def _before_fork() -> None:
    _fork.acquire()
    _forking[:] = _ledgers
    for ledger in _forking:
        ledger.before_fork()


def _after_fork(*, in_child: bool) -> None:
    for ledger in _forking:
        ledger.after_fork(in_child=in_child)
    _forking.clear()
    _fork.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=lambda: _after_fork(in_child=False),
    after_in_child=lambda: _after_fork(in_child=True),
)


def _keep(db: sqlite3.Connection, kept: Mapping[str, Iterable[Attempt]]) -> None:
    rows = [(key, *astuple(attempt)) for key, attempts in kept.items() for attempt in attempts]
    db.executemany(KEEP, rows)


def _attempts(db: sqlite3.Connection, keys: Iterable[str]) -> dict[str, tuple[Attempt, ...]]:
    query = (
        f"SELECT key, {', '.join(ATTEMPT_FIELDS)} FROM attempts "  # noqa: S608 - fixed text
        "WHERE key IN (SELECT value FROM json_each(?)) ORDER BY number"
    )
    found: dict[str, tuple[Attempt, ...]] = dict.fromkeys(keys, ())
    for key, *values in db.execute(query, (json.dumps(list(found)),)):
        found[key] += (Attempt(*values),)
    return found


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
