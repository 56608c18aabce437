"""The log of a run, for ``%dataflow_logs``: printed, or saved to a new file. Reads no service itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dataflow_magic.errors import CellError
from dataflow_magic.models.text import log_lines, printable
from dataflow_magic.session.logs.follow import LogOptions
from dataflow_magic.session.logs.search import Stream
from dataflow_magic.session.naming import name_of
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.sweep.handle import Sweep

__all__ = ["LogRequest", "show_log"]


@dataclass(frozen=True, slots=True)
class LogRequest:
    """What a line asks for.

    Parameters
    ----------
    lines
        Which lines of the log; those that are followed or searched are read as they come.
    stream
        Which log.
    file
        The file to write instead of printing; one that is there is never overwritten.
    """

    lines: LogOptions = field(default_factory=LogOptions)
    stream: Stream = "console"
    file: str | None = None

    @property
    def is_of_the_end(self) -> bool:
        """Whether the end of the console log, which `Run.logs` returns, has all of it."""
        return not self.lines.follow and self.lines.grep is None and self.stream == "console"


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
    Detached
        The user interrupted it; the run continues.
    """
    name = name_of(handle)
    if isinstance(handle, Sweep):
        ids = ", ".join(run.id or run.key for run in handle.runs[:5])
        raise CellError(f"{name} is a sweep, which has no log of its own; name one of its runs: {ids}")
    text = handle.logs() if asked.is_of_the_end else ""
    if asked.file is not None:
        with _new_file(asked.file) as write:
            write(text)
            for batch in () if asked.is_of_the_end else _batches(handle, asked, say):
                write("".join(f"{line}\n" for line in batch))
        say(f"the log of run {name} is in {Path(asked.file).expanduser()}")
        return
    if shown := log_lines(text)[-(asked.lines.tail or 0) :]:
        print("\n".join(shown))  # noqa: T201
        return
    is_empty = True
    for batch in _batches(handle, asked, say):
        print(printable("\n".join(batch)), flush=True)  # noqa: T201
        is_empty = False
    if is_empty:
        say(
            f"no line of the log of run {name} matches"
            if asked.lines.grep
            else f"the log of run {name} is empty"
        )


def _batches(run: LiveRun, asked: LogRequest, say: Callable[[str], None]) -> Iterator[list[str]]:
    return run.log_lines(asked.lines, asked.stream, say).batches()


@contextmanager
def _new_file(name: str) -> Iterator[Callable[[str], object]]:
    """Give what writes to a new file."""
    try:
        with Path(name).expanduser().open("x", encoding="utf-8", buffering=1) as new:
            yield new.write
    except FileExistsError:
        raise CellError(f"the file {name!r} exists; name a new one") from None
    except OSError as error:
        raise CellError(f"the log was not written to {name!r}: {error.strerror}; name another file") from None
