"""A list counts as whole only where it is: services cap pages, skip by either size, count differently and repeat themselves."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.client.pages import read_list
from dataflow_magic.models.wire import KST, JobExecution, Page

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=KST)


def a_run(number: int) -> JobExecution:
    """Return a run that was created that many minutes before noon."""
    return JobExecution(job_execution_id=f"run{number:09}", created_date=NOON - timedelta(minutes=number))


class Lists:
    """A service that lists some runs, and notes what it is asked for.

    Parameters
    ----------
    cap
        Runs of a page at most.
    skips_by
        Whether a page begins at its number times the size asked for, or times the size returned.
    counts
        What ``count`` is: the runs of the page, all runs, or nothing.
    echoes
        Whether ``limit`` is the size asked for, or the size returned.
    """

    def __init__(
        self, runs: int, cap: int, *, skips_by: str = "asked", counts: str = "page", echoes: str = "asked"
    ) -> None:
        self.runs = [a_run(number) for number in range(runs)]
        self.cap, self.skips_by, self.counts, self.echoes = cap, skips_by, counts, echoes
        self.asked: list[tuple[int, int]] = []

    async def read(self, number: int, limit: int) -> Page[JobExecution]:
        self.asked.append((number, limit))
        size = min(limit, self.cap)
        first = number * (limit if self.skips_by == "asked" else size)
        items = self.runs[first : first + size]
        count = {"page": len(items), "total": len(self.runs), "none": None}[self.counts]
        return Page[JobExecution](
            list=items, count=count, page=number, limit=limit if self.echoes == "asked" else size
        )


@given(
    st.integers(0, 60), st.integers(1, 70), st.sampled_from(["asked", "returned"]),
    st.sampled_from(["page", "total", "none"]), st.sampled_from(["asked", "returned"]), st.integers(1, 80),
)  # fmt: skip
async def test_a_list_that_counts_as_whole_has_every_run(runs, cap, skips_by, counts, echoes, most):
    service = Lists(runs, cap, skips_by=skips_by, counts=counts, echoes=echoes)

    listing = await read_list(service.read, most=most)

    assert len({run.job_execution_id for run in listing.runs}) == len(listing.runs)
    if listing.is_whole:
        assert len(listing.runs) == runs
    if most > runs + 2:
        assert listing.is_whole, "and it is found to be whole"


async def test_the_page_after_the_last_is_read_to_be_sure():
    service = Lists(3, 1000)

    listing = await read_list(service.read, most=9)

    assert (len(listing.runs), listing.is_whole, service.asked) == (3, True, [(0, 1000), (1, 3)])


async def test_a_cap_that_is_not_echoed_is_noticed():
    service = Lists(7, 2)

    listing = await read_list(service.read, most=9)

    assert (len(listing.runs), listing.is_whole) == (7, True)
    assert service.asked == [(0, 1000), (1, 2), (2, 2), (3, 2), (4, 2)]


async def pages_of(*pages: Page[JobExecution], most: int = 9) -> tuple[int, bool]:
    left = list(pages)

    async def read(number: int, limit: int) -> Page[JobExecution]:  # noqa: ARG001
        return left.pop(0) if left else Page[JobExecution](list=[])

    listing = await read_list(read, most=most)
    return len(listing.runs), listing.is_whole


def page(*numbers: int, count: int | None = None) -> Page[JobExecution]:
    return Page[JobExecution](list=[a_run(number) for number in numbers], count=count)


@pytest.mark.parametrize(
    ("pages", "whole"),
    [
        ([page(1, 2, count=2)], True),
        ([page(1, 2, count=9)], False),
        ([page(1, 2), page(3), page(4, 5)], False),
        ([page(1, 2), page(1, 2)], False),
        ([page(1, 2, count=2), page(1, 2, count=2)], True),
        ([page(1, 2, count=4), page(2, 3, count=4)], False),
    ],
    ids=[
        "all counted",
        "more counted",
        "a short page in the middle",
        "one page for ever",
        "and it counts all",
        "one missed",
    ],
)
async def test_a_list_is_whole_by_its_pages(pages, whole):
    assert (await pages_of(*pages))[1] is whole


async def test_no_more_pages_than_allowed_are_read():
    service = Lists(50, 5)

    listing = await read_list(service.read, most=4)

    assert (len(listing.runs), listing.is_whole, len(service.asked)) == (20, False, 4)


async def test_an_ordered_list_is_read_back_to_the_time_that_matters():
    service = Lists(500, 20)

    listing = await read_list(service.read, most=99, since=NOON - timedelta(minutes=30))

    assert (len(listing.runs), listing.is_whole) == (40, True)


@pytest.mark.parametrize(
    "order",
    [lambda runs: runs[::-1], lambda runs: [runs[5], *runs[:5], *runs[6:]], lambda runs: runs[:9]],
    ids=["oldest first", "one out of order", "too few to decide"],
)
async def test_a_list_in_no_seen_order_is_read_to_its_end(
    order: Callable[[list[JobExecution]], list[JobExecution]],
):
    service = Lists(40, 1000)
    service.runs = order(service.runs)

    await read_list(service.read, most=99, since=NOON - timedelta(minutes=3))

    assert len(service.asked) == 2
