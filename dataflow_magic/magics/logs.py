"""The log of a run, for ``%dataflow_logs``: printed, or saved to a new file. Reads no service itself."""

from __future__ import annotations

from pathlib import Path

from dataflow_magic.errors import CellError
from dataflow_magic.models.text import log_lines
from dataflow_magic.session.naming import name_of
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.sweep.handle import Sweep

__all__ = ["show_log"]


def show_log(handle: LiveRun | Sweep, lines: int | None, file: str | None) -> None:
    """Print the end of a run's log, or write all that is read of it to a new file.

    Parameters
    ----------
    lines
        Lines to print at most; None prints all that `Run.logs` returns.
    file
        The file to write instead; one that is there is never overwritten.

    Raises
    ------
    CellError
        ``handle`` is a sweep, or the file is there or cannot be written.
    """
    name = name_of(handle)
    if isinstance(handle, Sweep):
        ids = ", ".join(run.id or run.key for run in handle.runs[:5])
        raise CellError(f"{name} is a sweep, which has no log of its own; name one of its runs: {ids}")
    text = handle.logs()
    if file is not None:
        path = Path(file).expanduser()
        try:
            with path.open("x", encoding="utf-8") as new:
                new.write(text)
        except FileExistsError:
            raise CellError(f"the file {file!r} exists; name a new one") from None
        except OSError as error:
            raise CellError(
                f"the log was not written to {file!r}: {error.strerror}; name another file"
            ) from None
        print(f"the log of run {name} is in {path}")  # noqa: T201
        return
    shown = log_lines(text)
    print("\n".join(shown if lines is None else shown[-lines:]) or f"the log of run {name} is empty")  # noqa: T201
