"""Which listed run is a lost start's: what contradicts, what is only possible, what agrees, and what a marker makes certain."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.models.attempt import Attempt, ServiceClock
from dataflow_magic.models.marker import MARKER_PARAMETER, marker_of
from dataflow_magic.models.request import JobRef
from dataflow_magic.models.secret import Secret
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import KST, JobCondition, JobExecution
from dataflow_magic.session.matching import (
    Evidence,
    Match,
    Start,
    closes_at,
    judge,
    match,
    opens_at,
    reaches_back_to,
)
from tests.views import asking, run_view

SENT = datetime(2026, 11, 1, 9, 0, tzinfo=KST)
CONDITION = {
    "numWorker": 2,
    "nrn": "n",
    "workerType": "DEFAULT",
    "scriptPath": "bucket/scripts",
    "logPath": "bucket/logs/",
    "timeout": 0,
}
OURS = run_view(
    SENT,
    key="k2345678",
    condition=JobCondition.model_validate(CONDITION),
    parameters={"$table": "a", "$n": 3, "$on": True},
)
CONTRADICTS, POSSIBLE, AGREES, CERTAIN = Evidence


def us(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)


def attempt(seconds: float = 0, ahead: float | None = 0, **fields: Any) -> Attempt:
    """Return an attempt that was signed so long after `SENT` with a right clock, or one measured as so far behind."""
    signed = SENT + timedelta(seconds=seconds)
    made: dict[str, Any] = {
        "number": 1,
        "signed_ms": us(signed) // 1000,
        "sent_us": us(signed),
        "sent_steady_us": 5_000_000_000 + round(seconds * 1e6),
        "boot": "b1",
        "offset_us": None if ahead is None else round(ahead * 1e6),
        "uncertainty_us": None if ahead is None else 600_000,
        "outcome": "lost",
    }
    return Attempt(**(made | fields))


def start(*attempts: Attempt, view: RunView = OURS, **asked: Any) -> Start:
    return Start(asking(view, **asked), attempts or (attempt(),))


def execution(run_id: str = "r", seconds: float = 1, **fields: Any) -> JobExecution:
    return JobExecution.model_validate(
        {
            "jobExecutionId": run_id,
            "jobId": "job000000001",
            "createdDate": (SENT + timedelta(seconds=seconds)).isoformat(),
            "jobCondition": {**CONDITION, "timeout": 360},
            "parsedParameters": {"$table": "a", "$n": 3, "$on": True},
            "status": "RUNNING",
            "type": "JOB",
            **fields,
        }
    )


# What is shown of a run


def with_condition(**fields: Any) -> JobExecution:
    return execution(jobCondition={**CONDITION, **fields})


def with_parameters(parameters: Any) -> JobExecution:
    return execution(parsedParameters=parameters)


@pytest.mark.parametrize(
    ("theirs", "evidence"),
    [
        (execution(), AGREES),
        (execution(status="FAILED"), AGREES),
        (execution(jobId=None), AGREES),
        (execution(jobId="job000000002"), CONTRADICTS),
        (execution(type=None), AGREES),
        (execution(type="WORKFLOW"), CONTRADICTS),
        (execution(type="SCHEDULE"), POSSIBLE),
        (execution(triggerId="t1"), CONTRADICTS),
        (execution(workflowId="w1"), CONTRADICTS),
        (execution(createdDate=None), POSSIBLE),
        (execution(createdDate="2026-11-01T09:00:01"), AGREES),
        (execution(createdDate="2026-11-01T08:00:00"), CONTRADICTS),
        (execution(jobCondition=None), POSSIBLE),
        (execution(jobCondition={"numWorker": 2}), POSSIBLE),
        (with_condition(), AGREES),
        (with_condition(numWorker=4), CONTRADICTS),
        (with_condition(nrn="other"), CONTRADICTS),
        (with_condition(scriptPath="/bucket/scripts/"), AGREES),
        (with_condition(scriptPath="bucket/other/"), CONTRADICTS),
        (with_condition(logPath="bucket/logs/deeper/"), CONTRADICTS),
        (with_condition(logPath=None), POSSIBLE),
        (with_condition(workerType="DATAFLOW", timeout=360), AGREES),
        (with_condition(more="unknown here"), AGREES),
        (with_parameters([]), POSSIBLE),
        (with_parameters(None), POSSIBLE),
        (with_parameters([{"$table": "a"}, {"$n": 3, "$on": True}]), AGREES),
        (with_parameters({"table": "a", "n": "3", "on": "true"}), AGREES),
        (with_parameters({"$table": "a", "$n": 3}), POSSIBLE),
        (with_parameters({"$table": "a", "$n": 3, "$on": True, "$more": 1}), POSSIBLE),
        (with_parameters({"$table": "b", "$n": 3, "$on": True}), CONTRADICTS),
        (with_parameters({"$table": "a", "$n": 4, "$on": True}), CONTRADICTS),
        (with_parameters({"$table": "A ", "$n": 3, "$on": True}), POSSIBLE),
        (with_parameters({"$table": "a", "$n": 3.0, "$on": True}), POSSIBLE),
        (with_parameters({"$table": "a", "$n": "03", "$on": "True"}), POSSIBLE),
        (with_parameters([{"name": "$table", "value": "b"}]), POSSIBLE),
    ],
    ids=[
        "just the same",
        "over already",
        "without the job's id",
        "of another job",
        "without a type",
        "of a workflow",
        "of a type that no page has",
        "of a trigger",
        "with a workflow's id",
        "no date",
        "a date without a zone",
        "an earlier date without a zone",
        "no condition shown",
        "a condition shown in part",
        "the timeout that means the default",
        "other workers",
        "another role",
        "a path with other slashes",
        "another path",
        "a deeper log path",
        "no log path shown",
        "the vendor's two words for a worker",
        "a field that no page has",
        "no parameters shown",
        "null for parameters",
        "parameters in a list",
        "numbers as text, names without the sign",
        "one parameter not shown",
        "one more parameter",
        "another value",
        "another number",
        "a text in another spelling",
        "a number in another spelling",
        "values in other spellings",
        "an unknown form",
    ],
)
def test_each_thing_that_is_shown_of_a_run_agrees_or_contradicts_or_is_missing(theirs, evidence):
    assert judge(start(), theirs, None) == evidence


@pytest.mark.parametrize(
    ("asked", "shown", "evidence"),
    [
        ({"trigger_id": "t1"}, {"triggerId": "t1"}, AGREES),
        ({"trigger_id": "t1"}, {"triggerId": "t1", "type": "WORKFLOW"}, AGREES),
        ({"trigger_id": "t1"}, {}, POSSIBLE),
        ({"trigger_id": "t1"}, {"triggerId": "t2"}, CONTRADICTS),
        ({"workflow_id": "w1"}, {"type": "WORKFLOW"}, AGREES),
        ({"workflow_id": "w1"}, {"workflowId": "w2"}, CONTRADICTS),
        ({"parameters": {}}, {"parsedParameters": []}, AGREES),
        ({"parameters": {}}, {"parsedParameters": {"$a": 1}}, POSSIBLE),
        ({"parameters": {"$a": None}}, {"parsedParameters": {}}, AGREES),
        ({"condition": JobCondition()}, {"jobCondition": None}, AGREES),
        ({"condition": JobCondition()}, {}, POSSIBLE),
        ({"condition": JobCondition()}, {"jobCondition": {"numWorker": 2, "timeout": 360, "workerType": "DEFAULT"}}, AGREES),
        ({"condition": JobCondition()}, {"jobCondition": {"numWorker": 3}}, POSSIBLE),
    ],
    ids=[
        "its trigger", "its trigger in a workflow", "a trigger that is not shown", "another trigger", "its workflow",
        "another workflow", "no parameters at all", "parameters where none were sent", "a null", "no condition at all",
        "a condition stored in the job", "the documented defaults", "other numbers where none were sent",
    ],
)  # fmt: skip
def test_a_run_agrees_with_what_was_asked_for(asked, shown, evidence):
    assert judge(start(**asked), execution(**shown), None) == evidence


def test_parameters_that_are_stored_in_the_job_may_be_shown_beside_those_that_were_sent():
    stored = {**CONDITION, "parameters": {"$region": "kr"}}
    shown = {"$table": "a", "$n": 3, "$on": True, "region": "kr"}

    by_job = start(condition=JobCondition.model_validate(stored))
    assert judge(by_job, execution(parsedParameters=shown, jobCondition=stored), None) == AGREES
    by_snapshot = execution(parsedParameters=shown, jobCondition=stored)
    assert judge(start(), by_snapshot, None) == AGREES
    assert judge(start(), with_parameters(shown), None) == POSSIBLE


texts = st.text(st.characters(codec="utf-8", exclude_characters="$"), min_size=1, max_size=6)
values = texts | st.integers() | st.booleans()


@given(st.dictionaries(texts, values, max_size=4), st.dictionaries(texts, values, max_size=4))
def test_runs_agree_in_their_parameters_exactly_where_the_texts_are_equal(sent, listed):
    def as_text(parameters: dict[str, Any]) -> dict[str, str]:
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in parameters.items()
        }

    ours = start(parameters={f"${name}": value for name, value in sent.items()})

    evidence = judge(ours, execution(parsedParameters=listed), None)
    assert (evidence == AGREES) == (as_text(sent) == as_text(listed))
    assert judge(ours, execution(parsedParameters=as_text(sent)), None) == AGREES


@pytest.mark.parametrize(
    ("secret", "listed", "evidence"),
    [
        (Secret.of("one"), "one", AGREES),
        (Secret.of("one"), "two", CONTRADICTS),
        (Secret("of-another-process"), "one", POSSIBLE),
    ],
    ids=["its value", "another value", "a value not known here"],
)
def test_a_secret_is_compared_where_its_value_is_known(secret, listed, evidence):
    ours = start(parameters={"$token": secret})

    assert judge(ours, execution(parsedParameters={"$token": listed}), None) == evidence


# Time


@pytest.mark.parametrize(
    ("seconds", "evidence"),
    [
        (-306, CONTRADICTS),
        (-305, POSSIBLE),
        (-6, POSSIBLE),
        (-5, AGREES),
        (0, AGREES),
        (359, AGREES),
        (361, CONTRADICTS),
    ],
)
def test_a_run_is_created_from_the_sending_to_the_end_of_the_signature_and_a_minute(seconds, evidence):
    assert judge(start(), execution(seconds=seconds), None) == evidence


@pytest.mark.parametrize(
    ("seconds", "evidence"), [(-306, CONTRADICTS), (-304, POSSIBLE), (100, POSSIBLE), (361, CONTRADICTS)]
)
def test_without_a_measured_clock_no_time_agrees(seconds, evidence):
    assert judge(start(attempt(ahead=None)), execution(seconds=seconds), None) == evidence


@pytest.mark.parametrize("behind", [-3600, -299, 299, 3600])
def test_the_time_signed_and_the_offset_measured_count_and_not_this_clock(behind):
    # This machine's clock is off; signatures have the service's time from the first refusal on.
    off = attempt(ahead=behind, sent_us=us(SENT - timedelta(seconds=behind)), signed_ms=us(SENT) // 1000)

    assert judge(start(off), execution(seconds=2), None) == AGREES
    assert judge(start(off), execution(seconds=-70), None) != AGREES


def test_a_machine_that_slept_between_the_cell_and_the_request_changes_nothing():
    slept = start(attempt(seconds=720))

    assert judge(slept, execution(seconds=721), None) == AGREES
    assert judge(slept, execution(seconds=1), None) == CONTRADICTS


def test_a_clock_measured_later_counts_for_an_attempt_of_the_same_boot_alone():
    before = attempt(ahead=None)
    # A response ten minutes later, by the steady clock: the machine's own clock may have been set in between.
    later = ServiceClock(us(SENT + timedelta(minutes=10)), 5_600_000_000, "b1", 500_000)

    assert judge(start(before), execution(), later) == AGREES
    assert judge(start(before), execution(seconds=-70), later) == POSSIBLE
    assert judge(start(before), execution(), replace(later, boot="b2")) == POSSIBLE


def test_only_attempts_that_may_have_arrived_have_a_time():
    unsent = attempt(outcome="unsent")
    lost = attempt(seconds=600, number=2)

    assert judge(start(unsent, lost), execution(seconds=1), None) == CONTRADICTS
    assert judge(start(unsent, lost), execution(seconds=601), None) == AGREES
    assert start(unsent).was_never_sent
    assert Start(OURS, ()).was_never_sent
    assert not Start(OURS, None).was_never_sent
    assert judge(start(unsent), execution(createdDate=None), None) == CONTRADICTS


def test_a_gateway_whose_clock_alone_is_off_leaves_a_run_possible():
    # It refused the right time and accepted one an hour later; runs have the right dates.
    corrected = attempt(ahead=3600, signed_ms=us(SENT + timedelta(hours=1)) // 1000)

    assert judge(start(corrected), execution(), None) == POSSIBLE


def test_a_start_of_a_version_that_kept_no_attempts_is_at_most_possible():
    old = Start(OURS, None)

    assert [judge(old, execution(seconds=at), None) for at in (-306, 0, 449, 451)] == [0, 1, 1, 0]


def test_the_time_of_a_start_ends_with_its_last_signature():
    twice = start(attempt(), attempt(seconds=10, number=2))

    assert closes_at(twice, None) == SENT + timedelta(seconds=10 + 300 + 60)
    assert opens_at(twice, None) == SENT - timedelta(seconds=305)


# Markers


MARKED = {**CONDITION, "logPath": f"bucket/logs/{marker_of('k2345678')}/"}


@pytest.mark.parametrize(
    ("theirs", "evidence"),
    [
        (execution(jobCondition=MARKED), CERTAIN),
        (execution(jobCondition=MARKED, parsedParameters=[]), CERTAIN),
        (execution(jobCondition=MARKED, parsedParameters={"$table": "A"}), CERTAIN),
        (execution(jobCondition=MARKED, createdDate=None), CERTAIN),
        (execution(jobCondition=MARKED, seconds=4000), CONTRADICTS),
        (execution(jobCondition=MARKED, jobId="job000000002"), CONTRADICTS),
        (execution(), CONTRADICTS),
        (execution(jobCondition=None), POSSIBLE),
        (execution(jobCondition=None, type="WORKFLOW"), CONTRADICTS),
    ],
    ids=[
        "carried", "with no parameters", "with other parameters", "without a date", "copied later", "in another job",
        "not carried", "not shown", "not shown and a workflow's",
    ],
)  # fmt: skip
def test_a_marker_in_the_log_path_makes_it_certain(theirs, evidence):
    assert judge(start(marker="log-path"), theirs, None) == evidence


@pytest.mark.parametrize(
    ("parameters", "evidence"),
    [
        ({"$table": "a", "$n": 3, "$on": True, MARKER_PARAMETER: marker_of("k2345678")}, CERTAIN),
        ({"$table": "a", "$n": 3, "$on": True, MARKER_PARAMETER: marker_of("k9999999")}, CONTRADICTS),
        ({"$table": "a", "$n": 3, "$on": True}, POSSIBLE),
        ({"$table": "b", "$n": 3, "$on": True}, CONTRADICTS),
        ([], POSSIBLE),
    ],
    ids=["carried", "another start's", "not shown", "not shown with other parameters", "not shown yet"],
)
def test_a_marker_in_a_parameter_makes_it_certain(parameters, evidence):
    assert judge(start(marker="parameter"), with_parameters(parameters), None) == evidence


def test_with_a_marker_nothing_else_is_taken():
    ours = start(marker="log-path")
    hidden = execution("a", jobCondition=None)

    assert match(ours, [], [execution("a")], (), None) == Match()
    assert match(ours, [], [hidden], (), None) == Match(others=(hidden,))
    carried = execution("b", jobCondition=MARKED)
    assert match(ours, [], [hidden, carried], (), None) == Match(carried, "marker")
    twice = execution("c", jobCondition=MARKED)
    assert match(ours, [], [carried, twice], (), None) == Match(others=(carried, twice))


def test_a_run_with_the_marker_of_another_start_is_that_start_s():
    other = start(view=replace(OURS, key="k9999999"), marker="log-path")
    theirs = execution("a", jobCondition={**CONDITION, "logPath": f"bucket/logs/{marker_of('k9999999')}/"})
    hides_the_log_path = start(condition=JobCondition.model_validate({**CONDITION, "logPath": None}))

    assert match(hides_the_log_path, [other], [theirs], (), None) == Match()
    assert match(hides_the_log_path, [], [theirs], (), None) == Match(others=(theirs,))


# Whose is it


def again(key: str, seconds: float = 0, **asked: Any) -> Start:
    view = replace(asking(OURS, **asked), key=key, submitted_at=SENT + timedelta(seconds=seconds))
    return Start(view, (attempt(seconds),))


def test_the_only_run_that_agrees_is_found_by_its_parameters():
    assert match(again("k"), [], [execution("a")], (), None) == Match(execution("a"), "parameters")
    assert match(again("k"), [], [execution("a"), execution("a")], (), None).found == execution("a")


def test_a_list_without_such_a_run_finds_nothing():
    assert match(again("k"), [again("k")], [with_parameters({"$table": "b"})], (), None) == Match()
    assert match(again("k"), [again("k")], [execution("a")], {"a"}, None) == Match()


def test_of_two_runs_for_one_start_none_is_chosen():
    runs = execution("a"), execution("b", 60)

    assert match(again("k"), [again("k")], runs, (), None) == Match(others=runs)


@pytest.mark.parametrize("shown", [[], None], ids=["none", "null"])
def test_a_run_that_shows_no_parameters_is_never_taken_where_some_were_sent(shown):
    running, ready = (
        execution("a", parsedParameters=shown, status=status) for status in ("RUNNING", "READY")
    )

    assert match(again("k"), [], [running], (), None) == Match(others=(running,))
    assert match(again("k"), [], [ready], (), None) == Match(others=(ready,), may_clear_up=True)


def test_beside_a_run_that_is_only_possible_none_is_chosen():
    agrees, hides = execution("a"), execution("b", parsedParameters=[])

    assert match(again("k"), [], [agrees, hides], (), None) == Match(others=(agrees, hides))


def test_a_run_that_may_be_another_start_s_is_contested_and_goes_to_neither():
    plain = again("k1", parameters={"$token": "one"})
    unknown = again("k2", parameters={"$token": Secret("of-a-dead-kernel")})
    run = execution("a", parsedParameters={"$token": "one"})

    assert match(plain, [plain], [run], (), None).found == run
    for each in plain, unknown:
        assert match(each, [plain, unknown], [run], (), None) == Match(others=(run,))


def test_a_start_of_another_job_contests_nothing():
    other = again("k2", job=JobRef("other", "id"), parameters={"$token": Secret("of-a-dead-kernel")})
    run = execution("a", parsedParameters={"$token": "one"})

    assert match(again("k1", parameters={"$token": "one"}), [other], [run], (), None).found == run


def test_identical_starts_share_their_runs_in_the_order_of_time():
    starts = [again("k1"), again("k2", 60), again("k3", 120)]
    runs = [execution("b", 66), execution("a", 6)]

    found = [match(each, reversed(starts), runs, (), None).found for each in starts]

    assert found == [runs[1], runs[0], None]


def test_of_identical_starts_the_one_without_a_run_keeps_those_that_may_be_its():
    starts, run = [again("k1"), again("k2", 60)], execution("a", 66)

    assert match(starts[0], starts, [run], (), None) == Match(run, "parameters")
    assert match(starts[1], starts, [run], (), None) == Match(shared=(run,))


def test_a_later_identical_start_gets_its_run_though_an_earlier_one_was_not_carried_out():
    early, late = again("k1"), again("k2", 600)
    run = execution("a", 601)

    assert match(late, [early, late], [run], (), None).found == run
    assert match(early, [early, late], [run], (), None) == Match()


def test_a_run_more_than_identical_starts_explain_leaves_all_of_them_open():
    starts = [again("k1"), again("k2", 60)]
    runs = (execution("a", 6), execution("b", 66), execution("c", 70))

    for each in starts:
        assert match(each, starts, runs, (), None).found is None
        assert match(each, starts, runs, (), None).others


def test_a_run_too_many_elsewhere_leaves_a_start_its_own():
    apart = again("k1"), again("k2", 4000)
    runs = (execution("a", 6), execution("b", 4006), execution("c", 4007))

    assert match(apart[0], apart, runs, (), None).found == runs[0]
    assert match(apart[1], apart, runs, (), None).found is None


@given(st.lists(st.integers(0, 900), min_size=1, max_size=4), st.lists(st.integers(0, 1300), max_size=4))
def test_no_run_is_taken_twice_nor_by_a_start_that_cannot_have_created_it(starts, runs):
    lost = [again(f"k{number}", seconds) for number, seconds in enumerate(starts)]
    listed = [execution(f"r{number}", seconds) for number, seconds in enumerate(runs)]

    matches = {each.view.key: match(each, lost, listed, (), None) for each in lost}

    found = [each.found.job_execution_id for each in matches.values() if each.found]
    assert len(found) == len(set(found))
    for each in lost:
        run = matches[each.view.key].found
        assert run is None or judge(each, run, None) == AGREES


def test_starts_with_the_same_known_secret_are_identical_and_those_with_unknown_secrets_are_not():
    def found(*secrets: Secret) -> list[str | None]:
        shown = {"$token": "one"}
        listed = [execution("r1", 1, parsedParameters=shown), execution("r2", 61, parsedParameters=shown)]
        lost = [
            again(f"k{number}", 60 * number, parameters={"$token": secret})
            for number, secret in enumerate(secrets)
        ]
        matches = [match(each, lost, listed, (), None) for each in lost]
        return [each.found.job_execution_id if each.found else None for each in matches]

    assert found(Secret.of("one"), Secret.of("one")) == ["r1", "r2"]
    assert found(Secret("gone-1"), Secret("gone-2")) == [None, None]


def test_a_list_matters_back_to_the_earliest_start_that_may_share_its_runs():
    near, far = again("k1", -600), again("k0", -4000)
    ours = again("k2")

    assert reaches_back_to(ours, [ours, far], None) == opens_at(ours, None)
    assert reaches_back_to(ours, [ours, far, near], None) == opens_at(near, None)
