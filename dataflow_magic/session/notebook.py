"""The notebook that this kernel runs, also after it was renamed. Knows no session."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path

__all__ = ["Notebook"]

MOST_LOOKED_AT = 10_000
"""Files of a folder among which a renamed notebook is looked for."""


class Notebook:
    """The notebook of this kernel. Any thread may call.

    Parameters
    ----------
    name
        What Jupyter gave the kernel at its start, a path; empty outside a notebook.
    renamed
        Called with the old and the new path once a rename is seen.

    Notes
    -----
    Jupyter gives a kernel no new name. A renamed file stays the same file of its disk, so it is found in its folder; one
    that was moved elsewhere keeps its last name here.
    """

    def __init__(self, name: str, renamed: Callable[[str, str], object] = lambda *_: None) -> None:
        self._name = name
        self._renamed = renamed
        self._file = _identity(Path(name)) if name else None
        self._lock = threading.Lock()
        self.old_paths: frozenset[str] = frozenset()
        """What the notebook was called before, as rows of its live runs still say."""

    @property
    def path(self) -> str:
        """The path of the notebook now, as far as it is known; empty where there is none."""
        with self._lock:
            if self._file is None:
                return self._name
            path = Path(self._name)
            if (file := _identity(path)) is not None:
                self._file = file  # an editor may save a notebook as a new file of the same name
                return self._name
            if (found := _same_file(path.parent, self._file)) is not None:
                before, self._name = self._name, str(found)
                self.old_paths = (self.old_paths | {before}) - {self._name}
                self._renamed(before, self._name)
            return self._name


def _same_file(folder: Path, file: tuple[int, int]) -> Path | None:
    try:
        for path in islice(folder.iterdir(), MOST_LOOKED_AT):
            if path.suffix == ".ipynb" and _identity(path) == file:
                return path
    except OSError:
        pass
    return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
