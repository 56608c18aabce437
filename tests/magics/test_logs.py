"""`%dataflow_logs`: the end of a run's log in a cell, or in a file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dataflow_magic.cell.line import LineParser
from dataflow_magic.cell.parsers import MAGICS
from dataflow_magic.errors import CellError
from dataflow_magic.magics.logs import show_log
from tests.helpers import eventually


def a_run(log: str) -> Any:
    return SimpleNamespace(key="7Hk2mQx9LpZa", logs=lambda: log)


def parser() -> LineParser:
    return MAGICS["logs"]()


def test_the_last_lines_are_printed(capsys):
    show_log(a_run("one\ntwo\nthree\n"), 2, None)

    assert capsys.readouterr().out == "two\nthree\n"


def test_all_lines_are_printed_on_request(capsys):
    show_log(a_run("one\ntwo\nthree\n"), None, None)

    assert capsys.readouterr().out == "one\ntwo\nthree\n"


def test_an_empty_log_is_said_to_be_empty(capsys):
    show_log(a_run(""), 50, None)

    assert capsys.readouterr().out == "the log of run 7Hk2mQx9LpZa is empty\n"


def test_a_log_is_saved_to_a_new_file_only(tmp_path: Path, capsys):
    file = tmp_path / "run.log"
    show_log(a_run("one\ntwo\n"), 1, str(file))
    assert file.read_text("utf-8") == "one\ntwo\n"
    assert capsys.readouterr().out == f"the log of run 7Hk2mQx9LpZa is in {file}\n"

    with pytest.raises(CellError, match="exists; name a new one"):
        show_log(a_run("other"), 1, str(file))
    assert file.read_text("utf-8") == "one\ntwo\n"


def test_a_file_in_a_folder_that_is_not_there_is_an_error_with_its_name(tmp_path: Path):
    with pytest.raises(CellError, match=r"not written to .*: No such file or directory; name another file"):
        show_log(a_run("one"), 1, str(tmp_path / "none" / "run.log"))


@pytest.mark.parametrize("lines", ["0", "-3", "many"])
def test_a_wrong_number_of_lines_is_refused(lines):
    with pytest.raises(CellError, match=f"'{lines}' is not a number of lines; give 1 or more"):
        parser().read(f"@last --tail={lines}", {})


def test_the_log_of_a_failed_run_is_printed_by_its_name(lab):
    lab.run("%%dataflow_run broken -o run\nday = 1\n")
    eventually(lambda: lab.shell.user_ns["run"].is_done, "it ended")

    assert "ValueError: no such table: test.sales" in lab.run("%dataflow_logs run --tail 1").out
    assert "Traceback (most recent call last):" in lab.run("%dataflow_logs @last --all").out


def test_a_sweep_has_no_log_and_its_runs_are_named(lab):
    lab.run("%%dataflow_run daily_sales -o sweep\nday = each(1, 2)\n")
    said = lab.run("%dataflow_logs sweep")

    assert "is a sweep, which has no log of its own; name one of its runs: " in said.err + str(said.error)
