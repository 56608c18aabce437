"""``%dataflow_wait``: its line becomes a `Wait`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dataflow_magic.cell.line import RUN_HELP, LineParser, minutes

__all__ = ["Wait", "add_options", "parse_wait", "parser"]


@dataclass(frozen=True, slots=True)
class Wait:
    """What to wait for.

    Parameters
    ----------
    runs
        As written; without any, every run of this kernel, also those of a sweep that are not sent yet.
    timeout
        Minutes to wait at most; None waits until the runs end.
    is_any
        Whether the first run that ends also ends the wait.
    """

    runs: tuple[str, ...] = ()
    timeout: float | None = None
    is_any: bool = False


def parse_wait(line: str, namespace: Mapping[str, Any]) -> Wait:
    """Read the line.

    Parameters
    ----------
    namespace
        The notebook's names, for words ``$name`` and ``{expression}``.

    Raises
    ------
    CellError
        Something in the line is wrong.
    HelpRequested
        The line asks for help.
    """
    options = parser().read(line, namespace)
    return Wait(tuple(options.runs), options.timeout, options.any)


def parser() -> LineParser:
    """Return the parser of the line."""
    parser = LineParser(
        "%dataflow_wait",
        "[RUN ...] [options]",
        "Wait until runs end, and fail the cell when one did not complete. An interrupt ends the wait and no run.",
    )
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="*",
        help=f"{RUN_HELP} (default: all runs of this kernel)",
    )
    add_options(parser)
    return parser


def add_options(parser: LineParser) -> None:
    """Add what ends a wait early."""
    add = parser.add_argument
    add("--timeout", type=minutes, metavar="MINUTES", help="stop waiting after this time; the runs continue")
    add("--any", action="store_true", help="wait for the first run that ends instead of all")
