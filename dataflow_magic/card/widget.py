"""The card of a run as it is shown: core widgets while the run lives, plain HTML once it is over.

It has no timer and no thread: whoever watches the run calls `LiveCard.update`, from any thread. It ships no JavaScript,
so it works offline wherever ipywidgets does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from IPython.display import display as ipython_display
from ipywidgets import HTML, Button, HBox, VBox, Widget

from dataflow_magic.card.html import body_html, clock_html, line_html, title_html, to_html, to_text
from dataflow_magic.card.state import CardState

__all__ = ["Display", "LiveCard"]

MOST_RETIRED: Final = 50
"""Cards of finished runs that keep a widget; each holds four models in the kernel and in every open page."""

TICKS_PER_REPEAT: Final = 10
"""A page that is being reloaded misses what changes just then, so now and then all is said again."""

CANCEL: Final = "Cancel"
CANCELLING: Final = "Cancelling…"


Display = Callable[..., object]
"""`IPython.display.display`; called with the bundle and the keywords raw, metadata, display_id and update."""


class LiveCard:
    """One run's card, in as many outputs as it was shown in.

    Parameters
    ----------
    on_cancel
        Called when the Cancel button is clicked, once per click that counts. It may be called from any thread, also
        one without an event loop, so it must hand the work on and return. When it raises, the button comes back.
    display
        What shows and updates outputs.
    interactive
        Whether the front end can show widgets. Without them `update` repaints the outputs as HTML and text, and only
        when more than the time has changed.
    """

    def __init__(
        self,
        on_cancel: Callable[[], None],
        *,
        display: Display = ipython_display,
        interactive: bool = True,
    ) -> None:
        self._on_cancel = on_cancel
        self._display = display
        self._interactive = interactive
        self._lock = threading.RLock()
        # What each output shows now, None for the widgets.
        self._outputs: dict[str, CardState | None] = {}
        self._widgets: _Widgets | None = None
        self._state: CardState | None = None
        self._clicked = False
        self._finished = False

    def show(self, state: CardState) -> None:
        """Show the card below the running cell, and keep that output up to date from now on."""
        with self._lock:
            if self._interactive and not self._finished and not state.is_final and self._widgets is None:
                self._widgets = _Widgets(self._click)
            bundle, metadata = _static_bundle(state), dict[str, Any]()
            widgets = None if self._finished else self._widgets
            if widgets is not None:
                self._paint(state)
                view, metadata = widgets.bundle()
                # The static layer goes over it: a widget's own text/plain is its repr.
                bundle = {**view, **bundle}
            display_id = uuid4().hex
            self._display(bundle, raw=True, metadata=metadata, display_id=display_id, update=False)
            self._outputs[display_id] = None if widgets else state

    def update(self, state: CardState) -> None:
        """Repaint what has changed; after `finish` nothing is repainted."""
        with self._lock:
            if self._finished:
                return
            if self._widgets is not None:
                self._paint(state)
            elif any(shown is not None and _news(shown) != _news(state) for shown in self._outputs.values()):
                self._freeze(state)

    def finish(self, state: CardState) -> None:
        """Replace every output by HTML and text that need no kernel, then let the widgets go.

        Outputs that show this state already are left alone, so calling it again is harmless, and calling it with more
        to tell, such as a log that was read since, repaints them. One widget stays open for pages that were reloaded
        meanwhile: no update of an output reaches those, and closing it would leave them blank.
        """
        with self._lock:
            self._finished = True
            self._freeze(state)
            if self._widgets is not None:
                self._widgets.retire(state)

    def offer_cancel(self) -> None:
        """Give the Cancel button back, after a cancel that the service refused."""
        with self._lock:
            self._clicked = False
            if self._state is not None and not self._finished:
                self._paint(self._state)

    def _click(self, _button: object) -> None:
        with self._lock:
            if self._clicked or self._finished:
                return
            self._clicked = True
            if self._state is not None:
                self._paint(self._state)
        try:
            self._on_cancel()
        except BaseException:
            self.offer_cancel()
            raise

    def _paint(self, state: CardState) -> None:
        if self._state is not None and self._state.cancel and not state.cancel:
            self._clicked = False
        self._state = state
        if self._widgets is not None:
            self._widgets.paint(state, clicked=self._clicked)

    def _freeze(self, state: CardState) -> None:
        for display_id, shown in self._outputs.items():
            if shown == state:
                continue
            try:
                self._display(
                    _static_bundle(state), raw=True, metadata={}, display_id=display_id, update=True
                )
            except LookupError:
                # ipykernel 7.0.1 cannot publish outside a cell's context: the next call tries again.
                continue
            self._outputs[display_id] = state


class _Widgets:
    """The widgets of one card. Split so that a tick of the clock repaints the clock only."""

    def __init__(self, on_click: Callable[[object], None]) -> None:
        self._title = HTML().add_class("dfm-fills")
        # One layout and one style for all: each is a model of its own in the browser.
        shared = {"layout": self._title.layout, "style": self._title.style}
        self._clock, self._line, self._body = HTML(**shared), HTML(**shared), HTML(**shared)
        self._cancel = Button(description=CANCEL, layout=self._title.layout).add_class("dfm-cancel")
        self._cancel.on_click(on_click)
        self._head = HBox([self._title, self._clock, self._cancel], layout=self._title.layout)
        self._head.add_class("dfm-head")
        self._card = VBox([self._head, self._line, self._body], layout=self._title.layout)
        self._card.add_class("dfm-card").add_class("dfm-live")
        self._elapsed: str | None = None
        self._ticks = 0
        self._is_retired = False
        self._unsent: set[Widget] = set()

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the card's mimebundle and its metadata."""
        made = self._card._repr_mimebundle_()  # IPython's own protocol
        return made if isinstance(made, tuple) else (made, {})

    def paint(self, state: CardState, *, clicked: bool) -> None:
        """Set what differs: a trait that keeps its value sends nothing."""
        ticked, self._elapsed = state.elapsed != self._elapsed, state.elapsed
        self._ticks += ticked
        if ticked and self._ticks % TICKS_PER_REPEAT == 0:
            self._unsent.update((self._title, self._line, self._cancel, self._head))
        self._resend()
        self._set(self._title, "value", title_html(state))
        if ticked:
            # Not otherwise: its tooltip changes every second.
            self._set(self._clock, "value", clock_html(state))
        self._set(self._line, "value", line_html(state, live=True))
        self._set(self._body, "value", body_html(state))
        self._set(self._cancel, "description", CANCELLING if clicked or state.cancel else CANCEL)
        self._set(self._cancel, "disabled", clicked or not state.can_cancel)
        button = () if state.is_final or state.kernel_waits else (self._cancel,)
        self._set(self._head, "children", (self._title, self._clock, *button))

    def retire(self, state: CardState) -> None:
        """Show the whole card in one widget and close the others; the oldest of many that retired is closed whole."""
        self._resend()
        self._set(self._body, "value", to_html(state))
        if self._is_retired:
            return
        self._is_retired = True
        self._set(self._card, "children", (self._body,))
        # The HTML brings the frame: around it there is nothing to be framed again.
        self._send(self._card, lambda: self._card.remove_class("dfm-live").remove_class("dfm-card"))
        _close(self._head, self._title, self._clock, self._line, self._cancel, self._cancel.style)
        _RETIRED.append(self)
        if len(_RETIRED) > MOST_RETIRED:
            _RETIRED.popleft().close()

    def close(self) -> None:
        """Take what `retire` has left out of the kernel and the browser."""
        _close(self._card, self._body, self._body.layout, self._body.style)

    def _resend(self) -> None:
        for widget in tuple(self._unsent):
            self._send(widget, widget.send_state)

    def _set(self, widget: Widget, trait: str, value: object) -> None:
        self._send(widget, lambda: setattr(widget, trait, value))

    def _send(self, widget: Widget, send: Callable[[], object]) -> None:
        self._unsent.discard(widget)
        try:
            send()
        except LookupError:
            # ipykernel 7.0.1 cannot send outside a cell's context. The trait is set but was not sent.
            self._unsent.add(widget)


_RETIRED: Final[deque[_Widgets]] = deque()


def _close(*widgets: Widget) -> None:
    for widget in widgets:
        with suppress(LookupError):  # as in _send
            widget.close()


def _static_bundle(state: CardState) -> dict[str, Any]:
    return {"text/html": to_html(state), "text/plain": to_text(state)}


def _news(state: CardState) -> CardState:
    """Return the state without what changes by itself."""
    return replace(state, elapsed="", as_of="")
