"""A run in each front end with a browser, from its cell to the saved file: JupyterLab 4, Notebook 7. No Spark.

At the end: what a person does with a cell while its run lives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.lab import LAB, NOTEBOOK_7, Lab, OpenNotebook, open_page, write_notebook
from tests.helpers import ACCESS_KEY, SECRET_KEY, ScriptedService, at_a_port

pytestmark = pytest.mark.browser

WIDGET = "application/vnd.jupyter.widget-view+json"
LIVE = "%%dataflow_run slow -o run\nday = 7"
PATIENCE_MS = 30_000
BROKEN_WIDGET = ("Loading widget", "model not found", "Error displaying widget", "Could not render")

CELLS = ("", LIVE, LIVE, "%%dataflow_run broken\nday = 7", LIVE, "", "%dataflow_attach @last")
"""The set-up takes the place of empty ones."""


class Service(ScriptedService):
    """The scripted service, whose slow runs outlast a reload."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.slow_seconds = 120.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service(tmp_path_factory.mktemp("front-ends") / "service")


@pytest.fixture(scope="module")
def set_up(service: Service) -> Iterator[str]:
    """A cell that loads the extension, whose runs go to the scripted service."""
    with at_a_port(service) as address:
        variables = {
            "DATAFLOW_MAGIC_HOME": str(service.folder / "home"),
            "DATAFLOW_TARGET": address,
            "DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY,
            "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY,
        }
        yield f"import os\nos.environ.update({variables!r})\n%load_ext dataflow_magic"
        service.finish.set()


@pytest.fixture(scope="module", params=[LAB, NOTEBOOK_7], ids=["JupyterLab 4", "Notebook 7"])
def opened(
    lab: Lab, browser: Browser, set_up: str, request: pytest.FixtureRequest
) -> Iterator[tuple[OpenNotebook, str]]:
    """A notebook open in a front end, and the front end; shared, since it loads slowly, so each test uses other cells."""
    path = lab.root / f"{request.param.replace('/', '-')}.ipynb"
    write_notebook(path, *(cell or set_up for cell in CELLS))
    with open_page(browser) as page:
        notebook = lab.open(page, path.name, app=request.param)
        notebook.run_cell(0)
        yield notebook, request.param


@pytest.fixture
def notebook(opened: tuple[OpenNotebook, str], service: Service) -> OpenNotebook:
    service.finish.clear()
    return opened[0]


def card_of(notebook: OpenNotebook, cell: int = 1) -> Locator:
    # Two cards may exist for a moment: a hidden one while the page reloads, and one within the other at the end.
    return notebook.output(cell).locator(".dfm-card:visible").filter(visible=True).first


def expect_shown(notebook: OpenNotebook, *words: str, cell: int = 1) -> None:
    for word in words:
        expect(card_of(notebook, cell)).to_contain_text(word, timeout=PATIENCE_MS)


def expect_over(output: Locator) -> None:
    """Wait until the end is in what a saved notebook keeps, above the widgets that show the same."""
    expect(output.locator(".dfm-final")).to_have_count(1)


def kinds_of(document: dict[str, object], cell: int = 1) -> list[set[str]]:
    cells = document["cells"]
    assert isinstance(cells, list)
    return [set(output["data"]) for output in cells[cell]["outputs"] if output["data"]]


def test_a_live_card_ends_with_html_in_the_saved_file_and_buttons_on_the_page(notebook, service):
    notebook.run_cell(1)
    expect_shown(notebook, "RUNNING", "slow", "day", "7")
    expect(notebook.output(1).get_by_role("button", name="Cancel", exact=True)).to_be_enabled()
    service.finish.set()
    expect_shown(notebook, "COMPLETED")
    expect_over(notebook.output(1))

    expect(notebook.output(1).get_by_role("button", name="Cancel", exact=True)).to_be_hidden()
    expect(notebook.output(1).get_by_role("button", name="Run again")).to_be_enabled()
    assert kinds_of(notebook.save()) == [{"text/html", "text/plain"}, {WIDGET}]


def test_the_cancel_button_works_after_a_reload_of_the_page(notebook, service):
    notebook.run_cell(2)
    expect_shown(notebook, "RUNNING", cell=2)
    notebook.save()
    notebook.reload()
    expect_shown(notebook, "RUNNING", cell=2)
    notebook.output(2).get_by_role("button", name="Cancel", exact=True).click()
    notebook.output(2).get_by_role("button", name="Yes, cancel").click()

    expect_shown(notebook, "CANCELED", cell=2)
    (run,) = service.store.runs(service.job_id("slow"), page=0, limit=1)[0]
    assert run.status == "CANCELED"


def test_a_saved_notebook_needs_no_kernel(notebook, lab, browser, opened):
    notebook.run_cell(3)
    expect_shown(notebook, "FAILED", cell=3)
    expect_over(notebook.output(3))
    document = notebook.save()
    document["cells"] = [document["cells"][3]]
    assert kinds_of(document, 0) == [{"text/html", "text/plain"}, {WIDGET}]
    assert "widgets" not in document["metadata"]
    # Without a kernel specification no kernel starts.
    document["metadata"] = {}
    path = notebook.path.with_name(f"kept-{notebook.path.name}")
    path.write_text(json.dumps(document))
    with open_page(browser) as page:
        kept = lab.open(page, path.name, kernel=False, app=opened[1])

        expect_shown(
            kept, "FAILED", "broken", "day", "7", "ValueError: no such table: test.sales", "Traceback", cell=0
        )
        for words in BROKEN_WIDGET:
            assert words not in kept.output(0).inner_text()


def test_the_run_gets_a_new_card_after_a_restart_of_the_kernel(notebook, service):
    notebook.run_cell(4)
    expect_shown(notebook, "RUNNING", cell=4)
    notebook.restart()
    notebook.run_cell(5)
    notebook.run_cell(6)
    expect_shown(notebook, "RUNNING", "slow", "day", cell=6)
    service.finish.set()

    expect_shown(notebook, "COMPLETED", cell=6)
    expect_over(notebook.output(6))
    assert kinds_of(notebook.save(), 6) == [{"text/html", "text/plain"}, {WIDGET}]


# While a run lives


@pytest.fixture
def start(
    lab: Lab, browser: Browser, set_up: str, service: Service, request: pytest.FixtureRequest
) -> Iterator[Callable[..., OpenNotebook]]:
    """Open a notebook of its own and start a slow run in cell 1."""
    service.finish.clear()
    with open_page(browser) as page:

        def started(line: str = "%dataflow_run slow -o run") -> OpenNotebook:
            path = lab.root / f"{request.node.name}.ipynb"
            write_notebook(path, set_up, line, "run.wait(60)")
            notebook = lab.open(page, path.name)
            page.on("dialog", lambda dialog: dialog.accept())
            notebook.run_cell(0)
            notebook.start_cell(1)
            expect_shown(notebook, "RUNNING")
            return notebook

        yield started
        service.finish.set()


def test_an_output_that_is_cleared_while_its_run_lives_stays_cleared(start, service):
    notebook = start()
    notebook.select_cell(1)
    notebook.command("notebook:clear-cell-output")
    service.finish.set()
    notebook.run_cell(2)

    assert kinds_of(notebook.save()) == []


def test_a_new_view_of_the_output_ends_as_its_cell_does(start, service):
    notebook = start()
    notebook.select_cell(1)
    notebook.command("notebook:create-output-view")
    view = notebook.page.locator(".jp-LinkedOutputView")
    expect(view.get_by_role("button", name="Cancel", exact=True)).to_be_enabled(timeout=PATIENCE_MS)
    service.finish.set()

    expect(view).to_contain_text("COMPLETED", timeout=PATIENCE_MS)
    expect_over(view)


def test_a_second_window_says_that_its_file_is_stale_and_the_first_saves_the_end(start, service, lab):
    notebook = start()
    notebook.save()
    with notebook.page.context.new_page() as page:
        second = lab.open(page, notebook.path.name)
        expect(second.output(1).get_by_role("button", name="Cancel", exact=True)).to_be_enabled(
            timeout=PATIENCE_MS
        )
        service.finish.set()
        expect_shown(second, "COMPLETED")
        expect(second.output(1)).to_contain_text(
            "keeps an earlier state of this card; show the end in a cell"
        )
        expect(second.output(1).locator(".dfm-stale")).to_contain_text("%dataflow_status ")

    expect_shown(notebook, "COMPLETED")
    expect_over(notebook.output(1))
    expect(notebook.output(1).locator(".dfm-stale")).to_be_hidden()
    assert kinds_of(notebook.save()) == [{"text/html", "text/plain"}, {WIDGET}]


def test_a_page_that_is_reloaded_during_a_wait_shows_the_last_state_and_then_the_end(start, service):
    notebook = start("%dataflow_run slow --wait")
    notebook.save()
    notebook.page.reload()
    notebook.await_shown(kernel=False)
    expect_shown(notebook, "RUNNING", "as of", "refresh with %dataflow_status ")
    expect(notebook.output(1).get_by_text("Loading widget")).to_be_hidden()
    service.finish.set()

    expect_shown(notebook, "COMPLETED")
    expect(notebook.output(1).locator(".dfm-stale")).to_contain_text("%dataflow_status ")


def test_a_cell_that_runs_again_while_its_run_lives_names_that_run(start, service):
    notebook = start()
    first = card_of(notebook).locator(".dfm-run code").inner_text()
    notebook.run_cell(1)
    expect_shown(notebook, "RUNNING")

    assert notebook.output_text(1) == (
        f"Note: this cell has started run {first}, which continues; %dataflow_cancel {first} cancels it\n"
    )
    assert service.store.run(first).status == "RUNNING"
