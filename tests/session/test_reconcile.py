"""What becomes of a lost start: found for certain, found by its parameters, left open, or not started until a list shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from dataflow_magic.cell.line import parse_job_ref
from dataflow_magic.cell.run import make_request
from dataflow_magic.config.settings import Target
from dataflow_magic.errors import CellError, OutcomeUnknown
from dataflow_magic.ledger.ledger import Ledger
from dataflow_magic.models.wire import JobCondition
from dataflow_magic.session.run import LiveRun
from tests.helpers import ACCESS_KEY, CONDITION, SECRET_KEY, Scene, eventually, open_notebook

KEYS = {"DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY, "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY}
OPENS = 360
"""Seconds from a request to the last moment at which its run can be created."""


@pytest.fixture
def shared(tmp_path) -> Iterator[Shared]:
    with Shared(tmp_path, KEYS) as scene:
        yield scene


class Shared(Scene):
    """A service that other people use too."""

    def target(self) -> Target:
        return self.session.target("http://127.0.0.1:7001")

    def lose(
        self,
        parameters: dict[str, Any] | None = None,
        *,
        carried_out: bool,
        job: str = "daily_sales",
        **options: Any,
    ) -> LiveRun:
        """Return a start without a response; nothing looks for it until ``may_look`` is set."""
        self.may_look.clear()
        if carried_out:
            self.service.lost_answers = 1
        else:
            self.service.lost_requests = 1
        return self.session.start(make_request(job, parameters or {}, **options), self.target())

    def somebody(self, parameters: dict[str, Any], **more: Any) -> str:
        """Return the id of a run that somebody else starts."""
        job_id = self.service.job_id("daily_sales")
        condition = JobCondition.model_validate(CONDITION)
        return self.session.ask(
            self.target(), lambda client: client.execute_job(job_id, condition, parameters, **more)
        ).job_execution_id

    def delete_ledger(self) -> None:
        for file in (self.folder / "home").glob("ledger.sqlite3*"):
            file.unlink()

    def statuses_on_disk(self) -> list[str]:
        ledger = Ledger(self.folder / "home" / "ledger.sqlite3")
        statuses = [record.status for record in ledger.records()]
        ledger.close()
        return statuses

    def settle(self, run: LiveRun) -> LiveRun:
        """Let the looks begin, and return the run once they ended."""
        self.may_look.set()
        eventually(lambda: run.is_over or run.run_id, "the looks ended")
        return run


def test_a_run_is_found_by_its_parameters_once_no_other_can_appear(shared):
    run = shared.settle(shared.lose({"a": 1}, carried_out=True))

    assert run.result(60).status == "COMPLETED"
    assert (run.view.found_by, sum(shared.looks) >= OPENS) == ("parameters", True)


def test_until_then_the_card_says_which_run_may_be_it(shared):
    run = shared.lose({"a": 1}, carried_out=True)
    said: list[str] = []
    shared.service.before_answer = lambda _: said.append(run.view.blind_reason)

    shared.settle(run)

    assert any(
        f"; the run {run.run_id} may be it, and counts as it unless another shows by " in each
        for each in said
    )


def test_on_this_user_s_own_local_service_a_run_is_found_at_once(shared):
    shared.service.lost_answers = 1
    run = shared.start("daily_sales", {"a": 1})

    assert run.result(60).status == "COMPLETED"
    assert (run.view.found_by, sum(shared.looks) < 60) == ("parameters", True)


@pytest.mark.parametrize("marker", ["log-path", "parameter"])
def test_a_run_with_the_start_s_marker_is_found_at_once_beside_an_identical_one(shared, marker):
    run = shared.lose({"a": 1}, carried_out=True, marker=marker)
    shared.somebody({"$a": "1"})

    shared.settle(run)

    assert run.result(60).parameters["$a"] == "1"
    assert (run.view.found_by, sum(shared.looks) < 60) == ("marker", True)
    assert run.run_id == shared.service.store.runs(run.view.job_id, page=0, limit=9)[0][-1].run_id


def test_with_a_marker_an_identical_run_of_somebody_else_is_not_taken(shared):
    run = shared.lose({"a": 1}, carried_out=False, marker="log-path")
    shared.somebody({"$a": "1"})

    assert shared.settle(run).status == "NOT_STARTED"


def test_somebody_s_identical_run_alone_is_taken_and_labelled(shared):
    run = shared.lose({"a": 1}, carried_out=False)
    theirs = shared.somebody({"$a": "1"})

    shared.settle(run)

    assert (run.run_id, run.view.found_by) == (theirs, "parameters")


def test_beside_somebody_s_identical_run_the_own_one_is_not_chosen(shared):
    run = shared.lose({"a": 1}, carried_out=True)
    theirs = shared.somebody({"$a": "1"})

    shared.settle(run)

    assert run.status == "UNCLEAR"
    assert "2 runs may be it: " in run.view.blind_reason
    assert theirs in run.view.blind_reason


@pytest.mark.parametrize(
    ("parameters", "more"),
    [({"$a": "1"}, {"trigger_id": "t1"}), ({"$a": "2"}, {}), ({"$a": "1", "$b": "1"}, {})],
    ids=["a trigger's", "with another value", "with one more parameter"],
)
def test_another_run_is_never_taken(shared, parameters, more):
    run = shared.lose({"a": 1}, carried_out=False)
    shared.somebody(parameters, **more)

    shared.settle(run)

    assert run.run_id is None
    assert run.status in {"NOT_STARTED", "UNCLEAR"}


def test_a_named_run_is_the_user_s_word(shared):
    run = shared.lose({"a": 1}, carried_out=True)
    shared.somebody({"$a": "1"})
    shared.settle(run)
    named = shared.service.store.runs(run.view.job_id, page=0, limit=9)[0][0].run_id

    attached = shared.session.attach(named, shared.target())

    assert attached is run
    assert (run.result(60).job_execution_id, run.view.found_by) == (named, "user")
    assert [(row.run_id, row.found_by) for row in shared.session.records()] == [(named, "user")]


def test_a_start_whose_kernel_ended_before_its_request_left_was_not_started(shared):
    shared.start("daily_sales", {"a": 1}).result(60)
    gone = Ledger(shared.folder / "home" / "ledger.sqlite3")
    view = replace(shared.session.runs[0].view, key="k2345678", execution=None, running_since=None)
    gone.add(view)
    gone.close()

    run = shared.session.find("k2345678")

    with pytest.raises(OutcomeUnknown, match="no request of it reached the service: it was not started"):
        run.result(60)
    assert (run.status, shared.looks[1:]) == ("NOT_STARTED", [])


# The verdict is not final


def looks_no_more(scene: Shared) -> None:
    eventually(lambda: not scene.session._tracker._tasks, "this kernel looks no more")
    assert sum(scene.looks) > OPENS + 3600, "an hour has passed"


def hidden(scene: Shared, job: str = "daily_sales") -> LiveRun:
    """Return a start that was carried out and counts as not started, since the service lists its run much too late."""
    scene.service.list_lags_seconds = 6000.0
    run = scene.settle(scene.lose({"a": 1}, carried_out=True, job=job))
    assert run.status == "NOT_STARTED"
    looks_no_more(scene)
    scene.service.list_lags_seconds = 0.0
    return run


def test_a_run_that_shows_within_an_hour_takes_the_word_back(shared):
    shared.service.list_lags_seconds = 1500.0
    run = shared.lose({"a": 1}, carried_out=True)
    states: list[str] = []
    shared.service.before_answer = lambda _: states.append(run.status)
    shared.may_look.set()

    eventually(lambda: run.run_id, "the run was listed")
    assert run.result(60).status == "COMPLETED"
    assert (run.view.found_by, run.view.settled, "NOT_STARTED" in states) == ("parameters", "", True)


def test_a_table_of_the_service_s_runs_takes_the_word_back(shared):
    run = hidden(shared)

    shared.session.executions(parse_job_ref("daily_sales"), shared.target())

    assert run.result(60).status == "COMPLETED"
    assert [row.status for row in shared.session.records()] == ["COMPLETED"]


def test_a_list_that_is_polled_for_other_runs_takes_the_word_back(shared):
    run = hidden(shared, "slow")

    for number in range(2):
        shared.session.start(make_request("slow", {"b": number}), shared.target())

    eventually(lambda: run.run_id, "a poll listed it")
    assert (run.status, run.view.found_by, len(shared.service.starts)) == ("RUNNING", "parameters", 3)


def test_a_list_that_may_not_be_whole_takes_the_word_of_all_identical_starts_back(shared):
    shared.service.list_lags_seconds = 60_000.0
    starts = [shared.lose({"a": 1}, carried_out=carried_out) for carried_out in (True, False)]
    for start in starts:
        assert shared.settle(start).status == "NOT_STARTED"
    looks_no_more(shared)
    shared.service.list_lags_seconds = 0.0
    job_id, service = starts[0].view.job_id, starts[0]._service
    part = shared.session.ask(shared.target(), lambda client: client.listing(job_id, most=1))

    read_at = service.client.clock.steady()
    shared.session._loop.call(shared.session._tracker.correct(job_id, service, part, read_at))

    assert not part.is_whole
    assert [start.status for start in starts] == ["UNCLEAR", "UNCLEAR"]
    assert len({start.view.blind_reason for start in starts}) == 1


def test_the_card_of_the_start_shows_the_run_from_then_on(shared):
    with open_notebook(shared.folder, stdin=False) as notebook:
        run = hidden(shared)
        run.show()
        assert "a later list that shows one corrects this" in notebook.shown[-1].text

        shared.session.executions(parse_job_ref("daily_sales"), shared.target())

        eventually(lambda: notebook.shown[-1].text.startswith("COMPLETED"), "the run is painted")
        assert "found by its parameters" in notebook.shown[-1].text


def test_the_next_kernel_takes_the_word_back(shared):
    key = hidden(shared).key
    shared.session.close()
    shared.session = shared.new_session()
    shared.session.jobs(shared.target())

    eventually(lambda: shared.session.records()[0].run_id, "it was found")
    assert shared.session.find(key).result(60).status == "COMPLETED"
    assert len(shared.service.starts) == 1


def test_to_start_it_again_looks_once_more_and_starts_nothing_twice(shared):
    run = hidden(shared)

    again = shared.session.start_again(run.key)

    assert again is run
    assert (run.result(60).status, len(shared.service.starts)) == ("COMPLETED", 1)


def test_to_start_it_again_is_refused_while_another_run_may_be_it(shared):
    run = shared.settle(shared.lose({"a": 1}, carried_out=False))
    looks_no_more(shared)
    shared.service.passed_seconds -= sum(shared.looks)
    shared.somebody({"$a": "1", "$b": "1"})
    shared.service.passed_seconds += sum(shared.looks)
    sent = len(shared.service.starts)

    with pytest.raises(CellError, match="may have been started after all"):
        shared.session.start_again(run.key)

    assert (run.status, len(shared.service.starts)) == ("UNCLEAR", sent)


def test_to_start_it_again_starts_it_where_no_run_of_it_is_there(shared):
    run = shared.settle(shared.lose({"a": 1}, carried_out=False))

    again = shared.session.start_again(run.key)

    assert again is not run
    assert again.result(60).status == "COMPLETED"


def test_a_start_that_is_still_looked_for_is_not_started_again(shared):
    run = shared.lose({"a": 1}, carried_out=True)

    with pytest.raises(CellError, match="may have been started: the answer to its start was lost"):
        shared.session.start_again(run.key)

    assert len(shared.service.starts) == 1
    shared.settle(run)


# Answers that name another run


def test_a_start_that_is_answered_with_the_id_of_another_start_stays_unclear(shared):
    first = shared.start("daily_sales", {"a": 1})
    shared.service.answers.append(
        httpx.Response(200, json={"jobExecutionId": first.run_id, "status": "READY"})
    )

    second = shared.start("daily_sales", {"a": 2})

    assert second.status == "UNCLEAR"
    with pytest.raises(
        OutcomeUnknown, match=f"answered with the run {first.run_id}, which is another start's"
    ):
        second.result(60)
    assert [row.status for row in shared.session.records()][1] == "UNCLEAR"
    assert shared.session.records()[1].run_id is None


def test_the_kernel_knows_the_ids_of_its_own_runs_though_the_ledger_was_deleted_meanwhile(shared):
    first = shared.start("daily_sales", {"a": 1})

    class Answer(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            shared.delete_ledger()
            yield b'{"jobExecutionId": "%s", "status": "READY"}' % str(first.run_id).encode()

    shared.service.answers.append(httpx.Response(200, stream=Answer()))

    assert shared.start("daily_sales", {"a": 2}).status == "UNCLEAR"


def test_a_start_that_is_answered_with_a_run_that_was_listed_before_stays_unclear(shared):
    lost = shared.lose({"a": 1}, carried_out=True)
    shared.service.list_lags_seconds = 0.0
    run_id = shared.service.store.runs(lost.view.job_id, page=0, limit=9)[0][0].run_id
    shared.may_look.set()
    eventually(lambda: run_id in lost.view.blind_reason or lost.run_id, "it was listed")
    shared.service.answers.append(httpx.Response(200, json={"jobExecutionId": run_id, "status": "READY"}))

    second = shared.session.start(make_request("daily_sales", {"a": 2}), shared.target())

    assert second.status == "UNCLEAR"
    assert shared.settle(lost).run_id == run_id


# A ledger that is deleted while its kernel lives


def test_a_run_is_found_though_the_ledger_was_deleted(shared):
    run = shared.lose({"a": 1}, carried_out=True)
    shared.delete_ledger()

    shared.settle(run)

    assert run.result(60).status == "COMPLETED"
    assert [row.run_id for row in shared.session.records()] == [run.run_id]


def test_the_run_of_another_start_of_this_kernel_is_not_taken_though_the_ledger_was_deleted(shared):
    lost = shared.lose({"a": 1}, carried_out=False)
    other = shared.session.start(make_request("daily_sales", {"a": 1}), shared.target())
    other.result(60)
    eventually(lambda: "COMPLETED" in shared.statuses_on_disk(), "its end is in the ledger")
    shared.delete_ledger()

    assert shared.settle(lost).status == "NOT_STARTED"
    eventually(lambda: "NOT_STARTED" in shared.statuses_on_disk(), "that is in the ledger")
    assert sorted(shared.statuses_on_disk()) == ["COMPLETED", "NOT_STARTED"]


def test_another_kernel_takes_the_word_back_though_the_ledger_was_deleted(shared):
    run = hidden(shared)
    shared.delete_ledger()
    shared.session.start(make_request("slow", {"b": 1}), shared.target())
    other = shared.new_session()

    other.executions(parse_job_ref("daily_sales"), shared.target())

    assert other.find(run.key).result(60).status == "COMPLETED"
    other.close()


def test_the_attempts_of_an_earlier_kernel_s_start_are_known_though_the_ledger_was_deleted(shared):
    key = shared.lose({"a": 1}, carried_out=True).key
    shared.session.close()
    shared.session = shared.new_session()
    run = shared.session.find(key)
    shared.delete_ledger()

    assert [record.keeps_attempts for record in shared.session._ledger.records()] == [1]
    assert [attempt.outcome for attempt in shared.session._ledger.attempts([key])[key]] == ["lost"]
    assert shared.settle(run).result(60).status == "COMPLETED"
