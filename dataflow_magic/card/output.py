"""How cards reach the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ipywidgets import Widget

__all__ = ["Display", "bundle_of", "close"]

Display = Callable[..., object]
"""`IPython.display.display`; called with the bundle and the keywords raw, metadata, display_id and update."""


def bundle_of(widget: Widget) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a widget's mimebundle and its metadata."""
    made = widget._repr_mimebundle_()  # IPython's own protocol
    return made if isinstance(made, tuple) else (made, {})


def close(*widgets: Widget) -> None:
    """Take widgets out of the kernel and the browser."""
    for widget in widgets:
        widget.close()
