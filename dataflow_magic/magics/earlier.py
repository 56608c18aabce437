"""What earlier executions of a cell have started and still lives. Knows no magic and starts nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from dataflow_magic.session.naming import Handle, name_of
from dataflow_magic.session.sweep.handle import Sweep

__all__ = ["Earlier"]


class _Start(NamedTuple):
    cell: str
    execution: str
    key: str


class Earlier:
    """The runs and sweeps that cells of this kernel started, by their keys, as long as they live.

    A front end such as JupyterLab sends the id of the cell with each execution; where it sends none, nothing is known.
    """

    def __init__(self) -> None:
        self._starts: list[_Start] = []

    def note(self, shell: Any, handles: Iterable[Handle]) -> str:
        """Return what earlier executions of the running cell started and still lives; empty for nothing.

        Parameters
        ----------
        handles
            What this process follows.
        """
        active = {handle.key: handle for handle in handles if not handle.is_over}
        self._starts = [start for start in self._starts if start.key in active]
        cell, execution = _running(shell)
        found = [
            active[start.key] for start in self._starts if start.cell == cell and start.execution != execution
        ]
        if len(found) > 1:
            return (
                f"this cell has started {len(found)} runs and sweeps that continue; %dataflow_runs lists them"
            )
        if not found:
            return ""
        name = name_of(found[0])
        started = (
            f"this cell has started sweep {name}, which continues"
            if isinstance(found[0], Sweep)
            else f"this cell has started run {name}, which continues"
        )
        return f"{started}; %dataflow_cancel {name} cancels it"

    def add(self, shell: Any, handle: Handle) -> None:
        """Remember what the running cell has started."""
        cell, execution = _running(shell)
        if cell:
            self._starts.append(_Start(cell, execution, handle.key))


def _running(shell: Any) -> tuple[str, str]:
    """Return the ids of the cell that runs and of its execution; empty where the front end does not send them."""
    try:
        parent = shell.get_parent()
        return str(parent["metadata"].get("cellId") or ""), str(parent["header"]["msg_id"])
    except (AttributeError, KeyError, TypeError):  # a terminal, or a front end with other messages
        return "", ""
