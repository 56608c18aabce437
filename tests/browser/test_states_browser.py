"""The card of each state in JupyterLab: its outline as approved, and whether its words can be read in both themes.

Each outline in ``approved/`` is Playwright's ARIA snapshot of the card: roles, names and words in order, compared exactly.
Pixels are not compared: each version of Chromium and its fonts draws letters differently. After an intended change,
``DATAFLOW_APPROVE=1`` makes this test write the outlines again; review the difference.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.lab import Lab, OpenNotebook, open_page, write_notebook
from tests.states import STATES

pytestmark = pytest.mark.browser

APPROVED = Path(__file__).parent / "approved"
APPROVE = "DATAFLOW_APPROVE"
READABLE = 4.5
"""Contrast that WCAG 2 asks of text at level AA."""

# Text, and its contrast with what is below it, of all that is seen in a card. Colours are read as they are drawn.
LOOK = """card => {
    card.querySelectorAll('details').forEach(details => { details.open = true; });
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const drawn = color => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
        return [red, green, blue, alpha / 255];
    };
    const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
    const ground = element => {
        const below = element.parentElement ? ground(element.parentElement) : [255, 255, 255];
        return over(drawn(getComputedStyle(element).backgroundColor), below);
    };
    const luminance = color => color.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const found = [], texts = document.createTreeWalker(card, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement, text = texts.currentNode.textContent.trim();
        if (!text || !element.checkVisibility() || element.closest('style, :disabled')) continue;
        const below = ground(element), seen = over(drawn(getComputedStyle(element).color), below);
        const [dark, light] = [luminance(seen), luminance(below)].sort((one, other) => one - other);
        found.push([text, (light + 0.05) / (dark + 0.05)]);
    }
    return found;
}"""

SETUP = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from datetime import timedelta
from dataflow_magic.card.run.state import card_state
from dataflow_magic.card.actions import Actions
from dataflow_magic.card.output import LiveCard
from dataflow_magic.card.run import RUN_CARD
from tests.states import NOON, STATES

def show(name):
    card, state = LiveCard(RUN_CARD, Actions()), card_state(STATES[name], NOON + timedelta(seconds=95))
    card.show(state)
    if state.is_final:
        card.finish(state)
"""


@pytest.fixture(scope="module")
def notebook(lab: Lab, browser: Browser) -> Iterator[OpenNotebook]:
    """A notebook with the card of each state, live where its run is."""
    write_notebook(lab.root / "approved.ipynb", SETUP, *(f"show({name!r})" for name in STATES))
    with open_page(browser) as page:
        opened = lab.open(page, "approved.ipynb")
        opened.run_all()
        yield opened


@pytest.mark.parametrize(("cell", "name"), list(enumerate(STATES, 1)), ids=list(STATES))
def test_the_outline_of_a_card_is_the_approved_one(notebook, cell, name):
    output = notebook.output(cell)
    output.scroll_into_view_if_needed()
    card = output.locator(".dfm-card:visible").first
    expect(card).to_contain_text(STATES[name].status)
    outline = f"{card.aria_snapshot()}\n"
    approved = APPROVED / f"{name.replace(' ', '-').lower()}.yaml"
    if os.environ.get(APPROVE) == "1":
        APPROVED.mkdir(exist_ok=True)
        approved.write_text(outline, "utf-8")

    assert outline == approved.read_text("utf-8")


def test_each_approved_outline_belongs_to_a_state():
    assert {path.stem for path in APPROVED.glob("*.yaml")} == {
        name.replace(" ", "-").lower() for name in STATES
    }


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_every_word_is_readable_in_the_theme(notebook, theme):
    notebook.theme(theme)
    for cell, name in enumerate(STATES, 1):
        output = notebook.output(cell)
        output.scroll_into_view_if_needed()
        seen = output.locator(".dfm-card:visible").first.evaluate(LOOK)

        assert len(seen) > 5
        assert [(name, text, round(ratio, 2)) for text, ratio in seen if ratio < READABLE] == []
