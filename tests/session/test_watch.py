import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic import errors
from dataflow_magic.models.wire import KST, ExecutionDelta, JobExecution
from dataflow_magic.session.watch import CLOUD_PACE, LOCAL_PACE, Pace, Watch, next_delay

pytestmark = pytest.mark.anyio

PACE = Pace(first=1.0, last=10.0, growth=0.1)
GONE = errors.NotFound("not found (404)", status=404)
DOWN = errors.Unreachable("no answer")
BUSY = errors.TooManyRequests("too many requests (429)", status=429, retry_after=30.0)


def run(run_id: str, status: str, end: str | None = None) -> JobExecution:
    return JobExecution.model_validate({"jobExecutionId": run_id, "status": status, "endDate": end})


@dataclass
class FakeService:
    """Returns each run's states, one per poll, the last one for ever; a list has only the runs in ``listed``.

    A state is its name, a whole snapshot, or an error to raise.
    """

    script: Mapping[str, list[Any]]
    listed: Callable[[str], bool] = lambda _: True
    page_size: int = 1000
    marks_same: bool = False
    list_trouble: list[errors.DataflowError | None] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def _next(self, run_id: str) -> JobExecution:
        states = self.script[run_id]
        reported = states.pop(0) if len(states) > 1 else states[0]
        if isinstance(reported, errors.DataflowError):
            raise reported
        return reported if isinstance(reported, JobExecution) else run(run_id, str(reported))

    async def get_execution(self, job_id: str, execution_id: str) -> JobExecution:
        assert job_id == "job"
        self.calls.append(execution_id)
        return self._next(execution_id)

    async def deltas(
        self, job_id: str, marks: Mapping[str, int | None]
    ) -> AsyncIterator[list[ExecutionDelta]]:
        assert job_id == "job"
        trouble = self.list_trouble.pop(0) if self.list_trouble else None
        names = [name for name in self.script if self.listed(name)]
        for start in range(0, max(1, len(names)), self.page_size):
            self.calls.append(f"page {start // self.page_size}")
            if trouble:
                raise trouble
            shown = [(name, self._next(name)) for name in names[start : start + self.page_size]]
            yield [self._delta(name, snapshot, marks) for name, snapshot in shown]

    def _delta(self, name: str, snapshot: JobExecution, marks: Mapping[str, int | None]) -> ExecutionDelta:
        mark = hash(snapshot.status)
        if name not in marks:
            return ExecutionDelta(name, 0, None)
        return ExecutionDelta(name, mark, None if self.marks_same and mark == marks[name] else snapshot)


@dataclass
class Heard:
    """A listener that remembers."""

    said: list[str] = field(default_factory=list)

    def seen(self, execution: JobExecution) -> None:
        self.said.append(execution.status)

    def blind(self, reason: str) -> None:
        self.said.append(f"blind: {reason}")


class FakeTime:
    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def clock(self) -> float:
        return self.now

    def of_day(self) -> datetime:
        return datetime(2026, 11, 1, 12, 0, tzinfo=KST) + timedelta(seconds=self.now - 100)

    async def sleep(self, seconds: float) -> None:
        assert len(self.naps) < 10_000, "this would never end"
        self.naps.append(round(seconds, 6))
        self.now += seconds


def watch(service: FakeService, time: FakeTime, **options: Any) -> Watch:
    return Watch(
        lambda: service,
        "job",
        PACE,
        **{
            "clock": time.clock,
            "sleep": time.sleep,
            "jitter": lambda: 0.5,
            "now": time.of_day,
            **options,
        },
    )


async def follow(
    service: FakeService, *run_ids: str, **options: Any
) -> tuple[dict[str, list[str]], FakeTime]:
    time = FakeTime()
    watching = watch(service, time, **options)
    heard = {run_id: Heard() for run_id in run_ids or service.script}
    for run_id, listener in heard.items():
        watching.add(run_id, listener)
    await watching.follow()
    assert watching.is_over
    return {run_id: listener.said for run_id, listener in heard.items()}, time


async def test_a_run_is_reported_until_it_is_over():
    service = FakeService({"a": ["READY", "RUNNING", "RUNNING", "COMPLETED"]})

    said, _ = await follow(service)

    assert said == {"a": ["READY", "RUNNING", "RUNNING", "COMPLETED"]}
    assert service.calls == ["a", "a", "a", "a"]


async def test_one_run_is_polled_by_a_single_call_and_several_by_one_list():
    service = FakeService({"a": ["RUNNING", "COMPLETED"], "b": ["RUNNING", "RUNNING", "RUNNING", "FAILED"]})

    said, _ = await follow(service)

    assert service.calls == ["page 0", "page 0", "b", "b"]
    assert said == {"a": ["RUNNING", "COMPLETED"], "b": ["RUNNING", "RUNNING", "RUNNING", "FAILED"]}


async def test_a_thousand_runs_cost_one_call_a_poll():
    service = FakeService({f"run{number}": ["RUNNING", "COMPLETED"] for number in range(1000)})

    said, _ = await follow(service)

    assert service.calls == ["page 0", "page 0"]
    assert all(states == ["RUNNING", "COMPLETED"] for states in said.values())


async def test_pages_are_read_only_until_every_active_run_is_found():
    service = FakeService({name: ["COMPLETED"] for name in "abcdefgh"}, page_size=2)

    await follow(service, "a", "d")

    assert service.calls == ["page 0", "page 1"]


async def test_a_run_missing_in_the_list_is_polled_by_a_single_call():
    service = FakeService({"a": ["COMPLETED"], "b": ["COMPLETED"]}, listed=lambda name: name != "b")

    said, _ = await follow(service)

    assert service.calls == ["page 0", "b"]
    assert said == {"a": ["COMPLETED"], "b": ["COMPLETED"]}


async def test_of_other_runs_of_a_list_the_ids_alone_are_reported():
    service = FakeService({"a": ["COMPLETED"], "b": ["COMPLETED"], "other": ["RUNNING"]})

    listed: list[set[str]] = []
    said, _ = await follow(service, "a", "b", on_list=lambda ids: listed.append(set(ids)))

    assert said == {"a": ["COMPLETED"], "b": ["COMPLETED"]}
    assert listed == [{"a", "b", "other"}]


async def test_nothing_is_polled_without_an_active_run():
    service, time = FakeService({}), FakeTime()

    await watch(service, time).follow()

    assert (service.calls, time.naps) == ([], [])


async def test_an_unknown_state_is_reported_and_is_not_final():
    service = FakeService({"a": ["PAUSED", "PAUSED", run("a", "PAUSED", "2026-11-01T00:00:00+09:00")]})

    said, _ = await follow(service)

    assert said == {"a": ["PAUSED", "PAUSED", "PAUSED"]}
    assert len(service.calls) == 3


async def test_a_run_is_removed_before_its_end_is_reported():
    time = FakeTime()
    watching = watch(FakeService({"a": ["COMPLETED"]}), time)
    seen_over: list[bool] = []

    class Asking(Heard):
        def seen(self, execution: JobExecution) -> None:
            super().seen(execution)
            seen_over.append(watching.is_over)

    watching.add("a", Asking())
    await watching.follow()

    assert seen_over == [True]


async def test_an_unchanged_run_is_reported_again_only_after_it_was_blind():
    service = FakeService(
        {
            "a": ["RUNNING", "RUNNING", "RUNNING", "RUNNING", "COMPLETED"],
            "b": ["READY", "RUNNING", "RUNNING", "RUNNING", "COMPLETED"],
        },
        marks_same=True,
        list_trouble=[None, None, None, DOWN],
    )

    said, _ = await follow(service)

    assert service.calls == ["page 0"] * 6
    assert said == {
        "a": ["RUNNING", "blind: no answer", "RUNNING", "COMPLETED"],
        "b": ["READY", "RUNNING", "blind: no answer", "RUNNING", "COMPLETED"],
    }


# Trouble


async def test_a_silent_service_is_polled_on_at_a_slower_pace():
    service = FakeService({"a": [*[DOWN] * 50, "COMPLETED"]})

    said, time = await follow(service)

    assert said == {"a": [*["blind: no answer"] * 50, "COMPLETED"]}
    assert time.naps[:5] == [2.0, 4.0, 8.0, 10.0, 10.0]
    assert set(time.naps[3:]) == {10.0}


async def test_a_service_that_takes_long_to_answer_is_reported_before_it_does():
    class Slow(FakeService):
        async def get_execution(self, job_id: str, execution_id: str) -> JobExecution:
            if len(self.calls) == 1:
                while "blind: " not in heard.said:  # noqa: ASYNC110 - a timer says it
                    await asyncio.sleep(0)
                silences.append(watching.silence)
            return await super().get_execution(job_id, execution_id)

    service, heard, silences = Slow({"a": ["READY", "READY", "RUNNING", "COMPLETED"]}), Heard(), list[str]()
    watching = watch(service, FakeTime(), silent_seconds=0.01)
    watching.add("a", heard)
    async with asyncio.timeout(60):
        await watching.follow()

    assert heard.said == ["READY", "blind: ", "READY", "RUNNING", "COMPLETED"]
    assert silences == ["since 12:00:01 KST"]
    assert watching.silence == ""


async def test_a_silence_has_its_first_moment_and_its_newest_reason_until_an_answer():
    service = FakeService({"a": [DOWN, DOWN, "RUNNING", "COMPLETED"]})
    time, said = FakeTime(), list[str]()

    async def sleep(seconds: float) -> None:
        said.append(watching.silence)
        await time.sleep(seconds)

    watching = watch(service, time, sleep=sleep)
    watching.add("a", Heard())
    await watching.follow()

    assert said == ["since 12:00:00 KST: no answer", "since 12:00:00 KST: no answer", ""]


async def test_an_answer_restores_the_pace():
    service = FakeService({"a": [DOWN, DOWN, "RUNNING", "COMPLETED"]})

    _, time = await follow(service)

    assert time.naps == [2.0, 4.0, 1.0]


async def test_retry_after_is_honoured():
    service = FakeService({"a": [BUSY, BUSY, "COMPLETED"]})

    said, time = await follow(service)

    assert time.naps == [30.0, 30.0]
    words = "blind: too many requests (429); the service asks for no request before"
    assert said == {"a": [f"{words} 12:00:30 KST", f"{words} 12:01:00 KST", "COMPLETED"]}


async def test_what_the_service_asks_for_is_held_with_why_and_until_when_and_can_be_ended_early():
    service, time, holds = (
        FakeService({"a": [BUSY, DOWN, "COMPLETED"]}),
        FakeTime(),
        list[tuple[float, str]](),
    )

    async def hold(seconds: float, words: str) -> None:
        holds.append((seconds, words))  # and return at once

    watching = watch(service, time, hold=hold)
    watching.add("a", Heard())
    await watching.follow()

    asked = "too many requests (429); the service asks for no request before 12:00:30 KST"
    assert holds == [(30.0, asked)]
    assert time.naps == [4.0]


@pytest.mark.parametrize("error", [errors.TooManyRequests, errors.ServiceBroken])
async def test_a_wait_no_longer_than_usual_is_not_announced(error):
    service = FakeService({"a": [error("m", status=503, retry_after=10.0), "COMPLETED"]})

    said, time = await follow(service)

    assert time.naps == [10.0]
    assert said == {"a": ["blind: m", "COMPLETED"]}


async def test_a_failed_list_blinds_every_run_and_sends_no_single_calls():
    service = FakeService({"a": ["COMPLETED"], "b": ["COMPLETED"]}, list_trouble=[BUSY, DOWN])

    said, time = await follow(service)

    assert service.calls == ["page 0"] * 3
    asked = "blind: too many requests (429); the service asks for no request before 12:00:30 KST"
    assert said["a"] == said["b"] == [asked, "blind: no answer", "COMPLETED"]
    assert time.naps == [30.0, 10.0]


@pytest.mark.parametrize(
    "refusal",
    [GONE, errors.BadParameter("bad-parameter", status=400), errors.BadState("bad-state", status=400)],
    ids=["not found", "no such id", "no such state"],
)
async def test_a_run_that_is_gone_does_not_blind_the_others(refusal):
    service = FakeService(
        {
            "a": ["RUNNING", "RUNNING", "COMPLETED"],
            "gone": [refusal] * 4 + ["COMPLETED"],
            "c": ["RUNNING", "COMPLETED"],
        },
        listed=lambda name: name != "gone",
    )

    said, time = await follow(service)

    assert said["a"] == ["RUNNING", "RUNNING", "COMPLETED"]
    assert said["c"] == ["RUNNING", "COMPLETED"]
    assert said["gone"] == [f"blind: {refusal}"] * 4 + ["COMPLETED"]
    assert time.naps == [1.0, 1.0, 1.0, 2.0]


async def test_no_pages_are_read_for_a_run_that_is_gone():
    service = FakeService(
        {
            "gone": [*[GONE] * 5, "COMPLETED"],
            "a": ["RUNNING"] * 3 + ["COMPLETED"],
            **{n: ["COMPLETED"] for n in "uvwxyz"},
        },
        listed=lambda name: name != "gone",
        page_size=1,
    )

    await follow(service, "gone", "a")

    # Once all pages, which is how it is known to be on none; from then on each live run by itself.
    assert service.calls[:8] == [*[f"page {number}" for number in range(7)], "gone"]
    assert sorted(service.calls[8:]) == ["a"] * 3 + ["gone"] * 5


async def test_a_run_that_returns_is_polled_with_the_others():
    hidden = {"b"}
    service = FakeService(
        {"a": ["RUNNING"] * 3 + ["COMPLETED"], "b": [GONE, "RUNNING", "RUNNING", "COMPLETED"]},
        listed=lambda name: name not in hidden,
    )
    time = FakeTime()

    async def reappear(seconds: float) -> None:
        hidden.clear()
        await time.sleep(seconds)

    watching = watch(service, time, sleep=reappear)
    heard = {name: Heard() for name in "ab"}
    for name, listener in heard.items():
        watching.add(name, listener)
    await watching.follow()

    assert heard["a"].said == ["RUNNING", "RUNNING", "RUNNING", "COMPLETED"]
    assert heard["b"].said == ["blind: not found (404)", "RUNNING", "RUNNING", "COMPLETED"]
    assert service.calls[:2] == ["page 0", "b"]
    assert sorted(service.calls[2:4]) == ["a", "b"]
    assert service.calls[4:] == ["page 0", "page 0"]


async def test_runs_found_before_an_error_are_reported():
    service = FakeService(
        {"a": ["COMPLETED"], "b": [DOWN, "COMPLETED"], "c": [DOWN, "COMPLETED"]}, listed=lambda n: n == "a"
    )

    said, time = await follow(service)

    assert said["a"] == ["COMPLETED"]
    assert said["b"][-1] == said["c"][-1] == "COMPLETED"
    assert "blind: no answer" in said["b"]
    assert time.naps[0] == 1.0  # the service is not down, so it is not asked less often


async def test_an_error_on_a_later_page_blinds_only_the_missing_runs():
    class Stumbling(FakeService):
        async def deltas(
            self, job_id: str, marks: Mapping[str, int | None]
        ) -> AsyncIterator[list[ExecutionDelta]]:
            async for page in super().deltas(job_id, marks):
                yield page
                if len(self.calls) == 1:
                    raise DOWN

    service = Stumbling({"a": ["COMPLETED"], "b": ["RUNNING", "COMPLETED"]}, page_size=1)

    said, _ = await follow(service)

    assert said == {"a": ["COMPLETED"], "b": ["blind: no answer", "RUNNING", "COMPLETED"]}


async def test_a_service_that_moved_is_polled_at_its_new_address():
    old, new = FakeService({"a": [DOWN]}), FakeService({"a": ["COMPLETED"]})
    services, time, heard = iter([old, old, new]), FakeTime(), Heard()
    watching = Watch(lambda: next(services), "job", PACE, clock=time.clock, sleep=time.sleep)
    watching.add("a", heard)
    await watching.follow()

    assert heard.said == ["blind: no answer", "blind: no answer", "COMPLETED"]


REFUSED = errors.NotSignedIn("signature refused (401)", status=401)
FORBIDDEN = errors.NotAllowed("not allowed (403)", status=403)


@pytest.mark.parametrize("refusal", [REFUSED, FORBIDDEN], ids=["not signed in", "not allowed"])
async def test_refused_keys_are_not_used_until_there_are_others(refusal):
    old = FakeService({"a": ["RUNNING", refusal]})
    new = FakeService({"a": ["RUNNING", "COMPLETED"]})
    time, heard, keys = FakeTime(), Heard(), [old]

    async def sleep(seconds: float) -> None:
        await time.sleep(seconds)
        if len(time.naps) == 6:
            keys[0] = new

    watching = Watch(lambda: keys[0], "job", PACE, clock=time.clock, sleep=sleep, jitter=lambda: 0.5)
    watching.add("a", heard)
    await watching.follow()

    assert old.calls == ["a", "a"]
    paused = f"blind: polling is paused until other keys are found, or these are tried again: {refusal}"
    assert heard.said == ["RUNNING", f"blind: {refusal}", *[paused] * 5, "RUNNING", "COMPLETED"]
    assert time.naps[1:6] == [10.0] * 5


async def test_refused_keys_are_retried_after_twenty_long_intervals():
    service = FakeService({"a": [REFUSED, REFUSED, "COMPLETED"]})

    said, time = await follow(service)

    assert said["a"][-1] == "COMPLETED"
    assert service.calls == ["a"] * 3
    assert sum(time.naps) == 400


async def test_a_list_with_as_many_pages_as_runs_is_read_once():
    """No order is promised: what lives may be on the last page of a long past."""
    service = FakeService(
        {
            **{f"old{number}": ["COMPLETED"] for number in range(6)},
            **{name: ["RUNNING"] * 3 + ["COMPLETED"] for name in "ab"},
            "c": ["RUNNING", "RUNNING", "COMPLETED"],
        },
        page_size=3,
    )

    await follow(service, "a", "b", "c")

    pages = ["page 0", "page 1", "page 2"]
    assert service.calls[:3] == pages
    assert [sorted(service.calls[start : start + 3]) for start in (3, 6)] == [["a", "b", "c"]] * 2


# Pace


async def test_an_old_run_is_polled_less_often():
    service = FakeService({"a": ["RUNNING"] * 40 + ["COMPLETED"]})

    _, time = await follow(service)

    # One second until the run is ten seconds old, then a tenth of its age, ten seconds at most.
    assert time.naps[:12] == [1.0] * 11 + [1.1]
    assert time.naps[-1] == 10.0
    assert time.naps == sorted(time.naps)


async def test_a_new_run_is_polled_at_its_own_pace_beside_an_old_one():
    service = FakeService({"old": ["RUNNING"] * 3 + ["COMPLETED"], "new": ["RUNNING", "COMPLETED"]})
    time, heard = FakeTime(), Heard()
    resting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        time.naps.append(seconds)
        if len(time.naps) == 1:
            resting.set()
            await asyncio.Event().wait()  # would last for ever
        time.now += seconds

    watching = watch(service, time, sleep=sleep)
    watching.add("old", Heard())
    time.now += 50  # so it is asked for every five seconds
    following = asyncio.ensure_future(watching.follow())
    async with asyncio.timeout(10):
        await resting.wait()
        watching.add("new", heard)
        await following

    assert heard.said == ["RUNNING", "COMPLETED"]
    assert time.naps[:2] == [5.0, 1.0]


async def test_a_new_run_does_not_shorten_retry_after():
    service = FakeService({"old": [BUSY, "COMPLETED"], "new": ["COMPLETED"]})
    time, heard = FakeTime(), Heard()

    async def sleep(seconds: float) -> None:
        if not time.naps:
            watching.add("new", heard)
            await asyncio.sleep(0)
        await time.sleep(seconds)

    watching = watch(service, time, sleep=sleep)
    watching.add("old", Heard())
    await watching.follow()

    assert time.naps == [30.0]
    assert heard.said == ["COMPLETED"]


async def test_a_cancelled_watch_leaves_no_task_behind():
    service, time = FakeService({"old": ["RUNNING"]}), FakeTime()
    resting, before = asyncio.Event(), asyncio.all_tasks()

    async def sleep(_: float) -> None:
        resting.set()
        await asyncio.Event().wait()

    watching = watch(service, time, sleep=sleep)
    watching.add("old", Heard())
    time.now += 50
    following = asyncio.ensure_future(watching.follow())
    async with asyncio.timeout(10):
        await resting.wait()
        following.cancel()
        await asyncio.wait({following})
        await asyncio.sleep(0)

    assert following.cancelled()
    assert asyncio.all_tasks() == before


async def test_a_long_poll_is_followed_by_a_long_rest():
    service, time = FakeService({"a": ["RUNNING"] * 3 + ["COMPLETED"]}), FakeTime()
    reported = service.get_execution

    async def slow(job_id: str, execution_id: str) -> JobExecution:
        time.now += 0.5
        return await reported(job_id, execution_id)

    service.get_execution = slow  # type: ignore[method-assign]
    watching = watch(service, time)
    watching.add("a", Heard())
    await watching.follow()

    assert time.naps == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("pace", "age", "misses", "retry_after", "jitter", "seconds"),
    [
        (CLOUD_PACE, 0, 0, None, 0.5, 1.0),
        (CLOUD_PACE, 100, 0, None, 0.5, 5.0),
        (CLOUD_PACE, 86400, 0, None, 0.5, 15.0),
        (LOCAL_PACE, 0, 0, None, 0.5, 0.25),
        (LOCAL_PACE, 86400, 0, None, 0.5, 1.0),
        (CLOUD_PACE, 0, 0, None, 0.0, 0.8),
        (CLOUD_PACE, 0, 0, None, 1.0, 1.2),
        (CLOUD_PACE, 0, 3, None, 0.5, 8.0),
        (CLOUD_PACE, 0, 10**6, None, 0.5, 15.0),
        (CLOUD_PACE, 0, 1, 60.0, 0.5, 60.0),
        (CLOUD_PACE, 86400, 1, 2.0, 0.5, 15.0),
        (CLOUD_PACE, 0, 0, 0.0, 0.5, 1.0),
    ],
    ids=[
        "a young run", "an older run", "a day", "a young local run", "a day here", "least jitter", "most jitter",
        "three misses", "misses without end", "asked to wait", "asked to wait less than it would", "asked not to wait",
    ],
)  # fmt: skip
def test_the_next_poll_comes_after(pace, age, misses, retry_after, jitter, seconds):
    assert next_delay(pace, age, misses, retry_after, jitter) == pytest.approx(seconds)


@given(
    st.floats(0, 1e9),
    st.integers(0, 10**6),
    st.none() | st.floats(0, 1e6),
    st.floats(0, 1),
)
def test_a_poll_comes_neither_too_soon_nor_never(age, misses, retry_after, jitter):
    seconds = next_delay(CLOUD_PACE, age, misses, retry_after, jitter)

    assert seconds >= max(0.8, retry_after or 0.0)
    assert seconds <= max(18.001, retry_after or 0.0)


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.lists(st.sampled_from(["READY", "RUNNING", "PAUSED", GONE, DOWN, BUSY]), max_size=6),
        min_size=1,
    ),
    st.sets(st.sampled_from("abcd")),
    st.lists(st.sampled_from([None, DOWN, BUSY]), max_size=4),
)
def test_every_run_is_followed_to_its_end_through_any_errors(states, unlisted, list_trouble):
    script = {name: [*reported, "COMPLETED"] for name, reported in states.items()}
    # A list never fails because of one run; what it shows is in some state.
    for name in script:
        if name not in unlisted:
            script[name] = [reported for reported in script[name] if isinstance(reported, str)]
    service = FakeService(script, listed=lambda name: name not in unlisted, list_trouble=list(list_trouble))

    said, _ = asyncio.run(follow(service))

    assert {name: states[-1] for name, states in said.items()} == dict.fromkeys(script, "COMPLETED")
