"""The stages of a run as its event log has them, as frozen values. Pure. Moments are milliseconds since 1970, in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dataflow_magic.models.failure import Place

__all__ = ["Activity", "Executor", "Finding", "Hotspots", "Stage", "StageReport", "StageState", "joined"]

StageState = Literal["RUNNING", "COMPLETED", "FAILED"]


@dataclass(frozen=True, slots=True)
class Activity:
    """How many tasks ran over time, in steps of equal length.

    Parameters
    ----------
    began
        Begin of the first step.
    step
        Milliseconds of each.
    levels
        Of each step the average number of tasks that ran.
    """

    began: int
    step: int
    levels: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is out of line in a stage.

    Parameters
    ----------
    kind
        ``skew``, ``spill``, ``gc``, ``tiny`` or ``alone``.
    sentence
        In English, without the stage's number.
    """

    kind: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One attempt of a stage.

    Parameters
    ----------
    application
        Spark's id of the application: ``local-1795772123789``.
    number, attempt
        As Spark counts, from 0.
    name
        The operation that needed it, such as ``count``.
    place
        The line of the script that called it; None where Spark names a line of Java.
    query
        The number of its SQL query; None where it belongs to none.
    submitted, completed
        None where it was not yet.
    tasks, tasks_done, tasks_failed
        Tasks in all, those that completed, and attempts that failed.
    rows_in, rows_out
        Records of its sources and of shuffles that its tasks read, and that they wrote.
    bytes_in, bytes_out, shuffle_read, shuffle_written, spilled, spilled_memory
        Bytes; `spilled` on disk, `spilled_memory` what these were in memory.
    task_time, gc_time
        Milliseconds of all completed tasks, and how many of these the JVM collected garbage.
    median, slowest
        Of the completed tasks, in milliseconds, above a second in three digits; None where none completed.
    slowest_began
        When the slowest task was launched.
    keys
        The columns by which the rows that it read from a shuffle were distributed; empty where these are unknown.
    cores
        Of the executors that were there when it was submitted.
    activity
        How many of its tasks ran over time.
    """

    application: str
    number: int
    attempt: int
    name: str
    place: Place | None = None
    query: int | None = None
    state: StageState = "RUNNING"
    submitted: int | None = None
    completed: int | None = None
    tasks: int = 0
    tasks_done: int = 0
    tasks_failed: int = 0
    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    shuffle_read: int = 0
    shuffle_written: int = 0
    spilled: int = 0
    spilled_memory: int = 0
    task_time: int = 0
    gc_time: int = 0
    median: int | None = None
    slowest: int | None = None
    slowest_began: int | None = None
    keys: tuple[str, ...] = ()
    cores: int = 0
    activity: Activity | None = None

    @property
    def took(self) -> int | None:
        """Milliseconds from its submission to its end; None while it runs."""
        if self.submitted is None or self.completed is None:
            return None
        return self.completed - self.submitted

    @property
    def skew(self) -> float | None:
        """The slowest task's time over that of the median task; None where unknown, and where the median is 0 ms."""
        return self.slowest / self.median if self.slowest is not None and self.median else None


@dataclass(frozen=True, slots=True)
class Executor:
    """One executor of an application.

    Parameters
    ----------
    added, removed
        `removed` is None where it stayed to the end.
    reason
        Why Spark removed it; empty where it did not.
    """

    name: str
    host: str
    cores: int
    added: int
    removed: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StageReport:
    """The stages of a run.

    Parameters
    ----------
    stages
        In the order in which Spark submitted them.
    executors
        In the order in which they came.
    applications
        The ids of the run's Spark applications.
    began, ended
        Of the applications; `ended` is the last moment that the log names while they run.
    activity
        How many tasks ran over time; None where none did.
    is_ended
        Whether the log has the end of every application.
    left_out
        How many of the shortest stages are left out: a run may have any number.
    outputs
        The paths that its queries wrote to, as Spark names them, each once, in the order of the queries.
    """

    stages: tuple[Stage, ...] = ()
    executors: tuple[Executor, ...] = ()
    applications: tuple[str, ...] = ()
    began: int | None = None
    ended: int | None = None
    activity: Activity | None = None
    is_ended: bool = False
    left_out: int = 0
    outputs: tuple[str, ...] = ()

    def hotspots(self, most: int, least: int = 0) -> Hotspots | None:
        """Return the stages that took longest; None where none took so many milliseconds.

        Parameters
        ----------
        most
            How many stages.
        least
            Milliseconds of a stage that counts; one that still runs does not.
        """
        ended = [stage for stage in self.stages if (stage.took or 0) >= max(1, least)]
        longest = sorted(ended, key=lambda stage: -(stage.took or 0))[:most]
        total = (self.ended or 0) - (self.began or 0)
        # A cell keeps these as long as its run: they need no more than is shown.
        return Hotspots(tuple(replace(stage, activity=None) for stage in longest), total) if longest else None


@dataclass(frozen=True, slots=True)
class Hotspots:
    """Where most of a run's time went.

    Parameters
    ----------
    stages
        Those that took longest, the longest first.
    total
        Milliseconds from the begin of the run's first Spark application to the end of its last.
    """

    stages: tuple[Stage, ...]
    total: int


def joined(reports: Sequence[StageReport]) -> StageReport:
    """Return the applications of a run as one report, in their order; of their activities that of the longest."""
    if len(reports) == 1:
        return reports[0]
    began = [each.began for each in reports if each.began is not None]
    ended = [each.ended for each in reports if each.ended is not None]
    activities = [each.activity for each in reports if each.activity is not None]
    return StageReport(
        tuple(stage for each in reports for stage in each.stages),
        tuple(executor for each in reports for executor in each.executors),
        tuple(name for each in reports for name in each.applications),
        min(began, default=None),
        max(ended, default=None),
        max(activities, key=lambda each: each.step * len(each.levels), default=None),
        bool(reports) and all(each.is_ended for each in reports),
        sum(each.left_out for each in reports),
        tuple(dict.fromkeys(path for each in reports for path in each.outputs)),
    )
