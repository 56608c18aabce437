"""Runs and jobs as DataFrames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from dataflow_magic.ledger.record import RunRecord, parameters_of, record_of
from dataflow_magic.ledger.results import with_values
from dataflow_magic.ledger.sweeps import SweepSummary
from dataflow_magic.models.comparison import Comparison
from dataflow_magic.models.marker import log_path_of
from dataflow_magic.models.request import SweepRequest
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import KST, Job

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "COLUMNS",
    "COMPARISON_COLUMNS",
    "JOB_COLUMNS",
    "RunsFrame",
    "comparison_frame",
    "jobs_frame",
    "plan_frame",
    "records_frame",
    "runs_frame",
    "sweeps_frame",
]

TIME = "datetime64[us, Asia/Seoul]"
LENGTH = "timedelta64[us]"
Renderer = Callable[[Sequence[Mapping[str, Any]], int, datetime], str]
"""Shows the first rows of a table of runs, which has so many, at one moment; see `dataflow_magic.card.table`."""

MOST_SHOWN = 30
"""Rows of a table that are shown."""
NOT_A_TIME = np.iinfo("int64").min
"""A missing time, to numpy and pandas."""

COLUMNS: dict[str, str] = {
    "run_id": "string",
    "job": "string",
    "status": "string",
    "submitted": TIME,
    "running": TIME,
    "ended": TIME,
    "waited": LENGTH,
    "ran": LENGTH,
    "total": LENGTH,
    "workers": "Int64",
    "timeout_minutes": "Int64",
    "reason": "string",
    "error_class": "string",
    "timed_by": "string",
    "target": "string",
    "job_id": "string",
    "worker_type": "string",
    "nrn": "string",
    "script_path": "string",
    "log_path": "string",
    "trigger_id": "string",
    "workflow_id": "string",
    "found_by": "string",
    "notebook": "string",
    "sweep": "string",
    "key": "string",
}
"""Column -> dtype; each is a field of `RunRecord`."""

SWEEP_COLUMNS: dict[str, str] = {
    "sweep": "string",
    "job": "string",
    "state": "string",
    **dict.fromkeys(("runs", "completed", "failed", "live", "unsent", "skipped", "max_parallel"), "Int64"),
    "created": TIME,
    "driver": "string",
    "target": "string",
    "notebook": "string",
    "story": "string",
}
"""Column -> dtype; each is a field of `SweepSummary`."""

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
"""Column -> (dtype, value for a job)."""


COMPARISON_COLUMNS: dict[str, str] = {
    "part": "string",
    "name": "string",
    "first": "object",
    "second": "object",
    "differs": "boolean",
    "ratio": "Float64",
}
"""Column -> dtype."""


class ComparisonFrame(pd.DataFrame):
    """Two runs side by side, shown short. What is made of it is a plain DataFrame."""

    _metadata: ClassVar[list[str]] = ["comparison", "renderers"]
    comparison: Comparison | None = None
    renderers: tuple[Callable[[Comparison], str], Callable[[Comparison], str]] | None = None
    """For HTML and for text."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str | None:
        return self._shown(0) or super()._repr_html_()  # type: ignore[misc]

    def __repr__(self) -> str:
        return self._shown(1) or super().__repr__()

    def _shown(self, form: int) -> str:
        return self.renderers[form](self.comparison) if self.renderers and self.comparison else ""


class RunsFrame(pd.DataFrame):
    """A table of runs or sweeps, which is shown short. What is made of it is a plain DataFrame."""

    _metadata: ClassVar[list[str]] = ["renderers", "needed"]
    renderers: tuple[Renderer, Renderer] | None = None
    """For HTML and for text."""
    needed: frozenset[str] = frozenset(COLUMNS)
    """The columns that those read."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def convert_parameters(self) -> pd.DataFrame:
        """Return a plain DataFrame whose columns ``param.*`` are numbers, booleans and days where all of their texts are.

        See `dataflow_magic.ledger.results.with_values` for the dtypes. A secret is a text.
        """
        names = [str(column) for column in self.columns if str(column).startswith("param.")]
        return with_values(pd.DataFrame(self), names)

    def _repr_html_(self) -> str | None:
        return self._shown(0) or super()._repr_html_()  # type: ignore[misc]

    def __repr__(self) -> str:
        return self._shown(1) or super().__repr__()

    def _shown(self, form: int) -> str:
        """Return the first rows in a form; empty where a column was taken away."""
        if self.renderers is None or not self.needed.issubset(self.columns):
            return ""
        first = pd.DataFrame(self.head(MOST_SHOWN)).astype("object")
        rows = first.where(first.notna(), None).to_dict("records")
        return self.renderers[form](
            [{str(k): v for k, v in row.items()} for row in rows], len(self), datetime.now(KST)
        )


def runs_frame(views: Iterable[RunView]) -> RunsFrame:
    """Return runs as a table, in the order given; see `records_frame`."""
    return records_frame([record_of(view) for view in views])


def records_frame(
    records: Sequence[RunRecord], renderers: tuple[Renderer, Renderer] | None = None
) -> RunsFrame:
    """Return rows of the ledger as a table, in the order given.

    Parameters
    ----------
    renderers
        Show the table in a notebook and in a terminal; by default as pandas shows any other.

    Returns
    -------
    RunsFrame
        A DataFrame with one row per run; the columns and dtypes are the same for no runs:

        ================================ ========================== ================================================
        column                           dtype                      meaning
        ================================ ========================== ================================================
        run_id, job, status              string                     id is missing until the service answers
        submitted, running, ended        datetime64[us, Asia/Seoul] here; first RUNNING; by the service
        waited, ran, total               timedelta64[us]            created to running, running to ended, created to
                                                                    ended; missing where unknown and while active
        workers, timeout_minutes         Int64                      as sent
        reason, error_class              string                     one sentence, and Spark's condition or the type of
                                                                    the exception; missing unless the run failed
        timed_by                         string                     who measured ``ran``, or ``waited``: ``service``,
                                                                    ``minutes`` (by the service), ``here``
        target                           string                     ``local``, ``cloud``, a profile or an address
        job_id, worker_type, nrn,        string                     as sent
        script_path, log_path,
        trigger_id, workflow_id
        found_by                         string                     how the run of a lost response was found: ``marker``,
                                                                    ``parameters``, ``user``; missing otherwise
        notebook                         string                     that started the run, where Jupyter names it
        key                              string                     short id on this machine
        param.*                          string                     one per parameter name without its ``$``, in the
                                                                    order first used; missing where a run had none
        ================================ ========================== ================================================
    """
    # By column, not by row: a ledger may have a hundred thousand rows.
    fields = dict(zip(RunRecord._fields, zip(*records, strict=True), strict=True)) if records else {}
    if records:
        fields["reason"] = fields["error"]
        fields["log_path"] = tuple(
            map(log_path_of, *(fields[name] for name in ("log_path", "key", "marker")))
        )
        fields["found_by"] = tuple(found or None for found in fields["found_by"])
    frame = {name: _column(dtype, fields.get(name, ())) for name, dtype in COLUMNS.items()}
    table = RunsFrame(frame | _parameters(fields.get("parameters", ())))
    table.renderers = renderers
    return table


def comparison_frame(
    comparison: Comparison, renderers: tuple[Callable[[Comparison], str], Callable[[Comparison], str]]
) -> pd.DataFrame:
    """Return two runs as a table.

    Parameters
    ----------
    renderers
        Show the table in a notebook and in a terminal.

    Returns
    -------
    DataFrame
        One row per fact, those that differ first, then those of which that is unknown, then the others:

        =========== ======== ==============================================================================
        column      dtype    meaning
        =========== ======== ==============================================================================
        part        string   ``parameter``, ``condition``, ``script``, ``outcome``, ``time``, ``stage`` or ``work``
        name        string   of the parameter or field; of a script its line; ``status``, ``reason``, ``ran``
        first,      object   the fact of each run: text, a timedelta, or an int of rows or bytes; None where a run has
        second               none
        differs     boolean  missing where it is unknown. Times differ from 1 s and from a quarter on
        ratio       Float64  the second time or amount over the first; missing for others
        =========== ======== ==============================================================================
    """
    facts = comparison.facts
    columns = {
        name: _series(dtype, [getattr(fact, name) for fact in facts])
        for name, dtype in COMPARISON_COLUMNS.items()
    }
    table = ComparisonFrame(columns)
    table.comparison, table.renderers = comparison, renderers
    return table


def sweeps_frame(
    sweeps: Sequence[SweepSummary], renderers: tuple[Renderer, Renderer] | None = None
) -> pd.DataFrame:
    """Return sweeps as a table, in the order given.

    Parameters
    ----------
    renderers
        As in `records_frame`.

    Returns
    -------
    DataFrame
        One row per sweep, with the columns of `dataflow_magic.ledger.sweeps.SweepSummary`: ``created`` is
        datetime64[us, Asia/Seoul], numbers of runs are Int64, ``max_parallel`` is missing where a sweep has no limit.
    """
    fields = zip(*sweeps, strict=True) if sweeps else [()] * len(SWEEP_COLUMNS)
    columns = zip(SWEEP_COLUMNS.items(), fields, strict=True)
    table = RunsFrame({name: _column(dtype, values) for (name, dtype), values in columns})
    table.renderers, table.needed = renderers, frozenset(SWEEP_COLUMNS)
    return table


def jobs_frame(jobs: Iterable[Job]) -> pd.DataFrame:
    """Return jobs as a table, in the order given, with the columns of `JOB_COLUMNS`."""
    return _frame(JOB_COLUMNS, list(jobs))


def _frame(columns: dict[str, tuple[str, Callable[[Any], Any]]], rows: Sequence[Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {name: _series(dtype, [of(row) for row in rows]) for name, (dtype, of) in columns.items()}
    )


def _series(dtype: str, values: list[Any]) -> pd.Series[Any]:
    if dtype == TIME:
        # Through UTC: the service's dates have a fixed offset, ours have a zone. A date that pandas cannot hold, such as
        # one in the year 9999 before pandas 3, is missing.
        return (
            pd.Series(pd.to_datetime(pd.Series(values, dtype="object"), utc=True, errors="coerce"))
            .astype("datetime64[us, UTC]")
            .dt.tz_convert("Asia/Seoul")
        )
    if dtype == "string":
        # JSON may contain half of a surrogate pair, which Arrow cannot hold.
        values = [value and value.encode(errors="replace").decode() for value in values]
    return pd.Series(values, dtype=dtype)


def _column(dtype: str, values: Sequence[Any]) -> pd.Series[Any]:
    if dtype == TIME:
        return (
            pd.Series(_microseconds(values, "datetime64[us]"))
            .dt.tz_localize("UTC")
            .dt.tz_convert("Asia/Seoul")
        )
    return pd.Series(_microseconds(values, dtype) if dtype == LENGTH else values, dtype=dtype)


def _microseconds(values: Sequence[int | None], dtype: str) -> npt.NDArray[Any]:
    return np.array([NOT_A_TIME if value is None else value for value in values], dtype="int64").view(dtype)


def _parameters(texts: Sequence[str]) -> dict[str, pd.Series[Any]]:
    """Return one column per name without its ``$``; a name sent with and without it shares the column."""
    read = {text: _as_text(parameters_of(text)) for text in set(texts) if text}
    names = dict.fromkeys(name for text in dict.fromkeys(texts) if text for name in read[text])
    empty: dict[str, str] = {}
    rows = [read.get(text, empty) for text in texts]
    return {f"param.{name}": pd.Series([row.get(name) for row in rows], dtype="string") for name in names}


def _as_text(parameters: dict[str, Any]) -> dict[str, str]:
    texts = {name.removeprefix("$"): _spell(value) for name, value in parameters.items()}
    # Where a run sent both, the name with the $ wins.
    return texts | {name[1:]: _spell(value) for name, value in parameters.items() if name.startswith("$")}


def _spell(value: Any) -> str:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return str(value).lower() if isinstance(value, bool) else str(value)


def plan_frame(request: SweepRequest) -> pd.DataFrame:
    """Return what a sweep would do, in the order of the block.

    Returns
    -------
    DataFrame
        One row per request: its swept parameters, ``action`` (``start`` or ``skip``), ``order`` (Int64, from 1; NA for one
        that is skipped) and ``why`` (empty for one that is started).
    """
    numbers = range(len(request.requests))
    places = {number: place for place, number in enumerate(request.order, 1)}
    columns: dict[str, tuple[str, list[Any]]] = {
        name.removeprefix("$"): ("string", [str(each.parameters[name]) for each in request.requests])
        for name in request.swept
    }
    columns["action"] = "string", ["skip" if number in request.skipped else "start" for number in numbers]
    columns["order"] = "Int64", [places.get(number) for number in numbers]
    columns["why"] = "string", [request.skipped.get(number, "") for number in numbers]
    return pd.DataFrame({name: _column(dtype, values) for name, (dtype, values) in columns.items()})
