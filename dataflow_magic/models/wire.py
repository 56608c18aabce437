"""The wire types of the Data Flow API, frozen; the only place that knows the wire's names.

========================  ===========================================
our word                  the API's
========================  ===========================================
job                       Job
run                       job execution (`JobExecution` is its snapshot)
job condition             ``jobCondition`` in requests, ``runCondition`` in job answers
workers                   ``numWorker``
========================  ===========================================

Reading is lenient, since three generations of the vendor's pages disagree: unknown fields and states are kept, a missing
field is None, and a date without a zone is Korean time. Writing is exact: `to_wire` returns the vendor's names in the order
of its pages, without fields that were not set.

Source: executeJob page (``api.ncloud-docs.com/docs/ja/analytics-dataflow-executejob``) and its neighbours, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
)
from pydantic.alias_generators import to_camel

__all__ = [
    "KST",
    "RAN_SCRIPT",
    "ExactDates",
    "ExecutionDelta",
    "Job",
    "JobCondition",
    "JobExecution",
    "Page",
    "RunState",
    "Scalar",
    "is_final",
]

KST = ZoneInfo("Asia/Seoul")
"""The zone of the service's dates."""

RAN_SCRIPT = "script.py"
"""The name of the script that a run had, beside its logs; a local service keeps it there, the vendor's pages name none."""

Scalar = str | int | float | bool
"""A parameter value on the wire: the page's example has strings; JSON blocks are sent as written."""

T = TypeVar("T")


class RunState(StrEnum):
    """The five states of the executeJob page; a service may return others."""

    READY = "READY"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


FINAL_STATES: frozenset[str] = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELED})
LIVE_STATES: frozenset[str] = frozenset({RunState.READY, RunState.RUNNING})


def is_final(state: str, ended: datetime | None = None) -> bool:
    """Whether a run in this state is over; an unknown state is over only with an end date."""
    return state in FINAL_STATES or (state not in LIVE_STATES and ended is not None)


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=KST) if moment is not None and moment.tzinfo is None else moment


Date = Annotated[
    datetime | None, BeforeValidator(lambda value: None if value == "" else value), AfterValidator(_aware)
]
Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]


class WireModel(BaseModel):
    """Frozen; camelCase on the wire; keeps unknown fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        alias_generator=AliasGenerator(validation_alias=to_camel, serialization_alias=to_camel),
        validate_by_name=True,
        validate_by_alias=True,
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object as it was read, or as it will be sent: only the fields that were set."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class JobCondition(WireModel):
    """How one run is run; the service chooses a field that is None.

    Attributes
    ----------
    worker_type
        ``DEFAULT`` in every example of the vendor, ``DATAFLOW`` in its tables.
    num_worker
        Workers, 2 to 10.
    timeout
        Minutes the run may take, 0 to 1440; the vendor's default is 360.
    nrn
        Name of the role the run assumes, ``nrn:PUB:IAM::<member>:Role/<uuid>``.
    script_path, log_path
        ``bucket/prefix/`` in object storage, without a scheme.
    """

    worker_type: str | None = None
    num_worker: StrictInt | None = None
    timeout: StrictInt | None = None
    nrn: str | None = None
    script_path: str | None = None
    log_path: str | None = None

    def over(self, stored: JobCondition) -> JobCondition:
        """Return the stored condition with the fields that are set here laid over it."""
        fields = JobCondition.model_fields
        merged = {
            name: value
            for name in fields
            if (value := getattr(self, name)) is not None or (value := getattr(stored, name)) is not None
        }
        return JobCondition(**merged, **{**(stored.model_extra or {}), **(self.model_extra or {})})


class Job(WireModel):
    """A stored Spark script or visual graph with its stored run settings."""

    job_id: str
    name: Text = ""
    type: str | None = None
    status: str | None = None
    max_concurrent_runs: int | None = None
    last_execution_status: str | None = None
    # Responses have runCondition; requests and the newest pages have jobCondition.
    run_condition: JobCondition | None = Field(
        default=None,
        validation_alias=AliasChoices("runCondition", "jobCondition", "run_condition"),
        serialization_alias="runCondition",
    )
    created_date: Date = None
    updated_date: Date = None
    last_execution_date: Date = None

    @property
    def condition(self) -> JobCondition:
        """The stored run settings; empty where the job has none."""
        return self.run_condition or JobCondition()


class ExactDates(WireModel):
    """When a run was created, first RUNNING, and over, to the microsecond; only the local service sends it.

    The vendor's dates have whole seconds, and none of them is the begin of RUNNING.
    """

    created: Date = None
    running: Date = None
    ended: Date = None


class JobExecution(WireModel):
    """One snapshot of a run as the service returns it.

    Attributes
    ----------
    status
        One of `RunState`, or another state of the service.
    start_date, end_date, created_date
        Aware, +09:00 on the wire. ``start_date`` equals ``created_date`` in the vendor's examples, so it is not when
        work began.
    running_time, waiting_time
        Whole minutes.
    parsed_parameters
        As on the wire: missing, null, ``[]``, a list of objects or an object; `parameters` reads each.
    status_detail
        What a waiting run waits for, or why a run failed; only the local service sends it.
    exact_dates
        The run's dates to the microsecond; only the local service sends it.
    """

    job_execution_id: str
    job_id: Text = ""
    job_name: str | None = None
    job_condition: JobCondition | None = None
    status: Text = ""
    start_date: Date = None
    end_date: Date = None
    created_date: Date = None
    trigger_id: str | None = None
    trigger_name: str | None = None
    workflow_id: str | None = None
    waiting_time: int | None = None
    running_time: int | None = None
    executor_num: int | None = None
    parsed_parameters: Any = None
    type: str | None = None
    status_detail: str | None = None
    exact_dates: ExactDates | None = None

    @property
    def is_final(self) -> bool:
        """Whether the run is over."""
        return is_final(self.status, self.end_date)

    @property
    def parameters(self) -> dict[str, Scalar]:
        """The parsed parameters as one mapping; empty while the service has parsed none."""
        parts = (
            self.parsed_parameters if isinstance(self.parsed_parameters, list) else [self.parsed_parameters]
        )
        return {str(k): v for part in parts if isinstance(part, Mapping) for k, v in part.items()}


class ExecutionDelta(NamedTuple):
    """One run of a list, compared with the list of the last poll.

    Attributes
    ----------
    mark
        Equal for equal JSON of the run; 0 for a run that nobody asked for.
    execution
        None where the mark is that of the last poll, and for a run that nobody asked for.
    """

    run_id: str
    mark: int
    execution: JobExecution | None


class Page(WireModel, Generic[T]):
    """One page of a list, in the service's order.

    Attributes
    ----------
    items
        The items of this page (``list`` on the wire).
    count
        Number of results; the vendor's pages do not say whether of this page or in total.
    page, limit
        The 0-based page and its size, as the service echoes them.
    """

    items: Annotated[list[T], BeforeValidator(lambda value: [] if value is None else value)] = Field(
        alias="list", default_factory=list
    )
    count: int | None = None
    page: int | None = None
    limit: int | None = None

    def is_last(self, limit: int) -> bool:
        """Whether this is the last page of a list requested with this size; a service may return smaller pages."""
        return len(self.items) < max(1, min(limit, self.limit or limit))
