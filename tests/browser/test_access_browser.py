"""Both cards for people who use a screen reader, a keyboard or colours of their own: axe's rules, and forced colours."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import test_card_browser, test_sweep_browser
from tests.browser.lab import Lab, OpenNotebook, open_page, write_notebook

pytestmark = pytest.mark.browser

# The set-ups share some names, so each card keeps those of its own.
CELLS = (
    test_card_browser.SETUP,
    "from dataflow_magic.models.log import LogTail\ncard.show(at(14, HALF_WAY))",
    "card.update(at(14, replace(HALF_WAY, log_tail=LogTail(tuple(f'row {n}' for n in range(60))))))",
    "LiveCard(RUN_CARD, Actions()).show(at(190, FAILED))",
    "LiveCard(RUN_CARD, Actions(), interactive=False).show(at(190, FAILED))",
    test_sweep_browser.SETUP,
    "card.show(at(70, 'FAILED', *['COMPLETED'] * 7, *['RUNNING'] * 4, *['READY'] * 8))",
    "LiveCard(SWEEP_CARD, Actions()).show(at(99, 'FAILED', *['COMPLETED'] * 19, is_over=True))",
    "LiveCard(SWEEP_CARD, Actions(), interactive=False).show(at(99, 'FAILED', *['COMPLETED'] * 19, is_over=True))",
)
CARDS = {
    "live run": 1,
    "ended run": 3,
    "saved run": 4,
    "live sweep": 6,
    "ended sweep": 7,
    "saved sweep": 8,
}
AXE = """async card => (await axe.run(card)).violations.flatMap(
    rule => rule.nodes.map(node => `${rule.id}: ${node.html.slice(0, 200)}`))"""
OPEN = "card => card.querySelectorAll('details').forEach(details => { details.open = true; })"
# What is drawn of an element in forced colours: its ground and border, by whether they differ from the page's.
DRAWN = """element => {
    const style = getComputedStyle(element), page = getComputedStyle(document.body).backgroundColor;
    return style.backgroundColor !== page || (style.borderTopStyle !== 'none' && style.borderTopWidth !== '0px');
}"""


@pytest.fixture(scope="module")
def notebook(lab: Lab, browser: Browser) -> Iterator[OpenNotebook]:
    """A notebook with a card of each kind, the log of the first open."""
    write_notebook(lab.root / "access.ipynb", *CELLS)
    with open_page(browser) as page:
        opened = lab.open(page, "access.ipynb")
        for cell in range(len(CELLS)):
            opened.run_cell(cell)
            if cell == 1:
                opened.output(1).get_by_role("button", name="Logs").click()
        expect(opened.output(1).get_by_text("row 59")).to_be_visible()
        page.add_script_tag(content=files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
        yield opened


@pytest.mark.parametrize("name", CARDS)
def test_axe_finds_nothing(notebook, name):
    card = notebook.output(CARDS[name]).locator(".dfm-card:visible").first
    card.scroll_into_view_if_needed()
    card.evaluate(OPEN)

    assert card.evaluate(AXE) == []


def test_forced_colours_keep_bars_and_buttons(notebook):
    notebook.page.emulate_media(forced_colors="active")
    try:
        for cell, selector in (
            (1, ".dfm-bar"),
            (1, ".dfm-done"),
            (6, ".dfm-share"),
            (6, ".dfm-share .dfm-bad"),
        ):
            part = notebook.output(cell).locator(f".dfm-card:visible {selector}").first
            assert (selector, part.evaluate(DRAWN)) == (selector, True)
        for cell, button in (
            (1, "Cancel"),
            (3, "Copy id"),
            (3, "Run again"),
            (6, "Cancel all"),
            (7, "Retry failed"),
        ):
            shown = notebook.output(cell).get_by_role("button", name=button).first
            assert (button, shown.evaluate(DRAWN)) == (button, True)
        grounds = [
            notebook.output(6)
            .locator(f".dfm-share .dfm-{kind}:visible")
            .evaluate("e => getComputedStyle(e).backgroundColor")
            for kind in ("good", "bad")
        ]
        assert len(set(grounds)) == 2, "completed and failed runs look different"
    finally:
        notebook.page.emulate_media(forced_colors="none")
