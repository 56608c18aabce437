"""Hostile text in every field of a run that comes from outside: cards, lines and errors stay harmless."""

from __future__ import annotations

import json
import unicodedata
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from dataflow_magic.card.run.html import to_html, to_text
from dataflow_magic.card.run.state import card_state
from dataflow_magic.client.responses import raise_for
from dataflow_magic.errors import RequestRejected
from dataflow_magic.session.run import LiveRun
from tests.hostile import NOON, PAYLOADS, hostile_views

HARMLESS = set(
    """
    b bdi br caption code dd details div dl dt em footer header i li meter ol output p pre progress section small span
    strong style summary table tbody td th thead time tr ul
    """.split()  # noqa: SIM905  a list of quoted words is harder to read
)
"""Elements that run nothing, fetch nothing, link nowhere and take no input."""

payloads = pytest.mark.parametrize("text", PAYLOADS.values(), ids=PAYLOADS)


class Markup(HTMLParser):
    """Reads HTML as a browser does: elements with their attributes, and the texts of style sheets."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.styles: list[str] = []
        self.sheets: list[str] = []
        self.texts: list[str] = []
        self.others: list[str] = []
        self._open: list[str] = []
        self.unclosed = 0
        self.feed(page)
        self.close()
        self.unclosed += len(self._open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "style":
                self.styles.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self.unclosed += not self._open or self._open.pop() != tag

    def handle_data(self, data: str) -> None:
        (self.sheets if self._open[-1:] == ["style"] else self.texts).append(data)

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    def handle_decl(self, decl: str) -> None:
        self.others.append(decl)

    def handle_pi(self, data: str) -> None:
        self.others.append(data)


@payloads
def test_hostile_text_adds_no_markup(text):
    for view, plain in zip(hostile_views(text), hostile_views("plain"), strict=True):
        page = to_html(card_state(view, NOON))
        found, usual = Markup(page), Markup(to_html(card_state(plain, NOON)))

        page.encode()
        assert set(found.tags) <= HARMLESS
        assert found.unclosed == 0
        assert found.others == []
        assert [name for name in found.attributes if name.startswith("on") or name in ("src", "href")] == []
        assert found.attributes <= usual.attributes
        # No byte of a style sheet or of an inline style comes from outside.
        assert found.sheets == usual.sheets
        assert set(found.styles) <= set(usual.styles)


@pytest.mark.parametrize("name", ["a formula", "backslashes", "template"])
def test_no_text_can_become_a_formula(name):
    for view in hostile_views(PAYLOADS[name]):
        texts = Markup(to_html(card_state(view, NOON))).texts

        assert "$" in texts
        assert [text for text in texts if len(text) > 1 and ("$" in text or "\\" in text)] == []


@payloads
def test_a_card_stays_small(text):
    pages = [to_html(card_state(view, NOON)) for view in hostile_views(text)]

    # A 4,000 character value, five times escaped, in each of some fields, and twenty lines of a log.
    assert max(len(page) for page in pages) < 1_000_000


@payloads
def test_plain_text_cannot_move_a_cursor_hide_text_or_grow(text):
    for view in hostile_views(text):
        text = to_text(card_state(view, NOON))

        assert len(text.split("\n")) <= 30
        assert max(len(line) for line in text.split("\n")) < 1_000
        for line in text.split("\n"):
            assert_harmless(line)


@pytest.mark.parametrize("name", ["script", "event handler", "a link", "a comment", "template"])
def test_the_text_is_shown_unchanged(name):
    text = PAYLOADS[name]
    view = next(hostile_views(text))
    (shown,) = (row.full or row.value for row in card_state(view, NOON).parameters if row.name == "other")

    assert shown == text


@payloads
def test_an_error_that_quotes_a_service_is_one_line_that_can_be_printed(text):
    body = json.dumps({"error": {"errorCode": text, "message": text, "details": text}}).encode()
    answer = httpx.Response(400, content=body, request=httpx.Request("GET", "http://127.0.0.1/"))

    with pytest.raises(RequestRejected) as raised:
        raise_for(answer, NOON.timestamp())
    assert_harmless(str(raised.value))
    assert len(str(raised.value)) < 1_000
    assert_harmless(raised.value._render_traceback_()[0])


@payloads
def test_a_run_can_be_printed(text):
    for view in hostile_views(text):
        unused: Any = None

        line = repr(LiveRun(view, unused, unused))
        assert len(line) < 400
        assert_harmless(line)


def assert_harmless(line: str) -> None:
    line.encode()
    assert {char for char in line if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")} == set()
    assert not any("\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069" for char in line)
