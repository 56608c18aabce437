"""The widgets of one card, and what each says: core widgets, no JavaScript of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ipywidgets import HTML, Button, HBox, VBox

from dataflow_magic.card.output import close
from dataflow_magic.card.run.html import (
    body_html,
    clock_html,
    line_html,
    log_html,
    progress_html,
    title_html,
    to_html,
)
from dataflow_magic.card.run.state import CardState, timeless

__all__ = ["CardWidgets"]

TICKS_PER_REPEAT: Final = 10
"""A page that is being reloaded misses what changes just then, so now and then all is said again."""


class CardWidgets:
    """The widgets of one card. Split so that a tick of the clock repaints the clock only."""

    def __init__(
        self,
        on_cancel: Callable[[object], None],
        on_confirm: Callable[[object], None],
        on_again: Callable[[object], None],
        on_logs: Callable[[object], None],
    ) -> None:
        self._title = HTML().add_class("dfm-fills")
        # One layout and one style for all: each is a model of its own in the browser.
        shared = {"layout": self._title.layout, "style": self._title.style}
        self._clock, self._progress, self._line = HTML(**shared), HTML(**shared), HTML(**shared)
        self._body, self._log = HTML(**shared), HTML(**shared)
        self._cancel = _button(on_cancel, layout=self._title.layout)
        style = {"layout": self._title.layout, "style": self._cancel.style}
        self._confirm = _button(on_confirm, button_style="danger", **style)
        self._again = _button(on_again, **style)
        self._logs = _button(on_logs, **style)
        self._head = HBox([self._title, self._clock, self._cancel], layout=self._title.layout)
        self._head.add_class("dfm-head")
        self.box = VBox(
            [self._head, self._progress, self._line, self._body, self._log], layout=self._title.layout
        )
        self.box.add_class("dfm-card").add_class("dfm-live")
        self._elapsed: str | None = None
        self._painted: object = None
        self._ticks = 0
        self._is_retired = False

    def paint(self, state: CardState, *, asking: bool, confirmed: bool, shows_log: bool) -> None:
        """Set what differs: a trait that keeps its value sends nothing."""
        ticked, self._elapsed = state.elapsed != self._elapsed, state.elapsed
        self._ticks += ticked
        if ticked and self._ticks % TICKS_PER_REPEAT == 0:
            for widget in (self._title, self._progress, self._line, self._cancel, self._head):
                widget.send_state()
        if ticked:
            # Not otherwise: its tooltip changes every second.
            self._clock.value = clock_html(state)
        painted = timeless(state), asking, confirmed, shows_log
        if painted == self._painted:
            return  # or a tick would cost what a change does
        self._painted = painted
        self._title.value = title_html(state)
        self._progress.value = progress_html(state)
        self._line.value = line_html(state, live=True)
        self._body.value = body_html(state)
        self._log.value = log_html(state)
        self._paint_buttons(state, asking=asking, confirmed=confirmed, shows_log=shows_log)

    def _paint_buttons(self, state: CardState, *, asking: bool, confirmed: bool, shows_log: bool) -> None:
        words = state.words
        is_sent = confirmed or bool(state.cancel)
        asking = asking and state.can_cancel
        self._cancel.description = words.keep if asking else words.cancelling if is_sent else words.cancel
        self._cancel.disabled = is_sent or not state.can_cancel
        self._confirm.description = words.confirm
        self._again.description = words.run_again
        self._again.disabled = not state.run_id
        self._logs.description = words.hide_logs if shows_log else words.logs
        self._logs.disabled = not state.run_id
        # While the kernel waits no click can be handled.
        buttons = (
            ()
            if state.is_final or state.kernel_waits
            else (self._cancel, self._confirm)
            if asking
            else (self._cancel, self._again, self._logs)
        )
        self._head.children = (self._title, self._clock, *buttons)

    def retire(self, state: CardState) -> None:
        """Show the whole card in one widget and close the others."""
        self._body.value = to_html(state)
        if self._is_retired:
            return
        self._is_retired = True
        self.box.children = (self._body,)
        # The HTML brings the frame: around it there is nothing to be framed again.
        self.box.remove_class("dfm-live").remove_class("dfm-card")
        parts = (self._title, self._clock, self._progress, self._line, self._log)
        buttons = (self._cancel, self._confirm, self._again, self._logs)
        close(self._head, *parts, *buttons, self._cancel.style)

    def close(self) -> None:
        """Take what `retire` has left out of the kernel and the browser."""
        close(self.box, self._body, self._body.layout, self._body.style)


def _button(on_click: Callable[[object], None], **options: Any) -> Button:
    button = Button(**options).add_class("dfm-button")
    button.on_click(on_click)
    return button
