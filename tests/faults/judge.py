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
WINDOW_SLACK = 330.0
"""Seconds beyond the five minutes a signature counts for: clocks may be off by as much unnoticed."""


@dataclass
class Start:
    """One start that a cell asked for.

    Parameters
    ----------
    condition, parameters
        As sent.
    marker
        The setting of that name.
    clocks
        What the clocks of service and machine showed when the start began and when each attempt of it was sent, and the
        timestamps that were signed.
    answered
        The id that the service returned to the cell; empty where no response arrived.
    is_refused
        Whether the cell was told that the run was certainly not started.
    may_be_forgotten
        Whether its row was deleted with the ledger. Where its kernel was killed too, nobody knows when it was sent.
    has_handle
        Whether the kernel of the cell lives in the end.
    """

    condition: Mapping[str, Any]
    parameters: Mapping[str, Any]
    marker: str = "off"
    clocks: list[float] = field(default_factory=list)
    answered: str = ""
    is_refused: bool = False
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
    service: FakeService, starts: Mapping[str, Start], said: Mapping[str, Iterable[Said]]
) -> Counter[str]:
    """Count what happened to starts, by the names of `FAULTS` and of outcomes.

    Parameters
    ----------
    starts
        By key.
    said
        By key: what each row and each handle says in the end.
    """
    return Counter(
        outcome
        for key, start in starts.items()
        for outcome in _Judged(service, starts, said).outcomes(key, start, set(said.get(key, ())))
    )


@dataclass(frozen=True)
class _Judged:
    service: FakeService
    starts: Mapping[str, Start]
    said: Mapping[str, Iterable[Said]]

    def outcomes(self, key: str, start: Start, said: set[Said]) -> Iterable[str]:
        runs = [run for run in self.service.runs if run.source == key]
        yield "starts"
        if len(runs) > 1:
            yield "duplicate"
        if not said:
            yield "refused" if start.is_refused else "forgotten"
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
            elif start.answered and key not in self.service.collisions:
                yield "lost"
            return
        found = [run for run in self.service.runs if run.run_id == said.run_id]
        if any(run.source == key for run in found):
            yield "answered" if start.answered else "found"
        elif said.is_labelled and any(self._is_tolerable(start, run) for run in found):
            yield "labelled"
        else:
            yield "adopted wrongly"

    def _is_tolerable(self, start: Start, run: FakeRun) -> bool:
        """Whether nobody could tell a run of somebody else from the start's."""
        other = self.starts.get(run.source)
        is_known = other is not None and other.answered == run.run_id
        if other is not None and other.may_be_forgotten and not other.has_handle:
            is_known = False  # neither a ledger nor a kernel has that start any more
        return (
            start.marker == "off" and not (start.answered or is_known) and could_be(self.service, start, run)
        )

    def _is_shared(self, run: FakeRun) -> bool:
        """Whether the run of a start is, labelled, that of an identical one of the same machine: either is the outcome of either."""
        takers = [
            key
            for key, said in self.said.items()
            for each in said
            if each.run_id == run.run_id and each.is_labelled
        ]
        return any(self._is_tolerable(self.starts[key], run) for key in takers if key in self.starts)


def could_be(service: FakeService, start: Start, run: FakeRun) -> bool:
    """Whether the service shows a run as it would show the start's."""
    # What was not sent is as the service likes it.
    condition = {**run.condition, **start.condition}
    as_asked = replace(run, condition=condition, parameters=start.parameters, query={}, type="JOB")
    in_time = min(start.clocks) - WINDOW_SLACK <= run.created <= max(start.clocks) + 300 + WINDOW_SLACK
    shows_enough = service.rules.shows_parameters or not start.parameters
    return in_time and shows_enough and _as_text(service.shown(run)) == _as_text(service.shown(as_asked))


def _as_text(shown: dict[str, Any]) -> dict[str, Any]:
    """Return a shown run with its parameters as text: the pages do not say which types they keep."""
    echoed = shown.get("parsedParameters") or {}
    parts = echoed if isinstance(echoed, list) else [echoed]
    texts = [
        (name, value if isinstance(value, str) else json.dumps(value))
        for part in parts
        for name, value in part.items()
    ]
    return {**shown, "parsedParameters": texts}
