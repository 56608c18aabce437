"""Lines of a log as one text or as a file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from dataflow_magic.errors import CellError
from dataflow_magic.files import new_file
from dataflow_magic.session.logs.follow import LogLines, LogOptions

__all__ = ["save_lines", "text_of", "unbounded"]

LONGEST: Final = 1 << 24
"""Characters of a line in a text or a file: a memory bound, far above what a script prints in one line."""


def text_of(lines: LogLines) -> str:
    """Return lines as a text."""
    return "".join(f"{line}\n" for batch in lines.batches() for line in batch)


def unbounded(options: LogOptions) -> LogOptions:
    """Return options of the same lines without the bounds that keep a screen readable."""
    return replace(options, most=None, longest=LONGEST)


def save_lines(lines: LogLines, file: str | os.PathLike[str], *, grows: bool = False) -> Path:
    """Write lines to a new file and return its path.

    Parameters
    ----------
    grows
        The file has each line once it is read. Otherwise it appears whole, or after an error or an interrupt not at all.

    Raises
    ------
    CellError
        The file exists, or cannot be written.
    DataflowError
        The log cannot be read.
    Detached
        The user interrupted it; the run continues.
    """
    name = os.fspath(file)
    path = Path(name).expanduser()
    try:
        with new_file(path, grows=grows) as new:
            for batch in lines.batches():
                new.write("".join(f"{line}\n" for line in batch))
                if grows:
                    new.flush()
    except FileExistsError:
        raise CellError(f"the file {name!r} exists; name a new one") from None
    except OSError as error:
        raise CellError(f"the log was not written to {name!r}: {error.strerror}; name another file") from None
    return path
