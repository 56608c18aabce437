"""Cards in the outputs they are shown in, by display id: shown, updated, frozen, retired. Knows no run and no sweep.

No timer and no thread: the painter calls `LiveCard.update`, from any thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic
from uuid import uuid4

from IPython.display import display as ipython_display

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.look import Look, S

if TYPE_CHECKING:
    from ipywidgets import VBox

    from dataflow_magic.card.widgets import Widgets

__all__ = ["Display", "LiveCard"]

logger = logging.getLogger(__name__)

MOST_RETIRED: Final = 50
"""Outputs of finished cards that keep a widget; each holds five models in the kernel and in every open page."""

Display = Callable[..., object]
"""`IPython.display.display`; called with the bundle and the keywords raw, metadata, display_id and update."""


class LiveCard(Generic[S]):
    """One card, in as many outputs as it was shown in: core widgets while it lives, plain HTML and text after that.

    Where ipywidgets is missing or raises, or where the front end closes the widgets' connection because it has no
    widgets, the card falls back to HTML and text, also in the outputs it is shown in already.

    Parameters
    ----------
    look
        How this kind of card is written.
    actions
        What its buttons do.
    display
        What shows and updates outputs.
    interactive
        Whether the front end can show widgets. Without them `update` repaints the outputs as HTML and text, and only
        when more than the time has changed.
    above
        A card below which this one is shown, in that card's outputs: a button's click has no cell of its own.
    """

    def __init__(
        self,
        look: Look[S],
        actions: Actions,
        *,
        display: Display = ipython_display,
        interactive: bool = True,
        above: LiveCard[S] | None = None,
    ) -> None:
        self._look = look
        self._actions = actions
        self._outputs = _Outputs(display, interactive=interactive) if above is None else above.outputs
        self._outputs.cards.append(self)
        self._lock = self._outputs.lock
        self._widgets: Widgets[S] | None = None
        self._state: S | None = None
        self._is_finished = False

    def show(self, state: S) -> None:
        """Show the card below the running cell, and keep that output up to date from now on."""
        with self._lock:
            self._outputs.attempt(lambda: self._show_state(state), self._outputs.show)

    def show_below(self, state: S) -> None:
        """Show the card below the other one, in its outputs."""
        with self._lock:
            self._outputs.attempt(lambda: self._show_state(state), self._outputs.refresh)

    def update(self, state: S, *, whole: bool = True) -> None:
        """Repaint what has changed, all of it or the small parts only; after `finish` repaint nothing."""
        with self._lock:
            if not self._is_finished:
                self._outputs.attempt(lambda: self._update(state, whole=whole))

    def finish(self, state: S) -> None:
        """Replace every output by HTML and text that need no kernel, then close the widgets but one.

        A second call changes only outputs that show another state, such as one without the log. Where cards share an
        output, it is replaced once all of them are finished. One widget stays open for pages that were reloaded
        meanwhile: no update of an output reaches those, and closing it would leave them blank.
        """
        with self._lock:
            self._is_finished = True
            self._state = state
            self._outputs.attempt(lambda: self._finish(state))

    def offer(self) -> None:
        """Enable the buttons again, after their work is done or has failed."""
        with self._lock:
            self._outputs.attempt(self._offer)

    @property
    def fault(self) -> BaseException | None:
        """Why the card has no widgets although it should have; None while it has them, or should have none."""
        return self._outputs.fault

    @property
    def is_interactive(self) -> bool:
        """Whether the card has widgets while it lives."""
        return self._outputs.interactive

    # For `_Outputs`

    @property
    def outputs(self) -> _Outputs:
        """The outputs it is shown in."""
        return self._outputs

    @property
    def state(self) -> S | None:
        """What it shows now; None before it is shown."""
        return self._state

    @property
    def is_finished(self) -> bool:
        """Whether it changes no more."""
        return self._is_finished

    @property
    def widgets(self) -> Widgets[S] | None:
        """Its widgets, None where there are none."""
        return self._widgets

    def drop_widgets(self) -> None:
        """Continue without widgets."""
        self._widgets = None

    def bundle(self) -> tuple[str, str]:
        """Return the card as HTML and as plain text; both are empty before it is shown."""
        return (self._look.html(self._state), self._look.text(self._state)) if self._state else ("", "")

    def _show_state(self, state: S) -> None:
        is_live = self._outputs.interactive and not self._is_finished and not state.is_final
        if is_live and self._widgets is None:
            self._widgets = self._look.widgets(state, self._actions, self._click)
            self._widgets.on_refused(self._outputs.refused)
        if not self._is_finished:
            self._paint(state, whole=True)
        self._state = state
        self._is_finished = self._is_finished or state.is_final

    def _update(self, state: S, *, whole: bool) -> None:
        if self._widgets is not None:
            self._paint(state, whole=whole)
        elif whole and self._state is not None and self._state.timeless() != state.timeless():
            self._state = state
            self._outputs.refresh()

    def _finish(self, state: S) -> None:
        if self._widgets is not None:
            self._widgets.retire(state)
        self._outputs.refresh()

    def _offer(self) -> None:
        if self._widgets is not None and self._state is not None and not self._is_finished:
            self._widgets.offer()
            self._paint(self._state, whole=False)

    def _click(self, button: str) -> None:
        with self._lock:
            if self._widgets is None or self._state is None or self._is_finished:
                return
            act = self._widgets.click(button)
            self._paint(self._state, whole=False)
        if act is not None:
            try:
                act()
            except BaseException:
                self.offer()
                raise

    def _paint(self, state: S, *, whole: bool) -> None:
        self._state = state
        if self._widgets is not None:
            self._widgets.paint(state, whole=whole)


class _Outputs:
    """The outputs of a card, and of the cards that were started from it, below one another."""

    def __init__(self, display: Display, *, interactive: bool) -> None:
        self.interactive = interactive
        self.fault: BaseException | None = None
        self.lock = threading.RLock()
        self.cards: list[LiveCard[Any]] = []
        self._display = display
        # What each output shows now, None for the widgets.
        self._shown: dict[str, tuple[object, ...] | None] = {}
        self._frame: VBox | None = None
        self._is_retired = False

    def attempt(self, *steps: Callable[[], None]) -> None:
        """Do the steps; if one fails with widgets, do all again without."""
        try:
            for step in steps:
                step()
        except Exception as error:
            if not self.interactive:
                raise
            self.fault = error
            self._drop_widgets()
            for step in steps:
                step()

    def refused(self) -> None:
        """Continue without widgets: the front end has closed their connection."""
        with self.lock:
            if self.interactive and not all(card.is_finished for card in self.cards):
                self._drop_widgets()

    def show(self) -> None:
        """Show the cards in one more output."""
        bundle, metadata = self._static_bundle(), dict[str, Any]()
        frame = self._live_frame()
        if frame is not None:
            view, metadata = _bundle_of(frame)
            # The static layer replaces a widget's own text/plain, which is its repr.
            bundle = {**view, **bundle}
        display_id = uuid4().hex
        # Before it is displayed: an interrupt just then leaves an output that is kept up to date.
        self._shown[display_id] = None if frame else self._states()
        self._display(bundle, raw=True, metadata=metadata, display_id=display_id, update=False)

    def refresh(self) -> None:
        """Add a new card to the frame; without a frame, freeze the outputs; after the last card, retire the frame."""
        if self._live_frame() is None:
            self._freeze()
        if all(card.is_finished for card in self.cards):
            self._retire()

    def close(self) -> None:
        """Remove what is left from the kernel and the browser."""
        for card in self.cards:
            if card.widgets is not None:
                card.widgets.close()
        if self._frame is not None:
            self._frame.close()

    def _states(self) -> tuple[object, ...]:
        return tuple(card.state for card in self.cards if card.state is not None)

    def _live_frame(self) -> VBox | None:
        """Return the widget that holds all cards; None where they are shown without widgets."""
        boxes = [card.widgets.box for card in self.cards if card.widgets is not None]
        if not boxes or all(card.is_finished for card in self.cards):
            return None
        if self._frame is None:
            from ipywidgets import VBox  # late: a card without widgets does without the package

            self._frame = VBox(boxes, layout=boxes[0].layout).add_class("dfm-pile")
        elif len(self._frame.children) != len(boxes):
            self._frame.children = boxes
        return self._frame

    def _drop_widgets(self) -> None:
        logger.debug("cards continue without widgets", exc_info=self.fault)
        self.interactive = False
        self._frame = None
        for card in self.cards:
            card.drop_widgets()
        self._freeze()

    def _freeze(self) -> None:
        states = self._states()
        for display_id, shown in self._shown.items():
            if shown == states:
                continue
            self._display(self._static_bundle(), raw=True, metadata={}, display_id=display_id, update=True)
            self._shown[display_id] = states

    def _static_bundle(self) -> dict[str, Any]:
        pages, texts = zip(*(card.bundle() for card in self.cards if card.state is not None), strict=True)
        return {"text/html": "".join(pages), "text/plain": "\n".join(texts)}

    def _retire(self) -> None:
        """Keep the frame for pages that were reloaded; of many retired outputs, close the oldest."""
        if self._frame is None or self._is_retired:
            return
        self._is_retired = True
        _RETIRED.append(self)
        if len(_RETIRED) > MOST_RETIRED:
            _RETIRED.popleft().close()


_RETIRED: Final[deque[_Outputs]] = deque()


def _bundle_of(widget: VBox) -> tuple[dict[str, Any], dict[str, Any]]:
    made = widget._repr_mimebundle_()  # IPython's own protocol
    return made if isinstance(made, tuple) else (made, {})
