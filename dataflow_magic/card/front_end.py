"""What displays the output of the running kernel or process. Knows no card."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Any

__all__ = ["FrontEnd", "current_shell", "front_end", "is_headless", "is_script"]


class FrontEnd(StrEnum):
    """What displays the output."""

    WIDGETS = "widgets"
    STATIC = "static"
    TERMINAL = "terminal"


def front_end(shell: Any) -> FrontEnd:
    """Return what displays this shell's output.

    Parameters
    ----------
    shell
        The running IPython shell, or None outside IPython.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return FrontEnd.TERMINAL
    if is_headless(shell) or "google.colab" in sys.modules:
        # Headless kernels have no user to click. Colab ignores widget changes after a cell's end (colabtools#3373).
        return FrontEnd.STATIC
    return FrontEnd.WIDGETS


def is_headless(shell: Any) -> bool:
    """Whether nobody can answer: under nbclient, papermill and nbconvert, and in a script that ``ipython FILE`` runs."""
    kernel = getattr(shell, "kernel", None)
    return is_script(shell) or (kernel is not None and getattr(kernel, "_allow_stdin", True) is False)


def is_script(shell: Any) -> bool:
    """Whether the shell runs a script, as ``ipython FILE`` does, and will show no prompt."""
    application = getattr(shell, "parent", None)
    return getattr(shell, "kernel", None) is None and getattr(application, "interact", True) is False


def current_shell() -> Any:
    """Return the running IPython shell, None outside IPython."""
    # Late: a script that uses runs without a notebook need not load IPython.
    from IPython import get_ipython

    return get_ipython()
