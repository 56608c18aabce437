"""What ``%dataflow_wait`` asks for, and what it tells when the wait is over. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dataflow_magic.card.run.state import card_state
from dataflow_magic.cell.run import LineParser, minutes
from dataflow_magic.errors import CellError
from dataflow_magic.models.view import RunView

__all__ = ["Wait", "in_rows", "parse_wait", "wait_help", "wait_option_strings", "way_back"]

MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Wait:
    """What to wait for.

    Parameters
    ----------
    runs
        As written; none are all live runs of this kernel.
    timeout
        Minutes to wait at most; None waits as long as the runs take.
    is_any
        Whether the first that is over ends the wait.
    """

    runs: tuple[str, ...] = ()
    timeout: float | None = None
    is_any: bool = False


def parse_wait(line: str) -> Wait | None:
    """Read the line of ``%dataflow_wait``; None when it asks for help.

    Raises
    ------
    CellError
        One line saying what is wrong.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise CellError(f"the line does not split: {error}") from None
    options = _parser().read(words)
    return None if options.help else Wait(tuple(options.runs), options.timeout, options.any)


def wait_help() -> str:
    """Return the help of ``%dataflow_wait``, made from the options themselves."""
    return _parser().format_help()


def wait_option_strings() -> list[str]:
    """Return every long option of ``%dataflow_wait``, in the order of its help."""
    return _parser().flags()


def in_rows(views: Sequence[RunView], now: datetime) -> str:
    """Return a line per run: its state, job, id, time, and why it did not complete."""
    states = [card_state(view, now) for view in views]
    rows = [
        (state.state, state.job, state.run_id or view.key, state.elapsed, state.reason or state.blind)
        for view, state in zip(views, states, strict=True)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)] + [0]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def way_back(names: Sequence[str]) -> str:
    """Return what to say when a wait is over and runs go on: that they do, and how to come back to them."""
    if len(names) == 1:
        return (
            f"run {names[0]} goes on: %dataflow_wait {names[0]} waits on, %dataflow_status {names[0]} shows it, "
            f"%dataflow_cancel {names[0]} ends it"
        )
    # The line alone waits for all that live; one that is too long to be read is not written.
    again = f" {' '.join(names)}" if len(names) <= MOST_NAMED else ""
    return f"{len(names)} runs go on: %dataflow_wait{again} waits on"


def _parser() -> LineParser:
    parser = LineParser(
        "%dataflow_wait",
        usage="%%dataflow_wait [RUN ...] [options]",
        description="Wait until runs are over, and fail the cell when one did not complete. Interrupting stops the waiting and "
        "never a run.",
    )
    add = parser.add_argument
    add(
        "runs",
        metavar="RUN",
        nargs="*",
        help="an id or its beginning, a key, or @last; without any, all live runs of this kernel",
    )
    add("--timeout", type=minutes, metavar="MINUTES", help="stop waiting after so long; the runs go on")
    add("--any", action="store_true", help="wait for the first that is over instead of all")
    add("--help", "-h", action="store_true", help="show this")
    return parser
