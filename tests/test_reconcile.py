from datetime import datetime, timedelta
from typing import Any

import pytest

from dataflow_magic.models import KST, JobCondition, JobExecution
from dataflow_magic.reconcile import candidates
from dataflow_magic.view import RunView

SUBMITTED = datetime(2026, 11, 1, 9, 0, tzinfo=KST)
CONDITION = {"numWorker": 2, "nrn": "n"}
OURS = RunView(
    target="cloud",
    endpoint="https://gw.example.com",
    job_id="j",
    job_name="daily",
    condition=JobCondition.model_validate(CONDITION),
    parameters={"$table": "a", "$n": 3, "$on": True},
    submitted_at=SUBMITTED,
)


def execution(run_id: str = "r", minutes: float = 0, **fields: Any) -> JobExecution:
    return JobExecution.model_validate(
        {
            "jobExecutionId": run_id,
            "createdDate": (SUBMITTED + timedelta(minutes=minutes)).isoformat(),
            "jobCondition": CONDITION,
            "parsedParameters": {"$table": "a", "$n": 3, "$on": True},
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("theirs", "may_be_ours"),
    [
        (execution(), True),
        (execution(minutes=-4.9), True),
        (execution(minutes=-5), True),
        (execution(minutes=-5.1), False),
        (execution(minutes=10), True),
        (execution(minutes=10.1), False),
        (execution(createdDate=None), True),
        (execution(createdDate="2026-11-01T09:00:00"), True),
        (execution(createdDate="2026-11-01T08:00:00"), False),
        (execution(jobCondition={**CONDITION, "timeout": 360, "workerType": "DEFAULT"}), True),
        (execution(jobCondition={"numWorker": 2}), True),
        (execution(jobCondition=None), True),
        (execution(jobCondition={**CONDITION, "numWorker": 4}), False),
        (execution(jobCondition={**CONDITION, "nrn": "other"}), False),
        (execution(parsedParameters=[]), True),
        (execution(parsedParameters=None), True),
        (execution(parsedParameters=[{"$table": "a"}, {"$n": 3, "$on": True}]), True),
        (execution(parsedParameters={"table": "a", "n": "3", "on": "true"}), True),
        (execution(parsedParameters={"$table": "b", "$n": 3, "$on": True}), False),
        (execution(parsedParameters={"$table": "a", "$n": 3}), False),
        (execution(parsedParameters={"$table": "a", "$n": 3, "$on": True, "$more": 1}), False),
        (execution(status="FAILED"), True),
    ],
    ids=[
        "just the same",
        "a clock a little behind",
        "a clock as far behind as may be",
        "too long before",
        "as late as may be",
        "too long after",
        "no date",
        "a date without a zone",
        "an earlier date without a zone",
        "the service's defaults added",
        "a condition told in part",
        "no condition told",
        "other workers",
        "another role",
        "parameters not told yet",
        "no parameters told",
        "parameters in a list",
        "numbers told as text, names without the sign",
        "another value",
        "a parameter less",
        "a parameter more",
        "over already",
    ],
)
def test_a_run_may_be_ours_when_nothing_speaks_against_it(theirs, may_be_ours):
    assert candidates(OURS, [theirs], set()) == ([theirs] if may_be_ours else [])


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_what_is_known_of_the_service_s_clock_counts(ahead):
    late = execution(minutes=ahead / 60)

    assert candidates(OURS, [late], set(), [timedelta(seconds=ahead)]) == [late]
    assert candidates(OURS, [execution()], set(), [timedelta(seconds=ahead)]) == []


def test_a_run_that_moved_between_two_pages_is_one():
    assert candidates(OURS, [execution(), execution()], set()) == [execution()]


def test_a_run_of_somebody_else_is_not_ours():
    runs = [execution("a"), execution("b"), execution("c")]

    assert candidates(OURS, runs, {"a", "c"}) == [runs[1]]


def test_two_that_may_be_ours_are_both_told():
    runs = [execution("a"), execution("b", minutes=1)]

    assert candidates(OURS, runs, set()) == runs
