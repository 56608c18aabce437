"""Runs as a table: one list of columns, one row per run. The one place that imports pandas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from dataflow_magic.models import Job
from dataflow_magic.view import RunView

__all__ = ["COLUMNS", "JOB_COLUMNS", "jobs_frame", "runs_frame"]

TIME = "datetime64[us, Asia/Seoul]"

COLUMNS: dict[str, tuple[str, Callable[[RunView], Any]]] = {
    "run_id": ("string", lambda v: v.run_id),
    "job": ("string", lambda v: v.job_name),
    "status": ("string", lambda v: v.status),
    "submitted": (TIME, lambda v: v.submitted_at),
    "running": (TIME, lambda v: v.running_since),
    "ended": (TIME, lambda v: _ended(v)),
    "duration": ("timedelta64[us]", lambda v: _duration(v)),
    "workers": ("Int64", lambda v: v.condition.num_worker),
    "timeout_minutes": ("Int64", lambda v: v.condition.timeout),
    "error": ("string", lambda v: v.failure.reason if v.failure else None),
    "target": ("string", lambda v: v.target),
    "job_id": ("string", lambda v: v.job_id),
    "worker_type": ("string", lambda v: v.condition.worker_type),
    "nrn": ("string", lambda v: v.condition.nrn),
    "script_path": ("string", lambda v: v.condition.script_path),
    "log_path": ("string", lambda v: v.condition.log_path),
    "trigger_id": ("string", lambda v: v.trigger_id),
    "workflow_id": ("string", lambda v: v.workflow_id),
}
"""Column -> (dtype, its value of a run)."""

JOB_COLUMNS: dict[str, tuple[str, Callable[[Job], Any]]] = {
    "job_id": ("string", lambda j: j.job_id),
    "name": ("string", lambda j: j.name),
    "type": ("string", lambda j: j.type),
    "status": ("string", lambda j: j.status),
    "last_status": ("string", lambda j: j.last_execution_status),
    "last_run": (TIME, lambda j: j.last_execution_date),
    "workers": ("Int64", lambda j: j.condition.num_worker),
    "timeout_minutes": ("Int64", lambda j: j.condition.timeout),
    "script_path": ("string", lambda j: j.condition.script_path),
    "log_path": ("string", lambda j: j.condition.log_path),
    "updated": (TIME, lambda j: j.updated_date),
}
"""Column -> (dtype, its value of a job)."""


def runs_frame(views: Iterable[RunView]) -> pd.DataFrame:
    """Return runs as a table, in the order given.

    Returns
    -------
    DataFrame
        One row per run, the same columns and dtypes also when there is none:

        ================================ ========================== ================================================
        column                           dtype                      meaning
        ================================ ========================== ================================================
        run_id, job, status              string                     id is missing until the service answered
        submitted, running, ended        datetime64[us, Asia/Seoul] made here; first seen RUNNING here; by the service
        duration                         timedelta64[us]            running to ended, or submitted to ended where the
                                                                    run was never seen RUNNING; missing while it lives
        workers, timeout_minutes         Int64                      as sent
        error                            string                     one line; missing unless the run failed
        target                           string                     ``local``, ``cloud``, a profile or an address
        job_id, worker_type, nrn,        string                     as sent
        script_path, log_path,
        trigger_id, workflow_id
        param.*                          string                     one per parameter name without its ``$``, in the
                                                                    order first used; missing where a run had none
        ================================ ========================== ================================================
    """
    rows = list(views)
    # The name without its $ is the column's, so runs that sent the same name with and without it share one.
    names = dict.fromkeys(name.removeprefix("$") for view in rows for name in view.parameters)
    parameters = {f"param.{name}": ("string", _parameter(name)) for name in names}
    return _frame(COLUMNS | parameters, rows)


def jobs_frame(jobs: Iterable[Job]) -> pd.DataFrame:
    """Return jobs as a table, in the order given, with the columns of `JOB_COLUMNS`."""
    return _frame(JOB_COLUMNS, list(jobs))


def _frame(columns: dict[str, tuple[str, Callable[[Any], Any]]], rows: Sequence[Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {name: _series(dtype, [of(row) for row in rows]) for name, (dtype, of) in columns.items()}
    )


def _series(dtype: str, values: list[Any]) -> pd.Series[Any]:
    if dtype == TIME:
        # Through UTC, since what the service sends has a fixed offset and ours a zone. A date pandas cannot hold, such
        # as one in the year 9999 before pandas 3, is missing: better than no table.
        return (
            pd.Series(pd.to_datetime(pd.Series(values, dtype="object"), utc=True, errors="coerce"))
            .astype("datetime64[us, UTC]")
            .dt.tz_convert("Asia/Seoul")
        )
    if dtype == "string":
        # Half a surrogate pair, which JSON can tell and Arrow cannot hold, would be the end of the whole table.
        values = [value and value.encode(errors="replace").decode() for value in values]
    return pd.Series(values, dtype=dtype)


def _duration(view: RunView) -> Any:
    end = _ended(view) if view.is_final else None
    return None if end is None else end - (view.running_since or view.submitted_at)


def _ended(view: RunView) -> datetime | None:
    end = view.execution.end_date if view.execution else None
    # The service's end has whole seconds, so a short run could seem to end before it began.
    return None if end is None else max(end, view.running_since or view.submitted_at)


def _parameter(name: str) -> Callable[[RunView], str | None]:
    def of(view: RunView) -> str | None:
        value = view.parameters.get(f"${name}", view.parameters.get(name))
        if value is None or isinstance(value, str):
            return value
        return str(value).lower() if isinstance(value, bool) else str(value)

    return of
