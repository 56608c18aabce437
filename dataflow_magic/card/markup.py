"""Elements and escaping, the palette and the style sheets of both cards. Knows no run and no sweep.

Text is escaped in `element` and `joined` and nowhere else. The markup reads well without any style, because GitHub and
untrusted notebooks strip the style sheet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final

from dataflow_magic.card.format import Kind
from dataflow_magic.card.look import State

__all__ = [
    "COLOURS",
    "KEYS",
    "TEXT_LINES",
    "Markup",
    "badge",
    "command",
    "element",
    "folded",
    "glossed",
    "joined",
    "left_behind",
    "log_box",
    "scroll_handle",
    "stale_note",
    "style_sheet",
    "whole",
    "with_snapshot_style",
]

TEXT_LINES: Final = 30
"""The most lines of a card as plain text."""

# A sign in addition to the word and the colour, for readers who see no colours.
ICONS: Final[dict[Kind, str]] = {
    Kind.WAITING: "◌",
    Kind.RUNNING: "▶\ufe0e",  # as text, not as a picture
    Kind.GOOD: "✓",
    Kind.BAD: "✕",
    Kind.CANCELED: "■",
    Kind.UNKNOWN: "?",
    Kind.BLIND: "!",
}

# Dark enough for white letters on them (4.5 to 1), light enough to stand out on a dark page.
COLOURS: Final[dict[Kind, str]] = {
    Kind.WAITING: "#66707b",
    Kind.RUNNING: "#0b6bcb",
    Kind.GOOD: "#1a7f37",
    Kind.BAD: "#cf222e",
    Kind.CANCELED: "#66707b",
    Kind.UNKNOWN: "#8250df",
    Kind.BLIND: "#9a6700",
}


KEYS: Final = {"data_lm_suppress_shortcuts": "true"}
"""Of an element that takes keys itself: JupyterLab would move between cells, or edit one."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def joined(*parts: str) -> Markup:
    """Return the parts as one piece of HTML; parts that are not markup are escaped as text."""
    return Markup("".join(part if isinstance(part, Markup) else _text(part) for part in parts))


def element(tag: str, *children: str, **attributes: str) -> Markup:
    """Return one element.

    Parameters
    ----------
    children
        Escaped as text unless they are `Markup`.
    attributes
        Named as in Python: ``class_``, ``aria_label``. Empty ones are left out.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items()
        if value
    )
    return Markup(f"<{tag}{written}>{joined(*children)}</{tag}>")


def whole(text: str) -> Markup:
    """Return an id or a command that one click selects whole."""
    # Inline, so that it works where the style sheet is stripped.
    return element("code", text, style="user-select:all;-webkit-user-select:all")


def log_box(lines: Sequence[str], label: str) -> Markup:
    """Return lines of a log in a box that scrolls and so can be reached by keyboard."""
    return scroll_handle(label, element("pre", "\n".join(lines)), class_="dfm-log")


def folded(summary: str, *inside: str, is_open: bool = False) -> Markup:
    """Return parts that a reader opens and closes, also by keyboard, below a summary of them."""
    return element("details", element("summary", summary, **KEYS), *inside, open="open" if is_open else "")


def scroll_handle(label: str, *inside: str, class_: str = "") -> Markup:
    """Return what takes the keyboard's focus, to scroll it or the widget it is in, which takes none."""
    return element("div", *inside, class_=class_, tabindex="0", role="region", aria_label=label, **KEYS)


def command(label: str, text: str) -> Markup:
    """Return a quiet line with a command and what it does."""
    return element("p", f"{label} ", whole(text), class_="dfm-none")


def badge(kind: Kind, state: str, gloss: str) -> Markup:
    """Return a state on its colour, with its sign and its meaning in the card's language."""
    return element(
        "strong",
        element("span", ICONS[kind], class_="dfm-icon", aria_hidden="true"),
        " ",
        element("span", state, class_="dfm-word"),
        glossed(gloss),
        class_=f"dfm-badge dfm-{kind}",
        # Inline as well: an untrusted notebook keeps this and drops the style sheet.
        style=f"background:{COLOURS[kind]};color:#fff;padding:1px 9px;border-radius:10px",
        role="status",
        aria_live="polite",
    )


def glossed(gloss: str) -> Markup:
    """Return what a state means, to stand after its word; nothing where there is no gloss."""
    return joined(" ", element("span", gloss, class_="dfm-gloss")) if gloss else joined()


def left_behind(state: State) -> Markup:
    """Return the command to continue with, which the style sheet shows once the kernel of a live card has ended."""
    return element("p", f"{state.words.left} ", whole(state.later), class_="dfm-left")


def with_snapshot_style(page: str, *, is_final: bool) -> Markup:
    """Return a static card that is hidden while the output below it shows it live; that output is hidden where it cannot."""
    kind = "dfm-snapshot dfm-final" if is_final else "dfm-snapshot"
    return element("div", style_sheet("snapshot.css"), Markup(page), class_=kind)


def stale_note(state: State) -> Markup:
    """Return that a notebook has no end of a card that its page shows, with the command that corrects it.

    The style sheet shows it where the output above it is of an earlier state.
    """
    return element("p", f"{state.words.stale} ", whole(state.refresh))


@cache
def style_sheet(name: str) -> Markup:
    """Return one of this package's style sheets on lines of its own, a rule a line, without comments and spare spaces.

    Every saved card has a copy. Its lines are the same in all, so a notebook that was executed again differs in others.
    """
    sheet = files("dataflow_magic.card").joinpath(name).read_text("utf-8")
    rules = _SPARE_CSS.sub("", sheet)
    for long, short in ((": ", ":"), (", ", ","), (" {", "{"), (" > ", ">"), (";}", "}"), ("}", "}\n")):
        rules = rules.replace(long, short)
    return Markup(f"<style>\n{rules}</style>")


_SPARE_CSS: Final = re.compile(r"/[*].*?[*]/|^ +|\n", re.DOTALL | re.MULTILINE)
_TYPESET: Final = re.compile(r"[$\\]")


def _text(text: str) -> Markup:
    # JupyterLab typesets text between two dollar signs or in \(\) as a formula, and drops one of two backslashes.
    # It does not see a sign that is alone in an element.
    return Markup(_TYPESET.sub(r"<span>\g<0></span>", escape(text)))
