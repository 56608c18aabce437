"""The stages of a run by the lines of its event log: a real one of Spark 4, and lines written as Spark does."""

import gzip
import itertools
import json
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from dataflow_magic.models.failure import Place
from dataflow_magic.models.stages import Executor, StageReport, joined
from dataflow_magic.reasons.stages.fold import StageFold

SKEWED = Path(__file__).with_name("logs") / "skewed_join.gz"
"""A join on a column that has one value in four of five rows, then a sum over 400 partitions; two cores."""


def skewed() -> list[bytes]:
    return gzip.decompress(SKEWED.read_bytes()).splitlines()


def report_of(lines: Iterable[bytes], most: int = 100) -> StageReport:
    fold = StageFold("local-1", most)
    fold.feed(lines)
    return fold.report()


def line(name: str, **fields: Any) -> bytes:
    return json.dumps({"Event": f"SparkListener{name}"} | fields, separators=(",", ":")).encode()


def submitted(number: int, at: int, tasks: int = 4, name: str = "count at /x/script/etl/daily.py:7") -> bytes:
    info = {"Stage ID": number, "Stage Attempt ID": 0, "Stage Name": name, "Number of Tasks": tasks}
    return line("StageSubmitted", **{"Stage Info": info | {"Submission Time": at}})


def completed(number: int, at: int, **more: Any) -> bytes:
    info = {"Stage ID": number, "Stage Attempt ID": 0, "Completion Time": at, "Accumulables": []}
    return line("StageCompleted", **{"Stage Info": info | more})


def task(number: int, began: int, ended: int, reason: str = "Success", **metrics: Any) -> bytes:
    return line(
        "TaskEnd",
        **{
            "Stage ID": number,
            "Stage Attempt ID": 0,
            "Task End Reason": {"Reason": reason},
            "Task Info": {"Launch Time": began, "Finish Time": ended},
            "Task Metrics": METRICS | metrics,
        },
    )


METRICS: dict[str, Any] = {
    "JVM GC Time": 0,
    "Disk Bytes Spilled": 0,
    "Memory Bytes Spilled": 0,
    "Input Metrics": {"Bytes Read": 100, "Records Read": 10},
    "Output Metrics": {"Bytes Written": 20, "Records Written": 2},
    "Shuffle Read Metrics": {"Remote Bytes Read": 3, "Local Bytes Read": 4, "Total Records Read": 5},
    "Shuffle Write Metrics": {"Shuffle Bytes Written": 6, "Shuffle Records Written": 1},
}


def test_a_real_log_has_each_stage_with_what_its_tasks_read_and_wrote():
    report = report_of(skewed())

    assert [(each.number, each.name, each.tasks_done, each.took) for each in report.stages] == [
        (0, "parquet", 3, 753),
        (1, "parquet", 8, 20489),
        (2, "parquet", 16, 26297),
        (3, "parquet", 16, 642),
        (4, "parquet", 1, 52),
        (5, "count", 2, 141),
        (6, "count", 1, 20),
        (7, "sum", 400, 12865),
    ]
    join = report.stages[2]
    assert (join.rows_in, join.rows_out) == (3_000_301, 272)
    assert (join.shuffle_read, join.shuffle_written) == (209_708_529, 12_218)
    assert (join.task_time, join.gc_time, join.median, join.slowest) == (36_243, 4_457, 589, 18_001)
    assert round(join.skew or 0, 1) == 30.6
    assert report.stages[1].rows_in == 3_000_000
    assert (report.stages[3].rows_out, report.stages[3].bytes_out) == (17, 8_754)
    assert report.is_ended
    assert report.executors == (Executor("driver", "localhost", 2, 1795772123984),)


def test_a_stage_names_the_columns_by_which_its_rows_came():
    stages = report_of(skewed()).stages

    assert [each.keys for each in stages[:4]] == [(), (), ("origin",), ("carrier",)]


def test_the_paths_that_queries_wrote_to_are_kept_once():
    name = "Execute InsertIntoHadoopFsRelationCommand"
    start = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart"
    plans = [
        {
            "nodeName": name,
            "simpleString": f"{name} {path}, false, CSV, [], Overwrite, [n]",
            "children": [],
            "metrics": [],
        }
        for path in ("s3a://b/one, two", "s3a://b/last", "s3a://b/one, two")
    ]
    fold = StageFold("local-1")

    fold.feed(
        json.dumps({"Event": start, "executionId": 0, "sparkPlanInfo": plan}, separators=(",", ":")).encode()
        for plan in plans
    )

    assert fold.report().outputs == ("s3a://b/one, two", "s3a://b/last")
    assert joined([fold.report(), fold.report()]).outputs == fold.report().outputs
    assert len(report_of(skewed()).outputs) == 1


def test_a_stage_names_the_line_of_the_script_where_spark_recorded_it():
    stages = report_of(skewed()).stages

    assert stages[7].place == Place("skewed.py", 27)
    assert stages[5].place is None


def test_a_module_beside_the_script_is_named_below_its_folder():
    assert report_of([submitted(0, 0)]).stages[0].place == Place("etl/daily.py", 7)


def test_the_numbers_of_a_stage_are_the_sums_over_its_tasks():
    spill: dict[str, Any] = {"Disk Bytes Spilled": 1000, "Memory Bytes Spilled": 4000, "JVM GC Time": 7}
    stage = report_of([submitted(0, 0), task(0, 10, 20, **spill), task(0, 20, 50), completed(0, 60)]).stages[
        0
    ]

    assert (stage.rows_in, stage.rows_out, stage.bytes_in, stage.bytes_out) == (30, 6, 200, 40)
    assert (stage.shuffle_read, stage.shuffle_written) == (14, 12)
    assert (stage.spilled, stage.spilled_memory, stage.gc_time) == (1000, 4000, 7)
    assert (stage.task_time, stage.median, stage.slowest, stage.slowest_began) == (40, 10, 30, 20)


def test_tasks_that_failed_are_counted_and_those_that_spark_stopped_are_not():
    ends = ["ExceptionFailure", "TaskKilled", "ExecutorLostFailure", "Success"]
    stage = report_of([submitted(0, 0), *(task(0, 1, 2, end) for end in ends)]).stages[0]

    assert (stage.tasks_done, stage.tasks_failed) == (1, 2)


def test_both_copies_of_a_speculative_task_are_one_task():
    stage = report_of([submitted(0, 0, tasks=1), task(0, 1, 5), task(0, 1, 9)]).stages[0]

    assert (stage.tasks, stage.tasks_done) == (1, 1)


def test_the_median_of_long_tasks_has_three_digits():
    stage = report_of([submitted(0, 0), *(task(0, 0, end) for end in (12_344, 12_346, 70_000))]).stages[0]

    assert (stage.median, stage.slowest) == (12_300, 70_000)


def test_a_stage_that_failed_and_one_that_the_end_of_its_application_cut_off_are_failed():
    lines = [submitted(0, 0), submitted(1, 5), completed(0, 9, **{"Failure Reason": "lost"})]

    assert [each.state for each in report_of(lines).stages] == ["FAILED", "RUNNING"]
    assert [each.state for each in report_of([*lines, line("ApplicationEnd", Timestamp=20)]).stages] == [
        "FAILED",
        "FAILED",
    ]


def test_executors_come_and_go():
    def added(name: str, at: int) -> bytes:
        info = {"Host": f"h{name}", "Total Cores": 4}
        return line("ExecutorAdded", Timestamp=at, **{"Executor ID": name, "Executor Info": info})

    gone = line(
        "ExecutorRemoved", Timestamp=30, **{"Executor ID": "1", "Removed Reason": "exited with code 137"}
    )
    report = report_of([added("1", 10), added("2", 20), submitted(0, 25), gone, submitted(1, 40)])

    assert report.executors == (
        Executor("1", "h1", 4, 10, 30, "exited with code 137"),
        Executor("2", "h2", 4, 20),
    )
    assert [each.cores for each in report.stages] == [8, 4]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"not json",
        b'{"Event":"SparkListenerStageSubmitted"',
        b'{"Event":"SparkListenerStageSubmitted"}',
        b'{"Event":"SparkListenerTaskEnd","Stage ID":0}',
        b'{"Event":"SparkListenerStageCompleted","Stage Info":{"Stage ID":9,"Stage Attempt ID":0}}',
        b'{"Event":"SparkListenerExecutorRemoved","Executor ID":"7","Timestamp":1}',
        b'{"Event":"SparkListenerJobStart","Properties":{"spark.sql.execution.id":"x"},"Stage IDs":[0]}',
    ],
)
def test_a_line_of_another_version_changes_nothing(broken):
    lines = [submitted(0, 0), broken, task(0, 1, 3), completed(0, 4)]

    assert report_of(lines) == report_of([lines[0], *lines[2:]])


def test_lines_may_come_in_any_portions():
    lines = skewed()
    fold = StageFold("local-1")
    for start in range(0, len(lines), 7):
        fold.feed(lines[start : start + 7])
        fold.report()

    assert fold.report() == report_of(lines)


def test_of_many_stages_those_that_took_longest_are_kept():
    lines = itertools.chain.from_iterable(
        [submitted(number, number * 10), completed(number, number * 10 + number % 100)]
        for number in range(500)
    )
    report = report_of(lines, most=10)

    assert [each.number for each in report.stages] == [98, 99, 198, 199, 298, 299, 398, 399, 498, 499]
    assert report.left_out == 490


def test_the_times_of_many_tasks_are_kept_in_few_numbers():
    fold = StageFold("local-1")
    fold.feed([submitted(0, 0, tasks=4000)])
    tracemalloc.start()
    try:
        for number in range(4_000):
            fold.feed([task(0, number, number + 1_000 + number * 7_919)])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert fold.report().stages[0].tasks_done == 4_000
    assert kept < 300_000


def test_the_applications_of_a_run_are_one_report():
    first, second = (StageFold(name) for name in ("local-1", "local-2"))
    first.feed([submitted(0, 5), completed(0, 9), line("ApplicationEnd", Timestamp=10)])
    second.feed([submitted(0, 20)])
    both = joined([first.report(), second.report()])

    assert [each.application for each in both.stages] == ["local-1", "local-2"]
    assert (both.applications, both.began, both.ended) == (("local-1", "local-2"), 5, 20)
    assert not both.is_ended
