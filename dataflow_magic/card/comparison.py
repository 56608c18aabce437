"""Two runs side by side as a person reads them: what differs, then in one line what does not; as HTML and as text. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby
from typing import Final

from dataflow_magic.card import format as fmt
from dataflow_magic.card.markup import Markup, element, joined, style_sheet, whole
from dataflow_magic.card.words import ENGLISH
from dataflow_magic.models.comparison import Comparison, Difference, Fact
from dataflow_magic.models.text import clean, in_columns
from dataflow_magic.models.times import Span

__all__ = ["to_html", "to_text"]

SHORT: Final = 28
"""Characters of a value that stands in a column of a terminal; a longer one has a line of its own."""
MISSING: Final = "-"
NOTHING_DIFFERS: Final = "nothing differs that is known here"


def to_html(comparison: Comparison) -> str:
    """Return what differs as one table that needs nothing else."""
    found = [fact for fact in comparison.facts if fact.differs]
    heads = ["", comparison.first, comparison.second, ""]
    table = element(
        "table",
        element(
            "thead",
            element("tr", *(element("th", whole(head) if head else "", scope="col") for head in heads)),
        ),
        *(
            element("tbody", *(_row(fact, part if number == 0 else "") for number, fact in enumerate(facts)))
            for part, facts in groupby(found, key=lambda fact: fact.part)
        ),
        class_="dfm-list dfm-pair",
        aria_label=f"runs {comparison.first} and {comparison.second}",
    )
    notes = [element("p", note, class_="dfm-foot") for note in _notes(comparison)]
    shown = table if found else element("p", NOTHING_DIFFERS)
    return element("div", style_sheet("table.css"), shown, *notes, class_="dfm-table")


def to_text(comparison: Comparison) -> str:
    """Return the same as lines; values too long for a column stand below their name, marked ``-`` and ``+``."""
    found = [fact for fact in comparison.facts if fact.differs]
    rows = [("", "", fmt.short(comparison.first), fmt.short(comparison.second), "")]
    below: dict[int, list[str]] = {}
    for before, fact in zip([None, *found], found, strict=False):
        part = fact.part if before is None or before.part != fact.part else ""
        first, second = _value(fact.first), _value(fact.second)
        if fact.part == "script" or max(len(first), len(second)) > SHORT:
            signed = (("-", fact.first, first), ("+", fact.second, second))
            below[len(rows)] = [f"    {sign} {text}" for sign, value, text in signed if value is not None]
            first = second = ""
        rows.append((part, fmt.short(fact.name), first, second, _times(fact)))
    lines = in_columns(rows).split("\n") if found else [NOTHING_DIFFERS]
    written = [line for number, row in enumerate(lines) for line in (row, *below.get(number, ()))]
    return "\n".join([*written, *_notes(comparison)])


def _row(fact: Difference, part: str) -> Markup:
    cells = [
        element("td", element("code" if fact.part == "script" else "bdi", _value(value)))
        for value in (fact.first, fact.second)
    ]
    name = joined(element("span", f"{part} ", class_="dfm-part") if part else "", fmt.short(fact.name))
    return element("tr", element("th", name, scope="row"), *cells, element("td", _times(fact)))


def _notes(comparison: Comparison) -> Iterator[str]:
    """Yield what is unknown and what is the same."""
    for label, differs in (("not known whether it differs: ", None), ("the same: ", False)):
        facts = [fact for fact in comparison.facts if fact.differs is differs]
        if facts:
            names = [fact.part if fact.part == "script" else fmt.short(fact.name) for fact in facts]
            yield label + ", ".join(names)


def _value(value: Fact) -> str:
    if value is None:
        return MISSING
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, timedelta):
        return ENGLISH.length(Span(value, "here"))
    return clean(fmt.cut(value.expandtabs(4), fmt.FULL_LENGTH)) or '""'


def _times(fact: Difference) -> str:
    """Return by how much the second time or amount differs; nothing for some percent."""
    ratio = fact.ratio
    if ratio is None or 0.95 <= ratio < 1.05:
        return ""
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.2g}x"
