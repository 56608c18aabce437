"""What the card of a run shows, as text. Pure: no markup, no clock, no widget.

Text from outside goes through `format`, so a `CardState` can be encoded, cannot move a terminal's cursor and has a bounded
length. It is not escaped: `markup` does that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from dataflow_magic.card import format as fmt
from dataflow_magic.card.format import KINDS, Kind, Row, tick_seconds
from dataflow_magic.card.words import ENGLISH, Words
from dataflow_magic.models.failure import Failure
from dataflow_magic.models.log import LogTail
from dataflow_magic.models.stages import Hotspots
from dataflow_magic.models.view import KST, RunView
from dataflow_magic.models.wire import RunState
from dataflow_magic.reasons.stages.findings import finding_of

__all__ = ["Bar", "CardState", "Hotspot", "card_state"]

MOST_PARAMETERS: Final = 12
LOG_LINES: Final = 20
LOG_LENGTH: Final = 8_000
"""Characters of the end of a log in a saved card."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a known whole, never an estimate.

    Parameters
    ----------
    share
        The part of Spark's tasks that is done, between 0 and 1; it never falls while the run lives.
    text
        Tasks and stages in words.
    doing
        The running stage, as Spark names it.
    """

    share: float
    text: str
    doing: str = ""


@dataclass(frozen=True, slots=True)
class Hotspot:
    """A stage that took long.

    Parameters
    ----------
    name
        Its number and its operation in words.
    place
        Its line in the script; empty where unknown.
    took
        In words.
    share
        Of the time of all Spark applications of the run, between 0 and 1.
    finding
        What is out of line; empty where nothing is.
    """

    name: str
    place: str
    took: str
    share: float
    finding: str


@dataclass(frozen=True, slots=True)
class CardState:
    """What a card shows; a part with nothing to show is empty.

    Parameters
    ----------
    state
        The service's word, also one that this package does not know.
    gloss
        Its meaning in the card's language, where the word is of another one.
    elapsed
        Of a live run since submission: ``12 s``, ``3 min 05 s``, ``1 h 02 min``. Of an ended run how long it ran, or took
        in all where only that is known: ``ran 12 s``.
    waited
        How long the run waited before it ran.
    parameters, condition
        In the order they were sent; parameter names are without their ``$``.
    more_parameters
        How many parameters are left out of ``parameters``.
    target
        ``local``, ``cloud``, or a profile's name and the host it leads to.
    found
        That the run of a lost start was found by its parameters alone, so that it may be an identical run of another user.
    waiting, blind, clock, cancel, remark
        What the run waits for, since when and why the service gives no answer, that this machine's clock is off, that a
        cancel was sent, the error of the last click.
    bar
        The progress, None where the service reports none.
    past, is_late
        How long its job ran before, and whether this run runs longer than each of those.
    error_class
        Of the failure, where the reason does not begin with it.
    place, source
        The user's own line that failed: file, line and function in words, and its text.
    expression
        The part of a query that failed, in words, where the line does not show it.
    advice
        What to try after a failure.
    hotspots
        The stages of an ended run that took longest, the longest first.
    log_tail
        The last lines of an ended run's console log, oldest first, at most 20 and 8,000 characters.
    open_log
        What was read of the console log since the user opened it; None while it is closed.
    log_fault
        Why the open log has no lines, or no new ones; empty where it has.
    can_cancel
        Whether a cancel can be sent now.
    kernel_waits
        Whether a cell blocks until the run is over, so that no button can work.
    as_of, submitted, ended
        In Korean time; ``as_of`` has no day, and ``ended`` has one only if it is not the day of the submission.
    refresh, again, whole_log, all_stages
        The commands that show the run again, that start an ended run once more, that print its whole log, and that draw its
        stages.
    tick
        Seconds from one elapsed time to the next.
    words
        The card's labels.
    """

    job: str
    run_id: str
    state: str
    kind: Kind
    elapsed: str
    target: str
    parameters: tuple[Row, ...]
    condition: tuple[Row, ...]
    as_of: str
    submitted: str
    more_parameters: int = 0
    waited: str = ""
    ended: str = ""
    found: str = ""
    waiting: str = ""
    blind: str = ""
    clock: str = ""
    cancel: str = ""
    remark: str = ""
    gloss: str = ""
    bar: Bar | None = None
    past: str = ""
    is_late: bool = False
    reason: str = ""
    error_class: str = ""
    place: str = ""
    source: str = ""
    expression: str = ""
    advice: str = ""
    hotspots: tuple[Hotspot, ...] = ()
    log_tail: tuple[str, ...] = ()
    open_log: LogTail | None = None
    log_fault: str = ""
    is_final: bool = False
    can_cancel: bool = False
    kernel_waits: bool = False
    refresh: str = ""
    again: str = ""
    whole_log: str = ""
    all_stages: str = ""
    tick: float = 1.0
    words: Words = ENGLISH

    @property
    def line_key(self) -> object:
        """What a terminal prints a new line for when it changes."""
        return self.state, bool(self.blind)

    @property
    def save_key(self) -> object:
        """What a saved notebook is brought up to date for when it changes."""
        return self.state

    @property
    def later(self) -> str:
        """The command that continues with the run in another kernel."""
        return self.refresh

    def timeless(self) -> CardState:
        """Return the state without what changes as time passes."""
        return replace(self, elapsed="", as_of="")


def card_state(
    view: RunView, now: datetime, *, kernel_waits: bool = False, words: Words = ENGLISH
) -> CardState:
    """Return what the card of a run shows at one moment.

    Parameters
    ----------
    now
        Aware, in any zone.
    kernel_waits
        Whether the cell that shows the card blocks until the run is over.
    words
        The labels, in one language.

    Raises
    ------
    ValueError
        ``now`` has no zone.
    """
    if now.tzinfo is None:
        raise ValueError(f"now={now.isoformat()} has no time zone; pass an aware datetime")
    parameters = list((view.parameters or (view.execution.parameters if view.execution else {})).items())
    state = CardState(
        job=fmt.short(view.job_name or view.job_id, fmt.JOB_LENGTH),
        run_id=fmt.short(view.run_id or ""),
        state=fmt.short(view.status) or "NO STATE",
        gloss=words.gloss(view.status),
        kind=_kind(view),
        elapsed=_elapsed(view, now, words),
        target=fmt.target(view),
        parameters=tuple(
            fmt.row(name.removeprefix("$"), fmt.spell(value)) for name, value in parameters[:MOST_PARAMETERS]
        ),
        more_parameters=max(0, len(parameters) - MOST_PARAMETERS),
        condition=tuple(_condition(view, words)),
        as_of=fmt.clock(now),
        submitted=fmt.day_and_clock(view.submitted_at),
        waited=words.waited.format(time=words.length(waited)) if (waited := view.times.waited) else "",
        found=words.found if view.is_unsure else "",
        remark=words.sentence(fmt.line(view.remark)),
        bar=_bar(view, words),
        past=_past(view, now, words),
        is_late=_is_late(view, now),
        open_log=view.log_tail,
        log_fault=_log_fault(view.log_tail, words),
        tick=tick_seconds(view.elapsed_seconds(now)),
        refresh=f"%dataflow_status {name}"
        if (name := fmt.short(view.run_id or view.key))
        else "%dataflow_runs",
        words=words,
    )
    return _ended(state, view) if view.is_final else _live(state, view, now, kernel_waits=kernel_waits)


def _ended(state: CardState, view: RunView) -> CardState:
    """Add what only the card of an ended run shows."""
    end = view.execution.end_date if view.execution else None
    reason = _reason(view)
    name = state.run_id or view.key
    if view.failure:
        state = _with_failure(state, view.failure)
    return replace(
        state,
        is_final=True,
        ended=fmt.ended(view.submitted_at, end) if end else "",
        reason=state.words.sentence(reason),
        again=f"%dataflow_run --again {name}" if name else "",
        log_tail=fmt.end_of_log(
            (view.failure.log_tail if view.failure else ()) or view.last_lines, LOG_LINES, LOG_LENGTH
        ),
        whole_log=f"%dataflow_logs {name} --all" if name else "",
        hotspots=tuple(_hotspots(view.hotspots, state.words)) if view.hotspots else (),
        all_stages=f"%dataflow_stages {name}" if name else "",
    )


def _live(state: CardState, view: RunView, now: datetime, *, kernel_waits: bool) -> CardState:
    """Add what only the card of a live run shows."""
    words = state.words
    return replace(
        state,
        waiting=fmt.waiting(view, words),
        blind=_blind(view, now, words),
        clock=words.sentence(fmt.line(view.clock)),
        cancel=words.cancel_sent if view.cancel_requested else "",
        can_cancel=bool(state.run_id) and not view.cancel_requested,
        kernel_waits=kernel_waits,
    )


def _kind(view: RunView) -> Kind:
    if view.blind_since and not view.is_final and not view.settled:
        return Kind.BLIND
    return KINDS.get(view.status, Kind.UNKNOWN)


def _elapsed(view: RunView, now: datetime, words: Words) -> str:
    if not view.is_final:
        seconds = view.elapsed_seconds(now)
        tick = tick_seconds(seconds)
        return words.duration(int(seconds // tick * tick))
    return fmt.taken(view.times, words)


def _bar(view: RunView, words: Words) -> Bar | None:
    progress = view.progress
    if progress is None or not progress.tasks_total:
        return None
    done, total = min(progress.tasks_done, progress.tasks_total), progress.tasks_total
    is_completed = view.status == RunState.COMPLETED
    if progress.is_plan_known or is_completed:
        parts = [
            words.tasks.format(done=done, total=total),
            words.stages.format(done=progress.stages_done, total=progress.stages_total),
        ]
    else:
        # Each job that Spark begins adds tasks: a bar that is full now would be emptier with the next one.
        parts = [words.tasks_done.format(done=done)]
    own = progress.after(None).share if progress.share is None else progress.share
    share = done / total if is_completed else own or 0.0
    if progress.attempts_failed:
        parts.append(words.attempts_failed.format(failed=progress.attempts_failed))
    return Bar(share, " · ".join(parts), fmt.line(progress.doing))


def _past(view: RunView, now: datetime, words: Words) -> str:
    past = view.past
    if past is None or not past.runs or view.settled:
        return ""
    values = {
        "median": words.duration(round(past.median)),
        "shortest": words.duration(round(past.shortest)),
        "longest": words.duration(round(past.longest)),
        "runs": past.runs,
    }
    if _is_late(view, now):
        return words.late.format_map(values)
    return (words.usually_one if past.runs == 1 else words.usually).format_map(values)


def _is_late(view: RunView, now: datetime) -> bool:
    # One earlier run is too few to compare with.
    past = view.past
    return past is not None and past.runs > 1 and _ran_seconds(view, now) > past.longest


def _ran_seconds(view: RunView, now: datetime) -> float:
    """Return how long a run ran, or has run so far; 0 where that is unknown."""
    times = view.times
    if view.is_final:
        return times.ran.length.total_seconds() if times.ran else 0.0
    return (now - times.running).total_seconds() if times.running and not view.settled else 0.0


def _condition(view: RunView, words: Words) -> Iterator[Row]:
    condition = view.condition
    if view.execution and view.execution.job_condition:
        condition = condition.over(view.execution.job_condition)
    if condition.num_worker is not None:
        yield Row(words.workers, str(condition.num_worker))
    if condition.timeout is not None:
        yield Row(words.timeout, words.whole_minutes.format(m=condition.timeout))
    named = (
        (words.role, condition.nrn),
        (words.script, condition.script_path),
        (words.log, condition.log_path),
        (words.trigger, view.request.trigger_id),
        (words.workflow, view.request.workflow_id),
    )
    for name, value in named:
        if value:
            yield fmt.row(name, value)


def _blind(view: RunView, now: datetime, words: Words) -> str:
    if view.blind_since is None:
        return ""
    if view.settled or (view.is_lost and not view.execution):
        # The reason is long, and the time is that of the submission.
        return words.sentence(fmt.line(view.blind_reason))
    same_day = view.blind_since.astimezone(KST).date() == now.astimezone(KST).date()
    since = fmt.clock(view.blind_since) if same_day else fmt.day_and_clock(view.blind_since)
    reason = f": {words.sentence(fmt.line(view.blind_reason))}" if view.blind_reason else ""
    return words.blind.format(time=since) + reason


def _reason(view: RunView) -> str:
    if view.failure and view.failure.reason:
        return fmt.line(view.failure.reason)
    if view.status != RunState.COMPLETED and view.execution and view.execution.status_detail:
        return fmt.line(view.execution.status_detail)
    return ""


def _with_failure(state: CardState, failure: Failure) -> CardState:
    """Add the class, the failing expression, what to try and the user's own line of a failure."""
    kind = "" if failure.error_class in failure.reason else fmt.short(failure.error_class)
    place, words = failure.place, state.words
    state = replace(state, error_class=kind, advice=words.sentence(failure.advice))
    if failure.expression and failure.expression not in f"{failure.reason}\n{place and place.source}":
        state = replace(state, expression=words.expression.format(expression=fmt.line(failure.expression)))
    if place is None:
        return state
    shown = words.place.format(file=fmt.short(place.file), line=place.line)
    if place.function:
        shown = words.in_function.format(place=shown, function=fmt.short(place.function))
    return replace(state, place=shown, source=fmt.line(place.source))


def _hotspots(hotspots: Hotspots, words: Words) -> Iterator[Hotspot]:
    for stage in hotspots.stages:
        took, place, found = stage.took or 0, stage.place, finding_of(stage)
        yield Hotspot(
            words.stage.format(number=stage.number, name=fmt.short(stage.name)),
            words.place.format(file=fmt.short(place.file), line=place.line) if place else "",
            words.duration(round(took / 1000)),
            min(1.0, took / hotspots.total) if hotspots.total > 0 else 0.0,
            words.sentence(fmt.line(found.sentence)) if found else "",
        )


def _log_fault(log: LogTail | None, words: Words) -> str:
    if log is None or (log.lines and not log.fault):
        return ""
    return words.sentence(fmt.line(log.fault)) if log.fault else words.no_log
