"""What the local service takes and gives: request bodies checked, answers put together. Pure.

``POST .../executions`` is as strict as the executeJob page; createJob is as the newest page has it. The page prints
no range for ``numWorker``; 2-10 is that of the same operation's older and newer pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)

from dataflow_magic.local.store import StoredJob, StoredRun
from dataflow_magic.models import RunState
from dataflow_magic.view import KST

__all__ = [
    "Refusal",
    "execution_answer",
    "job_answer",
    "list_answer",
    "read_execution",
    "read_job",
    "read_paging",
]

DEFAULT_WORKERS = 2
DEFAULT_TIMEOUT_MINUTES = 360
PAGE_LIMIT = 1000

M = TypeVar("M", bound=BaseModel)


class Refusal(Exception):
    """The service says no.

    Parameters
    ----------
    status
        HTTP status.
    kind
        The vendor's word: ``bad-parameter``, ``bad-state`` or ``not-found``.
    detail
        Names the field and its value.
    """

    def __init__(self, status: int, kind: str, detail: str) -> None:
        self.status = status
        self.kind = kind
        self.detail = detail
        super().__init__(detail)


def _check_path(path: str) -> str:
    """Refuse what could leave the object folder; a bucket and the vendor's ``****`` placeholders are fine."""
    parts = path.rstrip("/").split("/")
    if "\0" in path or "\\" in path or any(part in {"", ".", ".."} for part in parts):
        raise ValueError("give bucket/prefix/ without a scheme, a leading slash or ..")
    return path


def _check_utf8(text: str) -> str:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("holds a NUL or a lone surrogate")
    return text


Text = Annotated[StrictStr, Field(min_length=1), AfterValidator(_check_utf8)]
ObjectPath = Annotated[Text, AfterValidator(_check_path)]
Parameter = StrictBool | StrictInt | StrictFloat | Annotated[StrictStr, AfterValidator(_check_utf8)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _ExecutionCondition(_Wire):
    workerType: Literal["DEFAULT", "DATAFLOW"] = "DEFAULT"  # noqa: N815 - the wire's names
    numWorker: Annotated[StrictInt, Field(ge=2, le=10)] = DEFAULT_WORKERS  # noqa: N815
    timeout: Annotated[StrictInt, Field(ge=0, le=1440)] = DEFAULT_TIMEOUT_MINUTES
    nrn: Text
    scriptPath: ObjectPath  # noqa: N815
    logPath: ObjectPath  # noqa: N815


class _Execution(_Wire):
    jobCondition: _ExecutionCondition  # noqa: N815
    parameters: dict[Text, Parameter] = {}


class _JobCondition(_Wire):
    numWorker: Annotated[StrictInt, Field(ge=2, le=10)] = DEFAULT_WORKERS  # noqa: N815
    timeout: Annotated[StrictInt, Field(ge=1, le=1440)] = DEFAULT_TIMEOUT_MINUTES
    nrn: Text | None = None
    scriptPath: ObjectPath | None = None  # noqa: N815
    logPath: ObjectPath | None = None  # noqa: N815
    parameters: dict[Text, Text] | None = None


class _Job(_Wire):
    model_config = ConfigDict(extra="allow", frozen=True)
    name: Annotated[StrictStr, Field(min_length=3, max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]
    type: Literal["VISUAL", "SCRIPT"]
    maxConcurrentRuns: Annotated[StrictInt, Field(ge=1)] | None = None  # noqa: N815
    jobCondition: _JobCondition = _JobCondition()  # noqa: N815


def read_execution(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the job condition and the parameters of an executeJob body.

    Raises
    ------
    Refusal
        400 ``bad-parameter`` naming the field.
    """
    request = _validate(_Execution, body)
    return request.jobCondition.model_dump(), dict(request.parameters)


def read_job(body: bytes) -> dict[str, Any]:
    """Return the fields of a createJob body as `Store.add_job` takes them.

    Raises
    ------
    Refusal
        400 ``bad-parameter`` naming the field.
    """
    request = _validate(_Job, body)
    return {
        "name": request.name,
        "type": request.type,
        "max_concurrent_runs": request.maxConcurrentRuns,
        "condition": request.jobCondition.model_dump(exclude_none=True),
        "extra": dict(request.model_extra or {}),
    }


def read_paging(query: Mapping[str, str]) -> tuple[int, int]:
    """Return page and limit; 0 and 1000 when not given.

    Raises
    ------
    Refusal
        400 ``bad-parameter`` for what is not a whole number from 0.
    """
    values = []
    for name, default in (("page", 0), ("limit", PAGE_LIMIT)):
        text = query.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise Refusal(400, "bad-parameter", f"{name}: {text!r} is not a whole number from 0")
        values.append(int(text))
    return values[0], values[1]


def job_answer(job: StoredJob) -> dict[str, Any]:
    """Return a job as the API tells it."""
    answer = {
        "jobId": job.job_id,
        "name": job.name,
        "type": job.type,
        "status": "READY",
        "maxConcurrentRuns": job.max_concurrent_runs,
        "lastExecutionStatus": job.last_status,
        **job.extra,
        "runCondition": dict(job.condition),
        "createdDate": _date(job.created),
        "updatedDate": _date(job.updated),
        "lastExecutionDate": _date(job.last_run),
    }
    return {key: value for key, value in answer.items() if value is not None}


def execution_answer(run: StoredRun, now: datetime, *, full: bool) -> dict[str, Any]:
    """Return a run as the API tells it: ``full`` as getJobExecution does, else as executeJob answers.

    ``statusDetail`` is ours: what a READY run waits for, why a run failed. The vendor publishes no such field.
    """
    end = run.ended or now
    running = (end - run.started).total_seconds() if run.started else 0.0
    answer = {
        "jobExecutionId": run.run_id,
        "jobId": run.job_id,
        "jobCondition": dict(run.condition),
        "status": run.status,
        "startDate": _date(run.created),
        "createdDate": _date(run.created),
        "runningTime": int(running // 60),
        "parsedParameters": dict(run.parameters) if run.started and run.parameters else [],
        "type": "WORKFLOW" if run.workflow_id else "JOB",
    }
    if not full:
        return answer
    waited = ((run.started or end) - run.created).total_seconds()
    condition = {
        **run.condition,
        "consoleLogPath": f"{run.condition['logPath'].rstrip('/')}/{run.run_id}/console.log",
    }
    more = {
        "jobName": run.job_name,
        "jobCondition": condition,
        "endDate": _date(run.ended),
        "triggerId": run.trigger_id,
        "workflowId": run.workflow_id,
        "waitingTime": int(waited // 60),
        "executorNum": run.condition["numWorker"] if run.started else None,
        "statusDetail": run.detail or None,
    }
    return {**answer, **{key: value for key, value in more.items() if value is not None}}


def list_answer(items: list[dict[str, Any]], count: int, page: int, limit: int) -> dict[str, Any]:
    """Return the envelope of every list; ``count`` is the total, which the vendor leaves open."""
    return {"list": items, "count": count, "page": page, "limit": limit}


def script_parameters(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
    """Return what the script gets: the job's own parameters with the run's laid over, as text, names with ``$``."""
    merged = {f"${name.removeprefix('$')}": value for name, value in [*stored.items(), *given.items()]}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in merged.items()}


def is_over(run: StoredRun) -> bool:
    """Whether the run is in a final state."""
    return run.status not in {RunState.READY, RunState.RUNNING}


def _date(moment: datetime | None) -> str | None:
    return moment.astimezone(KST).isoformat(timespec="seconds") if moment else None


def _validate(model: type[M], body: bytes) -> M:
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refusal(
            400, "bad-parameter", f"the body is not JSON in UTF-8 ({type(error).__name__})"
        ) from None
    if not isinstance(document, dict):
        raise Refusal(400, "bad-parameter", "the body is not a JSON object")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(
            str(part) for part in first["loc"] if not str(part).startswith(("function-", "constrained-"))
        )
        raise Refusal(400, "bad-parameter", f"{place}: {first['msg']}") from None
