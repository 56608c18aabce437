from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from dataflow_magic.models.request import JobRef
from dataflow_magic.models.secret import Secret
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import KST, JobCondition, JobExecution
from dataflow_magic.session.matching import Match, candidates, expires_at, match
from tests.views import asking, run_view

SUBMITTED = datetime(2026, 11, 1, 9, 0, tzinfo=KST)
CONDITION = {
    "numWorker": 2,
    "nrn": "n",
    "workerType": "DEFAULT",
    "scriptPath": "bucket/scripts",
    "timeout": 0,
}
OURS = run_view(
    SUBMITTED,
    condition=JobCondition.model_validate(CONDITION),
    parameters={"$table": "a", "$n": 3, "$on": True},
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
        (execution(jobCondition={**CONDITION, "timeout": 360, "logPath": "bucket/logs/"}), True),
        (execution(jobCondition={"numWorker": 2}), True),
        (execution(jobCondition=None), True),
        (execution(jobCondition={**CONDITION, "numWorker": 4}), False),
        (execution(jobCondition={**CONDITION, "nrn": "other"}), False),
        (execution(jobCondition={**CONDITION, "scriptPath": "bucket/scripts/"}), True),
        (execution(jobCondition={**CONDITION, "scriptPath": "bucket/other/"}), False),
        (execution(jobCondition={**CONDITION, "workerType": "DATAFLOW", "timeout": 360}), True),
        (execution(parsedParameters=[]), True),
        (execution(parsedParameters=None), True),
        (execution(parsedParameters=[{"$table": "a"}, {"$n": 3, "$on": True}]), True),
        (execution(parsedParameters={"table": "a", "n": "3", "on": "true"}), True),
        (execution(parsedParameters={"$table": "b", "$n": 3, "$on": True}), False),
        (execution(parsedParameters={"$table": "a", "$n": 3}), True),
        (execution(parsedParameters={"$table": "a", "$n": 3, "$on": True, "$more": 1}), True),
        (execution(parsedParameters=[{"name": "$table", "value": "b"}]), True),
        (execution(parsedParameters={"$table": "a", "$n": 3.0, "$on": "True"}), True),
        (execution(parsedParameters={"$table": "A ", "$n": "03"}), True),
        (execution(parsedParameters={"$table": "a", "$n": 4}), False),
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
        "a condition listed in part",
        "no condition listed",
        "other workers",
        "another role",
        "a path without its last slash",
        "another path",
        "the vendor's two words for a worker, no time limit",
        "parameters not listed yet",
        "no parameters listed",
        "parameters in a list",
        "numbers listed as text, names without the sign",
        "another value",
        "only those the script names",
        "one that is stored on the job as well",
        "an unknown form",
        "values in other spellings",
        "values that parsing may have changed",
        "another number",
        "over already",
    ],
)
def test_a_run_is_a_candidate_unless_something_contradicts_it(theirs, may_be_ours):
    assert candidates(OURS, [theirs], set()) == ([theirs] if may_be_ours else [])


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_a_known_clock_offset_counts(ahead):
    late = execution(minutes=ahead / 60)

    assert candidates(OURS, [late], set(), [timedelta(seconds=ahead)]) == [late]
    assert candidates(OURS, [execution()], set(), [timedelta(seconds=ahead)]) == []


def test_a_run_that_is_listed_twice_is_one_candidate():
    assert candidates(OURS, [execution(), execution()], set()) == [execution()]


def test_a_run_that_belongs_to_another_start_is_no_candidate():
    runs = [execution("a"), execution("b"), execution("c")]

    assert candidates(OURS, runs, {"a", "c"}) == [runs[1]]


def test_two_candidates_are_both_returned():
    runs = [execution("a"), execution("b", minutes=1)]

    assert candidates(OURS, runs, set()) == runs


# Whose is it


def start(key: str, minutes: float = 0, **asked: Any) -> RunView:
    return replace(asking(OURS, **asked), key=key, submitted_at=SUBMITTED + timedelta(minutes=minutes))


def test_the_only_candidate_is_found():
    assert match(start("k"), [], [execution("a")], set()) == Match(execution("a"))


def test_a_list_without_a_candidate_finds_nothing():
    assert (
        match(start("k"), [start("k")], [execution("a", parsedParameters={"$table": "b"})], set()) == Match()
    )
    assert match(start("k"), [start("k")], [execution("a")], {"a"}) == Match()


def test_of_two_runs_for_one_start_none_is_chosen():
    runs = execution("a"), execution("b", minutes=1)

    assert match(start("k"), [start("k")], runs, set(), is_late=True) == Match(others=runs)


def test_a_ready_run_without_parameters_matches_only_late():
    waiting = execution("a", status="READY", parsedParameters=[])

    assert match(start("k"), [], [waiting], set()) == Match(others=(waiting,), may_clear_up=True)
    assert match(start("k"), [], [waiting], set(), is_late=True) == Match(waiting)
    assert match(start("k"), [], [execution("a", status="RUNNING", parsedParameters=[])], set()).found


def test_a_run_that_may_belong_to_two_different_starts_matches_neither():
    one, two = start("k1"), start("k2", parameters={"$table": "b"})
    unlisted = execution("a", status="RUNNING", parsedParameters=[])

    for view in one, two:
        for is_late in False, True:
            assert match(view, [one, two], [unlisted], set(), is_late=is_late) == Match(others=(unlisted,))
    listed_value = execution("a", status="RUNNING", parsedParameters={"table": "b"})
    assert match(one, [one, two], [listed_value], set()) == Match()
    assert match(two, [one, two], [listed_value], set()) == Match(listed_value)


def test_identical_starts_share_their_runs_in_order_of_time():
    starts = [start("k1"), start("k2", minutes=1), start("k3", minutes=2)]
    runs = [execution("b", minutes=1.1), execution("a", minutes=0.1)]

    found = [match(view, reversed(starts), runs, set()).found for view in starts]

    assert found == [runs[1], runs[0], None]


def test_a_start_of_another_job_is_no_rival():
    other_job = start("k2", job=JobRef("other", "id"), parameters={"$table": "b"})

    unlisted = execution("a", status="RUNNING", parsedParameters=[])
    assert match(start("k1"), [other_job], [unlisted], set()) == Match(unlisted)


def test_a_start_expires_with_its_last_signature():
    assert expires_at(OURS, timedelta(0)) == SUBMITTED + timedelta(seconds=390)
    assert expires_at(OURS, timedelta(hours=1)) == SUBMITTED + timedelta(seconds=3990)


# Secrets


def a_start(key: str, minutes: float, secret: Secret) -> RunView:
    view = asking(OURS, parameters={"$token": secret})
    return replace(view, key=key, submitted_at=SUBMITTED + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("secret", "listed_value", "may_be_ours"),
    [
        (Secret.of("one"), "one", True),
        (Secret.of("one"), "two", False),
        (Secret("of-another-process"), "one", True),
        (Secret("of-another-process"), "two", True),
    ],
    ids=["its value", "another value", "a value not known here", "any other"],
)
def test_a_secret_is_compared_where_its_value_is_known(secret, listed_value, may_be_ours):
    theirs = execution(parsedParameters={"$token": listed_value})

    assert bool(candidates(a_start("k", 0, secret), [theirs], ())) == may_be_ours


def test_starts_with_the_same_known_secret_are_identical_and_those_with_unknown_secrets_are_not():
    listed = [execution("r1", 0, parsedParameters=[]), execution("r2", 1, parsedParameters=[])]

    def found(*secrets: Secret) -> list[str | None]:
        lost = [a_start(f"k{number}", number, secret) for number, secret in enumerate(secrets)]
        matches = [match(each, lost, listed, (), is_late=True) for each in lost]
        return [each.found.job_execution_id if each.found else None for each in matches]

    assert found(Secret.of("one"), Secret.of("one")) == ["r1", "r2"]
    assert found(Secret("gone-1"), Secret("gone-2")) == [None, None]
