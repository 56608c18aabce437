"""Shows a card as the front end can: as widgets, as HTML and text, or as lines of a terminal. Knows no run and no sweep."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.front_end import FrontEnd
from dataflow_magic.card.look import Look, S
from dataflow_magic.models.text import clean

if TYPE_CHECKING:
    from dataflow_magic.card.output import LiveCard

__all__ = ["Presenter", "named"]

logger = logging.getLogger(__name__)

WHY_LENGTH = 200
"""Characters of an error of another package that a note quotes."""

_NOTED: set[str] = set()
"""Notes that this process has shown."""


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - at once, also into a file that a user watches


class Presenter(Generic[S]):
    """Shows one card and updates what it showed.

    Parameters
    ----------
    look
        How this kind of card is written.
    actions
        What the card's buttons do.
    where
        What displays the output.
    make_card
        Makes the card, as `LiveCard` does.
    write
        Takes a terminal's lines.
    clock
        Returns seconds of a steady clock.
    noted
        Notes that were shown before, each of which is shown once.
    """

    def __init__(
        self,
        look: Look[S],
        actions: Actions,
        where: FrontEnd,
        *,
        make_card: Callable[..., LiveCard[S]] | None = None,
        write: Callable[[str], object] = _print,
        clock: Callable[[], float] = time.monotonic,
        noted: set[str] = _NOTED,
    ) -> None:
        self._look = look
        self._actions = actions
        self._where = where
        self._make_card = make_card
        self._write = write
        self._clock = clock
        self._noted = noted
        self._card: LiveCard[S] | None = None
        self._line_key: object = None
        self._whole_at = clock() - look.whole_seconds

    @property
    def is_shown(self) -> bool:
        """Whether there is a card to update."""
        return self._card is not None

    @property
    def is_live(self) -> bool:
        """Whether there is a card whose widgets a user can watch."""
        return self._card is not None and self._card.is_interactive

    def show(self, state: S, *, above: Presenter[S] | None = None) -> None:
        """Show the card below the running cell, or below another card in that card's outputs.

        A card that cannot be shown is written as lines instead: the run has started, so its cell must not fail.
        """
        if self._where is not FrontEnd.TERMINAL:
            try:
                self._show_card(state, above)
            except Exception:
                logger.debug("the card could not be shown", exc_info=True)
                self._card = None
                self._where = FrontEnd.TERMINAL
            else:
                self._note_fault()
                return
        self._line_key = state.line_key
        self._write(self._look.text(state))

    def _show_card(self, state: S, above: Presenter[S] | None) -> None:
        other = above._card if above is not None else None  # noqa: SLF001
        if self._card is None and other is not None:
            self._card = self._new_card(above=other)
            self._card.show_below(state)
            return
        if self._card is None:
            self._card = self._new_card()
        self._card.show(state)

    def update(self, state: S, *, kernel_waits: bool = False, is_over: bool = False) -> float:
        """Update what was shown; a terminal gets a line per change and the whole card at the end.

        Parameters
        ----------
        kernel_waits
            Whether a cell blocks until the end.
        is_over
            Whether nothing more will be known, also where the state is not final.

        Returns
        -------
        float
            Seconds until the card must be updated again even if nothing has changed.
        """
        if self._card is None:
            # Background work never prints: a terminal gets lines only while a cell waits.
            if kernel_waits and state.line_key != self._line_key:
                self._line_key = state.line_key
                self._write(self._look.text(state) if state.is_final else self._look.line(state))
            return state.tick
        if state.is_final or is_over:
            self._card.finish(state)
            return state.tick
        now = self._clock()
        is_whole = now - self._whole_at >= self._look.whole_seconds
        if is_whole:
            self._whole_at = now
        self._card.update(state, whole=is_whole)
        return state.tick if is_whole else self._whole_at + self._look.whole_seconds - now

    def say(self, text: str) -> None:
        """Write a line below the running cell; do nothing where that fails."""
        with contextlib.suppress(Exception):
            self._write(text)

    def offer(self) -> None:
        """Enable the buttons again, after their work is done or has failed."""
        if self._card is not None:
            self._card.offer()

    def reopen(self) -> None:
        """Take updates again, after a final state."""
        if self._card is not None:
            self._card.reopen()

    def _note_fault(self) -> None:
        fault = self._card.fault if self._card is not None else None
        if fault is None:
            return
        note = (
            f"Note: cards have no buttons here, because ipywidgets does not work in this kernel ({named(fault)}). "
            "Run %pip install -U ipywidgets and restart the kernel."
        )
        if note not in self._noted:
            self._noted.add(note)
            self.say(note)

    def _new_card(self, **options: Any) -> LiveCard[S]:
        make = self._make_card
        if make is None:
            # Late: only a process that shows a card pays for the import of ipywidgets.
            from dataflow_magic.card.output import LiveCard

            make = LiveCard
        return make(self._look, self._actions, interactive=self._where is FrontEnd.WIDGETS, **options)


def named(error: BaseException) -> str:
    """Return the type and the message of another package's error in one line, cut to 200 characters."""
    return clean(" ".join(f"{type(error).__name__}: {error}".split()))[:WHY_LENGTH]
