"""The widgets of a run's card, in parts, so that a tick of the clock repaints the clock alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.run.html import (
    body_html,
    clock_html,
    copy_html,
    fault_html,
    line_html,
    progress_html,
    title_html,
)
from dataflow_magic.card.run.log import LogPanel
from dataflow_magic.card.run.state import CardState
from dataflow_magic.card.widgets import Widgets

__all__ = ["RunWidgets"]

AGAIN = "again"
LOGS = "logs"


class RunWidgets(Widgets[CardState]):
    """The widgets of one run's card."""

    def __init__(self, state: CardState, actions: Actions, on_click: Callable[[str], None]) -> None:
        super().__init__(actions, on_click)
        self._title = self._text("dfm-fills")
        self._clock = self._text("dfm-time")
        self._progress, self._line, self._fault = (self._text() for _ in range(3))
        self._copy = self._text()
        self._again, self._logs = (self._button(name, "dfm-button") for name in (AGAIN, LOGS))
        self._log = LogPanel(self._shared, state.words.log)
        # Copying an id is harmless, so it comes where Cancel was.
        self._buttons.children = [self._cancel, self._copy, self._again, self._logs]
        self._head.children = [self._title, self._clock, self._buttons]
        below = [self._ask, self._progress, self._line, self._last, self._fault, self._log.box]
        self.box.children = [self._head, *below]
        self._shows_log = self._was_canceling = False
        self._painted: object = None

    def paint(self, state: CardState, *, whole: bool) -> None:  # noqa: ARG002 - all its parts are small
        """Show a state."""
        if self._was_canceling and not state.cancel:
            self._is_confirmed = False
        self._was_canceling = bool(state.cancel)
        if self._ticked(state.elapsed):
            # Not otherwise: its tooltip changes every second.
            self._set(self._clock, "value", clock_html(state))
        painted = state.timeless(), self._is_asking, self._is_confirmed, self._shows_log
        if painted == self._painted:
            return  # or a tick would cost as much as a change
        self._painted = painted
        self._set(self._title, "value", title_html(state))
        self._set(self._progress, "value", progress_html(state))
        self._set(self._line, "value", line_html(state, live=True))
        self._set(self._last, "value", body_html(state))
        self._set(self._fault, "value", fault_html(state) if self._shows_log else "")
        self._log.paint(state.open_log if self._shows_log else None)
        self._show(self._log.box, self._shows_log)
        self._paint_buttons(state)

    def click(self, button: str) -> Callable[[], object] | None:
        """Record a click and return the work it starts."""
        if button == AGAIN:
            return self._actions.again
        if button == LOGS:
            self._shows_log = not self._shows_log
            return partial(self._actions.logs, self._shows_log)
        return self._cancel_clicked(button)

    def close(self) -> None:
        """Remove all from the kernel and the browser."""
        self._log.close()
        super().close()

    def _paint_buttons(self, state: CardState) -> None:
        words = state.words
        question = words.confirm_found if state.found else words.confirm_one
        self._paint_cancel(
            words,
            words.cancel,
            question,
            can_cancel=state.can_cancel,
            is_sent=bool(state.cancel),
            is_over=state.is_final,
        )
        can_copy = state.is_final and bool(state.run_id)
        self._set(self._copy, "value", copy_html(state) if can_copy else "")
        self._show(self._copy, can_copy)
        self._set(self._again, "description", words.run_again)
        self._set(self._again, "disabled", not state.run_id)
        self._set(self._logs, "description", words.hide_logs if self._shows_log else words.logs)
        self._set(self._logs, "disabled", not state.run_id)
        # While the kernel waits no click can be handled.
        self._show(self._buttons, not state.kernel_waits)
