import json
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dataflow_magic.local.http.requests import JobCreation, PageExecution, read
from dataflow_magic.local.http.responses import (
    ExecutionResponse,
    JobResponse,
    ProgressResponse,
    execution_response,
    job_response,
    list_response,
    progress_response,
    started_response,
)
from dataflow_magic.local.run import Refusal, script_parameters
from dataflow_magic.local.spark.progress import Progress, StageProgress
from tests.local.http.stored import CREATED, JOB, PAGE_RESPONSE, REQUIRED, RUN


def test_a_started_run_has_the_pages_response():
    response = started_response(RUN)

    assert response == PAGE_RESPONSE
    assert list(response) == list(PAGE_RESPONSE)


def test_a_waiting_run_says_what_it_waits_for_and_has_no_parameters_yet():
    response = execution_response(RUN, CREATED + timedelta(minutes=2, seconds=59), "a free slot")

    assert response == {
        **PAGE_RESPONSE,
        "jobName": "daily_sales",
        "jobCondition": {
            **PAGE_RESPONSE["jobCondition"],  # type: ignore[dict-item]
            "consoleLogPath": "dataflow-2706412-****/sparkHistoryLogs/p4Y5Pk000000/console.log",
        },
        "waitingTime": 2,
        "statusDetail": "a free slot",
        "exactDates": {"created": "2025-03-20T17:27:17.654321+09:00"},
    }


def test_a_running_run_has_its_parameters_and_whole_minutes():
    running = replace(
        RUN, status="RUNNING", started=CREATED + timedelta(seconds=90), trigger_id="T", workflow_id="W"
    )

    response = execution_response(running, CREATED + timedelta(seconds=90 + 119))

    assert response["parsedParameters"] == {"$table_name": "test.sample_table2"}
    assert (response["waitingTime"], response["runningTime"], response["executorNum"]) == (1, 1, 2)
    assert (response["triggerId"], response["workflowId"], response["type"]) == ("T", "W", "WORKFLOW")
    assert response["startDate"] == response["createdDate"] == "2025-03-20T17:27:17+09:00"
    assert response["exactDates"] == {
        "created": "2025-03-20T17:27:17.654321+09:00",
        "running": "2025-03-20T17:28:47.654321+09:00",
    }
    assert {"endDate", "statusDetail"}.isdisjoint(response)


def test_the_times_of_a_run_that_is_over_stay():
    over = replace(
        RUN,
        status="FAILED",
        detail="the script exited with code 1",
        started=CREATED + timedelta(minutes=1),
        ended=CREATED + timedelta(minutes=4),
    )

    response = execution_response(over, CREATED + timedelta(days=9))

    assert (response["status"], response["statusDetail"]) == ("FAILED", "the script exited with code 1")
    assert (response["waitingTime"], response["runningTime"]) == (1, 3)
    assert response["endDate"] == "2025-03-20T17:31:17+09:00"
    assert response["exactDates"]["ended"] == "2025-03-20T17:31:17.654321+09:00"


def test_a_run_that_never_started_waited_until_its_end():
    over = replace(RUN, status="CANCELED", ended=CREATED + timedelta(minutes=4))

    response = execution_response(over, CREATED + timedelta(days=9))

    assert (response["waitingTime"], response["runningTime"]) == (4, 0)
    assert "executorNum" not in response


def test_a_run_without_parameters_keeps_the_pages_empty_list():
    response = execution_response(replace(RUN, parameters={}, started=CREATED), CREATED)

    assert response["parsedParameters"] == []


def test_a_clock_that_was_set_back_gives_no_negative_minutes():
    running = replace(RUN, status="RUNNING", started=CREATED - timedelta(hours=1))

    response = execution_response(running, CREATED - timedelta(hours=2))

    assert (response["waitingTime"], response["runningTime"]) == (0, 0)


def test_a_job_has_its_condition_as_run_condition():
    response = job_response(
        replace(
            JOB, max_concurrent_runs=2, last_status="FAILED", last_run=CREATED, extra={"description": "매출"}
        )
    )

    assert response == {
        "jobId": "gqigvH000000",
        "name": "daily_sales",
        "type": "SCRIPT",
        "status": "READY",
        "maxConcurrentRuns": 2,
        "lastExecutionStatus": "FAILED",
        "description": "매출",
        "runCondition": {"numWorker": 2, "timeout": 360},
        "createdDate": "2025-03-20T17:27:17+09:00",
        "updatedDate": "2025-03-20T17:27:17+09:00",
        "lastExecutionDate": "2025-03-20T17:27:17+09:00",
    }


def test_a_job_that_never_ran_has_no_last_run():
    assert {"lastExecutionStatus", "lastExecutionDate", "maxConcurrentRuns"}.isdisjoint(job_response(JOB))


def test_no_stored_field_of_a_job_replaces_one_of_the_services():
    faked = {"jobId": "x", "status": "DELETED", "runCondition": {}, "createdDate": "x"}

    assert job_response(replace(JOB, extra=faked)) == job_response(JOB)


def test_progress_has_the_running_stages():
    response = progress_response(
        Progress(2, 5, 9, 1, 20, (StageProgress(4, "count at daily.py:7", 3, 1, 8),))
    )

    assert response == {
        "stagesDone": 2,
        "stagesTotal": 5,
        "tasksDone": 9,
        "tasksFailed": 1,
        "tasksTotal": 20,
        "running": [
            {
                "stageId": 4,
                "name": "count at daily.py:7",
                "tasksDone": 3,
                "tasksFailed": 1,
                "tasksTotal": 8,
            }
        ],
        "isOver": False,
    }
    assert TypeAdapter(ProgressResponse).validate_python(response) == response


def test_a_list_has_its_page_and_the_total():
    assert list_response([{"jobId": "x"}], 7, 3, 1) == {
        "list": [{"jobId": "x"}],
        "count": 7,
        "page": 3,
        "limit": 1,
    }


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(alphabet=st.characters(categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
fields = st.dictionaries(
    st.sampled_from(["workerType", "numWorker", "timeout", "nrn", "scriptPath", "logPath"]), json_values
)


@given(condition=fields, parameters=json_values, more=json_values)
def test_any_start_is_refused_or_gets_a_response_of_the_schema(condition, parameters, more):
    body = json.dumps({"jobCondition": {**REQUIRED, **condition}, "parameters": parameters, "more": more})
    try:
        execution = read(PageExecution, body.encode())
    except Refusal as refusal:
        json.dumps(refusal.detail, ensure_ascii=False).encode()
        return
    given = dict(execution.parameters)
    started = replace(
        RUN, condition=execution.condition(JOB), parameters=given, started=CREATED, status="RUNNING"
    )
    response = json.dumps(execution_response(started, CREATED), ensure_ascii=False, allow_nan=False).encode()
    TypeAdapter(ExecutionResponse).validate_json(response, strict=True)

    assert all("\0" not in value for value in script_parameters({}, given).values())


@given(condition=json_values, more=st.dictionaries(st.text(), json_values, max_size=4))
def test_any_job_is_refused_or_gets_a_response_of_the_schema(condition, more):
    body = json.dumps({"jobCondition": condition, **more, "name": "daily_sales", "type": "SCRIPT"})
    try:
        taken = read(JobCreation, body.encode()).fields()
    except Refusal as refusal:
        json.dumps(refusal.detail, ensure_ascii=False).encode()
        return
    response = job_response(replace(JOB, condition=taken["condition"], extra=taken["extra"]))

    text = json.dumps(response, ensure_ascii=False, allow_nan=False).encode()
    TypeAdapter(JobResponse).validate_json(text, strict=True)
    assert (response["jobId"], response["name"]) == ("gqigvH000000", "daily_sales")
