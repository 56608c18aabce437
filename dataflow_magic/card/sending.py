"""How cards reach the page: sets traits of widgets, and sends later what could not be sent just then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ipywidgets import Widget

__all__ = ["Display", "Sending", "bundle_of", "close"]

Display = Callable[..., object]
"""`IPython.display.display`; called with the bundle and the keywords raw, metadata, display_id and update."""


class Sending:
    """Sets traits of widgets; one that keeps its value sends nothing.

    ipykernel 7.0.1 cannot send outside a cell's context: the trait is set then, and sent by the next `_resend`.
    """

    def __init__(self) -> None:
        self._unsent: set[Widget] = set()

    def _set(self, widget: Widget, trait: str, value: object) -> None:
        self._send(widget, lambda: setattr(widget, trait, value))

    def _resend(self) -> None:
        for widget in tuple(self._unsent):
            self._send(widget, widget.send_state)

    def _send(self, widget: Widget, send: Callable[[], object]) -> None:
        self._unsent.discard(widget)
        try:
            send()
        except LookupError:
            self._unsent.add(widget)


def bundle_of(widget: Widget) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a widget's mimebundle and its metadata."""
    made = widget._repr_mimebundle_()  # IPython's own protocol
    return made if isinstance(made, tuple) else (made, {})


def close(*widgets: Widget) -> None:
    """Take widgets out of the kernel and the browser."""
    for widget in widgets:
        with suppress(LookupError):  # as in Sending
            widget.close()
