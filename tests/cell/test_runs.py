"""Which runs a table shows, and what of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dataflow_magic.cell.runs import Listing, parse_listing
from dataflow_magic.errors import CellError
from dataflow_magic.ledger.record import record_of
from dataflow_magic.models.wire import KST
from tests.helpers import execution
from tests.views import run_view

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=KST)


def a_record(key: str, status: str, hours: int, job: str = "daily"):
    view = run_view(NOW - timedelta(hours=hours), job_id=f"id-{job}", job_name=job, key=key)
    return record_of(replace(view, execution=execution(status)))


RECORDS = [
    a_record("a", "COMPLETED", 300),
    a_record("b", "FAILED", 30, "weekly"),
    a_record("c", "RUNNING", 1),
    a_record("d", "CANCELED", 0),
]


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("", "abcd"),
        ("--all", "abcd"),
        ("--job weekly", "b"),
        ("--job id-daily", "acd"),
        ("--job none", ""),
        ("--status failed,running", "bc"),
        ("--since 60m", "cd"),
        ("--since 2d", "bcd"),
        ("--since 2w", "abcd"),
        ("--since 0s", "d"),
        ("--since 2026-11-24", "cd"),
        ("--since 2026-11-24T02:30:00+00:00", "d"),
        ("--limit 2", "cd"),
        ("--limit 0", ""),
        ("--limit 99", "abcd"),
        ("--status completed,failed --limit 1", "b"),
    ],
)
def test_a_line_lets_pass(line, keys):
    listing = parse_listing(line, NOW)

    assert listing is not None
    assert "".join(record.key for record in listing.of(RECORDS)) == keys


def test_the_newest_are_taken_whatever_order_a_service_lists_them_in():
    assert [record.key for record in Listing(limit=2).of(RECORDS[::-1])] == ["d", "c"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--since yesterday", "--since 'yesterday' is not a time; write 30m, 12h, 7d, 2w or 2026-11-01"),
        ("--since 999999w", "--since '999999w' is not a time; write 30m, 12h, 7d, 2w or 2026-11-01"),
        ("--limit -1", "--limit '-1' is not a number of runs"),
        ("--limit", "line 1: argument --limit: expected one argument; see %dataflow_runs --help"),
        ("--limit few", "--limit 'few' is not a number of runs"),
        ("--sinc 7d", "unknown option '--sinc'; did you mean '--since'?; see %dataflow_runs --help"),
        ("'", "the line does not split: No closing quotation"),
        ("--remote id:../x", "'../x' is not a job id; ids are letters and digits"),
    ],
)
def test_a_line_that_is_not_understood_says_why(line, said):
    with pytest.raises(CellError) as caught:
        parse_listing(line, NOW)

    assert str(caught.value) == said


def test_help_is_no_listing():
    assert parse_listing("--help", NOW) is None


def test_columns_are_shown_in_the_order_asked_for_and_unknown_ones_refused():
    listing = parse_listing("--columns job,key", NOW)
    assert listing is not None

    assert listing.pick(["key", "x", "job"]) == ["job", "key"]
    assert Listing().pick(["key"]) is None
    with pytest.raises(CellError, match="there is no column 'job'"):
        listing.pick(["key"])


def test_times_are_compared_across_zones():
    assert Listing(since=(NOW - timedelta(hours=2)).astimezone(UTC)).of(RECORDS) == RECORDS[2:]
