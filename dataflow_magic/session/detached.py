"""The interrupt of a wait: one line, which names what continues and how to come back to it. Knows no live run."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["SWEEP_WAY_BACK", "Detached", "way_back"]

MOST_NAMED = 10
"""A line with more names would not be read."""
SWEEP_WAY_BACK = (
    "the sweep continues: %dataflow_wait waits for its runs, %dataflow_runs lists them, "
    ".cancel() of the sweep cancels them"
)


class Detached(KeyboardInterrupt):
    """The user interrupted a wait; the runs continue. IPython shows only the message."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def way_back(names: Sequence[str]) -> str:
    """Return that these runs continue after a wait, and the magics that come back to them."""
    if len(names) == 1:
        return (
            f"run {names[0]} continues: %dataflow_wait {names[0]} waits again, %dataflow_status {names[0]} shows it, "
            f"%dataflow_cancel {names[0]} cancels it"
        )
    # Without names the magic waits for all active runs.
    again = f" {' '.join(names)}" if len(names) <= MOST_NAMED else ""
    return f"{len(names)} runs continue: %dataflow_wait{again} waits again"
