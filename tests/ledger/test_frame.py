"""Runs and jobs as tables: the same columns and dtypes always, Korean time, lengths of time."""

import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow_magic.ledger.frame import jobs_frame, runs_frame
from dataflow_magic.models.failure import Failure
from dataflow_magic.models.view import KST, RunView
from dataflow_magic.models.wire import Job, JobCondition
from tests.helpers import execution
from tests.views import asking, run_view

SUBMITTED = datetime(2026, 11, 2, 1, 0, 0, 123456, tzinfo=UTC)
DTYPES = {
    "run_id": "string",
    "job": "string",
    "status": "string",
    "submitted": "datetime64[us, Asia/Seoul]",
    "running": "datetime64[us, Asia/Seoul]",
    "ended": "datetime64[us, Asia/Seoul]",
    "waited": "timedelta64[us]",
    "ran": "timedelta64[us]",
    "total": "timedelta64[us]",
    "workers": "Int64",
    "timeout_minutes": "Int64",
    "reason": "string",
    "error_class": "string",
    "timed_by": "string",
    "target": "string",
    "job_id": "string",
    "worker_type": "string",
    "nrn": "string",
    "script_path": "string",
    "log_path": "string",
    "trigger_id": "string",
    "workflow_id": "string",
    "found_by": "string",
    "notebook": "string",
    "sweep": "string",
    "key": "string",
}
JOB_DTYPES = {
    "job_id": "string",
    "name": "string",
    "type": "string",
    "status": "string",
    "last_status": "string",
    "last_run": "datetime64[us, Asia/Seoul]",
    "workers": "Int64",
    "timeout_minutes": "Int64",
    "script_path": "string",
    "log_path": "string",
    "updated": "datetime64[us, Asia/Seoul]",
}


def a_view(status: str = "RUNNING", parameters: dict[str, Any] | None = None, **fields: Any) -> RunView:
    return run_view(
        SUBMITTED,
        condition=JobCondition(num_worker=4, nrn="nrn:1"),
        parameters=parameters or {},
        trigger_id="t1",
        execution=execution(status, **fields),
    )


def dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in frame.dtypes.items()}


def test_a_table_of_runs_has_its_columns_and_dtypes_with_and_without_runs():
    assert dtypes(runs_frame([])) == DTYPES
    assert dtypes(runs_frame([a_view()])) == DTYPES
    assert len(runs_frame([])) == 0


def test_a_row_has_the_request_and_the_known_state():
    view = replace(a_view("FAILED"), failure=Failure("no such table"))
    row = runs_frame([view]).iloc[0].to_dict()

    assert row["run_id"] == "run000000001"
    assert (row["job"], row["job_id"], row["target"], row["status"]) == (
        "daily",
        "job000000001",
        "local",
        "FAILED",
    )
    assert (row["workers"], row["nrn"], row["trigger_id"]) == (4, "nrn:1", "t1")
    assert row["reason"] == "no such table"
    assert [name for name, value in row.items() if pd.isna(value)] == [
        "running",
        "ended",
        "waited",
        "ran",
        "total",
        "timeout_minutes",
        "error_class",
        "timed_by",
        "worker_type",
        "script_path",
        "log_path",
        "workflow_id",
        "found_by",
        "notebook",
        "sweep",
    ]


def test_a_row_says_how_the_run_of_a_lost_response_was_found():
    views = [replace(a_view(), found_by=found_by) for found_by in ("parameters", "marker", "user", "")]

    assert list(runs_frame(views)["found_by"].fillna("-")) == ["parameters", "marker", "user", "-"]


def test_a_row_has_the_log_path_as_sent():
    views = [
        replace(asking(a_view(), condition=JobCondition(log_path=path), marker=marker), key=key)
        for key, path, marker in [
            ("abcdefgh", "b/logs/", "off"),
            ("abcdefgh", "b/logs/", "log-path"),
            ("zzzzzzzz", "b/logs", "log-path"),
            ("abcdefgh", "b/logs/", "parameter"),
            ("abcdefgh", None, "off"),
        ]
    ]

    assert list(runs_frame(views)["log_path"].fillna("-")) == [
        "b/logs/",
        "b/logs/dataflow-run-abcdefgh/",
        "b/logs/dataflow-run-zzzzzzzz/",
        "b/logs/",
        "-",
    ]
    assert [view.sent.condition.log_path or "-" for view in views] == list(
        runs_frame(views)["log_path"].fillna("-")
    )


def test_times_are_in_korea():
    view = replace(
        a_view("COMPLETED", endDate="2026-11-02T10:00:20+09:00"), running_since=SUBMITTED.astimezone(KST)
    )
    row = runs_frame([view]).iloc[0]

    assert [row[name].isoformat() for name in ("submitted", "running", "ended")] == [
        "2026-11-02T10:00:00.123456+09:00",
        "2026-11-02T10:00:00.123456+09:00",
        "2026-11-02T10:00:20+09:00",
    ]


def test_a_run_without_an_answer_has_no_id_and_is_submitting():
    row = runs_frame([replace(a_view(), execution=None)]).iloc[0]

    assert pd.isna(row["run_id"])
    assert row["status"] == "SUBMITTING"
    assert pd.isna(row["ended"])


def test_a_row_has_how_long_the_run_waited_ran_and_took_and_who_measured_it():
    over = a_view("COMPLETED", createdDate="2026-11-02T10:00:00+09:00", endDate="2026-11-02T10:01:00+09:00")
    frame = runs_frame([replace(over, running_since=SUBMITTED + timedelta(seconds=20)), over, a_view()])

    assert [frame[name].dt.total_seconds().fillna(-1).tolist() for name in ("waited", "ran", "total")] == [
        [20.0, -1.0, -1.0],
        [40.0, -1.0, -1.0],
        [60.0, 60.0, -1.0],
    ]
    assert frame["timed_by"].fillna("-").tolist() == ["here", "-", "-"]


def test_parameters_are_columns_in_the_order_first_used_without_their_dollar():
    frame = runs_frame([a_view(parameters={"$b": "1", "$a": "x"}), a_view(parameters={"$c": "2", "$a": "y"})])

    assert list(frame.columns)[len(DTYPES) :] == ["param.b", "param.a", "param.c"]
    assert {str(frame[name].dtype) for name in ("param.b", "param.a", "param.c")} == {"string"}
    assert frame["param.a"].tolist() == ["x", "y"]
    assert frame["param.b"].isna().tolist() == [False, True]


def test_values_of_json_are_spelled_as_in_json():
    frame = runs_frame([a_view(parameters={"$b": True, "$i": 7, "$f": 0.5, "$s": "007"})])

    assert frame.filter(like="param.").iloc[0].to_dict() == {
        "param.b": "true",
        "param.i": "7",
        "param.f": "0.5",
        "param.s": "007",
    }


def test_a_name_sent_with_and_without_its_dollar_is_one_column():
    frame = runs_frame([a_view(parameters={"$a": "1"}), a_view(parameters={"a": "2"})])

    assert frame["param.a"].tolist() == ["1", "2"]


def test_values_that_a_table_cannot_hold_are_replaced():
    frame = runs_frame([a_view("ODD\ud800")])
    jobs = jobs_frame([Job.model_validate({"jobId": "a", "updatedDate": "9999-12-31T00:00:00+09:00"})])

    assert frame["status"].tolist() == ["ODD?"]
    assert len(jobs) == 1
    assert dtypes(jobs) == JOB_DTYPES


def test_a_parameter_never_hides_a_column():
    frame = runs_frame([a_view(parameters={"$status": "mine"})])

    assert frame["status"].tolist() == ["RUNNING"]
    assert frame["param.status"].tolist() == ["mine"]


def test_hundreds_of_parameters_make_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = runs_frame([a_view(parameters={f"$p{number}": "x" for number in range(300)})])

    assert len(frame.columns) == len(DTYPES) + 300


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@settings(max_examples=30)
@given(
    st.lists(
        st.dictionaries(TEXT, TEXT | st.booleans() | st.integers() | st.floats(), max_size=3), max_size=4
    )
)
def test_any_parameters_make_a_table_of_as_many_rows_in_their_order(parameters):
    frame = runs_frame(a_view(parameters=each) for each in parameters)

    assert len(frame) == len(parameters)
    assert dtypes(frame) == DTYPES | {str(name): "string" for name in frame.columns[len(DTYPES) :]}


def test_jobs_are_a_table_with_their_own_columns():
    job = Job.model_validate(
        {
            "jobId": "job000000001",
            "name": "daily",
            "type": "SCRIPT",
            "runCondition": {"numWorker": 2, "timeout": 360, "scriptPath": "b/s/"},
            "updatedDate": "2026-11-02T10:00:20+09:00",
        }
    )
    frame = jobs_frame([job])

    assert dtypes(jobs_frame([])) == dtypes(frame) == JOB_DTYPES
    row = frame.iloc[0]
    assert (row["name"], row["workers"], row["script_path"]) == ("daily", 2, "b/s/")
    assert row["updated"].isoformat() == "2026-11-02T10:00:20+09:00"
    assert pd.isna(row["last_run"])
