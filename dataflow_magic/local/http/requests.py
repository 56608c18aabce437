"""The request bodies the local service takes: how they are read, checked and turned into the store's values. No I/O.

The executeJob page prints no range for ``numWorker``; 2-10 is the range of the same operation's older and newer pages.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails

from dataflow_magic.files import check_key
from dataflow_magic.local.run import DEFAULT_TIMEOUT_MINUTES, Refusal
from dataflow_magic.local.store import StoredJob

__all__ = [
    "MAX_CONCURRENT_RUNS",
    "PAGE_LIMIT",
    "WHOLE",
    "ExecutionConfig",
    "JobCreation",
    "JobSettings",
    "JobUpdate",
    "Name",
    "PageExecution",
    "SettingsExecution",
    "read",
    "read_paging",
]

DEFAULT_WORKERS = 2
JOB_DEFAULTS = {"numWorker": DEFAULT_WORKERS, "timeout": DEFAULT_TIMEOUT_MINUTES}
RUN_DEFAULTS = {"workerType": "DEFAULT", **JOB_DEFAULTS}
MAX_CONCURRENT_RUNS = 1000
"""Limit of a job's ``maxConcurrentRuns``; the vendor publishes none."""
PAGE_LIMIT = 1000
"""Limit and default of ``limit``; the vendor publishes only the default."""

M = TypeVar("M", bound=BaseModel)


def _integral(value: object) -> object:
    # 4.0 is an integer to JSON schema, and to the parsers of most services.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL")
    return text


def _check_path(path: str) -> str:
    check_key(path)
    return path


def _check_parameter(value: object) -> object:
    # A union of types would report an error per type.
    if isinstance(value, str):
        return _check_text(value)
    if not isinstance(value, bool | int | float):
        raise ValueError("should be text, a number, true or false")  # noqa: TRY004 - pydantic reports ValueError
    return value


WHOLE = BeforeValidator(_integral)
# The same rules for readers of the published document; a test compares the two.
NO_NUL = r"^[^\u0000]*$"
_SEGMENT = r"(?!\.{1,2}(/|$))[^/\\\u0000]{1,255}"
PATH = rf"^{_SEGMENT}(/{_SEGMENT})*/?$"

Text = Annotated[StrictStr, AfterValidator(_check_text), Field(json_schema_extra={"pattern": NO_NUL})]
Name = Annotated[
    StrictStr, Field(min_length=1, json_schema_extra={"pattern": NO_NUL}), AfterValidator(_check_text)
]
JobName = Annotated[StrictStr, Field(min_length=3, max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]
JobType = Literal["VISUAL", "SCRIPT"]
ObjectPath = Annotated[
    StrictStr, AfterValidator(_check_path), Field(json_schema_extra={"pattern": PATH, "maxLength": 1024})
]
Parameter = Annotated[
    Any,
    AfterValidator(_check_parameter),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": NO_NUL}, {"type": ["number", "boolean"]}]}),
]
ConcurrentRuns = Annotated[StrictInt, Field(ge=1, le=MAX_CONCURRENT_RUNS), WHOLE]
Workers = Annotated[StrictInt, Field(ge=2, le=10), WHOLE]
WorkerType = Literal["DEFAULT", "DATAFLOW"]


class _Body(BaseModel):
    # Built at first use, so that the service starts sooner.
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class PageCondition(_Body):
    """A run's whole condition, as the executeJob page has it."""

    workerType: WorkerType = "DEFAULT"  # noqa: N815 - the wire's names
    numWorker: Workers = DEFAULT_WORKERS  # noqa: N815
    timeout: Annotated[StrictInt, Field(ge=0, le=1440), WHOLE] = DEFAULT_TIMEOUT_MINUTES
    nrn: Name
    scriptPath: ObjectPath  # noqa: N815
    logPath: ObjectPath  # noqa: N815


class JobSettings(_Body):
    """A job's condition, or changes to one. A field that is absent or null is not set."""

    workerType: WorkerType | None = None  # noqa: N815
    numWorker: Workers | None = None  # noqa: N815
    timeout: Annotated[StrictInt, Field(ge=1, le=1440), WHOLE] | None = None
    nrn: Name | None = None
    scriptPath: ObjectPath | None = None  # noqa: N815
    logPath: ObjectPath | None = None  # noqa: N815
    parameters: dict[Name, Text] | None = None

    def of_job(self, job_type: str) -> dict[str, Any]:
        """Return the fields that are set.

        Raises
        ------
        Refusal
            ``bad-parameter``: parameters, and the job's type is not SCRIPT.
        """
        settings = self.model_dump(exclude_none=True)
        if job_type != "SCRIPT" and "parameters" in settings:
            raise Refusal("bad-parameter", "jobCondition.parameters: only a SCRIPT job stores parameters")
        return settings


class PageExecution(_Body):
    """The start of a run, as the executeJob page has it: the body has the whole condition."""

    jobCondition: PageCondition  # noqa: N815
    parameters: dict[Name, Parameter] = {}

    def condition(self, job: StoredJob) -> dict[str, Any]:  # noqa: ARG002 - as in SettingsExecution
        """Return the run's condition; the job's own does not count."""
        return self.jobCondition.model_dump()


class SettingsExecution(_Body):
    """The start of a run, as the pages of October 2026 have it: no field is required."""

    jobCondition: JobSettings = Field(default_factory=JobSettings)  # noqa: N815
    parameters: dict[Name, Parameter] = {}

    def condition(self, job: StoredJob) -> dict[str, Any]:
        """Return the run's condition: the job's with the body's laid over it.

        Raises
        ------
        Refusal
            ``bad-parameter``: neither has a required field.
        """
        merged = {**RUN_DEFAULTS, **job.condition, **self.jobCondition.of_job(job.type)}
        for name in ("nrn", "scriptPath", "logPath"):
            if name not in merged:
                raise Refusal(
                    "bad-parameter",
                    f"jobCondition.{name}: the job stores none; send it, or store it on the job",
                )
        return {name: merged[name] for name in JobSettings.model_fields if name in merged}


class ExecutionConfig(_Body):
    """Changes to a job's condition."""

    jobCondition: JobSettings  # noqa: N815

    def changes(self, job: StoredJob) -> dict[str, Any]:
        """Return the changes to a job as `Store.update_job` takes them."""
        return {"condition": self.jobCondition.of_job(job.type)}


class JobCreation(_Body):
    """A new job; fields the service does not know (``nodes``, ``description``) are stored."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)
    name: JobName
    type: JobType
    maxConcurrentRuns: ConcurrentRuns | None = None  # noqa: N815
    jobCondition: JobSettings = Field(default_factory=JobSettings)  # noqa: N815

    def fields(self) -> dict[str, Any]:
        """Return the job as `Store.add_job` takes it."""
        return {
            "name": self.name,
            "type": self.type,
            "max_concurrent_runs": self.maxConcurrentRuns,
            "condition": {**JOB_DEFAULTS, **self.jobCondition.of_job(self.type)},
            "extra": dict(self.model_extra or {}),
        }


class JobUpdate(_Body):
    """Changes to a job; fields the service does not know are stored."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)
    type: JobType
    name: JobName | None = None
    maxConcurrentRuns: ConcurrentRuns | None = None  # noqa: N815
    jobCondition: JobSettings = Field(default_factory=JobSettings)  # noqa: N815

    def changes(self, job: StoredJob) -> dict[str, Any]:
        """Return the changes to a job as `Store.update_job` takes them.

        Raises
        ------
        Refusal
            ``bad-parameter``: another type than the job's.
        """
        if self.type != job.type:
            raise Refusal("bad-parameter", f"type: the job is a {job.type} job, which cannot be changed")
        return {
            "name": self.name,
            "max_concurrent_runs": self.maxConcurrentRuns,
            "condition": self.jobCondition.of_job(job.type),
            "extra": dict(self.model_extra or {}),
        }


def read(model: type[M], body: bytes) -> M:
    """Return a request body as its model.

    Raises
    ------
    Refusal
        ``bad-parameter``: the body is not a JSON object, or a field is not valid; the detail names the field.
    """
    document = _parse(body)
    if not isinstance(document, dict):
        raise Refusal("bad-parameter", "the body is not a JSON object")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part != "[key]")
        raise Refusal("bad-parameter", f"{place}: {_message(first)}") from None


def read_paging(query: Mapping[str, str]) -> tuple[int, int]:
    """Return page and limit; 0 and 1000 without them.

    Raises
    ------
    Refusal
        ``bad-parameter``: not a whole number from 0, or a limit over 1000.
    """
    page, limit = (
        _whole_number(query, name, default) for name, default in (("page", 0), ("limit", PAGE_LIMIT))
    )
    if limit > PAGE_LIMIT:
        raise Refusal("bad-parameter", f"limit: {limit} is over {PAGE_LIMIT}; ask page by page")
    return page, limit


def _whole_number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise Refusal("bad-parameter", f"{name}: {text!r} is not a whole number from 0")
    return int(text)


def _message(error: ErrorDetails) -> str:
    if error["type"] in {"model_type", "dict_type"}:
        return "Input should be an object"  # JSON's word; pydantic names the class
    return error["msg"].removeprefix("Value error, ")


def _parse(body: bytes) -> Any:
    """Return a JSON document that can be sent again: UTF-8, no lone surrogate, finite numbers."""
    try:
        text = body.decode("utf-8")
        document = json.loads(text, parse_float=_finite, parse_constant=_refuse_constant)
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


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
