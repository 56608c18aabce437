"""Compares what kernels and their ledger say of their starts with the runs the service created. Draws nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dataflow_magic.ledger.record import RunRecord
from dataflow_magic.models.view import NOT_STARTED, SUBMITTING, RunView
from tests.faults.fake import FakeRun, FakeService

__all__ = ["FAULTS", "Said", "Start", "judge", "said_by"]

FAULTS = ("duplicate", "lost", "adopted wrongly", '"not started" though started', "unsettled")
"""What must not happen."""
SKEW = 300.0
"""Seconds a signature counts for."""
CREATING = 60.0
"""Seconds until an accepted request has its run, at most."""
UNKNOWN = 330.0
"""Seconds by which clocks may be off unnoticed."""


@dataclass
class Start:
    """One start that a cell asked for.

    Parameters
    ----------
    condition, parameters
        As sent.
    marker
        The setting of that name.
    began
        What the service's clock showed when the cell began.
    stamps
        The timestamps that were signed, and what the machine's clock showed when each request arrived.
    arrivals
        What the service's clock showed then.
    answered
        The id that the service returned to the cell; empty where no response arrived.
    is_answer_refused
        Whether a response arrived whose id the kernel takes for another start's.
    kernel
        The number of its kernel.
    may_be_forgotten
        Whether its row was deleted with the ledger. Where its kernel was killed too, nobody knows when it was sent.
    has_handle
        Whether the kernel of the cell lives in the end.
    """

    condition: Mapping[str, Any]
    parameters: Mapping[str, Any]
    marker: str
    began: float
    stamps: list[float] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    answered: str = ""
    is_answer_refused: bool = False
    kernel: int = 0
    may_be_forgotten: bool = False
    has_handle: bool = True


@dataclass(frozen=True)
class Said:
    """What a row or a handle says of a start."""

    status: str
    run_id: str | None
    is_labelled: bool


def said_by(what: RunRecord | RunView) -> Said:
    """Return what a row of the ledger or the view of a handle says."""
    return Said(what.status, what.run_id, what.found_by == "parameters")


def judge(
    service: FakeService,
    starts: Mapping[str, Start],
    said: Mapping[str, Iterable[Said]],
    uncertainty: float | None = None,
) -> Counter[str]:
    """Count what happened to starts, by the names of `FAULTS` and of outcomes.

    Parameters
    ----------
    starts
        By key.
    said
        By key: what each row and each handle says in the end.
    uncertainty
        Seconds by which anybody who measures the service's clock may be wrong about it; None where it cannot be measured.
    """
    judged = _Judged(service, starts, said, uncertainty)
    return Counter(
        outcome
        for key, start in starts.items()
        for outcome in judged.outcomes(key, start, set(said.get(key, ())))
    )


@dataclass(frozen=True)
class _Judged:
    service: FakeService
    starts: Mapping[str, Start]
    said: Mapping[str, Iterable[Said]]
    uncertainty: float | None

    def outcomes(self, key: str, start: Start, said: set[Said]) -> Iterable[str]:
        runs = [run for run in self.service.runs if run.source == key]
        yield "starts"
        if len(runs) > 1:
            yield "duplicate"
        if not said:
            yield "forgotten" if start.may_be_forgotten else "refused"
            if runs and not start.may_be_forgotten:
                yield "lost"
        for each in said:
            yield from self._of_one(key, start, each, runs)

    def _of_one(self, key: str, start: Start, said: Said, runs: list[FakeRun]) -> Iterable[str]:
        if said.run_id is None:
            yield said.status
            if said.status == SUBMITTING:
                yield "unsettled"
            elif said.status == NOT_STARTED and not all(self._is_shared(run) for run in runs):
                is_known = not start.may_be_forgotten or start.has_handle
                yield '"not started" though started' if is_known else "forgotten"
            elif (start.answered or start.is_answer_refused) and key not in self.service.collisions:
                yield "lost"
            return
        found = [run for run in self.service.runs if run.run_id == said.run_id]
        if said.is_labelled and start.marker != "off":
            yield "adopted wrongly"  # with a marker, nothing is found by its parameters
        elif any(run.source == key for run in found):
            yield "answered" if start.answered else "found"
        elif said.is_labelled and any(self._is_tolerable(start, run) for run in found):
            yield "labelled"
        elif key in self.service.collisions and all(self._is_unknown_to(start, run) for run in found):
            yield "forgotten"
        else:
            yield "adopted wrongly"

    def _is_unknown_to(self, start: Start, run: FakeRun) -> bool:
        """Whether a start's kernel could not know that a run is another's: neither from the ledger nor of itself."""
        other = self.starts.get(run.source)
        return other is not None and other.may_be_forgotten and other.kernel != start.kernel

    def _is_tolerable(self, start: Start, run: FakeRun) -> bool:
        """Whether a run of another user cannot be distinguished from the start's."""
        if start.marker != "off" or start.answered or not self._could_be(start, run):
            return False
        other = self.starts.get(run.source)
        if other is None:
            return True
        if other.may_be_forgotten and not other.has_handle:
            return True  # neither a ledger nor a kernel has that start any more
        is_equal = other.may_be_forgotten or _request(other) == _request(start)
        return is_equal and (other.answered != run.run_id or self._is_unknown_to(start, run))

    def _is_shared(self, run: FakeRun) -> bool:
        """Whether the run of a start is, labelled, that of an identical one of the same machine: either is the outcome of either."""
        takers = [
            key
            for key, said in self.said.items()
            for each in said
            if each.run_id == run.run_id and each.is_labelled
        ]
        return any(self._is_tolerable(self.starts[key], run) for key in takers if key in self.starts)

    def _could_be(self, start: Start, run: FakeRun) -> bool:
        """Whether the service shows a run as it would show the start's."""
        # What was not sent is as the service likes it.
        condition = {**run.condition, **start.condition}
        as_asked = replace(run, condition=condition, parameters=start.parameters, query={}, type="JOB")
        shows_enough = self.service.rules.shows_parameters or not start.parameters
        return (
            self._is_in_time(start, run)
            and shows_enough
            and _as_text(self.service.shown(run)) == _as_text(self.service.shown(as_asked))
        )

    def _is_in_time(self, start: Start, run: FakeRun) -> bool:
        """Whether the service could create the run of the start then, by all that its clocks show."""
        begins, ends = start.began, max([start.began, *start.stamps, *start.arrivals])
        if self.uncertainty is None:
            return min([begins, *start.stamps]) - UNKNOWN <= run.created <= ends + SKEW + UNKNOWN
        return begins - self.uncertainty <= run.created <= ends + SKEW + CREATING + self.uncertainty


def _request(start: Start) -> tuple[Any, ...]:
    return dict(start.condition), sorted(_texts(start.parameters))


def _as_text(shown: dict[str, Any]) -> dict[str, Any]:
    """Return a shown run with its parameters as text: the pages do not say which types they keep."""
    echoed = shown.get("parsedParameters") or {}
    parts = echoed if isinstance(echoed, list) else [echoed]
    return {**shown, "parsedParameters": [text for part in parts for text in _texts(part)]}


def _texts(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, value if isinstance(value, str) else json.dumps(value)) for name, value in parameters.items()
    ]
