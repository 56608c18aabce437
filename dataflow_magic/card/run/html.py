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

from dataflow_magic.card.format import Row
from dataflow_magic.card.run.state import CardState, Kind

__all__ = [
    "body_html",
    "clock_html",
    "line_html",
    "log_html",
    "progress_html",
    "title_html",
    "to_html",
    "to_text",
]

TEXT_LINES: Final = 30
_TYPESET: Final = re.compile(r"[$\\]")
SELECT_ALL: Final = "user-select:all;-webkit-user-select:all"
"""One click selects an id or a command whole; inline, to be kept where the style sheet is not."""

# A sign beside the word and the colour: whoever sees no colours has two others to go by.
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


def to_html(state: CardState) -> str:
    """Return the whole card as one piece of HTML that needs nothing else."""
    return _element(
        "section",
        _style(),
        _element("header", title_html(state), " ", clock_html(state), class_="dfm-head"),
        progress_html(state),
        line_html(state),
        _failure(state),
        _pairs(state),
        class_="dfm-card",
        aria_label=state.words.card,
        lang=state.words.language,
    )


def title_html(state: CardState) -> str:
    """Return the state, the job, the run and the target on one line."""
    gloss = _joined(" ", _element("span", state.gloss, class_="dfm-gloss")) if state.gloss else ""
    badge = _element(
        "strong",
        _element("span", ICONS[state.kind], class_="dfm-icon", aria_hidden="true"),
        " ",
        _element("span", state.state, class_="dfm-word"),
        gloss,
        class_=f"dfm-badge dfm-{state.kind}",
        # Inline as well, because an untrusted notebook keeps this and drops the style sheet.
        style=f"background:{COLOURS[state.kind]};color:#fff;padding:1px 9px;border-radius:10px",
        role="status",
        aria_live="polite",
    )
    words = state.words
    run = _joined(words.run, " ", _whole(state.run_id)) if state.run_id else ""
    return _element(
        "span",
        badge,
        " ",
        _element("strong", _element("bdi", state.job), class_="dfm-job", title=state.job),
        " ",
        _element("span", run, f" {words.on} ", state.target, class_="dfm-run"),
        class_="dfm-title",
    )


def clock_html(state: CardState) -> str:
    """Return the elapsed time; it is not announced, or it would be every second."""
    return _element(
        "span",
        state.elapsed,
        class_="dfm-clock",
        role="timer",
        title=f"{state.words.as_of.format(time=state.as_of)}, {state.words.since_submission}",
    )


def progress_html(state: CardState) -> str:
    """Return how far the run is, where that is known, and how long its job took before; one line, also when empty."""
    return _element(
        "div",
        *_bar(state),
        _element(
            "span", state.past, class_="dfm-past dfm-late" if state.is_late else "dfm-past", title=state.past
        )
        if state.past
        else "",
        class_="dfm-progress",
    )


def _bar(state: CardState) -> Iterator[str]:
    bar = state.bar
    if bar is None:
        return
    share = f"{100 * bar.done / bar.total:.4g}%"
    yield _element(
        "span",
        _element("span", class_=f"dfm-done dfm-{state.kind}", style=f"width:{share}"),
        class_="dfm-bar",
        role="progressbar",
        aria_label=state.words.progress,
        aria_valuemin="0",
        aria_valuenow=str(bar.done),
        aria_valuemax=str(bar.total),
        aria_valuetext=bar.text,
    )
    yield _element("span", bar.text, class_="dfm-count", title=bar.doing or state.words.progress)
    yield " "


def line_html(state: CardState, *, live: bool = False) -> str:
    """Return the line under the title: what there is to know beside the state, then when that was.

    Parameters
    ----------
    live
        Whether somebody keeps repainting it; otherwise it says how to.
    """
    note = " · ".join(_notes(state))
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


def log_html(state: CardState) -> str:
    """Return the end of the log of a run that lives; empty while nobody looks at it."""
    if not state.shows_log:
        return _joined()
    if not state.log_tail:
        return _element("p", state.words.no_log, class_="dfm-none")
    return _log_lines(state)


def to_text(state: CardState) -> str:
    """Return the card as at most 30 lines of plain text, without colours."""
    run = f"{state.words.run} {state.run_id}" if state.run_id else ""
    word = f"{state.state} ({state.gloss})" if state.gloss else state.state
    head = "  ".join(part for part in (word, state.job, run, state.elapsed, state.target) if part)
    lines = [head, *islice(_text_lines(state), TEXT_LINES - 1)]
    log = state.log_tail[-(TEXT_LINES - len(lines)) :] if len(lines) < TEXT_LINES else ()
    return "\n".join([*lines, *(f"  | {_shortened(line)}" for line in log)])


def _text_lines(state: CardState) -> Iterator[str]:
    words = state.words
    width = max((len(row.name) for row in state.parameters), default=0)
    for row in state.parameters:
        yield f"  {row.name:<{min(width, 24)}}  {row.value}"
    if state.more_parameters:
        yield f"  {words.more.format(count=state.more_parameters)}"
    facts = [
        f"{row.name} {row.value}" for row in state.condition if row.name in (words.workers, words.timeout)
    ]
    if facts:
        yield f"  ({', '.join(facts)})"
    if how_far := " · ".join(filter(None, (state.bar.text if state.bar else "", state.past))):
        yield f"  {how_far}"
    yield from (f"  {part}" for part in _notes(state))
    if state.is_final:
        ended = f", {words.ended.format(time=state.ended)}" if state.ended else ""
        yield f"  {words.submitted.format(time=state.submitted)}{ended}"
    else:
        yield f"  {words.as_of.format(time=state.as_of)}; {words.refresh} {state.refresh}"
    if state.kernel_waits:
        yield f"  Ctrl-C: {words.stop_waiting}"
    if state.reason:
        yield f"  {state.reason}"
    if state.advice:
        yield f"  {words.what_to_try}: {state.advice}; {words.again} {state.again}"


def _notes(state: CardState) -> Iterator[str]:
    return filter(None, (state.blind, state.clock, state.cancel, state.remark, state.waiting))


def _shortened(line: str) -> str:
    return line if len(line) <= 160 else f"{line[:159]}…"


def _when(state: CardState, *, live: bool) -> Iterator[str]:
    words = state.words
    if state.is_final:
        yield words.submitted.format(time=state.submitted)
        if state.ended:
            yield f" · {words.ended.format(time=state.ended)}"
        if state.again and not state.advice:
            yield f" · {words.again} "
            yield _whole(state.again)
        return
    if live:
        yield words.submitted.format(time=state.submitted)
    else:
        yield f"{words.as_of.format(time=state.as_of)} · {words.refresh} "
        yield _whole(state.refresh)
    if state.kernel_waits:
        yield f" · {words.stop_waiting}"


def _failure(state: CardState) -> str:
    bar = f"dfm-reason dfm-{state.kind}"
    reason = _element("p", _element("bdi", state.reason), class_=bar) if state.reason else ""
    advice = (
        _element(
            "p",
            _element("b", state.words.what_to_try),
            f": {state.advice}; {state.words.again} ",
            _whole(state.again),
            class_="dfm-try",
        )
        if state.advice
        else ""
    )
    if not (state.log_tail and state.is_final):
        return _joined(reason, advice)
    # Folded: the reason is its last word, and twenty lines in each card of many would hide the others.
    summary = _element("summary", state.words.last_lines.format(count=len(state.log_tail)))
    return _joined(reason, advice, _element("details", summary, _log_lines(state)))


def _log_lines(state: CardState) -> str:
    return _element("div", _element("pre", "\n".join(state.log_tail)), class_="dfm-log")


def _whole(text: str) -> str:
    """Write an id or a command that one click selects whole."""
    return _element("code", text, style=SELECT_ALL)


def _pairs(state: CardState) -> str:
    words = state.words
    more = Row("", words.more.format(count=state.more_parameters)) if state.more_parameters else None
    tables = (
        _table(words.parameters, (*state.parameters, *((more,) if more else ()))),
        _table(words.condition, state.condition),
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
    sheet = files("dataflow_magic.card").joinpath("card.css").read_text("utf-8")
    # It goes into every saved card: the remarks and the indents do not have to.
    return _Markup(f"<style>{_SPARE_CSS.sub('', sheet)}</style>")


_SPARE_CSS: Final = re.compile(r"/[*].*?[*]/|^ +|\n", re.DOTALL | re.MULTILINE)


class _Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def _joined(*parts: str) -> _Markup:
    return _Markup("".join(part if isinstance(part, _Markup) else _text(part) for part in parts))


def _text(text: str) -> _Markup:
    # JupyterLab typesets as a formula what is between two dollar signs or in \(\) of one text, and takes of two
    # backslashes one away; alone in an element none of them is seen.
    return _Markup(_TYPESET.sub(r"<span>\g<0></span>", escape(text)))


def _element(tag: str, *children: str, **attributes: str) -> _Markup:
    """Write one element; children that are not markup are text. An attribute is named as in Python, `class_`."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items()
        if value
    )
    return _Markup(f"<{tag}{written}>{_joined(*children)}</{tag}>")
