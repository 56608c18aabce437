"""Where a run's key is sent, from the setting to the service's answer and the ledger."""

import json
import re
from dataclasses import replace

import pytest

from dataflow_magic.client import Client
from dataflow_magic.errors import CellError
from dataflow_magic.models.marker import carries_marker, marked, marker_of
from dataflow_magic.models.request import JobRef, RunRequest
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import JobExecution
from dataflow_magic.session.run import LiveRun
from tests.helpers import Scene, eventually

CONDITION = {"nrn": "nrn:1", "script_path": "bucket/s/", "log_path": "bucket/own/"}


def log_paths(scene: Scene) -> list[str]:
    return [sent.body["jobCondition"]["logPath"] for sent in scene.service.starts]


def named(run: LiveRun) -> JobExecution:
    """The run as the service lists it."""
    execution = run.view.execution
    assert execution is not None
    return execution


def test_without_the_setting_nothing_is_added(scene, terminal):
    terminal.run("%%dataflow_run slow\nday = 1")

    assert log_paths(scene) == ["bucket/logs/"]
    assert scene.service.starts[0].body["parameters"] == {"$day": "1"}


def test_the_marker_log_path_is_laid_over_the_log_path_of_the_job_or_the_line(scene, terminal):
    terminal.run("%dataflow_run slow --marker log-path")
    terminal.run("%dataflow_run slow --marker log-path --log-path bucket/own")

    runs = scene.session.runs
    assert log_paths(scene) == [
        f"bucket/logs/dataflow-run-{runs[0].key}/",
        f"bucket/own/dataflow-run-{runs[1].key}/",
    ]
    assert [run.condition.log_path for run in runs] == log_paths(scene)
    assert all(carries_marker(run.view, named(run)) for run in runs)


def test_the_marker_parameter_is_sent_beside_the_block(scene, terminal):
    terminal.run("%%dataflow_run slow --marker parameter\nday = 1")

    (run,) = scene.session.runs
    sent = {"$day": "1", "$dataflow_run": f"dataflow-run-{run.key}"}
    assert scene.service.starts[0].body["parameters"] == sent == dict(run.parameters)
    assert log_paths(scene) == ["bucket/logs/"]
    eventually(lambda: carries_marker(run.view, named(run)), "the service lists the parameters")
    assert scene.session.parameter_names("slow") == ["day"], "the Tab key does not offer it"


def test_each_run_of_a_sweep_has_its_own_marker(scene, terminal):
    terminal.run("%%dataflow_run slow --marker log-path\nday = each(1, 2, 3)").value.wait_sent()

    keys = {run.key for run in scene.session.runs}
    assert len(keys) == 3
    assert set(log_paths(scene)) == {f"bucket/logs/{marker_of(key)}/" for key in keys}


@pytest.mark.parametrize("word", ["log-path", "parameter"])
def test_a_run_that_is_started_again_carries_a_new_marker_and_not_the_old_one(scene, terminal, word):
    first = terminal.run(f"%dataflow_run daily_sales --wait --marker {word}").value
    again = terminal.run(f"%dataflow_run --again {first.key} --wait").value

    assert again.key != first.key
    assert marker_of(again.key) in json.dumps(scene.service.starts[1].body)
    assert first.key not in json.dumps(scene.service.starts[1].body)
    assert again._live.view.request == first._live.view.request


@pytest.mark.parametrize("word", ["log-path", "parameter"])
def test_a_run_of_another_machine_is_started_again_with_a_marker_of_this_one(scene, word):
    theirs = scene.start("slow", {"day": 1}, marker=word)
    scene.session.close()
    (scene.folder / "home" / "ledger.sqlite3").unlink()
    scene.session = scene.new_session()
    eventually(
        lambda: scene.session.executions(JobRef("slow"), scene.local())[0].parameters, "they are listed"
    )
    attached = scene.session.attach(theirs.run_id, scene.local())

    again = scene.session.start_again(theirs.run_id)

    assert attached.key == ""
    assert (again.view.request.marker, again.view.request.condition.log_path) == (word, "bucket/logs/")
    assert again.view.request.parameters == {"$day": "1"}
    sent = json.dumps(scene.service.starts[1].body)
    assert marker_of(again.key) in sent
    assert theirs.key not in sent


def test_another_kernel_knows_what_was_sent(scene):
    run = scene.start("slow", {"day": 1}, marker="log-path")
    scene.session.close()
    scene.session = scene.new_session()

    revived = scene.session.find(run.key)

    assert revived.view.sent == run.view.sent
    assert revived.condition.log_path == log_paths(scene)[0]


@pytest.mark.parametrize("path", ["", " ", "/", "s3a://"])
def test_a_start_whose_log_path_holds_no_folder_is_refused_by_name(scene, path):
    with pytest.raises(CellError, match=r"^the marker log-path is a folder of the log path, and neither "):
        scene.start(
            scene.service.job_id("slow"), **(CONDITION | {"log_path": path}), marker="log-path", force=True
        )

    assert scene.service.starts == []
    assert scene.session.records() == []


@pytest.mark.parametrize(
    "cell",
    [
        "%%dataflow_run slow --marker parameter\ndataflow_run = 1",
        '%%dataflow_run slow --marker parameter\n{"dataflow_run": "1"}',
        "%%dataflow_run slow --marker parameter\ndataflow_run = each(1, 2)",
        "%%dataflow_run slow --marker parameter --dry-run\ndataflow_run = 1",
    ],
)
def test_a_parameter_with_the_name_of_the_marker_starts_nothing(scene, terminal, cell):
    ran = terminal.run(cell)

    assert re.search(
        r"the parameter \$?dataflow_run is the name of the marker; rename the parameter, or choose "
        r"--marker log-path$",
        str(ran.error),
    )
    assert scene.service.starts == []
    assert scene.session.runs == []


# The setting


def test_the_setting_holds_for_jobs_and_targets_and_the_line_overrides_it(scene, terminal):
    scene.environment["DATAFLOW_MARKER"] = "@local=log-path, daily_sales=parameter"

    for line in ("slow", "daily_sales", "slow --marker off", "name:daily_sales --marker log-path"):
        terminal.run(f"%dataflow_run {line}")

    markers = [run.view.request.marker for run in scene.session.runs]
    assert markers == ["log-path", "parameter", "off", "log-path"]


def test_config_overrides_the_environment_whole(scene, terminal):
    scene.environment["DATAFLOW_MARKER"] = "log-path"
    terminal.run("%config DataflowMagic.marker = 'daily_sales=parameter'")

    terminal.run("%dataflow_run slow")
    terminal.run("%dataflow_run daily_sales")

    assert [run.view.request.marker for run in scene.session.runs] == ["off", "parameter"]


def test_the_run_of_a_new_script_has_the_marker_of_its_job_as_the_cell_names_it(scene, terminal):
    scene.environment["DATAFLOW_MARKER"] = "fresh=log-path"
    terminal.run("%%dataflow_script fresh --run\nprint(1)")
    terminal.run("%%dataflow_script other --run\nprint(1)")

    assert [run.view.request.marker for run in scene.session.runs] == ["log-path", "off"]


def test_a_wrong_setting_writes_no_script(scene, terminal):
    scene.environment["DATAFLOW_MARKER"] = "on"
    ran = terminal.run("%%dataflow_script fresh --run\nprint(1)")

    assert str(ran.error) == "DATAFLOW_MARKER says 'on', which is none of off, log-path, parameter"
    assert scene.service.sent == []


@pytest.mark.parametrize("line", ["slow", "slow --marker off", "slow --dry-run"])
def test_a_wrong_variable_starts_nothing(scene, terminal, line):
    scene.environment["DATAFLOW_MARKER"] = "@cloud=log_path"
    ran = terminal.run(f"%dataflow_run {line}")

    assert str(ran.error) == "DATAFLOW_MARKER says 'log_path', which is none of off, log-path, parameter"
    assert scene.service.starts == []


def test_a_wrong_word_on_the_line_starts_nothing(scene, terminal):
    ran = terminal.run("%dataflow_run slow --marker logpath")

    assert "argument --marker: 'logpath' is none of off, log-path, parameter" in str(ran.error)
    assert scene.service.starts == []


def test_a_wrong_word_of_config_is_one_line_and_changes_nothing(terminal, caplog):
    terminal.run("%config DataflowMagic.marker = 'logpath'")

    assert terminal.run("%config DataflowMagic.marker").value == ""
    assert (
        "DataflowMagic.marker: %config says 'logpath', which is none of off, log-path, parameter"
        in caplog.text
    )
    assert len(caplog.text.splitlines()) == 1


def test_again_sends_the_marker_of_that_run_whatever_the_setting_says(scene, terminal):
    first = terminal.run("%dataflow_run daily_sales --wait --marker off").value
    scene.environment["DATAFLOW_MARKER"] = "log-path"

    assert terminal.run(f"%dataflow_run --again {first.key}").value._live.view.request.marker == "off"
    assert "--again sends the request of that run unchanged; remove --marker" in str(
        terminal.run(f"%dataflow_run --again {first.key} --marker parameter").error
    )


# A lost response


@pytest.mark.parametrize("word", ["log-path", "parameter"])
def test_the_run_of_a_lost_response_is_found_by_its_marker_and_needs_no_question(scene, word):
    scene.service.lost_answers = 1
    run = scene.start("slow", {"day": 1}, marker=word)
    eventually(lambda: run.run_id, "it is found")

    assert run.view.found_by == "marker"
    assert "found by" not in repr(run)
    run.cancel()
    eventually(lambda: run.status == "CANCELED", "canceled")
    assert scene.session.records()[0].found_by == "marker"


def start_elsewhere(scene: Scene, view: RunView, request: RunRequest) -> None:
    async def start(client: Client) -> None:
        await client.execute_job(view.job_id, request.condition, request.parameters)

    scene.session.ask(scene.local(), start)


@pytest.mark.parametrize(("word", "settled"), [("log-path", "NOT_STARTED"), ("parameter", "UNCLEAR")])
def test_with_a_marker_nobody_elses_identical_run_is_adopted(scene, word, settled):
    """The request was lost, and a colleague starts the same: with another marker, and without one.

    Each snapshot has a log path. Of parameters, a service may show some alone, so a run without the marker stays possible.
    """
    scene.may_look.clear()
    scene.service.lost_requests = 1
    lost = scene.start("slow", {"day": 1}, marker=word)
    for number, marker in enumerate(("off", "log-path", "parameter")):
        # As a colleague on another machine sends it: this one's ledger does not have it.
        start_elsewhere(
            scene, lost.view, marked(replace(lost.view.request, marker=marker), f"theirs{number}")
        )
    scene.may_look.set()
    eventually(lambda: lost.is_over, "it is settled")

    assert (lost.status, lost.run_id) == (settled, None)
