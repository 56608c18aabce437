"""A run as a row: everything comes back, times to the microsecond."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dataflow_magic.ledger.record import record_of, view_of
from dataflow_magic.models.failure import Failure, Place
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import JobCondition
from dataflow_magic.reasons.advice import advised
from tests.helpers import execution
from tests.views import run_view

SUBMITTED = datetime(2026, 11, 2, 1, 0, 0, 123456, tzinfo=UTC)
CONDITION = {
    "numWorker": 4,
    "timeout": 60,
    "nrn": "nrn:1",
    "scriptPath": "b/s/",
    "logPath": "b/l/",
    "more": [1],
}


def a_view(**fields: Any) -> RunView:
    made: dict[str, Any] = {
        "condition": JobCondition.model_validate(CONDITION),
        "parameters": {"$a": "x", "$n": 3, "$on": True},
        "trigger_id": "t1",
        "workflow_id": "w1",
        "target": "cloud",
        "endpoint": "https://gw.example.com",
        "key": "k2345678",
        "notebook": "a.ipynb",
    }
    return run_view(SUBMITTED, **(made | fields))


@pytest.mark.parametrize(
    "view",
    [
        a_view(),
        a_view(parameters={}, condition=JobCondition()),
        a_view(is_lost=True, blind_reason="the answer was lost"),
        a_view(is_lost=True, settled="NOT_STARTED", blind_reason="not started"),
        a_view(is_lost=True, settled="UNCLEAR", blind_reason="two may be it"),
        a_view(execution=execution("RUNNING"), running_since=SUBMITTED),
        a_view(execution=execution("RUNNING"), found_by="parameters"),
        a_view(marker="log-path"),
        a_view(marker="parameter"),
        a_view(
            execution=execution("FAILED", endDate="2026-11-02T10:00:20+09:00", unknown={"a": [1]}),
            failure=advised(
                Failure(
                    "no table `a`",
                    error_class="TABLE_OR_VIEW_NOT_FOUND",
                    place=Place("daily.py", 9, "late", "df.count()"),
                )
            ),
        ),
    ],
    ids=[
        "sent",
        "bare",
        "lost",
        "not started",
        "unclear",
        "running",
        "found",
        "log-path",
        "parameter",
        "failed",
    ],
)
def test_a_view_survives_its_row(view):
    back = view_of(record_of(view))

    # Of what was lost and found settled, the row keeps the outcome.
    assert back == replace(view, is_lost=view.is_lost and not view.settled)


@pytest.mark.parametrize("marker", ["log-path", "parameter"])
def test_a_row_holds_the_request_as_asked_and_the_marker_follows_from_the_key(marker):
    view = a_view(marker=marker)
    record = record_of(view)

    assert (record.log_path, record.parameters, record.marker) == (
        "b/l/",
        '{"$a":"x","$n":3,"$on":true}',
        marker,
    )
    assert view_of(record).sent == view.sent != view.request


def test_a_row_of_a_version_without_markers_is_that_of_a_run_without_one():
    assert view_of(record_of(a_view())._replace(marker=None)) == a_view()


@pytest.mark.parametrize(
    ("view", "phase", "is_live"),
    [
        (a_view(), "sending", 1),
        (a_view(is_lost=True), "lost", 1),
        (a_view(is_lost=True, settled="UNCLEAR"), "settled", 0),
        (a_view(is_lost=True, execution=execution("READY")), "started", 1),
        (a_view(execution=execution("COMPLETED")), "started", 0),
        (a_view(execution=execution("PAUSED")), "started", 1),
    ],
)
def test_a_row_has_the_phase_of_the_run(view, phase, is_live):
    record = record_of(view)

    assert (record.phase, record.is_live) == (phase, is_live)


def test_times_are_microseconds_and_no_run_ends_before_it_began():
    record = record_of(a_view(execution=execution("COMPLETED", endDate="2026-11-02T10:00:00+09:00")))

    assert (record.submitted, record.ended) == (1_793_581_200_123_456, 1_793_581_200_123_456)


def test_text_that_sqlite_cannot_hold_is_replaced():
    record = record_of(a_view(job_name="매출\ud800", parameters={"$a": "\ud800"}))

    assert record.job == "매출?"
    assert view_of(record).parameters == {"$a": "\ud800"}
