"""The card of a run as HTML, as plain text and as a line, and the pieces of HTML a live card repaints. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from dataflow_magic.card.format import Kind, Row
from dataflow_magic.card.markup import (
    KEYS,
    TEXT_LINES,
    badge,
    command,
    element,
    folded,
    joined,
    left_behind,
    log_box,
    style_sheet,
    whole,
)
from dataflow_magic.card.run.state import CardState, Hotspot, card_state
from dataflow_magic.card.words import ENGLISH, Words
from dataflow_magic.models.text import in_columns
from dataflow_magic.models.view import RunView

__all__ = [
    "body_html",
    "clock_html",
    "copy_html",
    "fault_html",
    "line_html",
    "lines_html",
    "progress_html",
    "title_html",
    "to_html",
    "to_line",
    "to_rows",
    "to_text",
]

COPY: Final = (
    "getSelection().selectAllChildren(this.closest('.dfm-card').querySelector('.dfm-run code'));"
    "if(document.execCommand('copy'))this.textContent=this.dataset.done"
)
"""Copies also on pages without https, where `navigator.clipboard` is missing. A constant: no text of a run is in it."""


def to_html(state: CardState) -> str:
    """Return the whole card as one piece of HTML that needs nothing else."""
    return element(
        "section",
        style_sheet("card.css"),
        element("header", title_html(state), " ", clock_html(state), class_="dfm-head"),
        progress_html(state),
        line_html(state),
        _failure(state),
        _hotspots(state),
        _folded_log(state),
        _pairs(state),
        class_="dfm-card",
        aria_label=state.words.card,
        lang=state.words.language,
    )


def title_html(state: CardState) -> str:
    """Return the state, the job, the run and the target on one line."""
    words = state.words
    run = joined(words.run, " ", whole(state.run_id)) if state.run_id else ""
    return element(
        "span",
        badge(state.kind, state.state, state.gloss),
        " ",
        element("strong", element("bdi", state.job), class_="dfm-job", title=state.job),
        " ",
        element("span", run, f" {words.on} ", state.target, class_="dfm-run"),
        class_="dfm-title",
    )


def clock_html(state: CardState) -> str:
    """Return the elapsed time; screen readers do not announce it, or they would each second."""
    words = state.words
    return element(
        "span",
        state.elapsed,
        class_="dfm-clock",
        role="timer",
        title="" if state.is_final else f"{words.as_of.format(time=state.as_of)}, {words.since_submission}",
    )


def progress_html(state: CardState) -> str:
    """Return the progress and how long the job took before, on one line, which stays when both are unknown."""
    return element(
        "div",
        *_bar(state),
        element(
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
    share = f"{100 * bar.share:.4g}"
    yield element(
        "span",
        element("span", class_=f"dfm-done dfm-{state.kind}", style=f"width:{share}%"),
        class_="dfm-bar",
        role="progressbar",
        aria_label=state.words.progress,
        aria_valuemin="0",
        aria_valuenow=share,
        aria_valuemax="100",
        aria_valuetext=bar.text,
    )
    yield element("span", bar.text, class_="dfm-count", title=bar.doing or state.words.progress)
    yield " "


def line_html(state: CardState, *, live: bool = False) -> str:
    """Return the line under the title: the notes on the run, then its times.

    Parameters
    ----------
    live
        Whether the card is repainted; otherwise the line has the command that refreshes it.
    """
    note = " · ".join(_notes(state))
    return element(
        "p",
        element("span", note, class_="dfm-note", role="status", aria_live="polite", title=note)
        if note
        else "",
        " " if note else "",
        element("small", joined(*_when(state, live=live)), class_="dfm-when"),
        class_="dfm-line",
    )


def body_html(state: CardState) -> str:
    """Return what is below the line, but for the log, with the style sheets of the whole live card."""
    sheets = style_sheet("card.css"), style_sheet("live.css")
    return joined(*sheets, left_behind(state), _failure(state), _hotspots(state), _pairs(state))


def lines_html(lines: Sequence[str]) -> str:
    """Return lines of a log."""
    return element("pre", "\n".join(lines))


def fault_html(state: CardState) -> str:
    """Return why the open log has no lines, or no new ones."""
    return element("p", state.log_fault, class_="dfm-none") if state.log_fault else joined()


def copy_html(state: CardState) -> str:
    """Return a button that selects and copies the run's id, for the page alone: no saved card has code."""
    words = state.words
    return element(
        "button",
        words.copy_id,
        type="button",
        class_="jupyter-button dfm-button",
        onclick=COPY,
        data_done=words.copied,
        **KEYS,
    )


def to_text(state: CardState) -> str:
    """Return the card as at most 30 lines of plain text, without colours."""
    run = f"{state.words.run} {state.run_id}" if state.run_id else ""
    word = f"{state.state} ({state.gloss})" if state.gloss else state.state
    head = "  ".join(part for part in (word, state.job, run, state.elapsed, state.target) if part)
    lines = [head, *islice(_text_lines(state), TEXT_LINES - 1)]
    # Of a run that completed the page has it, folded; text cannot fold.
    is_wanted = len(lines) < TEXT_LINES and state.kind is Kind.BAD
    log = state.log_tail[-(TEXT_LINES - len(lines)) :] if is_wanted else ()
    return "\n".join([*lines, *(f"  | {_shortened(line)}" for line in log)])


def to_rows(views: Sequence[RunView], now: datetime, words: Words = ENGLISH) -> str:
    """Return a line per run: its state, job, id, time, and why it did not complete."""
    states = [card_state(view, now, words=words) for view in views]
    rows = [
        (state.state, state.job, state.run_id or view.key, state.elapsed, state.reason or state.blind)
        for view, state in zip(views, states, strict=True)
    ]
    return in_columns(rows)


def to_line(state: CardState) -> str:
    """Return the state of the run on one line."""
    return "  ".join(
        part
        for part in (state.state, state.job, state.run_id, state.elapsed, state.found, state.blind)
        if part
    )


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
    if progress := " · ".join(filter(None, (state.bar.text if state.bar else "", state.past))):
        yield f"  {progress}"
    yield from (f"  {part}" for part in _notes(state))
    if state.is_final:
        yield f"  {', '.join(_moments(state))}"
    else:
        yield f"  {words.as_of.format(time=state.as_of)}{words.then}{words.refresh} {state.refresh}"
    if state.kernel_waits:
        yield f"  Ctrl-C: {words.stop_waiting}"
    if state.reason:
        yield f"  {state.reason}" + (f" [{state.error_class}]" if state.error_class else "")
    yield from (f"    {line}" for line in _own_lines(state))
    yield from _hotspot_lines(state)
    if state.advice:
        yield f"  {words.what_to_try}: {state.advice}{words.then}{words.again} {state.again}"
    elif state.reason and state.again:
        yield f"  {words.again} {state.again}"


def _hotspot_lines(state: CardState) -> Iterator[str]:
    if state.hotspots:
        yield f"  {state.words.time_went}:"
    for spot in state.hotspots:
        yield f"    {spot.took}  {' · '.join(filter(None, (spot.name, spot.place, spot.finding)))}"


def _notes(state: CardState) -> Iterator[str]:
    return filter(None, (state.found, state.blind, state.clock, state.cancel, state.remark, state.waiting))


def _shortened(line: str) -> str:
    return line if len(line) <= 160 else f"{line[:159]}…"


def _when(state: CardState, *, live: bool) -> Iterator[str]:
    words = state.words
    if state.is_final:
        yield " · ".join(_moments(state))
        if state.again and not state.advice:
            yield f" · {words.again} "
            yield whole(state.again)
        return
    if live:
        yield " · ".join(_moments(state))
    else:
        yield f"{words.as_of.format(time=state.as_of)} · {words.refresh} "
        yield whole(state.refresh)
    if state.kernel_waits:
        yield f" · {words.stop_waiting}"


def _moments(state: CardState) -> Iterator[str]:
    yield state.words.submitted.format(time=state.submitted)
    if state.waited:
        yield state.waited
    if state.ended:
        yield state.words.ended.format(time=state.ended)


def _failure(state: CardState) -> str:
    bar = f"dfm-reason dfm-{state.kind}"
    kind = joined(" ", element("code", state.error_class)) if state.error_class else ""
    reason = element("p", element("bdi", state.reason), kind, class_=bar) if state.reason else ""
    own = "\n".join(_own_lines(state))
    reason = joined(reason, element("pre", own, class_="dfm-own") if own else "")
    advice = (
        element(
            "p",
            element("b", state.words.what_to_try),
            f": {state.advice}{state.words.then}{state.words.again} ",
            whole(state.again),
            class_="dfm-try",
        )
        if state.advice
        else ""
    )
    return joined(reason, advice)


def _hotspots(state: CardState) -> str:
    """Return where the time went: open where something is out of line, otherwise folded."""
    if not state.hotspots:
        return joined()
    words = state.words
    return folded(
        words.time_went,
        style_sheet("stages.css"),
        element("ul", *(_hotspot(each) for each in state.hotspots), class_="dfm-stages"),
        command(words.all_stages, state.all_stages),
        is_open=any(each.finding for each in state.hotspots),
    )


def _hotspot(spot: Hotspot) -> str:
    share = f"{100 * spot.share:.4g}"
    place = joined(" ", element("code", spot.place)) if spot.place else ""
    return element(
        "li",
        element("span", spot.name, place),
        " ",
        element("span", spot.took, class_="dfm-took"),
        element(
            "span",
            element("span", class_="dfm-done dfm-running", style=f"width:{share}%"),
            class_="dfm-bar",
            aria_hidden="true",
        ),
        element("p", spot.finding) if spot.finding else "",
    )


def _folded_log(state: CardState) -> str:
    """Return the end of an ended run's log: folded, since twenty lines in each of many cards would hide the others."""
    if not state.log_tail:
        return joined()
    words = state.words
    return folded(
        words.last_line if len(state.log_tail) == 1 else words.last_lines.format(count=len(state.log_tail)),
        log_box(state.log_tail, words.log),
        command(words.whole_log, state.whole_log),
    )


def _own_lines(state: CardState) -> Iterator[str]:
    """Yield where the user's own line is, its text, and the part of a query that failed."""
    if state.place:
        yield state.place
    if state.source:
        yield f"  {state.source}"
    if state.expression:
        yield state.expression


def _pairs(state: CardState) -> str:
    words = state.words
    more = Row("", words.more.format(count=state.more_parameters)) if state.more_parameters else None
    tables = (
        _table(words.parameters, (*state.parameters, *((more,) if more else ()))),
        _table(words.condition, state.condition),
    )
    return element("div", *tables, class_="dfm-body")


def _table(caption: str, rows: tuple[Row, ...]) -> str:
    if not rows:
        return joined()
    return element(
        "table",
        element("caption", caption),
        element("tbody", *(_table_row(row) for row in rows)),
        class_="dfm-pairs",
        aria_label=caption,
    )


def _table_row(row: Row) -> str:
    value = element("td", element("bdi", row.value), title=row.full or row.value)
    return element("tr", element("th", row.name, scope="row", title=row.name), value)
