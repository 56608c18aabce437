"""What the widgets of both kinds of card share: core widgets, no JavaScript of ours, so a card works offline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, Generic

from ipywidgets import HTML, Button, DOMWidget, HBox, VBox, Widget

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.look import S
from dataflow_magic.card.markup import element
from dataflow_magic.card.words import Words

__all__ = ["Widgets"]

CANCEL: Final = "cancel"
CONFIRM: Final = "confirm"
KEEP: Final = "keep"

OFF: Final = "dfm-off"
"""The class of what is not seen now. It stays in the page, since a view that is made again would lose the keyboard's focus,
and it stays visible as long as it has that focus."""

TICKS_PER_REPEAT: Final = 10
"""A page that is reloading misses the changes of that moment, so changed widgets are sent again every tenth tick."""


class Widgets(ABC, Generic[S]):
    """The widgets of one card, and the state of their buttons.

    Cancel asks, and other buttons at another place answer: clicks on Cancel, however many and however late, cancel nothing.
    A button that was used stays enabled and ignores clicks, because a disabled one loses the keyboard's focus to the page.

    Parameters
    ----------
    on_click
        Called with the name of a clicked button.
    """

    def __init__(self, actions: Actions, on_click: Callable[[str], None]) -> None:
        self._actions = actions
        self._on_click = on_click
        self._last = HTML()
        # One layout and one style for all: each is a model of its own in the browser.
        self._shared: dict[str, Any] = {"layout": self._last.layout, "style": self._last.style}
        self._button_style: dict[str, Any] = {}
        self.box = VBox(layout=self._last.layout).add_class("dfm-card").add_class("dfm-live")
        self._head = HBox(layout=self._last.layout).add_class("dfm-head")
        self._buttons = HBox(layout=self._last.layout).add_class("dfm-buttons")
        self._others: list[Widget] = [self._head, self._buttons]
        self._question = self._text()
        self._confirm = self._button(CONFIRM, "dfm-button", button_style="danger")
        self._keep, self._cancel = (self._button(name, "dfm-button") for name in (KEEP, CANCEL))
        self._ask = HBox((self._question, self._confirm, self._keep), layout=self._last.layout)
        self._others.append(self._ask.add_class("dfm-buttons").add_class("dfm-ask"))
        self._is_asking = self._is_confirmed = False
        self._elapsed: str | None = None
        self._ticks = 0
        self._changed: set[Widget] = set()
        """Widgets that were set since the last repeat."""

    @abstractmethod
    def paint(self, state: S, *, whole: bool) -> None:
        """Show a state, all of it or the small parts only."""

    @abstractmethod
    def click(self, button: str) -> Callable[[], object] | None:
        """Record a click and return the work it starts, None where it starts none."""

    def offer(self) -> None:
        """Forget the clicks, so that the buttons can be used again."""
        self._is_asking = self._is_confirmed = False

    def on_refused(self, work: Callable[[], None]) -> None:
        """Call `work` when a front end closes the connection of the card, as one does that knows no widgets."""
        if self.box.comm is not None:
            self.box.comm.on_close(lambda _: work())

    def close(self) -> None:
        """Remove all from the kernel and the browser."""
        for widget in (*self._others, self.box, self._last, self._last.layout, self._last.style):
            widget.close()

    def _cancel_clicked(self, button: str) -> Callable[[], object] | None:
        """Record a click on Cancel or on an answer to its question, and return the work it starts."""
        if button == CANCEL:
            self._is_asking = not self._is_confirmed
        elif button in (CONFIRM, KEEP) and self._is_asking:
            self._is_asking = False
            self._cancel.focus()  # before the answers are hidden
            if button == CONFIRM:
                self._is_confirmed = True
                return self._actions.cancel
        return None

    def _paint_cancel(
        self, words: Words, label: str, question: str, *, can_cancel: bool, is_sent: bool, is_over: bool
    ) -> None:
        """Show Cancel, and its question while it is asked; nothing of an ended card but a button that has the focus."""
        is_sent = (is_sent or self._is_confirmed) and not is_over
        self._set(self._cancel, "description", words.cancelling if is_sent else label)
        self._set(self._cancel, "disabled", not (can_cancel or is_sent or is_over))
        self._show(self._cancel, not is_over)
        self._is_asking = self._is_asking and can_cancel and not is_sent
        if self._is_asking:
            self._set(self._question, "value", element("span", question, role="alert"))
        self._set(self._confirm, "description", words.confirm)
        self._set(self._keep, "description", words.keep)
        self._show(self._ask, self._is_asking)

    def _show(self, widget: DOMWidget, is_shown: bool) -> None:
        """Show or hide a widget that stays in the page."""
        others = tuple(name for name in widget._dom_classes if name != OFF)  # noqa: SLF001 - its only way to read them
        self._set(widget, "_dom_classes", others if is_shown else (*others, OFF))

    def _text(self, *classes: str) -> HTML:
        widget = HTML(**self._shared)
        for name in classes:
            widget.add_class(name)
        self._others.append(widget)
        return widget

    def _button(self, name: str, class_: str, **options: Any) -> Button:
        button = Button(layout=self._last.layout, **self._button_style, **options).add_class(class_)
        button.on_click(lambda _: self._on_click(name))
        if not self._button_style:
            self._button_style = {"style": button.style}
            self._others.append(button.style)
        self._others.append(button)
        return button

    def _ticked(self, elapsed: str) -> bool:
        """Whether the time shown has changed; every tenth time, send again what was set since."""
        if elapsed == self._elapsed:
            return False
        self._elapsed = elapsed
        self._ticks += 1
        if self._ticks % TICKS_PER_REPEAT == 0:
            changed, self._changed = self._changed, set()
            for widget in changed:
                widget.send_state()
        return True

    def _set(self, widget: Widget, trait: str, value: object) -> None:
        """Set a trait where it differs: one that keeps its value sends nothing."""
        if getattr(widget, trait) != value:
            self._changed.add(widget)
            setattr(widget, trait, value)
