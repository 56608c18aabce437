"""The stages of a run, for ``%dataflow_stages``: drawn, and bound to a name. Reads no service itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataflow_magic.errors import CellError
from dataflow_magic.session.naming import bind, name_of
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.stages import StagesView, frame_of
from dataflow_magic.session.sweep.handle import Sweep

__all__ = ["show_stages"]


def show_stages(handle: LiveRun | Sweep, shell: Any, out: str | None, language: Callable[[], str]) -> None:
    """Show a run's stages below the running cell, and keep them up to date there.

    Parameters
    ----------
    out
        The name to bind the stages as a DataFrame to.

    Raises
    ------
    CellError
        ``handle`` is a sweep.
    DataflowError
        The event log cannot be read, or the run is over and has none.
    """
    if isinstance(handle, Sweep):
        ids = ", ".join(run.id or run.key for run in handle.runs[:5])
        raise CellError(
            f"{name_of(handle)} is a sweep, which has no stages of its own; name one of its runs: {ids}"
        )
    stages = handle.stages
    report = stages.submit(stages.read()).result()
    if out:
        bind(shell.user_ns, out, frame_of(report))
    StagesView(stages, report, language, shell).show()
