"""Faults the local service shows on request, to test its clients: which occur, and what they change. No clock, no I/O.

Each fault has its own random generator, so the same seed and the same requests give the same faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from random import Random
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from dataflow_magic.local.http.requests import WHOLE, Name
from dataflow_magic.local.http.responses import FaultsResponse, StartedResponse
from dataflow_magic.local.store import StoredRun
from dataflow_magic.models.wire import LIVE_STATES, RunState

__all__ = ["NO_EFFECTS", "Effects", "FaultPlan", "Faults"]

R = TypeVar("R", bound=StartedResponse)

LISTS = "GET */executions"
RUNS = "GET */executions/*"
STARTS = "POST */executions"

Seconds = Annotated[float, Field(strict=True, ge=0, le=3600, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Effects:
    """What the faults change for one request.

    Attributes
    ----------
    latency_seconds
        Delay before the request is handled.
    skew_seconds
        How far the gateway's clock is ahead.
    status, retry_after
        The gateway refuses with this status and Retry-After, seconds; the request is not handled.
    is_lost
        Whether the request is handled and gets no response.
    ready_seconds
        Runs younger than this are READY in the response.
    lag_seconds
        Runs younger than this are not listed.
    state
        The state of live runs in the response.
    form
        The form of ``parsedParameters`` in the response.
    """

    latency_seconds: float = 0.0
    skew_seconds: float = 0.0
    status: int | None = None
    retry_after: int | None = None
    is_lost: bool = False
    ready_seconds: float = 0.0
    lag_seconds: float = 0.0
    state: str | None = None
    form: str | None = None

    def seen(self, run: StoredRun, now: datetime) -> StoredRun:
        """Return a run as the response has it: a run that is too young is still READY."""
        if now - run.created >= timedelta(seconds=self.ready_seconds):
            return run
        return replace(run, status=RunState.READY, detail="", started=None, ended=None)

    def is_listed(self, run: StoredRun, now: datetime) -> bool:
        """Whether the list already has a run."""
        return now - run.created >= timedelta(seconds=self.lag_seconds)

    def altered(self, response: R, run: StoredRun) -> R:
        """Return the response of a run with the requested state and form of its parameters."""
        changes: dict[str, Any] = {}
        if self.state and response["status"] in LIVE_STATES:
            changes["status"] = self.state
        if self.form:
            forms: dict[str, Any] = {
                "[]": [],
                "[{}]": [{}],
                "{}": {},
                "null": None,
                "filled": dict(run.parameters),
            }
            changes["parsedParameters"] = forms[self.form]
        return cast("R", {**response, **changes})


NO_EFFECTS = Effects()


class _Fault(BaseModel):
    # Built at first use, so that the service starts sooner.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    patterns: ClassVar[tuple[str, ...]] = ("*",)
    """Patterns of the methods and paths it can change."""

    probability: Annotated[float, Field(strict=True, ge=0, le=1)] = 1.0
    times: Annotated[StrictInt, Field(ge=1), WHOLE] | None = None
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | None = None
    path: Name | None = None

    def matches(self, method: str, path: str) -> bool:
        """Whether the fault may strike this request."""
        return (
            any(fnmatchcase(f"{method} {path}", pattern) for pattern in self.patterns)
            and self.method in {None, method}
            and (self.path is None or fnmatchcase(path, self.path))
        )


class Latency(_Fault):
    """The request waits before it is handled."""

    kind: Literal["latency"]
    seconds: Seconds


class LostReply(_Fault):
    """The request is handled, and its connection closed without a response."""

    kind: Literal["lost-reply"]


class GatewayFault(_Fault):
    """The gateway refuses the request; it is not handled."""

    kind: Literal["error"]
    status: Annotated[Literal[429, 500, 503, 504], WHOLE]
    retryAfter: Annotated[StrictInt, Field(ge=0), WHOLE] | None = None  # noqa: N815 - the wire's names


class ClockSkew(_Fault):
    """The gateway's clock, which checks signatures and dates responses, is ahead; behind when negative."""

    kind: Literal["clock-skew"]
    seconds: Annotated[float, Field(strict=True, ge=-86_400, le=86_400, allow_inf_nan=False)]


class SlowReady(_Fault):
    """A run is READY in responses for at least this long."""

    patterns = (LISTS, RUNS)
    kind: Literal["slow-ready"]
    seconds: Seconds


class UnknownState(_Fault):
    """A live run has an unknown state in responses."""

    patterns = (LISTS, RUNS)
    kind: Literal["unknown-state"]
    state: Name = "PREPARING"


class ParametersForm(_Fault):
    """``parsedParameters`` has one of the forms the vendor's pages allow."""

    patterns = (LISTS, RUNS, STARTS)
    kind: Literal["parsed-parameters"]
    form: Literal["[]", "[{}]", "{}", "null", "filled"]


class ListLag(_Fault):
    """Runs younger than this are not listed."""

    patterns = (LISTS,)
    kind: Literal["list-lag"]
    seconds: Seconds


Fault = Latency | LostReply | GatewayFault | ClockSkew | SlowReady | UnknownState | ParametersForm | ListLag


def _effect(fault: Fault) -> dict[str, Any]:
    match fault:
        case Latency():
            return {"latency_seconds": fault.seconds}
        case LostReply():
            return {"is_lost": True}
        case GatewayFault():
            return {"status": fault.status, "retry_after": fault.retryAfter}
        case ClockSkew():
            return {"skew_seconds": fault.seconds}
        case SlowReady():
            return {"ready_seconds": fault.seconds}
        case UnknownState():
            return {"state": fault.state}
        case ParametersForm():
            return {"form": fault.form}
        case ListLag():
            return {"lag_seconds": fault.seconds}


class FaultPlan(BaseModel):
    """The faults to set. Where several faults change the same, the last one that strikes wins."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    seed: Annotated[StrictInt, WHOLE] = 0
    faults: Annotated[list[Annotated[Fault, Field(discriminator="kind")]], Field(max_length=100)]


class Faults:
    """The faults of one service; none at first. For one thread, the loop's."""

    def __init__(self) -> None:
        self.set([])

    def set(self, faults: Sequence[Fault], seed: int = 0) -> None:
        """Replace the faults by these; none of them has struck yet."""
        self._faults = tuple(faults)
        self._seed = seed
        self._draws = [Random(f"{seed}/{place}") for place in range(len(faults))]  # noqa: S311 - repeatable on purpose
        self._struck = [0] * len(faults)

    def skew_seconds(self, method: str, path: str) -> float:
        """Return how far the clock is ahead for a request, before its signature is checked."""
        return self._strike(method, path, of_clock=True).skew_seconds

    def strike(self, method: str, path: str) -> Effects:
        """Return the other effects on a request."""
        return self._strike(method, path, of_clock=False)

    def report(self) -> FaultsResponse:
        """Return the faults as they were set, and how often each struck."""
        faults = [
            {**fault.model_dump(exclude_none=True), "struck": struck}
            for fault, struck in zip(self._faults, self._struck, strict=True)
        ]
        return {"seed": self._seed, "faults": faults}

    def _strike(self, method: str, path: str, *, of_clock: bool) -> Effects:
        effects = NO_EFFECTS
        for place, fault in enumerate(self._faults):
            if (fault.kind == "clock-skew") == of_clock and self._strikes(place, fault, method, path):
                self._struck[place] += 1
                effects = replace(effects, **_effect(fault))
        return effects

    def _strikes(self, place: int, fault: Fault, method: str, path: str) -> bool:
        is_left = fault.times is None or self._struck[place] < fault.times
        # Every matching request draws, so that the sequence does not depend on `times`.
        return fault.matches(method, path) and self._draws[place].random() < fault.probability and is_left
