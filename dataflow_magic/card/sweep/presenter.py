"""How a sweep is shown where we are: a live card, a card without widgets, or lines in a terminal; and how often."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from dataflow_magic.card.presenter import FrontEnd
from dataflow_magic.card.sweep.html import sweep_line, sweep_text
from dataflow_magic.card.sweep.state import SweepState

if TYPE_CHECKING:
    from dataflow_magic.card.sweep.widgets import SweepCard

__all__ = ["PAINT_SECONDS", "ROWS_SECONDS", "SweepPresenter"]

PAINT_SECONDS: Final = 0.5
"""From one painting to the next at least."""
ROWS_SECONDS: Final = 1.0
"""From one painting of the rows to the next at least: they are most of what a card sends."""


class SweepPresenter:
    """Shows one sweep and keeps what it showed up to date.

    Parameters
    ----------
    on_cancel, on_retry
        What the card's buttons do; they return at once.
    where
        What looks at the output.
    make_card
        Makes the card; the default is the one of ipywidgets.
    write
        Takes a terminal's lines.
    clock
        Seconds on a steady clock.
    """

    def __init__(
        self,
        on_cancel: Callable[[], None],
        on_retry: Callable[[], None],
        where: FrontEnd,
        *,
        make_card: Callable[..., SweepCard] | None = None,
        write: Callable[[str], object] = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_cancel = on_cancel
        self._on_retry = on_retry
        self._where = where
        self._make_card = make_card
        self._write = write
        self._clock = clock
        self._card: SweepCard | None = None
        self._told: object = None
        self._rows_at = clock() - ROWS_SECONDS
        self.seconds_to_next = 1.0
        """Until there is something to paint though no more is known: the time, or rows that were put off."""

    @property
    def is_shown(self) -> bool:
        """Whether there is a card that wants to be kept up to date."""
        return self._card is not None

    def show(self, state: SweepState) -> None:
        """Show the sweep below the running cell."""
        if self._where is FrontEnd.TERMINAL:
            self._told = _news(state)
            self._write(sweep_text(state))
            return
        if self._card is None:
            self._card = self._new_card()
        self._card.show(state)

    def update(self, state: SweepState, *, kernel_waits: bool = False) -> None:
        """Bring what was shown up to date; a terminal gets a line per change and the whole at the end."""
        if self._card is None:
            # Background work never prints: only a cell that waits has lines to tell.
            if kernel_waits and _news(state) != self._told:
                self._told = _news(state)
                self._write(sweep_text(state) if state.is_over else sweep_line(state))
        elif state.is_over:
            self._card.finish(state)
        else:
            self._paint(self._card, state)

    def offer(self) -> None:
        """Give the buttons back, once what they asked for was done or could not be."""
        if self._card is not None:
            self._card.offer()

    def _paint(self, card: SweepCard, state: SweepState) -> None:
        now = self._clock()
        rows = now - self._rows_at >= ROWS_SECONDS
        if rows:
            self._rows_at = now
        card.update(state, rows=rows)
        self.seconds_to_next = state.tick if rows else self._rows_at + ROWS_SECONDS - now

    def _new_card(self) -> SweepCard:
        make = self._make_card
        if make is None:
            # Late: ipywidgets is only paid for by who sees a card.
            from dataflow_magic.card.sweep.widgets import SweepCard

            make = SweepCard
        return make(self._on_cancel, self._on_retry, interactive=self._where is FrontEnd.WIDGETS)


def _news(state: SweepState) -> tuple[object, ...]:
    """Return what a terminal is told of when it changes."""
    return state.counts, state.is_over, bool(state.notes)
