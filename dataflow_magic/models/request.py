"""What a cell asks for, frozen: a job, its condition, and parameters or a script. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from dataflow_magic.models.marker import Marker
from dataflow_magic.models.secret import Parameter
from dataflow_magic.models.wire import JobCondition

__all__ = ["JobRef", "Reprocess", "RunRequest", "ScriptRequest", "SweepPlace", "SweepPlan", "SweepRequest"]

Reprocess = Literal["none", "failed", "all"]
"""Which combinations of values a sweep starts: those that have not completed, those that failed, or every one."""

_ID: re.Pattern[str] = re.compile(r"[A-Za-z0-9]{12}")
"""An id in the vendor's full examples: twelve letters and digits."""


@dataclass(frozen=True, slots=True)
class JobRef:
    """How a cell names its job.

    Parameters
    ----------
    text
        A name or an id.
    kind
        ``id`` or ``name`` where a prefix says so; ``any`` is an id where the service has that id, else a name.
    """

    text: str
    kind: Literal["any", "id", "name"] = "any"

    @property
    def may_be_id(self) -> bool:
        """Whether the text has the form of an id, or a prefix says that it is an id."""
        return self.kind == "id" or (self.kind == "any" and _ID.fullmatch(self.text) is not None)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run to start, as asked: all that the service receives but for the marker.

    Parameters
    ----------
    marker
        Where the run's key is sent as well; see `marker.marked`.
    """

    job: JobRef
    condition: JobCondition = field(default_factory=JobCondition)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    trigger_id: str | None = None
    workflow_id: str | None = None
    marker: Marker = "off"

    @property
    def query(self) -> dict[str, str | None]:
        """What a start sends beside its body, by the names of `Client.execute_job` and of the ledger's columns."""
        return {"trigger_id": self.trigger_id, "workflow_id": self.workflow_id}


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """How the runs of a sweep are started.

    Parameters
    ----------
    max_parallel
        The most runs that are alive at once; None leaves the limit to the service.
    reverse
        Whether the last request is started first.
    stop_on_failure
        How many runs may fail until no more is started; None starts all.
    retry
        How often a run that FAILED is started again without being asked.
    reprocess
        See `Reprocess`.
    """

    max_parallel: int | None = None
    reverse: bool = False
    stop_on_failure: int | None = None
    retry: int = 0
    reprocess: Reprocess = "all"


class SweepPlace(NamedTuple):
    """The place of a run in a sweep.

    Attributes
    ----------
    sweep
        The sweep's key.
    number
        Of the request, from 0, in the order of the block.
    """

    sweep: str
    number: int


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """Runs of one job to start together.

    Parameters
    ----------
    swept
        The names, with their ``$``, of the parameters that differ between the runs.
    requests
        One per combination of values, all of one job; none where a swept parameter has no values.
    job
        As the cell names it; named where there is no request.
    plan
        How they are started.
    skipped
        By number of a request that is not sent: the earlier run that makes it unnecessary, and its state, in words.
    """

    swept: tuple[str, ...]
    requests: tuple[RunRequest, ...]
    job: str = ""
    plan: SweepPlan = SweepPlan()
    skipped: Mapping[int, str] = field(default_factory=dict)

    @property
    def order(self) -> list[int]:
        """The numbers of the requests that are sent, in the order of sending."""
        numbers = [number for number in range(len(self.requests)) if number not in self.skipped]
        return numbers[::-1] if self.plan.reverse else numbers

    def with_marker(self, marker: Marker) -> SweepRequest:
        """Return the same runs, each with a marker of its own at that place."""
        return replace(self, requests=tuple(replace(each, marker=marker) for each in self.requests))


@dataclass(frozen=True, slots=True)
class ScriptRequest:
    """A script to write, and the job that runs it.

    Parameters
    ----------
    content
        The script's bytes.
    condition
        The fields of the job condition that the cell sets.
    force
        Whether to overwrite an object that another program wrote.
    """

    job: JobRef
    content: bytes
    condition: JobCondition
    force: bool = False
