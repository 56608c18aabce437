"""How cards write values, times and words from outside: cleaned, on one line and cut, so that no one else has to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from dataflow_magic.card.words import Words
from dataflow_magic.models.secret import Parameter
from dataflow_magic.models.text import clean, without_colours
from dataflow_magic.models.view import (
    KST,
    NOT_STARTED,
    SUBMITTING,
    UNCLEAR,
    WAITS_FOR_ANSWER,
    WAITS_FOR_START,
    RunView,
)
from dataflow_magic.models.wire import RunState

__all__ = [
    "KINDS",
    "Kind",
    "Row",
    "clock",
    "cut",
    "day_and_clock",
    "ended",
    "line",
    "log_line",
    "row",
    "short",
    "spell",
    "target",
    "tick_seconds",
    "waiting",
]

VALUE_LENGTH: Final = 72
"""Characters of a value that are shown; a longer one is cut in the middle."""

FULL_LENGTH: Final = 4_000
"""Characters of a value that can be had by pointing at it, and of one line of a log."""


class Kind(StrEnum):
    """The sort of state a run is in; it picks the colour."""

    WAITING = "waiting"
    RUNNING = "running"
    GOOD = "good"
    BAD = "bad"
    CANCELED = "canceled"
    UNKNOWN = "unknown"
    BLIND = "blind"


KINDS: Final[dict[str, Kind]] = {
    SUBMITTING: Kind.WAITING,
    NOT_STARTED: Kind.BAD,
    UNCLEAR: Kind.BLIND,
    RunState.READY: Kind.WAITING,
    RunState.RUNNING: Kind.RUNNING,
    RunState.COMPLETED: Kind.GOOD,
    RunState.FAILED: Kind.BAD,
    RunState.CANCELED: Kind.CANCELED,
}
"""Of each state that is known; any other is `Kind.UNKNOWN`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One name and its value.

    Parameters
    ----------
    value
        Cut in the middle to at most 72 characters.
    full
        The value before that cut, itself cut at 4,000 characters; empty when ``value`` is the whole of it.
    """

    name: str
    value: str
    full: str = ""


def waiting(view: RunView, words: Words) -> str:
    """Return what a run waits for, empty where it does not."""
    if not view.waiting_for:
        return ""
    known = {WAITS_FOR_ANSWER: words.for_the_answer, WAITS_FOR_START: words.for_the_start}
    return words.waiting.format(what=known.get(view.waiting_for) or words.sentence(line(view.waiting_for)))


def target(view: RunView) -> str:
    """Return where a run is."""
    # Host and port only: an address may carry a user and a password.
    address = urlsplit(view.endpoint)
    host = short(address.netloc.rpartition("@")[2])
    if view.target in ("local", "cloud"):
        return view.target
    return host if "://" in view.target or not view.target else f"{short(view.target)} ({host})"


def tick_seconds(elapsed: float) -> float:
    """Return the seconds from one elapsed time shown to the next: one in the first two minutes, then ten.

    Parameters
    ----------
    elapsed
        Seconds since the run was submitted.
    """
    return 1.0 if elapsed < 120 else 10.0


def clock(moment: datetime) -> str:
    """Return the time of the day, in the service's zone."""
    return f"{moment.astimezone(KST):%H:%M:%S} KST"


def day_and_clock(moment: datetime) -> str:
    """Return the day and the time, in the service's zone."""
    return f"{moment.astimezone(KST):%Y-%m-%d %H:%M:%S} KST"


def ended(began: datetime, end: datetime) -> str:
    """Return when a run ended, without the day where that is the one it began."""
    same_day = began.astimezone(KST).date() == end.astimezone(KST).date()
    return clock(end) if same_day else day_and_clock(end)


def spell(value: Parameter) -> str:
    """Return a value as its JSON has it: a JSON block is sent with its own types."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def row(name: str, raw: str) -> Row:
    """Return a name and its value, which can be had longer than it is shown."""
    full = clean(cut(raw, FULL_LENGTH))
    value = cut(full, VALUE_LENGTH)
    return Row(short(name), value, full if full != value else "")


def short(text: str) -> str:
    """Return a name or an id."""
    return cut(clean(cut(text, FULL_LENGTH)), VALUE_LENGTH)


def line(text: str) -> str:
    """Return the words of a message on one line, without colour codes."""
    bounded = cut(without_colours(text), FULL_LENGTH)
    return cut(clean(" ".join(bounded.split())), 8 * VALUE_LENGTH)


def log_line(text: str) -> str:
    """Return one line of a log as a terminal would show it."""
    # A carriage return starts the line over, as progress bars do: the last writing is what a terminal would show.
    shown = without_colours(text).rstrip("\r\n").rpartition("\r")[2]
    return clean(cut(shown.expandtabs(4), FULL_LENGTH))


def cut(text: str, length: int) -> str:
    """Return text of at most so many characters, without its middle where it has more."""
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[len(text) - (length - head - 1) :]}"
