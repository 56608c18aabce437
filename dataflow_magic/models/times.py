"""How long a run waited, ran, and took in all: the one definition that the card, every table and `Run` share. Pure.

========  ==========================================
``waited``  from its creation until it was first RUNNING
``ran``     from RUNNING until it ended
``total``   from its creation until it ended
========  ==========================================

Each has its source, and is None where nobody knows it. A service that gives no exact dates gives whole seconds for
creation and end, whole minutes for waiting and running, and no time at all for the begin of RUNNING. So a run that was
never seen RUNNING, and took less than a minute, has a total and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from dataflow_magic.models.wire import ExactDates, JobExecution, RunState

__all__ = ["NO_TIMES", "Source", "Span", "Times", "times_of"]

Source = Literal["service", "minutes", "here"]
"""Who measured a time: the service's clock; the service, in whole minutes; this machine, which polls."""

SLACK = timedelta(seconds=80)
"""By how much a time seen from here may differ from the service's whole minutes: those round down, polls come late."""


class Span(NamedTuple):
    """A length of time and who measured it.

    Attributes
    ----------
    length
        Never negative.
    source
        ``service`` is exact to the second at least, ``minutes`` to the minute, ``here`` to the interval of polling.
    """

    length: timedelta
    source: Source


@dataclass(frozen=True, slots=True)
class Times:
    """The three times of a run; None where unknown.

    Parameters
    ----------
    waited
        Created to first RUNNING; None also for a run that never ran.
    ran
        RUNNING to ended; None while it runs.
    total
        Created to ended; None while the run is active.
    running
        When the run was first RUNNING, aware: by the service, else as seen from here.
    """

    waited: Span | None = None
    ran: Span | None = None
    total: Span | None = None
    running: datetime | None = None


NO_TIMES = Times()


def times_of(execution: JobExecution | None, submitted: datetime, running: datetime | None) -> Times:
    """Return the times of a run.

    Parameters
    ----------
    execution
        The newest snapshot; None before the service's answer.
    submitted, running
        When this machine sent the start, and first saw the run RUNNING, aware.
    """
    if execution is None:
        return NO_TIMES
    if execution.exact_dates is not None:
        return _by_service(execution, execution.exact_dates)
    waited, ran, total = _in_minutes(execution.waiting_time), None, None
    if execution.status == RunState.READY:
        waited = None
    if execution.is_final:
        ran = _in_minutes(execution.running_time)
        created = execution.created_date
        total = _span(created or submitted, execution.end_date, "service" if created else "here")
    # No clock is compared with another: the waiting is by this machine's clock, the total by the service's dates.
    seen = _span(submitted, running, "here")
    rest = _length(total.length - seen.length, "here") if total and seen else None
    if seen is None or _contradict(seen, waited) or _contradict(rest, ran):
        return Times(waited, ran, total, running)
    return Times(seen, rest or ran, total, running)


def _by_service(execution: JobExecution, exact: ExactDates) -> Times:
    """Return the times of a service that knows each date exactly."""
    created, running = exact.created, exact.running
    ended = exact.ended if execution.is_final else None
    return Times(
        waited=_span(created, running, "service"),
        ran=_span(running, ended, "service"),
        total=_span(created, ended, "service"),
        running=running,
    )


def _span(began: datetime | None, ended: datetime | None, source: Source) -> Span | None:
    """Return the time between two moments; None where one is unknown, or a clock was set back between them."""
    return None if began is None or ended is None else _length(ended - began, source)


def _length(length: timedelta, source: Source) -> Span | None:
    return None if length < timedelta() else Span(length, source)


def _in_minutes(minutes: int | None) -> Span | None:
    # 0 says nothing: services report it for less than a minute, and while they count nothing yet.
    return Span(timedelta(minutes=minutes), "minutes") if minutes and minutes > 0 else None


def _contradict(seen: Span | None, reported: Span | None) -> bool:
    """Whether a time seen from here cannot be the one that the service reports: this machine slept, or looked away."""
    return seen is not None and reported is not None and abs(seen.length - reported.length) > SLACK
