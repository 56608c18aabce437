"""The states a run may go through, as one table. Everything that knows which change is allowed lives here."""

from __future__ import annotations

from types import MappingProxyType

from dataflow_magic.models.wire import RunState

__all__ = ["NEXT", "allowed_before"]

NEXT = MappingProxyType(
    {
        # A run may fail before it runs: no script, no Java.
        RunState.READY: frozenset({RunState.RUNNING, RunState.FAILED, RunState.CANCELED}),
        RunState.RUNNING: frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELED}),
        RunState.COMPLETED: frozenset(),
        RunState.FAILED: frozenset(),
        RunState.CANCELED: frozenset(),
    }
)


def allowed_before(state: RunState) -> list[RunState]:
    """Return the states from which a run may go to ``state``."""
    return [before for before, after in NEXT.items() if state in after]
