"""Backfills: sweeps with a limit, in an order, that stop or retry, pause, and outlive their kernel."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from dataflow_magic.cell.run import make_request
from dataflow_magic.config.settings import Target
from dataflow_magic.errors import BadState, CellError, RequestRejected
from dataflow_magic.local.run import Outcome
from dataflow_magic.local.store import StoredRun
from dataflow_magic.models.request import SweepPlan, SweepRequest
from dataflow_magic.models.secret import Secret
from dataflow_magic.models.wire import LIVE_STATES
from dataflow_magic.session.detached import Detached
from dataflow_magic.session.session import Session
from dataflow_magic.session.sweep.handle import Sweep
from dataflow_magic.session.watch import Pace
from tests.helpers import (
    ACCESS_KEY,
    SECRET_KEY,
    Scene,
    ScriptedService,
    Sent,
    at_a_port,
    eventually,
)


def request_of(
    job: str, days: range, parameters: Mapping[str, Any] | None = None, **plan: Any
) -> SweepRequest:
    requests = tuple(make_request(job, {"day": day, **(parameters or {})}) for day in days)
    return SweepRequest(("$day",), requests, plan=SweepPlan(**plan))


def sweep_of(scene: Scene, job: str, days: range, **plan: Any) -> Sweep:
    return scene.session.sweep(request_of(job, days, **plan), scene.local())


def sent_days(scene: Scene) -> list[int]:
    return [int(sent.body["parameters"]["$day"]) for sent in scene.service.starts]


def runs_of(service: ScriptedService) -> list[StoredRun]:
    """Return the runs that the service has, oldest first, as they are at one moment each job."""
    jobs = service.store.jobs(name=None, page=0, limit=100)[0]
    return [
        run
        for job in reversed(jobs)
        for run in reversed(service.store.runs(job.job_id, page=0, limit=1000)[0])
    ]


def alive(service: ScriptedService) -> int:
    return sum(run.status in LIVE_STATES for run in runs_of(service))


class Most:
    """The most runs that were alive at the service at once, counted there after each start."""

    def __init__(self, scene: Scene) -> None:
        self.seen: list[int] = []

        def count(sent: Sent) -> None:
            if sent.is_start:
                self.seen.append(alive(scene.service))

        scene.service.before_answer = count


@pytest.mark.parametrize("most", [1, 2, 3])
def test_at_most_so_many_runs_are_alive_at_the_service(scene, most):
    scene.service.outcome_of = lambda _: Outcome("COMPLETED")
    counted = Most(scene)

    assert len(sweep_of(scene, "daily_sales", range(8), max_parallel=most).result(60)) == 8
    assert max(counted.seen) <= most
    assert sorted(sent_days(scene)) == [*range(8)]


def test_a_limit_can_be_raised_while_the_sweep_runs(scene):
    sweep = sweep_of(scene, "slow", range(6), max_parallel=1)
    assert sweep.counts["UNSENT"] == 5
    sweep.max_parallel = 3
    eventually(lambda: sweep.counts["UNSENT"] == 3, "three are started")
    sweep.max_parallel = None
    eventually(lambda: len(scene.service.starts) == 6, "all are started")
    scene.service.finish.set()

    assert len(sweep.result(60)) == 6


@pytest.mark.parametrize("most", [0, -1, True, 2.5, "4"])
def test_a_limit_that_is_no_number_of_runs_is_refused(scene, most):
    sweep = sweep_of(scene, "slow", range(2), max_parallel=1)

    with pytest.raises(CellError, match="is no number of runs; give 1 or more, or None for no limit"):
        sweep.max_parallel = most
    assert sweep.max_parallel == 1


@pytest.mark.parametrize(("asked", "note"), [(None, True), (3, True), (1, False)])
def test_the_limit_of_the_job_counts_where_it_is_smaller(scene, asked, note):
    store = scene.service.store
    (slow,) = store.jobs(name="slow", page=0, limit=10)[0]
    store.update_job(slow.job_id, max_concurrent_runs=2, condition={})
    counted = Most(scene)
    sweep = sweep_of(scene, "slow", range(6), max_parallel=asked)
    said = sweep.card_state().notes
    scene.service.finish.set()

    assert len(sweep.result(60)) == 6
    assert max(counted.seen) <= (asked or 2)
    assert (said == ("at most 2 at once: the job's maxConcurrentRuns",)) is note
    assert sweep.max_parallel == asked


def test_the_last_request_is_started_first_on_demand(scene):
    sweep = sweep_of(scene, "daily_sales", range(5), max_parallel=1, reverse=True)
    sweep.result(60)

    assert sent_days(scene) == [4, 3, 2, 1, 0]
    assert [run.parameters["$day"] for run in sweep.runs] == ["0", "1", "2", "3", "4"]


def failing(*days: int) -> Any:
    return lambda parameters: Outcome("FAILED" if int(parameters["$day"]) in days else "COMPLETED")


@pytest.mark.parametrize(("most", "said"), [(1, "a run has failed"), (2, "2 runs have failed")])
def test_a_sweep_stops_after_so_many_failed_runs(scene, most, said):
    scene.service.outcome_of = failing(1, 2, 3)
    sweep = sweep_of(scene, "daily_sales", range(9), max_parallel=1, stop_on_failure=most)
    sweep.wait(60)

    assert sweep.error == f"{said}, and the sweep stops there"
    assert sent_days(scene) == [*range(most + 1)]
    assert [run.parameters["$day"] for run in sweep.failed] == [str(day) for day in range(1, most + 1)]


def test_a_run_that_fails_is_started_again_so_often_with_growing_rests(scene):
    scene.service.outcome_of = failing(1)
    sweep = sweep_of(scene, "daily_sales", range(3), retry=2)
    sweep.wait(60)

    assert sorted(sent_days(scene)) == [0, 1, 1, 1, 2]
    assert [seconds for seconds in scene.looks if seconds >= 10] == [10, 20]
    assert sweep.counts == {"COMPLETED": 2, "FAILED": 1}


def test_a_retry_that_completes_completes_the_sweep(scene):
    tries = []

    def once(parameters: Mapping[str, str]) -> Outcome:
        tries.append(parameters["$day"])
        return Outcome("FAILED" if tries == ["0"] else "COMPLETED")

    scene.service.outcome_of = once
    sweep = sweep_of(scene, "daily_sales", range(2), max_parallel=1, retry=1)

    assert len(sweep.result(60)) == 2
    assert sweep.is_completed


def test_again_starts_what_was_started_and_nothing_that_was_skipped(scene):
    scene.session.sweep(request_of("daily_sales", range(2)), scene.local()).wait()
    planned, _ = scene.session.planned(request_of("daily_sales", range(4), reprocess="none"), scene.local())
    sweep = scene.session.sweep(planned, scene.local())
    sweep.wait()

    sweep.again().wait()

    assert sent_days(scene) == [0, 1, 2, 3, 2, 3]


def test_a_canceled_run_is_not_started_again(scene):
    sweep = sweep_of(scene, "slow", range(1), retry=3)
    sweep.runs[0].cancel()
    sweep.wait(60)

    assert (sweep.counts, len(scene.service.starts)) == ({"CANCELED": 1}, 1)


def test_a_paused_sweep_starts_nothing_until_it_is_resumed(scene):
    sweep = sweep_of(scene, "slow", range(5), max_parallel=2)
    eventually(lambda: len(scene.service.starts) == 2, "two are started")
    sweep.pause()
    scene.service.finish.set()
    eventually(lambda: sweep.counts.get("COMPLETED") == 2, "the two complete")

    assert (sweep.error, sweep.is_over, len(scene.service.starts)) == ("paused", False, 2)
    sweep.resume()
    assert len(sweep.result(60)) == 5
    assert sweep.error is None


def test_the_card_of_a_sweep_pauses_and_resumes_it(scene):
    sweep = sweep_of(scene, "slow", range(5), max_parallel=2)
    eventually(lambda: sweep.counts["UNSENT"] == 3, "two are started")
    assert sweep.card_state().can_pause
    sweep._submit(sweep.click_pause(pauses=True)).result()
    paused = sweep.card_state()
    assert (paused.state, paused.can_pause, paused.can_resume) == ("PAUSED", False, True)
    assert paused.notes == ("3 not sent: paused",)

    sweep._submit(sweep.click_pause(pauses=False)).result()
    scene.service.finish.set()
    assert len(sweep.result(60)) == 5
    assert not sweep.card_state().can_resume


def test_an_interrupted_wait_starts_no_more_and_names_what_continues(scene):
    sweep = sweep_of(scene, "slow", range(5), max_parallel=2)
    eventually(lambda: sweep.counts["UNSENT"] == 3, "two are started")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(Detached) as caught:
        sweep.wait(watch=interrupt)
    assert str(caught.value) == (
        f"stopped waiting; 3 of 5 runs are not started, and wait for %dataflow_attach {sweep.key}"
    )
    scene.service.finish.set()
    eventually(lambda: sweep.counts.get("COMPLETED") == 2, "the two complete")
    assert len(scene.service.starts) == 2
    scene.session.get(sweep.key, target=scene.local)
    assert len(sweep.result(60)) == 5


# After the kernel


@pytest.fixture
def kernels(scene):
    """A scene whose service outlives its sessions, at a port of its own."""
    with at_a_port(scene.service) as address:
        scene.environment |= {
            "DATAFLOW_TARGET": address,
            "DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY,
            "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY,
        }
        scene.session.close()
        kernels = Kernels(scene)
        yield kernels
        kernels.session.close()
        scene.service.finish.set()


class Kernels:
    """One kernel after another at the same service, which counts what it was sent."""

    def __init__(self, scene: Scene) -> None:
        self.service = scene.service
        self.scene = scene
        self.session = self.new()
        self.most = 0

    def new(self) -> Session:
        return Session(
            self.scene.environment,
            self.scene.configure_file,
            self.scene._attach,
            pace=Pace(0.01, 0.01),
            sleep=self.scene._look,
        )

    def next(self) -> Session:
        """End the kernel, and return the session of the next one."""
        self.session.close()
        self.session = self.new()
        return self.session

    def target(self) -> Target:
        return self.session.target()

    def sweep(self, job: str, days: range, parameters: Mapping[str, Any] | None = None, **plan: Any) -> Sweep:
        return self.session.sweep(request_of(job, days, parameters, **plan), self.target())

    def attach(self, key: str) -> Sweep:
        found = self.session.get(key, target=self.target)
        assert isinstance(found, Sweep)
        return found

    @property
    def days(self) -> list[int]:
        """The days of the runs that the service has, in the order of their starts."""
        return [int(run.parameters["$day"]) for run in runs_of(self.service)]


def test_the_next_kernel_continues_a_sweep_and_repeats_nothing(kernels):
    first = kernels.sweep("slow", range(7), max_parallel=2, reverse=True)
    eventually(
        lambda: first.counts == {"RUNNING": 2, "UNSENT": 5}, "two are started, and their answers written"
    )
    found = kernels.next().find(first.key)
    assert isinstance(found, Sweep)
    assert found.error == f"its kernel has ended; %dataflow_attach {first.key} starts the rest"
    assert found.counts["UNSENT"] == 5

    sweep = kernels.attach(first.key)
    assert sweep is found
    assert alive(kernels.service) == 2
    kernels.service.finish.set()
    assert len(sweep.result(60)) == 7
    assert kernels.days[:2] == [6, 5]
    assert sorted(kernels.days) == [*range(7)]
    assert repr(sweep) == f"<Sweep {first.key} of 7 runs of slow: 7 COMPLETED>"
    assert list(sweep.frame().sweep.unique()) == [first.key]


def test_a_beginning_of_its_key_and_the_last_start_name_a_sweep_of_an_earlier_kernel(kernels):
    first = kernels.sweep("daily_sales", range(3))
    first.result(60)

    assert kernels.next().find(first.key[:6]).key == first.key
    assert kernels.next().find("@last").key == first.key


def test_a_sweep_that_was_canceled_is_not_continued_by_the_next_kernel(kernels):
    first = kernels.sweep("slow", range(5), max_parallel=1)
    first.cancel()
    first.wait(60)
    kernels.next()
    sweep = kernels.attach(first.key)

    assert (sweep.error, sweep.is_over, len(kernels.days)) == ("the sweep was canceled", True, 1)


def test_a_paused_sweep_is_continued_by_the_next_kernel_that_attaches_it(kernels):
    first = kernels.sweep("slow", range(3), max_parallel=1)
    first.pause()
    kernels.next()
    assert kernels.session.find(first.key).error == "paused"
    sweep = kernels.attach(first.key)
    kernels.service.finish.set()

    assert len(sweep.result(60)) == 3


def test_two_kernels_never_start_the_runs_of_one_sweep(kernels):
    first = kernels.sweep("slow", range(4), max_parallel=1)
    other = kernels.new()
    try:
        sweep = other.get(first.key, target=kernels.target)
        assert isinstance(sweep, Sweep)
        assert sweep.error == "another kernel starts its runs"
        with pytest.raises(BadState, match=f"another kernel starts the runs of sweep {first.key}"):
            sweep.resume()
        with pytest.raises(BadState, match="cancel it there, or end that kernel first"):
            sweep.cancel()
        assert sweep.card_state().can_cancel == 0
    finally:
        other.close()
    kernels.service.finish.set()

    assert len(first.result(60)) == 4
    assert kernels.days == [0, 1, 2, 3]


def test_a_second_kernel_follows_what_the_first_starts_and_continues_once_that_has_ended(kernels):
    first = kernels.sweep("slow", range(5), max_parallel=1)
    other = kernels.new()
    try:
        sweep = other.get(first.key, target=kernels.target)
        assert isinstance(sweep, Sweep)
        assert (sweep.is_elsewhere, sweep.is_over, sweep.counts["UNSENT"]) == (True, False, 4)
        assert not sweep.card_state().can_pause
        first.max_parallel = 2
        eventually(lambda: sweep.counts["UNSENT"] == 3, "the other kernel sees the second start")
        eventually(lambda: sweep.max_parallel == 2, "and the new limit")

        kernels.next()
        left = f"its kernel has ended; %dataflow_attach {first.key} starts the rest"
        eventually(lambda: sweep.error == left, "the other kernel sees that it has ended")
        assert len(kernels.days) == 2
        assert sweep.card_state().can_resume
        sweep.carry_on()
        kernels.service.finish.set()
        assert len(sweep.result(60)) == 5
    finally:
        other.close()
    assert sorted(kernels.days) == [0, 1, 2, 3, 4]


def test_a_kernel_that_has_not_looked_for_long_repeats_nothing_when_it_resumes_a_sweep(kernels):
    first = kernels.sweep("slow", range(4), max_parallel=1)
    kernels.scene.may_look.clear()  # the second kernel reads the ledger once, and not again
    other = kernels.new()
    try:
        sweep = other.get(first.key, target=kernels.target)
        assert isinstance(sweep, Sweep)
        first.max_parallel = 2
        eventually(
            lambda: first.counts == {"RUNNING": 2, "UNSENT": 2}, "two are started, and their answers written"
        )
        kernels.next()
        assert sweep.counts["UNSENT"] == 3
        sweep.resume()
        kernels.scene.may_look.set()
        kernels.service.finish.set()
        assert len(sweep.result(60)) == 4
    finally:
        other.close()
    assert sorted(kernels.days) == [0, 1, 2, 3]


def test_the_watcher_of_a_sweep_ends_with_it(kernels):
    first = kernels.sweep("slow", range(3), max_parallel=1)
    other = kernels.new()
    try:
        sweep = other.get(first.key, target=kernels.target)
        assert isinstance(sweep, Sweep)
        kernels.service.finish.set()
        assert len(sweep.result(60)) == 3
        assert (sweep.error, sweep.is_completed) == (None, True)
    finally:
        other.close()


def test_a_sweep_whose_ledger_is_deleted_while_its_kernel_lives_is_continued_by_the_next(kernels):
    first = kernels.sweep("slow", range(4), max_parallel=1)
    for path in kernels.session._ledger.path.parent.glob("ledger.sqlite3*"):
        path.unlink()
    first.max_parallel = 2
    eventually(lambda: first.counts == {"RUNNING": 2, "UNSENT": 2}, "the second is started")
    kernels.next()
    sweep = kernels.attach(first.key)

    assert sweep.max_parallel == 2
    kernels.service.finish.set()
    assert len(sweep.result(60)) == 4
    assert sorted(kernels.days) == [0, 1, 2, 3]


def test_a_limit_that_was_changed_is_that_of_the_next_kernel(kernels):
    first = kernels.sweep("slow", range(4), max_parallel=1)
    first.max_parallel = 2
    eventually(
        lambda: first.counts == {"RUNNING": 2, "UNSENT": 2}, "two are started, and their answers written"
    )
    kernels.next()
    sweep = kernels.attach(first.key)

    assert sweep.max_parallel == 2
    kernels.service.finish.set()
    assert len(sweep.result(60)) == 4


def test_a_failed_run_is_retried_by_the_next_kernel_as_planned(kernels):
    kernels.service.outcome_of = failing(0)
    kernels.scene.may_look.clear()
    first = kernels.sweep("daily_sales", range(2), retry=1)
    eventually(lambda: first.counts == {"FAILED": 1, "COMPLETED": 1}, "one has failed")
    kernels.next()
    kernels.scene.may_look.set()
    kernels.service.outcome_of = failing()

    assert len(kernels.attach(first.key).result(60)) == 2
    assert sorted(kernels.days) == [0, 0, 1]


def test_a_start_whose_response_is_lost_when_the_kernel_dies_is_not_sent_again(kernels):
    first = kernels.sweep("slow", range(3), max_parallel=1)
    ledger = kernels.session._ledger
    kernels.next()
    with ledger.writing() as db:  # as a kernel leaves it that is killed between the start and its answer
        db.execute("UPDATE runs SET run_id = NULL, status = 'SUBMITTING', phase = 'sending', execution = ''")
    ledger.close()
    sweep = kernels.attach(first.key)
    kernels.service.finish.set()

    assert len(sweep.result(60)) == 3
    assert sorted(kernels.days) == [0, 1, 2]


def test_a_sweep_with_secrets_is_continued_only_where_they_are_known(kernels):
    first = kernels.sweep("slow", range(3), {"token": Secret.of("hidden-4f1d")}, max_parallel=1)
    ledger = kernels.session._ledger
    kernels.next()
    with ledger.writing() as db:  # as of a process that has ended
        db.execute(
            "UPDATE sweep_requests SET parameters = replace(parameters, ?, 'unknown')",
            (Secret.of("hidden-4f1d").mark,),
        )
    ledger.close()
    kernels.service.finish.set()
    sweep = kernels.attach(first.key)
    sweep.wait(60)

    assert sweep.error == (
        f"run 2 of sweep {first.key} had the secret parameter $token, whose value is stored nowhere; run the cell that "
        "started it instead"
    )
    assert len(kernels.days) == 1
    assert "hidden-4f1d" not in ledger.path.read_bytes().decode("latin-1")


def test_a_sweep_whose_first_run_is_refused_is_not_in_the_ledger(scene):
    scene.service.answers = [
        httpx.Response(400, json={"error": {"errorCode": "bad-parameter", "message": "no"}})
    ]
    with pytest.raises(RequestRejected):
        sweep_of(scene, "daily_sales", range(3))

    assert scene.session._book.table.newest(5) == []


def test_a_start_that_never_left_is_sent_by_the_next_kernel_though_another_run_looks_like_it(kernels):
    first = kernels.sweep("slow", range(2), max_parallel=1)
    ledger = kernels.session._ledger
    kernels.next()
    with (
        ledger.writing() as db
    ):  # as a kernel leaves it that is killed before the request of its second run leaves
        (columns,) = db.execute("SELECT group_concat(name) FROM pragma_table_info('runs')").fetchone()
        second = (
            columns.replace("key", "'second22'").replace("run_id", "NULL").replace("status", "'SUBMITTING'")
        )
        second = second.replace("phase", "'sending'").replace("execution", "''").replace("number", "1")
        db.execute(f"INSERT INTO runs ({columns}) SELECT {second} FROM runs")  # noqa: S608 - names of columns
    ledger.close()
    kernels.service.finish.set()

    assert len(kernels.attach(first.key).result(60)) == 2
    assert kernels.days == [0, 1]
