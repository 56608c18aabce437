"""Which run of a job is the outcome of a start whose response was lost. Pure; never guesses between two.

Each listed run is judged by what the service shows of it:

============  =============================================================================================
`CONTRADICTS`  something shown differs from what was sent: it is another's run
`POSSIBLE`     nothing shown differs, and something is not shown: it is never adopted, and it keeps the start
               from being called not started
`AGREES`       all of the request is shown and equal, and it was created while the service could accept the
               request: ours, or an identical run of another user at the same time
`CERTAIN`      it carries the start's marker
============  =============================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

from dataflow_magic.models.attempt import Attempt, ServiceClock
from dataflow_magic.models.marker import MARKER_PARAMETER, Marker, carries_marker
from dataflow_magic.models.request import RunRequest
from dataflow_magic.models.secret import Parameter, Secret
from dataflow_magic.models.view import FoundBy, RunView
from dataflow_magic.models.wire import JobCondition, JobExecution, RunState, Scalar
from dataflow_magic.signing import MAX_SKEW_MS

__all__ = [
    "Evidence",
    "Match",
    "Start",
    "Window",
    "closes_at",
    "judge",
    "match",
    "opens_at",
    "reaches_back_to",
    "windows",
]

MAX_SKEW: Final = timedelta(milliseconds=MAX_SKEW_MS)
"""From a signature's timestamp to the first and the last time at which the service accepts it."""
CARRYING_OUT: Final = timedelta(seconds=60)
"""From the moment a request is accepted to the creation of its run at most. The pages give none; gateways end a call that their
service answers no sooner."""
DATING: Final = timedelta(seconds=5)
"""How far a date of a run may be before its creation by the gateway's clock: dates have whole seconds, and another machine with
a clock of its own may write them."""
CORRECTION: Final = timedelta(seconds=60)
"""From a signature's timestamp to this machine's clock at least, where signatures have a corrected time."""
SENDING: Final = timedelta(seconds=90)
"""From submission to the last signature, for starts of versions that kept no attempts."""
JOB_TYPE: Final = "JOB"
"""``type`` of a run that was started by the job itself; ``WORKFLOW`` is that of a workflow's."""
DEFAULTS: Final = {"num_worker": 2, "timeout": 360}
"""Of a condition, by the executeJob page."""
WORKER_TYPES: Final = frozenset({"DEFAULT", "DATAFLOW", None})
"""The vendor's two words for its one type of worker."""


class Evidence(IntEnum):
    """How much speaks for a run being the outcome of a start; see the module."""

    CONTRADICTS = 0
    POSSIBLE = 1
    AGREES = 2
    CERTAIN = 3


@dataclass(frozen=True, slots=True)
class Start:
    """A start whose run is unknown.

    Parameters
    ----------
    attempts
        In the order of sending; None where they were not kept.
    """

    view: RunView
    attempts: tuple[Attempt, ...] | None = None

    @property
    def was_never_sent(self) -> bool:
        """Whether none of its requests can have reached the service."""
        return self.attempts is not None and not any(each.may_be_carried_out for each in self.attempts)


@dataclass(frozen=True, slots=True)
class Window:
    """When the service may have created the run of one attempt, by the clock that dates runs.

    Parameters
    ----------
    possible, likely
        The earliest time: by the signature, and by what was measured. ``likely`` is None without a measurement.
    end
        The latest time.
    """

    possible: datetime
    likely: datetime | None
    end: datetime


@dataclass(frozen=True, slots=True)
class Match:
    """What a job's list says of one lost start.

    Parameters
    ----------
    found, found_by
        The start's run, and how it was found; None and empty while unclear.
    others
        The runs that may be the start's, where none is found.
    shared
        The runs that an identical start of this machine takes, and that may be the start's as well.
    may_clear_up
        Whether the service has not listed the parameters of one of ``others`` yet.
    """

    found: JobExecution | None = None
    found_by: FoundBy = ""
    others: tuple[JobExecution, ...] = ()
    shared: tuple[JobExecution, ...] = ()
    may_clear_up: bool = False


def match(
    start: Start,
    lost: Iterable[Start],
    executions: Iterable[JobExecution],
    owned: Collection[str],
    clock: ServiceClock | None,
) -> Match:
    """Return which of a job's runs a lost start created, as far as this list shows.

    Identical starts of this machine share the runs that only they can have created: what the service received of them is
    equal, so either is the outcome of either. Every other ambiguity leaves the outcome open.

    Parameters
    ----------
    lost
        Every start of this machine whose run is unknown, with or without ``start``.
    owned
        Ids of runs that certainly belong to other starts.
    clock
        The service's clock, measured at any time of this boot; None where unknown.

    Notes
    -----
    A match by parameters holds only for a list that is whole and was read after `closes_at`: before, the start's own run
    may show beside the one that is listed.
    """
    rivals = {other.view.key: other for other in lost if other.view.job_id == start.view.job_id}
    rivals.pop(start.view.key, None)
    # By id: a run that moves between two pages is listed twice.
    by_id = {run.job_execution_id: run for run in executions if run.job_execution_id not in owned}
    judged = [(run, evidence) for run in by_id.values() if (evidence := judge(start, run, clock))]
    certain = [run for run, evidence in judged if evidence == Evidence.CERTAIN]
    if len(certain) == 1:
        return Match(certain[0], "marker")
    # Another start's marker makes it certain that a run is that start's.
    marked_for_others = {
        run.job_execution_id
        for run, _ in judged
        if any(judge(other, run, clock) == Evidence.CERTAIN for other in rivals.values())
    }
    ours = tuple(run for run, _ in judged if run.job_execution_id not in marked_for_others)
    if not ours:
        return Match()
    unclear = Match(others=ours, may_clear_up=any(_is_unlisted(run) for run in ours))
    alike = [start, *(other for other in rivals.values() if _is_alike(other, start))]
    different = [other for other in rivals.values() if not _is_alike(other, start)]
    if certain or any(all(judge(each, run, clock) < Evidence.AGREES for each in alike) for run in ours):
        return unclear
    if any(judge(other, run, clock) for other in different for run in ours):
        return unclear
    pairs = _paired(start, alike, by_id.values(), clock)
    if pairs is None:
        return unclear
    found = pairs.get(start.view.key)
    return Match(found, "parameters") if found else Match(shared=ours)


def judge(start: Start, run: JobExecution, clock: ServiceClock | None) -> Evidence:
    """Return how much speaks for a listed run being the outcome of a start.

    A key is made for one start and sent by no other, so a run that carries it needs no further evidence but that it is of
    the job and of the time: another user may have copied the whole request of a run later. With a marker sent, a run without
    it is another's, unless the service does not show yet where the marker would be.
    """
    view, sent = start.view, start.view.sent
    time = _of_time(start, run, clock)
    around = min(_of_job(view, run), time)
    if view.request.marker == "off":
        return min(around, _of_origin(sent, run), _of_condition(sent, run), _of_parameters(sent, run))
    if around and carries_marker(view, run):
        return Evidence.CERTAIN
    if _shows_marker_s_place(view.request.marker, run):
        return Evidence.CONTRADICTS
    return min(
        around, _of_origin(sent, run), _of_condition(sent, run), _of_parameters(sent, run), Evidence.POSSIBLE
    )


def _shows_marker_s_place(marker: Marker, run: JobExecution) -> bool:
    """Whether a run of the start would show the marker.

    A snapshot has the log path of its run. Of parameters, a service may show those alone that it has parsed.
    """
    if marker == "log-path":
        return bool(run.job_condition and run.job_condition.log_path)
    return not {MARKER_PARAMETER, MARKER_PARAMETER.removeprefix("$")}.isdisjoint(run.parameters)


# Time


def windows(start: Start, clock: ServiceClock | None) -> list[Window]:
    """Return when the service may have created the run of a start: one window for each attempt that may have arrived.

    Only attempts count, not the submission: the machine may sleep between the two, and its clock may be set. A request is
    accepted while the service's own clock is within five minutes of the signed timestamp, however late it arrives: what
    lies between may hold it back long after the connection here has ended. So the signature ends the window, and the end
    of the connection does not. A request whose connection was never established has no window.

    A run is possible from five minutes before the timestamp on: that needs no measurement, so no wrong measurement makes a
    start count as not started. It is likely from when the request left, by the service's clock: by the offset that was known
    when it was signed, or by a later measurement and the same boot's steady clock, which nobody sets.
    """
    if start.attempts is None:
        return [_window_of_submission(start.view)]
    sent = [attempt for attempt in start.attempts if attempt.may_be_carried_out]
    return [_window(attempt, clock) for attempt in sent] + [
        _window_by_this_clock(attempt) for attempt in sent if _is_corrected(attempt)
    ]


def closes_at(start: Start, clock: ServiceClock | None) -> datetime:
    """Return the service's time after which no run of a start is created."""
    return max((window.end for window in windows(start, clock)), default=start.view.submitted_at)


def opens_at(start: Start, clock: ServiceClock | None) -> datetime:
    """Return the service's time before which no run of a start was created."""
    return min((window.possible for window in windows(start, clock)), default=start.view.submitted_at)


def reaches_back_to(start: Start, lost: Iterable[Start], clock: ServiceClock | None) -> datetime:
    """Return the service's time before which no run matters for a start, nor for one that may share runs with it."""
    since = opens_at(start, clock)
    # From the youngest to the oldest: each may reach into the time of the one before.
    for other in sorted(lost, key=lambda each: closes_at(each, clock), reverse=True):
        if other.view.job_id == start.view.job_id and closes_at(other, clock) >= since:
            since = min(since, opens_at(other, clock))
    return since


def _window(attempt: Attempt, clock: ServiceClock | None) -> Window:
    signed = _moment(attempt.signed_ms * 1000)
    end = signed + MAX_SKEW + CARRYING_OUT
    possible = signed - MAX_SKEW - DATING
    measured = _sent_at(attempt, clock)
    if measured is None:
        return Window(possible, None, end)
    sent, uncertainty = measured
    if abs(sent - signed) > MAX_SKEW:  # the gateway refuses such a signature, so the measurement was wrong
        return Window(possible, None, end)
    return Window(possible, max(possible, sent - uncertainty - DATING), end)


def _is_corrected(attempt: Attempt) -> bool:
    return abs(attempt.signed_ms * 1000 - attempt.sent_us) > CORRECTION // timedelta(microseconds=1)


def _window_by_this_clock(attempt: Attempt) -> Window:
    """Return the window of a corrected signature by the clock that was corrected: the gateway's may be the one that is off."""
    sent = _moment(attempt.sent_us)
    return Window(sent - MAX_SKEW - DATING, None, sent + MAX_SKEW + CARRYING_OUT)


def _sent_at(attempt: Attempt, clock: ServiceClock | None) -> tuple[datetime, timedelta] | None:
    """Return the service's time when an attempt was signed, and how far it may be wrong; None where it was not measured."""
    if attempt.offset_us is not None and attempt.uncertainty_us is not None:
        sent_us, uncertainty_us = attempt.sent_us + attempt.offset_us, attempt.uncertainty_us
    elif clock is not None and clock.boot == attempt.boot:
        sent_us, uncertainty_us = clock.at(attempt.sent_steady_us)
    else:
        return None
    return _moment(sent_us), timedelta(microseconds=uncertainty_us)


def _window_of_submission(view: RunView) -> Window:
    made = view.submitted_at
    return Window(made - MAX_SKEW - DATING, None, made + SENDING + MAX_SKEW + CARRYING_OUT)


def _of_time(start: Start, run: JobExecution, clock: ServiceClock | None) -> Evidence:
    """Whether the run was created while the service could accept an attempt."""
    created = run.created_date
    if created is None:  # not shown
        return Evidence.POSSIBLE if windows(start, clock) else Evidence.CONTRADICTS
    evidence = Evidence.CONTRADICTS
    for window in windows(start, clock):
        if window.possible <= created <= window.end:
            is_likely = window.likely is not None and created >= window.likely
            evidence = max(evidence, Evidence.AGREES if is_likely else Evidence.POSSIBLE)
    return evidence


# Request


def _of_job(view: RunView, run: JobExecution) -> Evidence:
    """Whether the run is of the job; a list of the job's runs need not repeat it."""
    return _known(not run.job_id or run.job_id == view.job_id)


def _of_origin(sent: RunRequest, run: JobExecution) -> Evidence:
    """Whether the run was started as ours was: by the job itself, or by the trigger and workflow that were sent.

    ``type`` says what started a run, and ``triggerId`` is shown for a run that a trigger started: a run that shows either
    and was sent without is a trigger's or a workflow's. No page shows a workflow's id in a run.
    """
    if run.workflow_id and run.workflow_id != sent.workflow_id:
        return Evidence.CONTRADICTS
    if run.trigger_id and run.trigger_id != sent.trigger_id:
        return Evidence.CONTRADICTS
    is_plain = sent.workflow_id is None and sent.trigger_id is None
    if is_plain and run.type == "WORKFLOW":
        return Evidence.CONTRADICTS
    if is_plain and run.type not in {None, "", JOB_TYPE}:  # a type that no page has
        return Evidence.POSSIBLE
    return Evidence.POSSIBLE if sent.trigger_id and not run.trigger_id else Evidence.AGREES


def _of_condition(sent: RunRequest, run: JobExecution) -> Evidence:
    """Whether the run has the condition that was sent: a run's snapshot shows the one it was started with.

    A field that was not sent shows its documented default; another value may be one that is stored in the job. A timeout of
    0 means the default, and the two words for the type of worker mean the same; a slash at either end of a path changes
    nothing.
    """
    listed = run.job_condition
    if listed is None:
        return Evidence.POSSIBLE if sent.condition.to_wire() else Evidence.AGREES
    ours, theirs = _comparable(sent.condition), _comparable(listed)
    if any(theirs[name] not in {None, value} for name, value in ours.items() if value is not None):
        return Evidence.CONTRADICTS
    is_shown = all(
        theirs[name] == value if value is not None else theirs[name] in {None, DEFAULTS.get(name)}
        for name, value in ours.items()
    )
    return Evidence.AGREES if is_shown else Evidence.POSSIBLE


def _comparable(condition: JobCondition) -> dict[str, str | int | None]:
    worker_type = condition.worker_type
    paths = {"script_path": condition.script_path, "log_path": condition.log_path}
    return {
        "num_worker": condition.num_worker,
        "timeout": condition.timeout or None,
        "nrn": condition.nrn,
        "worker_type": None if worker_type in WORKER_TYPES else worker_type,
        **{name: path.strip("/") or None if path else None for name, path in paths.items()},
    }


def _of_parameters(sent: RunRequest, run: JobExecution) -> Evidence:
    """Whether the run shows exactly the parameters that were sent, as text.

    A service may leave the ``$`` of a name away and return a number for its text, as the pages' examples do. Beside those
    that were sent it may show what is stored in the job. A value that only another spelling could make equal, a name that
    is missing or one that is not known here leaves the run possible: the pages do not say what parsing changes.
    """
    ours, theirs = _as_text(sent.parameters), _as_text(run.parameters)
    stored = _stored(sent.condition) | (_stored(run.job_condition) if run.job_condition else frozenset())
    unknown = {
        name.removeprefix("$")
        for name, value in sent.parameters.items()
        if isinstance(value, Secret) and value.reveal() is None
    }
    evidence = Evidence.AGREES
    for name, value in ours.items():
        if name not in theirs:
            evidence = Evidence.POSSIBLE
        elif value != theirs[name]:
            if not _is_same_but_for_spelling(value, theirs[name]):
                return Evidence.CONTRADICTS
            evidence = Evidence.POSSIBLE
    if unknown or theirs.keys() - ours.keys() - unknown - stored:
        evidence = Evidence.POSSIBLE
    return evidence


def _stored(condition: JobCondition) -> frozenset[str]:
    """Return the names of the parameters that a job's stored condition has, without their ``$``."""
    stored = (condition.model_extra or {}).get("parameters")
    return (
        frozenset(str(name).removeprefix("$") for name in stored)
        if isinstance(stored, Mapping)
        else frozenset()
    )


def _as_text(parameters: Mapping[str, Parameter] | Mapping[str, Scalar]) -> dict[str, str]:
    known = {
        name.removeprefix("$"): value.reveal() if isinstance(value, Secret) else value
        for name, value in parameters.items()
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in known.items()
        if value is not None
    }


def _is_same_but_for_spelling(ours: str, theirs: str) -> bool:
    if ours.strip().casefold() == theirs.strip().casefold():
        return True
    try:
        return float(ours) == float(theirs)
    except ValueError:
        return False


def _known(agrees: bool) -> Evidence:
    return Evidence.AGREES if agrees else Evidence.CONTRADICTS


def _is_unlisted(run: JobExecution) -> bool:
    # The page's example returns READY without parameters although one was sent.
    return run.status == RunState.READY and not run.parameters


# Identical starts


def _is_alike(one: Start, other: Start) -> bool:
    return _request(one) == _request(other)


def _request(start: Start) -> tuple[object, ...]:
    request = start.view.request
    # A secret whose value is unknown here equals only itself: two such starts do not count as identical.
    secrets = {name: value for name, value in request.parameters.items() if isinstance(value, Secret)}
    return request.condition.to_wire(), _as_text(request.parameters), secrets, request.query, request.marker


def _paired(
    start: Start, alike: Sequence[Start], runs: Iterable[JobExecution], clock: ServiceClock | None
) -> dict[str, JobExecution] | None:
    """Return the runs of identical starts by their keys; None where there is a run too many, which is another user's.

    Each run goes to the start whose time ends first among those that may have it. That pairs as many as can be paired,
    since the time of a start is one stretch. Starts that share no run with ``start``, nor with one that does, are left out.
    """
    evidence = {
        run.job_execution_id: {each.view.key: found for each in alike if (found := judge(each, run, clock))}
        for run in runs
    }
    group, keys = set[str](), {start.view.key}
    while keys - group:
        group |= keys
        keys = {key for of_run in evidence.values() if of_run.keys() & group for key in of_run}
    left = sorted(
        (each for each in alike if each.view.key in group),
        key=lambda each: (closes_at(each, clock), each.view.key),
    )
    pairs: dict[str, JobExecution] = {}
    for run in sorted(runs, key=_by_creation):
        of_run = evidence[run.job_execution_id]
        if not of_run.keys() & group:
            continue
        taker = next((each for each in left if of_run.get(each.view.key) == Evidence.AGREES), None)
        if taker is None:
            return None
        left.remove(taker)
        pairs[taker.view.key] = run
    return pairs


def _by_creation(run: JobExecution) -> tuple[Any, str]:
    return run.created_date or datetime.min.replace(tzinfo=UTC), run.job_execution_id


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
