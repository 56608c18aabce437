from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import JobExecution
from tests.views import run_view

START = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)


def view(status: str | None, **fields: Any) -> RunView:
    execution = None if status is None else JobExecution(job_execution_id="r", status=status, **fields)
    return run_view(START, execution=execution)


def test_a_run_without_an_answer_is_being_submitted():
    nothing = view(None)

    assert (nothing.status, nothing.run_id, nothing.is_final) == ("SUBMITTING", None, False)
    assert nothing.waiting_for == "the service's answer"
    assert replace(nothing, is_lost=True).waiting_for == "", "its story says what is waited for"


@pytest.mark.parametrize(
    ("status", "detail", "waiting_for"),
    [
        ("READY", None, "the service to start it"),
        ("READY", "2 runs of this job", "2 runs of this job"),
        ("RUNNING", "a worker of spark://h:7077", "a worker of spark://h:7077"),
        ("RUNNING", None, ""),
        ("COMPLETED", "x", ""),
        ("QUEUED", None, ""),
    ],
)
def test_only_a_live_run_waits_for_something(status, detail, waiting_for):
    assert view(status, status_detail=detail).waiting_for == waiting_for


@pytest.mark.parametrize(
    ("status", "ended_after", "asked_after", "seconds"),
    [
        ("RUNNING", None, 90, 90.0),
        ("COMPLETED", 60, 90, 60.0),
        ("COMPLETED", None, 90, 90.0),
        ("RUNNING", 60, 90, 90.0),
        ("COMPLETED", -5, 90, 0.0),
        (None, None, -5, 0.0),
    ],
    ids=[
        "alive",
        "over",
        "over without a date",
        "alive whatever its end says",
        "clocks apart",
        "clock set back",
    ],
)
def test_elapsed_time_stops_at_the_end_and_is_never_negative(status, ended_after, asked_after, seconds):
    end = None if ended_after is None else START + timedelta(seconds=ended_after)

    shown = view(status, end_date=end)

    assert shown.elapsed_seconds(START + timedelta(seconds=asked_after)) == seconds
