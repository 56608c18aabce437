"""Prints the log of a run, once or until the run ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from dataflow_magic import errors
from dataflow_magic.cli.terminal import Terminal
from dataflow_magic.models.text import log_lines, printable, without_colours
from dataflow_magic.session.detached import Detached, way_back
from dataflow_magic.session.naming import name_of
from dataflow_magic.session.run import LiveRun

__all__ = ["news", "print_log"]

FOLLOW_SECONDS = 1.0
"""From one look at a log to the next."""
OVERLAP = 1 << 12
"""Characters at the end of a log by which it is found again once its begin is cut off."""


def print_log(
    run: LiveRun,
    terminal: Terminal,
    *,
    tail: int | None = None,
    is_following: bool = False,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Print the end of a run's log, and with ``is_following`` new lines until the run ends.

    Parameters
    ----------
    tail
        Number of lines to begin with; None for all of the last 256 KiB.

    Raises
    ------
    Detached
        The user interrupted it; the run continues.
    DataflowError
        The log cannot be read; one that is followed is read again.
    """
    name = name_of(run)
    printed = ""
    try:
        while True:
            is_over = run.is_over or not is_following
            try:
                text = run.logs()
            except errors.DataflowError:
                if is_over:
                    raise
                sleep(FOLLOW_SECONDS)
                continue
            # A line that is not whole yet may still change.
            whole = text if is_over else text[: text.rfind("\n") + 1]
            fresh = news(printed, whole)
            lines = log_lines(fresh)
            if tail is not None:
                lines, tail = lines[max(0, len(lines) - tail) :], None
            if lines:
                terminal.quote(printable(without_colours("\n".join(lines))))
            printed = whole or printed
            if is_over:
                if not printed:
                    terminal.say(f"run {name} has printed nothing")
                return
            sleep(FOLLOW_SECONDS)
    except KeyboardInterrupt:
        raise Detached(f"stopped following; {way_back([name])}") from None


def news(before: str, now: str) -> str:
    """Return what a log has after the text that was seen of it; all of it where that text is gone."""
    if now.startswith(before):
        return now[len(before) :]
    end = before[-OVERLAP:]
    place = now.rfind(end)
    return now if place < 0 else now[place + len(end) :]
