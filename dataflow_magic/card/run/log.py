"""The widgets of a log that grows: what a user selected, scrolled to or focused stays as it is."""

from __future__ import annotations

from typing import Any, Final

from ipywidgets import HTML, DOMWidget, VBox

from dataflow_magic.card.markup import scroll_handle
from dataflow_magic.card.run.html import lines_html
from dataflow_magic.models.log import GAP, LogTail

__all__ = ["LogPanel"]

PAGE: Final = 50
MOST_PAGES: Final = 4
"""Pages of a log that keep their text: 200 reads of 16 KiB at most."""


class LogPanel:
    """A box of a log's lines, to which each read adds one widget.

    The widgets before it stay: a page draws no part of a changed text or list again without losing what is selected in it.
    So the oldest lines go by pages, whose boxes stay, empty.

    Parameters
    ----------
    style
        The layout and the style that the card's widgets share.
    name
        The panel's name for screen readers.
    """

    def __init__(self, style: dict[str, Any], name: str) -> None:
        self._style = style
        self._layout = {"layout": style["layout"]}
        # Boxes take no focus, so the first widget in it does for the keyboard.
        self._handle = HTML(scroll_handle(name), **style).add_class("dfm-handle")
        self._lines = VBox((self._handle,), **self._layout)
        self.box = VBox((self._lines,), **self._layout).add_class("dfm-log")
        self._pages: list[VBox] = []
        self._shown = 0

    def paint(self, log: LogTail | None) -> None:
        """Add the lines that were read since the last call; forget all where the log is closed."""
        if log is None:
            pages, self._pages, self._shown = self._pages, [], 0
            self._lines.children = (self._handle,)
            self._empty(pages)
            for page in pages:
                page.close()
            return
        if log.total <= self._shown:
            return
        lines = log.since(self._shown)
        if log.first > self._shown:
            lines = (GAP, *lines)
        self._shown = log.total
        if not self._pages or len(self._pages[-1].children) == PAGE:
            self._pages.append(VBox(**self._layout))
            self._lines.children = (*self._lines.children, self._pages[-1])
            self._empty(self._pages[:-MOST_PAGES])
        page = self._pages[-1]
        page.children = (*page.children, HTML(lines_html(lines), **self._style))

    def close(self) -> None:
        """Remove all from the kernel and the browser."""
        self.paint(None)
        for widget in (self._handle, self._lines, self.box):
            widget.close()

    def _empty(self, pages: list[VBox]) -> None:
        for page in pages:
            widgets: tuple[DOMWidget, ...] = page.children
            page.children = ()
            for widget in widgets:
                widget.close()
