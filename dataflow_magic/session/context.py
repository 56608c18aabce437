"""The context that tasks run in: it belongs to no cell, and what they show can be published from it."""

from __future__ import annotations

import sys
from contextvars import Context
from typing import Any

__all__ = ["new_context"]


def new_context() -> Context:
    """Return an empty context in which a kernel can publish.

    Notes
    -----
    A copy of the cell's would have output filed under that cell, and dropped once the cell is done. In an empty one
    ipykernel 7.0.1 alone cannot publish: it looks there for the request that is answered, and raises `LookupError`. An
    empty request stands in for it.
    Source: ``ipykernel/kernelbase.py`` and ``zmqshell.py`` of 6.31, 7.0.1, 7.1 and 7.4.
    """
    context = Context()
    kernel = _kernel()
    if hasattr(kernel, "get_parent"):  # which other kernels than ipykernel may not have
        context.run(_give_parent, kernel)
    return context


def _kernel() -> Any:
    # Not imported for this: whoever uses runs without a notebook need not load IPython.
    ipython = sys.modules.get("IPython")
    return getattr(ipython.get_ipython(), "kernel", None) if ipython else None


def _give_parent(kernel: Any) -> None:
    try:
        kernel.get_parent()
    except LookupError:
        from ipykernel.kernelbase import Kernel

        # Not the kernel's own, which has standard output follow on every thread.
        set_parent: Any = Kernel.set_parent  # not typed
        set_parent(kernel, [], {}, "shell")
        kernel.shell.display_pub.set_parent({})
