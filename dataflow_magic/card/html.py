"""The card of a run as HTML and as plain text, and the pieces of HTML a living card repaints. Pure.

The markup reads well without any style, because GitHub and untrusted notebooks strip the style sheet. Text is escaped
in `_element` and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.resources import files
from itertools import islice
from typing import Final

from dataflow_magic.card.state import CardState, Kind, Row

__all__ = ["body_html", "clock_html", "line_html", "title_html", "to_html", "to_text"]

TEXT_LINES: Final = 30
STOP_WAITING: Final = "interrupt the kernel to stop waiting; the run goes on"

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


def to_html(state: CardState) -> str:
    """Return the whole card as one piece of HTML that needs nothing else."""
    return _element(
        "section",
        _style(),
        _element("header", title_html(state), " ", clock_html(state), class_="dfm-head"),
        line_html(state),
        _failure(state),
        _pairs(state),
        class_="dfm-card",
        aria_label="Data Flow run",
    )


def title_html(state: CardState) -> str:
    """Return the state, the job, the run and the target on one line."""
    badge = _element(
        "strong",
        state.state,
        class_=f"dfm-badge dfm-{state.kind}",
        # Inline as well, because an untrusted notebook keeps this and drops the style sheet.
        style=f"background:{COLOURS[state.kind]};color:#fff;padding:1px 9px;border-radius:10px",
        role="status",
        aria_live="polite",
    )
    run = _joined("run ", _element("code", state.run_id)) if state.run_id else ""
    return _element(
        "span",
        badge,
        " ",
        _element("strong", _element("bdi", state.job), class_="dfm-job", title=state.job),
        " ",
        _element("span", run, " on ", state.target, class_="dfm-run"),
        class_="dfm-title",
    )


def clock_html(state: CardState) -> str:
    """Return the elapsed time; it is not announced, or it would be every second."""
    return _element(
        "span",
        state.elapsed,
        class_="dfm-clock",
        role="timer",
        title=f"as of {state.as_of}, since submission",
    )


def line_html(state: CardState, *, live: bool = False) -> str:
    """Return the line under the title: what there is to know beside the state, then when that was.

    Parameters
    ----------
    live
        Whether somebody keeps repainting it; otherwise it says how to.
    """
    note = " · ".join(part for part in (state.blind, state.clock, state.cancel, state.waiting) if part)
    return _element(
        "p",
        _element("span", note, class_="dfm-note", role="status", aria_live="polite", title=note)
        if note
        else "",
        " " if note else "",
        _element("small", _joined(*_when(state, live=live)), class_="dfm-when"),
        class_="dfm-line",
    )


def body_html(state: CardState) -> str:
    """Return the part that stays as it is while the run lives, with the style sheet of the whole card."""
    return _joined(_style(), _pairs(state))


def to_text(state: CardState) -> str:
    """Return the card as at most 30 lines of plain text, without colours."""
    run = f"run {state.run_id}" if state.run_id else ""
    head = "  ".join(part for part in (state.state, state.job, run, state.elapsed, state.target) if part)
    lines = [head, *islice(_text_lines(state), TEXT_LINES - 1)]
    log = state.log_tail[-(TEXT_LINES - len(lines)) :] if len(lines) < TEXT_LINES else ()
    return "\n".join([*lines, *(f"  | {_shortened(line)}" for line in log)])


def _text_lines(state: CardState) -> Iterator[str]:
    width = max((len(row.name) for row in state.parameters), default=0)
    for row in state.parameters:
        yield f"  {row.name:<{min(width, 24)}}  {row.value}"
    if state.more_parameters:
        yield f"  and {state.more_parameters} more"
    facts = [f"{row.name} {row.value}" for row in state.condition if row.name in ("workers", "timeout")]
    if facts:
        yield f"  ({', '.join(facts)})"
    yield from (f"  {part}" for part in (state.blind, state.clock, state.cancel, state.waiting) if part)
    if state.is_final:
        yield f"  submitted {state.submitted}" + (f", ended {state.ended}" if state.ended else "")
    else:
        yield f"  as of {state.as_of}; refresh with {state.refresh}"
    if state.kernel_waits:
        yield f"  press Ctrl-C or {STOP_WAITING}"
    if state.reason:
        yield f"  {state.reason}"


def _shortened(line: str) -> str:
    return line if len(line) <= 160 else f"{line[:159]}…"


def _when(state: CardState, *, live: bool) -> Iterator[str]:
    if state.is_final:
        yield f"submitted {state.submitted}"
        if state.ended:
            yield f" · ended {state.ended}"
        return
    if live:
        yield f"submitted {state.submitted}"
    else:
        yield f"as of {state.as_of} · refresh with "
        yield _element("code", state.refresh)
    if state.kernel_waits:
        yield f" · {STOP_WAITING}"


def _failure(state: CardState) -> str:
    bar = f"dfm-reason dfm-{state.kind}"
    reason = _element("p", _element("bdi", state.reason), class_=bar) if state.reason else ""
    lines = _element("pre", "\n".join(state.log_tail))
    log = _element("div", lines, class_="dfm-log") if state.log_tail else ""
    return _joined(reason, log)


def _pairs(state: CardState) -> str:
    more = Row("", f"and {state.more_parameters} more") if state.more_parameters else None
    tables = (
        _table("Parameters", (*state.parameters, *((more,) if more else ()))),
        _table("Job condition", state.condition),
    )
    return _element("div", *tables, class_="dfm-body")


def _table(caption: str, rows: tuple[Row, ...]) -> str:
    if not rows:
        return _joined()
    return _element(
        "table",
        _element("caption", caption),
        _element("tbody", *(_table_row(row) for row in rows)),
        class_="dfm-pairs",
        aria_label=caption,
    )


def _table_row(row: Row) -> str:
    value = _element("td", _element("bdi", row.value), title=row.full or row.value)
    return _element("tr", _element("th", row.name, scope="row", title=row.name), value)


@cache
def _style() -> str:
    sheet = files(__package__).joinpath("card.css").read_text("utf-8")
    # It goes into every saved card: the remarks and the indents do not have to.
    return _Markup(f"<style>{_SPARE_CSS.sub('', sheet)}</style>")


_SPARE_CSS: Final = re.compile(r"/[*].*?[*]/|^ +|\n", re.DOTALL | re.MULTILINE)


class _Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def _joined(*parts: str) -> _Markup:
    return _Markup("".join(part if isinstance(part, _Markup) else _text(part) for part in parts))


def _text(text: str) -> _Markup:
    # JupyterLab typesets as a formula what is between two dollar signs of one text; alone in an element none is.
    return _Markup(escape(text).replace("$", "<span>$</span>"))


def _element(tag: str, *children: str, **attributes: str) -> _Markup:
    """Write one element; children that are not markup are text. An attribute is named as in Python, `class_`."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items()
        if value
    )
    return _Markup(f"<{tag}{written}>{_joined(*children)}</{tag}>")
