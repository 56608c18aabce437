"""Waits for runs in a cell: an interrupt detaches and cancels nothing; a run that did not complete fails the cell."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from dataflow_magic import errors
from dataflow_magic.card.run.html import to_rows
from dataflow_magic.cell.wait import Wait
from dataflow_magic.models.view import KST
from dataflow_magic.models.wire import RunState
from dataflow_magic.session.detached import Detached, sweep_way_back, way_back
from dataflow_magic.session.naming import Handle, name_of, runs_of
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.session import Session
from dataflow_magic.session.sweep.handle import Sweep

__all__ = ["wait_for_run", "wait_for_runs"]

MOST_FAILED = 10
"""Runs that the error of a wait names."""


def wait_for_run(run: Handle, minutes: float | None, log_hint: str = "", *, silent: bool = False) -> None:
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
            f"stopped waiting; {sweep_way_back(run.key) if isinstance(run, Sweep) else way_back([name_of(run)])}"
        ) from None
    if isinstance(run, Sweep):
        if not run.is_completed:
            raise run.failure()
    elif run.status != RunState.COMPLETED:
        raise run.failed(log_hint or _log_hint(run))


def wait_for_runs(session: Session, wait: Wait, variables: Mapping[str, object]) -> None:
    """Wait for the runs that a line of ``%dataflow_wait`` names: for one with its card, for several with a table.

    Parameters
    ----------
    variables
        The notebook's names.

    Raises
    ------
    Detached
        The user interrupted the wait.
    RunFailed, WaitTimeout
        A run did not complete, or is still active.
    """
    named = [session.find(run, variables) for run in wait.runs]
    handles = list(dict.fromkeys(named)) or [handle for handle in session.handles if not handle.is_over]
    if not handles:
        print(session.words.sentence("No run of this kernel is active."))  # noqa: T201
        return
    if len(handles) == 1:
        wait_for_run(handles[0], wait.timeout)
        return
    number = sum(handle.total if isinstance(handle, Sweep) else 1 for handle in handles)
    said = f"Waiting for {number} runs. Interrupt the kernel to stop waiting; the runs continue."
    print(session.words.sentence(said))  # noqa: T201
    try:
        session.wait_for(handles, None if wait.timeout is None else 60 * wait.timeout, is_any=wait.is_any)
    except KeyboardInterrupt:
        active = [name_of(handle) for handle in handles if not handle.is_over]
        raise Detached(f"stopped waiting; {way_back(active) if active else 'all runs have ended'}") from None
    runs = runs_of(handles)
    print(to_rows([run.view for run in runs], datetime.now(KST), session.words))  # noqa: T201
    _check(handles, runs, wait)


def _check(handles: list[Handle], runs: list[LiveRun], wait: Wait) -> None:
    failed = [run for run in runs if run.is_over and run.status != RunState.COMPLETED]
    if failed:
        states = ", ".join(f"{name_of(run)} {run.status}" for run in failed[:MOST_FAILED])
        more = ", ..." if len(failed) > MOST_FAILED else ""
        raise errors.RunFailed(
            f"{len(failed)} of {len(runs)} runs did not complete: {states}{more}; {_log_hint(failed[0])}",
            run=failed[0].handle,
        )
    for handle in handles:
        if isinstance(handle, Sweep) and handle.is_over and not handle.is_completed:
            raise handle.failure()  # some of its runs were not sent
    active = [handle for handle in handles if not handle.is_over]
    if active and not (wait.is_any and len(active) < len(handles)):
        raise errors.WaitTimeout(
            f"the wait timed out after {wait.timeout:g} min; {way_back(list(map(name_of, active)))}",
            run=active[0] if isinstance(active[0], Sweep) else active[0].handle,
        )


def _log_hint(run: LiveRun) -> str:
    return f"%dataflow_status {name_of(run)} shows the end of its log"
