"""What the card of a sweep shows, as text. Pure: no markup, no clock, no widget. Text from outside goes through `format`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Final

from dataflow_magic.card import format as fmt
from dataflow_magic.card.format import KINDS, Kind, Row, tick_seconds
from dataflow_magic.card.words import ENGLISH, PAUSED, RETRIED, SKIPPED, UNSENT, Words
from dataflow_magic.models.view import KST, WAITS_FOR_START, RunView
from dataflow_magic.models.wire import RunState

__all__ = ["Count", "Group", "Rows", "SweepRow", "SweepState", "SweepView", "sweep_state"]

MOST_ROWS: Final = 200
MOST_NAMES: Final = 8
MOST_PARAMETERS: Final = 12
LOG_LINES: Final = 20
LOG_LENGTH: Final = 2_000
"""Characters of the end of one run's log."""
MOST_CAUSES: Final = 4
CAUSE_LENGTH: Final = 60


class Group(IntEnum):
    """The part of the table a run is in; runs that need attention come first."""

    FAILED = 0
    RUNNING = 1
    WAITING = 2
    CANCELED = 3
    COMPLETED = 4
    RETRIED = 5


@dataclass(frozen=True, slots=True)
class SweepView:
    """All that is known of a sweep now.

    Parameters
    ----------
    swept
        Names of the parameters that differ between the runs, with their ``$``.
    total
        The number of runs, sent or not, without those that are skipped.
    runs
        The runs that were sent, by their number in the order of the block.
    retried
        Failed runs that another run has replaced, by the same numbers.
    retrying
        Numbers of failed runs that are being started again.
    stopped
        Why the rest is not sent; empty while it is.
    held
        Why and until when the next start waits; empty while none does.
    is_over
        Whether nothing more will be known of any run.
    key
        The sweep's short id, which magics take; empty where it has none.
    skipped
        How many requests need no run, since an earlier one serves.
    variable
        The variable that holds it; empty where that is unknown.
    is_elsewhere
        Whether another kernel starts its runs, so that only that one can cancel it.
    job_limit
        The most runs that the job allows at once, where that is the limit of the sweep.
    can_pause, can_resume
        Whether there are starts that could wait for the user, and whether some wait for the user.
    """

    swept: tuple[str, ...]
    total: int
    runs: tuple[tuple[int, RunView], ...]
    retried: tuple[tuple[int, RunView], ...] = ()
    retrying: frozenset[int] = frozenset()
    stopped: str = ""
    held: str = ""
    is_over: bool = False
    key: str = ""
    skipped: int = 0
    variable: str = ""
    is_elsewhere: bool = False
    job_limit: int | None = None
    can_pause: bool = False
    can_resume: bool = False


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One run's row of the table; nothing in it changes as time passes.

    Parameters
    ----------
    values
        Of the swept parameters.
    time
        How long the run took, or since when it runs.
    note
        Why the run did not complete, or what it waits for; one line.
    gloss
        The meaning of its state in the card's language, where the word is of another one.
    parameters, log
        Of a run that did not complete: its parameters, also those that do not differ, at most 12, and the last lines of its
        console log, at most 20 and 2,000 characters.
    """

    number: int
    group: Group
    state: str
    kind: Kind
    values: tuple[str, ...]
    run_id: str
    time: str
    note: str
    gloss: str = ""
    parameters: tuple[Row, ...] = ()
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """How many runs are in one state, and the state's meaning in the card's language where its word is of another."""

    word: str
    kind: Kind
    number: int
    gloss: str = ""


@dataclass(frozen=True, slots=True)
class SweepState:
    """What the card of a sweep shows; a part with nothing to show is empty.

    Parameters
    ----------
    state
        One word for all runs.
    gloss
        Its meaning in the card's language, where the word is of another one.
    counts
        Runs per state, in the order of the table.
    completed, canceled, over, total
        Numbers of runs; those that are over and neither completed nor canceled have failed.
    rows
        At most 200.
    more
        The runs of each state that have no row.
    notes
        How many runs failed for which causes, since when the service gives no answer, that this machine's clock is off, why the rest is not sent, or not yet.
    can_cancel, can_retry
        How many runs a cancel, or a retry, would apply to.
    found
        How many of those that a cancel would apply to were found by their parameters alone.
    canceling
        How many live runs have a cancel sent.
    unsent
        How many runs were not sent, or not yet.
    can_pause, can_resume
        As those of `SweepView`.
    held
        Why and until when the next start waits, as a terminal prints a line for each.
    tick
        Seconds from one elapsed time to the next.
    refresh
        The command that shows the sweep again.
    handle
        The variable or the expression that has the sweep in its kernel.
    words
        The card's labels.
    """

    job: str
    target: str
    state: str
    kind: Kind
    elapsed: str
    as_of: str
    submitted: str
    ended: str
    counts: tuple[Count, ...]
    completed: int
    over: int
    total: int
    names: tuple[str, ...]
    rows: tuple[SweepRow, ...]
    more: tuple[Count, ...]
    notes: tuple[str, ...]
    gloss: str = ""
    canceled: int = 0
    can_cancel: int = 0
    can_retry: int = 0
    found: int = 0
    canceling: int = 0
    unsent: int = 0
    can_pause: bool = False
    can_resume: bool = False
    tick: float = 1.0
    is_final: bool = False
    kernel_waits: bool = False
    held: str = ""
    refresh: str = ""
    handle: str = ""
    words: Words = ENGLISH

    @property
    def line_key(self) -> object:
        """What a terminal prints a new line for when it changes."""
        return self.counts, self.is_final, bool(self.notes), self.held

    @property
    def save_key(self) -> object:
        """What a saved notebook is brought up to date for when it changes: the state, and each twentieth of the runs."""
        return self.state, 20 * self.over // self.total

    @property
    def later(self) -> str:
        """The command that lists its runs in another kernel, which does not know the sweep."""
        return f"%dataflow_runs --all --job {self.job}"

    def timeless(self) -> SweepState:
        """Return the state without what changes as time passes."""
        return replace(self, elapsed="", as_of="")


class Rows:
    """The rows of runs, each made again only when its run or the language has changed."""

    def __init__(self, swept: tuple[str, ...]) -> None:
        self._swept = swept[:MOST_NAMES]
        self._known: dict[tuple[int, bool], tuple[RunView, Words, SweepRow]] = {}

    def of(self, number: int, view: RunView, words: Words = ENGLISH, *, retried: bool = False) -> SweepRow:
        """Return the row of a run."""
        before = self._known.get((number, retried))
        if before is not None and before[0] is view and before[1] is words:
            return before[2]
        row = _sweep_row(number, view, self._swept, words, retried=retried)
        if before is not None and before[2] == row:
            row = before[2]
        self._known[number, retried] = view, words, row
        return row


def sweep_state(
    sweep: SweepView,
    now: datetime,
    *,
    rows: Rows | None = None,
    kernel_waits: bool = False,
    words: Words = ENGLISH,
) -> SweepState:
    """Return what the card of a sweep shows at one moment.

    Parameters
    ----------
    now
        Aware, in any zone.
    rows
        Keeps the rows from one call to the next.
    kernel_waits
        Whether the cell that shows the card blocks until all runs are over.
    words
        The labels, in one language.

    Raises
    ------
    ValueError
        ``now`` has no zone, or no run was sent.
    """
    if now.tzinfo is None:
        raise ValueError(f"now={now.isoformat()} has no time zone; pass an aware datetime")
    if not sweep.runs:
        raise ValueError("no run of the sweep was sent, so it has no card")
    table = _grouped(sweep, rows or Rows(sweep.swept), words)
    lines = [row for group in table.groups for row in group]
    first = sweep.runs[0][1]
    unsent = sweep.total - len(sweep.runs)
    word, kind = _overall(sweep, lines, table.live)
    state = SweepState(
        job=fmt.short(first.job_name or first.job_id, fmt.JOB_LENGTH),
        target=fmt.target(first),
        state=word,
        gloss=words.gloss(word),
        kind=kind,
        elapsed="",
        as_of=fmt.clock(now),
        refresh=f"%dataflow_status {sweep.key}" if sweep.key else "%dataflow_runs",
        handle=sweep.variable or (f'dataflow_magic.get("{sweep.key}")' if sweep.key else ""),
        submitted=fmt.day_and_clock(_began(sweep)),
        ended="",
        counts=tuple(_counts(lines, unsent, words, sweep.skipped)),
        completed=len(table.groups[Group.COMPLETED]),
        over=len(sweep.runs) - len(table.live),
        canceled=len(table.groups[Group.CANCELED]),
        total=sweep.total,
        names=tuple(fmt.short(name.removeprefix("$")) for name in sweep.swept[:MOST_NAMES]),
        rows=tuple(lines[:MOST_ROWS]),
        more=tuple(_counts(lines[MOST_ROWS:], 0, words)),
        notes=tuple(_notes(sweep, table.live, words)),
        can_retry=sum(
            row.state == RunState.FAILED and row.number not in sweep.retrying
            for row in table.groups[Group.FAILED]
        ),
        canceling=sum(view.cancel_requested for view in table.live),
        unsent=unsent,
        held=sweep.held,
        words=words,
    )
    if sweep.is_over:
        return _ended(state, sweep)
    return _live(state, sweep, now, table.live, kernel_waits=kernel_waits)


def _ended(state: SweepState, sweep: SweepView) -> SweepState:
    """Add what only the card of an ended sweep shows."""
    began = _began(sweep)
    ends = [view.execution.end_date for _, view in sweep.runs if view.execution and view.execution.end_date]
    if not ends:
        return replace(state, is_final=True)
    return replace(
        state,
        is_final=True,
        elapsed=_between(began, max(ends), state.words),
        ended=fmt.ended(began, max(ends)),
    )


def _live(
    state: SweepState, sweep: SweepView, now: datetime, live: list[RunView], *, kernel_waits: bool
) -> SweepState:
    """Add what only the card of a live sweep shows."""
    seconds = max(0.0, (now - _began(sweep)).total_seconds())
    tick = tick_seconds(seconds)
    cancelable = [view for view in live if view.run_id is not None and not view.cancel_requested]
    return replace(
        state,
        elapsed=state.words.duration(int(seconds // tick * tick)),
        tick=tick,
        can_cancel=0 if sweep.is_elsewhere else len(cancelable),
        found=sum(view.is_unsure for view in cancelable),
        can_pause=sweep.can_pause,
        can_resume=sweep.can_resume,
        kernel_waits=kernel_waits,
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """The rows by group, and the views of live runs."""

    groups: list[list[SweepRow]]
    live: list[RunView]


def _grouped(sweep: SweepView, rows: Rows, words: Words) -> _Table:
    # A list, not a mapping: an enum member's hash is a Python function, which is slow for thousands of runs.
    groups: list[list[SweepRow]] = [[] for _ in Group]
    live = []
    for number, view in sweep.runs:
        row = rows.of(number, view, words)
        groups[row.group].append(row)
        if row.group is Group.RUNNING or row.group is Group.WAITING:
            live.append(view)
    groups[Group.RETRIED] = [rows.of(number, view, words, retried=True) for number, view in sweep.retried]
    return _Table(groups, live)


def _sweep_row(
    number: int, view: RunView, swept: tuple[str, ...], words: Words, *, retried: bool
) -> SweepRow:
    group = Group.RETRIED if retried else _group(view)
    is_open = view.is_final and group is not Group.COMPLETED
    parameters = list(view.parameters.items())[:MOST_PARAMETERS] if is_open else []
    log = view.failure.log_tail if is_open and view.failure else ()
    return SweepRow(
        number=number,
        group=group,
        state=fmt.short(view.status) or "NO STATE",
        kind=Kind.BLIND if view.is_lost and view.execution is None else KINDS.get(view.status, Kind.UNKNOWN),
        values=tuple(fmt.row(name, fmt.spell(view.parameters.get(name, ""))).value for name in swept),
        run_id=fmt.short(view.run_id or ""),
        time=_time(view, words),
        note=" · ".join(filter(None, _notes_of_run(view, words, retried=retried))),
        gloss=words.gloss(view.status),
        parameters=tuple(fmt.row(name.removeprefix("$"), fmt.spell(value)) for name, value in parameters),
        log=fmt.end_of_log(log, LOG_LINES, LOG_LENGTH),
    )


def _group(view: RunView) -> Group:
    if view.status == RunState.COMPLETED:
        return Group.COMPLETED
    if view.status == RunState.CANCELED:
        return Group.CANCELED
    if view.is_final or view.settled:
        return Group.FAILED
    return Group.WAITING if view.execution is None or view.status == RunState.READY else Group.RUNNING


def _time(view: RunView, words: Words) -> str:
    times = view.times
    if view.is_final:
        return words.length(times.ran) if times.ran else fmt.taken(times, words)
    running = times.running
    return words.since.format(time=f"{running.astimezone(KST):%H:%M:%S}") if running else ""


def _notes_of_run(view: RunView, words: Words, *, retried: bool) -> Iterator[str]:
    yield words.found if view.is_unsure else ""
    yield _note(view, words, retried=retried)


def _note(view: RunView, words: Words, *, retried: bool) -> str:
    if view.is_final:
        detail = view.execution.status_detail if view.execution else ""
        reason = view.failure.reason if view.failure else detail
        text = "" if view.status == RunState.COMPLETED else words.sentence(fmt.line(reason or ""))
        if retried:
            return words.retried_after.format(reason=text) if text else words.retried
        return text
    if view.execution is None and (view.settled or view.is_lost):
        return words.sentence(fmt.line(view.blind_reason))
    if view.cancel_requested:
        return words.cancel_sent
    # What every READY run waits for would be as many lines more that say nothing.
    return "" if view.waiting_for == WAITS_FOR_START else fmt.waiting(view, words)


def _counts(rows: list[SweepRow], unsent: int, words: Words, skipped: int = 0) -> Iterator[Count]:
    kinds = {row.state: row.kind for row in rows if row.group is not Group.RETRIED}
    numbers = Counter([RETRIED if row.group is Group.RETRIED else row.state for row in rows])
    for word, number in numbers.items():
        yield Count(word, kinds.get(word, Kind.CANCELED), number, words.gloss(word))
    if unsent:
        yield Count(UNSENT, Kind.WAITING, unsent, words.gloss(UNSENT))
    if skipped:
        yield Count(SKIPPED, Kind.CANCELED, skipped, words.gloss(SKIPPED))


def _overall(sweep: SweepView, rows: list[SweepRow], live: list[RunView]) -> tuple[str, Kind]:
    if not sweep.is_over:
        if sweep.can_resume:
            return PAUSED, Kind.WAITING
        silent = any(view.blind_since for view in live)
        return RunState.RUNNING, Kind.BLIND if silent else Kind.RUNNING
    first = rows[0].group
    if first is Group.FAILED:
        return RunState.FAILED, Kind.BAD
    if first is Group.CANCELED:
        return RunState.CANCELED, Kind.CANCELED
    if len(sweep.runs) < sweep.total:
        return UNSENT, Kind.BLIND
    if first is Group.COMPLETED:
        return RunState.COMPLETED, Kind.GOOD
    return rows[0].state, Kind.BLIND  # this kernel follows its runs no longer


def _notes(sweep: SweepView, live: list[RunView], words: Words) -> Iterator[str]:
    causes = Counter(view.cause for _, view in sweep.runs if view.status == RunState.FAILED)
    if causes.total() > 1:  # of one, its row has the reason
        named = [
            f"{n} {fmt.cut(words.sentence(fmt.line(cause)), CAUSE_LENGTH)}"
            for cause, n in causes.most_common(MOST_CAUSES)
        ]
        more = [words.more.format(count=len(causes) - MOST_CAUSES)] if len(causes) > MOST_CAUSES else []
        yield words.failed_by.format(count=causes.total(), causes=", ".join([*named, *more]))
    unsent = sweep.total - len(sweep.runs)
    if sweep.stopped:
        reason = words.sentence(fmt.line(sweep.stopped))
        yield (words.not_sent if unsent else words.not_again).format(count=unsent, reason=reason)
    elif sweep.job_limit and unsent and not sweep.is_over:
        yield words.limited.format(count=sweep.job_limit)
    if sweep.held:
        yield words.sentence(fmt.line(sweep.held))
    silent = [view for view in live if view.blind_since and view.execution is not None]
    if silent:
        since = min(view.blind_since for view in silent if view.blind_since)
        reason = words.sentence(fmt.line(silent[0].blind_reason))
        note = words.silent.format(count=len(silent), time=fmt.clock(since))
        yield f"{note}: {reason}" if reason else note
    clock = next((view.clock for view in live if view.clock), "")
    if clock:
        yield words.sentence(fmt.line(clock))


def _began(sweep: SweepView) -> datetime:
    # The first run that was sent is the first of the list, unless another run has replaced it.
    return min(view.submitted_at for view in (sweep.runs[0][1], *(view for _, view in sweep.retried)))


def _between(began: datetime, end: datetime, words: Words) -> str:
    # The service's end is in whole seconds.
    return words.duration(max(0, int((end - began.replace(microsecond=0)).total_seconds())))
