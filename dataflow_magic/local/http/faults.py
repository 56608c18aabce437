"""Faults the local service shows on demand, for tests of what uses it: which strike, and what they do. No clock, no I/O.

Each fault draws from a generator of its own, so the same seed and the same requests give the same faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from random import Random
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from dataflow_magic.local.http.requests import WHOLE, Name
from dataflow_magic.local.store import StoredRun
from dataflow_magic.models.wire import LIVE_STATES, RunState

__all__ = ["FaultPlan", "Faults", "Struck"]

LISTS = "GET */executions"
RUNS = "GET */executions/*"
STARTS = "POST */executions"

Seconds = Annotated[float, Field(strict=True, ge=0, le=3600, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Struck:
    """What befalls one request.

    Attributes
    ----------
    latency_seconds
        Until it is carried out.
    skew_seconds
        How far the gateway's clock is ahead.
    status, retry_after
        Of the gateway's refusal, where it is not carried out; Retry-After in seconds.
    is_lost
        Whether it is carried out and not answered.
    ready_seconds
        How old a run is at least that is not told as READY.
    lag_seconds
        How old a run is at least that is listed.
    state
        What a live run's state is told as.
    form
        How ``parsedParameters`` is told.
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
        """Return a run as it is to be told: one that is too young is READY still."""
        if now - run.created >= timedelta(seconds=self.ready_seconds):
            return run
        return replace(run, status=RunState.READY, detail="", started=None, ended=None)

    def is_listed(self, run: StoredRun, now: datetime) -> bool:
        """Whether the list has a run yet."""
        return now - run.created >= timedelta(seconds=self.lag_seconds)

    def altered(self, answer: dict[str, Any], run: StoredRun) -> dict[str, Any]:
        """Return the answer that tells a run, with state and parameters in the form that was asked for."""
        changes: dict[str, Any] = {}
        if self.state and answer["status"] in LIVE_STATES:
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
        return {**answer, **changes}


NOTHING = Struck()


class _Fault(BaseModel):
    # Built when first needed: a start of the service need not wait for what is hardly ever asked for.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    befalls: ClassVar[tuple[str, ...]] = ("*",)
    """Methods and paths it can show at."""

    probability: Annotated[float, Field(strict=True, ge=0, le=1)] = 1.0
    times: Annotated[StrictInt, Field(ge=1), WHOLE] | None = None
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | None = None
    path: Name | None = None

    def concerns(self, method: str, path: str) -> bool:
        """Whether it may befall this request."""
        return (
            any(fnmatchcase(f"{method} {path}", pattern) for pattern in self.befalls)
            and self.method in {None, method}
            and (self.path is None or fnmatchcase(path, self.path))
        )


class Latency(_Fault):
    """It takes so long before a request is carried out."""

    kind: Literal["latency"]
    seconds: Seconds


class LostReply(_Fault):
    """The request is carried out, and its connection closed without an answer."""

    kind: Literal["lost-reply"]


class GatewayFault(_Fault):
    """The gateway refuses; nothing is carried out."""

    kind: Literal["error"]
    status: Annotated[Literal[429, 500, 503, 504], WHOLE]
    retryAfter: Annotated[StrictInt, Field(ge=0), WHOLE] | None = None  # noqa: N815 - the wire's names


class ClockSkew(_Fault):
    """The gateway's clock, by which it takes signatures and dates answers, is so far ahead, or behind when negative."""

    kind: Literal["clock-skew"]
    seconds: Annotated[float, Field(strict=True, ge=-86_400, le=86_400, allow_inf_nan=False)]


class SlowReady(_Fault):
    """A run is told as READY for so long at least."""

    befalls = (LISTS, RUNS)
    kind: Literal["slow-ready"]
    seconds: Seconds


class UnknownState(_Fault):
    """A live run is told in a state nobody knows."""

    befalls = (LISTS, RUNS)
    kind: Literal["unknown-state"]
    state: Name = "PREPARING"


class ParametersForm(_Fault):
    """``parsedParameters`` is told in one of the forms the vendor's pages leave possible."""

    befalls = (LISTS, RUNS, STARTS)
    kind: Literal["parsed-parameters"]
    form: Literal["[]", "[{}]", "{}", "null", "filled"]


class ListLag(_Fault):
    """Runs younger than that are not listed."""

    befalls = (LISTS,)
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
    """What is to go wrong. Where several faults set the same, the last that strikes wins."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    seed: Annotated[StrictInt, WHOLE] = 0
    faults: Annotated[list[Annotated[Fault, Field(discriminator="kind")]], Field(max_length=100)]


class Faults:
    """The faults of one service: none until some are set."""

    def __init__(self) -> None:
        self.set([])

    def set(self, faults: Sequence[Fault], seed: int = 0) -> None:
        """Set these and no others, with none of them having struck yet."""
        self._faults = tuple(faults)
        self._seed = seed
        self._draws = [Random(f"{seed}/{place}") for place in range(len(faults))]  # noqa: S311 - repeatable on purpose
        self._struck = [0] * len(faults)

    def skew_seconds(self, method: str, path: str) -> float:
        """Return how far the clock is off for a request; asked before it is known who sent it."""
        return self._strike(method, path, of_clock=True).skew_seconds

    def strike(self, method: str, path: str) -> Struck:
        """Return what else befalls a request."""
        return self._strike(method, path, of_clock=False)

    def told(self) -> dict[str, Any]:
        """Return the faults as they were set, with how often each struck."""
        faults = [
            {**fault.model_dump(exclude_none=True), "struck": struck}
            for fault, struck in zip(self._faults, self._struck, strict=True)
        ]
        return {"seed": self._seed, "faults": faults}

    def _strike(self, method: str, path: str, *, of_clock: bool) -> Struck:
        struck = NOTHING
        for place, fault in enumerate(self._faults):
            if (fault.kind == "clock-skew") == of_clock and self._strikes(place, fault, method, path):
                self._struck[place] += 1
                struck = replace(struck, **_effect(fault))
        return struck

    def _strikes(self, place: int, fault: Fault, method: str, path: str) -> bool:
        is_left = fault.times is None or self._struck[place] < fault.times
        # Drawn for whatever it concerns, so that what else is asked changes nothing.
        return fault.concerns(method, path) and self._draws[place].random() < fault.probability and is_left
