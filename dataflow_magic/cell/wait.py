"""``%dataflow_wait``: its line becomes a `Wait`. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow_magic.cell.line import LineParser, minutes

__all__ = ["Wait", "parse_wait", "parser"]


@dataclass(frozen=True, slots=True)
class Wait:
    """What to wait for.

    Parameters
    ----------
    runs
        As written; without any, all active runs of this kernel.
    timeout
        Minutes to wait at most; None waits until the runs end.
    is_any
        Whether the first run that ends also ends the wait.
    """

    runs: tuple[str, ...] = ()
    timeout: float | None = None
    is_any: bool = False


def parse_wait(line: str) -> Wait:
    """Read the line.

    Raises
    ------
    CellError
        Something in the line is wrong.
    HelpRequested
        The line asks for help.
    """
    options = parser().read(line)
    return Wait(tuple(options.runs), options.timeout, options.any)


def parser() -> LineParser:
    """Return the parser of the line."""
    parser = LineParser(
        "%dataflow_wait",
        "[RUN ...] [options]",
        "Wait until runs end, and fail the cell when one did not complete. An interrupt ends the wait and no run.",
    )
    add = parser.add_argument
    add(
        "runs",
        metavar="RUN",
        nargs="*",
        help="run id or its beginning, key, or @last (default: all active runs of this kernel)",
    )
    add("--timeout", type=minutes, metavar="MINUTES", help="stop waiting after this time; the runs continue")
    add("--any", action="store_true", help="wait for the first run that ends instead of all")
    return parser
