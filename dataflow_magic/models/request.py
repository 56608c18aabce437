"""What a cell asks for, frozen: a job, its condition, and parameters or a script. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from dataflow_magic.models.marker import Marker
from dataflow_magic.models.secret import Parameter
from dataflow_magic.models.wire import JobCondition

__all__ = ["JobRef", "RunRequest", "ScriptRequest", "SweepRequest"]

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
    """

    swept: tuple[str, ...]
    requests: tuple[RunRequest, ...]
    job: str = ""

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
