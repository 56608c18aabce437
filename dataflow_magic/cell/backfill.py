"""The options of a sweep: how many runs at once, in which order, which to start again and which to leave out. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import Any, Final, cast, get_args

from dataflow_magic.cell.block import parse_mapping
from dataflow_magic.cell.line import whole_number
from dataflow_magic.cell.sweep import MOST_RUNS, column_values, sweep_rows
from dataflow_magic.errors import CellError
from dataflow_magic.models.request import Reprocess, SweepPlan
from dataflow_magic.models.secret import Parameter
from dataflow_magic.models.wire import JobCondition

__all__ = [
    "MOST_UNASKED",
    "OPTIONS",
    "add_sweep",
    "check_size",
    "grid_rows",
    "in_runs",
    "make_plan",
    "plan_of",
    "worst_case",
]

MOST_UNASKED: Final = 100
"""The most runs that a sweep starts without ``--yes``."""
ORDERS: Final = ("block", "reverse")
OPTIONS: Final = ("max_parallel", "order", "stop_on_failure", "retry", "reprocess", "remote", "yes")


def add_sweep(add: Callable[..., Any], *, is_new_script: bool = False) -> None:
    """Add the options of a sweep, with the ``add_argument`` of a parser or of a group.

    Parameters
    ----------
    is_new_script
        Whether the runs have a script that no earlier run had, so that none makes another unnecessary.
    """
    add(
        "--max-parallel",
        type=_positive,
        metavar="N",
        help="at most N runs alive at once (default: the service's limit)",
    )
    add("--order", type=_one_of(ORDERS), metavar="ORDER", help="block (default), or reverse: the last first")
    add(
        "--stop-on-failure",
        type=_positive,
        nargs="?",
        const=1,
        metavar="N",
        help="start no more once N runs have failed (default: 1)",
    )
    add(
        "--retry",
        type=_positive,
        metavar="N",
        help="start a run that failed again, N times, with growing rests",
    )
    add("--yes", action="store_true", help=f"start more than {MOST_UNASKED} runs")
    if is_new_script:
        return
    add(
        "--reprocess",
        type=_one_of(get_args(Reprocess)),
        metavar="WHICH",
        help="compare with earlier runs of the same job, script and parameters: none leaves out what completed or is "
        "alive, failed starts only what failed and never completed, all (default) starts everything",
    )
    add("--remote", action="store_true", help="with --reprocess, also ask the service which runs there were")


def plan_of(options: argparse.Namespace, *, is_sweep: bool) -> SweepPlan:
    """Return how the options of `add_sweep` start a sweep.

    Raises
    ------
    CellError
        The line has one of them, and the block makes no sweep.
    """
    given = [f"--{name.replace('_', '-')}" for name in OPTIONS if getattr(options, name, None)]
    if given and not is_sweep:
        raise CellError(
            f"{', '.join(given)}: this is for a sweep, and the block makes one run; name = each(...) makes a sweep",
            line=1,
        )
    which: Reprocess = getattr(options, "reprocess", None) or "all"
    if getattr(options, "remote", False) and which == "all":
        raise CellError(
            "--remote asks which runs there were, for --reprocess none or failed; add one of them", line=1
        )
    return SweepPlan(
        max_parallel=options.max_parallel,
        reverse=options.order == "reverse",
        stop_on_failure=options.stop_on_failure,
        retry=options.retry or 0,
        reprocess=which,
    )


def make_plan(
    *, max_parallel: int | None, order: str, stop_on_failure: int | bool | None, retry: int, reprocess: str
) -> SweepPlan:
    """Return the same from values of Python.

    Raises
    ------
    CellError
        A value is none that the option takes.
    """
    for name, number in (("max_parallel", max_parallel), ("stop_on_failure", stop_on_failure or None)):
        if number is not None and (not hasattr(number, "__index__") or number < 1):
            raise CellError(f"{name}={number!r} is no number of runs; give 1 or more")
    if type(retry) is not int or retry < 0:
        raise CellError(f"retry={retry!r} is no number of tries; give 0 or more")
    for name, value, known in (("order", order, ORDERS), ("reprocess", reprocess, get_args(Reprocess))):
        if value not in known:
            raise CellError(f"{name}={value!r} is none of {', '.join(known)}")
    return SweepPlan(
        max_parallel=max_parallel,
        reverse=order == "reverse",
        stop_on_failure=int(stop_on_failure) if stop_on_failure else None,
        retry=retry,
        reprocess=cast(Reprocess, reprocess),
    )


def check_size(runs: int, condition: JobCondition, retry: int = 0, *, is_meant: bool) -> None:
    """Refuse to start more than 100 runs that the user has not said are meant.

    Raises
    ------
    CellError
        With the number and the worst case.
    """
    if runs > MOST_UNASKED and not is_meant:
        raise CellError(
            f"the sweep starts {runs:,} runs, {worst_case(runs, condition, retry)}; --dry-run lists them, --yes starts them"
        )


def worst_case(runs: int, condition: JobCondition, retry: int = 0) -> str:
    """Return what so many runs cost at most, in words: runs times tries times workers times minutes until the timeout.

    Parameters
    ----------
    retry
        How often each is started again where it fails.
    """
    workers, minutes = condition.num_worker, condition.timeout
    tries = retry + 1
    if workers is None or not minutes:
        if retry:
            return f"each with the job's workers until its timeout, up to {tries} times"
        return "each with the job's workers until its timeout"
    total = runs * tries * workers * minutes
    if retry:
        return f"at most {total:,} worker-minutes ({in_runs(runs)} x {tries} tries x {workers} workers x {minutes} min)"
    return f"at most {total:,} worker-minutes ({in_runs(runs)} x {workers} workers x {minutes} min)"


def in_runs(number: int) -> str:
    """Return a number of runs in words."""
    return "1 run" if number == 1 else f"{number:,} runs"


def listed(text: str) -> list[str]:
    r"""Return the values that a word of a command line gives a parameter.

    ``2026-11-01..2026-11-30`` are days and ``1..12`` whole numbers, both with their last; else commas part values, and
    ``\,`` is a comma of a value.

    Raises
    ------
    CellError
        The range ends before it begins, or has more than 1,000 values.
    """
    begin, dots, end = text.partition("..")
    for read in (int, date.fromisoformat) if dots else ():
        try:
            first, last = read(begin), read(end)
        except ValueError:
            continue
        return _span(text, first, last)
    return [part.replace("\0", ",") for part in text.replace("\\,", "\0").split(",")]


def _span(text: str, first: Any, last: Any) -> list[str]:
    step = timedelta(days=1) if isinstance(first, date) else 1
    steps = last - first
    count = (steps.days if isinstance(steps, timedelta) else steps) + 1
    if count < 1:
        raise CellError(f"the range {text} ends before it begins")
    if count > MOST_RUNS:
        raise CellError(f"the range {text} has {count:,} values, and a sweep has at most {MOST_RUNS:,} runs")
    return [str(first + number * step) for number in range(count)]


def grid_rows(grid: Any) -> tuple[tuple[str, ...], list[dict[str, Parameter]]]:
    """Return the names that differ between the runs of a grid, with their ``$``, and the parameters of each run.

    Parameters
    ----------
    grid
        Name -> value, where a list or any other iterable that is no text has one run per item, and several make every
        combination; or a DataFrame or a list of mappings, with one run per row.

    Raises
    ------
    CellError
        A value cannot be sent, or there are more than 1,000 runs.
    """
    swept, rows = _product(grid) if isinstance(grid, Mapping) else _of_table(grid)
    if len(rows) > MOST_RUNS:
        raise CellError(f"the grid makes more than {MOST_RUNS:,} runs, the limit of a sweep; split it")
    return tuple(f"${name.removeprefix('$')}" for name in swept), [parse_mapping(row) for row in rows]


def _product(grid: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = [{}]
    swept = []
    for name, value in grid.items():
        try:
            values = column_values(value)
        except ValueError as error:
            raise CellError(f"{name} {error}") from None
        if hasattr(value, "__iter__") and not isinstance(value, str | bytes):
            swept.append(str(name))
        if len(rows) * len(values) > MOST_RUNS:
            return swept, [{}] * (MOST_RUNS + 1)
        rows = [{**row, name: each} for row in rows for each in values]
    return swept, rows


def _of_table(table: Any) -> tuple[list[str], list[dict[str, Any]]]:
    first: Any = next(iter(table), {}) if isinstance(table, list) else {}
    names = [str(name) for name in (table.columns if hasattr(table, "columns") else first)]
    try:
        return names, [dict(zip(names, row, strict=True)) for row in sweep_rows("rows", [table], names)]
    except ValueError as error:
        raise CellError(f"the grid {error}") from None


def _positive(text: str) -> int:
    number = whole_number(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 1")
    return number


def _one_of(words: Iterable[str]) -> Callable[[str], str]:
    known = tuple(words)

    def read(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(known)}")
        return text

    return read
