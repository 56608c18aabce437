"""The card of a run in a real JupyterLab: live next to running cells, its buttons, a reload, and the saved notebook."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.lab import Lab, OpenNotebook, write_notebook

pytestmark = pytest.mark.browser

WIDGET = "application/vnd.jupyter.widget-view+json"

# The kernel's side: a card, and views of one run to feed it with, as the watcher of a service would.
SETUP = """
from dataclasses import replace
from datetime import datetime, timedelta
from dataflow_magic.card.actions import Actions
from dataflow_magic.card.run.state import card_state
from dataflow_magic.card.output import LiveCard
from dataflow_magic.card.run import RUN_CARD
from dataflow_magic.models.wire import JobCondition, JobExecution
from dataflow_magic.models.request import JobRef, RunRequest
from dataflow_magic.models.failure import Failure
from dataflow_magic.models.view import KST, Past, Progress, RunView

NOON = datetime(2026, 11, 1, 12, tzinfo=KST)
REQUEST = RunRequest(
    JobRef("gqigvHq1w2e3", "id"), JobCondition(num_worker=4, timeout=60, script_path="b/scripts/"),
    {"$table_name": "test.flights", "$run_date": "2026-11-01"},
)
SENT = RunView(REQUEST, "local", "http://127.0.0.1:4242", "", "daily_delays", NOON)

def in_state(status, **more):
    return replace(SENT, execution=JobExecution(job_execution_id="7Hk2mQx9LpZa", status=status, **more))

def at(seconds, view, **options):
    return card_state(view, NOON + timedelta(seconds=seconds), **options)

READY = in_state("READY", status_detail="starting Spark")
RUNNING = in_state("RUNNING")
BLIND = replace(RUNNING, blind_since=NOON + timedelta(seconds=20), blind_reason="connection refused")
HALF_WAY = replace(RUNNING, progress=Progress(1, 3, 50, 200), past=Past(185, 130, 300, 8))
CANCELING = replace(RUNNING, cancel_requested=True)
COMPLETED = in_state("COMPLETED", end_date=NOON + timedelta(seconds=187))
FAILED = replace(
    in_state("FAILED", end_date=NOON + timedelta(seconds=187)),
    failure=Failure("ValueError: <no> flights", tuple(f"line {n} of <the log>" for n in range(20))),
)
clicks = []
card = LiveCard(
    RUN_CARD, Actions(lambda: clicks.append("cancel"), lambda: clicks.append("again"), lambda wanted: clicks.append(wanted))
)
"""
SHOW = "card.show(at(4, READY))"


@pytest.fixture
def run_cells(lab: Lab, page: Page, request: pytest.FixtureRequest) -> Callable[..., OpenNotebook]:
    """Open a notebook with the set-up and these cells, and run the first of them."""

    def opened(*cells: str) -> OpenNotebook:
        name = f"{request.node.function.__name__}.ipynb"
        write_notebook(lab.root / name, SETUP, *cells)
        notebook = lab.open(page, name)
        notebook.run_cell(0)
        notebook.run_cell(1)
        return notebook

    return opened


def card_of(notebook: OpenNotebook, cell: int = 1) -> Locator:
    return notebook.output(cell).locator(".dfm-card:visible")


def in_kernel(notebook: OpenNotebook, code: str) -> None:
    """Run code in the kernel, as a watch does: no cell, and no change of the focus."""
    notebook.page.evaluate(
        "code => jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code}).done",
        code,
    )


def size_of(shown: Locator) -> tuple[float, float]:
    box = shown.bounding_box()
    assert box is not None
    return box["width"], box["height"]


def bottom_of(shown: Locator) -> float:
    box = shown.bounding_box()
    assert box is not None
    return box["y"] + box["height"]


def test_a_card_stays_live_while_another_cell_runs(run_cells):
    notebook = run_cells(
        f"{SHOW}\nimport threading\ngo = threading.Event()\n"
        "def watch():\n    go.wait(60)\n    card.update(at(12, RUNNING))\n"
        "threading.Thread(target=watch, daemon=True).start()",
        "go.set()\nthreading.Event().wait(60)",
    )
    expect(card_of(notebook)).to_contain_text("waiting for: starting Spark")
    notebook.start_cell(2)

    expect(card_of(notebook)).to_contain_text("RUNNING")
    expect(card_of(notebook)).to_contain_text("12 s")
    expect(notebook.page.locator(".jp-Cell").nth(2).locator(".jp-InputPrompt")).to_have_text("[*]:")
    notebook.interrupt()


def test_the_card_keeps_its_size_from_the_first_state_to_the_last(run_cells):
    steps = (
        ("card.update(at(12, RUNNING))", "12 s"),
        ("card.update(at(13, replace(RUNNING, past=Past(185, 130, 300, 8))))", "usually 3 min 05 s"),
        ("card.update(at(14, HALF_WAY))", "50 of 200 tasks"),
        ("card.update(at(95, BLIND))", "no answer since"),
        ("card.update(at(100, CANCELING))", "cancel sent"),
        ("card.update(at(101, RUNNING, kernel_waits=True))", "interrupt the kernel"),
        ("card.finish(at(190, COMPLETED))", "COMPLETED"),
    )
    notebook = run_cells("card.show(at(1, SENT))", *(code for code, _ in steps))
    expect(card_of(notebook)).to_contain_text("SUBMITTING")
    first = size_of(card_of(notebook))
    for cell, (_, shown) in enumerate(steps, 2):
        notebook.run_cell(cell)
        expect(card_of(notebook)).to_contain_text(shown)

        assert (shown, size_of(card_of(notebook))) == (shown, first)


def test_a_finished_card_is_as_wide_as_the_live_card_below_it(run_cells):
    notebook = run_cells(
        SHOW,
        "LiveCard(RUN_CARD, Actions(), above=card).show_below(at(5, READY))",
        "card.finish(at(190, COMPLETED))",
    )
    notebook.page.set_viewport_size({"width": 900, "height": 800})  # less than its lines take
    notebook.run_cell(2)
    expect(card_of(notebook)).to_have_count(2)
    notebook.run_cell(3)
    expect(card_of(notebook).first).to_contain_text("COMPLETED")

    sides = [(box["x"], box["width"]) for box in map(Locator.bounding_box, card_of(notebook).all()) if box]
    assert len(sides) == 2
    assert sides[0] == sides[1]


def test_the_buttons_reach_python_by_mouse_and_by_keyboard(run_cells):
    notebook = run_cells(SHOW, "print(clicks)")
    card = notebook.output(1)
    card.get_by_role("button", name="Cancel", exact=True).dblclick()
    card.get_by_role("button", name="Keep running").click()
    expect(card.get_by_role("button", name="Keep running")).to_be_hidden()
    expect(card.get_by_role("button", name="Cancel", exact=True)).to_be_focused()
    card.get_by_role("button", name="Run again").click()
    card.get_by_role("button", name="Logs").focus()
    notebook.page.keyboard.press("Enter")
    expect(card.get_by_role("button", name="Hide logs")).to_be_focused()

    card.get_by_role("button", name="Cancel", exact=True).focus()
    for _ in range(3):
        notebook.page.keyboard.press("Enter")
    expect(card.get_by_role("alert")).to_have_text("Cancel this run?")
    expect(card.get_by_role("button", name="Cancel", exact=True)).to_be_focused()
    for _ in range(3):
        notebook.page.keyboard.press("Tab")
    expect(card.get_by_role("button", name="Yes, cancel")).to_be_focused()
    notebook.page.keyboard.press("Space")
    expect(card.get_by_role("button", name="Cancelling…")).to_be_focused()
    notebook.run_cell(2)
    assert notebook.output_text(2) == "['again', True, 'cancel']\n"
    card.get_by_role("button", name="Cancelling…").focus()
    in_kernel(notebook, "card.finish(at(190, COMPLETED))")
    expect(card_of(notebook)).to_contain_text("COMPLETED")
    expect(card.get_by_role("button", name="Cancel", exact=True)).to_be_focused()
    notebook.page.keyboard.press("Tab")
    expect(card.get_by_role("button", name="Cancel", exact=True)).to_be_hidden()
    expect(card.get_by_role("button", name="Copy id")).to_be_focused()
    notebook.page.keyboard.press("Enter")
    expect(card.get_by_role("button", name="Copied")).to_be_focused()
    assert notebook.page.evaluate("getSelection().toString()") == "7Hk2mQx9LpZa"
    card.get_by_role("button", name="Run again").click()
    in_kernel(notebook, "card.finish(at(190, replace(COMPLETED, remark=' '.join(map(str, clicks)))))")
    expect(card_of(notebook)).to_contain_text("again True cancel again")


def test_progress_is_a_bar_for_screen_readers(run_cells):
    notebook = run_cells("card.show(at(14, HALF_WAY))")
    bar = card_of(notebook).get_by_role("progressbar", name="Spark tasks done")

    expect(bar).to_have_attribute("aria-valuenow", "25")
    expect(bar).to_have_attribute("aria-valuemax", "100")
    assert size_of(bar.locator("span"))[0] == pytest.approx(size_of(bar)[0] / 4, abs=1)


def test_one_click_selects_an_id_whole(run_cells):
    notebook = run_cells(SHOW)
    card_of(notebook).locator(".dfm-run code").click()

    assert notebook.page.evaluate("getSelection().toString()") == "7Hk2mQx9LpZa"


def test_a_reloaded_page_shows_the_run_to_its_end(run_cells):
    notebook = run_cells(SHOW, "card.update(at(12, RUNNING))", "card.finish(at(190, FAILED))")
    notebook.save()
    notebook.reload()
    expect(notebook.output(1).locator(".dfm-live")).to_contain_text(
        "READY"
    )  # the saved card is there before the widgets
    notebook.run_cell(2)
    expect(card_of(notebook).first).to_contain_text("RUNNING")
    notebook.run_cell(3)

    expect(card_of(notebook)).to_contain_text("ValueError: <no> flights")
    expect(notebook.output(1).get_by_role("button", name="Run again")).to_be_enabled()
    expect(notebook.output(1)).to_contain_text(
        "keeps an earlier state of this card; show the end in a cell with"
    )


def test_a_page_that_is_loaded_after_the_end_from_a_file_with_the_live_card_shows_the_end(run_cells):
    notebook = run_cells(SHOW, "card.finish(at(190, FAILED))")
    notebook.save()
    notebook.run_cell(2)
    expect(card_of(notebook)).to_contain_text("ValueError: <no> flights")
    notebook.page.on("dialog", lambda dialog: dialog.accept())
    notebook.reload()

    expect(card_of(notebook)).to_contain_text("ValueError: <no> flights")
    expect(notebook.output(1).get_by_role("button", name="Run again")).to_be_enabled()
    expect(notebook.output(1)).to_contain_text(
        "keeps an earlier state of this card; show the end in a cell with"
    )


def test_after_a_restart_the_card_keeps_its_last_state_and_has_the_command_to_continue(run_cells):
    notebook = run_cells(SHOW, "card.update(at(12, RUNNING))")
    notebook.run_cell(2)
    expect(card_of(notebook)).to_contain_text("12 s")
    notebook.restart()
    live = notebook.output(1).locator(".dfm-live")
    command = live.get_by_text("%dataflow_status 7Hk2mQx9LpZa")

    expect(command).to_be_visible()
    expect(live).to_contain_text("RUNNING")
    expect(live.get_by_role("button")).to_have_count(0)
    icons = "all => all.filter(each => getComputedStyle(each, '::before').content !== 'none').length"
    disconnected = notebook.output(1).locator(".jupyter-widgets-disconnected:visible")
    expect(disconnected).not_to_have_count(0)
    shown = disconnected.evaluate_all(icons.replace(".content !== 'none'", ".display !== 'none'"))
    assert shown == 0

    notebook.save()
    notebook.page.on("dialog", lambda dialog: dialog.accept())
    notebook.reload()
    expect(card_of(notebook)).to_have_count(1)
    expect(card_of(notebook)).to_contain_text(
        "as of 12:00:12 KST · refresh with %dataflow_status 7Hk2mQx9LpZa"
    )
    expect(notebook.output(1).get_by_text("model not found")).to_be_hidden()


def test_a_card_whose_cell_was_moved_says_that_its_file_is_stale(run_cells):
    notebook = run_cells(SHOW, "card.finish(at(190, FAILED))")
    notebook.select_cell(1)
    notebook.command("notebook:move-cell-up")
    notebook.run_cell(2)

    expect(card_of(notebook, 0)).to_contain_text("ValueError: <no> flights")
    expect(notebook.output(0)).to_contain_text(
        "keeps an earlier state of this card; show the end in a cell with"
    )
    expect(notebook.output(0)).to_contain_text("%dataflow_status 7Hk2mQx9LpZa")


GROWING = """
from dataflow_magic.models.log import LogTail
log = LogTail()
def with_log(lines, view):
    global log
    log = log.after([f"row {n}: reading" for n in range(lines)])
    return at(190, replace(view, log_tail=log))
"""
# Where the log is scrolled to, what is selected, and whether the log has the keyboard's focus.
PLACE = """() => {
    const box = document.querySelector('.dfm-live .dfm-log'), first = box.querySelector('pre');
    const top = first.getBoundingClientRect().top - box.getBoundingClientRect().top;
    return [Math.round(top), getSelection().toString(), box.contains(document.activeElement)];
}"""


def test_an_open_log_that_grows_and_ends_keeps_scroll_selection_and_focus(run_cells):
    notebook = run_cells(f"{GROWING}\n{SHOW}")
    card = card_of(notebook)
    card.get_by_role("button", name="Logs").click()
    in_kernel(notebook, "card.update(with_log(40, RUNNING))")
    expect(card).to_contain_text("row 39: reading")
    box = card.locator(".dfm-log")
    assert bottom_of(box) == pytest.approx(bottom_of(box.locator("pre").last), abs=2)

    card.get_by_role("button", name="Hide logs").focus()
    notebook.page.keyboard.press("Tab")
    for _ in range(3):
        notebook.page.keyboard.press("ArrowUp")
    # Scrolling is smooth: it is over once two looks see the same place.
    notebook.page.wait_for_function(
        """() => {
            const {scrollTop} = document.querySelector('.dfm-live .dfm-log'), isOver = scrollTop === window.seen;
            window.seen = scrollTop;
            return scrollTop < -100 && isOver;
        }""",
        polling=300,
    )
    box.locator("pre").evaluate(
        """pre => {
            const range = document.createRange();
            range.setStart(pre.firstChild, 0);
            range.setEnd(pre.firstChild, 14);
            getSelection().removeAllRanges();
            getSelection().addRange(range);
        }"""
    )
    before = notebook.page.evaluate(PLACE)
    assert before[1:] == ["row 0: reading", True]
    in_kernel(notebook, "card.update(with_log(60, RUNNING))")
    expect(card).to_contain_text("row 59: reading")
    assert notebook.page.evaluate(PLACE) == before
    in_kernel(notebook, "card.finish(with_log(80, COMPLETED))")
    expect(card).to_contain_text("COMPLETED")
    expect(card).to_contain_text("row 79: reading")
    assert notebook.page.evaluate(PLACE) == before


def test_after_a_restart_an_ended_card_has_its_log_folded_and_the_commands(run_cells):
    notebook = run_cells(SHOW, "card.finish(at(190, replace(COMPLETED, last_lines=FAILED.failure.log_tail)))")
    notebook.run_cell(2)
    expect(card_of(notebook)).to_contain_text("COMPLETED")
    notebook.restart()

    card = card_of(notebook)
    expect(card).to_have_count(1)
    expect(card.get_by_text("%dataflow_run --again 7Hk2mQx9LpZa")).to_be_visible()
    expect(card.get_by_role("button")).to_have_count(0)
    expect(card.locator("pre")).not_to_be_visible()
    card.get_by_text("Last 20 lines of the log").focus()
    notebook.page.keyboard.press("Enter")
    expect(card.locator("pre")).to_contain_text("line 19 of <the log>")
    expect(card.get_by_text("%dataflow_logs 7Hk2mQx9LpZa --all")).to_be_visible()
    box, text = card.locator(".dfm-log"), card.locator("pre")
    assert size_of(box)[1] < size_of(text)[1]
    assert bottom_of(box) == pytest.approx(bottom_of(text), abs=2)


@pytest.fixture(scope="module")
def saved(lab: Lab, browser: Browser) -> Path:
    """A saved notebook whose card was live in two outputs when its run failed."""
    path = lab.root / "saved.ipynb"
    write_notebook(path, SETUP, SHOW, "card.show(at(12, RUNNING))", "card.finish(at(190, FAILED))")
    page = browser.new_page()
    notebook = lab.open(page, path.name)
    notebook.run_all()
    for cell in (1, 2):
        expect(card_of(notebook, cell)).to_contain_text("FAILED")
    notebook.save()
    page.close()
    return path


def test_a_saved_card_is_html_and_text_with_the_reason(saved):
    cells = json.loads(saved.read_text())["cells"]
    bundles = [output["data"] for cell in cells[1:3] for output in cell["outputs"] if output["data"]]

    assert [set(bundle) for bundle in bundles] == [{"text/html", "text/plain"}, {WIDGET}] * 2
    assert bundles[0]["text/plain"][0] == "FAILED  daily_delays  run 7Hk2mQx9LpZa  3 min 07 s in all  local\n"


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "untrusted"])
def test_a_saved_card_is_still_there_when_the_notebook_is_opened_again(saved, lab, page, trusted):
    path = saved
    if not trusted:
        # No longer what was signed on saving.
        notebook = json.loads(path.read_text())
        notebook["cells"][0]["source"] = "pass"
        path = path.with_name("from_elsewhere.ipynb")
        path.write_text(json.dumps(notebook))
    again = lab.open(page, path.name, kernel=False)

    assert again.is_trusted() is trusted
    expect(card_of(again)).to_contain_text("ValueError: <no> flights")
    expect(card_of(again).locator(".dfm-word")).to_have_text("FAILED")
    badge = card_of(again).locator(".dfm-badge")
    expect(badge).to_have_css("background-color", "rgb(207, 34, 46)")
    assert "widget" not in again.output(1).inner_text()


def test_nbconvert_shows_the_card_and_fetches_nothing_for_it(saved, page):
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "html", str(saved)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    # What nbconvert's own template asks for, such as MathJax, is not there.
    page.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
    page.goto(saved.with_suffix(".html").as_uri())

    card = page.locator(".dfm-card:visible").first
    expect(card).to_contain_text("ValueError: <no> flights")
    expect(card).to_have_css("border-top-left-radius", "8px")


def test_a_live_card_is_readable_without_widgets(run_cells, lab):
    notebook = run_cells(SHOW)
    saved_notebook = notebook.save()
    assert set(saved_notebook["cells"][1]["outputs"][1]["data"]) == {WIDGET}
    saved_notebook["cells"][0]["source"] = "pass"
    copy = notebook.path.with_name("alive_elsewhere.ipynb")
    copy.write_text(json.dumps(saved_notebook))
    again = lab.open(notebook.page, copy.name, kernel=False)

    expect(card_of(again)).to_contain_text("as of 12:00:04 KST · refresh with %dataflow_status 7Hk2mQx9LpZa")


def test_a_new_lab_takes_variables_and_settings(start_lab, page, tmp_path):
    lab = start_lab(
        env={"DATAFLOW_TARGET": "elsewhere"},
        settings={"@jupyterlab/apputils-extension/themes": {"theme": "JupyterLab Dark"}},
    )
    write_notebook(lab.root / "own.ipynb", "import os\nprint(os.environ['DATAFLOW_TARGET'])")
    notebook = lab.open(page, "own.ipynb")
    notebook.run_all()

    assert notebook.output_text(0) == "elsewhere\n"
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    notebook.screenshot(tmp_path / "own.png")
    assert (tmp_path / "own.png").stat().st_size > 0
