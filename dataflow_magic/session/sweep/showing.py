"""Shows a sweep as a card, and does what the buttons of the card ask for."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.front_end import current_shell, front_end
from dataflow_magic.card.painter import Painter, Submit
from dataflow_magic.card.presenter import Presenter
from dataflow_magic.card.sweep import SWEEP_CARD
from dataflow_magic.card.sweep.state import Rows, SweepState, SweepView, sweep_state
from dataflow_magic.card.words import words_of
from dataflow_magic.models.view import KST

if TYPE_CHECKING:
    from dataflow_magic.session.sweep.handle import Sweep

__all__ = ["Showing"]

logger = logging.getLogger(__name__)


class Showing:
    """The card of a sweep; made when the sweep is first shown.

    Parameters
    ----------
    swept
        Names of the parameters that differ between the runs, with their ``$``.
    submit
        Runs a coroutine on the loop.
    language
        Returns the language of cards.
    """

    def __init__(
        self, sweep: Sweep, swept: tuple[str, ...], submit: Submit, language: Callable[[], str]
    ) -> None:
        self._sweep = sweep
        self._submit = submit
        self._language = language
        self._rows = Rows(swept)
        self._painter: Painter[SweepState] | None = None

    @property
    def painter(self) -> Painter[SweepState]:
        """What shows the card, and keeps it up to date."""
        if self._painter is None:
            actions = Actions(
                cancel=lambda: self._clicked(self._sweep.click_cancel()),
                again=lambda: self._clicked(self._retry()),
                pause=lambda pauses: self._clicked(self._sweep.click_pause(pauses=pauses)),
            )
            presenter = Presenter(SWEEP_CARD, actions, front_end(current_shell()))
            self._painter = Painter(self._sweep, presenter, self._submit)
        return self._painter

    def state(self, view: SweepView, *, kernel_waits: bool) -> SweepState:
        """Return what the card shows of a sweep now."""
        words = words_of(self._language())
        return sweep_state(view, datetime.now(KST), rows=self._rows, kernel_waits=kernel_waits, words=words)

    def changed(self) -> None:
        """Take that the sweep has changed; on the loop."""
        if self._painter is not None:
            self._painter.changed()

    async def _retry(self) -> None:
        """Start the failed runs again; a card that has ended lives on."""
        await self._sweep.click_retry()
        self.painter.presenter.reopen()
        self.painter.resume()

    def _clicked(self, work: Coroutine[Any, Any, None]) -> None:
        self._submit(work).add_done_callback(self._after_click)

    def _after_click(self, done: concurrent.futures.Future[None]) -> None:
        if done.cancelled() or done.exception():
            logger.warning(
                "a button of %r: %s", self._sweep, "stopped" if done.cancelled() else done.exception()
            )
        self.painter.presenter.offer()
