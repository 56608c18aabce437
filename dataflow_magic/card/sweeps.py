"""The table of sweeps as a person reads it, as HTML and as text of at most 100 columns. Pure.

A row is a mapping from the names of the table's columns to plain values, None where a value is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from dataflow_magic.card import format as fmt
from dataflow_magic.card.format import Kind
from dataflow_magic.card.markup import COLOURS, ICONS, element, joined, style_sheet, whole
from dataflow_magic.card.table import moment
from dataflow_magic.models.text import in_columns

__all__ = ["to_html", "to_lines", "to_text"]

HEADS: Final = (
    "sweep",
    "state",
    "job",
    "runs",
    "done",
    "failed",
    "live",
    "unsent",
    "limit",
    "created",
    "starts them",
)
KINDS: Final = {
    "COMPLETED": Kind.GOOD,
    "FAILED": Kind.BAD,
    "RUNNING": Kind.RUNNING,
    "PAUSED": Kind.WAITING,
    "STOPPED": Kind.BLIND,
    "LEFT": Kind.BLIND,
}
NONE: Final = "no sweeps"

Values = Mapping[str, Any]


def to_html(rows: Sequence[Values], total: int, now: datetime) -> str:
    """Return the rows as one table that needs nothing else, with the command that goes on with the newest.

    Parameters
    ----------
    rows
        The first rows of the table.
    total
        How many rows the whole table has.
    now
        Aware.
    """
    if not rows:
        return element("p", NONE)
    table = element(
        "table",
        element("thead", element("tr", *(element("th", head, scope="col") for head in HEADS))),
        element("tbody", *(_row(row, now) for row in rows)),
        class_="dfm-list dfm-sweeps",
        aria_label="sweeps",
    )
    notes = (
        joined(*(whole(part) if part.startswith("%") else part for part in note))
        for note in _footer(rows, total)
    )
    foot = element("p", *_joined(notes), class_="dfm-foot")
    return element("div", style_sheet("table.css"), table, foot, class_="dfm-table")


def to_text(rows: Sequence[Values], total: int, now: datetime) -> str:
    """Return the rows as lines, with the command that goes on with the newest; as `to_html`."""
    return "\n".join([to_lines(rows, now), *map("".join, _footer(rows, total))]) if rows else NONE


def to_lines(rows: Sequence[Values], now: datetime) -> str:
    """Return the rows as lines and nothing below them."""
    return in_columns([HEADS, *(_cells(row, now) for row in rows)]) if rows else NONE


def _cells(row: Values, now: datetime) -> tuple[str, ...]:
    driver = fmt.short(row["driver"] or "")
    return (
        fmt.short(row["sweep"]),
        fmt.short(row["state"]),
        fmt.cut(fmt.short(row["job"]), 20),
        *(f"{row[name]:,}" for name in ("runs", "completed", "failed", "live", "unsent")),
        "" if row["max_parallel"] is None else str(row["max_parallel"]),
        moment(row["created"], now),
        # The end of a path tells notebooks apart.
        driver if len(driver) <= 24 else f"…{driver[-23:]}",
    )


def _row(row: Values, now: datetime) -> str:
    key, state, job, *rest = _cells(row, now)
    kind = KINDS.get(state, Kind.UNKNOWN)
    sign = element("span", ICONS[kind], aria_hidden="true", style=f"color:{COLOURS[kind]}")
    return element(
        "tr",
        element("th", whole(key), scope="row"),
        element("td", sign, " ", state, title=fmt.line(row["story"] or "")),
        element("td", element("bdi", job)),
        *(element("td", each) for each in rest),
    )


def _footer(rows: Sequence[Values], total: int) -> Iterator[tuple[str, ...]]:
    """Yield what stands below the table, each as its parts; a command is a part of its own."""
    if total > len(rows):
        yield (f"and {total - len(rows):,} more",)
    key = next((row["sweep"] for row in rows if row["state"] in ("LEFT", "PAUSED")), None)
    if key is not None:
        yield ("starts the rest: ", f"%dataflow_attach {key}")
    else:
        yield ("its card: ", f"%dataflow_attach {rows[0]['sweep']}")


def _joined(notes: Iterator[str]) -> Iterator[str]:
    for number, note in enumerate(notes):
        yield " · " if number else ""
        yield note
