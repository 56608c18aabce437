"""Takes READY runs in order, hands each to a runner, and stores how it ended. Knows no HTTP and no Spark.

The runner alone decides when a run starts and how it ends; no timer here changes a state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from dataflow_magic.files import remove_folder
from dataflow_magic.local.log import event
from dataflow_magic.local.run import DEFAULT_TIMEOUT_MINUTES, Outcome, Refusal, RunSpec, script_parameters
from dataflow_magic.local.store import Store, StoredRun, new_id
from dataflow_magic.local.tasks import Tasks
from dataflow_magic.models.wire import RunState

__all__ = ["Engine", "Runner"]

logger = logging.getLogger(__name__)

LONG_SECONDS = 60.0
"""A job whose last run took longer gets Java's full compiler, which costs about 4 s at the start."""

STOPPED = "the local service stopped while it ran"
CANCELED = "canceled on request"
CANCELED_BEFORE = "canceled before it started"


class NotToStart(Exception):
    """A run is canceled, and its script must not start."""


class Runner(Protocol):
    """Runs one script to its end; raises only when it is cancelled itself, or what `started` raises."""

    def __call__(
        self,
        spec: RunSpec,
        *,
        cancel: asyncio.Event,
        waiting: Callable[[str], None],
        started: Callable[[], Awaitable[None]],
    ) -> Awaitable[Outcome]:
        """Return how the run ended.

        Parameters
        ----------
        cancel
            Set when the run is to end early.
        waiting
            Called with what the run waits for, also after its script has started; with an empty text when that is over.
        started
            Awaited once, right before the script starts: a script that this does not store could start again after a kill of
            the service. The script must not start when it raises.
        """
        ...


@dataclass(slots=True)
class _Active:
    job_id: str
    waiting_for: str = ""
    cancel: asyncio.Event = field(default_factory=asyncio.Event)

    def wait_for(self, what: str) -> None:
        self.waiting_for = what


class Engine:
    """The runs of one data folder.

    Parameters
    ----------
    store
        Keeps jobs and runs.
    folder
        The data folder: ``objects/`` holds the buckets, ``runs/`` the scratch files of each live run.
    runner
        Runs one script.
    slots
        Limit of live runs; more wait as READY. A job's ``maxConcurrentRuns`` lowers it for that job.

    Notes
    -----
    An async context manager. Entering ends the runs an earlier service left RUNNING or was to cancel, and takes the others
    it left READY; leaving cancels every live run.
    """

    def __init__(self, store: Store, folder: Path, runner: Runner, *, slots: int) -> None:
        self._store = store
        self._folder = folder
        self._runner = runner
        self._slots = slots
        self._runs = folder / "runs"
        self._active: dict[str, _Active] = {}
        # Each run is taken once: without this a run whose end cannot be stored would start again and again.
        self._taken: set[str] = set()
        self._tasks = Tasks()
        self._wake = asyncio.Event()

    async def __aenter__(self) -> Self:
        for run in self._store.runs_in(RunState.READY):
            if self._store.is_cancel_accepted(run.run_id):
                self._store.move(run.run_id, RunState.CANCELED, CANCELED_BEFORE)
        for run in self._store.runs_in(RunState.RUNNING):
            is_canceled = self._store.is_cancel_accepted(run.run_id)
            self._store.move(
                run.run_id,
                RunState.CANCELED if is_canceled else RunState.FAILED,
                CANCELED if is_canceled else STOPPED,
            )
        await asyncio.to_thread(remove_folder, self._runs)
        self._tasks.spawn(self._dispatch())
        self.wake()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.end()

    @property
    def active(self) -> int:
        """How many runs are live."""
        return len(self._active)

    def is_idle(self) -> bool:
        """Whether no run is live or waits."""
        # A run waits only for a live one, so without live ones the last dispatch left none waiting.
        return not self._active and not self._wake.is_set()

    def wake(self) -> None:
        """Look for READY runs. Call it from the loop's thread, after a run was added."""
        self._wake.set()

    async def cancel(self, run_id: str) -> None:
        """End a run early; a live run changes its state when its processes are gone. Await it on the engine's loop.

        The cancel is stored before this returns, so that a kill of the service does not undo it.

        Raises
        ------
        Refusal
            ``bad-state``: the run is over.
        """
        if await asyncio.to_thread(self._store.accept_cancel, run_id):
            if active := self._active.get(run_id):
                active.cancel.set()
                return
            if self._store.move(run_id, RunState.CANCELED, CANCELED_BEFORE):
                return
        run = self._store.run(run_id)
        state = run.status if run else "gone"
        raise Refusal(
            "bad-state", f"run {run_id} is over ({state}); only a READY or RUNNING run can be canceled"
        )

    def waiting_for(self, run: StoredRun) -> str:
        """Return what a live run waits for, as text for people; empty where it waits for nothing. Any thread may call it."""
        if run.status not in {RunState.READY, RunState.RUNNING}:
            return ""
        if active := self._active.get(run.run_id):
            return active.waiting_for
        if run.status == RunState.RUNNING:
            return ""
        if len(self._active) >= self._slots:
            return f"a free slot: the local service runs {self._slots} at a time"
        limit = run.max_concurrent_runs
        return f"a free slot: its job runs {limit} at a time (maxConcurrentRuns)" if limit else ""

    async def _dispatch(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                self._take_ready_runs()
            except Exception:  # such as a full disk; the next wake tries again
                logger.exception("taking READY runs")

    def _take_ready_runs(self) -> None:
        if len(self._active) >= self._slots:
            return
        for run in self._store.runs_in(RunState.READY):
            if run.run_id not in self._taken and self._has_slot(run):
                self._taken.add(run.run_id)
                self._active[run.run_id] = active = _Active(run.job_id)
                self._tasks.spawn(self._run(run, active))

    def _has_slot(self, run: StoredRun) -> bool:
        same_job = sum(active.job_id == run.job_id for active in self._active.values())
        limit = run.max_concurrent_runs or self._slots
        return len(self._active) < self._slots and same_job < limit

    async def _run(self, run: StoredRun, active: _Active) -> None:
        # A new folder per attempt: the JVM of a killed service may still write into the last one.
        work = self._runs / f"{run.run_id}-{new_id()}"
        try:
            outcome = await self._runner(
                self._spec(run, work),
                cancel=active.cancel,
                waiting=active.wait_for,
                started=lambda: self._note_started(run.run_id, active),
            )
        except asyncio.CancelledError:
            is_canceled = active.cancel.is_set()
            await self._end(
                run,
                Outcome(RunState.CANCELED, CANCELED) if is_canceled else Outcome(RunState.FAILED, STOPPED),
            )
            raise
        except NotToStart:
            await self._end(run, Outcome(RunState.CANCELED, CANCELED))
        except Exception as error:  # a bug here must not leave a run without an end
            logger.exception("run %s", run.run_id)
            reason = f"the local service failed: {type(error).__name__}: {error}"
            await self._end(run, Outcome(RunState.FAILED, reason))
        else:
            await self._end(run, outcome)
        finally:
            del self._active[run.run_id]
            self.wake()
            await asyncio.to_thread(remove_folder, work)

    async def _end(self, run: StoredRun, outcome: Outcome) -> None:
        try:
            # On a thread: a locked database keeps a write waiting for seconds.
            await asyncio.to_thread(self._store.move, run.run_id, RunState(outcome.state), outcome.reason)
        except Exception:  # such as a full disk; the next service finds the run in its old state
            logger.exception("run %s ended (%s) and the store did not take it", run.run_id, outcome.state)
        else:
            event(logger, "a run has ended", runId=run.run_id, jobId=run.job_id, state=outcome.state)

    async def _note_started(self, run_id: str, active: _Active) -> None:
        active.wait_for("")  # before it is RUNNING, so that no answer says what it waited for until now
        if not await asyncio.to_thread(self._store.move, run_id, RunState.RUNNING):
            raise NotToStart
        event(logger, "a run's script starts", runId=run_id)

    def _spec(self, run: StoredRun, work: Path) -> RunSpec:
        job = self._store.job(run.job_id)
        condition = run.condition
        # Under the pages of October 2026 the run's condition has the job's parameters, as they were at the start.
        stored = condition.get("parameters", job.condition.get("parameters") if job else None) or {}
        return RunSpec(
            run_id=run.run_id,
            job_name=run.job_name,
            script_path=condition["scriptPath"],
            log_path=condition["logPath"],
            parameters=script_parameters(stored, run.parameters),
            workers=condition["numWorker"],
            # The page allows 0 without saying what it means; here it means the default.
            timeout_seconds=60.0 * (condition["timeout"] or DEFAULT_TIMEOUT_MINUTES),
            objects=self._folder / "objects",
            work=work,
            is_long=(self._store.last_seconds(run.job_id) or 0.0) > LONG_SECONDS,
        )
