"""What a sweep of a cell would start, before it is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dataflow_magic.cell.backfill import check_size, in_runs, worst_case
from dataflow_magic.cell.run import CellOptions, no_runs
from dataflow_magic.config.settings import Target
from dataflow_magic.session.session import Session

__all__ = ["planned"]


def planned(
    options: CellOptions, session: Session, target: Target, note: Callable[[str], None]
) -> CellOptions:
    """Return the options with the sweep that is to be started, and note what a user should know of it.

    Raises
    ------
    CellError
        It starts more than 100 runs, and the line does not say that so many are meant.
    DataflowError
        Which runs there were cannot be read.
    """
    assert options.sweep is not None  # noqa: S101 - the caller asks only then
    if not options.sweep.requests:
        note(no_runs(options.sweep))
        return options
    sweep, condition = session.planned(options.sweep, target, asks_service=options.asks_service)
    runs = len(sweep.order)
    if sweep.skipped:
        note(f"{runs:,} of {len(sweep.requests):,} runs are left to start; --reprocess all starts all")
    if options.dry_run:
        note(f"the sweep starts {in_runs(runs)}, {worst_case(runs, condition, sweep.plan.retry)}")
    else:
        check_size(runs, condition, sweep.plan.retry, is_meant=options.is_meant)
    return replace(options, sweep=sweep)
