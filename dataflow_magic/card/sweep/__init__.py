"""The card of a sweep. `SWEEP_CARD` is how it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.look import Look
from dataflow_magic.card.sweep.html import sweep_html, sweep_line, sweep_text
from dataflow_magic.card.sweep.state import SweepState

if TYPE_CHECKING:
    from dataflow_magic.card.sweep.widgets import SweepWidgets

__all__ = ["ROWS_SECONDS", "SWEEP_CARD"]

ROWS_SECONDS: Final = 1.0
"""From one repaint of the rows to the next at least: they are most of what a card sends."""


def _widgets(state: SweepState, actions: Actions, on_click: Callable[[str], None]) -> SweepWidgets:
    # Late: only a process that shows a card pays for the import of ipywidgets.
    from dataflow_magic.card.sweep.widgets import SweepWidgets

    return SweepWidgets(state, actions, on_click)


SWEEP_CARD: Final[Look[SweepState]] = Look(sweep_html, sweep_text, sweep_line, _widgets, ROWS_SECONDS)
