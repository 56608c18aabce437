"""The card of one run: a pure description of it, and its HTML and plain text. The widget is imported by who needs it."""

from __future__ import annotations

from dataflow_magic.card.html import to_html, to_text
from dataflow_magic.card.state import CardState, Kind, Row, card_state, tick_seconds

__all__ = ["CardState", "Kind", "Row", "card_state", "tick_seconds", "to_html", "to_text"]
