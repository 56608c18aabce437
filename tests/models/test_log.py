"""`LogTail`: what was read of a log while it grew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.models.log import GAP, LogTail


def test_each_read_adds_the_lines_that_are_new():
    log = LogTail().after(["a", "b"])
    assert log.lines == ("a", "b")

    log = log.after(["a", "b", "c"])
    assert (log.lines, log.since(2)) == (("a", "b", "c"), ("c",))
    log = log.after(["b", "c", "d", "e"])
    assert (log.lines, log.since(3)) == (("a", "b", "c", "d", "e"), ("d", "e"))


def test_a_read_that_finds_nothing_new_adds_nothing():
    log = LogTail().after(["a", "b"])

    assert log.after(["a", "b"]) == log
    assert log.after(["b"]) == log
    assert log.after([]) == log


def test_lines_that_were_missed_are_marked():
    assert LogTail().after(["a", "b"]).after(["x", "y"]).lines == ("a", "b", GAP, "x", "y")


def test_a_fault_is_gone_after_the_next_read():
    assert LogTail(("a",), fault="no answer").after(["a"]).fault == ""


def test_only_the_newest_lines_are_kept_and_all_are_counted():
    log = LogTail().after([f"line {n}" for n in range(1_500)])
    log = log.after([f"line {n}" for n in range(1_000, 3_000)])

    assert (len(log.lines), log.first, log.total) == (2_000, 1_000, 3_000)
    assert log.lines[-1] == "line 2999"
    assert log.since(2_998) == ("line 2998", "line 2999")
    assert len(log.since(0)) == 2_000


@given(st.lists(st.integers(1, 60), max_size=6))
def test_a_log_of_distinct_lines_is_read_exactly(ends):
    lines, log = [f"line {n}" for n in range(60)], LogTail()
    for end in sorted(ends):
        log = log.after(lines[max(0, end - 60) : end])

    assert log.lines == tuple(lines[: max(ends, default=0)])
