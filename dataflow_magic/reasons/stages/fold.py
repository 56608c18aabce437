"""Folds the lines of one Spark application's event log into its stages: one pass, in bounded memory. Pure.

Source: the events as Spark 4 writes them (``org.apache.spark.util.JsonProtocol``); what another version leaves out is 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from dataflow_magic.models.failure import Place
from dataflow_magic.models.stages import Executor, Stage, StageReport
from dataflow_magic.reasons.event_log import events
from dataflow_magic.reasons.stages.activity import ActivityCount

__all__ = ["MOST_STAGES", "StageFold"]

MOST_STAGES: Final = 2_000
"""That are kept, those that took longest: a streaming query has any number."""
MOST_EXECUTORS: Final = 1_000
MOST_KEYS: Final = 20_000
"""Metrics of exchanges whose columns are remembered; each exchange has some twenty."""
MOST_NODES: Final = 5_000
"""Of one query plan."""
MOST_OUTPUTS: Final = 1_000
"""Paths that are remembered."""
RUN_STEPS: Final = 120
STAGE_STEPS: Final = 40
LONGEST_NAME: Final = 200

_CALL_SITE: Final = re.compile(r"(.{1,200}?) at (\S.{0,500}):(\d{1,9})")
_PARTITIONING: Final = re.compile(r"hashpartitioning\((.{1,500}?), \d+\)")
_COLUMN: Final = re.compile(r"([^\s,()#]{1,100})#\d+L?")
_WRITE: Final = "Execute InsertIntoHadoopFsRelationCommand"
_OUTPUT: Final = re.compile(rf"{_WRITE} (.{{1,1000}}?), (?:true|false), ")
_NOT_FAILED: Final = frozenset({"Success", "Resubmitted", "TaskKilled", "TaskCommitDenied"})
"""Ends of tasks that Spark does not count as failures; as its pages do."""


class StageFold:
    """The stages of one application, so far.

    Parameters
    ----------
    application
        Its id.
    """

    def __init__(self, application: str, most: int = MOST_STAGES) -> None:
        self._application = application
        self._most = most
        self._running: dict[tuple[int, int], _Stage] = {}
        self._ended: list[Stage] = []
        self._left_out = 0
        self._executors: dict[str, Executor] = {}
        self._gone: list[Executor] = []
        self._cores = 0
        self._query_of: dict[int, int] = {}
        self._keys: dict[int, tuple[str, ...]] = {}
        self._outputs: dict[str, None] = {}
        self._activity: ActivityCount | None = None
        self._began: int | None = None
        self._last: int | None = None
        self._is_ended = False

    def feed(self, lines: Iterable[bytes]) -> None:
        """Take the next whole lines of the log. A line that is no event, or of another version, changes nothing."""
        for name, event in events(lines, _NAMES):
            try:
                _FOLDS[name](self, event)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError):
                continue  # of another version of Spark

    def report(self) -> StageReport:
        """Return the stages so far."""
        running = [stage.result(None) for stage in self._running.values()]
        self._drop(self._most)
        stages = sorted([*self._ended, *running], key=lambda stage: (stage.submitted or 0, stage.number))
        return StageReport(
            tuple(stages),
            tuple(sorted([*self._gone, *self._executors.values()], key=lambda each: each.added)),
            (self._application,),
            self._began,
            self._last,
            self._activity.result() if self._activity else None,
            self._is_ended,
            self._left_out,
            tuple(self._outputs),
        )

    def _drop(self, most: int) -> None:
        """Leave the shortest stages out."""
        if len(self._ended) > most:
            self._ended.sort(key=lambda stage: -(stage.took or 0))
            self._left_out += len(self._ended) - most
            del self._ended[most:]

    def _see(self, moment: int) -> None:
        if self._began is None:
            self._began = moment
        self._last = max(self._last or moment, moment)

    # One for each event

    def _application_start(self, event: Mapping[str, Any]) -> None:
        self._began = None
        self._see(int(event["Timestamp"]))

    def _application_end(self, event: Mapping[str, Any]) -> None:
        self._is_ended = True
        self._see(int(event["Timestamp"]))
        for key in list(self._running):
            self._end(key, None, failed=True)

    def _job_start(self, event: Mapping[str, Any]) -> None:
        query = (event.get("Properties") or {}).get("spark.sql.execution.id")
        if query is not None:
            for stage in event["Stage IDs"]:
                self._query_of[int(stage)] = int(query)
        while len(self._query_of) > self._most:
            del self._query_of[next(iter(self._query_of))]

    def _stage_submitted(self, event: Mapping[str, Any]) -> None:
        info = event["Stage Info"]
        key = int(info["Stage ID"]), int(info["Stage Attempt ID"])
        submitted = int(info["Submission Time"])
        self._see(submitted)
        named = _CALL_SITE.fullmatch(info["Stage Name"][: 4 * LONGEST_NAME])
        name = named[1] if named else info["Stage Name"]
        place = Place(_file(named[2]), int(named[3])) if named and named[2].endswith(".py") else None
        start = Stage(
            self._application,
            *key,
            name[:LONGEST_NAME],
            place,
            self._query_of.get(key[0]),
            submitted=submitted,
            tasks=int(info["Number of Tasks"]),
            cores=self._cores,
        )
        self._running[key] = _Stage(start, submitted)

    def _task_end(self, event: Mapping[str, Any]) -> None:
        info = event["Task Info"]
        began, ended = info["Launch Time"], info["Finish Time"]
        if ended > (self._last or 0):
            self._last = ended
        stage = self._running.get((event["Stage ID"], event["Stage Attempt ID"]))
        if self._activity is None:
            self._activity = ActivityCount(stage.began if stage else began, RUN_STEPS)
        self._activity.add(began, ended)
        if stage is None:
            return  # it ended after its stage
        reason = event["Task End Reason"]["Reason"]
        if reason == "Success":
            stage.add(began, ended, event.get("Task Metrics") or {})
        elif reason not in _NOT_FAILED:
            stage.failed += 1

    def _stage_completed(self, event: Mapping[str, Any]) -> None:
        info = event["Stage Info"]
        key = int(info["Stage ID"]), int(info["Stage Attempt ID"])
        stage = self._running.get(key)
        if stage is None:
            return
        read = {self._keys.get(each["ID"], ()) for each in info.get("Accumulables", ())} - {()}
        if len(read) == 1:  # several exchanges with other columns: it is not known which has more rows
            stage.keys = next(iter(read))
        completed = info.get("Completion Time")
        if completed is not None:
            self._see(int(completed))
        self._end(key, completed, failed="Failure Reason" in info)

    def _end(self, key: tuple[int, int], completed: int | None, *, failed: bool) -> None:
        stage = self._running.pop(key)
        moment = int(completed) if completed is not None else self._last
        self._ended.append(replace(stage.result(moment), state="FAILED" if failed else "COMPLETED"))
        if len(self._ended) > 2 * self._most:
            self._drop(self._most)

    def _executor_added(self, event: Mapping[str, Any]) -> None:
        info = event["Executor Info"]
        name = str(event["Executor ID"])
        added = int(event["Timestamp"])
        self._see(added)
        self._executors[name] = Executor(name, str(info["Host"]), int(info["Total Cores"]), added)
        self._count_cores()

    def _executor_removed(self, event: Mapping[str, Any]) -> None:
        executor = self._executors.pop(str(event["Executor ID"]))
        removed, reason = int(event["Timestamp"]), str(event.get("Removed Reason", ""))
        self._see(removed)
        if len(self._gone) < MOST_EXECUTORS:
            self._gone.append(replace(executor, removed=removed, reason=reason))
        self._count_cores()

    def _count_cores(self) -> None:
        self._cores = sum(each.cores for each in self._executors.values())

    def _plan(self, event: Mapping[str, Any]) -> None:
        for node in _nodes(event["sparkPlanInfo"]):
            written = _OUTPUT.match(node["simpleString"]) if node["nodeName"] == _WRITE else None
            if written and len(self._outputs) < MOST_OUTPUTS:
                self._outputs[written[1]] = None
            found = _PARTITIONING.search(node["simpleString"]) if "Exchange" in node["nodeName"] else None
            columns = tuple(_COLUMN.findall(found[1])) if found else ()
            for metric in node["metrics"] if columns else ():
                if metric["name"] == "records read":
                    self._keys[metric["accumulatorId"]] = columns
        while len(self._keys) > MOST_KEYS:
            del self._keys[next(iter(self._keys))]


_FOLDS: Final = {
    "ApplicationStart": StageFold._application_start,  # noqa: SLF001
    "ApplicationEnd": StageFold._application_end,  # noqa: SLF001
    "JobStart": StageFold._job_start,  # noqa: SLF001
    "StageSubmitted": StageFold._stage_submitted,  # noqa: SLF001
    "TaskEnd": StageFold._task_end,  # noqa: SLF001
    "StageCompleted": StageFold._stage_completed,  # noqa: SLF001
    "ExecutorAdded": StageFold._executor_added,  # noqa: SLF001
    "ExecutorRemoved": StageFold._executor_removed,  # noqa: SLF001
    "SQLExecutionStart": StageFold._plan,  # noqa: SLF001
    "SQLAdaptiveExecutionUpdate": StageFold._plan,  # noqa: SLF001
}
_NAMES: Final = frozenset(_FOLDS)


class _Stage:
    """A stage while its tasks come."""

    __slots__ = (
        "_activity", "_start", "began", "bytes_in", "bytes_out", "done", "failed", "gc", "keys", "rows_in", "rows_out",
        "shuffle_read", "shuffle_written", "slowest", "slowest_began", "spilled", "spilled_memory", "time", "times",
    )  # fmt: skip

    def __init__(self, start: Stage, began: int) -> None:
        self._start = start
        self._activity: ActivityCount | None = None
        self.began = began
        self.keys: tuple[str, ...] = ()
        self.times: dict[int, int] = {}
        """Time of a task, in three digits -> how many; at most some 900 for each power of ten."""
        self.done = self.failed = self.time = self.gc = self.rows_in = self.rows_out = 0
        self.bytes_in = self.bytes_out = self.shuffle_read = self.shuffle_written = 0
        self.spilled = self.spilled_memory = 0
        self.slowest = self.slowest_began = -1

    def add(self, began: int, ended: int, metrics: Mapping[str, Any]) -> None:
        """Add a task that completed."""
        self.done += 1
        if self._activity is None:
            self._activity = ActivityCount(self.began, STAGE_STEPS)
        self._activity.add(began, ended)
        time = max(0, ended - began)
        self.time += time
        if time > self.slowest:
            self.slowest, self.slowest_began = time, began
        rounded = time if time < 1000 else _in_three_digits(time)
        self.times[rounded] = self.times.get(rounded, 0) + 1
        if not metrics:
            return
        self.gc += metrics["JVM GC Time"]
        self.spilled += metrics["Disk Bytes Spilled"]
        self.spilled_memory += metrics["Memory Bytes Spilled"]
        source, target = metrics["Input Metrics"], metrics["Output Metrics"]
        self.bytes_in += source["Bytes Read"]
        self.bytes_out += target["Bytes Written"]
        read, written = metrics["Shuffle Read Metrics"], metrics["Shuffle Write Metrics"]
        self.shuffle_read += read["Remote Bytes Read"] + read["Local Bytes Read"]
        self.shuffle_written += written["Shuffle Bytes Written"]
        self.rows_in += source["Records Read"] + read["Total Records Read"]
        self.rows_out += target["Records Written"] + written["Shuffle Records Written"]

    def result(self, completed: int | None) -> Stage:
        """Return the stage as it is, or as it ended at a moment."""
        return replace(
            self._start,
            completed=completed,
            tasks_done=min(self.done, self._start.tasks),  # both copies of a speculative task can succeed
            tasks_failed=self.failed,
            rows_in=self.rows_in,
            rows_out=self.rows_out,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            shuffle_read=self.shuffle_read,
            shuffle_written=self.shuffle_written,
            spilled=self.spilled,
            spilled_memory=self.spilled_memory,
            task_time=self.time,
            gc_time=self.gc,
            median=_median(self.times),
            slowest=self.slowest if self.done else None,
            slowest_began=self.slowest_began if self.done else None,
            keys=self.keys,
            activity=self._activity.result() if self._activity else None,
        )


def _in_three_digits(number: int) -> int:
    unit = 1
    while number >= 1000 * unit:
        unit *= 10
    return (number + unit // 2) // unit * unit


def _median(times: Mapping[int, int]) -> int | None:
    """Return the middle one; of an even number the lower of the two."""
    left = (sum(times.values()) + 1) // 2
    for time in sorted(times):
        left -= times[time]
        if left <= 0:
            return time
    return None


def _nodes(plan: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the nodes of a plan."""
    waiting = [plan]
    for _ in range(MOST_NODES):
        if not waiting:
            return
        node = waiting.pop()
        waiting += node.get("children", ())
        yield node


def _file(path: str) -> str:
    """Return a file's name below the folder of the script: the local service stages it in a folder of that name."""
    _, staged, below = path.rpartition("/script/")
    return below if staged else path.rpartition("/")[2]
