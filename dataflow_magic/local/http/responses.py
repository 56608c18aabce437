"""What the local service answers, described: its OpenAPI document is made from these models, and tests hold answers to them.

`contract` puts answers together without them, which takes a third of the time; a list has a thousand runs.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from dataflow_magic.local.http.requests import MOST_RUNS
from dataflow_magic.local.options import Contract
from dataflow_magic.models.wire import RunState

__all__ = [
    "ID",
    "ExecutionAnswer",
    "FaultsAnswer",
    "GatewayAnswer",
    "HealthAnswer",
    "JobAnswer",
    "ListAnswer",
    "ProgressAnswer",
    "RefusalAnswer",
    "ServiceAnswer",
    "StartedAnswer",
]

Date = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
ID = {"type": "string", "pattern": "^[A-Za-z0-9]{12}$"}
Id = Annotated[str, WithJsonSchema(ID)]
Minutes = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]

T = TypeVar("T")


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunCondition(_Answer):
    """The condition a run was sent with."""

    workerType: str | None = None  # noqa: N815 - the wire's names
    numWorker: int  # noqa: N815
    timeout: Minutes
    nrn: str | None = None
    scriptPath: str  # noqa: N815
    logPath: str  # noqa: N815
    parameters: dict[str, str] | None = None
    consoleLogPath: str | None = None  # noqa: N815


class JobCondition(_Answer):
    """The condition a job stores."""

    workerType: str | None = None  # noqa: N815
    numWorker: int  # noqa: N815
    timeout: Minutes
    nrn: str | None = None
    scriptPath: str | None = None  # noqa: N815
    logPath: str | None = None  # noqa: N815
    parameters: dict[str, str] | None = None


class JobAnswer(_Answer):
    """A job, with whatever else it was made with."""

    model_config = ConfigDict(frozen=True, extra="allow")
    jobId: Id  # noqa: N815
    name: str
    type: str
    status: Literal["READY"] = "READY"
    maxConcurrentRuns: Annotated[int, Field(ge=1, le=MOST_RUNS)] | None = None  # noqa: N815
    lastExecutionStatus: RunState | None = None  # noqa: N815
    runCondition: JobCondition  # noqa: N815
    createdDate: Date  # noqa: N815
    updatedDate: Date  # noqa: N815
    lastExecutionDate: Date | None = None  # noqa: N815


class StartedAnswer(_Answer):
    """A run as executeJob answers: the page's fields, no more and no fewer."""

    jobExecutionId: Id  # noqa: N815
    jobId: Id  # noqa: N815
    jobCondition: RunCondition  # noqa: N815
    status: RunState
    startDate: Date  # noqa: N815
    createdDate: Date  # noqa: N815
    runningTime: Minutes  # noqa: N815
    parsedParameters: dict[str, str | bool | int | float] | list[Any]  # noqa: N815
    type: Literal["JOB", "WORKFLOW"]


class ExecutionAnswer(StartedAnswer):
    """A run as getJobExecution tells it; ``statusDetail`` is the local service's own."""

    jobName: str  # noqa: N815
    endDate: Date | None = None  # noqa: N815
    triggerId: str | None = None  # noqa: N815
    workflowId: str | None = None  # noqa: N815
    waitingTime: Minutes  # noqa: N815
    executorNum: int | None = None  # noqa: N815
    statusDetail: str | None = None  # noqa: N815


class ListAnswer(_Answer, Generic[T]):
    """The envelope of every list; ``count`` is the total, which the vendor leaves open."""

    items: list[T] = Field(alias="list")
    count: int
    page: int
    limit: int


class StageAnswer(_Answer):
    """A Spark stage that runs."""

    stageId: int  # noqa: N815
    name: str
    tasksDone: Count  # noqa: N815
    tasksFailed: Count  # noqa: N815
    tasksTotal: Count  # noqa: N815


class ProgressAnswer(_Answer):
    """How far a run is, all zeros before its first Spark job; once ``isOver`` it changes no more."""

    stagesDone: Count  # noqa: N815
    stagesTotal: Count  # noqa: N815
    tasksDone: Count  # noqa: N815
    tasksFailed: Count  # noqa: N815
    tasksTotal: Count  # noqa: N815
    running: list[StageAnswer]
    isOver: bool  # noqa: N815


class ServiceAnswer(_Answer):
    """What the local service tells of itself."""

    folder: str
    objects: str
    pid: int
    contract: Contract
    activeRuns: int  # noqa: N815


class HealthAnswer(_Answer):
    """That the service is well."""

    status: Literal["ok"]
    version: str


class FaultsAnswer(_Answer):
    """The faults that are set, each as it was asked for with how often it ``struck``."""

    seed: int
    faults: list[dict[str, Any]]


class RefusalAnswer(_Answer):
    """How the service says no."""

    detail: str
    errorType: Literal["bad-parameter", "bad-state", "not-found"]  # noqa: N815


class GatewayError(_Answer):
    """Why the gateway says no."""

    errorCode: str  # noqa: N815
    message: str
    details: str


class GatewayAnswer(_Answer):
    """How the gateway says no."""

    error: GatewayError
