"""What is known of a run at one moment, frozen: the request, the service's snapshot, and what this machine saw. Pure.

The card, the table of runs and `Run` agree because each shows a `RunView`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from dataflow_magic.models.failure import Failure
from dataflow_magic.models.log import LogTail
from dataflow_magic.models.marker import marked
from dataflow_magic.models.request import RunRequest, SweepPlace
from dataflow_magic.models.secret import Parameter, masked, masked_text, secret_names
from dataflow_magic.models.stages import Hotspots
from dataflow_magic.models.times import Times, times_of
from dataflow_magic.models.wire import KST, JobCondition, JobExecution, RunState, is_final

__all__ = [
    "KST",
    "NOT_STARTED",
    "SUBMITTING",
    "UNCLEAR",
    "WAITS_FOR_ANSWER",
    "WAITS_FOR_START",
    "FoundBy",
    "Past",
    "Progress",
    "RunView",
]

SUBMITTING = "SUBMITTING"
"""State of a run whose request has no answer yet; never on the wire."""
NOT_STARTED = "NOT_STARTED"
"""State of a run whose response was lost and which no list contains; never on the wire."""
UNCLEAR = "UNCLEAR"
"""State of a run whose response was lost and which several listed runs may be; never on the wire."""

FoundBy = Literal["", "marker", "parameters", "user"]
"""How the run of a lost start was found: it carries the start's key; it is the one run that the request describes, which an
identical run of another user may be it; a user named it. Empty where the service itself answered the start."""

WAITS_FOR_ANSWER = "the service's answer"
WAITS_FOR_START = "the service to start it"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run's Spark application is. Counts the Spark jobs it has begun, so totals grow.

    Parameters
    ----------
    attempts_failed
        Failed attempts at tasks; Spark retries such a task.
    doing
        Spark's name of the running stages: ``count at daily.py:14``; empty where none runs.
    share
        The part of the tasks that are done, between 0 and 1; it never falls, although totals grow. None where no earlier
        progress was considered.
    """

    stages_done: int
    stages_total: int
    tasks_done: int
    tasks_total: int
    attempts_failed: int = 0
    doing: str = ""
    share: float | None = field(default=None, compare=False)

    @property
    def is_plan_known(self) -> bool:
        """Whether more is planned than done: a job that has ended says nothing of those that follow it."""
        return self.tasks_done < self.tasks_total

    def after(self, before: Progress | None) -> Progress:
        """Return this progress with a share that is not below that of the progress before it."""
        share = self.tasks_done / self.tasks_total if self.is_plan_known else 0.0
        return replace(self, share=max(share, (before.share if before else None) or 0.0))


@dataclass(frozen=True, slots=True)
class Past:
    """How long a job's newest completed runs with the same parameter names ran, from RUNNING to their end.

    Parameters
    ----------
    median, shortest, longest
        Seconds.
    runs
        How many runs; the times are 0 where there are none.
    """

    median: float
    shortest: float
    longest: float
    runs: int


@dataclass(frozen=True, slots=True)
class RunView:
    """One run, as known at one moment.

    Parameters
    ----------
    request
        As asked: the job by its id, the whole job condition, parameter names with their ``$``. No other field holds the
        value of a secret parameter: the view masks what it is given.
    target
        ``local``, ``cloud``, a profile's name or an address.
    endpoint
        Base address of the service.
    key
        The run's short id on this machine; empty for a run that only the service lists.
    job_name
        The job's id where its name is unknown.
    submitted_at
        When the request was made, aware.
    notebook
        The notebook that started the run; empty where unknown.
    execution
        The newest snapshot; None until the service answered.
    running_since
        When this machine saw the run become RUNNING, aware; None where it first saw it later. `times` judges it.
    blind_since
        Since when the service does not answer, aware; None while it answers.
    blind_reason
        Why the run's state is unknown, in words; empty where it is known.
    is_lost
        Whether the response to the start was lost. Until there is a snapshot, the run is being reconciled.
    found_by
        How the run of a lost start was found; empty otherwise.
    settled
        ``NOT_STARTED`` or ``UNCLEAR`` where reconciling ended without a run; empty otherwise.
    clock
        By how much this machine's clock is off, in words; empty where it is right.
    cancel_requested
        Whether a cancel was sent and the run is not over.
    failure
        Why the run is FAILED or CANCELED; set with the final snapshot.
    progress
        How far the run is; None where the service does not report it.
    past
        How long earlier runs of the job took; None where unknown, or not read.
    log_tail
        What was read of the console log since a card shows it; None while none does.
    last_lines
        The last lines of an ended run's console log, oldest first, at most 20, where a card shows them.
    hotspots
        The stages of an ended run that took longest; None where a card has not read them, or none took long.
    remark
        Why the last click on the card failed, in words; empty otherwise.
    place
        Where the run is in its sweep; None for a run of none.
    """

    request: RunRequest
    target: str
    endpoint: str
    key: str
    job_name: str
    submitted_at: datetime
    notebook: str = ""
    execution: JobExecution | None = None
    running_since: datetime | None = None
    blind_since: datetime | None = None
    blind_reason: str = ""
    is_lost: bool = False
    found_by: FoundBy = ""
    settled: str = ""
    clock: str = ""
    cancel_requested: bool = False
    failure: Failure | None = None
    progress: Progress | None = None
    past: Past | None = None
    log_tail: LogTail | None = None
    last_lines: tuple[str, ...] = ()
    hotspots: Hotspots | None = None
    remark: str = ""
    place: SweepPlace | None = None

    def __post_init__(self) -> None:
        asked = self.request.parameters
        if not secret_names(asked):
            return
        masks = {
            "execution": self.execution and masked(self.execution, asked),
            "blind_reason": self.without_secrets(self.blind_reason),
            "failure": self.failure and self.failure.with_texts(self.without_secrets),
        }
        for name, value in masks.items():
            object.__setattr__(self, name, value)

    def without_secrets(self, text: str) -> str:
        """Return a text of the service with the values of the run's secret parameters masked."""
        return masked_text(text, self.request.parameters)

    @property
    def cause(self) -> str:
        """What failed runs of the same cause share: the class of the error, or the reason; ``unknown`` without one."""
        detail = self.execution.status_detail if self.execution else ""
        return (self.failure.cause if self.failure else detail) or "unknown"

    @property
    def sent(self) -> RunRequest:
        """The request as sent: with the run's marker, where the request asks for one."""
        return marked(self.request, self.key)

    @property
    def job_id(self) -> str:
        """The service's id of the job."""
        return self.request.job.text

    @property
    def condition(self) -> JobCondition:
        """The job condition as sent."""
        return self.sent.condition

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The parameters as sent, names with their ``$``."""
        return self.sent.parameters

    @property
    def run_id(self) -> str | None:
        """The service's id of the run; None until it answered."""
        return self.execution.job_execution_id if self.execution else None

    @property
    def status(self) -> str:
        """The service's state of the run; before its answer ``SUBMITTING``, ``NOT_STARTED`` or ``UNCLEAR``."""
        return self.execution.status if self.execution else self.settled or SUBMITTING

    @property
    def is_final(self) -> bool:
        """Whether the run is over."""
        return self.execution is not None and is_final(self.execution.status, self.execution.end_date)

    @property
    def is_unsure(self) -> bool:
        """Whether the run may be an identical run of another user: it was found by its parameters alone."""
        return self.found_by == "parameters"

    @property
    def waiting_for(self) -> str:
        """What a live run waits for, in words; empty where it waits for nothing, and while it is reconciled."""
        if self.execution is None:
            return "" if self.settled or self.is_lost else WAITS_FOR_ANSWER
        if self.status == RunState.READY:
            return self.execution.status_detail or WAITS_FOR_START
        if self.status == RunState.RUNNING and not self.is_final:
            return self.execution.status_detail or ""
        return ""

    @property
    def times(self) -> Times:
        """How long the run waited, ran, and took in all, as far as known."""
        return times_of(self.execution, self.submitted_at, self.running_since)

    def elapsed_seconds(self, now: datetime) -> float:
        """Return seconds from submission to the end, or to ``now`` while the run is active; never negative."""
        end = self.execution.end_date if self.execution and self.is_final and self.execution.end_date else now
        return max(0.0, (end - self.submitted_at).total_seconds())
