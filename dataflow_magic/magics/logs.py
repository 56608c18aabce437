"""The log of a run, for ``%dataflow_logs``: printed, or saved to a new file. Reads no service itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from dataflow_magic.errors import CellError
from dataflow_magic.models.text import printable
from dataflow_magic.session.logs.follow import LogOptions
from dataflow_magic.session.logs.output import save_lines, unbounded
from dataflow_magic.session.logs.search import Stream
from dataflow_magic.session.naming import name_of
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.sweep.handle import Sweep

__all__ = ["LogRequest", "show_log"]

FIRST_LINES: Final = 50
"""Lines that are printed, unless the line says how many."""
MOST_PRINTED: Final = 1 << 20
"""Bytes that a cell prints of what is there: a Jupyter server drops output of more than 3 MB in 3 s, and a notebook keeps it."""
REST: Final = "with --save FILE they are written to a file"


@dataclass(frozen=True, slots=True)
class LogRequest:
    """What a line asks for.

    Parameters
    ----------
    lines
        Which lines of the log.
    whole
        Print all of them, and not only the last ones.
    stream
        Which log.
    file
        The file to write instead of printing; one that is there is never overwritten.
    """

    lines: LogOptions = field(default_factory=LogOptions)
    whole: bool = False
    stream: Stream = "console"
    file: str | None = None

    @property
    def printed(self) -> LogOptions:
        """The lines within the bounds of a cell."""
        tail = FIRST_LINES if self.lines.tail is None and not self.whole else self.lines.tail
        return replace(self.lines, tail=tail, most=MOST_PRINTED, rest=REST)


def show_log(handle: LiveRun | Sweep, asked: LogRequest, say: Callable[[str], None]) -> None:
    """Print a run's log, or write it to a new file.

    Parameters
    ----------
    say
        Prints a message in the user's language.

    Raises
    ------
    CellError
        ``handle`` is a sweep, or the file is there or cannot be written.
    DataflowError
        The log cannot be read.
    Detached
        The user interrupted it; the run continues.
    """
    name = name_of(handle)
    if isinstance(handle, Sweep):
        ids = ", ".join(run.id or run.key for run in handle.runs[:5])
        raise CellError(f"{name} is a sweep, which has no log of its own; name one of its runs: {ids}")
    if asked.file is not None:
        lines = handle.log_lines(unbounded(asked.lines), asked.stream, say)
        path = save_lines(lines, asked.file, grows=asked.lines.follow)
        say(f"the log of run {name} is in {path}")
        return
    is_empty = True
    for batch in handle.log_lines(asked.printed, asked.stream, say).batches():
        print(printable("\n".join(batch)), flush=True)  # noqa: T201
        is_empty = False
    if is_empty:
        say(
            f"no line of the log of run {name} matches"
            if asked.lines.grep
            else f"the log of run {name} is empty"
        )
