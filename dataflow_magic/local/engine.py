"""Takes waiting runs in order, has each carried out, and writes down what became of it. Knows no HTTP and no Spark.

What carries a run out is handed in, so the states here always come from it and never from a timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from dataflow_magic.files import remove_folder
from dataflow_magic.local.log import event
from dataflow_magic.local.run import DEFAULT_TIMEOUT_MINUTES, Outcome, Refusal, RunSpec, script_parameters
from dataflow_magic.local.spark.process_group import end_strays
from dataflow_magic.local.store import Store, StoredRun, new_id
from dataflow_magic.models.wire import RunState

__all__ = ["CarryOut", "Engine"]

logger = logging.getLogger(__name__)

LONG_SECONDS = 60.0
"""A job whose last run took longer gets Java's full compiler; it costs some 4 s at the start."""

STOPPED = "the local service stopped while it ran"


class CarryOut(Protocol):
    """Carries out one run to its end; raises only when it is cancelled itself."""

    def __call__(
        self,
        spec: RunSpec,
        *,
        cancel: asyncio.Event,
        waiting: Callable[[str], None],
        started: Callable[[], None],
    ) -> Awaitable[Outcome]:
        """Return how the run ended, calling ``waiting`` with what it waits for and ``started`` when its script runs."""
        ...


@dataclass(slots=True)
class _Active:
    job_id: str
    waiting_for: str = ""
    cancel: asyncio.Event = field(default_factory=asyncio.Event)

    def wait_for(self, what: str) -> None:
        self.waiting_for = what


class Engine:
    """Runs of one data folder.

    Parameters
    ----------
    store
        Where runs are written down.
    folder
        The data folder: ``objects/`` holds the buckets, ``runs/`` each live run's scratch.
    carry_out
        Does the work of one run.
    slots
        How many runs go at once; more wait as READY. A job's ``maxConcurrentRuns`` lowers it for that job.

    Notes
    -----
    An async context manager. Entering ends, as FAILED, the runs an earlier process left RUNNING, and takes up those
    it left READY; leaving stops every live run.
    """

    def __init__(self, store: Store, folder: Path, carry_out: CarryOut, *, slots: int) -> None:
        self._store = store
        self._folder = folder
        self._carry_out = carry_out
        self._slots = slots
        self._runs = folder / "runs"
        self._active: dict[str, _Active] = {}
        # A run is taken up once: one whose end could not be written down would be started again and again.
        self._taken: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    async def __aenter__(self) -> Self:
        if strays := await asyncio.to_thread(end_strays, self._runs):
            logger.warning("ended the processes of %s runs an earlier service left", strays)
        for run in self._store.runs_in(RunState.RUNNING):
            self._store.move(run.run_id, RunState.FAILED, STOPPED)
        await asyncio.to_thread(remove_folder, self._runs)
        self._spawn(self._dispatch())
        self.wake()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def active(self) -> int:
        """How many runs go on now."""
        return len(self._active)

    def is_idle(self) -> bool:
        """Whether no run goes on or waits."""
        # What waits, waits for one that goes on: with none of those, the last look left nothing.
        return not self._active and not self._wake.is_set()

    def wake(self) -> None:
        """Look for waiting runs; call after one was added. From the loop's own thread."""
        self._wake.set()

    def cancel(self, run_id: str) -> None:
        """Ask for the end of a run; its state changes when its processes are gone. From the loop's own thread.

        Raises
        ------
        Refusal
            400 ``bad-state`` for a run that is over.
        """
        if active := self._active.get(run_id):
            active.cancel.set()
            return
        if self._store.move(run_id, RunState.CANCELED, "canceled before it started"):
            return
        run = self._store.run(run_id)
        state = run.status if run else "gone"
        raise Refusal(
            400, "bad-state", f"run {run_id} is over ({state}); only a READY or RUNNING run can be canceled"
        )

    def waiting_for(self, run: StoredRun) -> str:
        """Return what a READY run waits for, in words; empty for any other. From any thread."""
        if run.status != RunState.READY:
            return ""
        if active := self._active.get(run.run_id):
            return active.waiting_for
        if len(self._active) >= self._slots:
            return f"a free place: {self._slots} runs at once are allowed here"
        limit = run.max_concurrent_runs
        return f"a free place: its job allows {limit} at once (maxConcurrentRuns)" if limit else ""

    async def _dispatch(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                self._start_what_may()
            except Exception:  # a full disk, say: what waits is looked for again at the next wake
                logger.exception("looking for waiting runs")

    def _start_what_may(self) -> None:
        if len(self._active) >= self._slots:
            return
        for run in self._store.runs_in(RunState.READY):
            if run.run_id not in self._taken and self._has_place(run):
                self._taken.add(run.run_id)
                self._active[run.run_id] = active = _Active(run.job_id)
                self._spawn(self._carry(run, active))

    def _has_place(self, run: StoredRun) -> bool:
        same_job = sum(active.job_id == run.job_id for active in self._active.values())
        limit = run.max_concurrent_runs or self._slots
        return len(self._active) < self._slots and same_job < limit

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, run: StoredRun, active: _Active) -> None:
        # Its own for each attempt: the JVM of a service that was killed may still be writing into the last one.
        work = self._runs / f"{run.run_id}-{new_id()}"
        try:
            outcome = await self._carry_out(
                self._spec(run, work),
                cancel=active.cancel,
                waiting=active.wait_for,
                started=lambda: self._note_started(run.run_id),
            )
        except asyncio.CancelledError:
            self._end(run, Outcome(RunState.FAILED, STOPPED))
            raise
        except Exception as error:  # our own fault must not leave a run that never ends
            logger.exception("run %s", run.run_id)
            reason = f"the local service failed: {type(error).__name__}: {error}"
            self._end(run, Outcome(RunState.FAILED, reason))
        else:
            self._end(run, outcome)
        finally:
            del self._active[run.run_id]
            self.wake()
            await asyncio.to_thread(remove_folder, work)

    def _end(self, run: StoredRun, outcome: Outcome) -> None:
        try:
            self._store.move(run.run_id, RunState(outcome.state), outcome.reason)
        except Exception:  # a full disk, say: the next service finds the run as it was
            logger.exception(
                "run %s ended (%s) and that could not be written down", run.run_id, outcome.state
            )
        else:
            event(logger, "a run has ended", runId=run.run_id, jobId=run.job_id, state=outcome.state)

    def _note_started(self, run_id: str) -> None:
        self._store.move(run_id, RunState.RUNNING)
        event(logger, "a run's script has started", runId=run_id)

    def _spec(self, run: StoredRun, work: Path) -> RunSpec:
        job = self._store.job(run.job_id)
        condition = run.condition
        # A run of the pages of October 2026 brings them along, as they were when it was sent.
        stored = condition.get("parameters", job.condition.get("parameters") if job else None) or {}
        return RunSpec(
            run_id=run.run_id,
            job_name=run.job_name,
            script_path=condition["scriptPath"],
            log_path=condition["logPath"],
            parameters=script_parameters(stored, run.parameters),
            workers=condition["numWorker"],
            # The page allows 0 and does not say what it means; nothing could finish in no time.
            timeout_seconds=60.0 * (condition["timeout"] or DEFAULT_TIMEOUT_MINUTES),
            objects=self._folder / "objects",
            work=work,
            is_long=(self._store.last_seconds(run.job_id) or 0.0) > LONG_SECONDS,
        )
