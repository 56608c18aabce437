"""What is said of a stage: only what is clearly out of line."""

from dataclasses import replace
from typing import Any

import pytest

from dataflow_magic.models.stages import Stage
from dataflow_magic.reasons.stages.findings import finding_of
from tests.reasons.stages.test_fold import report_of, skewed

EVEN = Stage(
    "local-1", 4, 0, "count", None, None, "COMPLETED",
    submitted=0, completed=20_000, tasks=200, tasks_done=200, task_time=78_000, median=390, slowest=700, cores=4,
)  # fmt: skip


def said(**changes: Any) -> str:
    found = finding_of(replace(EVEN, **changes))
    return found.sentence if found else ""


def test_an_even_stage_is_not_mentioned():
    assert said() == ""


def test_of_a_real_run_the_skewed_join_and_the_tiny_tasks_are_found():
    found = {
        stage.number: finding.sentence
        for stage in report_of(skewed()).stages
        if (finding := finding_of(stage))
    }

    assert found == {
        2: "one of 16 tasks took 68 % of the time: 18 s, the median task 589 ms; skewed on `origin`?",
        7: "its 400 tasks are tiny, the median 57 ms: use fewer partitions",
    }


def test_one_task_that_took_most_of_the_time_is_a_skew():
    assert said(slowest=12_200) == "one of 200 tasks took 61 % of the time: 12 s, the median task 390 ms"
    assert said(slowest=12_200, keys=("origin", "day")).endswith("; skewed on `origin`, `day`?")


@pytest.mark.parametrize(
    "changes",
    [
        {"slowest": 5_900},  # while it ran, others did: below 30 % of the stage
        {"slowest": 4_900, "completed": 5_000},  # a worker's start can take as long
        {"slowest": 12_200, "median": 2_500},  # below five times the median
        {"slowest": 12_200, "tasks": 2, "tasks_done": 2},
        {"slowest": 1_500, "median": 100, "completed": 1_900},  # nothing to win
        {"slowest": 12_200, "completed": None},  # it runs
    ],
)
def test_a_slow_task_that_costs_little_is_no_skew(changes):
    assert said(**changes) == ""


def test_what_did_not_fit_into_memory_is_named_from_a_partition_on():
    assert said(spilled=300 << 20) == "its tasks ran out of memory and wrote 300 MiB to disk"
    assert said(spilled=5 << 30) == "its tasks ran out of memory and wrote 5.0 GiB to disk"
    assert said(spilled=63 << 20) == ""


def test_garbage_collection_is_named_from_a_tenth_of_the_time_on():
    assert said(gc_time=20_000) == "Java collected garbage for 26 % of its tasks' time"
    assert said(gc_time=7_000) == ""
    assert said(gc_time=1_900, task_time=4_000) == ""


def test_tiny_tasks_are_named_where_fewer_would_keep_all_cores_busy():
    assert said(median=57) == "its 200 tasks are tiny, the median 57 ms: use fewer partitions"
    assert said(median=57, cores=20) == ""
    assert said(median=100) == ""


def test_a_single_task_is_named_where_other_cores_had_none():
    alone = {"tasks": 1, "tasks_done": 1, "slowest": 19_000, "median": 19_000}

    assert said(**alone) == "its only task took 19 s on one of 4 cores"
    assert said(**alone, cores=1) == ""
