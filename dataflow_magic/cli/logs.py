"""Prints the log of a run, once or until the run ends, or writes it to a file."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dataflow_magic.cli.terminal import Terminal
from dataflow_magic.models.text import printable
from dataflow_magic.session.logs.follow import LogOptions
from dataflow_magic.session.logs.output import save_lines, unbounded
from dataflow_magic.session.logs.run_log import LOG_BYTES
from dataflow_magic.session.logs.search import Stream
from dataflow_magic.session.naming import name_of
from dataflow_magic.session.run import LiveRun

__all__ = ["first_lines", "print_log", "save_log"]

FIRST_LINES: Final = 1_000
"""Lines that a log which is followed begins with, unless the line says how many."""


def first_lines(options: LogOptions) -> LogOptions:
    """Return options with the bounds of a terminal, unless they say which lines to begin with."""
    if options.tail is not None or options.grep is not None:
        return options
    if options.follow:
        return replace(options, tail=FIRST_LINES)
    return replace(options, most=LOG_BYTES, rest="--all prints the whole log")


def print_log(run: LiveRun, terminal: Terminal, options: LogOptions, stream: Stream = "console") -> None:
    """Print the lines of a run's log that the options ask for, as they come.

    Raises
    ------
    Detached
        The user interrupted it; the run continues.
    DataflowError
        The log cannot be read.
    """
    is_empty = True
    for batch in run.log_lines(options, stream, terminal.say).batches():
        terminal.quote(printable("\n".join(batch)))
        is_empty = False
    if is_empty:
        name = name_of(run)
        terminal.say(
            f"no line of the log of run {name} matches" if options.grep else f"run {name} has printed nothing"
        )


def save_log(
    run: LiveRun, terminal: Terminal, options: LogOptions, file: str, stream: Stream = "console"
) -> None:
    """Write the lines of a run's log that the options ask for to a new file.

    Raises
    ------
    CellError
        The file exists, or cannot be written.
    Detached, DataflowError
        As `print_log`.
    """
    lines = run.log_lines(unbounded(options), stream, terminal.say)
    path = save_lines(lines, file, grows=options.follow)
    terminal.say(f"the log of run {name_of(run)} is in {path}")
