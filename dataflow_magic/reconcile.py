"""Which run of a job is ours, when the answer to its start was lost. Pure; never guesses between two."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from dataflow_magic.models import JobExecution, Scalar
from dataflow_magic.view import RunView

__all__ = ["CLOCK_MARGIN", "LATE_MARGIN", "candidates"]

CLOCK_MARGIN = timedelta(minutes=5)
"""How far this machine's clock may be off for its signature to have been taken at all."""
LATE_MARGIN = timedelta(minutes=10)
"""How long after it was made a request may be carried out: what is created later is somebody else's, however alike."""


def candidates(
    view: RunView,
    executions: Iterable[JobExecution],
    known: Collection[str],
    clock_offsets: Iterable[timedelta] = (timedelta(0),),
) -> list[JobExecution]:
    """Return the runs that may be the one that was submitted.

    Parameters
    ----------
    view
        The run whose answer was lost.
    executions
        Runs of its job.
    known
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
        if execution.job_execution_id not in known
        and _in_time(execution.created_date, made)
        and _same_condition(view, execution)
        and _same_parameters(view, execution)
    ]


def _in_time(created: datetime | None, made: Iterable[datetime]) -> bool:
    return created is None or any(moment - CLOCK_MARGIN <= created <= moment + LATE_MARGIN for moment in made)


def _same_condition(view: RunView, execution: JobExecution) -> bool:
    theirs = execution.job_condition.to_wire() if execution.job_condition else {}
    return all(theirs.get(key, value) == value for key, value in view.condition.to_wire().items())


def _same_parameters(view: RunView, execution: JobExecution) -> bool:
    # A run that has not begun tells no parameters, so it cannot be ruled out by them.
    return not execution.parameters or _as_text(execution.parameters) == _as_text(view.parameters)


def _as_text(parameters: Mapping[str, Scalar]) -> dict[str, str]:
    # Whether the service gives a number back as a number, and a name with its $, its pages do not say.
    return {
        name.removeprefix("$"): value if isinstance(value, str) else json.dumps(value)
        for name, value in parameters.items()
    }
