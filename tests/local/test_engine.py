import asyncio
import itertools
import logging
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataflow_magic.local.engine import STOPPED, Engine
from dataflow_magic.local.run import Outcome, Refusal, RunSpec
from dataflow_magic.local.store import Store, StoredJob, StoredRun
from dataflow_magic.models.wire import FINAL_STATES, RunState
from tests.local.scripted import Clock, ScriptedRuns, until

CONDITION = {"numWorker": 4, "timeout": 30, "scriptPath": "b/scripts/", "logPath": "b/logs/"}


@dataclass
class Place:
    """A data folder with a database, and engines over it."""

    folder: Path
    store: Store
    runs: ScriptedRuns

    def engine(self, *, slots: int = 8, runner: Any = None) -> Engine:
        return Engine(self.store, self.folder, runner or self.runs, slots=slots)

    def job(self, limit: int | None = None, **parameters: str) -> StoredJob:
        condition = {**CONDITION, "parameters": parameters}
        return self.store.add_job("daily", "SCRIPT", max_concurrent_runs=limit, condition=condition, extra={})

    def run(self, job: StoredJob, *, timeout: int = 30, **parameters: Any) -> str:
        condition = {**CONDITION, "timeout": timeout}
        run = self.store.add_run(
            job, condition=condition, parameters=parameters, trigger_id=None, workflow_id=None
        )
        return run.run_id

    def stored(self, run_id: str) -> StoredRun:
        run = self.store.run(run_id)
        assert run is not None
        return run

    def status(self, run_id: str) -> str:
        return self.stored(run_id).status

    def scratch(self) -> list[str]:
        runs = self.folder / "runs"
        return [path.name for path in runs.iterdir()] if runs.exists() else []

    async def reached(self, run_id: str, status: str) -> StoredRun:
        await until(lambda: self.status(run_id) == status)
        return self.stored(run_id)

    async def begun(self, run_id: str) -> RunSpec:
        await until(lambda: run_id in self.runs.begun())
        return next(spec for spec in self.runs.specs if spec.run_id == run_id)


@pytest.fixture
def place(tmp_path):
    clock = Clock()
    return Place(tmp_path, Store(tmp_path / "state.sqlite3", clock.now), ScriptedRuns())


@pytest.mark.anyio
async def test_the_state_of_a_run_follows_its_runner(place):
    run_id = place.run(place.job())
    async with place.engine() as engine:
        await place.begun(run_id)
        assert place.status(run_id) == "READY"
        assert engine.waiting_for(place.stored(run_id)) == "starting Spark"

        place.runs.start(run_id)
        running = await place.reached(run_id, "RUNNING")
        assert running.started is not None
        assert engine.waiting_for(running) == ""

        place.runs.complete(run_id)
        over = await place.reached(run_id, "COMPLETED")
        assert (over.detail, over.ended is not None) == ("", True)


@pytest.mark.anyio
async def test_a_failed_run_keeps_its_reason(place):
    run_id = place.run(place.job())
    async with place.engine():
        place.runs.start(run_id)
        place.runs.fail(run_id, "the script exited with code 1")

        assert (await place.reached(run_id, "FAILED")).detail == "the script exited with code 1"


@pytest.mark.anyio
async def test_a_run_may_fail_before_it_runs(place):
    run_id = place.run(place.job())
    async with place.engine():
        place.runs.fail(run_id, "no script in b/scripts/")

        over = await place.reached(run_id, "FAILED")
        assert (over.detail, over.started) == ("no script in b/scripts/", None)


@pytest.mark.anyio
async def test_the_runner_gets_what_to_run_and_where(place):
    run_id = place.run(place.job(a="1", b="2"), timeout=5, **{"$a": True})
    async with place.engine():
        spec = await place.begun(run_id)

    assert spec.work.parent == place.folder / "runs"
    assert spec.work.name.startswith(f"{run_id}-")
    assert spec == RunSpec(
        run_id=run_id,
        job_name="daily",
        script_path="b/scripts/",
        log_path="b/logs/",
        parameters={"$a": "true", "$b": "2"},
        workers=4,
        timeout_seconds=300.0,
        objects=place.folder / "objects",
        work=spec.work,
    )


@pytest.mark.anyio
async def test_a_timeout_of_0_is_six_hours(place):
    run_id = place.run(place.job(), timeout=0)
    async with place.engine():
        spec = await place.begun(run_id)

    assert spec.timeout_seconds == 360 * 60


@pytest.mark.anyio
async def test_runs_start_in_the_order_they_came(place):
    jobs = place.job(), place.job()
    ids = [place.run(jobs[n % 2]) for n in range(6)]
    async with place.engine(slots=1):
        for run_id in ids:
            await place.begun(run_id)
            place.runs.start(run_id)
            place.runs.complete(run_id)
        await place.reached(ids[-1], "COMPLETED")

    assert place.runs.begun() == ids
    assert place.runs.most_at_once == 1


@pytest.mark.anyio
async def test_no_more_runs_are_live_than_there_are_slots(place):
    job = place.job()
    first, second, third = (place.run(job) for _ in range(3))
    async with place.engine(slots=2) as engine:
        await place.begun(second)
        assert engine.waiting_for(place.stored(third)) == "a free slot: the local service runs 2 at a time"
        assert engine.active == 2

        place.runs.fail(first, "x")
        await place.begun(third)

    assert place.runs.most_at_once == 2


@pytest.mark.anyio
async def test_a_jobs_lower_limit_does_not_delay_other_jobs(place):
    narrow, wide = place.job(limit=1), place.job()
    first, second, other = place.run(narrow), place.run(narrow), place.run(wide)
    async with place.engine() as engine:
        await place.begun(other)
        assert place.runs.begun() == [first, other]
        assert (
            engine.waiting_for(place.stored(second))
            == "a free slot: its job runs 1 at a time (maxConcurrentRuns)"
        )

        place.runs.fail(first, "x")
        await place.begun(second)


@pytest.mark.anyio
async def test_a_run_before_its_dispatch_reports_no_reason_to_wait(place):
    run_id = place.run(place.job())

    assert place.engine().waiting_for(place.stored(run_id)) == ""


@pytest.mark.anyio
async def test_wake_takes_a_run_that_was_added_later(place):
    job = place.job()
    async with place.engine() as engine:
        run_id = place.run(job)
        engine.wake()

        await place.begun(run_id)


@pytest.mark.anyio
async def test_canceling_a_waiting_run_ends_it_at_once_and_it_never_starts(place):
    job = place.job(limit=1)
    first, second = place.run(job), place.run(job)
    async with place.engine() as engine:
        await place.begun(first)

        await engine.cancel(second)

        over = place.stored(second)
        assert (over.status, over.detail) == ("CANCELED", "canceled before it started")
        place.runs.fail(first, "x")
        await place.reached(first, "FAILED")
        third = place.run(job)
        engine.wake()
        await place.begun(third)
        assert place.runs.begun() == [first, third]


@pytest.mark.anyio
@pytest.mark.parametrize("state", ["READY", "RUNNING"])
async def test_canceling_a_live_run_ends_it_when_the_runner_returns(place, state):
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow_to_end(_, *, cancel, started, **__):
        if state == "RUNNING":
            await started()
        begun.set()
        await cancel.wait()
        await may_end.wait()
        return Outcome("CANCELED", "canceled on request")

    run_id = place.run(place.job())
    async with place.engine(runner=slow_to_end) as engine:
        await begun.wait()

        await engine.cancel(run_id)
        await engine.cancel(run_id)  # a second cancel changes nothing

        assert place.status(run_id) == state
        may_end.set()
        over = await place.reached(run_id, "CANCELED")
        assert (over.detail, over.started is None) == ("canceled on request", state == "READY")


@pytest.mark.anyio
async def test_a_cancel_that_comes_too_late_leaves_the_run_completed(place):
    async def done_anyway(_, *, cancel, started, **__):
        await started()
        await cancel.wait()
        return Outcome("COMPLETED")

    run_id = place.run(place.job())
    async with place.engine(runner=done_anyway) as engine:
        await place.reached(run_id, "RUNNING")

        await engine.cancel(run_id)

        await place.reached(run_id, "COMPLETED")


@pytest.mark.anyio
@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELED"])
async def test_a_run_that_is_over_cannot_be_canceled(place, state):
    run_id = place.run(place.job())
    place.store.move(run_id, RunState.RUNNING)
    place.store.move(run_id, RunState(state))
    async with place.engine() as engine:
        with pytest.raises(Refusal) as refused:
            await engine.cancel(run_id)

    assert refused.value.kind == "bad-state"
    assert (
        refused.value.detail == f"run {run_id} is over ({state}); only a READY or RUNNING run can be canceled"
    )


@pytest.mark.anyio
async def test_an_unknown_run_cannot_be_canceled(place):
    async with place.engine() as engine:
        with pytest.raises(Refusal, match=r"run NOSUCHRUN000 is over \(gone\)"):
            await engine.cancel("NOSUCHRUN000")


@pytest.mark.anyio
@pytest.mark.parametrize("started", [False, True], ids=["before it runs", "while it runs"])
async def test_a_runner_that_raises_fails_its_run_and_no_other(place, started, caplog):
    job = place.job()
    broken, other = place.run(job), place.run(job)
    async with place.engine():
        if started:
            place.runs.start(broken)
        place.runs.crash(broken, ZeroDivisionError("no cores"))

        over = await place.reached(broken, "FAILED")
        assert over.detail == "the local service failed: ZeroDivisionError: no cores"
        place.runs.start(other)
        place.runs.complete(other)
        await place.reached(other, "COMPLETED")

    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "no cores" in caplog.text


@pytest.mark.anyio
async def test_a_run_whose_end_cannot_be_stored_does_not_start_again(place, caplog):
    job = place.job()
    run_id = place.run(job)
    database = place.folder / "state.sqlite3"
    async with place.engine() as engine:
        await place.begun(run_id)
        with closing(sqlite3.connect(database)) as db:
            db.executescript(
                "CREATE TRIGGER full BEFORE UPDATE ON runs BEGIN SELECT RAISE(FAIL, 'full'); END"
            )
        place.runs.fail(run_id, "x")
        await until(lambda: engine.active == 0)
        with closing(sqlite3.connect(database)) as db:
            db.executescript("DROP TRIGGER full")

        later = place.run(job)
        engine.wake()
        await place.begun(later)
        assert place.runs.begun() == [run_id, later]

        place.runs.fail(later, "x")
        await until(engine.is_idle)
        assert place.status(run_id) == "READY"
        await engine.cancel(run_id)
        assert place.status(run_id) == "CANCELED"

    assert "full" in caplog.text


@pytest.mark.anyio
async def test_an_unreadable_database_is_read_again_at_the_next_wake(place, caplog):
    job = place.job()
    run_id = place.run(job)
    database = place.folder / "state.sqlite3"
    with closing(sqlite3.connect(database)) as db:
        db.executescript("ALTER TABLE jobs RENAME TO hidden")
    engine = Engine(place.store, place.folder, place.runs, slots=1)
    with pytest.raises(sqlite3.OperationalError, match="no such table: jobs"):
        await engine.__aenter__()
    with closing(sqlite3.connect(database)) as db:
        db.executescript("ALTER TABLE hidden RENAME TO jobs")

    async with engine:
        await place.begun(run_id)
        place.runs.fail(run_id, "x")
        await place.reached(run_id, "FAILED")
        with closing(sqlite3.connect(database)) as db:
            db.executescript("ALTER TABLE jobs RENAME TO hidden")
        engine.wake()
        await until(lambda: "no such table: jobs" in caplog.text)
        with closing(sqlite3.connect(database)) as db:
            db.executescript("ALTER TABLE hidden RENAME TO jobs")
        later = place.run(job)
        engine.wake()

        await place.begun(later)


@pytest.mark.anyio
async def test_leaving_ends_live_runs_and_keeps_waiting_ones(place):
    job = place.job()
    running, starting, waiting = (place.run(job) for _ in range(3))
    async with place.engine(slots=2):
        place.runs.start(running)
        await place.reached(running, "RUNNING")
        await place.begun(starting)

    assert [(place.status(one), place.stored(one).detail) for one in (running, starting, waiting)] == [
        ("FAILED", STOPPED),
        ("FAILED", STOPPED),
        ("READY", ""),
    ]
    assert STOPPED == "the local service stopped while it ran"


@pytest.mark.anyio
async def test_an_engine_after_a_killed_one_fails_running_runs_and_takes_waiting_ones(place):
    job = place.job()
    ran, first, second = (place.run(job) for _ in range(3))
    place.store.move(ran, RunState.RUNNING)
    (place.folder / "runs" / f"{ran}-abc").mkdir(parents=True)

    async with place.engine(slots=1):
        assert (place.status(ran), place.stored(ran).detail) == ("FAILED", STOPPED)
        await place.begun(first)
        place.runs.start(first)
        place.runs.complete(first)
        await place.begun(second)

    assert place.runs.begun() == [first, second]


@pytest.mark.anyio
async def test_an_engine_after_a_killed_one_cancels_what_was_to_be_canceled(place):
    job = place.job()
    ran, waits, other = (place.run(job) for _ in range(3))
    place.store.move(ran, RunState.RUNNING)
    assert place.store.accept_cancel(ran)
    assert place.store.accept_cancel(waits)

    async with place.engine():
        await place.begun(other)

    assert (place.status(ran), place.stored(ran).detail) == ("CANCELED", "canceled on request")
    assert (place.status(waits), place.stored(waits).detail) == ("CANCELED", "canceled before it started")
    assert place.runs.begun() == [other]


@pytest.mark.anyio
async def test_a_run_to_be_canceled_ends_canceled_when_the_service_stops(place):
    async def endless(_, *, started, **__):
        await started()
        await asyncio.Event().wait()

    run_id = place.run(place.job())
    async with place.engine(runner=endless) as engine:
        await place.reached(run_id, "RUNNING")
        await engine.cancel(run_id)

    assert (place.status(run_id), place.stored(run_id).detail) == ("CANCELED", "canceled on request")


@pytest.mark.anyio
async def test_a_run_whose_cancel_is_stored_does_not_start(place):
    run_id = place.run(place.job())
    async with place.engine():
        await place.begun(run_id)
        assert place.store.accept_cancel(run_id)  # the engine's loop does not know yet

        place.runs.start(run_id)

        assert (await place.reached(run_id, "CANCELED")).started is None
    assert place.runs.scripts == []


@pytest.mark.anyio
async def test_the_scratch_folder_is_empty_after_a_run(place):
    run_id = place.run(place.job())
    (place.folder / "runs" / "leftover").mkdir(parents=True)
    async with place.engine():
        await place.begun(run_id)
        assert len(place.scratch()) == 1

        place.runs.fail(run_id, "x")
        await until(lambda: place.scratch() == [])


@pytest.mark.anyio
async def test_each_attempt_of_a_run_gets_a_new_folder(place):
    # The JVM of a killed service may still write into the first one.
    run_id = place.run(place.job())
    async with place.engine():
        await place.begun(run_id)
    with closing(sqlite3.connect(place.folder / "state.sqlite3")) as db:
        db.executescript("UPDATE runs SET status = 'READY'")
    async with place.engine():
        await until(lambda: place.runs.begun() == [run_id, run_id])

    first, second = (spec.work for spec in place.runs.specs)
    assert first != second


@pytest.mark.anyio
async def test_an_engine_is_idle_when_no_run_is_live_or_waits(place):
    job = place.job(limit=1)
    async with place.engine() as engine:
        await until(engine.is_idle)
        first, second = place.run(job), place.run(job)
        engine.wake()
        assert not engine.is_idle()

        await place.begun(first)
        assert not engine.is_idle()
        place.runs.fail(first, "x")
        await place.begun(second)
        assert not engine.is_idle()
        place.runs.fail(second, "x")

        await until(engine.is_idle)


@pytest.mark.anyio
async def test_a_long_queue_runs_to_its_end_and_every_run_once(place):
    jobs = place.job(limit=2), place.job(limit=1), place.job()
    ids = [place.run(jobs[n % 3]) for n in range(30)]
    for run_id in ids:
        place.runs.start(run_id)
        place.runs.complete(run_id)
    async with place.engine(slots=4) as engine:
        await until(engine.is_idle)

    assert {place.status(run_id) for run_id in ids} == {"COMPLETED"}
    assert sorted(place.runs.begun()) == sorted(ids)
    assert place.runs.most_at_once <= 4


ORDERS = st.lists(
    st.tuples(st.sampled_from(["add", "start", "complete", "fail", "cancel", "restart"]), st.integers(0, 5)),
    max_size=14,
)


class MortalStore(Store):
    """A store whose process is killed right before or after its nth write: from then on it does nothing."""

    def __init__(self, path: Path, *, writes: int, takes_last: bool) -> None:
        self._left = writes
        self._takes_last = takes_last
        super().__init__(path, Clock().now)

    def move(self, run_id: str, state: RunState, detail: str = "") -> bool:
        return self._write(lambda: super(MortalStore, self).move(run_id, state, detail))

    def accept_cancel(self, run_id: str) -> bool:
        return self._write(lambda: super(MortalStore, self).accept_cancel(run_id))

    def _write(self, write: Callable[[], bool]) -> bool:
        self._left -= 1
        is_last = self._left == 0
        if self._left > 0 or (is_last and self._takes_last):
            taken = write()
            if not is_last:
                return taken
        raise KilledError


class KilledError(Exception):
    """The process is gone."""


@given(ORDERS)
@example([("add", 0), ("start", 0), ("cancel", 0)])
@example([("add", 0), ("add", 0), ("add", 0), ("cancel", 2), ("start", 1), ("complete", 0)])
@settings(max_examples=8)
def test_a_kill_at_any_write_starts_no_script_twice_and_loses_no_cancel(orders):
    orders = [(order, number) for order, number in orders if order != "restart"]
    for writes, takes_last in itertools.product(range(1, 8), [False, True]):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state.sqlite3"
            mortal = MortalStore(path, writes=writes, takes_last=takes_last)
            place = Place(Path(folder), mortal, ScriptedRuns())

            ids, canceled = asyncio.run(_follow_until_killed(place, orders))
            place.store = Store(path, Clock().now)
            canceled -= {
                run_id for run_id in ids if place.status(run_id) in FINAL_STATES
            }  # they came too late
            asyncio.run(_complete(place, ids))

            assert {place.status(run_id) for run_id in ids} <= FINAL_STATES
            assert len(place.runs.scripts) == len(set(place.runs.scripts))
            assert {place.status(run_id) for run_id in canceled} <= {"CANCELED"}


async def _follow_until_killed(place: Place, orders: list[tuple[str, int]]) -> tuple[list[str], set[str]]:
    """Follow the orders; return the run ids, and those whose cancel was answered."""
    job = place.job()
    ids: list[str] = []
    canceled: set[str] = set()
    async with place.engine(slots=2) as engine:
        for order, number in orders:
            if order == "add":
                ids.append(place.run(job))
                engine.wake()
            elif ids:
                run_id = ids[number % len(ids)]
                with suppress(KilledError, Refusal):
                    await _obey(place, engine, order, run_id)
                    canceled |= {run_id} if order == "cancel" else set()
            await asyncio.sleep(0.001)
    return ids, canceled


async def _complete(place: Place, ids: list[str]) -> None:
    place.runs.forget_orders()
    for run_id in ids:
        place.runs.start(run_id)
        place.runs.complete(run_id)
    async with place.engine() as engine:
        await until(engine.is_idle)


@given(ORDERS)
@settings(max_examples=25)
def test_under_any_orders_each_run_runs_once_and_keeps_its_end(orders):
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), Store(Path(folder) / "state.sqlite3", Clock().now), ScriptedRuns())
        ids, ends = asyncio.run(_follow(place, orders))

        assert {place.status(run_id) for run_id in ids} <= FINAL_STATES
        assert all(place.stored(end.run_id) == end for end in ends)
        assert len(place.runs.begun()) == len(set(place.runs.begun()))
        assert place.runs.most_at_once <= 2


async def _follow(place: Place, orders: list[tuple[str, int]]) -> tuple[list[str], list[StoredRun]]:
    """Follow the orders, then end all runs; return the run ids, and each ended run as it was first seen."""
    jobs = place.job(), place.job(limit=1)
    ids: list[str] = []
    ends: dict[str, StoredRun] = {}
    engine = await place.engine(slots=2).__aenter__()
    for order, number in orders:
        if order == "add":
            ids.append(place.run(jobs[number % 2]))
            engine.wake()
        elif order == "restart":
            await engine.__aexit__(None, None, None)
            engine = await place.engine(slots=2).__aenter__()
        elif ids:
            await _obey(place, engine, order, ids[number % len(ids)])
        await asyncio.sleep(0.001)
        ends = {run.run_id: run for run in map(place.stored, ids) if run.status in FINAL_STATES} | ends
    for run_id in ids:
        place.runs.fail(run_id, "x")
    await until(engine.is_idle)
    await engine.__aexit__(None, None, None)
    return ids, list(ends.values())


async def _obey(place: Place, engine: Engine, order: str, run_id: str) -> None:
    if order == "cancel":
        with suppress(Refusal):
            await engine.cancel(run_id)
    elif order == "fail":
        place.runs.fail(run_id, "x")
    else:
        place.runs.start(run_id)
        if order == "complete":
            place.runs.complete(run_id)
