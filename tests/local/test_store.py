import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import IO, Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow_magic.local.store import (
    NEXT_STATES,
    Store,
    StoredJob,
    StoredRun,
    Tally,
    allowed_before,
    is_id,
    new_id,
    tally,
)
from dataflow_magic.models.wire import FINAL_STATES, KST, RunState
from tests.local.scripted import Clock

CONDITION = {"numWorker": 2, "timeout": 360, "scriptPath": "b/scripts/", "logPath": "b/logs/"}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    return Store(tmp_path / "state.sqlite3", clock.now)


def add_job(store: Store, name: str = "daily", max_concurrent_runs: int | None = None) -> StoredJob:
    return store.add_job(
        name, "SCRIPT", max_concurrent_runs=max_concurrent_runs, condition=CONDITION, extra={"nodes": []}
    )


def add_run(store: Store, job: StoredJob, **parameters: Any) -> StoredRun:
    return store.add_run(job, condition=CONDITION, parameters=parameters, trigger_id=None, workflow_id=None)


def test_ids_are_twelve_letters_and_digits():
    ids = {new_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(len(one) == 12 and one.isascii() and one.isalnum() for one in ids)
    assert all(map(is_id, ids))


@pytest.mark.parametrize("text", ["", "a" * 11, "a" * 13, "a-bcdefghijk", "abcdefghijk\n", "매" * 12])
def test_other_texts_are_not_ids(text):
    assert not is_id(text)


def test_runs_in_a_state_are_counted(store):
    job = add_job(store)
    runs = [add_run(store, job) for _ in range(3)]
    store.move(runs[0].run_id, RunState.RUNNING)

    assert (store.count_in(RunState.READY), store.count_in(RunState.RUNNING)) == (2, 1)
    assert store.count_in(RunState.FAILED) == 0


def test_the_database_is_in_wal_mode(tmp_path, clock):
    Store(tmp_path / "state.sqlite3", clock.now)

    with closing(sqlite3.connect(tmp_path / "state.sqlite3")) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_read_does_not_wait_for_a_write(store, tmp_path):
    run = add_run(store, add_job(store))
    with closing(sqlite3.connect(tmp_path / "state.sqlite3", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE runs SET status = 'RUNNING'")

        assert store.run(run.run_id).status == "READY"


def test_a_job_is_read_as_it_was_stored(store):
    job = add_job(store, "매출", max_concurrent_runs=3)

    again = store.job(job.job_id)

    assert again == job
    assert (again.name, again.type, again.max_concurrent_runs) == ("매출", "SCRIPT", 3)
    assert (again.condition, again.extra) == (CONDITION, {"nodes": []})
    assert again.created == again.updated == datetime(2026, 11, 1, 8, 0, 0, 900_000, tzinfo=UTC)
    assert (again.last_status, again.last_run) == (None, None)


def test_a_run_is_read_as_it_was_stored(store):
    job = add_job(store, max_concurrent_runs=3)
    run = store.add_run(
        job,
        condition=CONDITION,
        parameters={"$n": 7, "$이름": "a\nb"},
        trigger_id="TRIGGER00001",
        workflow_id="WORKFLOW0001",
    )

    again = store.run(run.run_id)

    assert again == run
    assert (again.job_id, again.job_name, again.status, again.detail) == (job.job_id, "daily", "READY", "")
    assert again.parameters == {"$n": 7, "$이름": "a\nb"}
    assert (again.trigger_id, again.workflow_id) == ("TRIGGER00001", "WORKFLOW0001")
    assert (again.started, again.ended) == (None, None)
    assert again.max_concurrent_runs == 3


def test_an_update_is_merged_into_the_job_and_dated(store, clock):
    job = add_job(store, max_concurrent_runs=3)
    clock.advance(hours=1)

    updated = store.update_job(job.job_id, condition={"timeout": 5}, extra={"description": "x"})

    assert updated == store.job(job.job_id)
    assert (updated.name, updated.max_concurrent_runs) == ("daily", 3)
    assert updated.condition == {**CONDITION, "timeout": 5}
    assert updated.extra == {"nodes": [], "description": "x"}
    assert (updated.created, updated.updated) == (job.created, clock.now())

    renamed = store.update_job(job.job_id, name="weekly", max_concurrent_runs=1, condition={})
    assert (renamed.name, renamed.max_concurrent_runs, renamed.condition) == ("weekly", 1, updated.condition)


def test_concurrent_updates_lose_nothing(store):
    job = add_job(store)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.update_job(job.job_id, condition={}, extra={f"n{n}": n}), range(24)))

    assert store.job(job.job_id).extra == {"nodes": []} | {f"n{n}": n for n in range(24)}


@pytest.mark.parametrize("state", [RunState.READY, RunState.RUNNING])
def test_a_job_with_a_live_run_is_not_deleted(store, state):
    job = add_job(store)
    run = add_run(store, job)
    store.move(run.run_id, state)

    assert store.delete_job(job.job_id) is False
    assert store.run(run.run_id) is not None


def test_deleting_a_job_deletes_its_runs_and_no_others(store):
    job, other = add_job(store), add_job(store)
    run, kept = add_run(store, job), add_run(store, other)
    store.move(run.run_id, RunState.FAILED)

    assert store.delete_job(job.job_id) is True

    assert (store.job(job.job_id), store.run(run.run_id)) == (None, None)
    assert store.runs_in(RunState.FAILED) == []
    assert store.runs_in(RunState.READY) == [kept]
    with pytest.raises(LookupError):
        add_run(store, job)
    assert store.delete_job(job.job_id) is False


def test_unknown_jobs_and_runs_are_none(store):
    assert store.update_job("NOSUCHJOB000", condition={}) is None
    assert store.job("NOSUCHJOB000") is None
    assert store.run("NOSUCHRUN000") is None


def test_a_reopened_store_has_all_jobs_and_runs(store, tmp_path, clock):
    job = add_job(store)
    run = add_run(store, job)
    store.move(run.run_id, RunState.RUNNING)

    again = Store(tmp_path / "state.sqlite3", clock.now)

    assert again.job(job.job_id) == store.job(job.job_id)
    assert again.runs_in(RunState.RUNNING) == [store.run(run.run_id)]


SCHEMA_OF_NOVEMBER_2026 = """
CREATE TABLE jobs (
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
CREATE INDEX jobs_by_name ON jobs (name);
CREATE TABLE runs (
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
CREATE INDEX runs_by_job ON runs (job_id, seq);
CREATE INDEX runs_by_status ON runs (status);
CREATE TABLE run_counts (job_id TEXT PRIMARY KEY, runs INTEGER NOT NULL);
CREATE TRIGGER run_added AFTER INSERT ON runs BEGIN
  INSERT INTO run_counts VALUES (new.job_id, 1) ON CONFLICT (job_id) DO UPDATE SET runs = runs + 1;
END;
CREATE TRIGGER run_deleted AFTER DELETE ON runs BEGIN
  UPDATE run_counts SET runs = runs - 1 WHERE job_id = old.job_id;
END;
INSERT INTO jobs VALUES (
  1, 'gqigvH000000', 'daily_sales', 'SCRIPT', 3, '{"numWorker": 2, "timeout": 360}', '{"description": "x"}',
  '2026-11-01T17:00:00.900000+09:00', '2026-11-01T18:00:00+09:00'
);
INSERT INTO runs VALUES (
  1, 'p4Y5Pk000000', 'gqigvH000000', 'daily_sales', '{"numWorker": 2, "timeout": 360}', '{"$n": 7}', 'T', NULL,
  'FAILED', 'no such table', '2026-11-01T17:00:01+09:00', '2026-11-01T17:00:02+09:00', '2026-11-01T17:00:03+09:00'
), (
  2, 'p4Y5Pk000001', 'gqigvH000000', 'daily_sales', '{}', '{}', NULL, 'W', 'READY', '',
  '2026-11-01T17:00:04+09:00', NULL, NULL
);
"""


def korean(hour: int, second: int, microsecond: int = 0) -> datetime:
    return datetime(2026, 11, 1, hour, 0, second, microsecond, tzinfo=KST)


def test_a_database_of_an_earlier_version_opens_with_all_its_jobs_and_runs(tmp_path, clock):
    with closing(sqlite3.connect(tmp_path / "state.sqlite3")) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(SCHEMA_OF_NOVEMBER_2026)

    store = Store(tmp_path / "state.sqlite3", clock.now)

    job = StoredJob(
        job_id="gqigvH000000",
        name="daily_sales",
        type="SCRIPT",
        max_concurrent_runs=3,
        condition={"numWorker": 2, "timeout": 360},
        extra={"description": "x"},
        created=korean(17, 0, 900_000),
        updated=korean(18, 0),
        last_status="READY",
        last_run=korean(17, 4),
    )
    failed = StoredRun(
        run_id="p4Y5Pk000000",
        job_id="gqigvH000000",
        job_name="daily_sales",
        condition={"numWorker": 2, "timeout": 360},
        parameters={"$n": 7},
        trigger_id="T",
        workflow_id=None,
        status="FAILED",
        detail="no such table",
        created=korean(17, 1),
        started=korean(17, 2),
        ended=korean(17, 3),
        max_concurrent_runs=3,
    )
    assert store.jobs(name=None, page=0, limit=10) == ([job], 1)
    assert store.run("p4Y5Pk000000") == failed
    assert store.runs("gqigvH000000", page=0, limit=0)[1] == 2
    assert store.move("p4Y5Pk000001", RunState.RUNNING)
    assert add_run(store, job).job_id == "gqigvH000000"
    assert store.runs("gqigvH000000", page=0, limit=0)[1] == 3
    assert tally(tmp_path / "state.sqlite3") == Tally(jobs=1, runs=3, waiting=1, running=1)


def test_a_job_has_the_state_of_its_newest_run(store, clock):
    job, other = add_job(store), add_job(store)
    add_run(store, job)
    clock.advance(hours=1)
    newest = add_run(store, job)
    store.move(newest.run_id, RunState.FAILED, "no such table")

    found = store.job(job.job_id)

    assert (found.last_status, found.last_run) == ("FAILED", newest.created)
    assert store.job(other.job_id).last_status is None


def test_jobs_are_listed_oldest_first_with_the_total(store):
    names = [add_job(store, f"job_{n}").name for n in range(5)]

    page, total = store.jobs(name=None, page=1, limit=2)

    assert ([job.name for job in page], total) == (names[2:4], 5)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("daily", ["daily_sales", "daily_delays"]),
        ("sales", ["daily_sales"]),
        ("daily_sales", ["daily_sales"]),
        ("Daily", []),
        ("%", []),
        ("_", ["daily_sales", "daily_delays"]),
        ("", ["daily_sales", "daily_delays"]),
    ],
    ids=[
        "beginning",
        "end",
        "whole",
        "other case",
        "a % is no wildcard",
        "a _ is no wildcard",
        "empty selects all",
    ],
)
def test_a_name_selects_the_jobs_whose_name_contains_it(store, wanted, found):
    add_job(store, "daily_sales")
    add_job(store, "daily_delays")

    jobs, total = store.jobs(name=wanted, page=0, limit=10)

    assert ([job.name for job in jobs], total) == (found, len(found))


def test_runs_of_one_moment_are_listed_newest_first(store):
    job = add_job(store)
    ids = [add_run(store, job).run_id for _ in range(5)]
    add_run(store, add_job(store))

    page, total = store.runs(job.job_id, page=0, limit=3)

    assert ([run.run_id for run in page], total) == (ids[:1:-1], 5)


@pytest.mark.parametrize(("page", "limit"), [(0, 0), (9, 10), (999_999_999, 999_999_999)])
def test_a_page_beyond_the_end_is_empty_and_has_the_total(store, page, limit):
    job = add_job(store)
    add_run(store, job)

    assert store.runs(job.job_id, page=page, limit=limit) == ([], 1)
    assert store.jobs(name=None, page=page, limit=limit) == ([], 1)


def test_runs_in_a_state_are_listed_oldest_first(store):
    jobs = add_job(store), add_job(store)
    ids = [add_run(store, jobs[n % 2]).run_id for n in range(4)]
    store.move(ids[1], RunState.RUNNING)

    assert [run.run_id for run in store.runs_in(RunState.READY)] == [ids[0], ids[2], ids[3]]
    assert [run.run_id for run in store.runs_in(RunState.RUNNING)] == [ids[1]]


def test_a_move_stores_the_time_of_start_and_end(store, clock):
    run = add_run(store, add_job(store))
    clock.advance(minutes=1)
    assert store.move(run.run_id, RunState.RUNNING)
    clock.advance(minutes=1)
    assert store.move(run.run_id, RunState.FAILED, "the script exited with code 1")

    again = store.run(run.run_id)

    assert again.created == datetime(2026, 11, 1, 8, 0, 0, 900_000, tzinfo=UTC)
    assert again.started == datetime(2026, 11, 1, 8, 1, 0, 900_000, tzinfo=UTC)
    assert again.ended == datetime(2026, 11, 1, 8, 2, 0, 900_000, tzinfo=UTC)
    assert (again.status, again.detail) == ("FAILED", "the script exited with code 1")


def test_moving_an_unknown_run_is_false(store):
    assert not store.move("NOSUCHRUN000", RunState.RUNNING)


@given(st.lists(st.sampled_from(list(RunState)), max_size=6))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stored_run_never_leaves_a_final_state(store, wishes):
    run_id = add_run(store, add_job(store)).run_id
    final = None
    for wish in wishes:
        moved = store.move(run_id, wish, wish)
        now = store.run(run_id)

        assert now.status == (wish if moved else now.status)
        assert final is None or now == final
        final = now if now.status in FINAL_STATES else None


@pytest.mark.parametrize("state", ["READY", "RUNNING", "COMPLETED", "FAILED", "CANCELED"])
def test_a_cancel_of_a_run_that_is_not_over_is_accepted_and_kept(store, tmp_path, clock, state):
    run = add_run(store, add_job(store))
    if state != "READY":
        store.move(run.run_id, RunState.RUNNING)
        store.move(run.run_id, RunState(state))
    is_live = state in {"READY", "RUNNING"}

    assert store.accept_cancel(run.run_id) is is_live
    assert store.accept_cancel(run.run_id) is is_live
    store.close()
    assert Store(tmp_path / "state.sqlite3", clock.now).is_cancel_accepted(run.run_id) is is_live
    assert not store.accept_cancel("NOSUCHRUN000")


def test_a_run_that_is_to_be_canceled_does_not_become_running(store):
    job = add_job(store)
    one, other = add_run(store, job), add_run(store, job)
    store.accept_cancel(one.run_id)

    assert not store.move(one.run_id, RunState.RUNNING)
    assert store.move(other.run_id, RunState.RUNNING)
    assert store.move(one.run_id, RunState.CANCELED)


def test_a_cancel_goes_with_its_run(store):
    job = add_job(store)
    run = add_run(store, job)
    store.accept_cancel(run.run_id)
    store.move(run.run_id, RunState.CANCELED)

    assert store.delete_job(job.job_id)
    assert not store.is_cancel_accepted(run.run_id)


def test_threads_write_concurrently(store):
    job = add_job(store)

    with ThreadPoolExecutor(8) as pool:
        ids = {run.run_id for run in pool.map(lambda n: add_run(store, job, n=n), range(40))}

    runs, total = store.runs(job.job_id, page=0, limit=100)
    assert total == 40
    assert {run.run_id for run in runs} == ids


WRITER = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from dataflow_magic.local.store import Store

store = Store(Path(sys.argv[1]), lambda: datetime.now(timezone.utc))
job = store.job(sys.argv[2])
print("open", flush=True)
sys.stdin.readline()
for n in range(20):
    store.add_run(job, condition={}, parameters={}, trigger_id=None, workflow_id=None)
"""


def test_processes_write_concurrently(store, tmp_path):
    job = add_job(store)
    command = [sys.executable, "-c", WRITER, tmp_path / "state.sqlite3", job.job_id]
    writers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [cast("IO[str]", writer.stdout) for writer in writers]
    try:
        assert [one.readline() for one in said] == ["open\n", "open\n"]

        for writer in writers:
            writer.communicate("go\n", timeout=60)

        assert [writer.returncode for writer in writers] == [0, 0]
        assert store.runs(job.job_id, page=0, limit=0)[1] == 40
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()


def test_one_of_two_concurrent_moves_wins(store):
    job = add_job(store)
    runs = [add_run(store, job).run_id for _ in range(20)]

    def race(state):
        return [store.move(run_id, state) for run_id in runs]

    with ThreadPoolExecutor(2) as pool:
        failed, canceled = pool.map(race, [RunState.FAILED, RunState.CANCELED])

    assert [a != b for a, b in zip(failed, canceled, strict=True)] == [True] * 20


def test_a_tally_counts_jobs_and_runs_by_state_and_writes_nothing(tmp_path, store):
    job, other = add_job(store), add_job(store)
    for state in (None, "RUNNING", "RUNNING", "FAILED"):
        run = add_run(store, other)
        if state:
            store.move(run.run_id, RunState(state))
    add_run(store, job)

    assert tally(tmp_path / "state.sqlite3") == Tally(jobs=2, runs=5, waiting=2, running=2)
    assert tally(tmp_path / "none.sqlite3") == Tally(0, 0, 0, 0)
    assert not (tmp_path / "none.sqlite3").exists()


@pytest.mark.parametrize("content", [b"this is not a database", b""], ids=["text", "empty"])
def test_a_file_of_another_kind_has_no_tally(tmp_path, content):
    (tmp_path / "state.sqlite3").write_bytes(content)

    assert tally(tmp_path / "state.sqlite3") is None


@pytest.mark.parametrize(
    ("state", "before"),
    [
        ("READY", []),
        ("RUNNING", ["READY"]),
        ("COMPLETED", ["RUNNING"]),
        ("FAILED", ["READY", "RUNNING"]),
        ("CANCELED", ["READY", "RUNNING"]),
    ],
)
def test_the_states_before_each_state(state, before):
    assert sorted(allowed_before(RunState(state))) == before


def test_every_state_of_the_page_is_in_the_table():
    assert sorted(NEXT_STATES) == ["CANCELED", "COMPLETED", "FAILED", "READY", "RUNNING"]


@given(st.lists(st.sampled_from(list(RunState))))
def test_no_sequence_of_moves_leaves_a_final_state(wishes):
    state = RunState.READY
    seen = [state]
    for wish in wishes:
        if state in allowed_before(wish):
            state = wish
            seen.append(state)

    assert all(one not in FINAL_STATES for one in seen[:-1])


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        NEXT_STATES[RunState.FAILED] = frozenset({RunState.READY})  # type: ignore[index]
