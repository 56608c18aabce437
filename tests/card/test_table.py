"""The table of runs as a person reads it: few columns, readable times, the reason in sight, within 100 columns."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.card.table import to_html, to_text
from dataflow_magic.models.wire import KST
from tests.card.test_run_card import Read

NOW = datetime(2026, 11, 27, 14, 5, tzinfo=KST)


def a_row(**values: Any) -> dict[str, Any]:
    return {
        "run_id": "lE9fjUqW2ICe",
        "key": "k2345678",
        "job": "daily_delays",
        "status": "COMPLETED",
        "submitted": datetime(2026, 11, 27, 14, 2, 11, 654321, tzinfo=KST),
        "running": None,
        "waited": timedelta(seconds=1.75),
        "ran": timedelta(seconds=17.4),
        "timed_by": "service",
        "reason": None,
        "param.origin": "JFK",
        "param.month": "1",
    } | values


FAILED = a_row(
    status="FAILED",
    run_id="Zk31mQpT0aBc",
    submitted=datetime(2026, 11, 26, 9, 30, 59, tzinfo=KST),
    ran=timedelta(seconds=3725),
    reason="No column dep_dely; the nearest are dep_delay, arr_delay.",
)
CANCELED = a_row(
    status="CANCELED", run_id="c0", waited=None, ran=None, timed_by=None, reason="canceled by you"
)
LIVE = a_row(status="RUNNING", run_id="r0", ran=None, running=NOW - timedelta(seconds=9.9))


def test_the_text_has_one_line_a_run_and_the_reason_below_it():
    assert to_text([a_row(), LIVE, CANCELED, FAILED], 4, NOW).splitlines() == [
        "status     job           parameters            submitted  waited             ran  run",
        "COMPLETED  daily_delays  origin=JFK month=1     14:02:11     2 s            17 s  lE9fjUqW2ICe",
        "RUNNING    daily_delays  origin=JFK month=1     14:02:11     2 s  since 14:04:50  r0",
        "CANCELED   daily_delays  origin=JFK month=1     14:02:11                          c0",
        "           canceled by you",
        "FAILED     daily_delays  origin=JFK month=1  11-26 09:30     2 s      1 h 02 min  Zk31mQpT0aBc",
        "           No column dep_dely; the nearest are dep_delay, arr_delay.",
        "log: %dataflow_logs Zk31mQpT0aBc",
    ]


def test_the_html_has_the_same():
    read = Read(to_html([FAILED], 1, NOW))

    for cell in ("status", "job", "parameters", "submitted", "waited", "ran", "run"):
        assert f"{cell}" in read.text
    for cell in (
        "FAILED",
        "origin=JFK month=1",
        "11-26 09:30",
        "2 s",
        "1 h 02 min",
        "No column dep_dely",
        "Zk31mQpT0aBc",
    ):
        assert cell in read.text
    assert to_html([FAILED], 1, NOW).count("<th ") == 8


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"timed_by": "minutes", "ran": timedelta(minutes=7)}, "  2 s  7 min  "),
        ({"timed_by": "here", "ran": timedelta(seconds=65)}, "  1 min 05 s  "),
        ({"ran": timedelta(seconds=0.2)}, "  0 s  "),
        ({"submitted": datetime(2025, 1, 2, 3, 4, tzinfo=KST)}, "  2025-01-02  "),
        ({"run_id": None}, "  k2345678"),
        ({"param.origin": ""}, '  origin="" month=1  '),
        ({"param.origin": None}, "  month=1  "),
        ({"job": "a_job_with_a_very_long_name_indeed"}, "  a_job_with…me_indeed  "),
    ],
)
def test_values_are_short(values, shown):
    assert shown in to_text([a_row(**values)], 1, NOW)


def test_rows_that_are_not_shown_are_counted():
    text = to_text([a_row()], 1_205, NOW)

    assert text.endswith(
        "\nand 1,204 more; %dataflow_runs --limit N --status FAILED --since 7d selects"
        "\nlog: %dataflow_logs lE9fjUqW2ICe"
    )
    assert "and 1,204 more" in Read(to_html([a_row()], 1_205, NOW)).text


def test_a_table_without_runs_says_so():
    assert to_text([], 0, NOW) == "no runs"
    assert to_html([], 0, NOW) == "<p>no runs</p>"


def test_text_from_outside_is_escaped():
    assert "<b>" not in to_html([a_row(reason="<b>", **{"param.x": "<b>"})], 1, NOW)


WORDS = st.text(st.characters(codec="utf-8"), max_size=300)


@given(
    st.lists(
        st.builds(a_row, reason=st.none() | WORDS, job=WORDS, **{"param.x": WORDS}), min_size=1, max_size=4
    )
)
def test_the_text_fits_a_hundred_columns_whatever_it_holds(rows):
    from dataflow_magic.card.table import _width

    assert max(_width(line) for line in to_text(rows, 9, NOW).splitlines()) <= 100
