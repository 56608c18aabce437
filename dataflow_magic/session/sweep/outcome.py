"""How a sweep that is over, or waited for too long, is reported in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dataflow_magic import errors
from dataflow_magic.card import format as fmt
from dataflow_magic.card.words import SKIPPED, UNSENT
from dataflow_magic.models.view import NOT_STARTED
from dataflow_magic.models.wire import RunState

if TYPE_CHECKING:
    from dataflow_magic.session.sweep.handle import Sweep

__all__ = ["failure", "timed_out"]

REASON_LENGTH: Final = 300
"""Characters of a reason in the one line of an error."""


def failure(sweep: Sweep) -> errors.SweepFailed:
    """Return the error of a sweep that is over and did not complete, with the first reason."""
    bad = {word: number for word, number in sweep.counts.items() if word not in (RunState.COMPLETED, SKIPPED)}
    failed = [run for _, run in sweep.failed_runs]
    first = next(iter(failed or [run for run in sweep.live if run.status != RunState.COMPLETED]), None)
    counts = ", ".join(f"{number} {word}" for word, number in bad.items())
    parts = [
        f"{sum(bad.values())} of {sweep.total} runs of {fmt.short(sweep.job)} did not complete ({counts})"
    ]
    if reason := " ".join(((first.reason if first else sweep.error) or "").split())[:REASON_LENGTH]:
        parts.append(f"run {first.run_id or first.key}: {reason}" if first else f"not sent: {reason}")
    if failed:
        parts.append(f".retry_failed() starts the {len(failed)} failed again")
    if unsent := bad.get(UNSENT, 0) + bad.get(NOT_STARTED, 0):
        parts.append(f".resume() starts the {unsent} unsent")
    return errors.SweepFailed("; ".join(parts), run=first and first.handle, sweep=sweep)


def timed_out(sweep: Sweep, timeout: float) -> errors.WaitTimeout:
    """Return the error of a wait that took longer than ``timeout`` seconds."""
    active = sweep.total - sum(run.is_over for run in sweep.live)
    return errors.WaitTimeout(
        f"{active} of {sweep.total} runs of {fmt.short(sweep.job)} are still active after {timeout:g} s; "
        f"wait again, or %dataflow_cancel {sweep.key} ends them",
        run=sweep,
    )
