"""The card of a sweep as HTML, as plain text and as a line, and the pieces of HTML a live card repaints. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from dataflow_magic.card.format import Kind
from dataflow_magic.card.markup import (
    COLOURS,
    TEXT_LINES,
    badge,
    command,
    element,
    folded,
    glossed,
    joined,
    left_behind,
    log_box,
    scroll_handle,
    style_sheet,
    whole,
)
from dataflow_magic.card.sweep.state import Count, Group, SweepRow, SweepState
from dataflow_magic.models.wire import RunState

__all__ = [
    "columns_html",
    "log_hint_html",
    "parts",
    "rows_html",
    "summary_html",
    "sweep_clock_html",
    "sweep_html",
    "sweep_line",
    "sweep_rest_html",
    "sweep_text",
    "sweep_title_html",
]

PART: Final = 20
"""Rows in one part of the table; a part is sent whole."""
MOST_LOGS: Final = 20
"""Rows of a saved card that have the end of their run's log."""


def sweep_html(state: SweepState) -> str:
    """Return the whole card as one piece of HTML that needs nothing else."""
    table = element(
        "table",
        _columns(state),
        _head(state),
        element("tbody", *_rows(state, state.rows, logs=MOST_LOGS)),
        class_="dfm-runs",
        aria_label=state.words.table,
    )
    return element(
        "section",
        _styles(),
        element("header", sweep_title_html(state), " ", sweep_clock_html(state), class_="dfm-head"),
        summary_html(state),
        scroll_handle(state.words.table, table, log_hint_html(state), class_="dfm-rows"),
        sweep_rest_html(state),
        class_="dfm-card dfm-sweep",
        aria_label=state.words.sweep_card,
        lang=state.words.language,
    )


def sweep_title_html(state: SweepState) -> str:
    """Return the state of the sweep, the job, the number of runs and the target."""
    words = state.words
    return element(
        "span",
        badge(state.kind, state.state, state.gloss),
        " ",
        element("strong", element("bdi", state.job), class_="dfm-job", title=state.job),
        " ",
        element(
            "span",
            words.sweep.format(runs=words.runs(state.total), target=state.target),
            class_="dfm-run",
        ),
        class_="dfm-title",
    )


def sweep_clock_html(state: SweepState) -> str:
    """Return the elapsed time."""
    return element("span", state.elapsed, class_="dfm-clock", role="timer", title=state.words.since_first)


def summary_html(state: SweepState, *, live: bool = False) -> str:
    """Return the counts per state, the bar, and the line of notes and times.

    Parameters
    ----------
    live
        Whether the card is repainted; otherwise the line says of when it is.
    """
    counts = element("p", joined(*_spaced(_count(each) for each in state.counts)), class_="dfm-tallies")
    return joined(counts, _bar(state), _line(state, live=live), left_behind(state) if live else "")


def columns_html(state: SweepState) -> str:
    """Return the column names as a separate table, with the style sheets of the whole live card."""
    table = element("table", _columns(state), _head(state), class_="dfm-runs")
    return joined(_styles(), style_sheet("live.css"), scroll_handle(state.words.table, table))


def parts(state: SweepState) -> dict[tuple[Group, int], tuple[SweepRow, ...]]:
    """Return the rows in the parts a live card sends, in order: a change of one run changes two parts at most."""
    found: dict[tuple[Group, int], list[SweepRow]] = {}
    for row in state.rows:
        found.setdefault((row.group, row.number // PART), []).append(row)
    return {key: tuple(rows) for key, rows in found.items()}


def rows_html(state: SweepState, rows: tuple[SweepRow, ...]) -> str:
    """Return one part of the rows as a separate table, under the columns of `columns_html`."""
    group = rows[0].group
    what = state.words.gloss(RunState.READY if group is Group.WAITING else group.name) or group.name.lower()
    return element(
        "table",
        _columns(state),
        element("tbody", *_rows(state, rows, logs=PART)),
        class_="dfm-runs",
        aria_label=state.words.group.format(what=what),
    )


def sweep_rest_html(state: SweepState) -> str:
    """Return how many runs have no row, and the command that lists all; empty where every run has one."""
    return element("p", joined(*_rest(state)), class_="dfm-rest") if state.more else joined()


def log_hint_html(state: SweepState) -> str:
    """Return the command that prints the log of any run, for the end of the rows of an ended sweep."""
    return command(state.words.log_of_run, "%dataflow_logs ID") if state.is_final else joined()


def sweep_text(state: SweepState) -> str:
    """Return the card as at most 30 lines of plain text, without colours, with a line per run that did not complete."""
    words = state.words
    word = f"{state.state} ({state.gloss})" if state.gloss else state.state
    head = "  ".join(part for part in (word, state.job, _over(state), state.elapsed, state.target) if part)
    lines = [head, f"  {_in_words(state.counts)}", *(f"  {note}" for note in state.notes)]
    if not state.is_final:
        lines.append(f"  {words.as_of.format(time=state.as_of)}{words.then}{words.refresh} {state.refresh}")
    else:
        lines += [
            f"  {template.format(count=count, call=f'{state.handle}.{method}()')}"
            for template, method, count in _methods(state)
        ]
    if state.kernel_waits:
        lines.append(f"  Ctrl-C: {words.stop_waiting_for_sweep}")
    failed = [row for row in state.rows if row.group in (Group.FAILED, Group.CANCELED)]
    room = TEXT_LINES - len(lines) - 1
    lines += [f"  {_row_text(state, row)}" for row in islice(failed, room)]
    left = sum(count.number for count in state.counts if count.kind in (Kind.BAD, Kind.CANCELED)) - room
    if len(failed) > room:
        lines.append(f"  {words.more.format(count=left)}{words.then}{words.list_all} {_list_command(state)}")
    return "\n".join(lines)


def sweep_line(state: SweepState) -> str:
    """Return the state of the sweep on one line."""
    return "  ".join(
        part
        for part in (_over(state), state.job, _in_words(state.counts), state.elapsed, *state.notes)
        if part
    )


def _over(state: SweepState) -> str:
    return state.words.over.format(over=state.over, runs=state.words.runs(state.total))


def _in_words(counts: tuple[Count, ...]) -> str:
    return ", ".join(" ".join(filter(None, (str(count.number), count.word, count.gloss))) for count in counts)


def _row_text(state: SweepState, row: SweepRow) -> str:
    values = " ".join(f"{name}={value}" for name, value in zip(state.names, row.values, strict=True))
    return "  ".join(part for part in (row.gloss or row.state, values, row.run_id, row.note) if part)


def _spaced(parts: Iterable[str]) -> Iterator[str]:
    for number, part in enumerate(parts):
        if number:
            yield " "
        yield part


def _count(count: Count) -> str:
    return element(
        "span",
        element("b", str(count.number)),
        " ",
        count.word,
        glossed(count.gloss),
        class_=f"dfm-tally dfm-{count.kind}",
        style=f"border-left:4px solid {COLOURS[count.kind]};padding-left:5px",
    )


def _bar(state: SweepState) -> str:
    words = state.words.share.format(
        over=_over(state), completed=state.completed, rest=state.over - state.completed
    )
    bad = state.over - state.completed - state.canceled
    return element(
        "div",
        *(
            element("i", class_=f"dfm-{kind}", style=f"width:{100 * number / state.total:.4g}%")
            for kind, number in (
                (Kind.GOOD, state.completed),
                (Kind.BAD, bad),
                (Kind.CANCELED, state.canceled),
            )
            if number
        ),
        class_="dfm-share",
        role="progressbar",
        aria_label=state.words.what_is_over,
        aria_valuemin="0",
        aria_valuemax=str(state.total),
        aria_valuenow=str(state.over),
        aria_valuetext=words,
        title=words,
    )


def _line(state: SweepState, *, live: bool) -> str:
    note = " · ".join(state.notes)
    return element(
        "p",
        element("span", note, class_="dfm-note", title=note) if note else "",
        " " if note else "",
        element("small", joined(*_when(state, live=live)), class_="dfm-when"),
        class_="dfm-line",
    )


def _when(state: SweepState, *, live: bool) -> Iterator[str]:
    words = state.words
    yield words.submitted.format(time=state.submitted)
    if state.is_final:
        if state.ended:
            yield f" · {words.ended.format(time=state.ended)}"
        for template, method, count in _methods(state):
            before, _, after = template.format(count=count, call="\0").partition("\0")
            yield f" · {before}"
            yield whole(f"{state.handle}.{method}()")
            yield after
    elif not live:
        yield f" · {words.as_of.format(time=state.as_of)} · {words.refresh} "
        yield whole(state.refresh)
    if state.kernel_waits:
        yield f" · {words.stop_waiting_for_sweep}"


def _methods(state: SweepState) -> Iterator[tuple[str, str, int]]:
    """Yield what an ended sweep can still do: the words, the method, and for how many runs."""
    if state.can_retry:
        yield state.words.retry_starts, "retry_failed", state.can_retry
    if state.unsent:
        yield state.words.rest_sends, "resume", state.unsent


def _columns(state: SweepState) -> str:
    named = [element("col") for _ in state.names]
    state_column, *rest = (element("col", class_=f"dfm-c-{kind}") for kind in ("state", "run", "time"))
    return element("colgroup", state_column, *named, *rest)


def _head(state: SweepState) -> str:
    words = state.words
    names = (words.state, *state.names, words.run, words.time)
    return element("thead", element("tr", *(element("th", name, scope="col", title=name) for name in names)))


def _rows(state: SweepState, rows: Iterable[SweepRow], *, logs: int) -> Iterator[str]:
    for row in rows:
        yield _row(row, state.names)
        if row.note:
            # In a row of its own, as wide as the table: a reason is longer than any column.
            why = element("bdi", row.note)
            if row.parameters and row.run_id:
                why = folded(why, *_details(state, row, has_log=logs > 0))
                logs -= 1
            note = element("td", why, class_="dfm-why", colspan=str(len(state.names) + 3))
            yield element("tr", note, class_=f"dfm-{row.kind}")


def _details(state: SweepState, row: SweepRow, *, has_log: bool) -> Iterator[str]:
    words = state.words
    values = (element("code", f"{each.name}={each.value}", title=each.full) for each in row.parameters)
    yield element("p", f"{words.parameters}: ", *_spaced(values), class_="dfm-none")
    if row.log and has_log:
        yield log_box(row.log, f"{words.log} {row.run_id}")
    yield command(words.whole_log, f"%dataflow_logs {row.run_id} --all")


def _row(row: SweepRow, names: tuple[str, ...]) -> str:
    gloss = row.state if row.gloss else ""
    return element(
        "tr",
        element("th", row.gloss or row.state, scope="row", title=gloss),
        *(
            element("td", element("bdi", value), data_name=name)
            for name, value in zip(names, row.values, strict=True)
        ),
        element("td", whole(row.run_id) if row.run_id else ""),
        element("td", row.time),
        class_=f"dfm-{row.kind}",
    )


def _rest(state: SweepState) -> Iterator[str]:
    yield f"{state.words.not_shown.format(counts=_in_words(state.more))}{state.words.then}{state.words.list_all} "
    yield whole(_list_command(state))


def _list_command(state: SweepState) -> str:
    return f"%dataflow_runs --job {state.job}"


def _styles() -> str:
    return joined(style_sheet("card.css"), style_sheet("sweep.css"))
