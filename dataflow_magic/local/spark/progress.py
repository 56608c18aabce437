"""Progress of Spark applications, computed from the lines of their event logs. Pure: opens no file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError

__all__ = ["Application", "Progress", "StageProgress"]

LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class StageProgress:
    """A running stage: ``tasks_failed`` counts attempts, ``tasks_done`` counts tasks."""

    stage_id: int
    name: str
    tasks_done: int
    tasks_failed: int
    tasks_total: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run: the sum over its Spark applications.

    Parameters
    ----------
    stages_total, tasks_total
        Done, running or planned, in the Spark jobs that have started. A stage that Spark skips is subtracted when its job
        ends; a failed stage stays.
    tasks_failed
        Attempts that failed. An attempt that Spark stopped, because another was faster or its job ended, does not count.
    is_over
        No value changes any more.
    """

    stages_done: int = 0
    stages_total: int = 0
    tasks_done: int = 0
    tasks_failed: int = 0
    tasks_total: int = 0
    running: tuple[StageProgress, ...] = ()
    is_over: bool = False

    def __add__(self, other: Progress) -> Progress:
        return Progress(
            self.stages_done + other.stages_done,
            self.stages_total + other.stages_total,
            self.tasks_done + other.tasks_done,
            self.tasks_failed + other.tasks_failed,
            self.tasks_total + other.tasks_total,
            self.running + other.running,
        )


class Application:
    """One Spark application. Keeps no tasks, and a stage only while a Spark job with that stage is active."""

    def __init__(self) -> None:
        self.is_ended = False
        self._stages: dict[int, _Stage] = {}
        self._jobs: dict[int, list[int]] = {}
        self._settled = Progress()

    def progress(self) -> Progress:
        """Return the progress so far."""
        return sum((stage.progress(number) for number, stage in self._stages.items()), self._settled)

    def fold(self, line: bytes) -> None:
        """Add the next line of the log. A line that is no event, or an event that does not count here, changes nothing."""
        # Checked before parsing: half of a log's lines are other events, some of them long.
        if not line.startswith(_OF_INTEREST):
            return
        try:
            event = _EVENTS.validate_json(line)
        except ValidationError:
            return
        match event:
            case _TaskEnd():
                self._end_task(event)
            case _StageSubmitted(stage=info):
                self._stages.setdefault(info.stage_id, _Stage(info)).submit(info)
            case _StageCompleted(stage=info) if stage := self._stages.get(info.stage_id):
                stage.complete(info)
            case _JobStart():
                self._start_job(event)
            case _JobEnd():
                self._end_job(event.job_id)
            case _ApplicationEnd():
                self._end()

    def _start_job(self, event: _JobStart) -> None:
        self._jobs[event.job_id] = [info.stage_id for info in event.stages]
        for info in event.stages:
            self._stages.setdefault(info.stage_id, _Stage(info)).jobs += 1

    def _end_task(self, event: _TaskEnd) -> None:
        if stage := self._stages.get(event.stage_id):
            stage.end_task(event)
        elif event.has_failed:  # it ended after its job
            self._settled += Progress(tasks_failed=1)

    def _end_job(self, job_id: int) -> None:
        for number in self._jobs.pop(job_id, ()):
            stage = self._stages[number]
            stage.jobs -= 1
            if not stage.jobs:
                self._settle(number)

    def _end(self) -> None:
        for number in list(self._stages):
            self._settle(number)
        self._jobs.clear()
        self.is_ended = True

    def _settle(self, number: int) -> None:
        stage = self._stages.pop(number)
        stage.is_running = False
        if stage.attempt is not None:
            self._settled += stage.progress(number)


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True)


class _StageInfo(_Event):
    stage_id: int = Field(alias="Stage ID")
    attempt: int = Field(alias="Stage Attempt ID")
    name: str = Field(alias="Stage Name")
    tasks: NonNegativeInt = Field(alias="Number of Tasks")
    failure: str | None = Field(None, alias="Failure Reason")


class _JobStart(_Event):
    event: Literal["SparkListenerJobStart"] = Field(alias="Event")
    job_id: int = Field(alias="Job ID")
    stages: list[_StageInfo] = Field(alias="Stage Infos")


class _StageSubmitted(_Event):
    event: Literal["SparkListenerStageSubmitted"] = Field(alias="Event")
    stage: _StageInfo = Field(alias="Stage Info")


class _Reason(_Event):
    word: str = Field(alias="Reason")


class _TaskEnd(_Event):
    event: Literal["SparkListenerTaskEnd"] = Field(alias="Event")
    stage_id: int = Field(alias="Stage ID")
    attempt: int = Field(alias="Stage Attempt ID")
    reason: _Reason = Field(alias="Task End Reason")

    @property
    def has_failed(self) -> bool:
        return self.reason.word not in {"Success", "Resubmitted", "TaskKilled", "TaskCommitDenied"}


class _StageCompleted(_Event):
    event: Literal["SparkListenerStageCompleted"] = Field(alias="Event")
    stage: _StageInfo = Field(alias="Stage Info")


class _JobEnd(_Event):
    event: Literal["SparkListenerJobEnd"] = Field(alias="Event")
    job_id: int = Field(alias="Job ID")


class _ApplicationEnd(_Event):
    event: Literal["SparkListenerApplicationEnd"] = Field(alias="Event")


_EVENTS: TypeAdapter[_JobStart | _StageSubmitted | _TaskEnd | _StageCompleted | _JobEnd | _ApplicationEnd] = (
    TypeAdapter(
        Annotated[
            _JobStart | _StageSubmitted | _TaskEnd | _StageCompleted | _JobEnd | _ApplicationEnd,
            Field(discriminator="event"),
        ]
    )
)
_OF_INTEREST = tuple(
    f'{{"Event":"SparkListener{name}"'.encode()
    for name in ("TaskEnd", "StageSubmitted", "StageCompleted", "JobStart", "JobEnd", "ApplicationEnd")
)
"""As Spark writes events: the name first, without spaces."""


class _Stage:
    """A stage of active jobs; `attempt` is None until Spark submits it."""

    def __init__(self, info: _StageInfo) -> None:
        # Spark names the line and the path of the script's copy; the path is cut.
        self.name = re.sub(r" at /.*/", " at ", info.name)[:LONGEST_NAME]
        self.attempt: int | None = None
        self.jobs = 0
        self.done = self.failed = 0
        self.total = info.tasks
        self.is_running = self.is_done = False

    def progress(self, number: int) -> Progress:
        running = StageProgress(number, self.name, self.done, self.failed, self.total)
        return Progress(
            int(self.is_done), 1, self.done, self.failed, self.total, (running,) if self.is_running else ()
        )

    def submit(self, info: _StageInfo) -> None:
        # A later attempt has only the tasks that are missing or have to run again.
        self.total = max(self.total, info.tasks) if info.attempt else info.tasks
        self.done = self.total - info.tasks
        self.attempt, self.is_running, self.is_done = info.attempt, True, False

    def complete(self, info: _StageInfo) -> None:
        if info.attempt == self.attempt:
            self.is_running, self.is_done = False, info.failure is None
            if self.is_done:
                self.done = self.total

    def end_task(self, event: _TaskEnd) -> None:
        if event.has_failed:
            self.failed += 1
        elif event.attempt != self.attempt or not self.is_running:
            return  # a late task of an earlier attempt
        elif event.reason.word == "Success":  # both copies of a speculative task can report success
            self.done = min(self.done + 1, self.total)
        elif event.reason.word == "Resubmitted":  # its result was lost with its executor
            self.done = max(self.done - 1, 0)
