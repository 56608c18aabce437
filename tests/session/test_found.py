"""Runs of lost responses that were found by their parameters: labelled, and canceled only by who is sure."""

import pytest

from dataflow_magic.errors import CellError, ServiceError
from dataflow_magic.models.view import FoundBy
from dataflow_magic.session.run import LiveRun
from tests.helpers import Scene, eventually, notebook_with_magics


def found(scene: Scene, found_by: FoundBy = "parameters") -> LiveRun:
    """Return a live run as one that was found for a lost start."""
    run = scene.start("slow")
    run.set_card_fields(found_by=found_by)
    return run


def cancels(scene: Scene) -> int:
    return sum(sent.path.endswith("/cancel") for sent in scene.service.sent)


def question(run: LiveRun) -> str:
    return (
        f"run {run.run_id} of slow was found by its parameters and may be an identical run of another user; if it is yours, "
        f"%dataflow_cancel {run.run_id} --yes or cancel(sure=True) ends it"
    )


def test_such_a_run_says_so_in_its_repr_its_row_and_its_card(scene):
    run = found(scene)
    eventually(lambda: run.status == "RUNNING", "it is followed")

    assert repr(run) == f"<Run {run.run_id} of slow on local: RUNNING, found by its parameters>"
    assert scene.session.records()[0].found_by == "parameters"
    assert run.card_state().found == "found by its parameters"
    assert "found by" not in repr(scene.start("mute"))


def test_the_status_of_such_a_run_says_so_in_a_terminal_and_in_the_table(scene, terminal):
    run = found(scene)

    assert "\n  found by its parameters" in terminal.run(f"%dataflow_status {run.key}").out
    assert list(terminal.run("%dataflow_runs --all").value["found_by"]) == ["parameters"]


def test_a_cancel_by_someone_unsure_is_refused_in_one_line_and_sends_nothing(scene):
    run = found(scene)

    with pytest.raises(CellError) as refused:
        run.cancel()

    assert str(refused.value) == question(run)
    assert cancels(scene) == 0
    run.cancel(sure=True)
    eventually(lambda: run.status == "CANCELED", "canceled")


def test_the_magic_asks_for_yes(scene, terminal):
    run = found(scene)
    refused = terminal.run(f"%dataflow_cancel {run.key}")

    assert str(refused.error) == question(run)
    assert cancels(scene) == 0
    assert (
        terminal.run(f"%dataflow_cancel {run.key} --yes").out
        == f"cancel requested for run {run.run_id} of slow\n"
    )
    eventually(lambda: run.status == "CANCELED", "canceled")


@pytest.mark.parametrize("found_by", ["", "marker", "user"])
def test_a_run_that_is_certainly_ours_is_canceled_without_a_question(scene, found_by):
    run = found(scene, found_by)
    run.cancel()

    eventually(lambda: run.status == "CANCELED", "canceled")


def test_the_button_of_the_card_sends_the_cancel_that_its_question_named(scene):
    run = found(scene)
    with notebook_with_magics(scene, stdin=True) as notebook:
        notebook.run(f"%dataflow_status {run.key}")
        run._shown().presenter._actions.cancel()
        eventually(lambda: run.status == "CANCELED", "canceled")


def test_the_cancel_of_a_sweep_spares_such_a_run_unless_its_caller_is_sure(terminal):
    sweep = terminal.run("%%dataflow_run slow\nday = each(1, 2)").value
    sweep.wait_sent()
    eventually(lambda: sweep.counts == {"RUNNING": 2}, "both run")
    first, second = sweep.runs
    first._live.set_card_fields(found_by="parameters")

    with pytest.raises(ServiceError) as refused:
        sweep.cancel()

    assert str(refused.value) == f"1 of the runs could not be canceled: {question(first._live)}"
    eventually(lambda: second.status == "CANCELED", "the other one is canceled")
    assert first.status == "RUNNING"
    sweep.cancel(sure=True)
    eventually(lambda: first.status == "CANCELED", "canceled")
