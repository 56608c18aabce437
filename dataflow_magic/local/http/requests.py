"""The request bodies the local service takes, as the models that check them. No I/O.

The pages of executeJob print no range for ``numWorker``; 2-10 is that of the same operation's older and newer pages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)

from dataflow_magic.local.run import DEFAULT_TIMEOUT_MINUTES
from dataflow_magic.local.spark.script import ScriptProblem, object_path

__all__ = [
    "DEFAULT_WORKERS",
    "WHOLE",
    "ExecutionConfig",
    "JobCreation",
    "JobSettings",
    "JobUpdate",
    "PageExecution",
    "SettingsExecution",
]

DEFAULT_WORKERS = 2
MOST_RUNS = 1000
"""Of one job at once; the vendor's bound was not seen."""


def _whole(value: object) -> object:
    # 4.0 is an integer to JSON schema, and to the parsers of most services.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL")
    return text


def _check_path(path: str) -> str:
    try:
        object_path(Path(), path)
    except ScriptProblem as problem:
        raise ValueError(str(problem)) from None
    return path


def _check_parameter(value: object) -> object:
    # Not a union of types, which would answer with what each of them has against the value.
    if isinstance(value, str):
        return _check_text(value)
    if not isinstance(value, bool | int | float):
        raise ValueError("should be text, a number, true or false")  # noqa: TRY004 - as pydantic wants it
    return value


WHOLE = BeforeValidator(_whole)
# The same rules for whoever reads the published description; a test holds one to the other.
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
RunsAtOnce = Annotated[StrictInt, Field(ge=1, le=MOST_RUNS), WHOLE]
Workers = Annotated[StrictInt, Field(ge=2, le=10), WHOLE]
WorkerType = Literal["DEFAULT", "DATAFLOW"]


class _Body(BaseModel):
    # Built when first needed, which a start of the service need not wait for.
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class PageCondition(_Body):
    """A run's whole condition, as the executeJob page has it."""

    workerType: WorkerType = "DEFAULT"  # noqa: N815 - the wire's names
    numWorker: Workers = DEFAULT_WORKERS  # noqa: N815
    timeout: Annotated[StrictInt, Field(ge=0, le=1440), WHOLE] = DEFAULT_TIMEOUT_MINUTES
    nrn: Name
    scriptPath: ObjectPath  # noqa: N815
    logPath: ObjectPath  # noqa: N815


class PageExecution(_Body):
    """What starts a run, as the executeJob page has it."""

    jobCondition: PageCondition  # noqa: N815
    parameters: dict[Name, Parameter] = {}


class JobSettings(_Body):
    """A job's condition, or what is to be laid over one. A field that is absent or null is not set."""

    workerType: WorkerType | None = None  # noqa: N815
    numWorker: Workers | None = None  # noqa: N815
    timeout: Annotated[StrictInt, Field(ge=1, le=1440), WHOLE] | None = None
    nrn: Name | None = None
    scriptPath: ObjectPath | None = None  # noqa: N815
    logPath: ObjectPath | None = None  # noqa: N815
    parameters: dict[Name, Text] | None = None


class SettingsExecution(_Body):
    """What starts a run, as the pages of October 2026 have it: nothing is required."""

    jobCondition: JobSettings = Field(default_factory=JobSettings)  # noqa: N815
    parameters: dict[Name, Parameter] = {}


class ExecutionConfig(_Body):
    """What changes a job's condition."""

    jobCondition: JobSettings  # noqa: N815


class JobCreation(_Body):
    """What makes a job; fields the service does not know (``nodes``, ``description``) are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)
    name: JobName
    type: JobType
    maxConcurrentRuns: RunsAtOnce | None = None  # noqa: N815
    jobCondition: JobSettings = Field(default_factory=JobSettings)  # noqa: N815


class JobUpdate(_Body):
    """What changes a job; fields the service does not know are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)
    type: JobType
    name: JobName | None = None
    maxConcurrentRuns: RunsAtOnce | None = None  # noqa: N815
    jobCondition: JobSettings = Field(default_factory=JobSettings)  # noqa: N815
