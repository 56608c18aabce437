"""Hostile text in a real JupyterLab: no script runs, nothing is fetched, the card keeps its size and shows the text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.lab import Lab, OpenNotebook, open_page, write_notebook
from tests.helpers import ACCESS_KEY, SECRET_KEY
from tests.hostile import PAYLOADS, hostile_views
from tests.servers import at_a_port_of

pytestmark = pytest.mark.browser

CARDS = len(list(hostile_views("")))
MOST_PIXELS = 1_400
"""Height of a card with twelve parameters, a long name and reason on many lines, and a log that scrolls."""
ALIVE = 3
"""The card that is shown with widgets: the live one with the most text."""

# What is looked at in one card: attributes that run scripts, elements that fetch or lead somewhere, formulas, and what is laid
# over the page, but for the heads of our own tables and logs.
LOOK = """cards => cards.map(card => {
    const all = [card, ...card.querySelectorAll('*')];
    return {
        height: card.getBoundingClientRect().height,
        handlers: all.flatMap(e => e.getAttributeNames()).filter(name => name.startsWith('on')),
        foreign: all.map(e => e.localName).filter(name => [
            'script', 'iframe', 'img', 'svg', 'link', 'object', 'embed', 'form', 'input', 'base', 'meta',
            'mjx-container', 'math',
        ].includes(name)),
        links: all.filter(e => e.localName === 'a').map(e => e.href),
        placed: all.filter(e => ['fixed', 'sticky'].includes(getComputedStyle(e).position))
            .filter(e => !e.matches('.dfm-columns, .dfm-handle, thead th')).length,
        text: card.textContent,
    };
})"""

SETUP = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from dataflow_magic.card.run.state import card_state
from dataflow_magic.card.actions import Actions
from dataflow_magic.card.output import LiveCard
from dataflow_magic.card.run import RUN_CARD
from tests.hostile import NOON, PAYLOADS, hostile_views

def show(name):
    for index, view in enumerate(hostile_views(PAYLOADS[name])):
        card = LiveCard(RUN_CARD, Actions(), interactive=index == {ALIVE})
        card.show(card_state(view, NOON))
"""


@pytest.fixture(scope="module")
def fetched() -> list[str]:
    """Addresses the page requested."""
    return []


@pytest.fixture(scope="module")
def notebook(lab: Lab, browser: Browser, fetched: list[str]) -> Iterator[OpenNotebook]:
    """A notebook with a cell of cards for each payload, all shown."""
    write_notebook(lab.root / "hostile.ipynb", SETUP, *(f"show({name!r})" for name in PAYLOADS))
    with open_page(browser) as page:
        page.on("request", lambda request: fetched.append(request.url))
        opened = lab.open(page, "hostile.ipynb")
        opened.run_all()
        yield opened


@pytest.mark.parametrize(("cell", "name"), list(enumerate(PAYLOADS, 1)), ids=list(PAYLOADS))
def test_no_card_runs_fetches_or_grows(notebook, cell, name):
    # JupyterLab renders only the outputs that are in sight.
    notebook.output(cell).scroll_into_view_if_needed()
    cards = notebook.output(cell).locator(".dfm-card:visible")
    expect(cards).to_have_count(CARDS)
    expect(cards.nth(ALIVE)).to_contain_text("READY")
    seen = cards.evaluate_all(LOOK)

    assert [card["handlers"] for card in seen] == [[]] * CARDS
    assert [card["foreign"] for card in seen] == [[]] * CARDS
    assert [card["links"] for card in seen] == [[]] * CARDS
    assert [card["placed"] for card in seen] == [0] * CARDS
    assert max(card["height"] for card in seen) <= MOST_PIXELS
    # The first words, as far as no character of them is replaced by the picture of a control character.
    first = PAYLOADS[name].partition("\n")[0][:30]
    if first.isprintable():
        assert all(first in card["text"] for card in seen)


def test_no_script_ran_and_no_request_left_the_page(notebook, fetched):
    assert notebook.page.evaluate("window.harmed") is None
    origin = notebook.page.url.partition("/lab")[0]
    assert [url for url in fetched if not url.startswith((origin, "data:", "blob:"))] == []


def test_text_of_a_service_is_shown_and_does_nothing(lab, page, tmp_path):
    # Job names in the table of jobs, and in the refusal of a start the words and the code of the service.
    said = [""]

    def answer(method: str, path: str) -> tuple[int, bytes]:
        jobs = {"list": [{"jobId": "job000000001", "name": said[0], "type": "SCRIPT"}], "count": 1}
        refusal = {"error": dict.fromkeys(("errorCode", "message", "details"), said[0])}
        is_list = method == "GET" and path == "/api/v1/jobs"
        return (200, json.dumps(jobs).encode()) if is_list else (400, json.dumps(refusal).encode())

    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    with at_a_port_of(answer) as address:
        variables = {
            "DATAFLOW_MAGIC_HOME": str(tmp_path / "home"),
            "DATAFLOW_TARGET": address,
            "DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY,
            "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY,
        }
        set_up = f"import os\nos.environ.update({variables!r})\n%load_ext dataflow_magic"
        write_notebook(lab.root / "refusing.ipynb", set_up, "%dataflow_jobs", "%dataflow_run id:job000000001")
        notebook = lab.open(page, "refusing.ipynb")
        notebook.run_cell(0)
        for said[0] in PAYLOADS.values():
            notebook.run_cell(1)
            notebook.run_cell(2)
            expect(notebook.output(1)).to_contain_text("job000000001")
            expect(notebook.output(2)).to_contain_text("400")
            for cell in (1, 2):
                # Around what a cell says JupyterLab has pictures of its own.
                for seen in notebook.output(cell).locator("[data-mime-type]").evaluate_all(LOOK):
                    assert seen["handlers"] == []
                    # A formula in a DataFrame is one everywhere: pandas leaves it to JupyterLab.
                    assert set(seen["foreign"]) <= {"mjx-container", "math"}
                    # JupyterLab makes links of addresses in plain text, and of what it cannot read empty ones.
                    assert [link for link in seen["links"] if link and not link.startswith("http")] == []
                    assert seen["height"] <= MOST_PIXELS

    assert page.evaluate("window.harmed") is None
    assert [url for url in fetched if "harm.example" in url] == []
