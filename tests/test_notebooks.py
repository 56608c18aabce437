"""Every notebook of the repository, executed once by the demo against a real local service with Spark."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dataflow_magic.cli.main import main
from dataflow_magic.local.launch import attach
from tests.local_service import no_credentials, service_folder

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
CLOUD_KEYS = {"NCLOUD_ACCESS_KEY": "cloud-access-4f1d09", "NCLOUD_SECRET_KEY": "cloud-secret-77ab21"}

by_name = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


@dataclass(frozen=True)
class Executed:
    """One notebook as the demo executed it.

    Parameters
    ----------
    said
        What the demo printed.
    page
        The notebook as HTML.
    secrets
        Keys that must appear in none of these.
    """

    code: int
    said: str
    document: dict[str, Any]
    page: str
    out: Path
    secrets: tuple[str, ...]

    def outputs(self, mark: str) -> str:
        """Return as text the outputs of the cell whose source contains the mark."""
        cell = next(c for c in self.document["cells"] if mark in "".join(c["source"]))
        return "\n".join(_text(output) for output in cell["outputs"])


@pytest.fixture(scope="module")
def execute(tmp_path_factory: pytest.TempPathFactory, archives: Path) -> Iterator[Callable[[Path], Executed]]:
    """Execute a notebook with `dataflow-magic demo`, once. The environment has keys of the cloud, which must not be used."""
    with (
        service_folder(tmp_path_factory.mktemp("home"), archives) as folder,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name in no_credentials():
            environment.delenv(name)
        for name, value in {"DATAFLOW_MAGIC_HOME": str(folder.path.parent), **CLOUD_KEYS}.items():
            environment.setenv(name, value)

        @cache
        def executed(notebook: Path) -> Executed:
            # Started here for its keys; the demo then uses this service.
            address, hold = attach(folder)
            out, said = tmp_path_factory.mktemp("out"), io.StringIO()
            with contextlib.redirect_stdout(said):
                code = main(["demo", str(notebook), "--out", str(out)])
            os.close(hold)
            return Executed(
                code,
                said.getvalue(),
                json.loads((out / notebook.name).read_text()),
                (out / notebook.name).with_suffix(".html").read_text(),
                out,
                (address.secret_key, address.access_key, *CLOUD_KEYS.values()),
            )

        yield executed


@pytest.fixture
def quickstart(execute: Callable[[Path], Executed]) -> Executed:
    return execute(FOLDER / "quickstart.ipynb")


@by_name
def test_a_notebook_is_kept_without_outputs(notebook):
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]

    assert cells
    assert [(cell["outputs"], cell["execution_count"]) for cell in cells] == [([], None)] * len(cells)


@by_name
@pytest.mark.spark
def test_a_notebook_executes_to_its_end(execute, notebook):
    executed = execute(notebook)

    assert executed.code == 0
    assert "failed:" not in executed.said


@by_name
@pytest.mark.spark
def test_no_output_needs_a_widget_manager(execute, notebook):
    executed = execute(notebook)
    kinds = {kind for cell in executed.document["cells"] for kind in _kinds(cell)}

    assert kinds <= {"text/plain", "text/html"}
    assert "widgets" not in executed.document["metadata"]
    assert 'class="dfm-card"' in executed.page
    assert "widget-view+json" not in executed.page


@by_name
@pytest.mark.spark
def test_no_key_is_in_what_a_notebook_leaves_behind(execute, notebook):
    executed = execute(notebook)

    for secret in executed.secrets:
        assert secret not in executed.said
        assert secret not in json.dumps(executed.document)
        assert secret not in executed.page


@pytest.mark.spark
def test_the_demo_prints_each_runs_states_in_order(quickstart):
    printed: dict[str, list[str]] = {}
    for run, state in re.findall(
        r"^[0-9:]{8} KST  daily_delays  (\w{12})  ([A-Z]+)", quickstart.said, re.MULTILINE
    ):
        states = printed.setdefault(run, [])
        if states[-1:] != [state]:
            states.append(state)

    assert list(printed.values()) == [
        ["READY", "RUNNING", "COMPLETED"],
        ["READY", "RUNNING", "COMPLETED"],
        ["READY", "RUNNING", "FAILED"],
    ]


@pytest.mark.spark
def test_the_demo_ends_with_the_table_of_runs_and_where_its_files_are(quickstart):
    *_, failed, reason, july, january, log, _, notebook, page = quickstart.said.rstrip().splitlines()

    assert [row.split()[:4] for row in (failed, july, january)] == [
        ["FAILED", "daily_delays", "origin=SFO", "month=1"],
        ["COMPLETED", "daily_delays", "origin=JFK", "month=7"],
        ["COMPLETED", "daily_delays", "origin=JFK", "month=1"],
    ]
    assert reason.strip() == "ValueError: no flights from 'SFO' in month 1; the table has EWR, JFK, LGA"
    assert log == f"log: %dataflow_logs {failed.split()[-1]}"
    assert notebook == f"executed notebook  {quickstart.out / 'quickstart.ipynb'}"
    assert page == f"HTML page          {quickstart.out / 'quickstart.html'}"


@pytest.mark.spark
def test_the_quickstart_finds_the_worst_day_of_january(quickstart):
    log = quickstart.outputs("print(january.logs())")

    assert "read 9161 flights and 742 hours of weather" in log
    assert "worst day 2013-01-13: 23.9 minutes late on average, 12 of 296 flights cancelled" in log


@pytest.mark.spark
def test_the_quickstart_reads_the_table_the_job_wrote(quickstart):
    months = quickstart.outputs("july.result()").splitlines()

    assert months[-2].split() == ["January", "9161", "100", "7.7", "1.5"]
    assert months[-1].split() == ["July", "10023", "211", "18.5", "2.0"]


@pytest.mark.spark
def test_the_quickstart_shows_why_a_run_failed(quickstart):
    reason = "ValueError: no flights from 'SFO' in month 1; the table has EWR, JFK, LGA"
    card = quickstart.outputs("-o wrong")

    assert card.startswith("FAILED  daily_delays  run ")
    assert f"  {reason}\n" in card
    assert re.search(r"\nRunFailed: run \w{12} of daily_delays ended FAILED: ", card)
    assert quickstart.outputs("wrong.reason") == f'"{reason}"'


@pytest.mark.spark
def test_a_script_changed_in_the_notebook_runs_as_changed(execute):
    executed = execute(FOLDER / "write-a-job.ipynb")

    assert "wrote 583 bytes to s3a://dataflow-sample/scripts/late_airlines.py; job late_airlines (" in (
        executed.outputs("late_airlines --force")
    )
    assert executed.outputs("print(first.logs())").splitlines()[:3] == [
        "FL  41.2 minutes late, 252 flights",
        "VX  35.3 minutes late, 486 flights",
        "F9  31.8 minutes late, 58 flights",
    ]
    assert executed.outputs("second.result()").splitlines()[1].split() == [
        "0", "AirTran", "Airways", "Corporation", "252", "41.2",
    ]  # fmt: skip


@pytest.mark.spark
def test_each_failed_run_names_its_line_and_each_correction_completes(execute):
    executed = execute(FOLDER / "when-a-run-fails.ipynb")

    for mark, error, line in (
        ("-o gusts", "CAST_INVALID_INPUT", "wind.py, line 6"),
        (
            "-o labels",
            "'>' not supported between instances of 'NoneType' and 'int'",
            "punctuality.py, line 7, in label",
        ),
        ("-o wrong", "PATH_NOT_FOUND", "rows_of.py, line 4"),
    ):
        assert error in executed.outputs(mark)
        assert line in executed.outputs(mark)
    for mark in ("-o corrected", "-o labelled", "-o right", "-o slow", "-o fast"):
        assert executed.outputs(mark).startswith("COMPLETED")
    assert "+ gusts = weather" in executed.outputs("compare gusts corrected")
    assert re.search(r"parameter +table +flight +flights", executed.outputs("compare wrong right"))
    # What is out of line depends on the machine; the number of tasks does not.
    assert re.search(r" 500 ", executed.outputs("slow.stages()"))
    assert re.search(r"script +line 5", executed.outputs("compare slow fast"))


def _kinds(cell: dict[str, Any]) -> Iterator[str]:
    for output in cell.get("outputs", ()):
        yield from output.get("data", ())


def _text(output: dict[str, Any]) -> str:
    if output["output_type"] == "error":
        return f"{output['ename']}: {output['evalue']}"
    return "".join(output.get("text") or output["data"]["text/plain"])
