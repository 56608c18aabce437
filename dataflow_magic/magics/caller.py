"""The names that a cell's expressions see. Knows no magic."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

__all__ = ["names_of_caller"]

CALLS = frozenset({"run_cell_magic", "run_line_magic"})
"""What IPython turns ``%%magic`` and ``%magic`` into, and what code calls by ``get_ipython()``."""
COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>"})


def names_of_caller(shell: Any) -> dict[str, Any]:
    """Return the names that the code which calls the running magic sees, over those of the notebook.

    That code may be a cell, a function of the notebook or a function of a module. IPython hands a cell magic the names of
    the notebook only, so that a function's own ``day`` would lose against a global ``day`` in silence. As for ``eval``, a
    name of an enclosing function counts only if the calling function uses it itself.
    """
    names = dict(shell.user_ns)
    frame = _caller(shell)
    if frame is None or frame.f_locals is shell.user_ns:
        return names
    if frame.f_globals is not shell.user_ns:
        names |= frame.f_globals
    inner = [frame]
    while (
        frame.f_code.co_name in COMPREHENSIONS and frame.f_back is not None
    ):  # of their own before Python 3.12
        frame = frame.f_back
        inner.append(frame)
    for each in reversed(inner):
        names |= each.f_locals
    return names


def _caller(shell: Any) -> FrameType | None:
    """Return the frame of the code outside IPython that calls the magic of this shell which runs now."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - documented; inspect.currentframe has no depth
    while frame is not None and not (frame.f_code.co_name in CALLS and frame.f_locals.get("self") is shell):
        frame = frame.f_back
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("IPython."):
        frame = frame.f_back
    return frame
