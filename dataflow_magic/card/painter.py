"""When a card is repainted, and by which thread. Starts no thread; knows no run and no sweep.

While a cell waits, its own thread paints: front ends drop messages of a blocked cell that come from elsewhere. Otherwise a
task on the loop paints.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, Protocol, TypeVar

from dataflow_magic.card.front_end import FrontEnd, current_shell, front_end
from dataflow_magic.card.look import S, State
from dataflow_magic.card.presenter import Presenter, named

__all__ = ["PAINT_SECONDS", "Painted", "Painter", "Submit"]

logger = logging.getLogger(__name__)

PAINT_SECONDS: Final = 0.5
"""From a repaint because of a change to the next repaint at least."""

Submit = Callable[[Coroutine[Any, Any, Any]], "concurrent.futures.Future[Any]"]
"""Runs a coroutine on the loop, from any thread."""

S_co = TypeVar("S_co", bound=State, covariant=True)


class Painted(Protocol[S_co]):
    """What a card is painted of."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be known."""

    def card_state(self, *, kernel_waits: bool = False) -> S_co:
        """Return what the card shows now."""


class Painter(Generic[S]):
    """Shows a card and repaints it until it is over.

    Parameters
    ----------
    painted
        What the card is painted of. `is_over` is read before `card_state`, so the last repaint shows the end.
    presenter
        Shows the card.
    submit
        Runs the repainting task.
    on_show
        Called after the card is shown in one more output; not in a terminal.
    """

    def __init__(
        self,
        painted: Painted[S],
        presenter: Presenter[S],
        submit: Submit,
        on_show: Callable[[], None] = lambda: None,
    ) -> None:
        self._painted = painted
        self._presenter = presenter
        self._submit = submit
        self._on_show = on_show
        self._changed: asyncio.Event | None = None
        self._is_waited_on = self._is_painting = False
        self._shown_in: object = None

    @property
    def presenter(self) -> Presenter[S]:
        """What shows the card."""
        return self._presenter

    @property
    def is_waited_on(self) -> bool:
        """Whether the cell that shows the card waits for its end."""
        return self._is_waited_on

    def show(self, *, above: Painter[S] | None = None) -> None:
        """Show the card below the running cell, or below another card, and keep it up to date there."""
        self._is_waited_on = False
        self._shown_in = None
        self._show(above=above)
        self._paint_in_background()

    def show_and_wait(self, wait: Callable[[Callable[[], None]], None]) -> None:
        """Show the card below the running cell and block in `wait`; if that raises, the loop repaints from then on.

        Parameters
        ----------
        wait
            Called with a function that repaints the card, for the waiting thread to call now and then.
        """
        # The waiting cell's value is the same object, which IPython would show a second time.
        self._shown_in = _execution_count()
        self._is_waited_on = True
        try:
            self._show(kernel_waits=True)
            wait(self._paint_waiting)
        except BaseException:
            self._is_waited_on = False
            self._paint_in_background()
            raise
        # What the buttons of the ended card start is repainted.
        self._is_waited_on = False

    def show_value(self) -> None:
        """Show the card as the value of a cell, unless that cell has waited and so has shown it."""
        shown_in, self._shown_in = self._shown_in, None
        if shown_in is None or shown_in != _execution_count():
            self.show()
        elif front_end(current_shell()) is FrontEnd.TERMINAL:
            # IPython shows the repr then: Out[n] is printed already.
            raise NotImplementedError

    def resume(self) -> None:
        """Repaint from now on, after what is painted was over for a while."""
        if not self._is_waited_on:
            self._paint_in_background()

    def changed(self) -> None:
        """Record that there is a change to paint; on the loop."""
        if self._changed is not None:
            self._changed.set()

    def paint_now(self) -> float:
        """Repaint at once, and return the seconds until the card must be repainted even if nothing changes.

        An error is logged and the card is left to the next repaint.
        """
        is_over = self._painted.is_over
        try:
            return self._presenter.update(self._painted.card_state(), is_over=is_over)
        except Exception:
            logger.debug("the card of %r could not be painted", self._painted, exc_info=True)
            return 1.0

    def _show(self, *, above: Painter[S] | None = None, kernel_waits: bool = False) -> None:
        """Show the card, or say what prevents it: the cell that shows it has started a run and must not fail for it."""
        try:
            state = self._painted.card_state(kernel_waits=kernel_waits)
            self._presenter.show(state, above=above.presenter if above else None)
            if self._presenter.is_shown:
                self._on_show()
        except Exception as error:
            logger.debug("the card of %r could not be shown", self._painted, exc_info=True)
            self._presenter.say(f"{self._painted!r} (its card could not be shown: {named(error)})")

    def _paint_waiting(self) -> None:
        try:
            self._presenter.update(self._painted.card_state(kernel_waits=True), kernel_waits=True)
        except Exception:
            logger.debug("the card of %r could not be painted", self._painted, exc_info=True)

    def _paint_in_background(self) -> None:
        if not self._presenter.is_shown:
            return
        if self._painted.is_over:
            self.paint_now()
        else:
            self._submit(self._paint())

    async def _paint(self) -> None:
        # Decided on the loop, so that a task about to end and one about to begin cannot miss each other.
        if self._is_painting:
            return
        self._is_painting = True
        try:
            await self._keep_painting()
        finally:
            self._is_painting = False

    async def _keep_painting(self) -> None:
        self._changed = changed = asyncio.Event()
        changed.set()
        while not self._is_waited_on:
            is_change = changed.is_set()
            changed.clear()
            is_over = self._painted.is_over
            rest = self.paint_now()
            if is_over:
                return
            # A change after a tick is painted at once, a change after a change only this much later.
            if is_change:
                await asyncio.sleep(PAINT_SECONDS)
                rest -= PAINT_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), max(0.0, rest))


def _execution_count() -> object:
    return getattr(current_shell(), "execution_count", None)
