"""The local service answers what no client sends, stays small, and works on. ``make soak`` sends thousands."""

import sys

import pytest

from tests.faults.malformed import send_malformed

REQUESTS = 400


@pytest.mark.skipif(sys.platform != "linux", reason="memory and descriptors are read from /proc")
def test_malformed_requests_neither_break_nor_fill_the_service():
    report = send_malformed(seed=0, count=REQUESTS)

    assert not report.is_wrong, str(report)
    assert {200, 400, 401, 404, 413} <= set(report.statuses), "the requests differ in what is wrong with them"
