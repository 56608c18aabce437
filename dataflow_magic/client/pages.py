"""Reads a list page by page until it is provably whole, or reaches back far enough. Knows no HTTP.

The vendor's pages document neither an order, nor whether ``count`` is of a page or in total, nor the largest page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from dataflow_magic.models.wire import JobExecution, Page

__all__ = ["Listing", "read_list"]

LIMIT = 1000
"""The documented default, and the largest page that any of the vendor's pages shows."""
ORDERED_RUNS = 10
"""Runs that must stand in the order of their creation before a list counts as ordered: by chance, one in 3.6 million does."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A job's runs as one reading saw them.

    Parameters
    ----------
    runs
        Each once, in the service's order.
    is_whole
        Whether the list certainly has no other run, or none of the time asked for.
    """

    runs: tuple[JobExecution, ...]
    is_whole: bool


async def read_list(
    read: Callable[[int, int], Awaitable[Page[JobExecution]]], *, most: int, since: datetime | None = None
) -> Listing:
    """Read a job's runs.

    A list is whole where the page after its last is empty, no earlier page was short, and no page counts more runs than
    were read. A service may return fewer runs than asked for without saying so, and may skip by either number: so the
    length of the first page is asked for from then on, by which all services skip alike.

    Parameters
    ----------
    read
        Returns the page of a number, from 0, and a size.
    most
        Pages to read.
    since
        The service's time before which no run matters: a list that is ordered from the newest to the oldest is read no
        further than that.
    """
    runs: dict[str, JobExecution] = {}
    limit, count, is_short = LIMIT, 0, False
    for number in range(most):
        page = await read(number, limit)
        known = len(runs)
        runs |= {run.job_execution_id: run for run in page.items}
        count = max(count, page.count or 0)
        if not page.items:
            return Listing(tuple(runs.values()), count <= len(runs))
        if is_short:  # the service leaves runs out of pages in the middle
            break
        if since is not None and _reaches(tuple(runs.values()), since):
            return Listing(tuple(runs.values()), is_whole=True)
        if number and len(runs) == known:  # the service repeats itself: only its count shows the end
            return Listing(tuple(runs.values()), count == len(runs))
        if number == 0:
            limit = min(limit, len(page.items))
        is_short = len(page.items) < limit
    return Listing(tuple(runs.values()), is_whole=False)


def _reaches(runs: Sequence[JobExecution], since: datetime) -> bool:
    created = [run.created_date for run in runs]
    if len(created) < ORDERED_RUNS or None in created:
        return False
    dates = [date for date in created if date is not None]
    return dates[-1] < since and dates == sorted(dates, reverse=True) and dates[0] > dates[-1]
