"""Which run of a job is ours, when the answer to its start was lost. Pure; never guesses between two."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

from dataflow_magic.models import JobExecution, Scalar
from dataflow_magic.view import RunView

__all__ = ["CLOCK_MARGIN", "candidates"]

CLOCK_MARGIN = timedelta(minutes=5)
"""How far this machine's clock may be off for its signature to have been taken at all."""


def candidates(
    view: RunView, executions: Iterable[JobExecution], known: Collection[str]
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
    """
    since = view.submitted_at - CLOCK_MARGIN
    return [
        execution
        for execution in executions
        if execution.job_execution_id not in known
        and (execution.created_date is None or execution.created_date >= since)
        and _same_condition(view, execution)
        and _same_parameters(view, execution)
    ]


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
