"""How a run is shown where we are: a live card, a card without widgets, or lines in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.run.html import to_text
from dataflow_magic.card.run.state import CardState, card_state
from dataflow_magic.card.words import ENGLISH, Words
from dataflow_magic.models.view import RunView

if TYPE_CHECKING:
    from dataflow_magic.card.run.widgets import LiveCard

__all__ = ["FrontEnd", "Presenter", "front_end"]


class FrontEnd(StrEnum):
    """What looks at the output."""

    WIDGETS = "widgets"
    STATIC = "static"
    TERMINAL = "terminal"


def front_end(shell: Any) -> FrontEnd:
    """Say what looks at this shell's output.

    Parameters
    ----------
    shell
        The running IPython shell, or None outside of one.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return FrontEnd.TERMINAL
    if is_headless(shell) or "google.colab" in sys.modules:
        # Nobody can press a button; Colab does not take changes of a widget once its cell is done (colabtools#3373).
        return FrontEnd.STATIC
    return FrontEnd.WIDGETS


def is_headless(shell: Any) -> bool:
    """Whether nobody watches: nbclient, papermill and nbconvert tell the kernel that no input can be asked for."""
    kernel = getattr(shell, "kernel", None)
    return kernel is not None and getattr(kernel, "_allow_stdin", True) is False


class Presenter:
    """Shows one run and keeps what it showed up to date.

    Parameters
    ----------
    actions
        What the card's buttons do.
    where
        What looks at the output.
    words
        Gives the card's labels, anew for each painting.
    make_card
        Makes the card; the default is the one of ipywidgets.
    write
        Takes a terminal's lines.
    """

    def __init__(
        self,
        actions: Actions,
        where: FrontEnd,
        *,
        words: Callable[[], Words] = lambda: ENGLISH,
        make_card: Callable[..., LiveCard] | None = None,
        write: Callable[[str], object] = print,
    ) -> None:
        self._actions = actions
        self._where = where
        self._words = words
        self._make_card = make_card
        self._write = write
        self._card: LiveCard | None = None
        self._told: tuple[str, bool] | None = None

    @property
    def is_shown(self) -> bool:
        """Whether there is a card that wants to be kept up to date."""
        return self._card is not None

    @property
    def is_live(self) -> bool:
        """Whether somebody looks at a card that changes as it is told."""
        return self._card is not None and self._where is FrontEnd.WIDGETS

    def show(
        self, view: RunView, now: datetime, *, kernel_waits: bool = False, beside: Presenter | None = None
    ) -> None:
        """Show the run below the running cell, or below the card of another run in that one's outputs."""
        state = self._state(view, now, kernel_waits=kernel_waits)
        if self._where is FrontEnd.TERMINAL:
            self._told = _news(view)
            self._write(to_text(state))
            return
        if beside is not None and self._card is None and (other := beside._card) is not None:  # noqa: SLF001
            self._card = self._new_card(beside=other)
            self._card.show_beside(state)
            return
        if self._card is None:
            self._card = self._new_card()
        self._card.show(state)

    def update(self, view: RunView, now: datetime, *, kernel_waits: bool = False) -> None:
        """Bring what was shown up to date; a terminal gets a line per change and the whole at the end."""
        state = self._state(view, now, kernel_waits=kernel_waits)
        if self._card is None:
            # Background work never prints: only a cell that waits has lines to tell.
            if kernel_waits and _news(view) != self._told:
                self._told = _news(view)
                self._write(to_text(state) if view.is_final else _line(state))
        elif view.is_final:
            self._card.finish(state)
        else:
            self._card.update(state)

    def offer_cancel(self) -> None:
        """Give the button back after a cancel that failed."""
        if self._card is not None:
            self._card.offer_cancel()

    def _state(self, view: RunView, now: datetime, *, kernel_waits: bool) -> CardState:
        return card_state(view, now, kernel_waits=kernel_waits, words=self._words())

    def _new_card(self, **options: Any) -> LiveCard:
        make = self._make_card
        if make is None:
            # Late: ipywidgets is only paid for by who sees a card.
            from dataflow_magic.card.run.widgets import LiveCard

            make = LiveCard
        return make(self._actions, interactive=self._where is FrontEnd.WIDGETS, **options)


def _news(view: RunView) -> tuple[str, bool]:
    """Return what a terminal is told of when it changes."""
    return view.status, view.blind_since is not None


def _line(state: CardState) -> str:
    return "  ".join(
        part for part in (state.state, state.job, state.run_id, state.elapsed, state.blind) if part
    )
