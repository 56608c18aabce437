"""Jobs and runs on disk, and the states a run may go through. Only this module knows the schema; it knows no HTTP.

Any thread may call. Each call is one short transaction on a connection that no other call uses; connections are kept
for later calls. In WAL mode reads go on during a write.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import string
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from dataflow_magic.models.wire import RunState

__all__ = [
    "NEXT_STATES",
    "Store",
    "StoredJob",
    "StoredRun",
    "Tally",
    "allowed_before",
    "is_id",
    "new_id",
    "tally",
]

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  type TEXT NOT NULL,
  max_concurrent_runs INTEGER,
  condition TEXT NOT NULL,
  extra TEXT NOT NULL,
  created TEXT NOT NULL,
  updated TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_by_name ON jobs (name);
CREATE TABLE IF NOT EXISTS runs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id TEXT NOT NULL UNIQUE,
  job_id TEXT NOT NULL,
  job_name TEXT NOT NULL,
  condition TEXT NOT NULL,
  parameters TEXT NOT NULL,
  trigger_id TEXT,
  workflow_id TEXT,
  status TEXT NOT NULL,
  detail TEXT NOT NULL DEFAULT '',
  created TEXT NOT NULL,
  started TEXT,
  ended TEXT
);
CREATE INDEX IF NOT EXISTS runs_by_job ON runs (job_id, seq);
CREATE INDEX IF NOT EXISTS runs_by_status ON runs (status);
-- Counting 100,000 runs takes longer than reading a page of ten.
CREATE TABLE IF NOT EXISTS run_counts (job_id TEXT PRIMARY KEY, runs INTEGER NOT NULL);
INSERT INTO run_counts SELECT job_id, count(*) FROM runs WHERE NOT EXISTS (SELECT 1 FROM run_counts) GROUP BY job_id;
CREATE TRIGGER IF NOT EXISTS run_added AFTER INSERT ON runs BEGIN
  INSERT INTO run_counts VALUES (new.job_id, 1) ON CONFLICT (job_id) DO UPDATE SET runs = runs + 1;
END;
-- Cancels that the service has accepted; they outlive it.
CREATE TABLE IF NOT EXISTS cancels (run_id TEXT PRIMARY KEY);
CREATE TRIGGER IF NOT EXISTS run_and_cancel_deleted AFTER DELETE ON runs BEGIN
  DELETE FROM cancels WHERE run_id = old.run_id;
END;
CREATE TRIGGER IF NOT EXISTS run_deleted AFTER DELETE ON runs BEGIN
  UPDATE run_counts SET runs = runs - 1 WHERE job_id = old.job_id;
END;
"""

CHECK_SECONDS = 1.0
"""How long `Store.check` waits for a lock; other calls wait longer."""

NEXT_STATES = MappingProxyType(
    {
        # A run may fail before it runs: no script, no Java.
        RunState.READY: frozenset({RunState.RUNNING, RunState.FAILED, RunState.CANCELED}),
        RunState.RUNNING: frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELED}),
        RunState.COMPLETED: frozenset(),
        RunState.FAILED: frozenset(),
        RunState.CANCELED: frozenset(),
    }
)
"""The states a run may go to from each state."""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A stored job. ``condition`` and ``extra`` are JSON objects with the wire's names; times are aware."""

    job_id: str
    name: str
    type: str
    max_concurrent_runs: int | None
    condition: Mapping[str, Any]
    extra: Mapping[str, Any]
    created: datetime
    updated: datetime
    last_status: str | None = None
    last_run: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A stored run. Times are aware; ``started`` is when its script started; ``max_concurrent_runs`` is its job's."""

    run_id: str
    job_id: str
    job_name: str
    condition: Mapping[str, Any]
    parameters: Mapping[str, Any]
    trigger_id: str | None
    workflow_id: str | None
    status: str
    detail: str
    created: datetime
    started: datetime | None
    ended: datetime | None
    max_concurrent_runs: int | None


class Tally(NamedTuple):
    """Counts of jobs, of runs, and of the runs that are READY and RUNNING."""

    jobs: int = 0
    runs: int = 0
    waiting: int = 0
    running: int = 0


def tally(path: Path) -> Tally | None:
    """Return the counts of a database: all 0 without a file, None when it cannot be read. Writes nothing."""
    if not path.exists():
        return Tally()
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=20)) as db:
            counts = db.execute(
                "SELECT (SELECT count(*) FROM jobs), count(*), "
                "count(*) FILTER (WHERE status = 'READY'), count(*) FILTER (WHERE status = 'RUNNING') FROM runs"
            ).fetchone()
    except sqlite3.Error:
        return None
    return Tally(*counts)


def new_id() -> str:
    """Return a new id: twelve letters and digits, like those on the vendor's pages."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(12))


def is_id(text: str) -> bool:
    """Whether a text has the form of `new_id`."""
    return len(text) == 12 and text.isascii() and text.isalnum()


class Store:
    """The jobs and runs of one data folder.

    Parameters
    ----------
    path
        SQLite file; created when missing.
    now
        Returns the aware time to store.
    """

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self._path = path
        self._now = now
        self._idle: list[sqlite3.Connection] = []
        weakref.finalize(self, _close_all, self._idle)
        with self._transaction() as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(SCHEMA)

    def close(self) -> None:
        """Close all connections, which puts all data into the one file; a later call opens a new one."""
        _close_all(self._idle)

    def add_job(
        self,
        name: str,
        type: str,  # noqa: A002 - the wire's word
        *,
        max_concurrent_runs: int | None,
        condition: Mapping[str, Any],
        extra: Mapping[str, Any],
    ) -> StoredJob:
        """Store a job under a new id."""
        now = self._stamp()
        job_id = new_id()
        with self._transaction() as db:
            db.execute(
                "INSERT INTO jobs (job_id, name, type, max_concurrent_runs, condition, extra, created, updated) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (job_id, name, type, max_concurrent_runs, json.dumps(condition), json.dumps(extra), now, now),
            )
        job = self.job(job_id)
        assert job is not None  # noqa: S101 - just written
        return job

    def update_job(
        self,
        job_id: str,
        *,
        name: str | None = None,
        max_concurrent_runs: int | None = None,
        condition: Mapping[str, Any],
        extra: Mapping[str, Any] = MappingProxyType({}),
    ) -> StoredJob | None:
        """Change a job and return it; None when there is no such job. Mappings are merged; None keeps the old value."""
        with self._transaction() as db:
            db.execute("BEGIN IMMEDIATE")  # no other change between the read and the write
            row = db.execute("SELECT condition, extra FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
            if row is None:
                return None
            db.execute(
                "UPDATE jobs SET name = coalesce(?, name), max_concurrent_runs = coalesce(?, max_concurrent_runs), "
                "condition = ?, extra = ?, updated = ? WHERE job_id = ?",
                (
                    name,
                    max_concurrent_runs,
                    json.dumps({**json.loads(row["condition"]), **condition}),
                    json.dumps({**json.loads(row["extra"]), **extra}),
                    self._stamp(),
                    job_id,
                ),
            )
        return self.job(job_id)

    def delete_job(self, job_id: str) -> bool:
        """Delete a job and its runs; False, and no change, while a run is READY or RUNNING."""
        with self._transaction() as db:
            gone = db.execute(
                "DELETE FROM jobs WHERE job_id = ? AND NOT EXISTS "
                "(SELECT 1 FROM runs WHERE job_id = jobs.job_id AND status IN (?, ?))",
                (job_id, RunState.READY, RunState.RUNNING),
            )
            if gone.rowcount:
                db.execute("DELETE FROM runs WHERE job_id = ?", (job_id,))
            return gone.rowcount == 1

    def job(self, job_id: str) -> StoredJob | None:
        """Return a job; None when there is no such job."""
        found = self._jobs("WHERE j.job_id = ?", (job_id,))
        return found[0] if found else None

    def jobs(self, *, name: str | None, page: int, limit: int) -> tuple[list[StoredJob], int]:
        """Return one page of the jobs whose name contains ``name``, oldest first, and the total."""
        where, values = ("WHERE instr(j.name, ?)", (name,)) if name else ("", ())
        items = self._jobs(f"{where} ORDER BY j.seq LIMIT ? OFFSET ?", (*values, limit, page * limit))
        with self._transaction() as db:
            (total,) = db.execute(f"SELECT count(*) FROM jobs j {where}", values).fetchone()  # noqa: S608 - fixed text
        return items, total

    def add_run(
        self,
        job: StoredJob,
        *,
        condition: Mapping[str, Any],
        parameters: Mapping[str, Any],
        trigger_id: str | None,
        workflow_id: str | None,
    ) -> StoredRun:
        """Store a run as READY under a new id.

        Raises
        ------
        LookupError
            The job has been deleted.
        """
        run_id = new_id()
        with self._transaction() as db:
            added = db.execute(
                "INSERT INTO runs (run_id, job_id, job_name, condition, parameters, trigger_id, workflow_id, status, "
                "created) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM jobs WHERE job_id = ?)",
                (
                    run_id,
                    job.job_id,
                    job.name,
                    json.dumps(condition),
                    json.dumps(parameters),
                    trigger_id,
                    workflow_id,
                    RunState.READY,
                    self._stamp(),
                    job.job_id,
                ),
            )
        if not added.rowcount:
            raise LookupError(job.job_id)
        run = self.run(run_id)
        assert run is not None  # noqa: S101 - just written
        return run

    def run(self, run_id: str) -> StoredRun | None:
        """Return a run; None when there is no such run."""
        found = self._runs("WHERE r.run_id = ?", (run_id,))
        return found[0] if found else None

    def runs(self, job_id: str, *, page: int, limit: int) -> tuple[list[StoredRun], int]:
        """Return one page of a job's runs, newest first, and the total."""
        items = self._runs(
            "WHERE r.job_id = ? ORDER BY r.seq DESC LIMIT ? OFFSET ?", (job_id, limit, page * limit)
        )
        with self._transaction() as db:
            counted = db.execute("SELECT runs FROM run_counts WHERE job_id = ?", (job_id,)).fetchone()
        return items, counted["runs"] if counted else 0

    def runs_in(self, state: RunState) -> list[StoredRun]:
        """Return every run in a state, oldest first."""
        return self._runs("WHERE r.status = ? ORDER BY r.seq", (state,))

    def last_seconds(self, job_id: str) -> float | None:
        """Return the script seconds of the job's last COMPLETED run; None without one."""
        runs = self._runs(
            "WHERE r.job_id = ? AND r.status = ? ORDER BY r.seq DESC LIMIT 1", (job_id, RunState.COMPLETED)
        )
        if not runs or runs[0].started is None or runs[0].ended is None:
            return None
        return (runs[0].ended - runs[0].started).total_seconds()

    def count_in(self, state: RunState) -> int:
        """Return how many runs are in a state."""
        with self._transaction() as db:
            (count,) = db.execute("SELECT count(*) FROM runs WHERE status = ?", (state,)).fetchone()
        return int(count)

    def accept_cancel(self, run_id: str) -> bool:
        """Store that a run is to be canceled; False, and no change, unless it is READY or RUNNING."""
        with self._transaction() as db:
            accepted = db.execute(
                "INSERT OR REPLACE INTO cancels SELECT run_id FROM runs WHERE run_id = ? AND status IN (?, ?)",
                (run_id, RunState.READY, RunState.RUNNING),
            )
            return accepted.rowcount == 1

    def is_cancel_accepted(self, run_id: str) -> bool:
        """Return whether `accept_cancel` took a cancel of the run."""
        with self._transaction() as db:
            return db.execute("SELECT 1 FROM cancels WHERE run_id = ?", (run_id,)).fetchone() is not None

    def move(self, run_id: str, state: RunState, detail: str = "") -> bool:
        """Move a run to a state; False, and no change, when its present state does not allow it.

        A run whose cancel was accepted does not become RUNNING.
        """
        before = allowed_before(state)
        stamp = "started" if state == RunState.RUNNING else "ended"
        marks = ", ".join("?" * len(before))
        unless = "AND run_id NOT IN (SELECT run_id FROM cancels)" if state == RunState.RUNNING else ""
        with self._transaction() as db:
            changed = db.execute(
                f"UPDATE runs SET status = ?, detail = ?, {stamp} = ? WHERE run_id = ? AND status IN ({marks}) {unless}",  # noqa: S608
                (state, detail, self._stamp(), run_id, *before),
            )
            return changed.rowcount == 1

    def _jobs(self, rest: str, values: tuple[Any, ...]) -> list[StoredJob]:
        with self._transaction() as db:
            rows = db.execute(
                "SELECT j.*, r.status AS last_status, r.created AS last_run FROM jobs j LEFT JOIN runs r "  # noqa: S608
                f"ON r.seq = (SELECT max(seq) FROM runs WHERE job_id = j.job_id) {rest}",
                values,
            ).fetchall()
        return [
            StoredJob(
                job_id=row["job_id"],
                name=row["name"],
                type=row["type"],
                max_concurrent_runs=row["max_concurrent_runs"],
                condition=json.loads(row["condition"]),
                extra=json.loads(row["extra"]),
                created=datetime.fromisoformat(row["created"]),
                updated=datetime.fromisoformat(row["updated"]),
                last_status=row["last_status"],
                last_run=_time(row["last_run"]),
            )
            for row in rows
        ]

    def _runs(self, rest: str, values: tuple[Any, ...]) -> list[StoredRun]:
        with self._transaction() as db:
            rows = db.execute(
                f"SELECT r.*, j.max_concurrent_runs FROM runs r JOIN jobs j USING (job_id) {rest}",  # noqa: S608
                values,
            ).fetchall()
        return [
            StoredRun(
                run_id=row["run_id"],
                job_id=row["job_id"],
                job_name=row["job_name"],
                condition=json.loads(row["condition"]),
                parameters=json.loads(row["parameters"]),
                trigger_id=row["trigger_id"],
                workflow_id=row["workflow_id"],
                status=row["status"],
                detail=row["detail"],
                created=datetime.fromisoformat(row["created"]),
                started=_time(row["started"]),
                ended=_time(row["ended"]),
                max_concurrent_runs=row["max_concurrent_runs"],
            )
            for row in rows
        ]

    def _stamp(self) -> str:
        return self._now().isoformat()

    def fault(self) -> str:
        """Return why the runs cannot be read and written, within about a second; empty where they can. Changes nothing."""
        try:
            # A connection of its own: a locked database keeps all others waiting for longer.
            with closing(sqlite3.connect(self._path, timeout=CHECK_SECONDS, isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
                db.execute("SELECT 1 FROM runs LIMIT 1")
        except sqlite3.Error as error:
            return str(error)
        return ""

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            db = self._idle.pop()
        except IndexError:
            db = sqlite3.connect(self._path, timeout=20, check_same_thread=False)
            db.row_factory = sqlite3.Row
        try:
            with db:
                yield db
        except BaseException:
            db.close()
            raise
        self._idle.append(db)


def allowed_before(state: RunState) -> list[RunState]:
    """Return the states from which a run may go to ``state``."""
    return [before for before, after in NEXT_STATES.items() if state in after]


def _close_all(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
