"""Both cards in outputs from 100 to 1,400 pixels wide, at 100 % and 200 %: nothing is cut, what identifies a run least of all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import test_card_browser, test_sweep_browser
from tests.browser.lab import Lab, OpenNotebook, open_page, write_notebook

pytestmark = pytest.mark.browser

NAME = "daily_delays_of_every_airport_in_the_country_for_the_monthly_report_of_the_operations_department_v02"
VALUE = "s3a://flights/2026/11/01/by_origin_and_destination/part-00000-of-00128.parquet"[:72]
CELLS = {
    "live": "card.show(at(14, HALF_WAY))",
    "blind": "LiveCard(RUN_CARD, Actions()).show(at(30, BLIND))",
    "completed": "LiveCard(RUN_CARD, Actions()).show(at(190, COMPLETED))",
    "failed": "LiveCard(RUN_CARD, Actions()).show(at(190, FAILED))",
    "long": f"LiveCard(RUN_CARD, Actions()).show(at(30, replace(RUNNING, job_name={NAME!r})))",
}
SWEEPS = {
    "live sweep": "card.show(at(70, 'FAILED', *['COMPLETED'] * 7, *['RUNNING'] * 4, *['READY'] * 8))",
    "sweep": "LiveCard(SWEEP_CARD, Actions()).show(at(99, 'FAILED', *['COMPLETED'] * 3, is_over=True))",
}
# What a run is known by: seen in each card, at any width.
SHOWN = {
    "live": [
        "RUNNING",
        "daily_delays",
        "7Hk2mQx9LpZa",
        "14 s",
        "Cancel",
        "Run again",
        "Logs",
        "50 of 200 tasks",
    ],
    "blind": ["RUNNING", "daily_delays", "7Hk2mQx9LpZa", "30 s", "connection refused", "Cancel"],
    "completed": [
        "COMPLETED",
        "daily_delays",
        "7Hk2mQx9LpZa",
        "3 min 07 s",
        "%dataflow_run --again 7Hk2mQx9LpZa",
    ],
    "failed": ["FAILED", "daily_delays", "ValueError: <no> flights", "%dataflow_run --again 7Hk2mQx9LpZa"],
    "long": [NAME, "7Hk2mQx9LpZa", "Cancel"],
    "live sweep": [
        "RUNNING",
        "daily_delays",
        "1 min 10 s",
        "1 FAILED",
        "8 READY",
        "Retry failed (1)",
        "Cancel all",
    ],
    "sweep": ["FAILED", "daily_delays", "run000000003", "<JFK>", "ValueError: <no> flights"],
}
NARROW = """
.jp-Notebook .jp-OutputArea-child { flex: none !important; width: var(--width) !important; zoom: var(--zoom); }
.jp-Notebook .jp-OutputPrompt { display: none !important; }
"""
# Texts of a card that are seen in part only: outside the card, or outside a box that hides what does not fit in it.
CUT = """card => {
    const found = [], texts = document.createTreeWalker(card, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement, text = texts.currentNode.textContent.trim();
        if (!text || element.closest('style') || !element.checkVisibility()) continue;
        const range = document.createRange();
        range.selectNodeContents(texts.currentNode);
        const boxes = [...range.getClientRects()].filter(box => box.width > 0);
        for (let around = element; around && card.contains(around); around = around.parentElement) {
            if (around !== card && getComputedStyle(around).overflowX === 'visible') continue;
            const frame = around.getBoundingClientRect();
            if (boxes.some(box => box.left < frame.left - 1 || box.right > frame.right + 1)) found.push(text);
        }
    }
    return found;
}"""


def opened_with(
    lab: Lab, browser: Browser, name: str, setup: str, cells: dict[str, str]
) -> Iterator[OpenNotebook]:
    write_notebook(lab.root / name, setup, *cells.values())
    with open_page(browser) as page:
        page.set_viewport_size({"width": 1800, "height": 1000})
        notebook = lab.open(page, name)
        notebook.run_all()
        page.add_style_tag(content=NARROW)
        yield notebook


@pytest.fixture(scope="module")
def runs(lab: Lab, browser: Browser) -> Iterator[OpenNotebook]:
    """A notebook with cards of runs."""
    yield from opened_with(lab, browser, "widths.ipynb", test_card_browser.SETUP, CELLS)


@pytest.fixture(scope="module")
def sweeps(lab: Lab, browser: Browser) -> Iterator[OpenNotebook]:
    """A notebook with cards of sweeps."""
    yield from opened_with(lab, browser, "sweep_widths.ipynb", test_sweep_browser.SETUP, SWEEPS)


@pytest.mark.parametrize(
    ("width", "zoom"), [(100, 2), (240, 1), (240, 2), (360, 1), (600, 1), (600, 2), (1400, 1)]
)
@pytest.mark.parametrize("kind", ["runs", "sweeps"])
def test_nothing_of_a_card_is_cut(request, kind, width, zoom):
    notebook: OpenNotebook = request.getfixturevalue(kind)
    notebook.page.evaluate(
        """([width, zoom]) => {
            const style = document.documentElement.style;
            style.setProperty('--width', `${width}px`);
            style.setProperty('--zoom', zoom);
        }""",
        [width, zoom],
    )
    for cell, name in enumerate(CELLS if kind == "runs" else SWEEPS, 1):
        output = notebook.output(cell)
        output.scroll_into_view_if_needed()
        card = output.locator(".dfm-card:visible").first
        box = card.bounding_box()
        assert box is not None
        assert box["width"] <= width * zoom
        for text in SHOWN[name]:
            expect(card.get_by_text(text).first).to_be_visible()
        assert (name, card.evaluate(CUT)) == (name, [])


@pytest.mark.parametrize(("width", "columns"), [(240, 0), (1400, 1)])
def test_a_narrow_sweep_names_each_value_of_its_rows(sweeps, width, columns):
    sweeps.page.evaluate(
        "width => document.documentElement.style.setProperty('--width', `${width}px`)", width
    )
    sweeps.page.evaluate("document.documentElement.style.setProperty('--zoom', 1)")
    value = sweeps.output(2).locator("td[data-name=month]").filter(visible=True).first
    value.scroll_into_view_if_needed()

    expect(sweeps.output(2).locator("thead").filter(visible=True)).to_have_count(columns)
    named = value.evaluate("each => getComputedStyle(each, '::before').content")
    assert named == ("none" if columns else '"month="')
