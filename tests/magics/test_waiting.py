"""Cells that wait for runs: what they print, when they fail, and what an interrupt does."""

import signal
import threading
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from dataflow_magic.card.run.html import to_rows
from dataflow_magic.errors import RunFailed, WaitTimeout
from dataflow_magic.models.failure import Failure
from dataflow_magic.models.view import KST
from dataflow_magic.session.detached import way_back
from dataflow_magic.session.run import CHANGED
from tests.helpers import eventually, execution
from tests.views import run_view

NOW = datetime(2026, 11, 1, 9, 0, 30, tzinfo=KST)
VIEW = run_view(NOW - timedelta(seconds=30), key="k2345678")


def test_each_run_is_a_line_with_the_reason_of_a_failure():
    failed = replace(
        VIEW,
        execution=execution("FAILED", endDate="2026-11-01T09:00:12+09:00"),
        failure=Failure("ValueError: no such table"),
    )
    live = replace(VIEW, job_name="a longer name")

    assert to_rows([failed, live], NOW).splitlines() == [
        "FAILED      daily          run000000001  12 s in all  ValueError: no such table",
        "SUBMITTING  a longer name  k2345678      30 s",
    ]


def test_the_way_back_names_up_to_ten_runs():
    assert way_back(["a"]) == (
        "run a continues: %dataflow_wait a waits again, %dataflow_status a shows it, %dataflow_cancel a cancels it"
    )
    assert way_back(["a", "b"]) == "2 runs continue: %dataflow_wait a b waits again"
    assert way_back(["x"] * 11) == "11 runs continue: %dataflow_wait waits again"


# In a notebook


def test_a_cell_that_waits_for_one_run_shows_its_card(scene, terminal):
    terminal.run("%dataflow_run slow;")
    scene.service.finish.set()
    ran = terminal.run("%dataflow_wait @last")

    assert ran.error is None
    assert "COMPLETED" in ran.out
    assert scene.session.runs[0].run_id in ran.out


def test_one_failed_run_fails_the_cell(scene, terminal):
    terminal.run("%dataflow_run broken;")
    run = scene.session.runs[0]
    ran = terminal.run(f"%dataflow_wait {run.run_id[:8]}")

    assert isinstance(ran.error, RunFailed)
    assert str(ran.error) == (
        f"run {run.run_id} of broken ended FAILED: ValueError: no such table: test.sales (broken.py, line 3); "
        f"%dataflow_status {run.run_id} shows the end of its log"
    )


def test_without_a_name_the_cell_waits_for_all_active_runs_of_the_kernel(scene, terminal):
    terminal.run("%dataflow_run daily_sales --wait;")
    terminal.run("%dataflow_run slow;")
    terminal.run("%dataflow_run slow;")
    scene.service.finish.set()
    ran = terminal.run("%dataflow_wait")

    ids = [run.run_id for run in scene.session.runs[1:]]
    printed = [line.split()[:3] for line in ran.out.splitlines()]
    assert ran.out.startswith(
        "Waiting for 2 runs. Interrupt the kernel to stop waiting; the runs continue.\n"
    )
    assert printed[1:] == [["COMPLETED", "slow", ids[0]], ["COMPLETED", "slow", ids[1]]]
    assert terminal.run("%dataflow_wait").out == "No run of this kernel is active.\n"


def test_a_failed_run_fails_the_cell_once_all_runs_have_ended(scene, terminal):
    terminal.run("%dataflow_run broken;")
    terminal.run("%dataflow_run slow;")
    broken, slow = scene.session.runs
    eventually(lambda: broken.is_over, "the one run is over")
    threading.Timer(0.1, scene.service.finish.set).start()
    ran = terminal.run(f"%dataflow_wait {broken.key} @last {slow.run_id}")

    assert slow.status == "COMPLETED"
    assert str(ran.error) == (
        f"1 of 2 runs did not complete: {broken.run_id} FAILED; "
        f"%dataflow_status {broken.run_id} shows the end of its log"
    )
    assert isinstance(ran.error, RunFailed)
    assert "Traceback" not in ran.out


def test_any_ends_the_wait_with_the_first_run_that_ends(scene, terminal):
    terminal.run("%dataflow_run slow;")
    terminal.run("%dataflow_run daily_sales;")
    ran = terminal.run("%dataflow_wait --any " + " ".join(run.key for run in scene.session.runs))

    assert ran.error is None
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == ["RUNNING", "COMPLETED"]


def test_a_wait_that_times_out_fails_the_cell_and_says_how_to_wait_again(scene, terminal):
    terminal.run("%dataflow_run slow;")
    terminal.run("%dataflow_run slow;")
    ids = " ".join(str(run.run_id) for run in scene.session.runs)
    ran = terminal.run("%dataflow_wait --timeout 0.001")

    assert isinstance(ran.error, WaitTimeout)
    assert (
        str(ran.error)
        == f"the wait timed out after 0.001 min; 2 runs continue: %dataflow_wait {ids} waits again"
    )


def test_an_interrupt_detaches_from_all_runs_and_says_how_to_wait_again(scene, terminal):
    terminal.run("%dataflow_run slow;")
    terminal.run("%dataflow_run slow;")
    runs = scene.session.runs
    main = threading.get_ident()
    sent = threading.Event()

    def interrupt() -> None:
        eventually(lambda: all(run._waiters for run in runs), "the cell waits")
        signal.pthread_kill(main, signal.SIGINT)
        sent.set()

    threading.Thread(target=interrupt).start()
    ran = terminal.run("%dataflow_wait")

    assert sent.wait(60)
    assert isinstance(ran.error, KeyboardInterrupt)
    ids = " ".join(str(run.run_id) for run in runs)
    assert ran.out.splitlines()[-1] == f"stopped waiting; 2 runs continue: %dataflow_wait {ids} waits again"
    assert not any(sent.path.endswith("/cancel") for sent in scene.service.sent)
    scene.service.finish.set()
    assert terminal.run(f"%dataflow_wait {ids}").error is None


def test_a_cell_waits_for_a_run_of_another_kernel(scene, terminal):
    run = scene.start("daily_sales")
    run.wait()
    scene.session.close()
    scene.session = scene.new_session()
    ran = terminal.run("%dataflow_wait @last")

    assert ran.error is None
    assert run.run_id in ran.out
    assert "COMPLETED" in ran.out


def test_help_and_errors_are_plain_lines(terminal):
    assert terminal.run("%dataflow_wait --help").out.startswith("usage: %dataflow_wait [RUN ...] [options]")
    assert terminal.run("%dataflow_wait nosuchrun").err == (
        "UsageError: no run 'nosuchrun' was started here; %dataflow_runs --all lists them\n"
    )


@pytest.mark.parametrize("call", ["run.result()", "run.wait()", "run.wait(50)"])
@pytest.mark.parametrize(
    ("block", "continues"),
    [
        ("", "run {id} continues: %dataflow_wait {id} "),
        ("a = each(1, 2)", "the sweep continues: %dataflow_wait "),
    ],
    ids=["run", "sweep"],
)
def test_an_interrupted_call_that_waits_ends_in_one_line(scene, terminal, call, block, continues):
    terminal.run(f"%%dataflow_run slow -o run\n{block or 'a = 1'}\n")
    terminal.run("getattr(run, 'wait_sent', print)()")
    main = threading.get_ident()

    def interrupt() -> None:
        eventually(lambda: vars(CHANGED)["_waiters"], "the cell waits")
        signal.pthread_kill(main, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    ran = terminal.run(call)
    interrupter.join()

    assert isinstance(ran.error, KeyboardInterrupt)
    (line,) = ran.out.splitlines()
    assert line.startswith("stopped waiting; " + continues.format(id=scene.session.runs[0].run_id))
    assert not any(sent.path.endswith("/cancel") for sent in scene.service.sent)
