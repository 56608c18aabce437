"""What the buttons of a card do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Actions"]


@dataclass(frozen=True, slots=True)
class Actions:
    """What a click calls, from any thread, also one without an event loop: each submits its work and returns at once.

    Where a call raises, its button is enabled again.

    Parameters
    ----------
    cancel
        Ends the run, or the live runs of a sweep; the user has confirmed it.
    again
        Starts the same run, or the failed runs of a sweep, once more.
    logs
        Begins or ends reading the end of the log.
    pause
        Lets the starts of a sweep wait, or with False go on.
    """

    cancel: Callable[[], object] = lambda: None
    again: Callable[[], object] = lambda: None
    logs: Callable[[bool], object] = lambda _: None
    pause: Callable[[bool], object] = lambda _: None
