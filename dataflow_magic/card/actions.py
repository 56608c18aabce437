"""What the buttons of a card do, as whoever shows it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Actions"]


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Actions:
    """What is called on a click, which may come from any thread, also one without an event loop: hand the work on.

    Parameters
    ----------
    cancel
        End the run; asked for once and confirmed. When it raises, the button comes back.
    again
        Start the same once more.
    logs
        Begin or end reading the log's tail.
    """

    cancel: Callable[[], None] = _nothing
    again: Callable[[], None] = _nothing
    logs: Callable[[bool], None] = lambda _: None
