"""The table of runs as a person reads it: few columns, readable times, as HTML and as text of at most 100 columns. Pure.

A row is a mapping from the names of the table's columns to plain values, None where a value is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from unicodedata import east_asian_width

from dataflow_magic.card import format as fmt
from dataflow_magic.card.format import KINDS, Kind
from dataflow_magic.card.markup import COLOURS, ICONS, element, joined, style_sheet, whole
from dataflow_magic.card.words import ENGLISH
from dataflow_magic.models.times import Span
from dataflow_magic.models.wire import KST, RunState

__all__ = ["moment", "to_html", "to_text"]

WIDTH: Final = 100
"""Columns of a terminal that the text fits."""
PARAMETER: Final = "param."

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Line:
    """One run as text; ``full`` holds what is cut elsewhere."""

    kind: Kind
    status: str
    job: str
    parameters: str
    submitted: str
    waited: str
    ran: str
    reason: str
    run_id: str
    full: str


def to_html(rows: Sequence[Values], total: int, now: datetime) -> str:
    """Return the rows as one table that needs nothing else, the reason of a run below it.

    Parameters
    ----------
    rows
        The first rows of the table.
    total
        How many rows the whole table has.
    now
        Aware.
    """
    lines = [_line(row, now) for row in rows]
    if not lines:
        return element("p", "no runs")
    heads = ("status", "job", "parameters", "submitted", "waited", "ran", "run")
    table = element(
        "table",
        element("thead", element("tr", *(element("th", head, scope="col") for head in heads))),
        *(element("tbody", *_rows(line)) for line in lines),
        class_="dfm-list",
        aria_label="runs",
    )
    foot = element("p", *_spaced(_footer(lines, total)), class_="dfm-foot")
    return element("div", style_sheet("table.css"), table, foot, class_="dfm-table")


def to_text(rows: Sequence[Values], total: int, now: datetime) -> str:
    """Return the rows as lines of at most 100 columns, the reason of a run below it; as `to_html`."""
    lines = [_line(row, now) for row in rows]
    if not lines:
        return "no runs"
    heads = _Line(Kind.WAITING, "status", "job", "parameters", "submitted", "waited", "ran", "", "run", "")
    cells = [_cells(line) for line in (heads, *lines)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    rest = WIDTH - sum(widths) + widths[2] - 2 * (len(widths) - 1)
    widths[2] = max(len("parameters"), min(widths[2], rest))
    written = []
    for line, each in zip((heads, *lines), cells, strict=True):
        written.append("  ".join(map(_padded, each, widths, _RIGHT)).rstrip())
        if line.reason:
            written.append(f"{'':{widths[0]}}  {_fitted(line.reason, WIDTH - widths[0] - 2)}")
    return "\n".join([*written, *map("".join, _footer(lines, total))])


_RIGHT: Final = (False, False, False, True, True, True, False)


def _cells(line: _Line) -> tuple[str, ...]:
    return (line.status, line.job, line.parameters, line.submitted, line.waited, line.ran, line.run_id)


def _line(row: Values, now: datetime) -> _Line:
    state = fmt.short(row["status"] or "")
    parameters = {
        name.removeprefix(PARAMETER): value
        for name, value in row.items()
        if name.startswith(PARAMETER) and value is not None
    }
    pairs = [f"{fmt.short(name)}=" + (fmt.short(value) or '""') for name, value in parameters.items()]
    job = fmt.short(row["job"] or "")
    return _Line(
        kind=KINDS.get(state, Kind.UNKNOWN),
        status=state,
        job=fmt.cut(job, 20),
        parameters=fmt.cut(" ".join(pairs), 60),
        submitted=moment(row["submitted"], now),
        waited=_length(row["waited"], row["timed_by"]),
        ran=_length(row["ran"], row["timed_by"]) or _since(row),
        reason=fmt.line(row["reason"] or ""),
        run_id=fmt.short(row["run_id"] or row["key"] or ""),
        full="\n".join([f"job {job}", *pairs]),
    )


def moment(when: datetime | None, now: datetime) -> str:
    """Return the time of day in Korea, with the day where it is not today."""
    if when is None:
        return ""
    there, today = when.astimezone(KST), now.astimezone(KST)
    if there.date() == today.date():
        return f"{there:%H:%M:%S}"
    return f"{there:%m-%d %H:%M}" if there.year == today.year else f"{there:%Y-%m-%d}"


def _length(length: timedelta | None, source: str | None) -> str:
    if length is None:
        return ""
    # ``timed_by`` is that of one of two times; the other may be more exact.
    is_whole = source == "minutes" and not length % timedelta(minutes=1)
    return ENGLISH.length(Span(length, "minutes" if is_whole else "here"))


def _since(row: Values) -> str:
    # No time so far: the row of a run that no kernel follows now may be old.
    running = row["running"]
    if running is None or row["status"] != RunState.RUNNING:
        return ""
    return ENGLISH.since.format(time=f"{running.astimezone(KST):%H:%M:%S}")


def _rows(line: _Line) -> Iterator[str]:
    sign = element("span", ICONS[line.kind], aria_hidden="true", style=f"color:{COLOURS[line.kind]}")
    yield element(
        "tr",
        element("th", sign, " ", line.status, scope="row"),
        element("td", line.job),
        element("td", element("bdi", line.parameters), title=line.full),
        element("td", line.submitted),
        element("td", line.waited),
        element("td", line.ran),
        element("td", whole(line.run_id)),
    )
    if line.reason:
        # As wide as the table: a reason is longer than any column.
        reason = element("td", element("bdi", line.reason), class_="dfm-why", colspan="6")
        yield element("tr", element("td"), reason)


def _footer(lines: list[_Line], total: int) -> Iterator[tuple[str, ...]]:
    """Yield what stands below the table, each as its parts; a command is a part of its own."""
    if total > len(lines):
        yield (
            f"and {total - len(lines):,} more; ",
            "%dataflow_runs --limit N --status FAILED --since 7d",
            " selects",
        )
    chosen = next((line for line in lines if line.kind is Kind.BAD), lines[0])
    yield ("log: ", f"%dataflow_logs {chosen.run_id}")


def _spaced(notes: Iterator[tuple[str, ...]]) -> Iterator[str]:
    for number, note in enumerate(notes):
        yield " · " if number else ""
        yield joined(*(whole(part) if part.startswith("%") else part for part in note))


def _width(text: str) -> int:
    """Return the columns of a terminal that a text takes: two for a letter of Korean, Japanese or Chinese."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _fitted(text: str, columns: int) -> str:
    while _width(text) > columns:
        text = fmt.cut(text, len(text) - max(1, (_width(text) - columns) // 2))
    return text


def _padded(text: str, columns: int, is_right: bool) -> str:
    shown = _fitted(text, columns)
    space = " " * (columns - _width(shown))
    return space + shown if is_right else shown + space
