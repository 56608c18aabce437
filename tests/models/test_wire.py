from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dataflow_magic.models.wire import KST, Job, JobCondition, JobExecution, Page, RunState, is_final


@pytest.mark.parametrize(
    ("state", "ended", "final"),
    [
        ("READY", None, False),
        ("RUNNING", None, False),
        ("RUNNING", datetime(2026, 11, 1, tzinfo=UTC), False),
        ("COMPLETED", None, True),
        ("FAILED", None, True),
        ("CANCELED", None, True),
        ("CANCELLED", None, False),
        ("PAUSED", None, False),
        ("PAUSED", datetime(2026, 11, 1, tzinfo=UTC), True),
        ("", None, False),
    ],
    ids=[
        "waiting",
        "running",
        "running whatever its end says",
        "completed",
        "failed",
        "canceled",
        "the other spelling is unknown",
        "unknown",
        "unknown and ended",
        "missing",
    ],
)
def test_a_state_is_final_when_no_state_can_follow(state, ended, final):
    assert is_final(state, ended) is final


def test_a_state_compares_as_its_text():
    assert JobExecution(job_execution_id="r", status="FAILED").status == RunState.FAILED


def test_a_condition_is_written_in_the_page_s_order():
    condition = JobCondition(
        log_path="l", timeout=0, nrn="n", script_path="s", num_worker=2, worker_type="DEFAULT"
    )

    assert list(condition.to_wire().items()) == [
        ("workerType", "DEFAULT"),
        ("numWorker", 2),
        ("timeout", 0),
        ("nrn", "n"),
        ("scriptPath", "s"),
        ("logPath", "l"),
    ]


def test_a_field_that_was_not_set_is_not_written():
    assert JobCondition(timeout=60).to_wire() == {"timeout": 60}
    assert JobCondition().to_wire() == {}


def test_a_condition_is_laid_over_the_stored_one_field_by_field():
    stored = JobCondition.model_validate(
        {"numWorker": 2, "timeout": 360, "nrn": "n", "workerType": None, "spot": True, "zone": "KR-1"}
    )
    given = JobCondition.model_validate({"numWorker": 4, "nrn": None, "zone": "KR-2"})

    assert given.over(stored).to_wire() == {
        "numWorker": 4,
        "timeout": 360,
        "nrn": "n",
        "spot": True,
        "zone": "KR-2",
    }


CONDITIONS = st.builds(
    JobCondition,
    num_worker=st.none() | st.integers(),
    timeout=st.none() | st.integers(),
    nrn=st.none() | st.text(),
    script_path=st.none() | st.text(),
)


@given(CONDITIONS, CONDITIONS, CONDITIONS)
def test_laying_conditions_over_each_other_does_not_depend_on_the_grouping(first, second, third):
    assert first.over(second).over(third) == first.over(second.over(third))


@given(CONDITIONS)
def test_an_empty_condition_changes_nothing(condition):
    whole = condition.over(JobCondition())

    assert whole == JobCondition().over(whole) == whole.over(whole)
    assert None not in whole.to_wire().values()


@pytest.mark.parametrize("value", ["4", 4.0, True, [4]], ids=["text", "float", "bool", "list"])
def test_a_number_of_workers_is_a_whole_number(value):
    with pytest.raises(ValidationError):
        JobCondition.model_validate({"numWorker": value})


def test_values_cannot_be_changed_in_place():
    with pytest.raises(ValidationError, match="frozen"):
        JobCondition(timeout=1).timeout = 2


def test_a_job_may_call_its_condition_by_either_name():
    assert Job.model_validate({"jobId": "j", "runCondition": {"timeout": 1}}).condition.timeout == 1
    assert Job.model_validate({"jobId": "j", "jobCondition": {"timeout": 2}}).condition.timeout == 2
    assert Job(job_id="j", run_condition=JobCondition(timeout=3)).condition.timeout == 3
    assert Job(job_id="j").condition == JobCondition()


def test_of_two_conditions_of_a_job_runcondition_counts():
    job = Job.model_validate({"jobId": "j", "jobCondition": {"timeout": 2}, "runCondition": {"timeout": 1}})

    assert job.condition.timeout == 1


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-03-20T17:27:17+09:00", datetime(2025, 3, 20, 8, 27, 17, tzinfo=UTC)),
        ("2025-03-20T17:27:17", datetime(2025, 3, 20, 8, 27, 17, tzinfo=UTC)),
        ("2025-03-20T17:27:17.250+0900", datetime(2025, 3, 20, 8, 27, 17, 250_000, tzinfo=UTC)),
        ("2025-03-20T08:27:17Z", datetime(2025, 3, 20, 8, 27, 17, tzinfo=UTC)),
        (1742459237000, datetime(2025, 3, 20, 8, 27, 17, tzinfo=UTC)),
        ("", None),
        (None, None),
    ],
    ids=["as on the page", "no zone is Korea's", "milliseconds", "UTC", "a number", "empty", "null"],
)
def test_each_form_of_a_date_is_the_same_instant(text, moment):
    execution = JobExecution.model_validate({"jobExecutionId": "r", "createdDate": text})

    assert execution.created_date == moment


def test_a_date_without_a_zone_is_korean_time():
    execution = JobExecution(job_execution_id="r", end_date=datetime(2025, 3, 20, 17, 27, 17))  # noqa: DTZ001

    assert execution.end_date == datetime(2025, 3, 20, 17, 27, 17, tzinfo=KST)
    assert execution.to_wire() == {"jobExecutionId": "r", "endDate": "2025-03-20T17:27:17+09:00"}


def test_a_null_reads_as_missing():
    job = Job.model_validate({"jobId": "j", "name": None, "runCondition": None})
    run = JobExecution.model_validate({"jobExecutionId": "r", "jobId": None, "status": None})
    page = Page[Job].model_validate({"list": None, "count": None, "page": None, "limit": None})

    assert (job.name, job.condition) == ("", JobCondition())
    assert (run.job_id, run.status, run.is_final) == ("", "", False)
    assert (page.items, page.count, page.page, page.limit) == ([], None, None, None)


def test_a_run_without_an_id_is_invalid():
    with pytest.raises(ValidationError):
        JobExecution.model_validate({"status": "READY"})
    with pytest.raises(ValidationError):
        JobExecution.model_validate({"jobExecutionId": None})


@pytest.mark.parametrize(
    ("items", "limit", "asked", "last"),
    [
        (0, 10, 10, True),
        (9, 10, 10, True),
        (10, 10, 10, False),
        (5, 5, 10, False),
        (4, 5, 10, True),
        (10, None, 10, False),
        (9, None, 10, True),
        (9, 1000, 10, True),
        (1, 1, 1, False),
        (0, 0, 0, True),
    ],
    ids=[
        "empty",
        "short",
        "full",
        "full of the service's own size",
        "short of the service's own size",
        "full, no size echoed",
        "short, no size echoed",
        "short, another size echoed",
        "a page of one",
        "nothing asked for",
    ],
)
def test_a_page_is_the_last_when_it_is_not_full(items, limit, asked, last):
    page = Page[Job](list=[Job(job_id=str(number)) for number in range(items)], limit=limit)

    assert page.is_last(asked) is last
