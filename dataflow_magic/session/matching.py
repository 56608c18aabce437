"""Which run of a job is ours, when the answer to its start was lost. Pure; never guesses between two."""

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
"""How far this machine's clock may be off for its signature to have been taken at all."""
LATE_MARGIN = 2 * CLOCK_MARGIN
"""How long after it was made a request may be carried out: what is created later is somebody else's, however alike."""
SIGNING = timedelta(seconds=90)
"""Within which a start is signed for the last time: the ledger is written first, and a start that did not arrive is sent
again for some seconds."""


@dataclass(frozen=True, slots=True)
class Match:
    """What a job's list tells of one start whose answer was lost.

    Parameters
    ----------
    found
        The run it is; None while that is not clear.
    others
        The runs it may be where none is found.
    may_clear_up
        Whether the service has yet to tell what one of ``others`` was given.
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
    """Tell which of a job's runs is the one that was started.

    Starts that asked for the very same and runs that only they can have started are paired in the order they were made:
    whichever is whose, nobody could tell them apart. Everything else that leaves two answers leaves it open.

    Parameters
    ----------
    view
        The start.
    lost
        Every start of this machine whose answer is not known, ``view`` among them or not.
    owned
        Ids of runs that belong to others for sure.
    clock_offsets
        As `candidates`.
    is_late
        Whether no more is to be waited for: a run that has yet to tell what it was given is then taken as well.
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
    may_clear_up = any(_is_untold(execution) for execution in ours)
    if not is_contested and len(ours) <= len(alike) and (is_late or not may_clear_up):
        in_order = sorted(
            ours, key=lambda each: (each.created_date or view.submitted_at, each.job_execution_id)
        )
        rank = alike.index(view)
        # A start beyond the runs that there are is not one of theirs, and none of them may be it.
        return Match(in_order[rank]) if rank < len(in_order) else Match()
    return Match(others=tuple(ours), may_clear_up=may_clear_up)


def candidates(
    view: RunView,
    executions: Iterable[JobExecution],
    owned: Collection[str],
    clock_offsets: Iterable[timedelta] = (timedelta(0),),
) -> list[JobExecution]:
    """Return the runs that may be the one that was started: nothing they tell speaks against it.

    Parameters
    ----------
    view
        The run whose answer was lost.
    executions
        Runs of its job.
    owned
        Ids of runs that belong to others for sure.
    clock_offsets
        How far the service's clock may have been ahead of this machine's when the run was submitted: one of the two
        may have been set since.
    """
    made = [view.submitted_at + offset for offset in clock_offsets]
    # By id: an item that moves between two pages is read twice.
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
    """Return the service's time from which on it takes a start no more, however late it arrives.

    Parameters
    ----------
    clock_offset
        How much the service's time that requests are signed with is ahead of this machine's.
    """
    return view.submitted_at + clock_offset + SIGNING + CLOCK_MARGIN


def _in_time(created: datetime | None, made: Iterable[datetime]) -> bool:
    return created is None or any(moment - CLOCK_MARGIN <= created <= moment + LATE_MARGIN for moment in made)


def _request(view: RunView) -> tuple[object, ...]:
    request = view.request
    # A secret that another kernel was given equals itself alone: of two such starts nobody can say that they are alike.
    return (
        request.condition.to_wire(),
        _as_text(request.parameters),
        _secrets(request.parameters),
        request.query,
    )


def _is_untold(execution: JobExecution) -> bool:
    # The page's own example answers READY with no parameters although one was sent.
    return execution.status == RunState.READY and not execution.parameters


def _may_be_condition(sent: JobCondition, told: JobCondition | None) -> bool:
    """Compare what the vendor's pages agree on: they have two words for the one kind of worker, so that is left out."""
    if told is None:
        return True
    numbers = (sent.num_worker, told.num_worker), (sent.timeout or None, told.timeout)
    texts = (sent.nrn, told.nrn), (sent.script_path, told.script_path), (sent.log_path, told.log_path)
    return all(None in pair or pair[0] == pair[1] for pair in numbers) and all(
        not (ours and theirs) or ours.strip("/") == theirs.strip("/") for ours, theirs in texts
    )


def _may_be_parameters(sent: Mapping[str, Parameter], told: Mapping[str, Scalar]) -> bool:
    """Compare the names both have: a service may tell stored parameters as well, and only those it has read.

    A secret whose value another kernel took with it may be any value.
    """
    ours, theirs = _as_text(sent), _as_text(told)
    return all(_is_same(text, theirs[name]) for name, text in ours.items() if name in theirs)


def _is_same(ours: str, theirs: str) -> bool:
    # What parsing does to a value the pages do not say; to take a run for another's would start it a second time.
    if ours.strip().casefold() == theirs.strip().casefold():
        return True
    try:
        return float(ours) == float(theirs)
    except ValueError:
        return False


def _as_text(parameters: Mapping[str, Parameter]) -> dict[str, str]:
    # Whether the service gives a number back as a number, and a name with its $, its pages do not say.
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
