"""Which requests of a sweep need no run, since an earlier one serves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from dataflow_magic.ledger.record import RunRecord, parameters_of
from dataflow_magic.models.marker import MARKER_PARAMETER
from dataflow_magic.models.request import Reprocess, SweepRequest
from dataflow_magic.models.secret import Parameter, Secret
from dataflow_magic.models.view import NOT_STARTED
from dataflow_magic.models.wire import RunState

__all__ = ["skipped"]

Content = frozenset[tuple[str, Parameter]]
NEVER_RAN: Final = "no run of it has failed"


def skipped(request: SweepRequest, script_path: str | None, records: Iterable[RunRecord]) -> dict[int, str]:
    """Return the numbers of the requests that need no run, each with the reason in words.

    Parameters
    ----------
    script_path
        Of the job; a request may have another. A run of another script makes nothing unnecessary.
    records
        The runs of the job that are known, in any order.
    """
    which = request.plan.reprocess
    if which == "all":
        return {}
    known = _by_content(records)
    reasons: dict[int, str] = {}
    for number, each in enumerate(request.requests):
        content = _content(each.parameters)
        path = each.condition.script_path or script_path
        runs = [run for run in known.get(content, []) if path is None or run.script_path in (None, path)]
        if content is not None and (reason := _reason(which, runs)):
            reasons[number] = reason
    return reasons


def _reason(which: Reprocess, runs: list[RunRecord]) -> str:
    done = next((run for run in reversed(runs) if run.status == RunState.COMPLETED), None)
    live = next((run for run in reversed(runs) if run.is_live), None)
    if done or live:
        run = live or done
        assert run is not None  # noqa: S101 - one of them is
        return f"run {run.run_id or run.key} is {run.status}"
    return NEVER_RAN if which == "failed" and not any(run.status == RunState.FAILED for run in runs) else ""


def _by_content(records: Iterable[RunRecord]) -> dict[Content | None, list[RunRecord]]:
    """Return the runs by their parameters, of each the oldest first; without those that were not started."""
    found: dict[Content | None, list[RunRecord]] = {}
    for record in sorted(records, key=lambda record: record.submitted):
        if record.status != NOT_STARTED:
            found.setdefault(_content(parameters_of(record.parameters)), []).append(record)
    return found


def _content(parameters: Mapping[str, Parameter]) -> Content | None:
    """Return the parameters without the marker; None with a secret, whose value cannot be compared."""
    if any(isinstance(value, Secret) for value in parameters.values()):
        return None
    return frozenset(
        (name.removeprefix("$"), str(value)) for name, value in parameters.items() if name != MARKER_PARAMETER
    )
