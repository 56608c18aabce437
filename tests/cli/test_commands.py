"""The commands for runs and jobs, with the real client against the local service with scripted runs."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dataflow_magic.cli.commands import execute
from dataflow_magic.cli.terminal import Terminal, as_commands
from tests.helpers import (
    CONDITION,
    FAILED_LOG,
    Scene,
    eventually,
    notebook_with_magics,
)
from tests.reasons.stages.test_fold import skewed

COMMAND = Path(sys.executable).with_name("dataflow-magic")
PATIENCE = 60.0


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


class Tty(io.StringIO):
    """A terminal with a cursor."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path) as scene:
        yield scene


def call(scene: Scene, *words: str, err: io.StringIO | None = None, **environment: str) -> Said:
    out, err = io.StringIO(), err or io.StringIO()
    settings = {"TERM": "xterm", **scene.environment, **environment}
    code = execute(words[0], words[1:], lambda: scene.session, environment=settings, out=out, err=err)
    return Said(code, out.getvalue(), err.getvalue())


# Starting


def test_a_run_is_started_as_asked_and_its_id_is_all_of_standard_output(scene):
    said = call(scene, "run", "slow", "day=2026-11-01", "-w", "4", "$empty=", "--timeout", "45", "sum=a=b c")

    run = scene.session.runs[0]
    assert said == Said(
        0,
        f"{run.run_id}\n",
        "No credentials found: runs go to the local service on this machine.\n"
        f"run {run.run_id} of slow started on local; dataflow-magic wait {run.run_id} waits for it\n",
    )
    assert scene.service.starts[0].body == {
        "jobCondition": {**CONDITION, "numWorker": 4, "timeout": 45},
        "parameters": {"$day": "2026-11-01", "$empty": "", "$sum": "a=b c"},
    }


@pytest.mark.parametrize(
    ("job", "code", "line", "said"),
    [
        ("daily_sales", 0, "COMPLETED  daily_sales  run {id}", ""),
        ("broken", 1, "FAILED  broken  run {id}", "  ValueError: no such table: test.sales\n"),
        ("mute", 1, "FAILED  mute  run {id}", "  no Java was found\n"),
    ],
)
def test_a_wait_ends_with_the_state_and_the_reason_and_its_exit_code(scene, job, code, line, said):
    ended = call(scene, "run", job, "--wait", "--target", "local")

    assert (ended.code, ended.out) == (code, f"{scene.session.runs[0].run_id}\n")
    assert line.format(id=scene.session.runs[0].run_id) in ended.err
    assert said in ended.err


def test_the_setting_makes_every_start_wait_unless_the_line_says_no(scene):
    assert "COMPLETED" in call(scene, "run", "daily_sales", DATAFLOW_WAIT="yes").err
    assert "started on local" in call(scene, "run", "slow", "--no-wait", DATAFLOW_WAIT="yes").err


def test_json_is_one_line_of_a_documented_shape_and_nothing_else(scene):
    said = call(scene, "run", "broken", "day=1", "--wait", "--json")

    shape = json.loads(said.out)
    run = scene.session.runs[0]
    assert (said.code, said.err, said.out.count("\n")) == (1, "", 1)
    assert {name: shape.pop(name) for name in ("submitted", "running", "ended", "waited", "ran", "total")}
    assert shape == {
        "id": run.run_id,
        "key": run.key,
        "job": "broken",
        "job_id": scene.service.job_id("broken"),
        "target": "local",
        "status": "FAILED",
        "is_done": True,
        "parameters": {"day": "1"},
        "workers": 2,
        "timeout_minutes": 360,
        "reason": "ValueError: no such table: test.sales",
        "error_class": "ValueError",
        "own_line": {
            "file": "broken.py",
            "line": 3,
            "function": "",
            "source": 'raise ValueError("no such table: test.sales")',
        },
        "advice": None,
        "notebook": None,
    }


def test_a_dry_run_shows_the_request_and_sends_nothing(scene):
    said = call(scene, "run", "daily_sales", "day=1", "--dry-run")

    assert said.code == 0
    assert "curl" in said.out
    assert scene.service.sent == []


def test_an_earlier_run_is_started_again(scene):
    call(scene, "run", "slow", "day=1")
    said = call(scene, "run", "--again", "@last")

    assert said.code == 0
    assert [sent.body["parameters"] for sent in scene.service.starts] == [{"$day": "1"}] * 2
    assert call(scene, "run", "slow", "--again", "@last") == Said(
        2, "", "dataflow-magic: --again sends the request of that run unchanged; remove JOB\n"
    )


# Usage


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run", "no job is given; write dataflow-magic run JOB with the name or id of a job"),
        ("run slow other", "unexpected word 'other'; write dataflow-magic run JOB [NAME=VALUE ...] [options]"),
        ("run slow --worker 3", "unknown option '--worker'; did you mean '--workers'?; see dataflow-magic run --help"),
        ("run slow -w 99", "99 workers: the number is outside 2-10; --force (force=True) sends it anyway"),
        ("run slow a=1 a=2", "the parameter a is given twice"),
        ("run slow a=@none", "the parameter a: 'none' cannot be read (No such file or directory); a=@@none sends '@none' itself"),
        ("run slow --wait --no-wait", "--wait and --no-wait contradict each other; keep one; see dataflow-magic run --help"),
        ("status zzz", "no run 'zzz' was started here; dataflow-magic runs --all lists them"),
        ("status --json", "--json is for a run; name one, or @last"),
        ("cancel", "the following arguments are required: RUN; see dataflow-magic cancel --help"),
        ("logs @last", "no run was started on this machine yet"),
        ("completion tcsh", "argument SHELL: invalid choice: 'tcsh'"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_with_code_2_and_starts_nothing(scene, line, said):
    done = call(scene, *line.split())

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"dataflow-magic: {said}")
    assert done.err.count("\n") == 1
    assert scene.service.starts == []


def test_help_is_on_standard_output_with_code_0(scene):
    said = call(scene, "run", "--help")

    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("usage: dataflow-magic run JOB [NAME=VALUE ...] [options]\n")
    assert "--out" not in said.out


@pytest.mark.parametrize(
    "command", ["run", "runs", "status", "logs", "wait", "cancel", "stages", "sweeps", "jobs", "completion"]
)
def test_the_help_of_no_command_names_a_magic_or_a_cell(scene, command):
    assert not re.search(r"%|\bcell|\bkernel", call(scene, command, "--help").out)


def test_a_service_that_refuses_or_is_away_is_code_3(scene):
    missing = call(scene, "run", "daily_sale")
    scene.service.is_down = True
    away = call(scene, "run", "daily_sales", "--target", "local")

    assert missing.code == away.code == 3
    assert missing.err.endswith(
        "no job is named 'daily_sale'; did you mean 'daily_sales'?; dataflow-magic jobs lists them\n"
    )
    assert away.err.startswith("dataflow-magic: ")
    assert scene.service.starts == []


# Secrets


def test_a_value_from_a_file_is_sent_and_never_shown(scene, tmp_path):
    (tmp_path / "token").write_text("t0k3n-from-a-file\n")
    said = call(scene, "run", "slow", f"token=@{tmp_path / 'token'}", "handle=@@mail", "--json")

    shape = json.loads(said.out)
    assert scene.service.starts[0].body["parameters"] == {"$token": "t0k3n-from-a-file", "$handle": "@mail"}
    assert shape["parameters"] == {"token": None, "handle": "@mail"}
    shown = (
        said.out + said.err + "".join(call(scene, *words).out for words in (["runs"], ["status", "@last"]))
    )
    stored = b"".join(path.read_bytes() for path in (scene.folder / "home").rglob("*") if path.is_file())
    assert "t0k3n" not in shown
    assert b"t0k3n" not in stored


# Looking


def test_a_run_of_a_notebook_is_seen_and_canceled_from_a_terminal_and_the_other_way_round(scene):
    with notebook_with_magics(scene) as notebook:
        theirs = notebook.run("%dataflow_run slow").value
        assert call(scene, "status", theirs.id[:6]).out.startswith(f"{theirs.status}  slow  run {theirs.id}")
        assert call(scene, "cancel", "@last").out == f"cancel requested for run {theirs.id} of slow\n"
        assert call(scene, "wait", theirs.key).code == 1

        call(scene, "run", "slow", "day=2")
        scene.session.close()
        scene.session = scene.new_session()
        found = notebook.run("%dataflow_attach @last").value
        assert found.parameters == {"$day": "2"}


def test_runs_are_listed_newest_first_and_the_rest_is_counted(scene):
    for day in range(22):
        scene.start("daily_sales", {"day": day})
    said = call(scene, "runs")

    assert re.findall(r"day=(\d+)", said.out) == [str(day) for day in range(21, 1, -1)]
    assert "\nand 2 more; dataflow-magic runs --limit N" in said.out
    assert len(json.loads(call(scene, "runs", "--all", "--json").out)) == 22
    assert [
        each["parameters"]["day"] for each in json.loads(call(scene, "runs", "--limit", "2", "--json").out)
    ] == ["21", "20"]
    assert (
        call(scene, "runs", "--job", "daily_sale").err
        == "no run of job 'daily_sale'; did you mean 'daily_sales'?\n"
    )
    remote = json.loads(call(scene, "runs", "--remote", "daily_sales", "--json", "--limit", "1").out)
    assert [each["job"] for each in remote] == ["daily_sales"]


def test_jobs_are_listed_and_one_is_shown(scene):
    listed = call(scene, "jobs")
    one = json.loads(call(scene, "jobs", "slow", "--json").out)

    assert [line.split()[0] for line in listed.out.splitlines()][:2] == ["name", "daily_sales"]
    assert one == [
        {
            "id": scene.service.job_id("slow"),
            "name": "slow",
            "type": "SCRIPT",
            "workers": 2,
            "timeout_minutes": 360,
            "script_path": "bucket/scripts/",
            "log_path": "bucket/logs/",
        }
    ]


def test_status_without_a_run_shows_the_target(scene):
    assert "(no credentials found)" in call(scene, "status").out


def test_the_log_is_printed_whole_or_its_end(scene):
    call(scene, "run", "broken", "--wait")

    assert call(scene, "logs", "@last").out == FAILED_LOG
    assert call(scene, "logs", "@last", "--tail", "1").out == "ValueError: no such table: test.sales\n"
    assert call(scene, "logs", "@last", "--tail", "0").out == ""
    both = call(scene, "logs", "@last", "--tail", "1", "--all")
    assert (both.code, both.err) == (2, "dataflow-magic: tail and all contradict each other; keep one\n")


def test_a_log_of_several_megabytes_is_printed_or_saved_whole_on_request(scene, tmp_path):
    call(scene, "run", "slow")
    run = scene.session.runs[0]
    lines = [f"{number:07d} of the lines that the script printed\n" for number in range(100_000)]
    scene.service.write_log(run.run_id, "".join(lines).encode())
    scene.service.finish.set()
    run.wait(PATIENCE)

    end = call(scene, "logs", "@last")
    assert end.err.startswith("earlier bytes of the log that are not shown: ")
    assert end.err.endswith("; --all prints the whole log\n")
    assert "".join(lines).endswith(end.out)
    assert len(end.out) > 262_000
    whole = call(scene, "logs", "@last", "--all")
    assert (whole.out, whole.err) == ("".join(lines), "")
    saved = call(scene, "logs", "@last", "--save", str(tmp_path / "run.log"))
    assert (saved.out, saved.err) == ("", f"the log of run {run.run_id} is in {tmp_path / 'run.log'}\n")
    assert (tmp_path / "run.log").read_text() == "".join(lines)


def test_a_log_is_followed_to_the_end_of_its_run(scene):
    call(scene, "run", "slow")
    run = scene.session.runs[0]
    log = scene.service.folder / "objects" / "bucket" / "logs" / str(run.run_id) / "console.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"one\n\x1b[31mtwo\nhal")
    out = io.StringIO()
    done: list[int] = []

    def follow() -> None:
        settings = {"TERM": "xterm", **scene.environment}
        done.append(
            execute(
                "logs",
                ["@last", "-f"],
                lambda: scene.session,
                environment=settings,
                out=out,
                err=io.StringIO(),
            )
        )

    thread = threading.Thread(target=follow)
    thread.start()
    eventually(lambda: out.getvalue() == "one\ntwo\n", "whole lines are printed")
    log.write_bytes(b"one\n\x1b[31mtwo\nhalf\nend")
    eventually(lambda: out.getvalue() == "one\ntwo\nhalf\n", "new lines are printed")
    scene.service.finish.set()
    thread.join(PATIENCE)

    assert (out.getvalue(), done) == ("one\ntwo\nhalf\nend\n", [0])


def test_a_log_is_searched_and_what_is_not_valid_is_code_2(scene):
    call(scene, "run", "broken", "--wait")

    assert call(scene, "logs", "@last", "--grep", "^Value").out == "ValueError: no such table: test.sales\n"
    nothing = call(scene, "logs", "@last", "--grep", "nothing")
    assert (nothing.code, nothing.out) == (0, "")
    assert nothing.err == f"no line of the log of run {scene.session.runs[0].run_id} matches\n"
    wrong = call(scene, "logs", "nosuchrun", "--grep", "a(b")
    assert wrong.code == 2
    assert "the regular expression 'a(b' is not valid at character 2: missing )" in wrong.err


# Waiting


def test_a_wait_for_several_runs_ends_with_a_row_for_each(scene):
    for job in ("daily_sales", "broken"):
        call(scene, "run", job)
    said = call(scene, "wait", *(run.key for run in scene.session.runs))

    assert said.code == 1
    assert [line.split()[:2] for line in said.out.splitlines()] == [
        ["COMPLETED", "daily_sales"],
        ["FAILED", "broken"],
    ]
    assert call(scene, "wait").err == "No run of this machine is active.\n"


def test_a_wait_that_times_out_is_code_124_and_the_run_continues(scene):
    said = call(scene, "run", "slow", "--wait-timeout", "0", "--json")

    run = scene.session.runs[0]
    assert said.code == 124
    assert json.loads(said.out)["id"] == run.run_id
    assert said.err == (
        f"dataflow-magic: the wait timed out after 0 min; run {run.run_id} continues: dataflow-magic wait {run.run_id} "
        f"waits again, dataflow-magic status {run.run_id} shows it, dataflow-magic cancel {run.run_id} cancels it\n"
    )
    assert not run.is_over


def test_a_terminal_has_one_line_that_is_drawn_again_and_the_state_at_the_end(scene):
    screen = Tty()

    def finish() -> None:
        eventually(lambda: "RUNNING  slow" in screen.getvalue(), "it is drawn")
        scene.service.finish.set()

    waiting = threading.Thread(target=finish)
    waiting.start()
    call(scene, "run", "slow", "--wait", err=screen)
    waiting.join()

    notes, *drawn = screen.getvalue().split("\r\x1b[2K")
    assert notes.endswith("Ctrl+C stops waiting; the run continues.\n")
    assert [line for line in drawn[:-1] if "\n" in line] == []
    assert drawn[-1].startswith("COMPLETED  slow  run")


def test_a_line_is_cut_to_the_columns_of_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "21")
    screen = Tty()
    terminal = Terminal(io.StringIO(), screen, environment={"TERM": "xterm"})
    terminal.draw("실행 중  daily_delays 12 s\n")

    assert screen.getvalue() == "\r\x1b[2K실행 중  daily_dela…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("%dataflow_wait r1 waits again", "dataflow-magic wait r1 waits again"),
        ("see %dataflow_run --help", "see dataflow-magic run --help"),
        ("write %%dataflow_run JOB", "write dataflow-magic run JOB"),
        ("%dataflow_attach ID", "dataflow-magic status ID"),
        ("%dataflow_script JOB --show", "%dataflow_script JOB --show"),
        ("%dataflow_runsx", "%dataflow_runsx"),
    ],
)
def test_a_message_names_the_command_in_place_of_its_magic(text, shown):
    assert as_commands(text) == shown


# Lost responses


def test_a_start_whose_response_was_lost_is_code_4_and_found_later(scene):
    scene.may_look.clear()
    scene.service.lost_answers = 1
    said = call(scene, "run", "slow")

    key = scene.session.runs[0].key
    assert (said.code, said.out) == (4, f"{key}\n")
    assert f"do not start it again; dataflow-magic wait {key} waits until that is clear\n" in said.err
    scene.may_look.set()
    scene.service.finish.set()
    assert call(scene, "wait", key).code == 0
    assert len(scene.service.starts) == 1


def test_compare_prints_what_differs_as_text_or_json(scene):
    ids = [call(scene, "run", "daily_sales", f"month={month}", "--wait").out.strip() for month in (6, 7)]

    text = call(scene, "compare", *ids)
    said = call(scene, "compare", *ids, "--json")

    assert text.out.splitlines()[:2] == [
        f"                  {ids[0]}  {ids[1]}",
        "parameter  month  6             7",
    ]
    assert json.loads(said.out)[0] == {
        "part": "parameter",
        "name": "month",
        "first": "6",
        "second": "7",
        "differs": True,
        "ratio": None,
    }
    assert (text.code, said.code) == (0, 0)


def test_the_stages_of_a_run_are_a_table_or_json(scene):
    call(scene, "run", "daily_sales", "--wait")
    folder = scene.service.folder / "objects" / "bucket" / "logs" / str(scene.session.runs[0].run_id)
    log = folder / "events" / "eventlog_v2_local-1"
    log.mkdir(parents=True, exist_ok=True)
    (log / "events_1_local-1").write_bytes(b"\n".join(skewed()))

    table = call(scene, "stages", "@last")
    shapes = json.loads(call(scene, "stages", "@last", "--json").out)

    assert table.out.splitlines()[1].startswith("stage ")
    assert "skewed on `origin`?" in table.out
    assert [shape["stage"] for shape in shapes] == list(range(8))
    assert (shapes[2]["took"], shapes[2]["rows_in"], shapes[2]["task_slowest"]) == (26.297, 3_000_301, 18.001)
    assert shapes[2]["submitted"] == "2026-11-27T18:36:01.609+09:00"
    assert shapes[7]["own_line"] == {"file": "skewed.py", "line": 27}


def test_a_run_without_an_event_log_has_no_stages(scene):
    call(scene, "run", "daily_sales", "--wait")
    none = call(scene, "stages", "@last")

    assert none.code == 3
    assert "looked below s3a://bucket/logs/" in none.err
