"""Waits for runs at a terminal: one line that is drawn again and again, or a line per change where nothing can be redrawn."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from dataflow_magic import errors
from dataflow_magic.card.run.html import to_line
from dataflow_magic.card.run.state import CardState
from dataflow_magic.cli.terminal import Terminal
from dataflow_magic.session.detached import Detached, way_back
from dataflow_magic.session.naming import name_of
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.session import Session

__all__ = ["Progress", "wait"]

TICK_SECONDS = 0.5
"""From one look at the states to the next."""


def wait(
    session: Session,
    runs: Sequence[LiveRun],
    progress: Progress,
    minutes: float | None,
    *,
    is_any: bool = False,
) -> None:
    """Wait until all runs are over, or with ``is_any`` the first.

    Raises
    ------
    WaitTimeout
        The minutes have passed.
    Detached
        The user interrupted the wait; the runs continue.
    """
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    try:
        while True:
            active = [run for run in runs if not run.is_over]
            progress.show([run.card_state() for run in runs])
            if not active or (is_any and len(active) < len(runs)):
                return
            pause = TICK_SECONDS if deadline is None else min(TICK_SECONDS, deadline - time.monotonic())
            if pause <= 0:
                names = [name_of(run) for run in active]
                raise errors.WaitTimeout(
                    f"the wait timed out after {minutes:g} min; {way_back(names)}", run=active[0]
                )
            session.wait_for(active, pause, is_any=True)
    except KeyboardInterrupt:
        names = [name_of(run) for run in runs if not run.is_over]
        raise Detached(f"stopped waiting; {way_back(names) if names else 'all runs have ended'}") from None


class Progress:
    """Shows how far runs are.

    Parameters
    ----------
    terminal
        Where it is shown; redrawn in place where the terminal has a cursor.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._shown: dict[int, object] = {}
        """By the run's place, what its last line was printed for."""

    def show(self, states: Sequence[CardState]) -> None:
        """Show the states of the runs; a run keeps its place."""
        if self._terminal.has_cursor:
            self._terminal.draw(_summary(states))
            return
        for place, state in enumerate(states):
            if state.line_key != self._shown.get(place):
                self._shown[place] = state.line_key
                self._terminal.say(to_line(state))


def _summary(states: Sequence[CardState]) -> str:
    """Return the states in one line: of one run with its progress, of several as counts."""
    if len(states) == 1:
        state = states[0]
        return "  ".join(filter(None, (to_line(state), state.bar.text if state.bar else "", state.waiting)))
    counts = Counter(state.state for state in states)
    over = sum(state.is_final for state in states)
    words = ", ".join(f"{number} {word}" for word, number in counts.items())
    elapsed = max((state.elapsed for state in states if not state.is_final), key=len, default="")
    return "  ".join(filter(None, (f"{over}/{len(states)}", words, elapsed)))
