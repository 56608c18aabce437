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
from dataflow_magic.card.markup import stale_note, with_snapshot_style

if TYPE_CHECKING:
    from ipywidgets import HTML, VBox

    from dataflow_magic.card.widgets import Widgets

__all__ = ["ENDED", "Display", "LiveCard"]

logger = logging.getLogger(__name__)

MOST_ENDED: Final = 20
"""Outputs of ended cards that keep their widgets, the newest; a card has some 25 models in the kernel and in every open page."""

Display = Callable[..., object]
"""`IPython.display.display`; called with the bundle and the keywords raw, metadata, display_id and update."""


class LiveCard(Generic[S]):
    """One card, in as many outputs as it was shown in: core widgets, and plain HTML and text.

    Beside the widgets stands the card as HTML, hidden while they are seen: JupyterLab never falls back from a widget whose
    model is gone to another layer of the same output. The saved notebook shows it.

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
        self._is_over = self._is_finished = False

    def show(self, state: S) -> None:
        """Show the card below the running cell, and keep that output up to date from now on."""
        with self._lock:
            self._outputs.attempt(lambda: self._show_state(state), self._outputs.refresh, self._outputs.show)
            self._outputs.end()
        _make_room()

    def show_below(self, state: S) -> None:
        """Show the card below the other one, in its outputs."""
        with self._lock:
            self._outputs.attempt(lambda: self._show_state(state), self._outputs.refresh)
            self._outputs.end()
        _make_room()

    def update(self, state: S, *, whole: bool = True) -> None:
        """Repaint what has changed, all of it or the small parts only; nothing where `finish` got a final state."""
        with self._lock:
            if not self._is_finished:
                self._outputs.attempt(lambda: self._update(state, whole=whole))

    def finish(self, state: S) -> None:
        """Show the end of the card, also in the saved notebook; a second call changes only what shows another state.

        The widgets stay, and with them the buttons of an ended run, and what the user opened, selected and scrolled. Those
        of the oldest ended cards make room for newer ones: HTML and text take their place. A state that is not final is
        one that nobody follows any more; a later `update` repaints it.
        """
        with self._lock:
            self._is_over = True
            self._is_finished = state.is_final
            self._outputs.attempt(lambda: self._finish(state))
            self._outputs.end()
        _make_room()

    def reopen(self) -> None:
        """Take updates again, after a final state."""
        with self._lock:
            self._is_finished = False

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
        """Whether the card has widgets."""
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
    def is_over(self) -> bool:
        """Whether it shows its end, or a state that nobody follows any more."""
        return self._is_over

    def make_widgets(self) -> None:
        """Make its widgets, unless it has them."""
        if self._widgets is None and self._state is not None:
            self._widgets = self._look.widgets(self._state, self._actions, self._click)
            self._widgets.on_refused(self._outputs.refused)
            self._widgets.paint(self._state, whole=True)

    def close(self) -> None:
        """Close its widgets; continue without."""
        widgets, self._widgets = self._widgets, None
        if widgets is not None:
            widgets.close()

    def bundle(self) -> tuple[str, str]:
        """Return the card as HTML and as plain text; both are empty before it is shown."""
        return (self._look.html(self._state), self._look.text(self._state)) if self._state else ("", "")

    def _show_state(self, state: S) -> None:
        self._is_over = self._is_over or state.is_final
        self._is_finished = self._is_finished or state.is_final
        self._state = state
        if self._widgets is None and self._outputs.interactive:
            self._outputs.make_widgets()
        else:
            self._paint(state, whole=True)

    def _update(self, state: S, *, whole: bool) -> None:
        before = self._state
        if self._widgets is not None:
            if self._is_over:
                self._is_over = False
                self._outputs.refresh()
            self._paint(state, whole=whole)
            if before is not None and before.save_key != state.save_key:
                self._outputs.save_again()
        elif whole and before is not None and before.timeless() != state.timeless():
            self._state = state
            self._outputs.refresh()

    def _finish(self, state: S) -> None:
        self._paint(state, whole=True)
        self._outputs.refresh()
        self._outputs.save_again()

    def _offer(self) -> None:
        if self._widgets is not None and self._state is not None:
            self._widgets.offer()
            self._paint(self._state, whole=False)

    def _click(self, button: str) -> None:
        with self._lock:
            if self._widgets is None or self._state is None:
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
        # What each output shows without widgets, None where it has them.
        self._shown: dict[str, tuple[object, ...] | None] = {}
        self._saved: dict[str, dict[str, Any]] = {}
        """Outputs that consist of two: what a saved notebook keeps, and below it the widgets, which hide that."""
        self._frame: VBox | None = None
        self._note: HTML | None = None
        """Below ended cards: that the saved notebook does not have their end, for pages where that is so."""

    @property
    def has_widgets(self) -> bool:
        """Whether the cards are shown as widgets."""
        return any(card.widgets is not None for card in self.cards)

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
            if self.interactive and self.has_widgets:
                self._drop_widgets()

    def make_widgets(self) -> None:
        """Make the widgets of every card, also of one that had ended and lost them."""
        for card in self.cards:
            card.make_widgets()

    def show(self) -> None:
        """Show the cards in one more output."""
        self._publish(uuid4().hex, self._framed(), update=False)

    def refresh(self) -> None:
        """Add a new card to the frame, also in outputs without one; bring outputs without widgets up to date."""
        frame = self._framed()
        for display_id, shown in self._shown.items():
            if shown != (None if frame else self._states()):
                self._publish(display_id, frame, update=True)

    def save_again(self) -> None:
        """Bring what a saved notebook keeps of cards with widgets up to date."""
        for display_id, saved in self._saved.items():
            if self._shown[display_id] is None and saved != self._static_bundle():
                self._publish_static(display_id, update=True)

    def end(self) -> None:
        """After the end of the last card, keep the widgets until enough newer cards have ended."""
        if self._frame is not None and self._is_over and self not in ENDED:
            ENDED.append(self)

    def freeze(self) -> None:
        """Replace the widgets of every output by HTML and text that need no kernel, unless a card lives again."""
        with self.lock, contextlib.suppress(Exception):  # another card's end must not fail for this one
            if self._is_over:
                self.close()
                self.refresh()

    @property
    def _is_over(self) -> bool:
        return all(card.is_over for card in self.cards)

    def close(self) -> None:
        """Remove the widgets from the kernel and the browser."""
        frame, note, self._frame, self._note = self._frame, self._note, None, None
        closes = [card.close for card in self.cards]
        for widget in (note, note and note.layout, note and note.style, frame):
            closes += [widget.close] if widget is not None else []
        for close in closes:
            with contextlib.suppress(Exception):  # ipywidgets may have failed half-way
                close()

    def _states(self) -> tuple[object, ...]:
        return tuple(card.state for card in self.cards if card.state is not None)

    def _framed(self) -> VBox | None:
        """Return the widget that holds all cards; None where they are shown without widgets."""
        boxes = [card.widgets.box for card in self.cards if card.widgets is not None]
        if not boxes:
            return None
        with contextlib.suppress(ValueError):
            ENDED.remove(self)
        from ipywidgets import HTML, VBox  # late: a card without widgets does without the package

        if self._is_over:
            last = next(card.state for card in reversed(self.cards) if card.state is not None)
            self._note = self._note or HTML().add_class("dfm-stale")
            self._note.value = stale_note(last)
            boxes.append(self._note)
        shown = tuple(boxes)
        if self._frame is None:
            self._frame = VBox(shown, layout=boxes[0].layout).add_class("dfm-pile")
        elif self._frame.children != shown:
            self._frame.children = shown
        return self._frame

    def _drop_widgets(self) -> None:
        logger.debug("cards continue without widgets", exc_info=self.fault)
        self.interactive = False
        self.close()
        self.refresh()

    def _publish(self, display_id: str, frame: VBox | None, *, update: bool) -> None:
        shown = None if frame else self._states()
        if not update:
            # Before it is displayed: an interrupt just then leaves an output that is kept up to date.
            self._shown[display_id] = shown
            if frame is not None:
                self._saved[display_id] = {}
        self._publish_static(display_id, update=update, is_hidden=frame is not None)
        if display_id in self._saved:
            view, metadata = ({}, {}) if frame is None else _bundle_of(frame)
            view.pop("text/plain", None)  # its repr
            live_id = f"{display_id}-live"
            self._display(view, raw=True, metadata=metadata, display_id=live_id, update=update)
        self._shown[display_id] = shown

    def _publish_static(self, display_id: str, *, update: bool, is_hidden: bool = True) -> None:
        saved = shown = self._static_bundle()
        is_half = display_id in self._saved
        if is_half and is_hidden:
            is_final = all(card.state.is_final for card in self.cards if card.state is not None)
            shown = {**saved, "text/html": with_snapshot_style(saved["text/html"], is_final=is_final)}
        self._display(shown, raw=True, metadata={}, display_id=display_id, update=update)
        if is_half:
            self._saved[display_id] = saved

    def _static_bundle(self) -> dict[str, Any]:
        pages, texts = zip(*(card.bundle() for card in self.cards if card.state is not None), strict=True)
        return {"text/html": "".join(pages), "text/plain": "\n".join(texts)}


ENDED: Final[deque[_Outputs]] = deque()
"""Outputs of ended cards that keep their widgets, oldest first."""


def _make_room() -> None:
    """Freeze the oldest ended cards beyond `MOST_ENDED`; called without the lock of any."""
    while len(ENDED) > MOST_ENDED:
        with contextlib.suppress(IndexError):  # another thread was faster
            ENDED.popleft().freeze()


def _bundle_of(widget: VBox) -> tuple[dict[str, Any], dict[str, Any]]:
    made = widget._repr_mimebundle_()  # IPython's own protocol
    return made if isinstance(made, tuple) else (made, {})
