"""The card of one run. `RUN_CARD` is how it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.look import Look
from dataflow_magic.card.run.html import to_html, to_line, to_text
from dataflow_magic.card.run.state import CardState

if TYPE_CHECKING:
    from dataflow_magic.card.run.widgets import RunWidgets

__all__ = ["RUN_CARD"]


def _widgets(state: CardState, actions: Actions, on_click: Callable[[str], None]) -> RunWidgets:
    # Late: only a process that shows a card pays for the import of ipywidgets.
    from dataflow_magic.card.run.widgets import RunWidgets

    return RunWidgets(state, actions, on_click)


RUN_CARD: Final[Look[CardState]] = Look(to_html, to_text, to_line, _widgets)
