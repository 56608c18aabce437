"""Cards in the outputs they are shown in, by display id: shown, updated, frozen, retired. Knows no run and no sweep.

No timer and no thread: the painter calls `LiveCard.update`, from any thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic
from uuid import uuid4

from IPython.display import display as ipython_display

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.look import Look, S
from dataflow_magic.card.markup import with_snapshot_style, with_stale_note

if TYPE_CHECKING:
    from ipywidgets import HTML, VBox

    from dataflow_magic.card.widgets import Widgets

__all__ = ["Display", "LiveCard"]

logger = logging.getLogger(__name__)

MOST_RETIRED: Final = 20
"""Finished cards that keep a widget, the newest; each holds four models in the kernel and in every open page."""

Display = Callable[..., object]
"""`IPython.display.display`; called with the bundle and the keywords raw, metadata, display_id and update."""


class LiveCard(Generic[S]):
    """One card, in as many outputs as it was shown in: core widgets while it lives, plain HTML and text after that.

    Beside the widgets stands the card as HTML, hidden while they are seen: JupyterLab never falls back from a widget whose
    model is gone to another layer of the same output.

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
        self._is_settled = self._is_finished = False

    def show(self, state: S) -> None:
        """Show the card below the running cell, and keep that output up to date from now on."""
        with self._lock:
            self._outputs.attempt(lambda: self._show_state(state), self._outputs.show)

    def show_below(self, state: S) -> None:
        """Show the card below the other one, in its outputs."""
        with self._lock:
            self._outputs.attempt(lambda: self._show_state(state), self._outputs.refresh)

    def update(self, state: S, *, whole: bool = True) -> None:
        """Repaint what has changed, all of it or the small parts only; nothing where `finish` got a final state."""
        with self._lock:
            if not self._is_finished:
                self._outputs.attempt(lambda: self._update(state, whole=whole))

    def finish(self, state: S) -> None:
        """Replace every output by HTML and text that need no kernel, then close the widgets.

        A second call changes only outputs that show another state, such as one without the log. Where cards share an
        output, it is replaced once all of them are finished. A state that is not final is one that nobody follows any
        more; a later `update` repaints it.

        One widget with the whole card stays open for pages that were loaded from a file with the live card: no update of
        an output reaches those, and they would stay blank. Only the newest finished cards keep it.
        """
        with self._lock:
            self._is_settled = True
            self._is_finished = state.is_final
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
    def widgets(self) -> Widgets[S] | None:
        """Its widgets, None where there are none."""
        return self._widgets

    @property
    def is_live(self) -> bool:
        """Whether its widgets are still painted."""
        return self._widgets is not None and not self._is_settled

    def close(self) -> None:
        """Close its widgets; continue without."""
        widgets, self._widgets = self._widgets, None
        if widgets is not None:
            widgets.close()

    def bundle(self) -> tuple[str, str]:
        """Return the card as HTML and as plain text; both are empty before it is shown."""
        return (self._look.html(self._state), self._look.text(self._state)) if self._state else ("", "")

    def _show_state(self, state: S) -> None:
        self._is_settled = self._is_settled or state.is_final
        self._is_finished = self._is_finished or state.is_final
        if self._outputs.interactive and not self._is_settled and self._widgets is None:
            self._widgets = self._look.widgets(state, self._actions, self._click)
            self._widgets.on_refused(self._outputs.refused)
        if self.is_live:
            self._paint(state, whole=True)
        self._state = state

    def _update(self, state: S, *, whole: bool) -> None:
        if self.is_live:
            before = self._state
            self._paint(state, whole=whole)
            if before is not None and before.save_key != state.save_key:
                self._outputs.save_again()
        elif whole and self._state is not None and self._state.timeless() != state.timeless():
            self._state = state
            self._outputs.refresh()

    def _finish(self, state: S) -> None:
        if self._widgets is not None and self._outputs.is_live:
            self._widgets.retire(state)
        self._outputs.refresh()

    def _offer(self) -> None:
        if self._widgets is not None and self._state is not None and self.is_live:
            self._widgets.offer()
            self._paint(self._state, whole=False)

    def _click(self, button: str) -> None:
        with self._lock:
            if self._widgets is None or self._state is None or not self.is_live:
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
        self._halves: set[str] = set()
        """Outputs that consist of two: what a saved notebook keeps, and below it the widgets, which hide that."""
        self._frame: VBox | None = None
        self._past: HTML | None = None
        """What the frame shows of finished cards whose widgets are closed."""

    @property
    def is_live(self) -> bool:
        """Whether the widgets of a card are still painted."""
        return any(card.is_live for card in self.cards)

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
            if self.interactive and self.is_live:
                self._drop_widgets()

    def show(self) -> None:
        """Show the cards in one more output."""
        self._publish(uuid4().hex, self._live_frame(), update=False)

    def refresh(self) -> None:
        """Add a new card to the frame, also where the outputs were frozen; after the last card, freeze and retire them."""
        frame = self._live_frame()
        for display_id, shown in self._shown.items():
            if shown != (None if frame else self._states()):
                self._publish(display_id, frame, update=True)
        if frame is None:
            self._retire()

    def save_again(self) -> None:
        """Bring what a saved notebook keeps of a live card up to date."""
        for display_id in self._halves:
            if self._shown[display_id] is None:
                self._publish_static(display_id, update=True)

    def close(self) -> None:
        """Remove what `refresh` has left after the last card from the kernel and the browser."""
        frame, past, self._frame, self._past = self._frame, self._past, None, None
        if past is not None:
            for widget in (past, past.layout, past.style):
                widget.close()
        if frame is not None:
            frame.close()

    def _states(self) -> tuple[object, ...]:
        return tuple(card.state for card in self.cards if card.state is not None)

    def _live_frame(self) -> VBox | None:
        """Return the widget that holds all cards; None where they are shown without widgets."""
        if not self.is_live:
            return None
        with contextlib.suppress(ValueError):
            _RETIRED.remove(self)
        boxes = [card.widgets.box for card in self.cards if card.widgets is not None]
        shown = (*([self._past] if self._past is not None else ()), *boxes)
        if self._frame is None:
            from ipywidgets import VBox  # late: a card without widgets does without the package

            self._frame = VBox(shown, layout=boxes[0].layout).add_class("dfm-pile")
        elif self._frame.children != shown:
            self._frame.children = shown
        return self._frame

    def _drop_widgets(self) -> None:
        logger.debug("cards continue without widgets", exc_info=self.fault)
        self.interactive = False
        for close in (*(card.close for card in self.cards), self.close):
            with contextlib.suppress(Exception):  # ipywidgets may have failed half-way
                close()
        self.refresh()

    def _publish(self, display_id: str, frame: VBox | None, *, update: bool) -> None:
        shown = None if frame else self._states()
        if not update:
            # Before it is displayed: an interrupt just then leaves an output that is kept up to date.
            self._shown[display_id] = shown
            if frame is not None:
                self._halves.add(display_id)
        self._publish_static(display_id, update=update, is_hidden=frame is not None)
        if display_id in self._halves:
            view, metadata = ({}, {}) if frame is None else _bundle_of(frame)
            view.pop("text/plain", None)  # its repr
            live_id = f"{display_id}-live"
            self._display(view, raw=True, metadata=metadata, display_id=live_id, update=update)
        self._shown[display_id] = shown

    def _publish_static(self, display_id: str, *, update: bool, is_hidden: bool = True) -> None:
        bundle = self._static_bundle()
        if is_hidden and display_id in self._halves:
            bundle["text/html"] = with_snapshot_style(bundle["text/html"])
        self._display(bundle, raw=True, metadata={}, display_id=display_id, update=update)

    def _static_bundle(self) -> dict[str, Any]:
        pages, texts = zip(*(card.bundle() for card in self.cards if card.state is not None), strict=True)
        return {"text/html": "".join(pages), "text/plain": "\n".join(texts)}

    def _retire(self) -> None:
        """Close the cards' widgets; leave one in the frame for pages that were reloaded, of the newest outputs only."""
        if self._frame is None:
            return
        from ipywidgets import HTML

        last = next(card.state for card in reversed(self.cards) if card.state is not None)
        page = with_stale_note(self._static_bundle()["text/html"], last)
        if self._past is None:
            self._past = HTML(page)
        elif self._past.value != page:
            self._past.value = page
        if self._frame.children != (self._past,):
            self._frame.layout = self._past.layout
            self._frame.children = (self._past,)
        for card in self.cards:
            card.close()
        if self not in _RETIRED:
            _RETIRED.append(self)
        if len(_RETIRED) > MOST_RETIRED:
            _RETIRED.popleft().close()


_RETIRED: Final[deque[_Outputs]] = deque()


def _bundle_of(widget: VBox) -> tuple[dict[str, Any], dict[str, Any]]:
    made = widget._repr_mimebundle_()  # IPython's own protocol
    return made if isinstance(made, tuple) else (made, {})
