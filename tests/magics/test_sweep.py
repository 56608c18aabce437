"""Sweeps as cells write them, in a real IPython shell, against the real local service with scripted runs."""

import os
import re
import signal
import threading

import pytest
from IPython.core.error import UsageError
from ipywidgets import Button, Widget

from dataflow_magic.errors import SweepFailed, WaitTimeout
from dataflow_magic.session.sweep.handle import Sweep
from tests.helpers import eventually

BLOCK = "table = 't'\nmonth = each(1, 7)\npath = f'out/{month}'\n"


def test_a_cell_with_a_sweep_starts_a_run_per_combination_and_returns_a_sweep(scene, lab):
    ran = lab.run(f"%%dataflow_run daily_sales --workers 3 -o sweep\n{BLOCK}")

    assert isinstance(ran.value, Sweep)
    assert lab.shell.user_ns["sweep"] is ran.value
    ran.value.wait(60)
    bodies = [sent.body for sent in scene.service.starts]
    assert [body["parameters"] for body in bodies] == [
        {"$table": "t", "$month": "1", "$path": "out/1"},
        {"$table": "t", "$month": "7", "$path": "out/7"},
    ]
    assert {body["jobCondition"]["numWorker"] for body in bodies} == {3}
    assert len({shown.display_id for shown in ran.shown}) == 1


def test_the_card_ends_as_plain_html_and_text(lab):
    ran = lab.run(f"%%dataflow_run daily_sales\n{BLOCK}")
    ran.value.wait(60)
    shown = "COMPLETED  daily_sales  2 of 2 runs over"
    eventually(lambda: lab.shown[-1].text.startswith(shown), "the output is replaced")

    assert set(lab.shown[-1].data) == {"text/html", "text/plain"}
    assert lab.shown[-1].thread == "dataflow-magic"


def test_a_sweep_is_shown_in_the_language_of_config_or_of_the_locale(scene, terminal):
    scene.environment["LANG"] = "ja_JP.UTF-8"
    ran = terminal.run(f"%%dataflow_run daily_sales --wait -o sweep\n{BLOCK}")
    assert "COMPLETED (完了)  daily_sales  実行 2 件中 2 件終了  " in ran.out

    terminal.run("%config DataflowMagic.language = 'ko'")
    terminal.run("%dataflow_status @last")
    assert "COMPLETED (완료)  daily_sales  실행 2개 중 2개 종료  " in terminal.run("sweep.show()").out


@pytest.mark.parametrize("options", ["", " --wait", " --no-wait"])
def test_a_sweep_over_no_values_has_no_runs_and_says_so(scene, terminal, options):
    terminal.run("todo = []")
    ran = terminal.run(
        f"%%dataflow_run daily_sales -o sweep{options}\ntable = 't'\nday = each(todo)\npath = f'out/{{day}}'\n"
    )
    sweep = terminal.shell.user_ns["sweep"]

    assert ran.error is None
    assert ran.out == (
        "Note: no value is left for day, so the sweep has no runs and nothing is sent\n"
        f"Out[2]: <Sweep {sweep.key} of 0 runs of daily_sales>\n"
    )
    assert (sweep.result(), sweep.runs, dict(sweep.counts), sweep.is_done) == ((), (), {}, True)
    assert len(sweep.frame()) == 0
    assert scene.service.sent == []
    assert terminal.run("%dataflow_wait sweep").error is None
    assert terminal.run("%dataflow_status sweep").out == f"<Sweep {sweep.key} of 0 runs of daily_sales>\n"


def test_an_error_in_any_combination_starts_nothing(scene, lab):
    ran = lab.run("%%dataflow_run daily_sales\nday = each(1, 0)\npart = 1 / day\n")

    assert isinstance(ran.error, UsageError)
    assert str(ran.error) == "line 3: part (where day is 0): ZeroDivisionError: division by zero"
    assert scene.service.sent == []


def test_an_unknown_job_fails_the_cell(lab):
    ran = lab.run(f"%%dataflow_run nothing\n{BLOCK}")

    assert "no job is named 'nothing'" in str(ran.error)
    assert ran.shown == []


def test_a_wait_blocks_until_all_runs_end_and_shows_the_card_once(lab):
    ran = lab.run(f"%%dataflow_run daily_sales --wait\n{BLOCK}")

    assert ran.value.is_completed
    assert len({shown.display_id for shown in ran.shown}) == 1
    assert {shown.thread for shown in ran.shown} == {"MainThread"}
    assert ran.shown[-1].text.startswith("COMPLETED")


def test_a_failed_sweep_fails_the_cell_in_one_line_and_is_bound(lab):
    ran = lab.run(f"%%dataflow_run broken --wait -o sweep\n{BLOCK}")

    assert isinstance(ran.error, SweepFailed)
    assert str(ran.error).startswith("2 of 2 runs of broken did not complete (2 FAILED); run ")
    assert lab.shell.user_ns["sweep"].counts == {"FAILED": 2}


def test_a_wait_times_out_and_the_runs_continue(lab):
    ran = lab.run(f"%%dataflow_run slow --wait-timeout 0.002\n{BLOCK}")

    assert isinstance(ran.error, WaitTimeout)
    assert "runs of slow are still active after" in str(ran.error)


def test_an_interrupt_ends_only_the_wait(scene, lab):
    def interrupt() -> None:
        eventually(
            lambda: lab.shown and len(scene.service.starts) == 2, "the card is there, both were started"
        )
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    ran = lab.run(f"%%dataflow_run slow --wait -o sweep\n{BLOCK}")

    key = lab.shell.user_ns["sweep"].key
    assert str(ran.error) == (
        f"stopped waiting; the sweep continues: %dataflow_wait {key} waits again, %dataflow_status {key} shows it, "
        f"%dataflow_cancel {key} cancels it"
    )
    scene.service.finish.set()
    assert len(lab.shell.user_ns["sweep"].result(60)) == 2
    eventually(lambda: lab.shown[-1].text.startswith("COMPLETED"), "the card is painted on")


def test_a_headless_cell_waits_by_default(headless):
    ran = headless.run(f"%%dataflow_run daily_sales\n{BLOCK}")

    assert ran.value.is_completed
    assert set(ran.shown[-1].data) == {"text/html", "text/plain"}


def test_a_headless_cell_with_no_wait_sends_all_requests_before_it_ends(scene, headless):
    ran = headless.run("%%dataflow_run slow --no-wait\nmonth = each(range(9))\n")

    assert len(scene.service.starts) == 9
    assert not ran.value.is_sending


def test_a_semicolon_mutes(lab):
    ran = lab.run("%%dataflow_run daily_sales --wait -o sweep\nmonth = each(1, 7);\n")

    assert (ran.error, ran.value, ran.out, ran.shown) == (None, None, "", [])
    assert lab.shell.user_ns["sweep"].is_completed


def test_a_dry_run_shows_the_first_request_and_how_many_there_are(scene, lab):
    ran = lab.run(f"%%dataflow_run daily_sales --dry-run\n{BLOCK}")

    assert ran.out.splitlines()[:2] == [
        "Note: the sweep starts 2 runs, each with the job's workers until its timeout",
        "# the first of 2 requests of a sweep",
    ]
    assert '"$month": "1"' in ran.out
    assert '"$month": "7"' not in ran.out
    assert scene.service.sent == []


def test_a_terminal_prints_each_change_while_it_waits_and_the_failed_runs_at_the_end(terminal):
    ran = terminal.run(f"%%dataflow_run broken --wait\n{BLOCK}")

    first, *_ = ran.out.splitlines()
    assert re.match(r"RUNNING  broken  \d of 2 runs over", first)
    last = ran.out[ran.out.index("FAILED  broken  2 of 2 runs over") :]
    assert re.search(
        r"^  FAILED  month=1  \w{12}  ValueError: no such table: test.sales$", last, re.MULTILINE
    )
    assert re.search(
        r"^  FAILED  month=7  \w{12}  ValueError: no such table: test.sales$", last, re.MULTILINE
    )
    assert ran.shown == []


def test_a_terminal_without_a_wait_prints_the_state_once(scene, terminal):
    ran = terminal.run(f"%%dataflow_run slow -o sweep\n{BLOCK}")
    assert "of 2 runs over" in ran.out
    scene.service.finish.set()
    sweep = terminal.shell.user_ns["sweep"]

    assert terminal.run("sweep.wait(60)").out == ""
    assert "COMPLETED  slow  2 of 2 runs over" in terminal.run("sweep").out
    assert repr(sweep) == f"<Sweep {sweep.key} of 2 runs of slow: 2 COMPLETED>"


def test_again_refuses_a_block_with_a_sweep(lab):
    lab.run("%dataflow_run daily_sales --wait")
    ran = lab.run("%%dataflow_run --again @last\nmonth = each(1, 2)\n")

    assert "unchanged; remove the block" in str(ran.error)


def test_the_runs_of_a_sweep_are_in_the_table_of_runs(lab):
    lab.run(f"%%dataflow_run daily_sales --wait\n{BLOCK}")

    frame = lab.run("%dataflow_runs").value
    assert list(frame["param.month"]) == ["7", "1"]


def test_the_button_of_the_card_cancels_all_runs_and_is_enabled_again_on_an_error(scene, lab, caplog):
    buttons: list[Button] = []
    Widget.on_widget_constructed(
        lambda widget: buttons.append(widget) if isinstance(widget, Button) else None
    )
    try:
        ran = lab.run(f"%%dataflow_run slow\n{BLOCK}")
        ran.value.wait_sent()
        eventually(lambda: any(each.description == "Cancel all" for each in buttons), "it is offered")
        cancel, confirm = (
            next(each for each in buttons if each.description == label)
            for label in ("Cancel all", "Yes, cancel")
        )
        eventually(lambda: not cancel.disabled, "there is something to cancel")
        (confirm,) = [each for each in buttons if each.description == "Yes, cancel"]
        scene.service.is_down = True
        cancel.click()
        confirm.click()
        eventually(lambda: "could not be canceled" in caplog.text, "the service did not take it")
        eventually(lambda: cancel.description == "Cancel all", "it can be tried again")
        scene.service.is_down = False
        cancel.click()
        confirm.click()
        ran.value.wait(60)
    finally:
        Widget.on_widget_constructed(None)

    assert ran.value.counts == {"CANCELED": 2}
    shown = "CANCELED  slow  2 of 2 runs over"
    eventually(lambda: lab.shown[-1].text.startswith(shown), "the output is replaced")


def test_a_sweep_with_a_wait_is_shown_once_more_per_display(lab):
    lab.run(f"%%dataflow_run daily_sales --wait -o sweep\n{BLOCK}")

    assert len(lab.run("sweep").displays) == 1
    assert len(lab.run("display(sweep, sweep)").displays) == 2


def test_a_wait_that_times_out_leaves_a_live_card(scene, lab):
    lab.run(f"%%dataflow_run slow --wait-timeout 0.002 -o sweep\n{BLOCK}")
    scene.service.finish.set()
    lab.shell.user_ns["sweep"].wait(60)

    eventually(lambda: lab.shown[-1].text.startswith("COMPLETED"), "the output is replaced in the background")
    assert lab.shown[-1].thread == "dataflow-magic"


def test_a_terminal_that_waited_prints_the_value_as_its_repr(terminal):
    ran = terminal.run(f"%%dataflow_run daily_sales --wait\n{BLOCK}")

    assert ran.out.endswith(f"Out[1]: <Sweep {ran.value.key} of 2 runs of daily_sales: 2 COMPLETED>\n")
    assert ran.out.count("COMPLETED  daily_sales  2 of 2 runs over") == 1


def test_secrets_of_a_sweep_are_sent_and_shown_nowhere(scene, lab):
    lab.run("given = ['first-hidden-4f1d', 'second-hidden-77ab']")
    ran = lab.run(
        "%%dataflow_run broken -o sweep\ntoken = each(secret(given[0]), secret(given[1]))\nday = each(1, 2)\n"
    )
    ran.value.wait(60)
    eventually(lambda: lab.shown[-1].text.startswith("FAILED  broken"), "the output is replaced")
    table = lab.run("sweep.frame().to_string()").value

    assert sorted(sent.body["parameters"]["$token"] for sent in scene.service.starts) == [
        "first-hidden-4f1d",
        "first-hidden-4f1d",
        "second-hidden-77ab",
        "second-hidden-77ab",
    ]
    shown = " ".join([str(dict(each.data)) for each in lab.shown] + [table, repr(ran.value), ran.out])
    assert "-hidden-" not in shown
    assert shown.count("token=••••••") >= 4


def test_an_error_in_a_sweep_of_secrets_shows_none(lab):
    lab.run("given = ['first-hidden-4f1d', 'second-hidden-77ab']")
    ran = lab.run(
        "%%dataflow_run broken\ntoken = each(secret(given[0]), secret(given[1]))\nday = 1 / len(token)\n"
    )

    assert ran.error is not None
    assert "-hidden-" not in str(ran.error)
