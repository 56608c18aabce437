"""An event log of 200 MB folded into stages, beside reading its lines with ``json``; and a reason after the end of a run.

The lines are as Spark 4.1 writes them, with all metrics of a task. The two ways take turns in one process, and the medians of the
rounds count. The reason is that of a run that failed with the same event log beside its console log, read from a folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from dataflow_magic.client.objects import FolderObjects, RangedObjects
from dataflow_magic.reasons.stages.fold import StageFold
from dataflow_magic.session.diagnosis import explain
from dataflow_magic.session.event_log import EventLogs
from dataflow_magic.session.watch import LOCAL_PACE

MEGABYTE = 10**6
ROUNDS = 5
LIMIT = 1.5
REASON_SECONDS = 1.0
TASKS_PER_STAGE = 2_000
FOLDER = "bucket/logs/run000000001"
FAILURE = 'Traceback (most recent call last):\n  File "/run/script/daily.py", line 3, in <module>\nValueError: no such table\n'
METRICS = ("executorDeserializeTime", "executorDeserializeCpuTime", "executorRunTime", "executorCpuTime", "resultSize", "jvmGCTime",
           "shuffle.write.bytesWritten", "shuffle.write.recordsWritten", "shuffle.write.writeTime", "input.recordsRead")  # fmt: skip
SQL = ("data size", "shuffle bytes written", "shuffle records written", "shuffle write time", "duration", "number of output rows",
       "number of output rows")  # fmt: skip


def task(number: int, stage: int) -> dict[str, Any]:
    """Return the end of a task."""
    began = 1_795_772_156_942 + number * 7
    accumulables = [
        {"ID": 86 + place, "Name": name, "Update": str(number), "Value": str(number * 8), "Internal": True,
         "Count Failed Values": True, "Metadata": "sql"}
        for place, name in enumerate(SQL)
    ] + [
        {"ID": 178 + place, "Name": f"internal.metrics.{name}", "Update": number, "Value": number * 9, "Internal": True,
         "Count Failed Values": True}
        for place, name in enumerate(METRICS)
    ]  # fmt: skip
    merged = ("Corrupt Merged Block Chunks", "Merged Fetch Fallback Count", "Merged Remote Blocks Fetched", "Merged Local Blocks Fetched",
              "Merged Remote Chunks Fetched", "Merged Local Chunks Fetched", "Merged Remote Bytes Read", "Merged Local Bytes Read")  # fmt: skip
    return {
        "Event": "SparkListenerTaskEnd", "Stage ID": stage, "Stage Attempt ID": 0, "Task Type": "ShuffleMapTask",
        "Task End Reason": {"Reason": "Success"},
        "Task Info": {"Task ID": number, "Index": number, "Attempt": 0, "Partition ID": number, "Launch Time": began,
                      "Executor ID": "1", "Host": "worker-1", "Locality": "PROCESS_LOCAL", "Speculative": False,
                      "Getting Result Time": 0, "Finish Time": began + 400 + number % 777, "Failed": False, "Killed": False,
                      "Accumulables": accumulables},
        "Task Executor Metrics": dict.fromkeys(("JVMHeapMemory", "JVMOffHeapMemory", "OnHeapExecutionMemory", "OnHeapStorageMemory", "DirectPoolMemory", "ProcessTreeJVMRSSMemory", "MinorGCCount", "MinorGCTime", "MajorGCCount", "MajorGCTime", "TotalGCTime"), number),
        "Task Metrics": {"Executor Deserialize Time": 1, "Executor Deserialize CPU Time": 1_747_009, "Executor Run Time": 400,
                         "Executor CPU Time": 1_108_683_561, "Peak Execution Memory": 0, "Result Size": 1899, "JVM GC Time": 12,
                         "Result Serialization Time": 0, "Memory Bytes Spilled": 0, "Disk Bytes Spilled": 0,
                         "Shuffle Read Metrics": {"Remote Blocks Fetched": 0, "Local Blocks Fetched": 0, "Fetch Wait Time": 0,
                                                  "Remote Bytes Read": 0, "Remote Bytes Read To Disk": 0, "Local Bytes Read": 0,
                                                  "Total Records Read": 0, "Push Based Shuffle": dict.fromkeys(merged, 0)},
                         "Shuffle Write Metrics": {"Shuffle Bytes Written": 26_213, "Shuffle Write Time": 93_806,
                                                   "Shuffle Records Written": 375},
                         "Input Metrics": {"Bytes Read": 4096, "Records Read": 375},
                         "Output Metrics": {"Bytes Written": 0, "Records Written": 0}, "Updated Blocks": []},
    }  # fmt: skip


def events(size: int) -> Iterator[str]:
    """Yield the lines of a log of so many bytes."""
    written = number = 0
    while written < size:
        stage = number // TASKS_PER_STAGE
        info = {"Stage ID": stage, "Stage Attempt ID": 0, "Stage Name": "count at /run/script/daily.py:7",
                "Number of Tasks": TASKS_PER_STAGE, "RDD Info": [], "Submission Time": 1_795_772_156_000 + number * 7,
                "Accumulables": []}  # fmt: skip
        ended: dict[str, Any] = task(number, stage)
        begun = {"Event": "SparkListenerTaskStart", "Stage ID": stage, "Stage Attempt ID": 0,
                 "Task Info": {**ended["Task Info"], "Finish Time": 0, "Accumulables": []}}  # fmt: skip
        group = [begun, ended]
        if number % TASKS_PER_STAGE == 0:
            group.insert(0, {"Event": "SparkListenerStageSubmitted", "Stage Info": info})
        if number % TASKS_PER_STAGE == TASKS_PER_STAGE - 1:
            done = {**info, "Completion Time": ended["Task Info"]["Finish Time"]}
            group.append({"Event": "SparkListenerStageCompleted", "Stage Info": done})
        for event in group:
            line = json.dumps(event, separators=(",", ":")) + "\n"
            written += len(line)
            yield line
        number += 1


def read_with_json(file: Path) -> int:
    """Parse every line; return how many there are."""
    with file.open("rb") as log:
        return sum(1 for line in log if json.loads(line))


def fold(file: Path) -> int:
    """Fold a log; return how many tasks completed."""
    folded = StageFold("local-1")
    with file.open("rb") as log:
        folded.feed(log)
    return sum(stage.tasks_done for stage in folded.report().stages)


def from_storage(folder: Path, size: int) -> int:
    """Read the log as `Run.stages` does, in parts and with threads; return how many tasks completed."""

    async def read() -> int:
        report = await EventLogs(FOLDER).read(FolderObjects(folder), is_over=True, most=2 * size)
        return sum(stage.tasks_done for stage in report.stages) if report else 0

    return asyncio.run(read())


def reason(folder: Path) -> str:
    """Return the reason of a run that failed, as the end of a run reads it."""

    async def storage() -> RangedObjects:
        return FolderObjects(folder)

    async def read() -> str:
        log = await (await storage()).tail(f"{FOLDER}/console.log", 1 << 18)
        failure = await explain(
            storage(),
            log=log.decode(),
            folder=FOLDER,
            script_path="bucket/scripts/",
            detail="",
            status="FAILED",
        )
        return failure.reason

    return asyncio.run(read())


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak(file: Path) -> float:
    """Return the MB that folding the first 2,000 lines takes at most; with `tracemalloc` all of it would take minutes."""
    folded = StageFold("local-1")
    tracemalloc.start()
    try:
        with file.open("rb") as log:
            folded.feed(islice(log, 2_000))
        return tracemalloc.get_traced_memory()[1] / MEGABYTE
    finally:
        tracemalloc.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / FOLDER / "events" / "eventlog_v2_local-1" / "events_1_local-1"
        file.parent.mkdir(parents=True)
        with file.open("w") as log:
            log.writelines(events(options.megabytes * MEGABYTE))
        (folder / FOLDER / "console.log").write_text("reading\n" * 40_000 + FAILURE)
        size = file.stat().st_size
        ways = {
            "json, every line": lambda: read_with_json(file),
            "folded into stages": lambda: fold(file),
            "run.stages(), from storage": lambda: from_storage(folder, size),
            "reason of a failed run": lambda: reason(folder),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        tasks = fold(file)  # once before, so that the file is in memory for all
        for _ in range(options.rounds):
            for way, work in ways.items():
                times[way].append(timed(work))
        medians = {way: statistics.median(each) for way, each in times.items()}
        print(f"{size / MEGABYTE:,.0f} MB, {tasks:,} tasks; median of {options.rounds} rounds")
        base = medians["json, every line"]
        for way, seconds in medians.items():
            print(f"{way:<28} {seconds:7.2f} s   {seconds / base:5.2f} x json")
        print(f"{'memory of the fold, peak':<28} {peak(file):7.2f} MB")
        late = medians["reason of a failed run"] + LOCAL_PACE.first
        ratio = medians["folded into stages"] / base
        print(
            f"reason {late:.2f} s after the end of a young run, with the {LOCAL_PACE.first:g} s between two polls (limit {REASON_SECONDS:g} s); "
            f"an old run is polled every {LOCAL_PACE.last:g} s"
        )
        print(f"folding takes {ratio:.2f} x the time of json (limit {LIMIT:g})")
    return 0 if ratio <= LIMIT and late <= REASON_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
