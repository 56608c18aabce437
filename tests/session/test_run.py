"""A run: waiting for it, cancelling it, its log, its view and its card."""

import asyncio
import concurrent.futures
import contextlib
import gc
import re
import threading
from collections.abc import Coroutine
from datetime import datetime
from typing import Any, TypeVar

import pytest
from ipywidgets import Button
from ipywidgets.widgets.widget import _instances
from pydantic import ValidationError

from dataflow_magic.client.objects import NoObject
from dataflow_magic.errors import (
    BadState,
    DataflowError,
    OutcomeUnknown,
    RunFailed,
    ServiceBroken,
    Unreachable,
    WaitTimeout,
)
from dataflow_magic.models.failure import Failure, Place
from dataflow_magic.models.secret import Secret
from dataflow_magic.models.view import KST, Progress, RunView
from dataflow_magic.session.run import LiveRun
from tests.helpers import CONDITION, FAILED_LOG, Scene, eventually, execution, open_notebook
from tests.views import run_view

T = TypeVar("T")

LOGGED: dict[str, Any] = {"jobCondition": {"consoleLogPath": "bucket/logs/run000000001/console.log"}}


def running(scene: Scene) -> LiveRun:
    run = scene.start("slow", {"day": 1})
    eventually(lambda: run.status == "RUNNING", "the run is active")
    return run


# Waiting


def test_result_is_the_last_snapshot_frozen(scene):
    run = scene.start("daily_sales")

    last = run.result()

    assert (last.status, last.job_execution_id) == ("COMPLETED", run.run_id)
    with pytest.raises(ValidationError):
        last.status = "FAILED"
    assert run.result() is last
    assert run.reason is None


def test_runs_that_are_over_keep_no_task(scene):
    def tasks() -> int:
        gc.collect()
        return sum(isinstance(each, asyncio.Task) and "_conclude" in repr(each) for each in gc.get_objects())

    for _ in range(3):
        scene.start("daily_sales").result(60)

    eventually(lambda: tasks() == 0, "no task is left")


def test_a_failed_run_raises_one_line_with_its_reason_and_where_to_read_on(scene):
    run = scene.start("broken")

    with pytest.raises(RunFailed) as caught:
        run.result()

    assert str(caught.value) == (
        f"run {run.run_id} of broken ended FAILED: ValueError: no such table: test.sales "
        "(broken.py, line 3); run.logs() has its log"
    )
    assert caught.value.run is run.handle
    assert run.reason == "ValueError: no such table: test.sales"
    assert run.error == Failure(
        "ValueError: no such table: test.sales",
        tuple(FAILED_LOG.splitlines()),
        "ValueError",
        Place("broken.py", 3, "", 'raise ValueError("no such table: test.sales")'),
    )


def add_job(scene: Scene, name: str) -> None:
    scene.service.store.add_job(name, "SCRIPT", max_concurrent_runs=None, condition=CONDITION, extra={})


def test_a_line_that_the_log_does_not_quote_is_read_from_the_script(scene):
    add_job(scene, "divides")
    script = scene.service.folder / "objects" / "bucket" / "scripts" / "divides.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("x = 1\n  price = amount / units\nprice.show()\n")
    run = scene.start("divides")
    run.wait(60)

    assert run.error.place == Place("divides.py", 2, "", "price = amount / units")
    assert (run.reason, run.error.error_class) == ("division by zero", "DIVIDE_BY_ZERO")


def test_a_line_of_a_script_that_is_gone_is_named_by_its_number(scene):
    add_job(scene, "divides")
    run = scene.start("divides")
    run.wait(60)

    assert run.error.place == Place("divides.py", 2)


def test_a_run_that_failed_without_a_log_has_the_services_reason(scene):
    run = scene.start("mute")

    with pytest.raises(RunFailed, match="ended FAILED: no Java was found; "):
        run.result()


def test_a_canceled_run_raises_too_and_names_no_log(scene):
    run = running(scene)
    run.cancel()

    with pytest.raises(RunFailed) as caught:
        run.result()

    assert str(caught.value) == f"run {run.run_id} of slow ended CANCELED: canceled on request"
    assert run.reason == "canceled on request"


def test_a_wait_that_times_out_leaves_the_run_active(scene):
    run = running(scene)

    with pytest.raises(WaitTimeout) as caught:
        run.result(timeout=0)

    assert str(caught.value) == (
        f"run {run.run_id} of slow is still active after 0 s (RUNNING); wait again, or %dataflow_cancel {run.run_id} ends it"
    )
    assert caught.value.run is run.handle
    scene.service.finish.set()
    assert run.result(timeout=60).status == "COMPLETED"


def test_a_wait_reports_each_change_in_the_waiting_thread(scene):
    run = running(scene)
    reported: list[tuple[str, str]] = []

    def watch(view: RunView) -> None:
        reported.append((view.status, threading.current_thread().name))
        scene.service.finish.set()

    run.wait(10, watch)

    assert reported == [("RUNNING", "MainThread"), ("COMPLETED", "MainThread")]


def test_an_interrupted_wait_leaves_the_run_active(scene):
    run = running(scene)

    def interrupt(_: RunView) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.wait(10, interrupt)

    assert not any(sent.path.endswith("/cancel") for sent in scene.service.sent)
    scene.service.finish.set()
    assert run.result().status == "COMPLETED"


# Awaiting


@pytest.mark.anyio
async def test_a_run_can_be_awaited_by_many_at_once_and_again_afterwards(scene):
    run = await asyncio.to_thread(running, scene)
    awaiting = [asyncio.ensure_future(run) for _ in range(3)]
    await asyncio.sleep(0)
    scene.service.finish.set()

    ended = await asyncio.gather(*awaiting)

    assert [last.status for last in ended] == ["COMPLETED"] * 3
    assert (await run).status == "COMPLETED"


@pytest.mark.anyio
async def test_an_awaited_run_that_failed_raises(scene):
    run = await asyncio.to_thread(scene.start, "broken")

    with pytest.raises(RunFailed, match="no such table"):
        await run


@pytest.mark.anyio
async def test_a_cancelled_wait_does_not_cancel_the_others(scene):
    run = await asyncio.to_thread(running, scene)
    one, other = asyncio.ensure_future(run), asyncio.ensure_future(run)
    await asyncio.sleep(0)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    scene.service.finish.set()

    assert (await other).status == "COMPLETED"


def test_a_run_ends_without_error_after_an_awaiting_loop_was_closed(scene, caplog):
    run = running(scene)

    async def give_up() -> None:
        async with asyncio.timeout(0.01):
            await run

    with contextlib.suppress(TimeoutError):
        asyncio.run(give_up())
    scene.service.finish.set()

    assert run.result().status == "COMPLETED"
    assert caplog.records == []


# Canceling


def test_cancel_returns_once_the_service_accepted_and_the_state_shows_the_end(scene):
    run = running(scene)

    run.cancel()

    assert run.view.cancel_requested or run.is_over
    eventually(lambda: run.is_over, "over")
    assert run.status == "CANCELED"
    assert run.view.cancel_requested is False


def test_a_run_that_is_over_cannot_be_canceled(scene):
    run = scene.start("daily_sales")
    run.result()

    with pytest.raises(
        BadState, match=rf"run {run.run_id} is over \(COMPLETED\); there is nothing to cancel"
    ):
        run.cancel()


def test_a_run_without_an_id_cannot_be_canceled_yet(scene):
    scene.may_look.clear()
    scene.service.lost_answers = 1
    run = scene.start("daily_sales")

    with pytest.raises(BadState, match="has not returned the run's id yet"):
        run.cancel()
    scene.may_look.set()


def test_a_cancel_that_does_not_arrive_raises_and_is_not_shown_as_requested(scene):
    run = running(scene)
    scene.service.is_down = True

    with pytest.raises(Unreachable):
        run.cancel()

    assert run.view.cancel_requested is False


# What it shows


def test_what_a_run_sent_can_be_read_and_not_changed(scene):
    run = scene.start("daily_sales", {"day": "2026-11-01", "deep": True}, workers=3)

    assert dict(run.parameters) == {"$day": "2026-11-01", "$deep": "true"}
    assert run.condition.num_worker == 3
    assert run.job == "daily_sales"
    with pytest.raises(TypeError):
        run.parameters["$day"] = "x"


def test_repr_is_one_line_and_holds_no_parameter(scene):
    run = scene.start("daily_sales", {"token": "hunter2"})
    run.result()

    assert repr(run) == f"<Run {run.run_id} of daily_sales on local: COMPLETED>"


def test_repr_of_a_run_without_an_id_has_its_key(scene):
    scene.may_look.clear()
    scene.service.lost_requests = 1

    run = scene.start("daily_sales")
    assert repr(run) == f"<Run {run.key} of daily_sales on local: SUBMITTING>"
    scene.may_look.set()


def test_logs_are_what_the_script_printed_and_empty_without_a_log(scene):
    broken, quiet = scene.start("broken"), scene.start("daily_sales")
    broken.wait(60)
    quiet.wait(60)

    assert broken.handle.logs() == FAILED_LOG
    assert quiet.handle.logs() == ""


def test_logs_of_an_active_run_are_read_and_only_their_end(scene):
    run = running(scene)
    scene.service.write_log(run.run_id, b"first line\n" + b"x" * 262_143 + b"\xff")

    assert run.handle.logs() == "x" * 262_143 + "\N{REPLACEMENT CHARACTER}\n"


def test_a_log_of_several_megabytes_is_returned_or_saved_whole_on_request(scene, tmp_path):
    run = running(scene)
    log = b"".join(b"%07d of the lines that the script printed\n" % number for number in range(150_000))
    scene.service.write_log(run.run_id, log)

    text = run.handle.logs(all=True)
    file = run.handle.logs(save=tmp_path / "run.log")

    assert len(log) > 6_000_000
    assert text.encode() == log
    assert file == tmp_path / "run.log"
    assert file.read_bytes() == log
    end = run.handle.logs().encode()
    assert log.endswith(end)
    assert 262_144 - 50 < len(end) <= 262_144


# What the watch reports


class Storage:
    """Objects whose one answer is handed in, and their service."""

    secret = Secret()

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer

    async def objects(self) -> "Storage":
        return self

    async def tail(self, _path: str, _most: int) -> bytes:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def size(self, path: str) -> int:
        return len(await self.tail(path, 0))

    async def names(self, _folder: str, _most: int, *, after: str = "") -> list[str]:  # noqa: ARG002
        return []


class Alone:
    """A tracker that records nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def note(self, view: RunView) -> None:
        pass

    def past(self, _view: RunView) -> None:
        return None

    async def start_again(self, _view: RunView) -> LiveRun:
        raise AssertionError("a run that stands alone is not started again")

    def language(self) -> str:
        return "en"


def alone(answer: bytes | Exception = b"") -> LiveRun:
    """Return a run that no watch follows, on the running loop."""
    view = run_view(datetime.now(KST))
    loop = asyncio.get_running_loop()
    return LiveRun(view, Storage(answer), Alone(loop))  # type: ignore[arg-type]


async def ended(run: LiveRun) -> LiveRun:
    with contextlib.suppress(RunFailed):
        async with asyncio.timeout(10):
            await run
    return run


@pytest.mark.anyio
async def test_running_since_is_when_the_run_was_seen_to_begin_running():
    run = alone()
    run.seen(execution("READY"))
    assert run.view.running_since is None
    run.seen(execution("RUNNING"))
    since = run.view.running_since
    run.seen(execution("RUNNING", runningTime=1))

    assert since is not None
    assert run.view.running_since == since


@pytest.mark.anyio
@pytest.mark.parametrize("before", ["nothing", "a stored READY", "READY, then silence"])
async def test_a_run_that_was_running_when_it_was_looked_at_again_has_no_begin(before):
    run = alone()
    if before != "nothing":
        run.seen(execution("READY"), is_stored=before == "a stored READY")
    if before == "READY, then silence":
        run.blind("connection refused")
    run.seen(execution("RUNNING"))

    assert run.view.running_since is None


@pytest.mark.anyio
async def test_counted_minutes_are_kept_and_reported_as_no_change():
    changed: list[LiveRun] = []
    run = alone()
    run._on_change = changed.append
    run.seen(execution("RUNNING", runningTime=0))
    run.seen(execution("RUNNING", runningTime=1, waitingTime=2))

    assert changed == [run]
    assert run.view.execution == execution("RUNNING", runningTime=1, waitingTime=2)
    run.seen(execution("RUNNING", runningTime=1, waitingTime=2, executorNum=3))
    assert changed == [run, run]


@pytest.mark.anyio
async def test_an_equal_snapshot_changes_nothing():
    run = alone()
    run.seen(execution("RUNNING"))
    view = run.view
    run.seen(execution("RUNNING"))

    assert run.view is view


@pytest.mark.anyio
async def test_blind_keeps_its_first_time_and_its_newest_reason():
    run = alone()
    run.blind("first")
    since = run.view.blind_since
    run.blind("second")

    assert run.view.blind_since == since
    assert run.view.blind_reason == "second"
    run.seen(execution("READY"))
    assert (run.view.blind_since, run.view.blind_reason) == (None, "")


@pytest.mark.anyio
async def test_an_unknown_state_with_an_end_is_over_and_failed():
    run = alone()
    run.seen(execution("STOPPED"))
    assert not run.is_over
    run.seen(execution("STOPPED", endDate="2026-11-01T00:00:00+09:00", statusDetail="by an operator"))
    await ended(run)

    with pytest.raises(RunFailed, match="ended STOPPED: by an operator; "):
        run.result()


@pytest.mark.anyio
async def test_an_end_that_is_seen_twice_is_one_end():
    run = alone()
    run.seen(execution("COMPLETED"))
    first = await run
    run.seen(execution("COMPLETED"))
    await asyncio.sleep(0)

    assert await run is first


@pytest.mark.anyio
async def test_awaiting_a_run_that_was_given_up_raises_the_reason():
    run = alone()
    awaiting = asyncio.ensure_future(run)
    await asyncio.sleep(0)
    run.give_up(OutcomeUnknown("its outcome is unknown"))

    with pytest.raises(OutcomeUnknown, match="its outcome is unknown"):
        await awaiting
    assert run.status == "SUBMITTING"


@pytest.mark.anyio
async def test_a_run_canceled_without_a_detail_has_no_reason():
    run = alone()
    run.seen(execution("CANCELED"))
    await ended(run)

    assert run.reason is None
    with pytest.raises(RunFailed, match=r"^run run000000001 of daily ended CANCELED$"):
        run.result()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "trouble",
    [NoObject("gone"), TimeoutError(), ServiceBroken("500", status=500), RuntimeError("a bug")],
    ids=["no log", "too slow", "service broken", "our own fault"],
)
async def test_a_log_that_cannot_be_read_does_not_delay_the_end_of_a_run(trouble):
    run = alone(trouble)
    run.seen(execution("FAILED", statusDetail="exit code 1", **LOGGED))
    await ended(run)

    assert run.status == "FAILED"
    assert run.reason == "exit code 1"


@pytest.mark.anyio
async def test_a_missing_log_is_empty_and_a_log_that_cannot_be_read_in_time_raises():
    gone, slow = alone(NoObject("gone")), alone(TimeoutError())
    for run in (gone, slow):
        run.seen(execution("RUNNING", **LOGGED))

    assert await gone.read_log_tail() == ()
    with pytest.raises(Unreachable, match="the log of run run000000001 was not read within 10 s; try again"):
        await slow.read_log_tail()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reason", "reported"),
    [("x" * 301, "x" * 300 + "…"), ("two\nlines\tand  more", "two lines and more")],
    ids=["too long", "several lines"],
)
async def test_the_error_of_a_run_is_one_line_of_bounded_length(reason, reported):
    run = alone()
    run.seen(execution("FAILED", statusDetail=reason))
    await ended(run)

    assert str(run.failed("next")) == f"run run000000001 of daily ended FAILED: {reported}; next"
    assert run.reason == reason


@pytest.mark.anyio
async def test_a_run_is_not_over_before_its_reason_is_known():
    reading, read = asyncio.Event(), asyncio.Event()

    class Slow(Storage):
        async def tail(self, _path: str, _most: int) -> bytes:
            reading.set()
            await read.wait()
            return b"Traceback (most recent call last):\nKeyError: 'x'\n"

    run = alone()
    run._service = Slow(b"")  # type: ignore[assignment]
    run.seen(execution("RUNNING"))
    run.seen(execution("FAILED", **LOGGED))
    await reading.wait()
    assert run.status == "RUNNING"
    run.blind("a poll that came in between")
    read.set()
    await ended(run)

    assert (run.status, run.reason, run.view.blind_since) == ("FAILED", "KeyError: 'x'", None)


# Showing: painted by the waiting thread, or from the background


def paints(run: LiveRun) -> bool:
    return run._painter is not None and run._painter._is_painting


def test_outside_ipython_a_run_is_shown_as_text(scene, capsys):
    run = scene.start("daily_sales")
    run.result()
    run.show()

    first = capsys.readouterr().out.split("\n")[0]
    assert re.fullmatch(rf"COMPLETED  daily_sales  run {run.run_id}  ran \d+ s  local", first)


def test_the_loop_repaints_a_card_until_it_is_final(scene):
    with open_notebook(scene.folder, stdin=False) as notebook:
        run = running(scene)
        run.show()
        scene.service.finish.set()
        eventually(lambda: notebook.shown[-1].is_update, "repainted")

        first, last = notebook.shown
        assert first.text.startswith("RUNNING  slow")
        assert last.text.startswith("COMPLETED  slow")
        assert (last.display_id, last.thread) == (first.display_id, "dataflow-magic")


def test_a_failed_repaint_stops_neither_the_watch_nor_later_repaints(scene):
    with open_notebook(scene.folder, stdin=False) as notebook:
        run = running(scene)
        run.show()
        notebook.shell.display_pub.faults = [RuntimeError("a bug")]
        run.cancel()  # a change to paint
        eventually(lambda: not notebook.shell.display_pub.faults, "painting failed")
        eventually(lambda: run.is_over, "the watch continues")
        run.show()
        eventually(
            lambda: sum(shown.is_update for shown in notebook.shown), "the older output is painted as well"
        )

        assert [shown.text.split()[0] for shown in notebook.shown] == ["RUNNING", "CANCELED", "CANCELED"]


def test_a_card_shown_twice_is_one_card_in_two_outputs(scene):
    with open_notebook(scene.folder, stdin=False) as notebook:
        run = running(scene)
        run.show()
        run.show()
        scene.service.finish.set()
        eventually(lambda: sum(shown.is_update for shown in notebook.shown) == 2, "both are repainted")

        shown = notebook.shown
        assert {one.display_id for one in shown[:2]} == {one.display_id for one in shown[2:]}
        assert len({one.display_id for one in shown}) == 2


def test_while_a_cell_waits_only_its_thread_paints(scene):
    with open_notebook(scene.folder, stdin=False) as notebook:
        run = running(scene)
        threading.Timer(0.1, scene.service.finish.set).start()
        run.show_and_wait(60)

        assert {shown.thread for shown in notebook.shown} == {"MainThread"}
        assert "interrupt the kernel to stop waiting" in notebook.shown[0].text
        assert notebook.shown[-1].text.startswith("COMPLETED")


def test_a_waiting_cell_takes_over_the_painting_of_a_run_shown_before(scene):
    with open_notebook(scene.folder, stdin=False) as notebook:
        run = running(scene)
        run.show()
        eventually(lambda: paints(run), "the background painter is there")

        def finish() -> None:
            eventually(lambda: not paints(run), "the background painter has left")
            scene.service.finish.set()

        threading.Thread(target=finish).start()
        run.show_and_wait(60)

        last = notebook.shown[-2:]
        assert [shown.text.split()[0] for shown in last] == ["COMPLETED", "COMPLETED"]
        assert {shown.thread for shown in last} == {"MainThread"}


def test_after_an_abandoned_wait_the_loop_paints(scene):
    with open_notebook(scene.folder, stdin=False) as notebook:
        run = running(scene)
        with pytest.raises(WaitTimeout):
            run.show_and_wait(0)
        scene.service.finish.set()
        eventually(lambda: notebook.shown[-1].text.startswith("COMPLETED"), "the end is painted")

        assert notebook.shown[-1].thread == "dataflow-magic"
        assert "interrupt the kernel" not in notebook.shown[-1].text


def test_a_run_that_was_given_up_is_repainted_once(scene):
    with open_notebook(scene.folder, stdin=False) as notebook:
        scene.may_look.clear()
        scene.service.lost_requests = 1
        run = scene.start("daily_sales")
        run.show()
        scene.may_look.set()
        eventually(
            lambda: "no run of it is in the job's list" in notebook.shown[-1].text, "the outcome is painted"
        )
        eventually(lambda: not paints(run), "the painter has left")

        assert run.status == "NOT_STARTED"


def test_runs_shown_after_the_session_closed_say_that_the_extension_was_unloaded(scene):
    with open_notebook(scene.folder, stdin=False) as notebook:
        run, done = running(scene), scene.start("daily_sales")
        done.result(60)
        run.show()
        scene.session.close()
        assert "the extension was unloaded; the run itself continues" in notebook.shown[-1].text

        run.show()
        done.show()

        assert [shown.text.split()[0] for shown in notebook.shown[-2:]] == ["RUNNING", "COMPLETED"]


def test_a_wait_that_shows_ends_with_the_session_and_says_why(scene):
    with open_notebook(scene.folder, stdin=False):
        run = running(scene)
        threading.Timer(0.05, scene.session.close).start()

        with pytest.raises(DataflowError, match="this kernel follows the run no longer"):
            run.show_and_wait(60)


def test_an_interrupt_while_a_card_is_shown_leaves_it_live(scene):
    with open_notebook(scene.folder, stdin=False) as notebook:
        run = running(scene)
        notebook.shell.display_pub.interrupts = [KeyboardInterrupt()]
        with pytest.raises(KeyboardInterrupt):
            run.show_and_wait(60)
        scene.service.finish.set()

        eventually(lambda: notebook.shown[-1].text.startswith("COMPLETED"), "it is painted again")


def test_an_interrupt_while_the_end_is_painted_does_not_lose_the_repaint(scene):
    with open_notebook(scene.folder, stdin=False) as notebook:
        run = running(scene)
        notebook.shell.display_pub.faults = [KeyboardInterrupt()]
        threading.Timer(0.1, scene.service.finish.set).start()
        with pytest.raises(KeyboardInterrupt):
            run.show_and_wait(60)

        eventually(lambda: notebook.shown[-1].text.startswith("COMPLETED"), "the end is painted")


# The card's buttons


def click(*descriptions: str) -> None:
    for description in descriptions:
        button(description).click()


def button(description: str) -> Button:
    eventually(lambda: found(description), f"the button {description!r} is offered")
    return found(description)[-1]


def found(description: str) -> list[Button]:
    widgets = list(_instances.values())
    return [each for each in widgets if isinstance(each, Button) and each.description == description]


def test_the_button_cancels_the_run_and_returns_at_once(scene):
    with open_notebook(scene.folder, stdin=True):
        run = running(scene)
        run.show()
        click("Cancel", "Yes, cancel")
        eventually(lambda: run.status == "CANCELED", "canceled")

        assert sum(sent.path.endswith("/cancel") for sent in scene.service.sent) == 1


def test_after_a_failed_cancel_the_card_offers_the_button_again_and_says_why(scene, caplog):
    with open_notebook(scene.folder, stdin=True) as notebook:
        run = running(scene)
        run.show()
        scene.service.is_down = True
        click("Cancel", "Yes, cancel")
        eventually(lambda: run.view.remark, "the remark is there")

        eventually(lambda: not button("Cancel").disabled, "the button is back")
        assert run.view.remark.startswith("the cancel was not accepted: ")
        run.show()
        assert "the cancel was not accepted" in notebook.shown[-1].text
        assert any("cancel of <Run" in record.getMessage() for record in caplog.records)
        assert run.status == "RUNNING"


def test_run_again_starts_the_same_and_shows_it_below(scene):
    with open_notebook(scene.folder, stdin=True) as notebook:
        run = scene.start("slow", {"day": "2026-11-01"})
        eventually(lambda: run.status == "RUNNING", "running")
        run.show()
        click("Run again")
        eventually(lambda: len(scene.session.runs) == 2, "started again")
        again = scene.session.runs[-1]
        scene.service.finish.set()
        run.result(60)
        again.result(60)
        eventually(lambda: notebook.shown[-1].text.count("COMPLETED") == 2, "both are shown")

        assert (again.job, again.parameters, again.condition) == (run.job, run.parameters, run.condition)
        assert {shown.display_id for shown in notebook.shown} == {notebook.shown[0].display_id}
        assert again.run_id in notebook.shown[-1].text


def test_a_failed_start_from_a_card_says_why_on_that_card(scene):
    with open_notebook(scene.folder, stdin=True):
        run = running(scene)
        run.show()
        scene.service.is_down = True
        click("Run again")
        eventually(lambda: run.view.remark.startswith("not started again: "), "the remark is there")

        assert scene.session.runs == [run]


def test_the_log_is_read_while_the_card_shows_it(scene):
    with open_notebook(scene.folder, stdin=True):
        run = running(scene)
        run.show()
        click("Logs")
        eventually(lambda: run.view.log_tail is not None, "read")
        click("Hide logs")
        eventually(lambda: run.view.log_tail is None, "closed")


def test_a_card_shows_the_progress_and_how_long_the_job_took_before(scene):
    with open_notebook(scene.folder, stdin=True) as notebook:
        scene.service.finish.set()
        scene.start("slow", {"day": 7}).result(60)
        scene.service.finish.clear()
        run = running(scene)
        scene.service.write_events(run.run_id, START, SUBMITTED, TASK_DONE)
        run.show()
        eventually(lambda: run.view.progress and run.view.past, "reported")
        scene.service.write_events(run.run_id, TASK_DONE)
        scene.service.finish.set()
        run.result(60)
        eventually(lambda: notebook.shown[-1].text.startswith("COMPLETED"), "the end is shown")

        assert run.view.progress == Progress(0, 1, 2, 4)
        assert "  2 of 4 tasks · 0 of 1 stages · 0 s the last time\n" in notebook.shown[-1].text


def test_no_progress_is_requested_for_a_run_without_a_card(scene):
    with open_notebook(scene.folder, stdin=False):
        run = running(scene)
        run.show()
        scene.service.finish.set()
        run.result(60)

        assert run.view.progress is None
        assert not [sent for sent in scene.service.sent if sent.path.endswith("/progress")]


START = (
    b'{"Event":"SparkListenerJobStart","Job ID":0,"Stage Infos":[{"Stage ID":0,"Stage Attempt ID":0,'
    b'"Stage Name":"count at daily.py:7","Number of Tasks":4}]}\n'
)
SUBMITTED = (
    b'{"Event":"SparkListenerStageSubmitted","Stage Info":{"Stage ID":0,"Stage Attempt ID":0,'
    b'"Stage Name":"count at daily.py:7","Number of Tasks":4}}\n'
)
TASK_DONE = b'{"Event":"SparkListenerTaskEnd","Stage ID":0,"Stage Attempt ID":0,"Task End Reason":{"Reason":"Success"}}\n'
