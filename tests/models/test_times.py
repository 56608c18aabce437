"""How long a run waited, ran and took: each with its source, and nothing where nobody knows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dataflow_magic.models.times import NO_TIMES, Span, Times, times_of
from dataflow_magic.models.wire import JobExecution

SENT = datetime(2026, 11, 1, 9, 0, 0, 400_000, tzinfo=UTC)
CREATED = "2026-11-01T18:00:01+09:00"


def snapshot(status: str = "COMPLETED", **fields: Any) -> JobExecution:
    return JobExecution.model_validate({"jobExecutionId": "r", "status": status, **fields})


def after(seconds: float) -> datetime:
    return SENT + timedelta(seconds=seconds)


def span(seconds: float, source: Any = "service") -> Span:
    return Span(timedelta(seconds=seconds), source)


def exact(**dates: str) -> dict[str, str]:
    return {name: f"2026-11-01T18:{time}+09:00" for name, time in dates.items()}


def test_before_the_answer_nothing_is_known():
    assert times_of(None, SENT, None) == NO_TIMES


def test_a_service_with_exact_dates_is_believed_over_everything_seen_from_here():
    dates = exact(created="00:00.500000", running="00:02.250000", ended="00:19.750000")
    over = snapshot(exactDates=dates, createdDate=CREATED, endDate=CREATED, waitingTime=9, runningTime=9)

    times = times_of(over, SENT, after(40))

    assert (times.waited, times.ran, times.total) == (span(1.75), span(17.5), span(19.25))
    assert times.running is not None
    assert times.running.isoformat() == "2026-11-01T18:00:02.250000+09:00"


def test_a_live_run_has_waited_and_not_yet_run():
    dates = exact(created="00:00.500000", running="00:02.250000")

    times = times_of(snapshot("RUNNING", exactDates=dates), SENT, None)

    assert (times.waited, times.ran, times.total) == (span(1.75), None, None)


def test_a_run_that_never_ran_has_a_total_alone():
    canceled = snapshot("CANCELED", exactDates=exact(created="00:00.500000", ended="00:40.500000"))

    assert times_of(canceled, SENT, None) == Times(total=span(40))


def test_without_exact_dates_the_waiting_is_seen_from_here_and_the_rest_of_the_total_ran():
    over = snapshot(createdDate=CREATED, endDate="2026-11-01T18:00:48+09:00")

    times = times_of(over, SENT, after(2.5))

    assert times == Times(span(2.5, "here"), span(44.5, "here"), span(47), after(2.5))


def test_a_clock_of_this_machine_that_is_an_hour_off_changes_no_time():
    over = snapshot(createdDate=CREATED, endDate="2026-11-01T18:00:48+09:00")
    hour = timedelta(hours=1)

    times = times_of(over, SENT + hour, after(2.5) + hour)

    assert (times.waited, times.ran, times.total) == (span(2.5, "here"), span(44.5, "here"), span(47))


def test_a_short_run_that_was_never_seen_running_has_no_invented_times():
    over = snapshot(createdDate=CREATED, endDate="2026-11-01T18:00:41+09:00", waitingTime=0, runningTime=0)

    assert times_of(over, SENT, None) == Times(total=span(40))


def test_the_minutes_of_the_service_stand_in_where_nobody_saw_it_run():
    over = snapshot(createdDate=CREATED, endDate="2026-11-01T18:10:01+09:00", waitingTime=2, runningTime=7)

    assert times_of(over, SENT, None) == Times(span(120, "minutes"), span(420, "minutes"), span(600))


@pytest.mark.parametrize(
    ("seen_after", "waited", "ran"),
    [
        (150, span(150, "here"), span(450, "here")),
        (520, span(120, "minutes"), span(420, "minutes")),
        (700, span(120, "minutes"), span(420, "minutes")),
    ],
    ids=["agrees", "seen too late: this machine slept", "seen after the end"],
)
def test_what_is_seen_from_here_must_agree_with_the_minutes_of_the_service(seen_after, waited, ran):
    over = snapshot(createdDate=CREATED, endDate="2026-11-01T18:10:01+09:00", waitingTime=2, runningTime=7)

    times = times_of(over, SENT, after(seen_after))

    assert (times.waited, times.ran) == (waited, ran)


def test_a_run_that_is_still_ready_has_not_waited_to_the_end():
    assert times_of(snapshot("READY", waitingTime=3), SENT, None) == NO_TIMES
    assert times_of(snapshot("RUNNING", waitingTime=3), SENT, None) == Times(waited=span(180, "minutes"))


@pytest.mark.parametrize(
    ("created", "total"),
    [(None, span(60.6, "here")), (CREATED, span(60))],
    ids=["counted from the start that was sent", "counted from the service's date"],
)
def test_the_total_counts_from_the_creation(created, total):
    over = snapshot("FAILED", createdDate=created, endDate="2026-11-01T18:01:01+09:00")

    assert times_of(over, SENT, None).total == total


@pytest.mark.parametrize(
    "over",
    [
        snapshot(createdDate=CREATED),
        snapshot(createdDate=CREATED, endDate="2026-11-01T17:00:00+09:00"),
        snapshot("RUNNING", createdDate=CREATED, endDate="2026-11-01T18:00:41+09:00"),
    ],
    ids=["no end", "an end before the creation", "not over, whatever its end says"],
)
def test_no_total_is_better_than_a_wrong_one(over):
    assert times_of(over, SENT, None).total is None


def test_a_clock_that_was_set_back_gives_no_waiting():
    over = snapshot(createdDate=CREATED, endDate="2026-11-01T18:00:41+09:00")

    assert times_of(over, SENT, after(-5)) == Times(total=span(40), running=after(-5))
