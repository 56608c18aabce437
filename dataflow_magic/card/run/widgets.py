"""The card of a run as it is shown: core widgets while the run lives, plain HTML once it is over.

It has no timer and no thread: whoever watches the run calls `LiveCard.update`, from any thread. It ships no JavaScript,
so it works offline wherever ipywidgets does.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Final
from uuid import uuid4

from IPython.display import display as ipython_display
from ipywidgets import VBox

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.output import Display, bundle_of, close
from dataflow_magic.card.run.html import to_html, to_text
from dataflow_magic.card.run.parts import CardWidgets
from dataflow_magic.card.run.state import CardState, timeless

__all__ = ["LiveCard"]

MOST_RETIRED: Final = 50
"""Outputs of finished runs that keep a widget; each holds four models in the kernel and in every open page."""


class LiveCard:
    """One run's card, in as many outputs as it was shown in.

    Parameters
    ----------
    actions
        What its buttons do.
    display
        What shows and updates outputs.
    interactive
        Whether the front end can show widgets. Without them `update` repaints the outputs as HTML and text, and only
        when more than the time has changed.
    beside
        A card below which this one is shown, in its outputs: a click has no cell of its own whose output it could be.
    """

    def __init__(
        self,
        actions: Actions,
        *,
        display: Display = ipython_display,
        interactive: bool = True,
        beside: LiveCard | None = None,
    ) -> None:
        self._actions = actions
        self._interactive = interactive
        self._pile: _Pile = beside._pile if beside else _Pile(display)  # noqa: SLF001 - of this class
        self._pile.cards.append(self)
        self._lock = self._pile.lock
        self._widgets: CardWidgets | None = None
        self._state: CardState | None = None
        self._is_asking = self._was_confirmed = self._shows_log = False
        self._is_finished = False
        if beside:
            self._interactive = beside._interactive  # noqa: SLF001 - of this class

    def show(self, state: CardState) -> None:
        """Show the card below the running cell, and keep that output up to date from now on."""
        with self._lock:
            self._show_state(state)
            self._pile.show()

    def show_beside(self, state: CardState) -> None:
        """Show the card where the one is that it stands beside."""
        with self._lock:
            self._show_state(state)
            self._pile.refresh()

    def update(self, state: CardState) -> None:
        """Repaint what has changed; after `finish` nothing is repainted."""
        with self._lock:
            if self._is_finished:
                return
            if self._widgets is not None:
                self._paint(state)
            elif self._state is not None and timeless(self._state) != timeless(state):
                self._state = state
                self._pile.refresh()

    def finish(self, state: CardState) -> None:
        """Replace every output by HTML and text that need no kernel, then let the widgets go.

        Outputs that show this state already are left alone, so calling it again is harmless, and calling it with more
        to tell, such as a log that was read since, repaints them. Where cards share an output, that is once all are
        finished. One widget stays open for pages that were reloaded meanwhile: no update of an output reaches those, and
        closing it would leave them blank.
        """
        with self._lock:
            self._is_finished = True
            self._state = state
            self._pile.finish(self)

    def offer_cancel(self) -> None:
        """Give the Cancel button back, after a cancel that the service refused."""
        with self._lock:
            self._is_asking = self._was_confirmed = False
            self._repaint()

    # Of the pile

    @property
    def state(self) -> CardState | None:
        """What it shows now; None before it was shown."""
        return self._state

    @property
    def is_finished(self) -> bool:
        """Whether its run is over."""
        return self._is_finished

    @property
    def widgets(self) -> CardWidgets | None:
        """Its widgets, None where there are none."""
        return self._widgets

    def _show_state(self, state: CardState) -> None:
        is_live = self._interactive and not self._is_finished and not state.is_final
        if is_live and self._widgets is None:
            self._widgets = CardWidgets(
                self._click_cancel, self._confirm, self._click_again, self._click_logs
            )
        if self._widgets is not None and not self._is_finished:
            self._paint(state)
        self._state = state
        self._is_finished = self._is_finished or state.is_final

    def _click_cancel(self, _button: object) -> None:
        # The first click asks, and the button says no then: who clicks twice in a hurry ends nothing.
        with self._lock:
            if not (self._was_confirmed or self._is_finished):
                self._is_asking = not self._is_asking
                self._repaint()

    def _confirm(self, _button: object) -> None:
        with self._lock:
            if not self._is_asking or self._was_confirmed or self._is_finished:
                return
            self._is_asking, self._was_confirmed = False, True
            self._repaint()
        try:
            self._actions.cancel()
        except BaseException:
            self.offer_cancel()
            raise

    def _click_again(self, _button: object) -> None:
        self._actions.again()

    def _click_logs(self, _button: object) -> None:
        with self._lock:
            self._shows_log = not self._shows_log
            wanted = self._shows_log
            self._repaint()
        self._actions.logs(wanted)

    def _repaint(self) -> None:
        if self._state is not None and not self._is_finished:
            self._paint(self._state)

    def _paint(self, state: CardState) -> None:
        if self._state is not None and self._state.cancel and not state.cancel:
            self._was_confirmed = False
        self._state = state
        if self._widgets is not None:
            self._widgets.paint(
                state, asking=self._is_asking, confirmed=self._was_confirmed, shows_log=self._shows_log
            )


class _Pile:
    """The outputs of a card, and of those that were started from it, below one another."""

    def __init__(self, display: Display) -> None:
        self.lock = threading.RLock()
        self.cards: list[LiveCard] = []
        self._display = display
        # What each output shows now, None for the widgets.
        self._outputs: dict[str, tuple[CardState, ...] | None] = {}
        self._frame: VBox | None = None
        self._is_retired = False

    def show(self) -> None:
        """Show the cards in one more output."""
        states, metadata = self._states(), dict[str, Any]()
        bundle = _static_bundle(states)
        frame = self._live_frame()
        if frame is not None:
            view, metadata = bundle_of(frame)
            # The static layer goes over it: a widget's own text/plain is its repr.
            bundle = {**view, **bundle}
        display_id = uuid4().hex
        # Before it is there: an interrupt just then leaves an output that is kept up to date.
        self._outputs[display_id] = None if frame else states
        self._display(bundle, raw=True, metadata=metadata, display_id=display_id, update=False)

    def refresh(self) -> None:
        """Take in a card that is new, or what is new of those without widgets."""
        if self._live_frame() is None:
            self._freeze()

    def finish(self, card: LiveCard) -> None:
        """Let go of a card's widgets, and of the outputs' once all cards are finished."""
        if card.widgets is not None and card.state is not None:
            card.widgets.retire(card.state)
        if all(each.is_finished for each in self.cards):
            self._freeze()
            self._retire()
        else:
            self.refresh()

    def _states(self) -> tuple[CardState, ...]:
        return tuple(card.state for card in self.cards if card.state is not None)

    def _live_frame(self) -> VBox | None:
        """Return the widget that holds all cards; None where they are shown without widgets."""
        boxes = [card.widgets.box for card in self.cards if card.widgets is not None]
        if not boxes or all(card.is_finished for card in self.cards):
            return None
        if self._frame is None:
            self._frame = VBox(boxes, layout=boxes[0].layout).add_class("dfm-pile")
        elif len(self._frame.children) != len(boxes):
            self._frame.children = boxes
        return self._frame

    def _freeze(self) -> None:
        states = self._states()
        for display_id, shown in self._outputs.items():
            if shown == states:
                continue
            self._display(_static_bundle(states), raw=True, metadata={}, display_id=display_id, update=True)
            self._outputs[display_id] = states

    def _retire(self) -> None:
        """Keep the frame for pages that were reloaded; the oldest of many that retired is closed whole."""
        if self._frame is None or self._is_retired:
            return
        self._is_retired = True
        _RETIRED.append(self)
        if len(_RETIRED) > MOST_RETIRED:
            _RETIRED.popleft().close()

    def close(self) -> None:
        """Take what is left out of the kernel and the browser."""
        for card in self.cards:
            if card.widgets is not None:
                card.widgets.close()
        if self._frame is not None:
            close(self._frame)


_RETIRED: Final[deque[_Pile]] = deque()


def _static_bundle(states: tuple[CardState, ...]) -> dict[str, Any]:
    return {
        "text/html": "".join(to_html(state) for state in states),
        "text/plain": "\n".join(to_text(state) for state in states),
    }
