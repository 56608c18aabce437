"""`%dataflow_logs`: the end of a run's log in a cell, or in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow_magic.cell.line import LineParser
from dataflow_magic.cell.parsers import MAGICS
from dataflow_magic.errors import CellError
from dataflow_magic.magics.logs import LogRequest, show_log
from dataflow_magic.session.logs.follow import LogOptions
from tests.helpers import eventually


class Lines:
    """Lines that were read, in place of a run's log."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def batches(self) -> Iterator[list[str]]:
        yield self._lines


class ARun:
    """A run with a log; notes with which options it is read."""

    key = "7Hk2mQx9LpZa"

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.options = LogOptions()

    def log_lines(self, options: LogOptions, *_: object) -> Lines:
        self.options = options
        return Lines(self.lines)


def a_run(*lines: str) -> Any:
    return ARun(*lines)


def parser() -> LineParser:
    return MAGICS["logs"]()


@pytest.mark.parametrize(
    ("asked", "tail", "most"),
    [
        (LogRequest(), 50, 1_048_576),
        (LogRequest(LogOptions(tail=2)), 2, 1_048_576),
        (LogRequest(whole=True), None, 1_048_576),
        (LogRequest(LogOptions(follow=True), whole=True), None, 1_048_576),
    ],
    ids=["default", "tail", "all", "follow and all"],
)
def test_a_cell_prints_a_bounded_number_of_lines(asked, tail, most, capsys):
    run = a_run("two", "three\x1b")
    show_log(run, asked, print)

    assert capsys.readouterr().out == "two\nthree␛\n"
    assert (run.options.tail, run.options.most) == (tail, most)


def test_a_run_without_a_log_is_said_to_have_none_and_where_it_was_looked_for(lab):
    lab.run("%%dataflow_run mute -o run\nday = 1\n")
    eventually(lambda: lab.shell.user_ns["run"].is_done, "it ended")
    run_id = lab.shell.user_ns["run"].id

    assert lab.run("%dataflow_logs run").out == (
        f"the run has no log; looked at, with the objects found: s3a://bucket/logs/{run_id}/console.log (0), "
        f"s3a://bucket/logs/{run_id}/ (0), s3a://bucket/logs/ (0)\nthe log of run {run_id} is empty\n"
    )


def test_a_log_is_saved_to_a_new_file_only(tmp_path: Path, capsys):
    file = tmp_path / "run.log"
    run = a_run("one", "two")
    show_log(run, LogRequest(file=str(file)), print)
    assert (run.options.tail, run.options.most) == (None, None)
    assert file.read_text("utf-8") == "one\ntwo\n"
    assert capsys.readouterr().out == f"the log of run 7Hk2mQx9LpZa is in {file}\n"

    with pytest.raises(CellError, match="exists; name a new one"):
        show_log(a_run("other"), LogRequest(file=str(file)), print)
    assert file.read_text("utf-8") == "one\ntwo\n"


def test_a_file_in_a_folder_that_is_not_there_is_an_error_with_its_name(tmp_path: Path):
    with pytest.raises(CellError, match=r"not written to .*: No such file or directory; name another file"):
        show_log(a_run("one"), LogRequest(file=str(tmp_path / "none" / "run.log")), print)


@pytest.mark.parametrize("lines", ["0", "-3", "many"])
def test_a_wrong_number_of_lines_is_refused(lines):
    with pytest.raises(CellError, match=f"'{lines}' is not a number of lines; give 1 or more"):
        parser().read(f"@last --tail={lines}", {})


def test_the_log_of_a_failed_run_is_printed_by_its_name(lab):
    lab.run("%%dataflow_run broken -o run\nday = 1\n")
    eventually(lambda: lab.shell.user_ns["run"].is_done, "it ended")

    assert "ValueError: no such table: test.sales" in lab.run("%dataflow_logs run --tail 1").out
    assert "Traceback (most recent call last):" in lab.run("%dataflow_logs @last --all").out


@pytest.mark.parametrize(
    "line", ["%dataflow_logs run --tail 3 --all", "%dataflow_logs nosuchrun --all --tail 3"]
)
def test_the_last_lines_and_all_lines_contradict_each_other(lab, line):
    lab.run("%%dataflow_run broken -o run\nday = 1\n")

    assert str(lab.run(line).error) == "tail and all contradict each other; keep one"


def test_of_a_log_of_several_megabytes_a_cell_prints_the_last_one_and_saves_all(lab, scene, tmp_path):
    lab.run("%%dataflow_run slow -o run\nday = 1\n")
    run = lab.shell.user_ns["run"]
    lines = [f"{number:07d} of the lines that the script printed\n" for number in range(100_000)]
    scene.service.write_log(run.id, "".join(lines).encode())
    scene.service.finish.set()
    eventually(lambda: run.is_done, "it ended")

    printed = lab.run("%dataflow_logs run --all").out.splitlines(keepends=True)
    assert printed[0] == (
        "earlier bytes of the log that are not shown: 3,451,455; with --save FILE they are written to a file\n"
    )
    assert printed[1:] == lines[-len(printed) + 1 :]
    assert 1_048_576 - len(lines[0]) < sum(map(len, printed[1:])) <= 1_048_576
    lab.run(f"%dataflow_logs run --all --save {tmp_path / 'run.log'}")
    assert (tmp_path / "run.log").read_text() == "".join(lines)
    lab.run(f"%dataflow_logs run --save {tmp_path / 'end.log'} --tail 2")
    assert (tmp_path / "end.log").read_text() == "".join(lines[-2:])


def test_a_sweep_has_no_log_and_its_runs_are_named(lab):
    lab.run("%%dataflow_run daily_sales -o sweep\nday = each(1, 2)\n")
    said = lab.run("%dataflow_logs sweep")

    assert "is a sweep, which has no log of its own; name one of its runs: " in said.err + str(said.error)


def test_a_log_is_followed_and_searched_in_a_cell(lab):
    lab.run("%%dataflow_run broken -o run\nday = 1\n")

    assert lab.run("%dataflow_logs run --follow --grep '^ValueError|reading' --all").out == (
        "reading\nValueError: no such table: test.sales\n"
    )
    assert lab.run("%dataflow_logs run --grep ^V --tail 1").out == ("ValueError: no such table: test.sales\n")
    assert lab.run("%dataflow_logs run --grep nothing").out == (
        f"no line of the log of run {lab.shell.user_ns['run'].id} matches\n"
    )


def test_a_search_that_leaves_lines_out_says_how_many(lab):
    lab.run("%%dataflow_run broken -o run\nday = 1\n")
    eventually(lambda: lab.shell.user_ns["run"].is_done, "it ended")

    assert lab.run("%dataflow_logs run --grep . --tail 1").out == (
        "earlier lines that match: 4\nValueError: no such table: test.sales\n"
    )


def test_an_invalid_expression_is_refused_before_the_run_is_looked_for(lab):
    said = lab.run("%dataflow_logs nosuchrun --grep 'a(b'")

    assert str(said.error) == (
        "the regular expression 'a(b' is not valid at character 2: missing ), unterminated subpattern"
    )


def test_standard_error_is_what_the_jvm_printed(lab, scene):
    lab.run("%%dataflow_run broken -o run\nday = 1\n")
    run = lab.shell.user_ns["run"]
    eventually(lambda: run.is_done, "it ended")
    log = scene.service.folder / "objects" / "bucket" / "logs" / run.id / "jvm.log"
    log.write_text("26/11/27 WARN Utils: set SPARK_LOCAL_IP\n")

    assert lab.run("%dataflow_logs run --stderr").out == "26/11/27 WARN Utils: set SPARK_LOCAL_IP\n"
    assert run.logs(stderr=True) == "26/11/27 WARN Utils: set SPARK_LOCAL_IP\n"


def test_what_is_found_is_saved(lab, tmp_path):
    lab.run("%%dataflow_run broken -o run\nday = 1\n")

    lab.run(f"%dataflow_logs run --follow --grep ^V --save {tmp_path / 'errors.log'}")

    assert (tmp_path / "errors.log").read_text() == "ValueError: no such table: test.sales\n"


def test_lines_are_taken_by_async_for_in_a_cell(lab):
    lab.run("%%dataflow_run broken -o run\nday = 1\n")

    assert lab.run("[line async for line in run.logs(follow=True, tail=2)]").value == [
        '    raise ValueError("no such table: test.sales")',
        "ValueError: no such table: test.sales",
    ]
    assert lab.run("run.logs(grep='^V'), run.logs(tail=1)").value == (
        "ValueError: no such table: test.sales\n",
        "ValueError: no such table: test.sales\n",
    )


def test_secrets_of_the_run_and_the_key_of_its_target_are_masked(lab, scene, monkeypatch):
    monkeypatch.setenv("TOKEN", "hunter2-of-the-test")
    lab.run("import os\nfrom dataflow_magic import secret")
    lab.run('%%dataflow_run slow -o run\ntoken = secret(os.environ["TOKEN"])\n')
    run = lab.shell.user_ns["run"]
    scene.service.write_log(run.id, f"a hunter2-of-the-test\nb {scene.service.keys.secret_key}\n".encode())
    scene.service.finish.set()

    assert lab.run("%dataflow_logs run --follow").out == "a ••••••\nb ••••••\n"
    assert lab.run("%dataflow_logs run").out == "a ••••••\nb ••••••\n"
    assert run.logs(grep="hunter|s3cr3t") == ""
