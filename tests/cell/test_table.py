"""Which runs and columns a line of %dataflow_runs selects."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dataflow_magic.cell.line import HelpRequested
from dataflow_magic.cell.table import Listing, parse_listing
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
        ("", "dcba"),
        ("--all", "dcba"),
        ("--job weekly", "b"),
        ("--job id-daily", "dca"),
        ("--job none", ""),
        ("--status failed,running", "cb"),
        ("--since 60m", "dc"),
        ("--since 2d", "dcb"),
        ("--since 2w", "dcba"),
        ("--since 0s", "d"),
        ("--since 2026-11-24", "dc"),
        ("--since 2026-11-24T02:30:00+00:00", "d"),
        ("--limit 2", "dc"),
        ("--limit 0", ""),
        ("--limit 99", "dcba"),
        ("--status completed,failed --limit 1", "b"),
    ],
)
def test_a_line_selects_records(line, keys):
    listing = parse_listing(line, NOW)

    assert "".join(record.key for record in listing.of(RECORDS)) == keys


def test_the_newest_come_first_in_any_order_of_the_service():
    assert [record.key for record in Listing(limit=2).of(RECORDS[::-1])] == ["d", "c"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--since yesterday", "--since 'yesterday' is not a time; write 30m, 12h, 7d, 2w or 2026-11-01"),
        ("--since 999999w", "--since '999999w' is not a time; write 30m, 12h, 7d, 2w or 2026-11-01"),
        ("--limit -1", "argument --limit: '-1' is not a number of runs; see %dataflow_runs --help"),
        ("--limit", "argument --limit: expected one argument; see %dataflow_runs --help"),
        ("--limit few", "argument --limit: 'few' is not a number of runs; see %dataflow_runs --help"),
        ("--sinc 7d", "unknown option '--sinc'; did you mean '--since'?; see %dataflow_runs --help"),
        ("'", "the line cannot be split into words: No closing quotation; see %dataflow_runs --help"),
        ("--remote id:../x", "'../x' is not a job id; a job id has only letters and digits"),
    ],
)
def test_a_wrong_line_is_refused_with_one_line_that_says_what_to_do(line, said):
    with pytest.raises(CellError) as caught:
        parse_listing(line, NOW)

    assert str(caught.value) == said


def test_help_is_returned_for_any_line():
    with pytest.raises(HelpRequested, match=r"^usage: %dataflow_runs \[options\]"):
        parse_listing("--all --help", NOW)


def test_columns_are_shown_in_the_order_given_and_unknown_columns_are_refused():
    listing = parse_listing("--columns job,key", NOW)

    assert listing.pick(["key", "x", "job"]) == ["job", "key"]
    assert Listing().pick(["key"]) is None
    with pytest.raises(CellError, match="no column 'job'"):
        listing.pick(["key"])


def test_times_are_compared_across_zones():
    assert Listing(since=(NOW - timedelta(hours=2)).astimezone(UTC)).of(RECORDS) == RECORDS[:1:-1]
