"""The stages of one run over time. `STAGES_CARD` is how they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.look import Look
from dataflow_magic.card.stages.html import to_html, to_line, to_text
from dataflow_magic.card.stages.state import StagesState

if TYPE_CHECKING:
    from dataflow_magic.card.widgets import Widgets

__all__ = ["STAGES_CARD"]


def _no_widgets(_: StagesState, __: Actions, ___: Callable[[str], None]) -> Widgets[StagesState]:
    raise NotImplementedError("the drawing of stages has no button, and needs no widget")


STAGES_CARD: Final[Look[StagesState]] = Look(to_html, to_text, to_line, _no_widgets)
