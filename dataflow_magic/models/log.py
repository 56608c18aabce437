"""The lines of a log that is read while it grows. Pure; reads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

__all__ = ["GAP", "LogTail"]

MOST_LINES: Final = 2_000
GAP: Final = "⋯"
"""Stands for lines that were printed and gone between two reads."""


@dataclass(frozen=True, slots=True)
class LogTail:
    """What was read of a log since a card began to show it.

    Parameters
    ----------
    lines
        The newest, at most 2,000, oldest first.
    first
        How many lines were read before these.
    fault
        Why the last read failed; empty where it did not.
    """

    lines: tuple[str, ...] = ()
    first: int = 0
    fault: str = ""

    def after(self, tail: Sequence[str]) -> LogTail:
        """Return the log with the lines that a later read found after those known; `GAP` stands for missed ones.

        Parameters
        ----------
        tail
            The last lines of the log now.
        """
        known, tail = self.lines, tuple(tail)
        fresh = (GAP, *tail) if known and tail else tail
        for start in range(len(known) if tail else 0):
            # The longest overlap: it is right unless the log repeats itself, and then nothing but repeats is missed.
            if known[start] == tail[0] and known[start:] == tail[: len(known) - start]:
                fresh = tail[len(known) - start :]
                break
        lines = (*known, *fresh)
        spare = max(0, len(lines) - MOST_LINES)
        return replace(self, lines=lines[spare:], first=self.first + spare, fault="")

    def since(self, number: int) -> tuple[str, ...]:
        """Return the lines after the first ``number``, as far as they are kept."""
        return self.lines[max(0, number - self.first) :]

    @property
    def total(self) -> int:
        """How many lines were read."""
        return self.first + len(self.lines)
