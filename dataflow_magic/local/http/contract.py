"""What the local service takes and gives: request bodies checked, answers put together. Pure.

Which bodies start a run is the one thing the contracts differ in: `read_execution` is as strict as the executeJob page,
`read_execution_over` as lenient as those of October 2026.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dataflow_magic.local.http.faults import FaultPlan
from dataflow_magic.local.http.requests import (
    DEFAULT_WORKERS,
    ExecutionConfig,
    JobCreation,
    JobSettings,
    JobUpdate,
    PageExecution,
    SettingsExecution,
)
from dataflow_magic.local.run import DEFAULT_TIMEOUT_MINUTES, Refusal
from dataflow_magic.local.spark.progress import Progress
from dataflow_magic.local.spark.settings import console_log_key
from dataflow_magic.local.store import StoredJob, StoredRun
from dataflow_magic.models.wire import KST

__all__ = [
    "execution_answer",
    "job_answer",
    "list_answer",
    "progress_answer",
    "read_execution",
    "read_execution_config",
    "read_execution_over",
    "read_faults",
    "read_job",
    "read_job_update",
    "read_paging",
    "started_answer",
]

PAGE_LIMIT = 1000
DEFAULTS = {"workerType": "DEFAULT", "numWorker": DEFAULT_WORKERS, "timeout": DEFAULT_TIMEOUT_MINUTES}

M = TypeVar("M", bound=BaseModel)


def read_execution(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the job condition and the parameters of an executeJob body.

    Raises
    ------
    Refusal
        400 ``bad-parameter`` naming the field.
    """
    request = _validate(PageExecution, body)
    return request.jobCondition.model_dump(), dict(request.parameters)


def read_execution_over(body: bytes, job: StoredJob) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the job condition and the parameters of a body of October 2026: the job's own with the body's laid over.

    Raises
    ------
    Refusal
        400 ``bad-parameter`` naming the field, also one that neither of them has.
    """
    request = _validate(SettingsExecution, body or b"{}")
    brought = _settings(request.jobCondition, job.type)
    merged = {**DEFAULTS, **job.condition, **brought}
    for name in ("nrn", "scriptPath", "logPath"):
        if name not in merged:
            raise Refusal(
                "bad-parameter",
                f"jobCondition.{name}: the job stores none; send it, or store it on the job",
            )
    return {name: merged[name] for name in JobSettings.model_fields if name in merged}, dict(
        request.parameters
    )


def read_job(body: bytes) -> dict[str, Any]:
    """Return the fields of a createJob body as `Store.add_job` takes them.

    Raises
    ------
    Refusal
        400 ``bad-parameter`` naming the field.
    """
    request = _validate(JobCreation, body)
    settings = _settings(request.jobCondition, request.type)
    return {
        "name": request.name,
        "type": request.type,
        "max_concurrent_runs": request.maxConcurrentRuns,
        "condition": {"numWorker": DEFAULT_WORKERS, "timeout": DEFAULT_TIMEOUT_MINUTES, **settings},
        "extra": dict(request.model_extra or {}),
    }


def read_job_update(body: bytes, job: StoredJob) -> dict[str, Any]:
    """Return what an updateJob body changes of a job as `Store.update_job` takes it.

    Raises
    ------
    Refusal
        400 ``bad-parameter`` naming the field; a job keeps its type.
    """
    request = _validate(JobUpdate, body)
    if request.type != job.type:
        raise Refusal("bad-parameter", f"type: the job is a {job.type} job, which cannot be changed")
    return {
        "name": request.name,
        "max_concurrent_runs": request.maxConcurrentRuns,
        "condition": _settings(request.jobCondition, job.type),
        "extra": dict(request.model_extra or {}),
    }


def read_execution_config(body: bytes, job: StoredJob) -> dict[str, Any]:
    """Return what an updateJobExecutionConfig body changes of a job as `Store.update_job` takes it.

    Raises
    ------
    Refusal
        400 ``bad-parameter`` naming the field.
    """
    return {"condition": _settings(_validate(ExecutionConfig, body).jobCondition, job.type)}


def read_faults(body: bytes) -> FaultPlan:
    """Return the faults that are asked for.

    Raises
    ------
    Refusal
        400 ``bad-parameter`` naming the field.
    """
    return _validate(FaultPlan, body)


def read_paging(query: Mapping[str, str]) -> tuple[int, int]:
    """Return page and limit; 0 and 1000 when not given.

    The pages print no upper bound; a thousand, their default, is it here.

    Raises
    ------
    Refusal
        400 ``bad-parameter`` for what is not a whole number from 0, and for a limit over 1000.
    """
    page, limit = (_whole(query, name, default) for name, default in (("page", 0), ("limit", PAGE_LIMIT)))
    if limit > PAGE_LIMIT:
        raise Refusal("bad-parameter", f"limit: {limit} is over {PAGE_LIMIT}; ask page by page")
    return page, limit


def job_answer(job: StoredJob) -> dict[str, Any]:
    """Return a job as the API tells it."""
    answer = {
        **job.extra,  # first, so that nothing in it can hide what the service itself knows
        "jobId": job.job_id,
        "name": job.name,
        "type": job.type,
        "status": "READY",
        "maxConcurrentRuns": job.max_concurrent_runs,
        "lastExecutionStatus": job.last_status,
        "runCondition": dict(job.condition),
        "createdDate": _date(job.created),
        "updatedDate": _date(job.updated),
        "lastExecutionDate": _date(job.last_run),
    }
    return _without_none(answer)


def started_answer(run: StoredRun) -> dict[str, Any]:
    """Return a run as executeJob answers: the page's fields, no more and no fewer."""
    return {
        "jobExecutionId": run.run_id,
        "jobId": run.job_id,
        "jobCondition": dict(run.condition),
        "status": run.status,
        "startDate": _date(run.created),
        "createdDate": _date(run.created),
        "runningTime": 0,
        "parsedParameters": dict(run.parameters) if run.started and run.parameters else [],
        "type": "WORKFLOW" if run.workflow_id else "JOB",
    }


def execution_answer(run: StoredRun, now: datetime, waiting_for: str = "") -> dict[str, Any]:
    """Return a run as getJobExecution tells it.

    Parameters
    ----------
    waiting_for
        What a READY run waits for. It is told as ``statusDetail``, as is why a run failed; the vendor publishes no
        such field.
    """
    end = run.ended or now
    more = {
        "jobName": run.job_name,
        "jobCondition": {
            **run.condition,
            "consoleLogPath": console_log_key(run.condition["logPath"], run.run_id),
        },
        "endDate": _date(run.ended),
        "triggerId": run.trigger_id,
        "workflowId": run.workflow_id,
        "waitingTime": _minutes(run.created, run.started or end),
        "runningTime": _minutes(run.started, end) if run.started else 0,
        "executorNum": run.condition["numWorker"] if run.started else None,
        "statusDetail": run.detail or waiting_for or None,
    }
    return {**started_answer(run), **_without_none(more)}


def list_answer(items: list[dict[str, Any]], count: int, page: int, limit: int) -> dict[str, Any]:
    """Return the envelope of every list; ``count`` is the total, which the vendor leaves open."""
    return {"list": items, "count": count, "page": page, "limit": limit}


def progress_answer(progress: Progress) -> dict[str, Any]:
    """Return how far a run is; the vendor has no such operation."""
    return {
        "stagesDone": progress.stages_done,
        "stagesTotal": progress.stages_total,
        "tasksDone": progress.tasks_done,
        "tasksFailed": progress.tasks_failed,
        "tasksTotal": progress.tasks_total,
        "running": [
            {
                "stageId": stage.stage_id,
                "name": stage.name,
                "tasksDone": stage.tasks_done,
                "tasksFailed": stage.tasks_failed,
                "tasksTotal": stage.tasks_total,
            }
            for stage in progress.running
        ],
        "isOver": progress.is_over,
    }


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise Refusal("bad-parameter", f"{name}: {text!r} is not a whole number from 0")
    return int(text)


def _settings(given: JobSettings, job_type: str) -> dict[str, Any]:
    settings = given.model_dump(exclude_none=True)
    if job_type != "SCRIPT" and "parameters" in settings:
        raise Refusal("bad-parameter", "jobCondition.parameters: only a SCRIPT job stores parameters")
    return settings


def _without_none(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if value is not None}


def _date(moment: datetime | None) -> str | None:
    return moment.astimezone(KST).isoformat(timespec="seconds") if moment else None


def _minutes(start: datetime, end: datetime) -> int:
    # A clock that was set back must not give a negative time.
    return max(0, int((end - start).total_seconds() // 60))


def _validate(model: type[M], body: bytes) -> M:
    document = _parse(body)
    if not isinstance(document, dict):
        raise Refusal("bad-parameter", "the body is not a JSON object")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part != "[key]")
        raise Refusal("bad-parameter", f"{place}: {_words(first)}") from None


def _words(error: ErrorDetails) -> str:
    if error["type"] in {"model_type", "dict_type"}:
        return "Input should be an object"  # JSON's word; pydantic would name a class of ours
    return error["msg"].removeprefix("Value error, ")


def _parse(body: bytes) -> Any:
    """Return a JSON document that can be written down again: UTF-8, no lone surrogate, finite numbers."""
    try:
        text = body.decode("utf-8")
        document = json.loads(text, parse_float=_finite, parse_constant=_no_constant)
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        kind = type(error).__name__
        raise Refusal("bad-parameter", f"the body is not JSON in UTF-8 ({kind}: {error})") from None
    return document


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
