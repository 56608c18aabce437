"""The clocks of a machine: one that people and NTP set, and a steady one that also counts the time a machine sleeps."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

__all__ = ["Clock", "system_clock"]

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Linux names each boot there (random(4))."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What a client reads the time from.

    Parameters
    ----------
    now
        Seconds since 1970; may be set at any time.
    steady
        Seconds that nobody sets; by default ``now``, for callers that hand in a clock of their own.
    boot
        Names what ``steady`` counts from: only values with the same name are comparable.
    """

    now: Callable[[], float]
    steady: Callable[[], float]
    boot: str = field(default_factory=lambda: f"process {os.getpid()}")

    @classmethod
    def of(cls, now: Callable[[], float], steady: Callable[[], float] | None = None) -> Clock:
        """Return the machine's clock, or one of the functions that a caller hands in."""
        return system_clock() if now is time.time and steady is None else cls(now, steady or now)


@cache
def system_clock() -> Clock:
    """Return the clock of this machine."""
    return Clock(time.time, _steady, _boot())


def _steady() -> float:
    # On macOS CLOCK_MONOTONIC counts a sleeping machine's time; on Linux only CLOCK_BOOTTIME does (clock_gettime(2)).
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _boot() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:  # no other process of the machine can compare its values then
        return uuid.uuid4().hex
