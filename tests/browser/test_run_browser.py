"""Real Spark runs in a real JupyterLab: Run All, the card of a live run, its button, and a service that dies."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from dataflow_magic.files import try_lock
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.launch import peek
from dataflow_magic.local.store import Store
from dataflow_magic.models.view import KST
from tests.browser.lab import Lab, OpenNotebook, open_page, write_notebook
from tests.local_service import no_credentials, processes_of, service_folder

pytestmark = [pytest.mark.browser, pytest.mark.spark]

SPARK_MS = 60_000
"""Time limit of a run; 10 s is usual."""
NOTEBOOK_MS = 2 * SPARK_MS
GOOD, WRONG, TABLE = 1, 2, 3
CELLS = (
    "%%dataflow_run slow_count --wait\nseconds = 0",
    '%%dataflow_run daily_delays --wait -o wrong\norigin = "SFO"\nmonth = 1',
    "%dataflow_runs",
)
"""Two runs and their table, as in the quickstart, which tests/test_notebooks.py runs."""
ENDS = {GOOD: "COMPLETED", WRONG: "FAILED"}

LOAD = "%load_ext dataflow_magic"
FOR_LONG = "%%dataflow_run slow_count -o run\nseconds = 600"
# Runs until the test makes the file.
BUSY = """
import time
from pathlib import Path
deadline = time.monotonic() + 120
while not Path("go").exists() and time.monotonic() < deadline:
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, archives: Path) -> Iterator[DataFolder]:
    """The data folder of the service that the kernels start."""
    with service_folder(tmp_path_factory.mktemp("home"), archives) as used:
        yield used


@pytest.fixture(scope="module")
def spark_lab(
    chromium: str,  # noqa: ARG001  # without one, no server is started
    folder: DataFolder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lab]:
    """A JupyterLab whose kernels run jobs locally."""
    env = no_credentials() | {"DATAFLOW_MAGIC_HOME": str(folder.path.parent), "DATAFLOW_TARGET": "local"}
    with Lab(tmp_path_factory.mktemp("lab"), env=env) as shared:
        yield shared


@pytest.fixture
def run_cells(spark_lab: Lab, page: Page, request: pytest.FixtureRequest) -> Callable[..., OpenNotebook]:
    """Open a notebook with these cells after one that loads the extension, which is run."""

    def opened(*cells: str) -> OpenNotebook:
        name = f"{request.node.function.__name__}.ipynb"
        write_notebook(spark_lab.root / name, LOAD, *cells)
        notebook = spark_lab.open(page, name)
        notebook.run_cell(0)
        return notebook

    return opened


def card_of(notebook: OpenNotebook, cell: int = 1) -> Locator:
    return notebook.output(cell).locator(".dfm-card:visible")


def button_of(notebook: OpenNotebook, cell: int = 1) -> Locator:
    return notebook.output(cell).get_by_role("button", name="Cancel", exact=True)


def cancel(notebook: OpenNotebook, cell: int = 1) -> None:
    button_of(notebook, cell).click()
    notebook.output(cell).get_by_role("button", name="Yes, cancel").click()


def expect_state(notebook: OpenNotebook, state: str, *, cell: int = 1) -> None:
    expect(card_of(notebook, cell).locator(".dfm-word")).to_have_text(state, timeout=SPARK_MS)


def expect_tick(notebook: OpenNotebook, cell: int = 1) -> None:
    clock = card_of(notebook, cell).locator(".dfm-clock")
    expect(clock).not_to_have_text(clock.inner_text(), timeout=SPARK_MS)


def run_id_of(notebook: OpenNotebook, cell: int = 1) -> str:
    return card_of(notebook, cell).locator(".dfm-run code").inner_text()


def state_in_service(folder: DataFolder, run_id: str) -> str:
    run = Store(folder.database, lambda: datetime.now(KST)).run(run_id)
    return run.status if run else "no such run"


@pytest.fixture(scope="module")
def run_all(spark_lab: Lab, browser: Browser) -> Iterator[OpenNotebook]:
    """A notebook after Run All, still open."""
    path = spark_lab.root / "run-all.ipynb"
    write_notebook(path, LOAD, *CELLS)
    document = json.loads(path.read_text())
    document["cells"][WRONG]["metadata"]["tags"] = ["raises-exception"]
    path.write_text(json.dumps(document))
    with open_page(browser) as page:
        notebook = spark_lab.open(page, path.name)
        notebook.run_all(patience_ms=NOTEBOOK_MS)
        yield notebook


def test_run_all_fails_only_in_the_cell_whose_run_fails(run_all):
    failed = {
        index: output["ename"]
        for index in range(len(run_all.save()["cells"]))
        for output in run_all.outputs(index)
        if output["output_type"] == "error"
    }

    assert failed == {WRONG: "RunFailed"}


def test_each_card_shows_how_its_run_ended(run_all):
    for cell, state in ENDS.items():
        expect_state(run_all, state, cell=cell)
        expect(button_of(run_all, cell)).to_have_count(0)
    expect(card_of(run_all, WRONG).locator(".dfm-reason")).to_have_text(
        "ValueError: no flights from 'SFO' in month 1; the table has EWR, JFK, LGA"
    )


def test_the_table_has_the_runs(run_all):
    # The newest first; the reason of a failure has a row of its own.
    rows = run_all.output(TABLE).locator("tbody tr")

    expect(rows).to_have_count(3)
    texts = [rows.nth(row).locator("th, td").all_inner_texts() for row in range(3)]
    assert [(texts[row][0].split()[-1], texts[row][1]) for row in (0, 2)] == [
        ("FAILED", "daily_delays"),
        ("COMPLETED", "slow_count"),
    ]
    assert texts[1][-1] == "ValueError: no flights from 'SFO' in month 1; the table has EWR, JFK, LGA"


def test_a_saved_notebook_opened_without_a_kernel_shows_the_same(run_all, spark_lab, page):
    run_all.save()
    again = spark_lab.open(page, run_all.path.name, kernel=False)

    for cell, state in ENDS.items():
        expect_state(again, state, cell=cell)
    expect(card_of(again, WRONG).locator("pre:not(.dfm-own)")).to_contain_text("in <module>")


def test_a_card_changes_from_ready_to_completed_while_another_cell_runs(run_cells, spark_lab):
    notebook = run_cells("%%dataflow_run slow_count\nseconds = 2", BUSY)
    notebook.record(1, ".dfm-word")
    notebook.record(1, ".dfm-clock")
    notebook.run_cell(1)
    notebook.start_cell(2)
    expect_state(notebook, "COMPLETED")

    # The other cell still runs.
    expect(notebook.page.locator(".jp-Cell").nth(2).locator(".jp-InputPrompt")).to_have_text("[*]:")
    assert notebook.recorded(1, ".dfm-word") == ["READY", "RUNNING", "COMPLETED"]
    # The last one says how long the run ran, by the service.
    *ticking, ran = notebook.recorded(1, ".dfm-clock")
    ticks = [int(text.removesuffix(" s")) for text in ticking]
    assert ran.startswith("ran ")
    assert len(ticks) >= 2
    assert ticks == sorted(set(ticks))
    (spark_lab.root / "go").touch()
    notebook.await_idle()


def test_the_cancel_button_ends_a_run_and_its_processes(run_cells, spark_lab, folder):
    notebook = run_cells(FOR_LONG, "run.status, run.reason")
    notebook.run_cell(1)
    expect_state(notebook, "RUNNING")
    run_id = run_id_of(notebook)
    # Spark and the script.
    assert len(processes_of(folder, run_id)) == 2
    cancel(notebook)
    expect_state(notebook, "CANCELED")

    assert processes_of(folder, run_id) == []
    assert state_in_service(folder, run_id) == "CANCELED"
    notebook.run_cell(2)
    assert notebook.outputs(2)[0]["data"]["text/plain"] == "('CANCELED', 'canceled on request')"
    assert set(notebook.save()["cells"][1]["outputs"][0]["data"]) == {"text/html", "text/plain"}
    again = spark_lab.open(notebook.page, notebook.path.name, kernel=False)
    expect_state(again, "CANCELED")


def test_the_cancel_button_works_while_a_cell_awaits_the_run(run_cells):
    notebook = run_cells(FOR_LONG, "await run")
    notebook.run_cell(1)
    notebook.start_cell(2)
    expect_state(notebook, "RUNNING")
    expect(notebook.page.locator(".jp-Cell").nth(2).locator(".jp-InputPrompt")).to_have_text("[*]:")
    cancel(notebook)
    expect_state(notebook, "CANCELED")
    notebook.await_idle()

    assert notebook.output_text(2) == (
        f"RunFailed: run {run_id_of(notebook)} of slow_count ended CANCELED: canceled on request"
    )


def test_a_cell_that_waits_shows_the_card_and_leaves_it_live_when_interrupted(run_cells, folder):
    notebook = run_cells("%%dataflow_run slow_count --wait -o run\nseconds = 600")
    notebook.record(1, ".dfm-word")
    notebook.start_cell(1)
    expect_state(notebook, "RUNNING")
    expect(card_of(notebook)).to_contain_text("interrupt the kernel to stop waiting; the run continues")
    expect_tick(notebook)
    expect(button_of(notebook)).to_have_count(0)
    assert notebook.recorded(1, ".dfm-word") == ["READY", "RUNNING"]
    run_id = run_id_of(notebook)
    notebook.interrupt()
    notebook.await_idle()

    assert notebook.output_text(1) == (
        f"Detached: stopped waiting; run {run_id} continues: %dataflow_wait {run_id} waits again, %dataflow_status {run_id} shows it, "
        f"%dataflow_cancel {run_id} cancels it"
    )
    expect(card_of(notebook)).not_to_contain_text("interrupt the kernel")
    assert state_in_service(folder, run_id) == "RUNNING"
    expect_tick(notebook)
    cancel(notebook)
    expect_state(notebook, "CANCELED")


def test_a_card_shows_since_when_its_service_is_gone_and_the_outcome_from_the_next_one(run_cells, folder):
    notebook = run_cells(FOR_LONG)
    notebook.run_cell(1)
    expect_state(notebook, "RUNNING")
    first, run_id = peek(folder), run_id_of(notebook)
    assert first is not None
    # While this lock is held no kernel can start another service.
    starting = try_lock(folder.start_lock)
    assert starting is not None
    os.kill(first.pid, signal.SIGKILL)
    expect(card_of(notebook).locator(".dfm-note")).to_have_text(
        re.compile(r"^no answer since \d\d:\d\d:\d\d KST: no answer from http://127"), timeout=SPARK_MS
    )
    expect_state(notebook, "RUNNING")
    expect_tick(notebook)
    assert peek(folder) is None
    os.close(starting)

    expect_state(notebook, "FAILED")
    expect(card_of(notebook).locator(".dfm-reason")).to_have_text("the local service stopped while it ran")
    second = peek(folder)
    assert second is not None
    assert second.pid != first.pid
    assert processes_of(folder, run_id) == []
