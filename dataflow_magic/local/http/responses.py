"""The responses of the local service: their shapes, which the OpenAPI document is made from, and how they are made. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar, cast

from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on

from dataflow_magic.local.http.requests import MAX_CONCURRENT_RUNS
from dataflow_magic.local.objects.paths import console_log_key
from dataflow_magic.local.options import Contract
from dataflow_magic.local.run import RefusalKind
from dataflow_magic.local.spark.progress import Progress
from dataflow_magic.local.store import StoredJob, StoredRun
from dataflow_magic.models.wire import KST, RunState

__all__ = [
    "ID",
    "ExecutionResponse",
    "FaultsResponse",
    "GatewayResponse",
    "HealthResponse",
    "JobResponse",
    "ListResponse",
    "ProgressResponse",
    "RefusalResponse",
    "ServiceResponse",
    "StartedResponse",
    "execution_response",
    "job_response",
    "list_response",
    "progress_response",
    "started_response",
]

ID = {"type": "string", "pattern": "^[A-Za-z0-9]{12}$"}
Id = Annotated[str, WithJsonSchema(ID)]
Date = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Minutes = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]

T = TypeVar("T")
_closed = with_config(ConfigDict(extra="forbid"))


@_closed
class JobCondition(TypedDict):
    """The condition a job stores."""

    workerType: NotRequired[str]
    numWorker: int
    timeout: Minutes
    nrn: NotRequired[str]
    scriptPath: NotRequired[str]
    logPath: NotRequired[str]
    parameters: NotRequired[dict[str, str]]


@_closed
class RunCondition(TypedDict):
    """The condition a run was sent with."""

    workerType: NotRequired[str]
    numWorker: int
    timeout: Minutes
    nrn: NotRequired[str]
    scriptPath: str
    logPath: str
    parameters: NotRequired[dict[str, str]]
    consoleLogPath: NotRequired[str]


@with_config(ConfigDict(extra="allow"))
class JobResponse(TypedDict):
    """A job, with the further fields it was created with."""

    jobId: Id
    name: str
    type: str
    status: Literal["READY"]
    maxConcurrentRuns: NotRequired[Annotated[int, Field(ge=1, le=MAX_CONCURRENT_RUNS)]]
    lastExecutionStatus: NotRequired[RunState]
    runCondition: JobCondition
    createdDate: Date
    updatedDate: Date
    lastExecutionDate: NotRequired[Date]


@_closed
class StartedResponse(TypedDict):
    """A run as executeJob returns it: the page's fields, no more and no fewer."""

    jobExecutionId: Id
    jobId: Id
    jobCondition: RunCondition
    status: RunState
    startDate: Date
    createdDate: Date
    runningTime: Minutes
    parsedParameters: dict[str, str | bool | int | float] | list[Any]
    type: Literal["JOB", "WORKFLOW"]


@_closed
class ExactDates(TypedDict):
    """When a run was created, first RUNNING, and over, to the microsecond; the vendor has no such field."""

    created: Date
    running: NotRequired[Date]
    ended: NotRequired[Date]


@_closed
class ExecutionResponse(StartedResponse):
    """A run as getJobExecution returns it; only the local service has ``statusDetail`` and ``exactDates``."""

    jobName: str
    endDate: NotRequired[Date]
    triggerId: NotRequired[str]
    workflowId: NotRequired[str]
    waitingTime: Minutes
    executorNum: NotRequired[int]
    statusDetail: NotRequired[str]
    exactDates: ExactDates


@_closed
class ListResponse(TypedDict, Generic[T]):
    """One page of a list; ``count`` is the total, which the vendor leaves open."""

    list: Sequence[T]
    count: int
    page: int
    limit: int


@_closed
class StageResponse(TypedDict):
    """A Spark stage that runs now."""

    stageId: int
    name: str
    tasksDone: Count
    tasksFailed: Count
    tasksTotal: Count


@_closed
class ProgressResponse(TypedDict):
    """The progress of a run: all zeros before its first Spark job, unchanged once ``isOver``."""

    stagesDone: Count
    stagesTotal: Count
    tasksDone: Count
    tasksFailed: Count
    tasksTotal: Count
    running: Sequence[StageResponse]
    isOver: bool


@_closed
class ServiceResponse(TypedDict):
    """Where the local service keeps its data, and what it does now."""

    folder: str
    objects: str
    pid: int
    contract: Contract
    activeRuns: int


@_closed
class HealthResponse(TypedDict):
    """The service works."""

    status: Literal["ok"]
    version: str


@_closed
class FaultsResponse(TypedDict):
    """The faults that are set, each as it was requested and how often it ``struck``."""

    seed: int
    faults: Sequence[dict[str, Any]]


@_closed
class RefusalResponse(TypedDict):
    """The service refuses a request."""

    detail: str
    errorType: RefusalKind


@_closed
class GatewayError(TypedDict):
    """Why the gateway refuses a request."""

    errorCode: str
    message: str
    details: str


@_closed
class GatewayResponse(TypedDict):
    """The gateway refuses a request."""

    error: GatewayError


def job_response(job: StoredJob) -> JobResponse:
    """Return a job as all its operations return it."""
    response = {
        **job.extra,  # first, so that no stored field replaces one of the service's
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
    return cast("JobResponse", _without_none(response))


def started_response(run: StoredRun) -> StartedResponse:
    """Return a run as executeJob returns it."""
    response = {
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
    return cast("StartedResponse", response)


def execution_response(run: StoredRun, now: datetime, waiting_for: str = "") -> ExecutionResponse:
    """Return a run as getJobExecution returns it.

    Parameters
    ----------
    waiting_for
        What a live run waits for. It becomes ``statusDetail``, like the reason of a failed run.
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
        "exactDates": _without_none(
            {
                "created": _date(run.created, "microseconds"),
                "running": _date(run.started, "microseconds"),
                "ended": _date(run.ended, "microseconds"),
            }
        ),
    }
    return cast("ExecutionResponse", {**started_response(run), **_without_none(more)})


def list_response(items: Sequence[T], count: int, page: int, limit: int) -> ListResponse[T]:
    """Return one page of a list of ``count`` items."""
    return {"list": items, "count": count, "page": page, "limit": limit}


def progress_response(progress: Progress) -> ProgressResponse:
    """Return the progress of a run; the vendor has no such operation."""
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


def _without_none(response: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in response.items() if value is not None}


def _date(moment: datetime | None, timespec: str = "seconds") -> str | None:
    return moment.astimezone(KST).isoformat(timespec=timespec) if moment else None


def _minutes(start: datetime, end: datetime) -> int:
    # A clock that was set back must not give a negative time.
    return max(0, int((end - start).total_seconds() // 60))
