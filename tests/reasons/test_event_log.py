"""How a run ended, by the lines of Spark's event log. Lines as Spark 4.3 writes them, without the fields that are not read."""

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from dataflow_magic.reasons.event_log import SparkEnd, events, how_it_ended, lines_of, log_files

PLAN = """== Physical Plan ==
* Project (3)
+- ArrowEvalPython (2)
   +- * Range (1)

(2) ArrowEvalPython
Input [1]: [id#0L]
Arguments: [crash(id#0L)#1L, tidy(cast(id#0L as string))#2], [pythonUDF0#4L], 101

(3) Project [codegen id : 2]
Output [1]: [toprettystring(pythonUDF0#4L, Some(Etc/UTC)) AS crash(id)#3]
"""


def line(name: str, fields: dict[str, Any], package: str = "SparkListener") -> bytes:
    return json.dumps({"Event": f"{package}{name}"} | fields, separators=(",", ":")).encode()


def started(job: int, name: str, query: str = "0") -> bytes:
    stages = [
        {"Stage ID": 1, "Stage Name": name},
        {"Stage ID": 0, "Stage Name": "load at NativeMethodAccessorImpl.java:0"},
    ]
    return line(
        "JobStart", {"Job ID": job, "Stage Infos": stages, "Properties": {"spark.sql.execution.id": query}}
    )


def ended(job: int, error: str = "") -> bytes:
    result = {"Result": "JobFailed", "Exception": {"Message": error}} if error else {"Result": "JobSucceeded"}
    return line("JobEnd", {"Job ID": job, "Job Result": result})


def removed(reason: str) -> bytes:
    return line("ExecutorRemoved", {"Executor ID": "1", "Removed Reason": reason})


QUERY = line(
    "SparkListenerSQLExecutionStart",
    {"executionId": 0, "physicalPlanDescription": PLAN},
    "org.apache.spark.sql.execution.ui.",
)
PROFILE = line(
    "ResourceProfileAdded",
    {"Executor Resource Requests": {"memory": {"Amount": 512}, "cores": {"Amount": 1}}},
)


def test_a_failed_job_is_told_with_its_error_its_line_and_the_functions_of_its_query():
    log = [QUERY, started(0, "collect at /run/script/daily.py:7"), ended(0, "Job aborted: it crashed")]

    assert how_it_ended(log) == SparkEnd(
        "org.apache.spark.SparkException: Job aborted: it crashed",
        ("/run/script/daily.py", 7),
        ("crash", "tidy"),
    )


def test_the_job_that_still_runs_is_told_where_none_failed():
    log = [
        started(0, "count at a.py:1"),
        ended(0),
        started(1, "collect at b.py:2"),
        started(2, "x at C.scala:3"),
    ]

    assert how_it_ended(log[:3]) == SparkEnd("", ("b.py", 2))
    assert how_it_ended(log) == SparkEnd()


def test_executors_that_were_lost_are_told_and_those_given_back_are_not():
    log = [PROFILE, removed("Executor killed by driver."), *[removed("Command exited with code 52")] * 2]

    assert how_it_ended(log) == SparkEnd(lost=("Command exited with code 52",) * 2, executor_memory=512)


@pytest.mark.parametrize(
    "part",
    [
        "(2) FlatMapGroupsInPandas\nInput [1]: [k#0]\nArguments: [k#0], totals(k#0, v#1L)#8, [k#2]\n",
        "(2) MapInPandas\nInput [1]: [k#0]\nArguments: totals(k#0)#3, [k#2], false\n",
        "(1) BatchEvalPython\nArguments: [totals(k#0)#3], [pythonUDF0#4]\n",
    ],
)
def test_each_kind_of_python_function_is_found_in_a_plan(part):
    query = QUERY.replace(json.dumps(PLAN).encode(), json.dumps(part).encode())

    assert how_it_ended([query, started(0, "x"), ended(0, "no")]).functions == ("totals",)


def test_lines_that_are_cut_or_of_another_version_are_left_out():
    log = [
        b'{"Event":"SparkListenerJobEnd","Job ID":0,"Job Res',
        b'{"Event":"SparkListenerJobEnd","Job ID":0}',
        b'{"Event":"SparkListenerJobStart","Job ID":0,"Stage Infos":[]}',
        b'{"Event":"SparkListenerExecutorRemoved"}',
        b'{"Event":"SparkListenerResourceProfileAdded","Executor Resource Requests":[]}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"Event":"SparkListenerJobEnd",' + b'"a":[' * 100_000,
        b"",
    ]

    assert how_it_ended(log) == SparkEnd()


def test_only_the_events_asked_for_are_parsed():
    log = [started(0, "a"), ended(0), b'{"Event":"SparkListenerTaskEnd",broken']

    assert [name for name, _ in events(log, frozenset({"JobEnd"}))] == ["JobEnd"]


def test_lines_come_whole_out_of_pieces_and_one_that_is_too_long_is_left_out():
    pieces = [b"on", b"e\ntw", b"o\n", b"x" * 9, b"x" * 9, b"x\nthree\nfo", b"ur"]

    assert list(lines_of(pieces, longest=10)) == [b"one", b"two", b"three", b"four"]


def test_a_log_of_many_jobs_takes_bounded_memory():
    def log() -> Iterator[bytes]:
        for job in range(20_000):
            yield QUERY.replace(b'"executionId":0', b'"executionId":%d' % job)
            yield started(job, "collect at a.py:1", str(job))

    tracemalloc.start()
    try:
        how_it_ended(log())
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_the_files_of_the_newest_application_come_in_the_order_of_their_numbers():
    below = "logs/r/events"
    names = [
        f"{below}/eventlog_v2_local-17/events_10_local-17.zstd",
        f"{below}/eventlog_v2_local-17/events_9_local-17.zstd",
        f"{below}/eventlog_v2_local-17/appstatus_local-17",
        f"{below}/eventlog_v2_local-17/.events_9_local-17.zstd.crc",
        f"{below}/eventlog_v2_local-16/events_1_local-16",
        "logs/r/console.log",
    ]

    assert log_files(names) == [(names[1], "zstd"), (names[0], "zstd")]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("logs/application_1700000000000_0001", ""),
        ("logs/app-20261101090000-0001.inprogress", ""),
        ("local-1700.lz4", "lz4"),
        ("local-1700.zstd.inprogress", "zstd"),
    ],
)
def test_a_log_in_one_file_is_found_by_the_name_of_its_application(name, codec):
    assert log_files([name, "logs/app.py", "logs/application.log", "logs/localhost"]) == [(name, codec)]
