"""The card of a sweep in a real JupyterLab: its bar, its rows, its buttons, and the saved notebook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import Lab, OpenNotebook, write_notebook

pytestmark = pytest.mark.browser

# The kernel's side: a card, and views of many runs to feed it with, as a sweep's handle would.
SETUP = """
from datetime import datetime, timedelta
from dataflow_magic.card.sweep.state import Rows, SweepView, sweep_state
from dataflow_magic.card.actions import Actions
from dataflow_magic.card.output import LiveCard
from dataflow_magic.card.sweep import SWEEP_CARD
from dataflow_magic.models.wire import JobCondition, JobExecution
from dataflow_magic.models.request import JobRef, RunRequest
from dataflow_magic.models.failure import Failure
from dataflow_magic.models.view import KST, RunView

NOON = datetime(2026, 11, 1, 12, tzinfo=KST)
ENDED = ("COMPLETED", "FAILED")

def run(number, status):
    return RunView(
        RunRequest(
            JobRef("gqigvHq1w2e3", "id"), JobCondition(num_worker=4),
            {"$month": str(number % 12 + 1), "$origin": "<JFK>"},
        ),
        "local", "http://127.0.0.1:4242", "", "daily_delays",
        submitted_at=NOON, running_since=None if status == "READY" else NOON + timedelta(seconds=5),
        execution=JobExecution(
            job_execution_id=f"run{number:09}", status=status,
            end_date=NOON + timedelta(seconds=65) if status in ENDED else None,
        ),
        failure=Failure("ValueError: <no> flights") if status == "FAILED" else None,
    )

def at(seconds, *statuses, total=0, **fields):
    runs = tuple((number, run(number, status)) for number, status in enumerate(statuses))
    view = SweepView(("$month", "$origin"), total or len(runs), runs, **fields)
    return sweep_state(view, NOON + timedelta(seconds=seconds), rows=rows)

rows = Rows(("$month", "$origin"))
clicks = []
card = LiveCard(
    SWEEP_CARD,
    Actions(
        lambda: clicks.append("cancel"), lambda: clicks.append("retry"),
        pause=lambda pauses: clicks.append("pause" if pauses else "resume"),
    ),
)
"""
SHOW = "card.show(at(4, *['READY'] * 20))"


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


def card_of(notebook: OpenNotebook) -> Locator:
    return notebook.output(1).locator(".dfm-card:visible")


def box_of(shown: Locator) -> tuple[float, float]:
    box = shown.bounding_box()
    assert box is not None
    return box["width"], box["height"]


def below_the_top(card: Locator, part: Locator) -> float:
    """Return how far below the top of a card a part of it is, in pixels; the page may scroll."""
    boxes = card.bounding_box(), part.bounding_box()
    assert boxes[0] is not None
    assert boxes[1] is not None
    return boxes[1]["y"] - boxes[0]["y"]


def states(notebook: OpenNotebook) -> list[str]:
    return card_of(notebook).locator("tbody th").all_text_contents()


def test_the_card_of_twenty_runs_keeps_its_size_and_ends_as_html(run_cells, tmp_path):
    notebook = run_cells(
        SHOW,
        "card.update(at(9, *['RUNNING'] * 4, *['READY'] * 16))",
        "card.update(at(70, 'FAILED', *['COMPLETED'] * 7, *['RUNNING'] * 4, *['READY'] * 8))",
        "card.finish(at(99, 'FAILED', *['COMPLETED'] * 19, is_over=True))",
    )
    card = card_of(notebook)
    bar = card.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", "0")
    sizes = [box_of(card)]

    notebook.run_cell(2)
    expect(card).to_contain_text("4 RUNNING")
    assert states(notebook) == ["RUNNING"] * 4 + ["READY"] * 16
    sizes.append(box_of(card))

    notebook.run_cell(3)
    expect(bar).to_have_attribute("aria-valuenow", "8")
    assert states(notebook) == ["FAILED"] + ["RUNNING"] * 4 + ["READY"] * 8 + ["COMPLETED"] * 7
    expect(card).to_contain_text("ValueError: <no> flights")
    assert box_of(bar)[0] > 400
    notebook.screenshot(tmp_path / "live.png", cell=1)
    sizes.append(box_of(card))

    notebook.run_cell(4)
    expect(card.locator(".dfm-word")).to_have_text("FAILED")
    assert states(notebook) == ["FAILED"] + ["COMPLETED"] * 19
    expect(bar).to_have_attribute("aria-valuenow", "20")
    notebook.screenshot(tmp_path / "over.png", cell=1)
    sizes.append(box_of(card))

    assert {width for width, _ in sizes} == {sizes[0][0]}
    assert {height for _, height in sizes} == {sizes[0][1]}
    saved = [set(each["data"]) for each in notebook.save()["cells"][1]["outputs"]]
    assert saved == [{"text/html", "text/plain"}, {"application/vnd.jupyter.widget-view+json"}]


def test_the_rows_scroll_under_their_columns_and_an_id_is_selected_whole(run_cells):
    notebook = run_cells("card.show(at(4, *['READY'] * 300))")
    card = card_of(notebook)
    rows = card.locator(".dfm-rows")
    expect(card).to_contain_text("not shown: 100 READY; list all with %dataflow_runs --job daily_delays")

    assert box_of(rows)[1] <= 322
    assert rows.evaluate("each => each.scrollHeight") > 3_500
    rows.evaluate("each => { each.scrollTop = 2000 }")
    columns = card.locator(".dfm-columns thead th").first
    top = columns.bounding_box()
    frame = rows.bounding_box()
    assert top is not None
    assert frame is not None
    assert abs(top["y"] - frame["y"]) < 4
    code = card.locator("tbody code").first
    assert code.evaluate("each => getComputedStyle(each).userSelect") == "all"
    column, cell = (
        card.locator(which).first.bounding_box()
        for which in ("thead th:nth-child(4)", "tbody td:nth-child(4)")
    )
    assert column is not None
    assert cell is not None
    assert abs(column["x"] - cell["x"]) < 1


def test_canceling_asks_for_confirmation_and_retrying_does_not(run_cells):
    notebook = run_cells(SHOW, "card.update(at(70, 'FAILED', *['RUNNING'] * 19))", "print(clicks)")
    output = notebook.output(1)
    cancel = output.get_by_role("button", name="Cancel all")
    cancel.dblclick()
    expect(output.get_by_role("alert")).to_have_text("Cancel 20 runs?")
    place = cancel.bounding_box()
    answers = [each.bounding_box() for each in output.locator(".dfm-ask button").all()]
    assert place is not None
    assert len(answers) == 2
    assert all(answer is not None and answer["y"] >= place["y"] + place["height"] for answer in answers)
    output.get_by_role("button", name="Keep running").click()
    expect(output.get_by_role("alert")).to_be_hidden()
    expect(cancel).to_be_focused()
    notebook.run_cell(2)
    output.get_by_role("button", name="Retry failed (1)").click()
    cancel.click(click_count=4)
    output.get_by_role("button", name="Yes, cancel").click()
    expect(output.get_by_role("button", name="Cancelling…")).to_be_focused()
    notebook.run_cell(3)

    assert notebook.output_text(3) == "['retry', 'cancel']\n"


@pytest.mark.parametrize(("theme", "width"), [("JupyterLab Light", 250), ("JupyterLab Dark", 0)])
def test_a_sweep_is_paused_and_resumed_by_one_button_that_stays_where_it_is(
    run_cells, tmp_path: Path, theme, width
):
    left = "*['RUNNING'] * 4, total=30"
    notebook = run_cells(
        f"card.show(at(9, {left}, can_pause=True))",
        f"card.offer(); card.update(at(12, {left}, can_resume=True, stopped='paused'))",
        "print(clicks)",
    )
    notebook.theme(theme)
    output = notebook.output(1)
    if width:
        notebook.page.add_style_tag(content=f".jp-OutputArea-output {{ max-width: {width}px }}")
    notebook.screenshot(tmp_path / "live.png", cell=1)
    pause = output.get_by_role("button", name="Pause")
    place = below_the_top(card_of(notebook), pause)
    pause.dblclick()
    expect(pause).to_be_focused()
    notebook.run_cell(2)
    resume = output.get_by_role("button", name="Resume (26)")
    expect(card_of(notebook).locator(".dfm-word")).to_have_text("PAUSED")
    expect(card_of(notebook)).to_contain_text("26 not sent: paused")
    notebook.screenshot(tmp_path / "paused.png", cell=1)
    there = below_the_top(card_of(notebook), resume)
    resume.click()
    notebook.run_cell(3)

    assert notebook.output_text(3) == "['pause', 'resume']\n"
    assert there == place


def test_the_card_is_legible_in_the_dark_theme(run_cells, tmp_path: Path):
    notebook = run_cells(SHOW, "card.update(at(70, 'FAILED', *['COMPLETED'] * 7, *['RUNNING'] * 12))")
    notebook.theme("JupyterLab Dark")
    notebook.run_cell(2)
    expect(card_of(notebook)).to_contain_text("7 COMPLETED")
    notebook.screenshot(tmp_path / "dark.png", cell=1)
    backgrounds = [
        shown.evaluate("each => getComputedStyle(each).backgroundColor")
        for shown in (card_of(notebook), card_of(notebook).locator("thead th").first)
    ]

    assert backgrounds == ["rgb(33, 33, 33)"] * 2
