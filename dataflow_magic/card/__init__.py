"""The card of one run: a pure description of it, and its HTML and plain text. The widget is imported by who needs it."""

from __future__ import annotations

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.html import to_html, to_text
from dataflow_magic.card.state import Bar, CardState, Kind, card_state, tick_seconds
from dataflow_magic.card.words import ENGLISH, Words, words_of
from dataflow_magic.card.write import Row

__all__ = [
    "ENGLISH",
    "Actions",
    "Bar",
    "CardState",
    "Kind",
    "Row",
    "Words",
    "card_state",
    "tick_seconds",
    "to_html",
    "to_text",
    "words_of",
]
