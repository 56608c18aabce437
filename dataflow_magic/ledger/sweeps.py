"""The sweeps of the ledger: what each starts, in which order, how far it is, and which kernel drives it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from dataflow_magic.ledger.ledger import Ledger
from dataflow_magic.ledger.record import json_of, parameters_of
from dataflow_magic.models.marker import Marker
from dataflow_magic.models.request import JobRef, RunRequest, SweepPlan, SweepRequest
from dataflow_magic.models.wire import Job, JobCondition, RunState

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["Standing", "SweepRecord", "SweepState", "SweepSummary", "SweepTable"]

SweepState = Literal["open", "paused", "stopped"]
"""Whether what is left is started: yes; not before the user resumes it; not, for a reason, before the user resumes it."""

LIVE: Final = "live"
SUMMARIES: Final = """
SELECT key, job, target, submitted, notebook, plan, kernel, state, story,
  (SELECT count(*) FROM sweep_requests WHERE sweep = key),
  (SELECT count(*) FROM sweep_requests WHERE sweep = key AND skipped <> '')
FROM sweeps ORDER BY submitted DESC LIMIT ?
"""
FIELDS: Final = (
    "key, job, job_id, target, endpoint, notebook, submitted, kernel, swept, plan, common, state, story"
)


class SweepSummary(NamedTuple):
    """One sweep as a row of a table; the fields are the columns of `dataflow_magic.ledger.frame.sweeps_frame`.

    Attributes
    ----------
    state
        ``COMPLETED``; ``FAILED`` where all runs are over and not all completed; ``RUNNING`` while a kernel starts the rest or
        runs are live; ``PAUSED``; ``STOPPED`` where the rest is not started for a reason; ``LEFT`` where the kernel that
        started them has ended.
    runs, completed, failed, live, unsent
        Numbers of requests, without those that are skipped; of one that was started again, its newest run counts.
    created
        Microseconds since 1970, UTC.
    driver
        Who starts the rest: ``this kernel``, the notebook of another kernel, or ``another kernel``; None where nobody does.
    story
        Why the rest is not started, in words.
    """

    sweep: str
    job: str
    state: str
    runs: int
    completed: int
    failed: int
    live: int
    unsent: int
    skipped: int
    max_parallel: int | None
    created: int
    driver: str | None
    target: str
    notebook: str | None
    story: str | None


class Standing(NamedTuple):
    """What may change of a sweep: which kernel drives it, of which notebook, and whether what is left is started."""

    kernel: str
    notebook: str
    state: SweepState
    story: str
    plan: SweepPlan


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """A sweep as the ledger knows it.

    Parameters
    ----------
    request
        The job by its id; each request with the whole job condition.
    submitted
        Microseconds since 1970, UTC.
    kernel
        Id of the process that drives it, or last did.
    story
        Why what is left is not started, in words; empty while it is.
    sent
        How many of its requests have a run.
    job_limit
        The job's ``maxConcurrentRuns`` when the sweep was started; None where it has none, or was not read.
    """

    key: str
    request: SweepRequest
    job: str
    target: str
    endpoint: str
    notebook: str
    submitted: int
    kernel: str = ""
    state: SweepState = "open"
    story: str = ""
    sent: int = 0
    job_limit: int | None = None

    @property
    def job_id(self) -> str:
        """The service's id of the job."""
        return self.request.requests[0].job.text

    def of_job(self, job: Job) -> SweepRecord:
        """Return the sweep with a job in place of its name, and the job's condition below that of each request."""
        name = JobRef(job.job_id, "id")
        requests = tuple(
            replace(each, job=name, condition=each.condition.over(job.condition))
            for each in self.request.requests
        )
        return replace(
            self,
            request=replace(self.request, requests=requests),
            job=job.name or job.job_id,
            job_limit=job.max_concurrent_runs,
        )


class SweepTable:
    """The table of sweeps. Any thread may call; each method raises ConfigError as those of `Ledger`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.known: Callable[[], Iterable[SweepRecord]] = tuple
        """Returns the sweeps that this kernel drives. Those that are missing are inserted once the file was deleted or replaced."""
        ledger.on_restore = self._restore
        self._reading: Callable[[], AbstractContextManager[Connection]] = ledger.reading
        self._writing: Callable[[], AbstractContextManager[Connection]] = ledger.writing

    def keep(self, record: SweepRecord) -> None:
        """Write a sweep whole, driven by this kernel; it is on disk when this returns."""
        with self._writing() as db:
            self._insert(db, record, "INSERT OR REPLACE")

    def _restore(self, db: Connection) -> None:
        for record in self.known():
            self._insert(db, record, "INSERT OR IGNORE")

    def _insert(self, db: Connection, record: SweepRecord, insert: str) -> None:
        request = record.request
        first = request.requests[0]
        common = {
            "condition": first.condition.to_wire(), "marker": first.marker, **first.query, "job_limit": record.job_limit,
        }  # fmt: skip
        row = (
            record.key, record.job, record.job_id, record.target, record.endpoint, record.notebook or None, record.submitted,
            self._ledger.kernel, json.dumps(request.swept), json.dumps(asdict(request.plan)), json.dumps(common),
            record.state, record.story,
        )  # fmt: skip
        db.execute(f"{insert} INTO sweeps ({FIELDS}) VALUES ({', '.join('?' * len(row))})", row)
        db.executemany(
            f"{insert} INTO sweep_requests VALUES (?, ?, ?, ?)",
            [
                (record.key, number, json_of(dict(each.parameters)), request.skipped.get(number, ""))
                for number, each in enumerate(request.requests)
            ],
        )

    def remove(self, key: str) -> None:
        """Delete a sweep of which certainly nothing was started."""
        with self._writing() as db:
            db.execute("DELETE FROM sweeps WHERE key = ?", (key,))
            db.execute("DELETE FROM sweep_requests WHERE sweep = ?", (key,))

    def note(self, key: str, state: SweepState, story: str, plan: SweepPlan) -> None:
        """Write whether and how what is left of a sweep is started."""
        with self._writing() as db:
            db.execute(
                "UPDATE sweeps SET state = ?, story = ?, plan = ? WHERE key = ?",
                (state, story, json.dumps(asdict(plan)), key),
            )

    def standing(self, key: str) -> Standing | None:
        """Return who drives a sweep, and whether what is left of it is started; None where the ledger does not have it."""
        with self._reading() as db:
            found = db.execute(
                "SELECT kernel, notebook, state, story, plan FROM sweeps WHERE key = ?", (key,)
            ).fetchone()
        if found is None:
            return None
        kernel, notebook, state, story, plan = found
        return Standing(kernel, notebook or "", state, story, SweepPlan(**json.loads(plan)))

    def claim(self, key: str, notebook: str) -> bool:
        """Make this kernel the one that drives a sweep, for a notebook; False where another one lives that does."""
        with self._writing() as db:
            found = db.execute("SELECT kernel FROM sweeps WHERE key = ?", (key,)).fetchone()
            if found is None or not (found[0] == self._ledger.kernel or not self._ledger.lives(found[0])):
                return False
            if found[0] != self._ledger.kernel:
                db.execute(
                    "UPDATE sweeps SET kernel = ?, notebook = ? WHERE key = ?",
                    (self._ledger.kernel, notebook or None, key),
                )
        return True

    def is_driven_elsewhere(self, kernel: str) -> bool:
        """Whether another kernel than this one lives under this id."""
        return kernel != self._ledger.kernel and self._ledger.lives(kernel)

    def find(self, text: str) -> list[SweepRecord]:
        """Return the sweep whose key is ``text``, or else those whose key begins with it, oldest first."""
        exact = self._read("WHERE key = ?", text)
        return exact or self._read("WHERE substr(key, 1, length(?1)) = ?1", text)

    def newest(self, most: int) -> list[SweepRecord]:
        """Return the newest sweeps, the newest first."""
        with self._reading() as db:
            rows = db.execute("SELECT key FROM sweeps ORDER BY submitted DESC LIMIT ?", (most,)).fetchall()
        return [record for (key,) in rows for record in self._read("WHERE key = ?", key)]

    def summaries(self, most: int | None = None) -> list[SweepSummary]:
        """Return the newest sweeps as rows of a table, the newest first; all by default."""
        with self._reading() as db:
            rows = db.execute(SUMMARIES, (-1 if most is None else most,)).fetchall()
            counted = {key: self._counts(db, key) for key, *_ in rows}
        lives = {
            kernel: kernel == self._ledger.kernel or self._ledger.lives(kernel)
            for kernel in {row[6] for row in rows}
        }
        return [self._summary(row, counted[row[0]], is_driven=lives[row[6]]) for row in rows]

    def _counts(self, db: Connection, key: str) -> Counter[str]:
        """Return how many requests of a sweep have a newest run in each state; live ones under `LIVE`."""
        rows = db.execute(
            "SELECT status, is_live, max(submitted) FROM runs WHERE sweep = ? GROUP BY number", (key,)
        )
        return Counter(LIVE if is_live else status for status, is_live, _ in rows)

    def _summary(self, row: tuple[Any, ...], counts: Counter[str], *, is_driven: bool) -> SweepSummary:
        key, job, target, submitted, notebook, plan, kernel, state, story, total, skipped = row
        asked, live, completed = total - skipped, counts[LIVE], counts[RunState.COMPLETED]
        unsent = asked - counts.total()
        driver = None
        if is_driven and (unsent or live):
            driver = "this kernel" if kernel == self._ledger.kernel else notebook or "another kernel"
        return SweepSummary(
            key, job, _word(state, is_driven=is_driven, live=live, unsent=unsent, is_completed=completed == asked),
            asked, completed, counts[RunState.FAILED], live, unsent, skipped, json.loads(plan)["max_parallel"], submitted,
            driver, target, notebook, story or None,
        )  # fmt: skip

    def _read(self, where: str, text: str) -> list[SweepRecord]:
        with self._reading() as db:
            rows = db.execute(f"SELECT {FIELDS} FROM sweeps {where} ORDER BY submitted", (text,)).fetchall()  # noqa: S608 - fixed text
            return [_record(db, row) for row in rows]


def _word(state: SweepState, *, is_driven: bool, live: int, unsent: int, is_completed: bool) -> str:
    if not unsent:
        return "RUNNING" if live else "COMPLETED" if is_completed else "FAILED"
    if state != "open":
        return state.upper()
    return "RUNNING" if is_driven else "LEFT"


def _record(db: Connection, row: tuple[Any, ...]) -> SweepRecord:
    key, job, job_id, target, endpoint, notebook, submitted, kernel, swept, plan, common, state, story = row
    shared = json.loads(common)
    condition = JobCondition.model_validate(shared["condition"])
    stored = db.execute(
        "SELECT number, parameters, skipped FROM sweep_requests WHERE sweep = ? ORDER BY number", (key,)
    ).fetchall()
    (sent,) = db.execute("SELECT count(DISTINCT number) FROM runs WHERE sweep = ?", (key,)).fetchone()
    requests = tuple(
        RunRequest(
            JobRef(job_id, "id"),
            condition,
            parameters_of(parameters),
            shared["trigger_id"],
            shared["workflow_id"],
            cast(Marker, shared["marker"]),
        )
        for _, parameters, _ in stored
    )
    request = SweepRequest(
        tuple(json.loads(swept)),
        requests,
        plan=SweepPlan(**json.loads(plan)),
        skipped={number: skipped for number, _, skipped in stored if skipped},
    )
    return SweepRecord(
        key,
        request,
        job,
        target,
        endpoint,
        notebook or "",
        submitted,
        kernel,
        state,
        story,
        sent,
        shared.get("job_limit"),
    )
