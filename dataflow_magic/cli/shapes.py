"""Runs and jobs as commands print them: JSON for programs, whose shape is documented and stays, and rows of a table. Pure."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from dataflow_magic.card import format as fmt
from dataflow_magic.ledger.record import RunRecord, failure_of, parameters_of
from dataflow_magic.ledger.sweeps import SweepSummary
from dataflow_magic.models.comparison import Difference
from dataflow_magic.models.secret import Secret
from dataflow_magic.models.stages import Stage
from dataflow_magic.models.wire import KST, Job
from dataflow_magic.reasons.stages.findings import finding_of

__all__ = ["difference_shape", "job_shape", "row_of", "run_shape", "stage_shape", "sweep_shape"]

SECOND = 1_000_000
MILLISECOND = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def run_shape(record: RunRecord) -> dict[str, Any]:
    """Return a run: times in ISO 8601 with their zone, lengths in seconds, null for what is unknown or secret."""
    failure = failure_of(record)
    return {
        "id": record.run_id,
        "key": record.key or None,
        "job": record.job,
        "job_id": record.job_id,
        "target": record.target,
        "status": record.status,
        "is_done": not record.is_live,
        "parameters": {
            name.removeprefix("$"): None if isinstance(value, Secret) else value
            for name, value in parameters_of(record.parameters).items()
        },
        "workers": record.workers,
        "timeout_minutes": record.timeout_minutes,
        "submitted": _moment(record.submitted),
        "running": _moment(record.running),
        "ended": _moment(record.ended),
        "waited": _seconds(record.waited),
        "ran": _seconds(record.ran),
        "total": _seconds(record.total),
        "reason": record.error,
        "error_class": record.error_class,
        "own_line": asdict(failure.place) if failure and failure.place else None,
        "advice": (failure and failure.advice) or None,
        "notebook": record.notebook,
    }


def difference_shape(fact: Difference) -> dict[str, Any]:
    """Return one fact of two runs: times in seconds, null for what a run does not have or is unknown."""
    return {
        name: value.total_seconds() if isinstance(value, timedelta) else value
        for name, value in (fact._asdict() | {"ratio": fact.ratio}).items()
    }


def sweep_shape(sweep: SweepSummary) -> dict[str, Any]:
    """Return a sweep; ``created`` is a moment in Korea, null what is unknown."""
    return {**sweep._asdict(), "created": _datetime(sweep.created)}


def job_shape(job: Job) -> dict[str, Any]:
    """Return a job and its stored condition; null for what it does not store."""
    condition = job.condition
    return {
        "id": job.job_id,
        "name": job.name,
        "type": job.type,
        "workers": condition.num_worker,
        "timeout_minutes": condition.timeout,
        "script_path": condition.script_path,
        "log_path": condition.log_path,
    }


def stage_shape(stage: Stage) -> dict[str, Any]:
    """Return a stage: times in ISO 8601 with their zone, lengths in seconds, sizes in bytes, null for what is unknown."""
    found = finding_of(stage)
    sums = (
        "rows_in", "rows_out",   "shuffle_read", "shuffle_written", "spilled", "tasks", "tasks_done",
        "tasks_failed",
    )  # fmt: skip
    return {
        "stage": stage.number,
        "attempt": stage.attempt,
        "state": stage.state,
        "name": stage.name,
        "own_line": {"file": stage.place.file, "line": stage.place.line} if stage.place else None,
        "submitted": _moment(stage.submitted and stage.submitted * MILLISECOND),
        "completed": _moment(stage.completed and stage.completed * MILLISECOND),
        "took": _thousandth(stage.took),
        "task_median": _thousandth(stage.median),
        "task_slowest": _thousandth(stage.slowest),
        "task_time": _thousandth(stage.task_time),
        "gc_time": _thousandth(stage.gc_time),
        "skew": stage.skew,
        **{name: getattr(stage, name) for name in sums},
        "bytes_read": stage.bytes_in,
        "bytes_written": stage.bytes_out,
        "query": stage.query,
        "application": stage.application,
        "finding": found and found.sentence,
    }


def row_of(record: RunRecord) -> dict[str, Any]:
    """Return a run as a row of `dataflow_magic.card.table`."""
    parameters = parameters_of(record.parameters)
    return {
        **{f"param.{name.removeprefix('$')}": fmt.spell(value) for name, value in parameters.items()},
        "status": record.status,
        "job": record.job,
        "submitted": _datetime(record.submitted),
        "running": record.running and _datetime(record.running),
        "waited": _length(record.waited),
        "ran": _length(record.ran),
        "timed_by": record.timed_by,
        "reason": record.error,
        "run_id": record.run_id,
        "key": record.key,
    }


def _datetime(microseconds: int) -> datetime:
    return (EPOCH + timedelta(microseconds=microseconds)).astimezone(KST)


def _length(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else timedelta(microseconds=microseconds)


def _moment(microseconds: int | None) -> str | None:
    return None if microseconds is None else _datetime(microseconds).isoformat(timespec="milliseconds")


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / SECOND


def _thousandth(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
