"""The card of a sweep as it is shown: core widgets while runs live, plain HTML once all are over.

As `card.widget` it has no timer and no thread and ships no JavaScript. The rows stand in parts, each a widget of its own,
so that a run that changes sends the two parts it leaves and joins and not the table.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from IPython.display import display as ipython_display
from ipywidgets import HTML, Box, Button, HBox, Layout, VBox, Widget

from dataflow_magic.card.output import Display, bundle_of, close
from dataflow_magic.card.sweep.html import (
    columns_html,
    parts,
    rows_html,
    summary_html,
    sweep_clock_html,
    sweep_html,
    sweep_rest_html,
    sweep_text,
    sweep_title_html,
)
from dataflow_magic.card.sweep.state import Group, SweepRow, SweepState

__all__ = ["SweepCard"]

MOST_RETIRED: Final = 10
"""Cards of sweeps that are over and keep a widget for pages that were reloaded meanwhile."""
TICKS_PER_REPEAT: Final = 10
"""A page that is being reloaded misses what changes just then, so now and then it is said again."""
ROW_HEIGHT: Final = 20
MOST_HEIGHT: Final = 320


class SweepCard:
    """One sweep's card, in as many outputs as it was shown in.

    Parameters
    ----------
    on_cancel, on_retry
        Called when all live runs are to be canceled, and when the failed ones are to be started again: from any thread,
        so they must hand the work on and return. Who was called says by `offer` that it was done, or could not be.
    display
        What shows and updates outputs.
    interactive
        Whether the front end can show widgets. Without them an `update` with rows repaints the outputs as HTML and text,
        when more than the time has changed.
    """

    def __init__(
        self,
        on_cancel: Callable[[], None],
        on_retry: Callable[[], None],
        *,
        display: Display = ipython_display,
        interactive: bool = True,
    ) -> None:
        self._on_cancel = on_cancel
        self._on_retry = on_retry
        self._display = display
        self._interactive = interactive
        self._lock = threading.RLock()
        # What each output shows now, None for the widgets.
        self._outputs: dict[str, SweepState | None] = {}
        self._widgets: _Widgets | None = None
        self._state: SweepState | None = None
        self._finished = False

    def show(self, state: SweepState) -> None:
        """Show the card below the running cell, and keep that output up to date from now on."""
        with self._lock:
            if self._interactive and not self._finished and not state.is_over and self._widgets is None:
                self._widgets = _Widgets(state, self._click)
            bundle, metadata = _static_bundle(state), dict[str, Any]()
            widgets = None if self._finished else self._widgets
            if widgets is not None:
                self._paint(state, rows=True)
                view, metadata = widgets.bundle()
                # The static layer goes over it: a widget's own text/plain is its repr.
                bundle = {**view, **bundle}
            display_id = uuid4().hex
            # Before it is there: an interrupt just then leaves an output that is kept up to date.
            self._outputs[display_id] = None if widgets else state
            self._display(bundle, raw=True, metadata=metadata, display_id=display_id, update=False)

    def update(self, state: SweepState, *, rows: bool = True) -> None:
        """Repaint what has changed, the rows among it or not; after `finish` nothing is repainted."""
        with self._lock:
            if self._finished:
                return
            if self._widgets is not None:
                self._paint(state, rows=rows)
            elif rows and any(shown and _news(shown) != _news(state) for shown in self._outputs.values()):
                self._freeze(state)

    def finish(self, state: SweepState) -> None:
        """Replace every output by HTML and text that need no kernel, then let the widgets go but one."""
        with self._lock:
            self._finished = True
            self._freeze(state)
            if self._widgets is not None:
                self._widgets.retire(state)

    def offer(self) -> None:
        """Give the buttons back, once what they asked for was done or could not be."""
        with self._lock:
            if self._widgets is not None and self._state is not None and not self._finished:
                self._widgets.clicked.clear()
                self._paint(self._state, rows=False)

    def _click(self, button: str) -> None:
        with self._lock:
            if self._widgets is None or self._state is None or self._finished:
                return
            act = self._widgets.click(button)
            self._paint(self._state, rows=False)
        if act:
            try:
                self._on_cancel() if button == CANCEL else self._on_retry()
            except BaseException:
                self.offer()
                raise

    def _paint(self, state: SweepState, *, rows: bool) -> None:
        self._state = state
        if self._widgets is not None:
            self._widgets.paint(state, rows=rows)

    def _freeze(self, state: SweepState) -> None:
        for display_id, shown in self._outputs.items():
            if shown == state:
                continue
            self._display(_static_bundle(state), raw=True, metadata={}, display_id=display_id, update=True)
            self._outputs[display_id] = state


CANCEL: Final = "cancel"
KEEP: Final = "keep"
RETRY: Final = "retry"


class _Widgets:
    """The widgets of one card, and what their buttons were last asked."""

    def __init__(self, state: SweepState, on_click: Callable[[str], None]) -> None:
        self.clicked: set[str] = set()
        """Buttons whose work is under way."""
        self._asking = False
        self._title = HTML().add_class("dfm-fills")
        # One layout and one style for all: each is a model of its own in the browser.
        self._shared = {"layout": self._title.layout, "style": self._title.style}
        self._clock, self._summary = HTML(**self._shared), HTML(**self._shared)
        self._columns, self._rest = HTML(**self._shared), HTML(**self._shared)
        self._columns.add_class("dfm-columns")
        self._clock.add_class("dfm-time")
        self._buttons = {name: self._button(name, on_click) for name in (RETRY, CANCEL, KEEP)}
        self._head = HBox([], layout=self._title.layout).add_class("dfm-head")
        # As high from the beginning as it will be: nothing below it moves.
        height = min(MOST_HEIGHT, ROW_HEIGHT * (state.total + 1) + 1)
        self._rows = VBox([], layout=Layout(height=f"{height}px", overflow="auto")).add_class("dfm-rows")
        self._card = VBox(
            [self._head, self._summary, self._rows, self._rest], layout=self._title.layout
        ).add_class("dfm-card")
        self._card.add_class("dfm-live").add_class("dfm-sweep")
        self._parts: dict[tuple[Group, int], tuple[tuple[SweepRow, ...], HTML]] = {}
        self._spare: list[HTML] = []
        self._words = state.words
        self._elapsed: str | None = None
        self._ticks = 0
        self._is_retired = False
        self._said: set[Widget] = set()
        """What was set since all was last said again."""
        self._columns.value = columns_html(state)

    def _button(self, name: str, on_click: Callable[[str], None]) -> Button:
        button = Button(layout=self._title.layout).add_class("dfm-ask")
        button.on_click(lambda _: on_click(name))
        return button

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the card's mimebundle and its metadata."""
        return bundle_of(self._card)

    def click(self, button: str) -> bool:
        """Take note of a click; True when its work is to be done now. A cancel of many is asked about once."""
        if button in self.clicked:
            return False
        asked, self._asking = self._asking, button == CANCEL and not self._asking
        if button == RETRY or (button == CANCEL and asked):
            self.clicked.add(button)
            return True
        return False

    def paint(self, state: SweepState, *, rows: bool) -> None:
        """Set what differs: a trait that keeps its value sends nothing."""
        ticked, self._elapsed = state.elapsed != self._elapsed, state.elapsed
        self._ticks += ticked
        if ticked and self._ticks % TICKS_PER_REPEAT == 0:
            said, self._said = self._said, set()
            for widget in said:
                widget.send_state()
        self._set(self._title, "value", sweep_title_html(state))
        if ticked:
            self._set(self._clock, "value", sweep_clock_html(state))
        self._set(self._summary, "value", summary_html(state, live=True))
        self._paint_buttons(state)
        if rows:
            self._paint_rows(state)
            self._set(self._rest, "value", sweep_rest_html(state))

    def retire(self, state: SweepState) -> None:
        """Show the whole card in one widget and close the others; the oldest of many that retired is closed whole."""
        if self._is_retired:
            self._set(self._summary, "value", sweep_html(state))
            return
        self._is_retired = True
        self._set(self._summary, "value", sweep_html(state))
        self._set(self._card, "children", (self._summary,))
        self._card.remove_class("dfm-live").remove_class("dfm-card")
        rows = [widget for _, widget in self._parts.values()]
        buttons = [part for button in self._buttons.values() for part in (button, button.style)]
        close(self._head, self._title, self._clock, self._columns, self._rest, *rows, *self._spare, *buttons)
        close(self._rows, self._rows.layout)
        _RETIRED.append(self)
        if len(_RETIRED) > MOST_RETIRED:
            _RETIRED.popleft().close()

    def close(self) -> None:
        """Take what `retire` has left out of the kernel and the browser."""
        close(self._card, self._summary, self._summary.layout, self._summary.style)

    def _paint_buttons(self, state: SweepState) -> None:
        cancel, keep, retry = (self._buttons[name] for name in (CANCEL, KEEP, RETRY))
        self._asking = self._asking and state.can_cancel > 0
        busy = CANCEL in self.clicked or (state.canceling > 0 and not state.can_cancel)
        words = state.words
        self._set(
            cancel,
            "description",
            words.shared.cancelling
            if busy
            else words.confirm.format(runs=words.runs(state.can_cancel))
            if self._asking
            else words.cancel_all,
        )
        self._set(cancel, "button_style", "danger" if self._asking else "")
        self._set(cancel, "disabled", busy or not state.can_cancel)
        self._set(keep, "description", words.shared.keep)
        self._set(retry, "description", words.retry.format(count=state.can_retry))
        self._set(retry, "disabled", RETRY in self.clicked)
        shown: list[Box | HTML | Button] = [self._title, self._clock]
        if not (state.is_over or state.kernel_waits):
            shown += [*([retry] if state.can_retry else []), cancel, *([keep] if self._asking else [])]
        self._set(self._head, "children", tuple(shown))

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
                widget = self._spare.pop() if self._spare else HTML(**self._shared).add_class("dfm-part")
            if before != rows or is_reworded:
                self._set(widget, "value", rows_html(state, rows))
                self._parts[key] = rows, widget
        self._set(
            self._rows,
            "children",
            (self._columns, *(self._parts[key][1] for key in wanted)),
        )

    def _set(self, widget: Widget, trait: str, value: object) -> None:
        if getattr(widget, trait) != value:
            self._said.add(widget)
            setattr(widget, trait, value)


_RETIRED: Final[deque[_Widgets]] = deque()


def _static_bundle(state: SweepState) -> dict[str, Any]:
    return {"text/html": sweep_html(state), "text/plain": sweep_text(state)}


def _news(state: SweepState) -> SweepState:
    """Return the state without what changes by itself."""
    return replace(state, elapsed="", as_of="")
