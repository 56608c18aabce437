"""Two runs side by side: each fact that may explain why one of them went another way."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.models.comparison import Difference, RanScript, Side, compared
from dataflow_magic.models.failure import Failure, Place
from dataflow_magic.models.secret import Parameter, Secret
from dataflow_magic.models.stages import Stage, StageReport
from dataflow_magic.models.wire import KST, JobCondition, JobExecution
from tests.views import run_view

NOON = datetime(2026, 11, 27, 12, tzinfo=KST)
CONDITION = JobCondition(num_worker=2, timeout=360, script_path="b/daily.py", log_path="b/logs/")


def execution(
    status: str = "COMPLETED", ran: timedelta = timedelta(seconds=40), **fields: Any
) -> JobExecution:
    return JobExecution.model_validate(
        {
            "jobExecutionId": "lE9fjUqW2ICe",
            "status": status,
            "createdDate": NOON.isoformat(),
            "endDate": (NOON + ran).isoformat(),
            **fields,
        }
    )


def side(script: str | None = None, *, is_kept: bool = True, **fields: Any) -> Side:
    view = run_view(NOON, **({"condition": CONDITION, "execution": execution()} | fields))
    return Side(view, RanScript(script, is_kept))


def differing(first: Side, second: Side) -> list[Difference]:
    return [fact for fact in compared(first, second) if fact.differs]


def test_equal_runs_have_no_difference():
    run = side("a = 1\n", parameters={"$month": "7"})

    facts = compared(run, run)

    assert {fact.differs for fact in facts} == {False}
    assert [(fact.part, fact.name) for fact in facts] == [
        ("parameter", "month"),
        ("condition", "job"),
        ("condition", "target"),
        ("condition", "workers"),
        ("condition", "timeout_minutes"),
        ("condition", "script_path"),
        ("condition", "log_path"),
        ("script", "text"),
        ("outcome", "status"),
        ("time", "total"),
    ]


def test_what_differs_comes_first_and_causes_before_effects():
    first = side("a = 1\nb = 2\n", parameters={"$origin": "JFK", "$month": "6"})
    failure = Failure(
        "No column x.", error_class="UNRESOLVED_COLUMN", place=Place("daily.py", 2, "", "b = 3")
    )
    second = side(
        "a = 1\nb = 3\n",
        parameters={"$origin": "JFK", "$month": "7"},
        condition=CONDITION.model_copy(update={"num_worker": 4}),
        execution=execution("FAILED", timedelta(seconds=80)),
        failure=failure,
    )

    facts = compared(first, second)

    assert [fact[:4] for fact in facts if fact.differs] == [
        ("parameter", "month", "6", "7"),
        ("condition", "workers", "2", "4"),
        ("script", "line 2", "b = 2", "b = 3"),
        ("outcome", "status", "COMPLETED", "FAILED"),
        ("outcome", "error_class", None, "UNRESOLVED_COLUMN"),
        ("outcome", "reason", None, "No column x."),
        ("outcome", "own_line", None, "daily.py, line 2: b = 3"),
        ("time", "total", timedelta(seconds=40), timedelta(seconds=80)),
    ]
    assert [fact.differs for fact in facts] == [True] * 8 + [False] * 6
    assert facts[7].ratio == 2.0


@pytest.mark.parametrize(
    ("first", "second", "differs"),
    [
        (40, 41, False),
        (40, 49, False),
        (40, 50, True),
        (50, 40, True),
        (0.2, 0.9, False),  # twice as long, and both are nothing
        (0, 10, True),
    ],
)
def test_a_time_differs_from_a_quarter_and_a_second_on(first, second, differs):
    runs = (side(execution=execution(ran=timedelta(seconds=length))) for length in (first, second))

    [total] = [fact for fact in compared(*runs) if fact.name == "total"]

    # The service gives whole seconds.
    assert total.differs is (differs and int(first) != int(second))


def test_a_length_of_nothing_has_no_ratio():
    assert Difference("time", "ran", timedelta(0), timedelta(seconds=1), differs=True).ratio is None
    assert Difference("time", "ran", None, timedelta(seconds=1), differs=None).ratio is None


@pytest.mark.parametrize(
    ("first", "second", "facts"),
    [
        ("a\nb\nc\n", "a\nc\n", [("line 2", "b", None)]),
        ("a\nc\n", "a\nb\nc\n", [("after line 1", None, "b")]),
        ("b\n", "a\nb\n", [("after line 0", None, "a")]),
        ("a\nb\nc\n", "a\nx\ny\nc\n", [("line 2", "b", "x"), ("after line 2", None, "y")]),
        ("a\n", "a", [("line ends", None, None)]),
    ],
)
def test_a_script_differs_line_by_line(first, second, facts):
    found = differing(side(first), side(second))

    assert [fact[1:4] for fact in found] == facts


def test_of_many_lines_the_first_are_shown():
    found = differing(side("\n".join(map(str, range(100)))), side("\n".join(map(str, range(1000, 1100)))))

    assert len(found) == 41
    assert found[-1][:4] == ("script", "60 more", "...", "...")


def test_long_scripts_are_compared_as_a_whole():
    found = differing(side("x = 1\n" * 20_000), side("y = 1\n" * 20_001))

    assert [fact[1:4] for fact in found] == [("characters", "120,000", "120,006")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (side(None), side("a")),
        (side("a", is_kept=False), side("a")),
        (side("a", is_kept=False), side("b", is_kept=False)),
    ],
)
def test_a_script_that_nobody_kept_is_unknown(first, second):
    # One object: what it holds now may have been written after the first run.
    assert [fact.differs for fact in compared(first, second) if fact.part == "script"] == [None]


def test_scripts_of_two_objects_are_compared_as_they_are_now():
    other = CONDITION.model_copy(update={"script_path": "b/other.py"})

    found = differing(side("a", is_kept=False), side("b", is_kept=False, condition=other))

    assert [(fact.part, fact.name) for fact in found] == [("condition", "script_path"), ("script", "line 1")]


def test_secret_values_are_compared_and_never_shown():
    one, same, other = Secret.of("aaaa-1"), Secret.of("aaaa-1"), Secret.of("bbbb-2")
    stored = Secret("0123456789abcdef")  # of another process

    def token(first: Parameter | None, second: Parameter | None) -> Difference:
        runs = (side(parameters={"$token": value} if value else {}) for value in (first, second))
        [fact] = [fact for fact in compared(*runs) if fact.part == "parameter"]
        return fact

    assert token(one, same).differs is False
    assert token(one, other)[2:] == ("••••••", "••••••", True)
    assert token(one, stored).differs is None
    assert token(stored, stored).differs is False
    assert token(one, None)[2:] == ("••••••", None, True)
    assert token(one, "aaaa-1").differs is None


def test_a_value_that_only_the_service_lists_is_compared_too():
    listed = execution(parsedParameters={"$month": "7"})
    asked = side(parameters={"$month": 7})

    assert differing(asked, side(execution=listed)) == []
    assert differing(side(execution=listed), side(parameters={"$month": 8}))[0][:4] == (
        "parameter",
        "month",
        "7",
        "8",
    )


def test_markers_are_no_difference():
    def marked(key: str) -> Side:
        log_path = f"b/logs/dataflow-run-{key}/"
        return side(
            key=key,
            condition=CONDITION.model_copy(update={"log_path": log_path}),
            execution=execution(parsedParameters={"$dataflow_run": f"dataflow-run-{key}"}),
        )

    assert differing(marked("abcdefgh"), marked("ijklmnop")) == []


TEXTS = st.text(max_size=20)


@given(
    first=st.tuples(st.dictionaries(TEXTS, TEXTS, max_size=4), TEXTS),
    second=st.tuples(st.dictionaries(TEXTS, TEXTS, max_size=4), TEXTS),
)
def test_whatever_is_compared_with_the_sides_swapped_is_the_same(first, second):
    one, other = (side(script, parameters=parameters) for parameters, script in (first, second))

    there, back = compared(one, other), compared(other, one)

    def swapped(fact: Difference) -> Difference:
        return fact._replace(first=fact.second, second=fact.first)

    # The lines of scripts are numbered as in the first.
    assert {fact for fact in there if fact.part != "script"} == {
        swapped(f) for f in back if f.part != "script"
    }
    assert differing(one, one) == []
    assert bool(differing(one, other)) == bool(differing(other, one))


def test_another_state_of_a_live_run_is_a_difference():
    live = side(execution=execution("RUNNING", endDate=None))

    assert [fact[:4] for fact in differing(live, side())] == [("outcome", "status", "RUNNING", "COMPLETED")]


def report(*stages: tuple[str, int, int]) -> StageReport:
    return StageReport(
        tuple(
            Stage("local-1", number, 0, name, submitted=1_000, completed=1_000 + took, rows_in=rows)
            for number, (name, took, rows) in enumerate(stages)
        )
    )


def with_stages(stages: StageReport | None) -> Side:
    return replace(side(), stages=stages)


def test_stages_are_compared_operation_by_operation():
    first = with_stages(report(("count", 900, 10), ("count", 2_000, 10), ("parquet", 500, 0)))
    second = with_stages(report(("count", 950, 10), ("count", 8_000, 30), ("collect", 3_000, 5)))

    facts = compared(first, second)

    assert [fact for fact in facts if fact.part in ("stage", "work")] == [
        Difference("stage", "count (2)", timedelta(seconds=2), timedelta(seconds=8), differs=True),
        Difference("stage", "collect", None, timedelta(seconds=3), differs=True),
        Difference("work", "rows_in", 20, 45, differs=True),
        Difference("stage", "parquet", timedelta(seconds=0.5), None, differs=False),
        Difference("stage", "count", timedelta(seconds=0.9), timedelta(seconds=0.95), differs=False),
        Difference("work", "stages", 3, 3, differs=False),
    ]
    assert facts[0].ratio == 4.0
    assert facts[2].ratio == 2.25


def test_of_many_stages_those_are_compared_whose_times_differ_most():
    first = with_stages(report(*((f"step {number}", 1_000, 0) for number in range(9))))
    second = with_stages(report(*((f"step {number}", 1_000 + 2_000 * number, 0) for number in range(9))))

    assert [fact.name for fact in differing(first, second)] == [
        f"step {number}" for number in (8, 7, 6, 5, 4)
    ]


def test_without_the_event_log_of_one_run_nothing_is_said_to_differ():
    facts = compared(with_stages(report(("count", 900, 10))), with_stages(None))

    assert [(fact.name, fact.differs) for fact in facts if fact.part in ("stage", "work")] == [
        ("stages", None),
        ("rows_in", None),
    ]
