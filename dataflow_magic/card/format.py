"""How cards write states, values, times and text from outside: cleaned, on one line and cut. Pure: no markup, no clock."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from dataflow_magic.card.words import Words
from dataflow_magic.models.secret import Parameter
from dataflow_magic.models.text import clean, without_colours
from dataflow_magic.models.times import Times
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
    "JOB_LENGTH",
    "KINDS",
    "Kind",
    "Row",
    "clock",
    "cut",
    "day_and_clock",
    "end_of_log",
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

JOB_LENGTH: Final = 100
"""Characters of a job's name on a card: the longest is shown whole."""

VALUE_LENGTH: Final = 72
"""Characters of a value on the card; a longer one is cut in the middle."""

FULL_LENGTH: Final = 4_000
"""Characters of a value in its tooltip, and of one line of a log."""


_LINE_END: Final = re.compile(r"\r\n|[\r\n]")


class Kind(StrEnum):
    """The kind of a state, which decides its colour."""

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
"""State -> its kind; a state that is not here is `Kind.UNKNOWN`."""


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
    """Return what a run waits for; empty where it waits for nothing."""
    if not view.waiting_for:
        return ""
    known = {WAITS_FOR_ANSWER: words.for_the_answer, WAITS_FOR_START: words.for_the_start}
    return words.waiting.format(what=known.get(view.waiting_for) or words.sentence(line(view.waiting_for)))


def taken(times: Times, words: Words) -> str:
    """Return how long an ended run ran, or took in all where only that is known; empty where neither is."""
    if times.ran:
        return words.ran.format(time=words.length(times.ran))
    return words.in_all.format(time=words.length(times.total)) if times.total else ""


def target(view: RunView) -> str:
    """Return the target of a run: ``local``, ``cloud``, or a profile's name and the host of its endpoint."""
    # Host and port only: an address may contain a user and a password.
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
    """Return the time of day in Korea."""
    return f"{moment.astimezone(KST):%H:%M:%S} KST"


def day_and_clock(moment: datetime) -> str:
    """Return the date and the time in Korea."""
    return f"{moment.astimezone(KST):%Y-%m-%d %H:%M:%S} KST"


def ended(began: datetime, end: datetime) -> str:
    """Return the time of an end, with its date if that is not the date of the beginning."""
    same_day = began.astimezone(KST).date() == end.astimezone(KST).date()
    return clock(end) if same_day else day_and_clock(end)


def spell(value: Parameter) -> str:
    """Return a value as JSON writes it, which sends a block with its own types; an empty text as ``""``, a line's end as ``⏎``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _LINE_END.sub("⏎", str(value)) or '""'


def row(name: str, raw: str) -> Row:
    """Return a name and its value, cut."""
    full = clean(cut(raw, FULL_LENGTH))
    value = cut(full, VALUE_LENGTH)
    return Row(short(name), value, full if full != value else "")


def short(text: str, length: int = VALUE_LENGTH) -> str:
    """Return a name or an id, cleaned and cut."""
    return cut(clean(cut(text, FULL_LENGTH)), length)


def line(text: str) -> str:
    """Return a message on one line, cleaned and cut, without colour codes."""
    bounded = cut(without_colours(text), FULL_LENGTH)
    return cut(clean(" ".join(bounded.split())), 8 * VALUE_LENGTH)


def log_line(text: str) -> str:
    """Return one line of a log as a terminal shows it."""
    # Progress bars write a line again after a carriage return; a terminal shows what was written last.
    shown = without_colours(text).rstrip("\r\n").rpartition("\r")[2]
    return clean(cut(shown.expandtabs(4), FULL_LENGTH))


def end_of_log(lines: Sequence[str], most: int, length: int) -> tuple[str, ...]:
    """Return the last lines of a log as a terminal shows them: at most so many, and so many characters together."""
    shown: list[str] = []
    for text in reversed(lines[-most:]):
        if length <= 0:
            break
        shown.append(cut(log_line(text), length))
        length -= len(shown[-1])
    return tuple(reversed(shown))


def cut(text: str, length: int) -> str:
    """Return text of at most so many characters; longer text loses its middle."""
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[len(text) - (length - head - 1) :]}"
