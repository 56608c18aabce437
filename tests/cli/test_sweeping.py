"""``dataflow-magic sweep``, with the real client against the local service with scripted runs."""

import json
import re

import pytest

from dataflow_magic.cell.backfill import listed
from dataflow_magic.errors import CellError
from dataflow_magic.local.run import Outcome
from dataflow_magic.session.session import Session
from dataflow_magic.session.sweep.handle import Sweep
from dataflow_magic.session.watch import Pace
from tests.cli.test_commands import call
from tests.helpers import ACCESS_KEY, SECRET_KEY, Scene, at_a_port, eventually
from tests.session.test_backfill import runs_of


@pytest.fixture
def scene(tmp_path):
    with Scene(tmp_path) as scene:
        yield scene


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("2026-11-29..2026-12-01", ["2026-11-29", "2026-11-30", "2026-12-01"]),
        ("9..11", ["9", "10", "11"]),
        ("-1..1", ["-1", "0", "1"]),
        ("seoul,tokyo", ["seoul", "tokyo"]),
        ("seoul", ["seoul"]),
        (r"a\,b,c", ["a,b", "c"]),
        ("../up", ["../up"]),
        ("v1..v2", ["v1..v2"]),
        ("", [""]),
    ],
)
def test_a_word_gives_days_numbers_or_values_between_commas(text, values):
    assert listed(text) == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3..1", "the range 3..1 ends before it begins"),
        ("2026-11-30..2026-11-01", "the range 2026-11-30..2026-11-01 ends before it begins"),
        ("1..1001", "the range 1..1001 has 1,001 values, and a sweep has at most 1,000 runs"),
    ],
)
def test_a_range_of_none_or_too_many_is_refused(text, said):
    with pytest.raises(CellError) as caught:
        listed(text)
    assert str(caught.value) == said


def days(scene) -> list[str]:
    return [sent.body["parameters"]["$day"] for sent in scene.service.starts]


def test_a_sweep_starts_a_run_per_combination_and_its_key_is_all_of_standard_output(scene):
    said = call(
        scene,
        "sweep",
        "daily_sales",
        "day=2026-11-01..2026-11-03",
        "table=t",
        "--max-parallel",
        "2",
        "--wait",
    )

    (sweep,) = scene.session.handles
    assert (said.code, said.out) == (0, f"{sweep.key}\n")
    assert days(scene) == ["2026-11-01", "2026-11-02", "2026-11-03"]
    assert {sent.body["parameters"]["$table"] for sent in scene.service.starts} == {"t"}
    assert "3 COMPLETED" in said.err


def test_a_sweep_without_a_wait_ends_once_all_runs_are_started(scene):
    said = call(scene, "sweep", "slow", "day=1..4")

    assert (said.code, len(days(scene))) == (0, 4)
    scene.service.finish.set()


def test_a_failed_run_is_the_exit_code(scene):
    scene.service.outcome_of = lambda given: Outcome("FAILED" if given["$day"] == "2" else "COMPLETED")

    assert call(scene, "sweep", "daily_sales", "day=1..3", "--wait").code == 1
    stopped = call(
        scene, "sweep", "daily_sales", "day=2..9", "--wait", "--max-parallel", "1", "--stop-on-failure"
    )
    assert stopped.code == 1
    assert "a run has failed, and the sweep stops there" in stopped.err


def test_the_same_command_continues_what_was_not_started(scene):
    words = ("sweep", "slow", "day=1..4", "--max-parallel", "1")
    first = call(scene, *words, "--wait", "--wait-timeout", "0.005")
    assert first.code == 124
    assert "the same command continues" in first.err
    (sweep,) = scene.session.handles
    sweep.pause()
    before = days(scene)

    scene.service.finish.set()
    again = call(scene, *words, "--wait")
    assert (again.code, again.out) == (0, first.out)
    assert f"sweep {sweep.key} continues: " in again.err
    assert before == days(scene)[: len(before)]
    assert days(scene) == ["1", "2", "3", "4"]


def test_a_dry_run_prints_the_plan_and_sends_nothing(scene):
    call(scene, "sweep", "daily_sales", "day=1,2", "--wait")
    before = len(days(scene))
    said = call(scene, "sweep", "daily_sales", "day=1..3", "--reprocess", "none", "--dry-run")

    lines = [line.split() for line in said.out.splitlines()]
    assert lines[0] == ["day", "action", "why"]
    assert [line[:2] for line in lines[1:]] == [["1", "skip"], ["2", "skip"], ["3", "start"]]
    assert "the sweep starts 1 run, at most 720 worker-minutes (1 run x 2 workers x 360 min)" in said.err
    assert len(days(scene)) == before


def test_a_dry_run_counts_the_retries(scene):
    call(scene, "sweep", "daily_sales", "day=1,2", "--wait")
    said = call(scene, "sweep", "daily_sales", "day=1..3", "--reprocess", "none", "--retry", "2", "--dry-run")

    assert "at most 2,160 worker-minutes (1 run x 3 tries x 2 workers x 360 min)" in said.err


def test_the_sweeps_of_this_machine_are_listed(scene):
    assert call(scene, "sweeps").out == "no sweeps\n"
    call(scene, "sweep", "daily_sales", "day=1..3", "--wait")
    call(scene, "sweep", "slow", "day=1..4", "--max-parallel", "2", "--wait", "--wait-timeout", "0.005")
    newest, oldest = reversed(scene.session.handles)
    assert isinstance(newest, Sweep)
    eventually(lambda: newest.counts == {"RUNNING": 2, "UNSENT": 2}, "two are started")

    lines = [line.split() for line in call(scene, "sweeps").out.splitlines()]
    assert [line[:9] for line in lines[1:]] == [
        [newest.key, "RUNNING", "slow", "4", "0", "0", "2", "2", "2"],
        [oldest.key, "COMPLETED", "daily_sales", "3", "3", "0", "0", "0", line_of_today(lines[2])],
    ]
    shapes = json.loads(call(scene, "sweeps", "--json").out)
    assert [(each["sweep"], each["max_parallel"], each["driver"]) for each in shapes] == [
        (newest.key, 2, "this kernel"),
        (oldest.key, None, None),
    ]


def line_of_today(line: list[str]) -> str:
    """Return the time of day, which stands where a limit would."""
    assert re.fullmatch(r"[0-9:]{8}", line[8])
    return line[8]


def test_a_sweep_is_shown_and_canceled_by_its_key_and_not_continued_by_that(scene):
    said = call(
        scene, "sweep", "slow", "day=1..4", "--max-parallel", "1", "--wait", "--wait-timeout", "0.005"
    )
    key = said.out.strip()
    scene.session.close()
    scene.session = scene.new_session()

    shown = call(scene, "status", key)
    assert (
        "3 not sent: its kernel has ended; the same dataflow-magic sweep command starts the rest" in shown.err
    )
    assert (
        call(scene, "logs", key).err == f"dataflow-magic: {key} is a sweep of 4 runs; name one of its runs\n"
    )
    canceled = call(scene, "cancel", key)
    assert (canceled.code, canceled.out) == (0, f"cancel requested for sweep {key} of slow\n")
    assert call(scene, "wait", key).code == 1
    assert days(scene) == ["1"]
    assert json.loads(call(scene, "sweeps", "--json").out)[0]["state"] == "STOPPED"


def process(scene: Scene) -> Session:
    """Return the session of another process, which reaches the service at its port."""
    return Session(
        scene.environment, scene.configure_file, scene._attach, pace=Pace(0.01, 0.01), sleep=scene._look
    )


def test_the_same_command_follows_a_sweep_that_another_process_drives(scene):
    words = ("sweep", "slow", "day=1..3", "--max-parallel", "1")
    with at_a_port(scene.service) as address:
        scene.environment |= {
            "DATAFLOW_TARGET": address,
            "DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY,
            "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY,
        }
        scene.session.close()
        driver = scene.session = process(scene)
        first = call(scene, *words, "--wait", "--wait-timeout", "0.005")
        scene.session = process(scene)
        try:
            again = call(scene, *words, "--wait-timeout", "0.005")
            assert again.out == first.out
            assert "is driven by another process, which this one follows" in again.err
            assert len(scene.session.sweeps()) == 1
            scene.service.finish.set()
            assert call(scene, *words, "--wait").code == 0
        finally:
            scene.session.close()
            driver.close()
    assert sorted(run.parameters["$day"] for run in runs_of(scene.service)) == ["1", "2", "3"]


def test_json_has_the_key_the_counts_and_the_runs(scene):
    said = call(scene, "sweep", "daily_sales", "day=1,2", "--wait", "--json")

    shape = json.loads(said.out)
    assert shape["counts"] == {"COMPLETED": 2}
    assert [run["parameters"] for run in shape["runs"]] == [{"day": "1"}, {"day": "2"}]
    assert (shape["job"], shape["error"]) == ("daily_sales", None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["day=1"], "no parameter has several values; write day=2026-11-01..2026-11-30, n=1..12 or region=seoul,tokyo, or use dataflow-magic run"),
        (["day=1..2", "--again", "@last"], "--again is for a run; the same command continues a sweep"),
        (["day=1..200"], "the sweep starts 200 runs, each with the job's workers until its timeout; --dry-run lists them, --yes starts them"),
    ],
)  # fmt: skip
def test_a_sweep_that_is_none_or_too_large_is_refused(scene, words, said):
    refused = call(scene, "sweep", "daily_sales", *words)

    assert (refused.code, refused.out) == (2, "")
    assert refused.err == f"dataflow-magic: {said}\n"
    assert days(scene) == []
