"""Waits for runs in a cell: an interrupt detaches and cancels nothing; a run that did not complete fails the cell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dataflow_magic import errors
from dataflow_magic.card.run.state import card_state
from dataflow_magic.cell.wait import Wait
from dataflow_magic.models.text import in_columns
from dataflow_magic.models.view import KST, RunView
from dataflow_magic.models.wire import RunState
from dataflow_magic.session.detached import SWEEP_WAY_BACK, Detached, way_back
from dataflow_magic.session.run import Run
from dataflow_magic.session.session import Session
from dataflow_magic.session.sweep.handle import Sweep

__all__ = ["in_rows", "name_of", "wait_for_run", "wait_for_runs"]


def wait_for_run(
    run: Run | Sweep, minutes: float | None, log_hint: str = "", *, silent: bool = False
) -> None:
    """Wait for a run or a sweep, with its card.

    Parameters
    ----------
    minutes
        Time to wait at most; None waits until the end.
    log_hint
        Where to find the log of a failed run, for the error; by default its card.
    silent
        Whether to show no card.

    Raises
    ------
    Detached
        The user interrupted the wait.
    RunFailed, WaitTimeout
        The run did not complete, or is still active.
    """
    seconds = None if minutes is None else 60 * minutes
    try:
        if silent:
            run.wait(seconds)
        else:
            run.show_and_wait(seconds)
    except KeyboardInterrupt:
        raise Detached(
            f"stopped waiting; {SWEEP_WAY_BACK if isinstance(run, Sweep) else way_back([name_of(run)])}"
        ) from None
    if isinstance(run, Sweep):
        if not run.is_completed:
            raise run.failed()
    elif run.status != RunState.COMPLETED:
        raise run.failed(log_hint or _log_hint(run))


def wait_for_runs(session: Session, wait: Wait) -> None:
    """Wait for the runs that a line of ``%dataflow_wait`` names: for one with its card, for several with a table.

    Raises
    ------
    Detached
        The user interrupted the wait.
    RunFailed, WaitTimeout
        A run did not complete, or is still active.
    """
    named = [session.find_run(run) for run in wait.runs]
    runs = list(dict.fromkeys(named)) or [run for run in session.runs if not run.is_over]
    if not runs:
        print("No run of this kernel is active.")  # noqa: T201
        return
    if len(runs) == 1:
        wait_for_run(runs[0], wait.timeout)
        return
    print(f"Waiting for {len(runs)} runs. Interrupt the kernel to stop waiting; the runs continue.")  # noqa: T201
    try:
        session.wait_for(runs, None if wait.timeout is None else 60 * wait.timeout, is_any=wait.is_any)
    except KeyboardInterrupt:
        active = [name_of(run) for run in runs if not run.is_over]
        raise Detached(f"stopped waiting; {way_back(active) if active else 'all runs have ended'}") from None
    print(in_rows([run.view for run in runs], datetime.now(KST)))  # noqa: T201
    _check(runs, wait)


def _check(runs: list[Run], wait: Wait) -> None:
    ended = [run for run in runs if run.is_over]
    failed = [run for run in ended if run.status != RunState.COMPLETED]
    if failed:
        states = ", ".join(f"{name_of(run)} {run.status}" for run in failed)
        raise errors.RunFailed(
            f"{len(failed)} of {len(runs)} runs did not complete: {states}; {_log_hint(failed[0])}",
            run=failed[0],
        )
    active = [run for run in runs if run not in ended]
    if active and not (wait.is_any and ended):
        raise errors.WaitTimeout(
            f"the wait timed out after {wait.timeout:g} min; {way_back(list(map(name_of, active)))}",
            run=active[0],
        )


def name_of(run: Run) -> str:
    """Return the id of a run, or its key while it has none."""
    return run.run_id or run.key


def in_rows(views: Sequence[RunView], now: datetime) -> str:
    """Return a line per run: its state, job, id, time, and why it did not complete."""
    states = [card_state(view, now) for view in views]
    rows = [
        (state.state, state.job, state.run_id or view.key, state.elapsed, state.reason or state.blind)
        for view, state in zip(views, states, strict=True)
    ]
    return in_columns(rows)


def _log_hint(run: Run) -> str:
    return f"%dataflow_status {name_of(run)} shows the end of its log"
