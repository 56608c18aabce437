"""The stages of a run as a DataFrame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd

from dataflow_magic.models.stages import Stage, StageReport
from dataflow_magic.reasons.stages.findings import finding_of

__all__ = ["STAGE_COLUMNS", "stages_frame"]

TIME: Final = "datetime64[us, Asia/Seoul]"
LENGTH: Final = "timedelta64[us]"
MILLISECOND: Final = 1_000
"""In microseconds."""

STAGE_COLUMNS: Final[dict[str, tuple[str, Callable[[Stage], Any]]]] = {
    "stage": ("int64", lambda s: s.number),
    "attempt": ("int64", lambda s: s.attempt),
    "state": ("string", lambda s: s.state),
    "name": ("string", lambda s: s.name),
    "file": ("string", lambda s: s.place and s.place.file),
    "line": ("Int64", lambda s: s.place and s.place.line),
    "submitted": (TIME, lambda s: s.submitted),
    "completed": (TIME, lambda s: s.completed),
    "took": (LENGTH, lambda s: s.took),
    "tasks": ("int64", lambda s: s.tasks),
    "tasks_done": ("int64", lambda s: s.tasks_done),
    "tasks_failed": ("int64", lambda s: s.tasks_failed),
    "task_median": (LENGTH, lambda s: s.median),
    "task_slowest": (LENGTH, lambda s: s.slowest),
    "skew": ("Float64", lambda s: s.skew),
    "task_time": (LENGTH, lambda s: s.task_time),
    "gc_time": (LENGTH, lambda s: s.gc_time),
    "rows_in": ("int64", lambda s: s.rows_in),
    "rows_out": ("int64", lambda s: s.rows_out),
    "bytes_read": ("int64", lambda s: s.bytes_in),
    "bytes_written": ("int64", lambda s: s.bytes_out),
    "shuffle_read": ("int64", lambda s: s.shuffle_read),
    "shuffle_written": ("int64", lambda s: s.shuffle_written),
    "spilled": ("int64", lambda s: s.spilled),
    "query": ("Int64", lambda s: s.query),
    "application": ("string", lambda s: s.application),
    "finding": ("string", lambda s: (found := finding_of(s)) and found.sentence),
}
"""Column -> its dtype, and its value for a stage, times in milliseconds."""


def stages_frame(report: StageReport) -> pd.DataFrame:
    """Return the stages of a run as a table, in the order in which Spark submitted them; see `Run.stages` for its columns."""
    return pd.DataFrame(
        {
            name: _column(dtype, [of(stage) for stage in report.stages])
            for name, (dtype, of) in STAGE_COLUMNS.items()
        }
    )


def _column(dtype: str, values: list[Any]) -> pd.Series[Any]:
    if dtype not in (TIME, LENGTH):
        return pd.Series(values, dtype=dtype)
    missing = np.iinfo("int64").min
    numbers = np.array([missing if value is None else value * MILLISECOND for value in values], dtype="int64")
    if dtype == LENGTH:
        return pd.Series(numbers.view(LENGTH))
    moments = pd.Series(numbers.view("datetime64[us]"))
    return moments.dt.tz_localize("UTC").dt.tz_convert("Asia/Seoul")
