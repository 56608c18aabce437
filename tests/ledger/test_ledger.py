"""The ledger loses no write, however many kernels write and however one ends; no run has two owners."""

import ctypes
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dataflow_magic.errors import ConfigError
from dataflow_magic.ledger.ledger import Ledger, check_sqlite, ledger_path, new_key
from dataflow_magic.ledger.record import record_of, view_of
from dataflow_magic.ledger.schema import MIGRATIONS
from dataflow_magic.models.attempt import Attempt
from dataflow_magic.models.request import JobRef, RunRequest
from dataflow_magic.models.secret import Secret
from dataflow_magic.models.view import NOT_STARTED, UNCLEAR, Past, RunView
from dataflow_magic.models.wire import JobCondition, JobExecution
from tests.helpers import execution
from tests.views import run_view

SUBMITTED = datetime(2026, 11, 2, 1, 0, tzinfo=UTC)
ATTEMPT = Attempt(1, 1_793_581_200_123, 1_793_581_200_123_456, 77_000_000, "boot-1", -1_500_000, 600_000)


def a_view(key: str = "k2345678", minutes: int = 0, **fields: Any) -> RunView:
    made: dict[str, Any] = {"target": "cloud"} | fields
    return run_view(SUBMITTED + timedelta(minutes=minutes), key=key, **made)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "ledger.sqlite3"


@pytest.fixture
def ledger(path):
    ledger = Ledger(path)
    yield ledger
    ledger.close()


def started(ledger: Ledger, key: str, run_id: str, minutes: int = 0, status: str = "READY") -> RunView:
    view = a_view(key, minutes)
    ledger.add(view)
    view = replace(view, execution=execution(status, run_id))
    ledger.update([view])
    return view


def test_nothing_is_made_before_the_first_call(path):
    Ledger(path).close()

    assert not path.parent.exists()


def test_a_ledger_is_readable_by_its_user_only(ledger, path):
    ledger.add(a_view())

    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"


def test_a_start_is_on_disk_when_add_returns(ledger, path):
    ledger.add(a_view())

    program = "import os, sys; sys.stdout.write(open(sys.argv[1], 'rb').read().hex())"
    files = [path, path.with_name(path.name + "-wal")]
    kept = "".join(
        subprocess.run(
            [sys.executable, "-c", program, file], capture_output=True, check=True, text=True
        ).stdout
        for file in files
    )
    assert b"k2345678" in bytes.fromhex(kept)


def test_runs_are_read_oldest_first_in_their_newest_state(ledger, path):
    ledger.add(a_view("b", minutes=2))
    ledger.add(a_view("a", minutes=1))
    ledger.update([a_view("a", minutes=1, execution=execution("RUNNING")), a_view("not here")])

    records = Ledger(path).records()

    assert [(record.key, record.run_id, record.status) for record in records] == [
        ("a", "run000000001", "RUNNING"),
        ("b", None, "SUBMITTING"),
    ]
    assert {record.kernel for record in records} == {ledger.kernel}


def test_a_run_that_was_not_started_is_deleted(ledger):
    ledger.add(a_view())
    ledger.remove("k2345678")

    assert ledger.records() == []


def test_no_two_runs_have_one_id(ledger):
    first = started(ledger, "a", "run000000001")
    ledger.add(a_view("b"))

    assert not ledger.adopt(replace(a_view("b"), execution=first.execution))
    ledger.update([replace(a_view("b"), execution=first.execution)])
    assert [record.run_id for record in ledger.records()] == ["run000000001", None]
    assert ledger.adopt(replace(a_view("b"), execution=execution("READY", "run000000002")))


def test_a_run_is_found_by_key_by_id_and_by_a_beginning(ledger):
    for number in (1, 2):
        started(ledger, f"key{number}", f"run00000000{number}", number)
    started(ledger, "key3", "run0000", 3)

    def found(text: str) -> list[str]:
        return [record.key for record in ledger.find(text)]

    assert found("key1") == ["key1"]
    assert found("run000000002") == ["key2"]
    assert found("run0000") == ["key3"], "a whole id is not the beginning of others"
    assert found("run") == ["key1", "key2", "key3"]
    assert found("RUN") == []
    assert found("%") == []


def test_the_last_run_is_that_of_the_notebook_where_it_has_one(ledger):
    assert ledger.last("a.ipynb") is None
    ledger.add(a_view("a", minutes=1, notebook="a.ipynb"))
    ledger.add(a_view("b", minutes=2))

    keys = [last.key for name in ("a.ipynb", "b.ipynb", "") if (last := ledger.last(name))]
    assert keys == ["a", "b", "b"]


def test_a_start_of_another_kernel_is_in_flight_until_it_is_answered(ledger, path):
    other = Ledger(path)
    ledger.add(a_view("ours"))
    other.add(a_view("theirs"))

    def standing(job_id: str = "job000000001") -> tuple[set[str], set[str], bool]:
        found = ledger.standing("ours", job_id, ["run000000001"])
        return {record.key for record in found.lost}, found.owned, found.is_in_flight

    assert standing() == ({"ours", "theirs"}, set(), True)
    assert standing("job000000002") == (set(), set(), False)
    other.update([replace(a_view("theirs"), is_lost=True)])
    assert standing() == ({"ours", "theirs"}, set(), False)
    other.update([replace(a_view("theirs"), execution=execution("READY"))])
    assert standing() == ({"ours"}, {"run000000001"}, False)
    other.close()


def test_a_start_that_was_given_up_without_a_run_stays_a_rival(ledger):
    for minutes, (key, settled) in enumerate((("unclear", UNCLEAR), ("not", NOT_STARTED))):
        ledger.add(a_view(key, minutes))
        ledger.update([replace(a_view(key, minutes), settled=settled)])

    assert {record.key for record in ledger.standing("", "job000000001", []).lost} == {"unclear", "not"}
    assert [record.key for record in ledger.unsettled(0, 9)] == ["not", "unclear"]
    assert [record.key for record in ledger.unsettled(0, 1)] == ["not"]
    assert ledger.unsettled(ledger.records()[-1].submitted, 9) == []


def test_the_standing_of_a_job_has_the_attempts_of_its_lost_starts(ledger, path):
    ledger.add(a_view("k1"))
    ledger.keep("k1", [ATTEMPT])
    ledger.known = lambda: [(a_view("k0"), None)]
    ledger.add(a_view("k2"))
    path.unlink()
    ledger.known = lambda: [(a_view("k0"), None), (a_view("k1"), (ATTEMPT,)), (a_view("k2"), ())]

    standing = ledger.standing("k2", "job000000001", [])
    assert standing.attempts == {"k0": None, "k1": (ATTEMPT,), "k2": ()}


def test_a_start_whose_id_another_run_has_is_named(ledger):
    started(ledger, "k1", "run000000001")
    ledger.add(a_view("k2"))

    taken = ledger.update(
        [replace(a_view("k2"), execution=execution("READY", "run000000001"))], {"k2": [ATTEMPT]}
    )

    assert taken == {"k2"}
    assert ledger.attempts(["k2"]) == {"k2": (ATTEMPT,)}
    assert {record.key: record.run_id for record in ledger.records()} == {"k1": "run000000001", "k2": None}


def test_a_start_whose_id_another_run_has_is_named_though_the_ledger_was_deleted(ledger, path):
    first = started(ledger, "a", "run000000001")
    ledger.add(a_view("b"))
    path.unlink()
    ledger.known = lambda: [(first, None), (a_view("b"), (ATTEMPT,))]

    assert ledger.update([replace(a_view("b"), execution=first.execution)]) == {"b"}
    assert {record.key: record.run_id for record in ledger.records()} == {"a": "run000000001", "b": None}


def test_a_dead_kernel_has_nothing_in_flight_and_one_other_claims_its_runs(ledger, path):
    gone = Ledger(path)
    gone.add(a_view("lost"))
    started(gone, "over", "run000000002", status="COMPLETED")
    assert ledger.orphans() == []
    gone.close()

    assert not ledger.standing("ours", "job000000001", []).is_in_flight
    (orphan,) = ledger.orphans()
    third = Ledger(path)
    assert orphan.key == "lost"
    assert [ledger.claim([orphan]), third.claim([orphan])] == [[orphan], []]
    assert third.orphans() == []
    assert third.look_after("lost") == orphan._replace(kernel=ledger.kernel)
    ledger.close()
    assert third.look_after("lost") == orphan._replace(kernel=third.kernel)
    assert third.look_after("none") is None
    third.close()


def test_a_view_that_knows_less_changes_nothing(ledger, path):
    looking_on = Ledger(path)
    started(ledger, "k", "run000000001", status="COMPLETED")
    ledger.add(a_view("n"))
    ledger.update([replace(a_view("n"), settled=NOT_STARTED)])

    looking_on.update(
        [
            replace(a_view("k"), is_lost=True),
            replace(a_view("k"), execution=execution("RUNNING")),
            replace(a_view("k"), execution=execution("COMPLETED", "run000000009")),
            replace(a_view("n"), is_lost=True),
        ]
    )

    assert [(r.run_id, r.status, r.is_live) for r in ledger.records()] == [
        ("run000000001", "COMPLETED", 0),
        (None, "NOT_STARTED", 0),
    ]
    assert not looking_on.adopt(replace(a_view("k"), execution=execution("READY", "run000000009")))
    assert looking_on.adopt(replace(a_view("n"), execution=execution("READY", "run000000009")))
    looking_on.close()


@pytest.mark.parametrize("content", [b"no database at all, but long enough to look like one" * 40, None])
def test_a_file_that_is_no_ledger_is_named_with_what_to_do(path, content):
    path.parent.mkdir()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)

    with pytest.raises(
        ConfigError, match=r"ledger\.sqlite3 cannot be written .*; free disk space or repair the file, or set"
    ):
        Ledger(path).add(a_view())


def test_a_ledger_of_a_newer_version_is_left_alone(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(ConfigError, match="its version is 99; this package knows 7"):
        Ledger(path).records()


def test_a_full_disk_raises_and_loses_nothing_written_before(path):
    """A limit on the size of files stands in for the disk."""
    program = """
import resource, signal, sys
from tests.ledger.test_ledger import Ledger, Path, a_view
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Ledger(Path(sys.argv[1]))
ledger.add(a_view("before"))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    for number in range(1000):
        ledger.add(a_view(f"n{number}"))
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    assert done.stdout.startswith(f"ConfigError the ledger {path} cannot be written ("), done.stderr
    assert "before" in {record.key for record in Ledger(path).records()}


def test_eight_processes_write_at_once_and_nothing_is_lost(path):
    program = """
import sys
from dataclasses import replace
from tests.ledger.test_ledger import Ledger, Path, a_view, execution
ledger = Ledger(Path(sys.argv[1]))
for number in range(50):
    view = a_view(f"{sys.argv[2]}-{number}")
    ledger.add(view)
    ledger.update([replace(view, execution=execution("READY", f"run{sys.argv[2]}{number:03}"))])
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, path, str(number)],
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
        )
        for number in range(8)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=90)
        assert (writer.returncode, errors) == (0, b"")

    records = Ledger(path).records()
    assert len(records) == 400
    assert len({record.run_id for record in records}) == 400


def test_the_ledger_is_in_the_home_of_the_environment_else_in_the_platform_s_state_folder():
    assert ledger_path({"DATAFLOW_MAGIC_HOME": "/x"}) == Path("/x/ledger.sqlite3")
    assert ledger_path({"DATAFLOW_MAGIC_HOME": "~/x"}) == Path("~/x/ledger.sqlite3").expanduser()
    assert ledger_path({}).parts[-2:] == ("dataflow-magic", "ledger.sqlite3")


def test_a_key_never_looks_like_a_service_s_id():
    keys = {new_key() for _ in range(1000)}

    assert len(keys) == 1000
    assert {len(key) for key in keys} == {8}


def test_closing_a_ledger_removes_its_kernel_s_lock_file(ledger, path):
    ledger.add(a_view())
    assert [file.name for file in (path.parent / "kernels").iterdir()] == [ledger.kernel]
    ledger.close()

    assert list((path.parent / "kernels").iterdir()) == []


def no_root_s_rights() -> None:
    """Drop the capabilities by which root ignores file modes; called in a child before it starts."""
    libc = ctypes.CDLL(None)
    for overrides in (
        1,
        2,
    ):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of capabilities(7); nothing happens to others
        libc.prctl(24, overrides, 0, 0, 0)  # PR_CAPBSET_DROP of prctl(2)


@pytest.mark.skipif(sys.platform != "linux", reason="rights are taken away as Linux does")
@pytest.mark.parametrize(
    "writable_once", [False, True], ids=["before the first use", "since a run was written"]
)
def test_a_folder_that_cannot_be_written_raises(path, writable_once):
    program = """
import sys
from tests.ledger.test_ledger import Ledger, Path, a_view
ledger = Ledger(Path(sys.argv[1]))
try:
    ledger.add(a_view("late"))
except Exception as error:
    print(type(error).__name__, error)
"""
    path.parent.mkdir(parents=True)
    if writable_once:
        before = Ledger(path)
        before.add(a_view("before"))
        before.close()
        path.chmod(0o400)
    path.parent.chmod(0o500)

    done = subprocess.run(
        [sys.executable, "-c", program, path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
        preexec_fn=no_root_s_rights,
    )
    path.parent.chmod(0o700)

    assert done.stdout.startswith(f"ConfigError the ledger {path} cannot be written ("), done
    assert "a run starts only once it is in a ledger" in done.stdout


def ran(ledger: Ledger, number: int, seconds: int, status: str = "COMPLETED", **fields: Any) -> None:
    """Write a run that waited for a minute, then ran so many seconds."""
    view = a_view(f"k{number:07}", minutes=number, **fields)
    ended = view.submitted_at + timedelta(seconds=60 + seconds)
    over = execution(status, f"run{number:09}", createdDate=view.submitted_at, endDate=ended)
    ledger.add(view)
    ledger.update([replace(view, execution=over, running_since=view.submitted_at + timedelta(seconds=60))])


def test_the_past_of_a_job_is_how_long_its_newest_completed_runs_at_one_target_ran(ledger):
    assert ledger.past(a_view()) == Past(0, 0, 0, 0)

    ran(ledger, 1, 7_000)  # too long ago
    for number in range(2, 22):
        ran(ledger, number, number)
    ran(ledger, 30, 9_000, status="FAILED")
    ran(ledger, 31, 9_000, job_id="job000000002")
    ran(ledger, 32, 9_000, target="local")
    ledger.add(a_view("k9999999", minutes=99))

    assert ledger.past(a_view()) == Past(11.5, 2.0, 21.0, 20)


def test_the_past_counts_runs_with_the_same_parameter_names_alone(ledger):
    ran(ledger, 1, 10, parameters={"$day": "1", "hour": 2})
    ran(ledger, 2, 20, parameters={"$hour": "9", "$day": Secret("x")})
    ran(ledger, 3, 30, parameters={"$day": "1"})
    ran(ledger, 4, 40)

    assert ledger.past(a_view(parameters={"$day": "5", "$hour": "5"})) == Past(15.0, 10.0, 20.0, 2)
    assert ledger.past(a_view()) == Past(40.0, 40.0, 40.0, 1)


def test_the_past_leaves_out_runs_whose_time_of_running_is_unknown(ledger):
    view = a_view("k1")
    over = execution(
        "COMPLETED", "run000000001", createdDate=SUBMITTED, endDate=SUBMITTED + timedelta(seconds=40)
    )
    ledger.add(view)
    ledger.update([replace(view, execution=over)])

    assert ledger.past(a_view()) == Past(0, 0, 0, 0)


# Names that were used


def test_the_names_of_jobs_and_parameters_are_sorted(ledger):
    ledger.add(a_view("k1", parameters={"$table": "a", "day": 1}))
    ledger.add(a_view("k2", parameters={"$token": Secret("gone")}))
    ledger.add(a_view("k3", job_id="job000000002", job_name="weekly", parameters={"$week": 1}))

    assert ledger.job_names() == ["daily", "weekly"]
    assert ledger.parameter_names("daily") == ["day", "table", "token"]
    assert ledger.parameter_names("job000000001") == ["day", "table", "token"]
    assert ledger.parameter_names("hourly") == []
    assert ledger.secret_names("job000000001") == ["token"]


def test_a_deleted_start_leaves_no_name_but_a_secret_one_stays_secret(ledger):
    ledger.add(a_view("k1", parameters={"$tabel": "a", "$token": Secret("gone")}))
    ledger.remove("k1")

    assert ledger.job_names() == []
    assert ledger.parameter_names("daily") == []
    assert ledger.secret_names("job000000001") == ["token"]


def test_a_ledger_of_the_first_version_gets_the_table_of_names(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.executescript(MIGRATIONS[0] + ";PRAGMA user_version = 1")
        fields = (
            "key, job, status, submitted, target, job_id, parameters, endpoint, more_condition, phase, is_live, story, "
            "kernel, execution"
        )
        for key, parameters in (("k1", '{"$table":"a"}'), ("k2", '{"$table":"b","day":1}'), ("k3", "")):
            db.execute(
                f"INSERT INTO runs ({fields}) VALUES (?, 'daily', 'READY', 1, 'cloud', 'j', ?, '', '', '', 0, '', '', '')",  # noqa: S608 - fixed text
                (key, parameters),
            )
    db.close()
    ledger = Ledger(path)

    assert ledger.job_names() == ["daily"]
    assert ledger.parameter_names("daily") == ["day", "table"]
    ledger.remove("k1")
    assert ledger.parameter_names("daily") == ["day", "table"]
    ledger.close()


OLD_LEDGER = """
CREATE TABLE runs (
  key TEXT PRIMARY KEY, run_id TEXT, job TEXT NOT NULL, status TEXT NOT NULL, submitted INTEGER NOT NULL,
  running INTEGER, ended INTEGER, workers INTEGER, timeout_minutes INTEGER, error TEXT, target TEXT NOT NULL,
  job_id TEXT NOT NULL, worker_type TEXT, nrn TEXT, script_path TEXT, log_path TEXT, trigger_id TEXT,
  workflow_id TEXT, parameters TEXT NOT NULL, notebook TEXT, endpoint TEXT NOT NULL, more_condition TEXT NOT NULL,
  phase TEXT NOT NULL, is_live INTEGER NOT NULL, story TEXT NOT NULL, kernel TEXT NOT NULL, execution TEXT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX runs_by_id ON runs (job_id, run_id);
CREATE INDEX runs_by_time ON runs (submitted);
CREATE INDEX live_runs ON runs (job_id) WHERE is_live;
CREATE TABLE names (
  job_id TEXT NOT NULL, name TEXT NOT NULL, job TEXT NOT NULL, uses INTEGER NOT NULL, is_secret INTEGER NOT NULL,
  PRIMARY KEY (job_id, name)
) WITHOUT ROWID;
PRAGMA user_version = 2;
INSERT INTO runs VALUES (
  'k2345678', 'run000000001', 'daily', 'RUNNING', 1793581200123456, 1793581205000000, NULL, 4, 60, NULL, 'cloud',
  'job000000001', 'DEFAULT', 'nrn:1', 'b/s/', 'b/l/', 't1', 'w1', '{"$a":"x","$token":{"secret":"0123456789abcdef"}}',
  'a.ipynb', 'https://gw.example.com', '{"more":[1]}', 'started', 1, '', 'deadbeefdeadbeef',
  '{"jobExecutionId":"run000000001","jobId":"job000000001","status":"RUNNING"}'
);
INSERT INTO runs SELECT
  'k3456789', 'run000000002', job, 'COMPLETED', submitted, running, 1793581247000000, workers, timeout_minutes, error,
  target, job_id, worker_type, nrn, script_path, log_path, trigger_id, workflow_id, parameters, notebook, endpoint,
  more_condition, phase, 0, story, kernel, '{"jobExecutionId":"run000000002","jobId":"job000000001","status":"COMPLETED",'
  || '"createdDate":"2026-11-02T10:00:00+09:00","endDate":"2026-11-02T10:00:47+09:00"}' FROM runs;
INSERT INTO names VALUES ('job000000001', '', 'daily', 1, 0), ('job000000001', 'a', 'daily', 1, 0),
  ('job000000001', 'token', 'daily', 1, 1);
"""
"""A ledger of version 0.1, as it lies on disk: every later version must open it, however the classes change."""


def test_a_ledger_of_version_0_1_opens_with_all_it_knows(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.executescript(OLD_LEDGER)
    db.close()
    ledger = Ledger(path)

    (orphan,) = ledger.orphans()
    assert view_of(orphan) == RunView(
        RunRequest(
            JobRef("job000000001", "id"),
            JobCondition.model_validate(
                {
                    "workerType": "DEFAULT",
                    "numWorker": 4,
                    "timeout": 60,
                    "nrn": "nrn:1",
                    "scriptPath": "b/s/",
                    "logPath": "b/l/",
                    "more": [1],
                }
            ),
            {"$a": "x", "$token": Secret("0123456789abcdef")},
            "t1",
            "w1",
        ),
        target="cloud",
        endpoint="https://gw.example.com",
        key="k2345678",
        job_name="daily",
        submitted_at=datetime(2026, 11, 2, 1, 0, 0, 123456, tzinfo=UTC),
        notebook="a.ipynb",
        execution=JobExecution(job_execution_id="run000000001", job_id="job000000001", status="RUNNING"),
        running_since=datetime(2026, 11, 2, 1, 0, 5, tzinfo=UTC),
    )
    assert (ledger.job_names(), ledger.parameter_names("daily")) == (["daily"], ["a", "token"])
    assert ledger.secret_names("job000000001") == ["token"]
    assert (orphan.marker, orphan.found_by, orphan.keeps_attempts) == (None, "", 0)
    assert (orphan.waited, orphan.ran, orphan.total, orphan.timed_by) == (4_876_544, None, None, "here")
    (over,) = ledger.find("run000000002")
    assert (over.waited, over.ran, over.total, over.timed_by) == (4_876_544, 42_123_456, 47_000_000, "here")
    new = record_of(view_of(over), over.kernel)
    assert (new.waited, new.ran, new.total, new.timed_by) == (4_876_544, 42_123_456, 47_000_000, "here")
    assert ledger.attempts(["k2345678"]) == {"k2345678": ()}
    ledger.close()


# Attempts


def test_attempts_of_a_start_come_back_in_the_order_of_sending(ledger):
    ledger.add(a_view("k1"))
    second = replace(ATTEMPT, number=2, offset_us=None, uncertainty_us=None)
    ledger.keep("k1", [second])
    ledger.keep("k1", [ATTEMPT])

    assert ledger.attempts(["k1", "k2"]) == {"k1": (ATTEMPT, second), "k2": ()}


def test_an_attempt_that_ended_replaces_what_was_known_of_it(ledger):
    ledger.add(a_view("k1"))
    ledger.keep("k1", [ATTEMPT])
    ended = replace(ATTEMPT, ended_us=1_793_581_201_000_000, ended_steady_us=78_000_000, outcome="lost")
    ledger.keep("k1", [ended])

    assert ledger.attempts(["k1"]) == {"k1": (ended,)}


def test_a_deleted_start_leaves_no_attempt(ledger):
    ledger.add(a_view("k1"))
    ledger.keep("k1", [ATTEMPT])
    ledger.remove("k1")

    assert ledger.attempts(["k1"]) == {"k1": ()}


def test_an_attempt_of_a_start_that_the_ledger_does_not_have_must_not_be_sent(ledger):
    with pytest.raises(ConfigError, match="the start is no longer in it"):
        ledger.keep("k1", [ATTEMPT])


def test_how_a_run_was_found_stays_known_when_a_kernel_that_does_not_know_it_writes(ledger):
    ledger.add(a_view("k1"))
    found = replace(a_view("k1"), execution=execution("RUNNING", "run000000001"), found_by="parameters")
    assert ledger.adopt(found)
    ledger.update([replace(found, execution=execution("COMPLETED", "run000000001"), found_by="")])

    (record,) = ledger.records()
    assert (record.status, record.found_by) == ("COMPLETED", "parameters")


def test_a_start_that_has_its_run_is_not_adopted_again(ledger):
    ledger.add(a_view("k1"))
    named = replace(a_view("k1"), execution=execution("RUNNING", "run000000001"), found_by="user")
    assert ledger.adopt(named)

    # A look that began before finds the same run, and must not say that it found it.
    assert not ledger.adopt(replace(named, found_by="parameters"))
    (record,) = ledger.records()
    assert record.found_by == "user"


def test_active_runs_come_first_and_of_each_the_newest(ledger):
    started(ledger, "k1", "run000000001", 1)
    ledger.add(a_view("k2", 2))
    for number in (3, 4):
        run = started(ledger, f"k{number}", f"run00000000{number}", number)
        ledger.update([replace(run, execution=execution("COMPLETED", f"run00000000{number}"))])

    assert [record.key for record in ledger.newest(5)] == ["k2", "k1", "k4", "k3"]
    assert [record.key for record in ledger.newest(1)] == ["k2", "k4"]


# A file that changes under a living kernel


def delete(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    for each in path.parent.glob("ledger*"):
        each.unlink()


def delete_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def delete_locks(path: Path) -> None:
    shutil.rmtree(path.parent / "kernels")


def delete_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


def delete_index(path: Path) -> None:
    path.with_name(path.name + "-shm").unlink()


def replace_by_nothing(path: Path) -> None:
    (path.parent / "new").touch()
    (path.parent / "new").replace(path)


def replace_by_another(path: Path) -> None:
    other = Ledger(path.parent / "other" / "ledger.sqlite3")
    other.add(a_view("other"))
    other.close()
    other.path.replace(path)


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


REPLACED = [
    delete,
    delete_all,
    delete_folder,
    delete_locks,
    delete_log,
    delete_index,
    replace_by_nothing,
    replace_by_another,
    move_folder,
]


@pytest.mark.parametrize("change", REPLACED)
def test_the_next_start_is_in_the_file_that_is_at_the_path(ledger, path, change):
    before = [started(ledger, f"k{number}", f"run00000000{number}", number) for number in range(3)]
    ledger.known = lambda: [(view, None) for view in before]
    change(path)

    ledger.add(a_view("next", 9))

    third = Ledger(path)
    keys = {record.key for record in third.records()}
    assert keys == {"k0", "k1", "k2", "next"} | ({"other"} if change is replace_by_another else set())
    orphans = {record.key for record in third.orphans()}
    assert orphans == keys - {"k0", "k1", "k2", "next"}, "other kernels see that this one lives"
    ledger.update([replace(a_view("next"), execution=execution("READY", "run000000009"))])
    assert "run000000009" in {record.run_id for record in third.records()}
    third.close()


@pytest.mark.parametrize("change", REPLACED)
def test_a_look_finds_the_runs_of_this_kernel_in_the_file_that_is_at_the_path(ledger, path, change):
    run = started(ledger, "k1", "run000000001")
    ledger.known = lambda: [(run, None)]
    change(path)

    assert ledger.standing("k2", "job000000001", ["run000000001"]).owned == {"run000000001"}


def test_runs_that_are_written_anew_have_their_names_their_attempts_and_then_their_changes(ledger, path):
    run = replace(started(ledger, "k1", "run000000001"), execution=execution("RUNNING", "run000000001"))
    lost = a_view("k2", parameters={"$a": 1})
    ledger.add(lost)
    ledger.known = lambda: [(run, None), (lost, (ATTEMPT,))]
    path.unlink()
    ledger.update([replace(run, execution=execution("COMPLETED", "run000000001"))])

    assert {record.key: (record.status, record.keeps_attempts) for record in ledger.records()} == {
        "k1": ("COMPLETED", 0),
        "k2": ("SUBMITTING", 1),
    }
    assert ledger.attempts(["k2"]) == {"k2": (ATTEMPT,)}
    assert (ledger.job_names(), ledger.parameter_names("daily")) == (["daily"], ["a"])


def test_what_another_kernel_wrote_meanwhile_is_not_written_over(ledger, path):
    run = started(ledger, "k1", "run000000001")
    ledger.known = lambda: [(a_view("k1"), (ATTEMPT,)), (replace(run, key="k2"), None)]
    path.unlink()
    other = Ledger(path)
    started(other, "k1", "run000000001")
    other.close()

    assert [(record.key, record.run_id) for record in ledger.records()] == [("k1", "run000000001")]


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_text(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"no database at all, but long enough to look like one" * 40)


def cut_to_nothing(path: Path) -> None:
    os.truncate(path, 0)


def cut_in_the_middle(path: Path) -> None:
    os.truncate(path, 100)


@pytest.mark.parametrize("change", [replace_by_a_folder, replace_by_text, cut_to_nothing, cut_in_the_middle])
def test_a_start_is_refused_once_the_file_is_no_ledger(ledger, path, change):
    ledger.add(a_view("before"))
    change(path)

    for _ in range(2):
        with pytest.raises(ConfigError, match=r"ledger\.sqlite3 cannot be written"):
            ledger.add(a_view("next"))
    path.rmdir() if path.is_dir() else path.unlink()
    ledger.add(a_view("next"))
    assert [record.key for record in Ledger(path).records()] == ["next"]


@pytest.mark.parametrize("version", [(3, 24, 0), (3, 34, 1), (3, 50, 2), (4, 0, 0)])
def test_sqlite_of_this_version_is_used(version):
    check_sqlite(version)


@pytest.mark.parametrize("version", [(3, 23, 1), (3, 7, 15)])
def test_an_older_sqlite_is_refused_with_its_version(version):
    with pytest.raises(sqlite3.NotSupportedError, match=".".join(map(str, version))):
        check_sqlite(version)
