"""Prints the log of a run, once or until the run ends."""

from __future__ import annotations

from dataflow_magic.cli.terminal import Terminal
from dataflow_magic.models.text import log_lines, printable, without_colours
from dataflow_magic.session.logs.follow import LogOptions
from dataflow_magic.session.naming import name_of
from dataflow_magic.session.run import LiveRun

__all__ = ["print_log"]

FIRST_LINES = 1_000
"""Lines that a log which is followed begins with, unless the line says how many."""


def print_log(run: LiveRun, terminal: Terminal, options: LogOptions, *, stderr: bool = False) -> None:
    """Print the end of a run's log, or the lines that the options ask for as they come.

    Raises
    ------
    Detached
        The user interrupted it; the run continues.
    DataflowError
        The log cannot be read.
    """
    is_plain = options == LogOptions() and not stderr
    if is_plain and (lines := log_lines(run.logs())):
        terminal.quote(printable(without_colours("\n".join(lines))))
        return
    is_empty = True
    for batch in run.log_lines(options, "stderr" if stderr else "console", terminal.say).batches():
        terminal.quote(printable("\n".join(batch)))
        is_empty = False
    if is_empty:
        name = name_of(run)
        terminal.say(
            f"no line of the log of run {name} matches" if options.grep else f"run {name} has printed nothing"
        )
