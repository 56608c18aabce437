"""Which run of a job is the outcome of a start whose response was lost. Pure; never guesses between two."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dataflow_magic.models.secret import Parameter, Secret
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import JobCondition, JobExecution, RunState, Scalar
from dataflow_magic.signing import MAX_SKEW_MS

__all__ = ["CLOCK_MARGIN", "LATE_MARGIN", "Match", "candidates", "expires_at", "match"]

CLOCK_MARGIN = timedelta(milliseconds=MAX_SKEW_MS)
"""How far this machine's clock may be off for the service to accept its signature."""
LATE_MARGIN = 2 * CLOCK_MARGIN
"""How long after it was made a request may create a run: a run created later belongs to another start."""
SIGNING = timedelta(seconds=90)
"""Time from submission to the last signature of a start: the ledger is written first, and a start that did not arrive is
retried for some seconds."""


@dataclass(frozen=True, slots=True)
class Match:
    """What a job's list says of one lost start.

    Parameters
    ----------
    found
        The start's run; None while unclear.
    others
        The runs that may be the start's, where none is found.
    may_clear_up
        Whether the service has not listed the parameters of one of ``others`` yet.
    """

    found: JobExecution | None = None
    others: tuple[JobExecution, ...] = ()
    may_clear_up: bool = False


def match(
    view: RunView,
    lost: Iterable[RunView],
    executions: Iterable[JobExecution],
    owned: Collection[str],
    clock_offsets: Iterable[timedelta] = (timedelta(0),),
    *,
    is_late: bool = False,
) -> Match:
    """Return which of a job's runs a lost start created.

    Identical starts are paired with the runs that only they can have created, both in the order of their times, since no
    one could tell these runs apart. Every other ambiguity leaves the outcome open.

    Parameters
    ----------
    view
        The start.
    lost
        Every lost start of this machine, with or without ``view``.
    owned
        Ids of runs that certainly belong to other starts.
    clock_offsets
        As `candidates`.
    is_late
        Whether waiting longer is useless: a run whose parameters are not listed yet then matches as well.
    """
    offsets = tuple(clock_offsets)
    ours = candidates(view, executions, owned, offsets)
    if not ours:
        return Match()
    rivals = {other.key: other for other in lost if other.job_id == view.job_id} | {view.key: view}
    alike = sorted(
        (other for other in rivals.values() if _request(other) == _request(view)),
        key=lambda other: (other.submitted_at, other.key),
    )
    is_contested = any(
        candidates(other, ours, (), offsets) for other in rivals.values() if other not in alike
    )
    may_clear_up = any(_is_unlisted(execution) for execution in ours)
    if not is_contested and len(ours) <= len(alike) and (is_late or not may_clear_up):
        in_order = sorted(
            ours, key=lambda each: (each.created_date or view.submitted_at, each.job_execution_id)
        )
        rank = alike.index(view)
        # More starts than runs: the youngest starts created none of them.
        return Match(in_order[rank]) if rank < len(in_order) else Match()
    return Match(others=tuple(ours), may_clear_up=may_clear_up)


def candidates(
    view: RunView,
    executions: Iterable[JobExecution],
    owned: Collection[str],
    clock_offsets: Iterable[timedelta] = (timedelta(0),),
) -> list[JobExecution]:
    """Return the runs that a lost start may have created: nothing the service lists of them contradicts it.

    Parameters
    ----------
    view
        The start.
    executions
        Runs of its job.
    owned
        Ids of runs that certainly belong to other starts.
    clock_offsets
        How far the service's clock may have been ahead of this machine's at the submission. There may be several, since
        either clock may have been set meanwhile.
    """
    made = [view.submitted_at + offset for offset in clock_offsets]
    # By id: a run that moves between two pages is listed twice.
    by_id = {execution.job_execution_id: execution for execution in executions}
    return [
        execution
        for execution in by_id.values()
        if execution.job_execution_id not in owned
        and _in_time(execution.created_date, made)
        and _may_be_condition(view.condition, execution.job_condition)
        and _may_be_parameters(view.parameters, execution.parameters)
    ]


def expires_at(view: RunView, clock_offset: timedelta) -> datetime:
    """Return the service's time from which on it refuses a start, however late the request arrives.

    Parameters
    ----------
    clock_offset
        By how much the time that signs requests is ahead of this machine's clock.
    """
    return view.submitted_at + clock_offset + SIGNING + CLOCK_MARGIN


def _in_time(created: datetime | None, made: Iterable[datetime]) -> bool:
    return created is None or any(moment - CLOCK_MARGIN <= created <= moment + LATE_MARGIN for moment in made)


def _request(view: RunView) -> tuple[object, ...]:
    request = view.request
    # A secret whose value is unknown here equals only itself: two such starts do not count as identical.
    return (
        request.condition.to_wire(),
        _as_text(request.parameters),
        _secrets(request.parameters),
        request.query,
    )


def _is_unlisted(execution: JobExecution) -> bool:
    # The page's example returns READY without parameters although one was sent.
    return execution.status == RunState.READY and not execution.parameters


def _may_be_condition(sent: JobCondition, listed: JobCondition | None) -> bool:
    """Compare the fields on which the vendor's pages agree; they have two words for the one type of worker."""
    if listed is None:
        return True
    numbers = (sent.num_worker, listed.num_worker), (sent.timeout or None, listed.timeout)
    texts = (sent.nrn, listed.nrn), (sent.script_path, listed.script_path), (sent.log_path, listed.log_path)
    return all(None in pair or pair[0] == pair[1] for pair in numbers) and all(
        not (ours and theirs) or ours.strip("/") == theirs.strip("/") for ours, theirs in texts
    )


def _may_be_parameters(sent: Mapping[str, Parameter], listed: Mapping[str, Scalar]) -> bool:
    """Compare the names both have: a service may list stored parameters too, or only those it has parsed.

    A secret whose value is unknown here matches any value.
    """
    ours, theirs = _as_text(sent), _as_text(listed)
    return all(_is_same(text, theirs[name]) for name, text in ours.items() if name in theirs)


def _is_same(ours: str, theirs: str) -> bool:
    # The pages do not say how parsing changes a value. A match that is missed would start the run a second time.
    if ours.strip().casefold() == theirs.strip().casefold():
        return True
    try:
        return float(ours) == float(theirs)
    except ValueError:
        return False


def _as_text(parameters: Mapping[str, Parameter]) -> dict[str, str]:
    # The pages do not say whether the service returns a number as a number, and a name with its $.
    known = {
        name.removeprefix("$"): value.reveal() if isinstance(value, Secret) else value
        for name, value in parameters.items()
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in known.items()
        if value is not None
    }


def _secrets(parameters: Mapping[str, Parameter]) -> dict[str, Secret]:
    return {name: value for name, value in parameters.items() if isinstance(value, Secret)}
