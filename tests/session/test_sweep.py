"""Sweeps: start many runs, wait for them, cancel them, retry those that failed."""

import asyncio
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from dataflow_magic.card.sweep import SWEEP_CARD
from dataflow_magic.card.sweep.html import sweep_html
from dataflow_magic.cell.run import make_request
from dataflow_magic.errors import (
    BadParameter,
    BadState,
    NotFound,
    ServiceError,
    SweepFailed,
    TooManyRequests,
    WaitTimeout,
)
from dataflow_magic.models.request import JobRef, SweepRequest
from dataflow_magic.models.wire import RunState
from dataflow_magic.session.sweep.handle import Sweep
from tests.helpers import Scene, Sent, eventually

REFUSED = {"error": {"errorCode": "bad-parameter", "message": "no"}}


def sweep_of(scene: Scene, job: str, *months: int, **options: Any) -> Sweep:
    requests = tuple(make_request(job, {"table": "t", "month": month}, **options) for month in months)
    return scene.session.sweep(SweepRequest(("$month",), requests), scene.local())


def sent_months(scene: Scene) -> list[str]:
    return sorted((sent.body["parameters"]["$month"] for sent in scene.service.starts), key=int)


def refuse(scene: Scene, status: int, *, times: int, **headers: str) -> None:
    scene.service.answers = [httpx.Response(status, json=REFUSED, headers=headers) for _ in range(times)]


# Starting


def test_one_run_is_started_per_request_and_the_job_is_looked_up_once(scene):
    sweep = sweep_of(scene, "daily_sales", *range(1, 13))

    assert [each.status for each in sweep.result(60)] == ["COMPLETED"] * 12
    assert [run.parameters["$month"] for run in sweep.runs] == [str(month) for month in range(1, 13)]
    assert sent_months(scene) == [str(month) for month in range(1, 13)]
    assert [sent.path.rpartition("/v1")[2] for sent in scene.service.sent].count("/jobs") <= 1
    assert sum(sent.query.get("name") == "daily_sales" for sent in scene.service.sent) == 1
    assert sweep.counts == {"COMPLETED": 12}
    assert repr(sweep) == f"<Sweep {sweep.key} of 12 runs of daily_sales: 12 COMPLETED>"


def test_every_run_is_a_run_of_the_session_and_of_the_ledger(scene):
    sweep = sweep_of(scene, "daily_sales", 1, 2, 3)
    sweep.result(60)

    assert {run.handle for run in scene.session.runs} == set(sweep.runs)
    eventually(
        lambda: [record.status for record in scene.session.records()] == ["COMPLETED"] * 3,
        "the ledger holds all",
    )
    assert {record.key for record in scene.session.records()} == {run.key for run in sweep.runs}


def test_at_most_four_requests_are_under_way_together(scene):
    lock = threading.Lock()
    under_way: list[Sent] = []
    most: list[int] = []

    def answer(sent: Sent) -> None:
        if sent.is_start:
            with lock:
                under_way.append(sent)
                most.append(len(under_way))
            time.sleep(0.01)
            with lock:
                under_way.remove(sent)

    scene.service.before_answer = answer
    sweep_of(scene, "daily_sales", *range(20)).result(60)

    assert 2 <= max(most) <= 4


def test_a_refusal_of_the_first_fails_at_once_and_starts_nothing(scene):
    refuse(scene, 400, times=1)

    with pytest.raises(BadParameter):
        sweep_of(scene, "daily_sales", 1, 2, 3)
    assert len(scene.service.starts) == 1
    assert scene.session.runs == []


def test_an_unknown_job_fails_at_once(scene):
    with pytest.raises(NotFound, match="no job is named 'nothing'"):
        sweep_of(scene, "nothing", 1, 2)


def test_a_later_refusal_stops_the_rest_and_started_runs_continue(scene):
    def then_refuse(sent: Sent) -> None:
        if sent.is_start and len(scene.service.starts) == 1:
            refuse(scene, 400, times=100)

    scene.service.before_answer = then_refuse
    sweep = sweep_of(scene, "slow", *range(10))
    sweep.wait_sent()

    assert sweep.counts["UNSENT"] == 9
    assert sweep.error is not None
    assert not sweep.is_over
    assert len(scene.service.starts) <= 5

    scene.service.finish.set()
    with pytest.raises(SweepFailed) as caught:
        sweep.result(60)
    assert str(caught.value).startswith("9 of 10 runs of slow did not complete (9 UNSENT); not sent: ")
    assert "\n" not in str(caught.value)
    assert caught.value.sweep is sweep


def test_a_start_refused_as_too_many_is_retried(scene):
    def then_refuse(sent: Sent) -> None:
        if sent.is_start and len(scene.service.starts) == 1:
            refuse(scene, 429, times=8, **{"Retry-After": "0"})

    scene.service.before_answer = then_refuse
    sweep = sweep_of(scene, "daily_sales", 1, 2)

    assert len(sweep.result(60)) == 2
    assert len(scene.service.starts) == 10
    assert sweep.error is None


def test_a_start_with_a_lost_response_is_found_and_not_sent_twice(scene):
    def then_lose(sent: Sent) -> None:
        if sent.is_start and len(scene.service.starts) == 1:
            scene.service.lost_answers = 2

    scene.service.before_answer = then_lose
    sweep = sweep_of(scene, "daily_sales", *range(6))

    assert len(sweep.result(60)) == 6
    assert sent_months(scene) == [str(month) for month in range(6)]


def test_closing_the_session_ends_the_sending_and_every_wait(scene):
    put_off(scene)
    sweep = sweep_of(scene, "slow", *range(50))
    eventually(lambda: was_put_off(scene), "a start was put off")
    scene.session.close()
    eventually(lambda: sweep.is_over, "the sweep is over")

    with pytest.raises(SweepFailed, match="UNSENT"):
        sweep.result(60)


def put_off(scene: Scene, *, seconds: int = 60, times: int = 1000) -> None:
    """Refuse all starts but the first, to be retried after so many seconds."""

    def then_refuse(sent: Sent) -> None:
        if sent.is_start and len(scene.service.starts) == 1:
            refuse(scene, 429, times=times, **{"Retry-After": str(seconds)})

    scene.service.before_answer = then_refuse


def was_put_off(scene: Scene) -> bool:
    return 0 < len(scene.service.answers) < 1000


HELD = re.compile(
    r"too many requests \(429: no\); the service asks for no request before [0-2]\d:[0-5]\d:[0-5]\d KST"
)


def held_sweep(scene: Scene) -> Sweep:
    """Return a sweep whose starts but the first are refused for 200 s; what refuses them is removed."""
    put_off(scene, seconds=200)
    sweep = sweep_of(scene, "slow", *range(6))
    eventually(lambda: 1000 - len(scene.service.answers) == 4, "four starts are put off")
    eventually(lambda: len(sweep._sending._held) == 4, "and wait")
    scene.service.before_answer = lambda _: None
    scene.service.answers = []
    return sweep


def test_a_sweep_that_waits_for_the_service_shows_why_and_until_when(scene):
    sweep = held_sweep(scene)
    state = sweep.card_state()

    (note,) = state.notes
    assert HELD.fullmatch(note)
    assert HELD.fullmatch(scene.session.held_words(scene.local()))
    for text in (sweep_html(state), SWEEP_CARD.text(state), SWEEP_CARD.line(state)):
        assert note in text
    assert state.line_key != replace(state, held="").line_key
    scene.session.language_choice = "ko"
    assert "요청을 보내지" in sweep.card_state().notes[0]
    assert len(scene.service.starts) == 5


ACTIONS: dict[str, Callable[[Scene, Sweep], object]] = {
    "a start": lambda scene, _: scene.start("slow"),
    "another sweep": lambda scene, _: sweep_of(scene, "slow", 7),
    "a cancel": lambda _, sweep: sweep.runs[0].cancel(),
    "%dataflow_status RUN": lambda scene, sweep: scene.session.find(sweep.runs[0].key),
    "%dataflow_runs --remote": lambda scene, _: scene.session.executions(JobRef("slow"), scene.local()),
    "%dataflow_jobs": lambda scene, _: scene.session.jobs(scene.local()),
    "%dataflow_attach RUN": lambda scene, sweep: scene.session.attach(sweep.runs[0].id or "", scene.local()),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_the_next_action_of_the_user_is_sent_at_once_and_ends_the_wait(scene, action):
    sweep = held_sweep(scene)

    action(scene, sweep)
    sweep.wait_sent()

    assert len(sweep.runs) == 6
    assert sweep.card_state().notes == ()
    assert scene.session.held_words(scene.local()) == ""


def test_a_start_that_is_refused_as_too_many_says_until_when_and_the_next_is_sent_at_once(scene):
    refuse(scene, 429, times=1, **{"Retry-After": "200"})
    with pytest.raises(TooManyRequests, match=HELD) as caught:
        scene.start("slow")
    assert caught.value.retry_after == 200.0

    assert scene.start("slow").run_id
    assert len(scene.service.starts) == 2


# Waiting


def test_a_failed_sweep_raises_one_line_with_how_many_and_the_first_reason(scene):
    sweep = sweep_of(scene, "broken", 1, 2, 3)

    with pytest.raises(SweepFailed) as caught:
        sweep.result(60)

    assert str(caught.value) == (
        f"3 of 3 runs of broken did not complete (3 FAILED); run {sweep.runs[0].id}: "
        "ValueError: no such table: test.sales; .retry_failed() starts the 3 failed again"
    )
    assert caught.value.run is sweep.runs[0]


def test_a_wait_that_times_out_raises_and_the_runs_continue(scene):
    sweep = sweep_of(scene, "slow", 1, 2)
    sweep.wait_sent()

    with pytest.raises(WaitTimeout) as caught:
        sweep.result(timeout=0.05)
    assert str(caught.value) == (
        f"2 of 2 runs of slow are still active after 0.05 s; wait again, or %dataflow_cancel {sweep.key} ends them"
    )
    scene.service.finish.set()
    assert len(sweep.result(60)) == 2


def test_a_sweep_can_be_awaited_and_stopping_the_await_ends_nothing(scene):
    sweep = sweep_of(scene, "slow", 1, 2, 3)

    async def wait_a_moment_then_for_all() -> int:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_result(sweep), 0.05)
        scene.service.finish.set()
        return len(await sweep)

    assert asyncio.run(wait_a_moment_then_for_all()) == 3


def test_the_runs_of_a_sweep_are_yielded_as_they_finish(scene):
    sweep = sweep_of(scene, "slow", 1, 2, 3)
    sweep.wait_sent()
    eventually(lambda: {run.status for run in sweep.runs} == {"RUNNING"}, "all run")
    first = sweep.runs[1]
    scene.service.store.move(first.id or "", RunState.FAILED, "lost a worker")

    async def states() -> list[tuple[object, str]]:
        seen: list[tuple[object, str]] = []
        async for run in sweep:
            scene.service.finish.set()
            seen.append((run, run.status))
        return seen

    seen = asyncio.run(states())
    assert seen[0] == (first, "FAILED")
    assert {run for run, _ in seen} == set(sweep.runs)
    assert [status for _, status in seen[1:]] == ["COMPLETED", "COMPLETED"]


def test_runs_that_are_sent_meanwhile_are_yielded_too(scene):
    sweep = sweep_of(scene, "daily_sales", *range(12))

    async def months() -> set[object]:
        return {run.parameters["$month"] async for run in sweep}

    assert asyncio.run(months()) == {str(month) for month in range(12)}


async def _result(sweep: Sweep) -> object:
    return await sweep


def test_the_table_has_a_row_per_run_in_the_order_of_the_block(scene):
    sweep = sweep_of(scene, "daily_sales", 3, 1, 2)
    sweep.result(60)
    frame = sweep.frame()

    assert list(frame["param.month"]) == ["3", "1", "2"]
    assert list(frame["status"]) == ["COMPLETED"] * 3


# Ending, and starting again


def test_cancel_ends_all_active_runs_and_sends_no_more(scene):
    sweep = sweep_of(scene, "slow", *range(8))
    sweep.wait_sent()
    sweep.cancel()
    sweep.wait(60)

    assert sweep.counts == {"CANCELED": 8}


def test_cancel_while_runs_are_being_started_sends_no_more(scene):
    put_off(scene)
    sweep = sweep_of(scene, "slow", *range(50))
    eventually(lambda: was_put_off(scene), "a start was put off")
    sweep.cancel()
    sweep.wait(60)

    assert sweep.counts == {"CANCELED": 1, "UNSENT": 49}
    assert sweep.error == "the sweep was canceled"


def test_a_refused_cancel_raises_with_the_number_of_runs_and_can_be_retried(scene):
    sweep = sweep_of(scene, "slow", 1, 2, 3)
    sweep.wait_sent()
    scene.service.is_down = True
    with pytest.raises(ServiceError, match="3 of the runs could not be canceled: "):
        sweep.cancel()

    scene.service.is_down = False
    sweep.cancel()
    sweep.wait(60)
    assert sweep.counts == {"CANCELED": 3}


def test_failed_runs_are_grouped_by_cause(scene):
    sweep = sweep_of(scene, "broken", 1, 2)
    sweep.wait(60)

    assert sweep.reasons() == {"ValueError": sweep.runs}


def test_failed_runs_are_retried_as_a_new_sweep(scene):
    sweep = sweep_of(scene, "broken", 1, 2, 3)
    sweep.wait(60)
    again = sweep.retry_failed()
    again.wait(60)

    assert [run.parameters["$month"] for run in again.runs] == ["1", "2", "3"]
    assert set(again.runs).isdisjoint(sweep.runs)
    assert len(scene.service.starts) == 6


def test_a_sweep_made_from_another_has_its_language(scene, capsys):
    scene.session.language_choice = "ko"
    sweep = sweep_of(scene, "broken", 1)
    sweep.wait(60)
    again = sweep.retry_failed()
    again.wait(60)
    again.show()

    assert capsys.readouterr().out.startswith("FAILED (실패)  broken  실행 1개 중 1개 종료  ")


def test_unsent_runs_are_sent_as_a_new_sweep(scene):
    def then_refuse(sent: Sent) -> None:
        if sent.is_start and len(scene.service.starts) == 1:
            refuse(scene, 400, times=100)

    scene.service.before_answer = then_refuse
    sweep = sweep_of(scene, "daily_sales", *range(7))
    sweep.wait(60)
    scene.service.answers = []
    scene.service.before_answer = lambda _: None
    sweep.resume()

    assert len(sweep.result(60)) == 7
    assert [run.parameters["$month"] for run in sweep.runs] == ["0", "1", "2", "3", "4", "5", "6"]


def test_a_sweep_with_nothing_unsent_resumes_nothing(scene):
    sweep = sweep_of(scene, "daily_sales", 1)
    sweep.wait(60)
    sweep.resume()

    assert (len(scene.service.starts), sweep.is_over) == (1, True)


def test_awaiting_a_sweep_of_a_closed_session_raises(scene):
    put_off(scene)
    sweep = sweep_of(scene, "slow", *range(9))
    eventually(lambda: was_put_off(scene), "a start was put off")

    async def await_and_close() -> None:
        waiting = asyncio.ensure_future(_result(sweep))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(scene.session.close)
        with pytest.raises(SweepFailed, match="8 UNSENT"):
            await waiting

    asyncio.run(await_and_close())


def test_without_failed_runs_retry_failed_is_refused(scene):
    sweep = sweep_of(scene, "daily_sales", 1)
    sweep.wait(60)

    with pytest.raises(BadState, match="no run of the sweep has failed; there is nothing to start"):
        sweep.retry_failed()


def test_the_button_retries_failed_runs_in_their_places(scene):
    put_off(scene, seconds=1, times=4)
    sweep = sweep_of(scene, "mute", *range(5))
    first = sweep.runs[0]
    eventually(lambda: first.status == "FAILED" and not scene.service.answers, "one failed, and four wait")
    sweep._showing._clicked(sweep._showing._retry())
    sweep._showing._clicked(sweep._showing._retry())
    sweep.wait(60)

    assert sweep.runs[0] is not first
    assert [run.parameters["$month"] for run in sweep.runs] == ["0", "1", "2", "3", "4"]
    assert sweep.counts == {"FAILED": 5}
    assert len(scene.service.starts) == 1 + 4 + 5


def test_the_button_retries_a_failed_run_while_others_are_active(scene):
    sweep = sweep_of(scene, "slow", 1, 2)
    sweep.wait_sent()
    first, second = sweep.runs
    eventually(lambda: first.status == second.status == "RUNNING", "both run")
    assert first.id is not None
    scene.service.store.move(first.id, RunState.FAILED, "lost a worker")
    eventually(lambda: first.status == "FAILED", "one failed")
    sweep._showing._clicked(sweep._showing._retry())
    eventually(lambda: sweep.runs[0] is not first, "it was replaced")
    scene.service.finish.set()
    sweep.result(60)

    assert sweep.runs[1] is second
    assert sweep.counts == {"COMPLETED": 2}


def test_after_the_end_of_all_runs_the_buttons_do_nothing(scene):
    sweep = sweep_of(scene, "mute", 1)
    sweep.wait(60)
    sweep._showing._clicked(sweep._showing._retry())
    sweep._showing._clicked(sweep.click_cancel())
    sweep.wait(60)

    assert len(scene.service.starts) == 1
