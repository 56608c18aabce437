"""The widgets of a sweep's card. The rows are in parts: a run that changes sends the two parts it leaves and joins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ipywidgets import HTML, HBox, Layout, VBox

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.sweep.html import (
    columns_html,
    log_hint_html,
    parts,
    rows_html,
    summary_html,
    sweep_clock_html,
    sweep_rest_html,
    sweep_title_html,
)
from dataflow_magic.card.sweep.state import Group, SweepRow, SweepState
from dataflow_magic.card.widgets import Widgets

__all__ = ["SweepWidgets"]

ROW_HEIGHT: Final = 20
MOST_HEIGHT: Final = 320

RETRY: Final = "retry"
PAUSE: Final = "pause"


class SweepWidgets(Widgets[SweepState]):
    """The widgets of one sweep's card."""

    def __init__(self, state: SweepState, actions: Actions, on_click: Callable[[str], None]) -> None:
        super().__init__(actions, on_click)
        self._title, self._clock = self._text("dfm-fills"), self._text("dfm-time")
        self._columns, self._rest, self._hint = self._text("dfm-columns"), self._text(), self._text()
        self._retry, self._pause = (self._button(name, "dfm-button") for name in (RETRY, PAUSE))
        # The height of a line per run from the beginning, so that little below it moves.
        height = min(MOST_HEIGHT, ROW_HEIGHT * (state.total + 1) + 1)
        self._rows = VBox(layout=Layout(min_height=f"{height}px", overflow="auto")).add_class("dfm-rows")
        self._others += [self._rows, self._rows.layout]
        # No button appears, or goes, so that another is where it was.
        self._retries, self._pauses = (
            HBox((each,), layout=self._last.layout).add_class("dfm-buttons")
            for each in (self._retry, self._pause)
        )
        self._others += [self._retries, self._pauses]
        self._buttons.children = [self._cancel]
        self._head.children = [self._title, self._retries, self._pauses, self._clock, self._buttons]
        self.box.children = [self._head, self._ask, self._last, self._rows, self._rest]
        self.box.add_class("dfm-sweep")
        self._parts: dict[tuple[Group, int], tuple[tuple[SweepRow, ...], HTML]] = {}
        self._spare: list[HTML] = []
        self._words = state.words
        self._is_retrying = self._can_retry = self._has_retry = False
        self._is_pausing = self._can_pause = self._can_resume = False
        self._set(self._columns, "value", columns_html(state))

    def paint(self, state: SweepState, *, whole: bool) -> None:
        """Show a state, with or without its rows."""
        is_ticked = self._ticked(state.elapsed)
        self._set(self._title, "value", sweep_title_html(state))
        if is_ticked:
            self._set(self._clock, "value", sweep_clock_html(state))
        self._set(self._last, "value", summary_html(state, live=True))
        self._paint_buttons(state)
        if whole:
            self._paint_rows(state)
            self._set(self._rest, "value", sweep_rest_html(state))

    def click(self, button: str) -> Callable[[], object] | None:
        """Record a click and return the work it starts."""
        if button == PAUSE:
            return self._pause_clicked()
        if button != RETRY:
            return self._cancel_clicked(button)
        if self._is_retrying or not self._can_retry:
            return None
        self._is_retrying = True
        return self._actions.again

    def offer(self) -> None:
        """Enable the buttons again."""
        super().offer()
        self._is_retrying = self._is_pausing = False

    def _pause_clicked(self) -> Callable[[], object] | None:
        # One click, one change: the button's words change only once the first is done.
        if self._is_pausing or not (self._can_pause or self._can_resume):
            return None
        self._is_pausing, pauses = True, not self._can_resume
        return lambda: self._actions.pause(pauses)

    def _paint_buttons(self, state: SweepState) -> None:
        words = state.words
        question = words.confirm_all_found if state.found else words.confirm_all
        self._paint_cancel(
            words,
            words.cancel_all,
            question.format(runs=words.runs(state.can_cancel), found=state.found),
            can_cancel=state.can_cancel > 0,
            is_sent=state.canceling > 0 and not state.can_cancel,
            is_over=state.is_final,
        )
        self._can_retry = state.can_retry > 0
        self._has_retry = self._has_retry or self._can_retry
        self._set(self._retry, "description", words.retry.format(count=state.can_retry))
        self._show(self._retries, self._has_retry and not state.kernel_waits)
        self._show(self._buttons, not state.kernel_waits)
        self._can_pause, self._can_resume = state.can_pause, state.can_resume
        label = words.resume.format(count=state.unsent) if state.can_resume else words.pause
        self._set(self._pause, "description", label)
        self._show(self._pauses, (state.can_pause or state.can_resume) and not state.kernel_waits)

    def _paint_rows(self, state: SweepState) -> None:
        wanted = parts(state)
        is_reworded, self._words = state.words is not self._words, state.words
        if is_reworded:
            self._set(self._columns, "value", columns_html(state))
        for key in [key for key in self._parts if key not in wanted]:
            self._spare.append(self._parts.pop(key)[1])
        for key, rows in wanted.items():
            before, widget = self._parts.get(key, ((), None))
            if widget is None:
                widget = self._spare.pop() if self._spare else self._text("dfm-part")
            if before != rows or is_reworded:
                self._set(widget, "value", rows_html(state, rows))
                self._parts[key] = rows, widget
        self._set(self._hint, "value", log_hint_html(state))
        shown = (self._columns, *(self._parts[key][1] for key in wanted), self._hint)
        self._set(self._rows, "children", shown)
