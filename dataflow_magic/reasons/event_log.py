"""Reads what Spark wrote into an event log: one pass over its lines, in bounded memory. Pure; opens no file.

`events` is the pass; `how_it_ended` folds it into what a failure is explained with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["LineCutter", "SparkEnd", "event_logs", "events", "how_it_ended", "lines_of", "log_files"]

LONGEST_LINE: Final = 4 << 20
"""Bytes. A longer line is skipped; Spark writes a query plan or a list of stages in one line."""
_MOST_KEPT: Final = 256
"""Of queries, and of jobs that run, the last that are remembered."""
_MOST_LOST: Final = 20

_FILE: Final = re.compile(
    r"(?:.*/)?(?:events_(?P<number>\d{1,9})_)?(?P<app>(?:local|app|application)[-_][\w-]{1,80}?)"
    r"(?P<codec>\.(?:zstd|lz4|snappy|lzf))?(?:\.inprogress)?"
)
_NAME: Final = re.compile(rb'\{"Event":"([\w.]{1,120})"')
"""As Spark writes an event: its name first, without spaces."""
_CALL_SITE: Final = re.compile(r" at (\S.{0,500}\.py):(\d{1,9})$")
_PYTHON_PART: Final = re.compile(
    r"\) \w*(?:Python|InPandas|InArrow)\b[^\n]*\n(?:Input[^\n]*\n)?Arguments: ([^\n]{1,2000})"
)
_LOSS: Final = re.compile(r"exit(?:ed with)? (?:code|status)|\blost\b|heartbeat|memory", re.IGNORECASE)
_BRACKET: Final = re.compile(r"([A-Za-z_]\w{0,100})?\(|\)")


@dataclass(frozen=True, slots=True)
class SparkEnd:
    """What the event log says of the end of a run.

    Parameters
    ----------
    error
        Of the last Spark job that failed, with its Java type; empty where none did.
    called_from
        File and line of the call that made that job, else the job that still ran last; None where Spark names a Java line.
    functions
        Names of the Python functions in that job's query plan, in its order; empty where the plan has none.
    lost
        How Spark says that executors ended during the run, oldest first, at most the last 20.
    executor_memory
        Of each executor, in MiB; 0 where the log does not have it.
    """

    error: str = ""
    called_from: tuple[str, int] | None = None
    functions: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    executor_memory: int = 0


def log_files(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the files of the newest event log among the names of objects, in the order in which Spark wrote them.

    Each is a name and its codec, as `event_logs` returns them.
    """
    return next(reversed(event_logs(names).values()), [])


def event_logs(names: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """Return the files of each event log among the names of objects, by the id of its application, the oldest first.

    Each file is a name and its codec, ``""``, ``zstd``, ``lz4``, ``snappy`` or ``lzf``, in the order in which Spark wrote
    them: rolling logs have numbered files.
    """
    found: dict[str, list[tuple[int, str, str]]] = {}
    for name in names:
        if match := _FILE.fullmatch(name):
            file = int(match["number"] or 0), name, (match["codec"] or "").removeprefix(".")
            found.setdefault(match["app"], []).append(file)
    return {app: [(name, codec) for _, name, codec in sorted(found[app])] for app in sorted(found)}


def lines_of(chunks: Iterable[bytes], longest: int = LONGEST_LINE) -> Iterator[bytes]:
    """Yield the whole lines of a stream; a line of more than `longest` bytes is left out, and never kept whole."""
    cutter = LineCutter(longest)
    for chunk in chunks:
        yield from cutter.feed(chunk)
    yield from cutter.end()


class LineCutter:
    """Cuts a stream into lines. Keeps less than one line, of at most `longest` bytes; longer ones are left out."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._rest = b""
        self._is_skipping = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that end in the next bytes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if lines and self._is_skipping:
            del lines[0]
            self._is_skipping = False
        if len(self._rest) > self._longest:
            self._rest, self._is_skipping = b"", True
        return [line for line in lines if len(line) <= self._longest]

    def end(self) -> list[bytes]:
        """Return the last line, which has no end, in a list; an empty one where there is none."""
        rest, self._rest = self._rest, b""
        return [rest] if rest and not self._is_skipping else []


def events(lines: Iterable[bytes], names: frozenset[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the events with one of the names, each without its package: ``JobEnd``, ``SQLExecutionStart``.

    Only their lines are parsed. A line that is no event, such as one that is cut off, is left out.
    """
    for line in lines:
        found = _NAME.match(line)
        if not found:
            continue
        name = found[1].decode().rpartition(".")[2].removeprefix("SparkListener")
        if name not in names:
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield name, event


def how_it_ended(lines: Iterable[bytes]) -> SparkEnd:
    """Return what the lines of an event log, or of its end, say of the end of a run."""
    fold = _Fold()
    for name, event in events(lines, frozenset(_Fold.EVENTS)):
        try:
            _Fold.EVENTS[name](fold, event)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            continue  # of another version of Spark
    return fold.end()


@dataclass(frozen=True, slots=True)
class _Job:
    called_from: tuple[str, int] | None
    query: str


class _Fold:
    def __init__(self) -> None:
        self._jobs: dict[int, _Job] = {}
        self._functions: dict[str, tuple[str, ...]] = {}
        self._failed: _Job | None = None
        self._error = ""
        self._lost: list[str] = []
        self._memory = 0

    def end(self) -> SparkEnd:
        job = self._failed or next(reversed(self._jobs.values()), None)
        return SparkEnd(
            self._error,
            job.called_from if job else None,
            self._functions.get(job.query, ()) if job else (),
            tuple(self._lost),
            self._memory,
        )

    def _query(self, event: Mapping[str, Any]) -> None:
        plan = str(event["physicalPlanDescription"])
        names = [name for part in _PYTHON_PART.findall(plan) for name in _called(part)]
        if names:
            _keep(self._functions, str(event["executionId"]), tuple(dict.fromkeys(names)))

    def _job_start(self, event: Mapping[str, Any]) -> None:
        last = max(event["Stage Infos"], key=lambda stage: stage["Stage ID"])
        site = _CALL_SITE.search(last["Stage Name"])
        query = str((event.get("Properties") or {}).get("spark.sql.execution.id", ""))
        _keep(self._jobs, event["Job ID"], _Job((site[1], int(site[2])) if site else None, query))

    def _job_end(self, event: Mapping[str, Any]) -> None:
        job = self._jobs.pop(event["Job ID"], None)
        result = event["Job Result"]
        if result["Result"] == "JobSucceeded":
            return
        self._failed = job
        self._error = f"org.apache.spark.SparkException: {result['Exception']['Message']}"

    def _executor_removed(self, event: Mapping[str, Any]) -> None:
        reason = str(event["Removed Reason"])
        if _LOSS.search(reason):  # not one that the driver gave back
            self._lost = [*self._lost, reason][-_MOST_LOST:]

    def _profile(self, event: Mapping[str, Any]) -> None:
        self._memory = int(event["Executor Resource Requests"]["memory"]["Amount"])

    EVENTS: Final = {
        "SQLExecutionStart": _query,
        "JobStart": _job_start,
        "JobEnd": _job_end,
        "ExecutorRemoved": _executor_removed,
        "ResourceProfileAdded": _profile,
    }


def _called(arguments: str) -> Iterator[str]:
    """Yield the names before brackets that are in no other: ``f(cast(a)), g(b)`` has f and g."""
    depth = 0
    for found in _BRACKET.finditer(arguments):
        if found[0] != ")" and not depth and found[1]:
            yield found[1]
        depth += -1 if found[0] == ")" else 1


def _keep(kept: dict[Any, Any], key: object, value: object) -> None:
    kept[key] = value
    if len(kept) > _MOST_KEPT:
        del kept[next(iter(kept))]
