"""``dataflow-magic sweep``: starts a run per combination of values, or continues the sweep that the same command began."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import replace

from dataflow_magic import errors
from dataflow_magic.api import request_for
from dataflow_magic.card.sweep.html import sweep_text
from dataflow_magic.cell.backfill import check_size, grid_rows, in_runs, listed, plan_of, worst_case
from dataflow_magic.cell.line import CONDITION_FIELDS
from dataflow_magic.cli.shapes import run_shape
from dataflow_magic.cli.terminal import Terminal
from dataflow_magic.cli.values import read_parameters
from dataflow_magic.config.settings import Target
from dataflow_magic.ledger.record import record_of
from dataflow_magic.models.request import SweepRequest
from dataflow_magic.models.secret import Secret
from dataflow_magic.models.text import in_columns
from dataflow_magic.session.detached import Detached
from dataflow_magic.session.session import Session
from dataflow_magic.session.sweep.handle import Sweep

__all__ = ["begin", "follow", "print_sweep"]

TICK_SECONDS = 0.5
"""From one look at the states to the next."""


def begin(session: Session, terminal: Terminal, options: argparse.Namespace) -> Sweep | None:
    """Return the sweep that was started or is continued; None where it is only shown.

    Raises
    ------
    CellError
        No parameter has several values, or there are more than 100 runs that nobody said are meant.
    DataflowError
        As `Session.sweep`.
    """
    request, target = _request(session, options)
    if not options.dry_run and (found := session.unfinished(request, target)) is not None:
        if found.is_elsewhere:
            terminal.say(f"sweep {found.key} is driven by another process, which this one follows")
            return found
        found.resume()
        terminal.say(f"sweep {found.key} continues: {len(found.runs)} of {found.total} runs are started")
        return found
    planned, condition = session.planned(request, target, asks_service=options.remote)
    runs = len(planned.order)
    if options.dry_run:
        _print_plan(terminal, planned)
        terminal.say(f"the sweep starts {in_runs(runs)}, {worst_case(runs, condition, planned.plan.retry)}")
        return None
    check_size(runs, condition, planned.plan.retry, is_meant=options.yes)
    if target.source == "no credentials found":
        terminal.say("No credentials found: runs go to the local service on this machine.")
    if planned.skipped:
        terminal.say(
            f"{runs:,} of {len(planned.requests):,} runs are left to start; --reprocess all starts all"
        )
    return session.sweep(planned, target)


def follow(session: Session, terminal: Terminal, sweep: Sweep, minutes: float | None, *, waits: bool) -> None:
    """Return once every run is started, or with ``waits`` over; show how far they are.

    Raises
    ------
    WaitTimeout
        The minutes have passed.
    Detached
        The user interrupted it; started runs continue, and no more are started.
    """
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    shown = ""
    try:
        while not sweep.is_over and (waits or sweep.is_sending):
            counts = Counter(sweep.counts)
            line = f"{sweep.total - counts['UNSENT']}/{sweep.total} started  " + ", ".join(
                f"{number} {word}" for word, number in counts.items()
            )
            if terminal.has_cursor:
                terminal.draw(line)
            elif line != shown:
                terminal.say(line)
            shown = line
            left = TICK_SECONDS if deadline is None else min(TICK_SECONDS, deadline - time.monotonic())
            if left <= 0:
                raise errors.WaitTimeout(
                    f"the wait timed out after {minutes:g} min; the same command continues", run=sweep
                )
            session.wait_for([sweep], left)
    except KeyboardInterrupt:
        sweep.pause()
        raise Detached(
            f"interrupted; {sweep.counts.get('UNSENT', 0)} of {sweep.total} runs are not started; the same command continues"
        ) from None


def print_sweep(terminal: Terminal, sweep: Sweep, *, is_json: bool) -> None:
    """Print the runs of a sweep, or for programs its key, counts and runs."""
    if is_json:
        runs = [run_shape(record_of(run.view)) for run in sweep.live]
        terminal.json(
            {
                "key": sweep.key,
                "job": sweep.job,
                "counts": dict(sweep.counts),
                "error": sweep.error,
                "runs": runs,
            }
        )
    elif sweep.live:
        terminal.say(sweep_text(sweep.card_state()))


def _request(session: Session, options: argparse.Namespace) -> tuple[SweepRequest, Target]:
    given = read_parameters(options.given)
    grid = {name: value if isinstance(value, Secret) else listed(str(value)) for name, value in given.items()}
    swept = [name for name, values in grid.items() if isinstance(values, list) and len(values) > 1]
    if not swept:
        raise errors.CellError(
            "no parameter has several values; write day=2026-11-01..2026-11-30, n=1..12 or region=seoul,tokyo, or use "
            "dataflow-magic run"
        )
    _, rows = grid_rows(grid)
    names = [*CONDITION_FIELDS, "trigger_id", "workflow_id", "target", "profile", "marker", "force"]
    request, target = request_for(
        session, options.job, {}, **{name: getattr(options, name) for name in names}
    )
    requests = tuple(replace(request, parameters=each) for each in rows)
    plan = plan_of(options, is_sweep=True)
    return SweepRequest(tuple(f"${name}" for name in swept), requests, options.job or "", plan), target


def _print_plan(terminal: Terminal, request: SweepRequest) -> None:
    names = [name.removeprefix("$") for name in request.swept]
    rows = [
        [*(str(each.parameters[name]) for name in request.swept), "skip" if number in request.skipped else "start",
         request.skipped.get(number, "")]
        for number, each in enumerate(request.requests)
    ]  # fmt: skip
    terminal.result(in_columns([[*names, "action", "why"], *rows]))
