"""Takes waiting runs in order, has each carried out, and writes down what became of it. Knows no HTTP and no Spark.

What carries a run out is handed in, so the states here always come from it and never from a timer.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from dataflow_magic.local.contract import DEFAULT_TIMEOUT_MINUTES, Refusal, script_parameters
from dataflow_magic.local.spark import Outcome, RunSpec
from dataflow_magic.local.store import Store, StoredRun
from dataflow_magic.models import RunState

__all__ = ["CarryOut", "Engine"]

logger = logging.getLogger(__name__)

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


@dataclass(frozen=True, slots=True)
class _Active:
    run: StoredRun
    task: asyncio.Task[None]
    cancel: asyncio.Event


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
        self._active: dict[str, _Active] = {}
        self._wake = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        for run in self._store.runs_in(RunState.RUNNING):
            self._store.move(run.run_id, RunState.FAILED, STOPPED)
        shutil.rmtree(self._folder / "runs", ignore_errors=True)
        self._dispatcher = asyncio.create_task(self._dispatch())
        self.wake()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._dispatcher:
            self._dispatcher.cancel()
        tasks = [active.task for active in self._active.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(
            *tasks, *([self._dispatcher] if self._dispatcher else []), return_exceptions=True
        )

    @property
    def active(self) -> int:
        """How many runs go on now."""
        return len(self._active)

    def is_idle(self) -> bool:
        """Whether no run goes on or waits."""
        return not self._active and not self._store.runs_in(RunState.READY)

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

    async def _dispatch(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for run in self._store.runs_in(RunState.READY):
                if run.run_id not in self._active:
                    self._start_or_queue(run)

    def _start_or_queue(self, run: StoredRun) -> None:
        job = self._store.job(run.job_id)
        limit = job.max_concurrent_runs if job else None
        same_job = sum(active.run.job_id == run.job_id for active in self._active.values())
        if len(self._active) >= self._slots:
            self._store.describe(run.run_id, f"a free place: {self._slots} runs at once are allowed here")
        elif limit is not None and same_job >= limit:
            self._store.describe(
                run.run_id, f"a free place: the job allows {limit} at once (maxConcurrentRuns)"
            )
        else:
            cancel = asyncio.Event()
            task = asyncio.create_task(self._carry(run, cancel))
            self._active[run.run_id] = _Active(run, task, cancel)

    async def _carry(self, run: StoredRun, cancel: asyncio.Event) -> None:
        spec = self._spec(run)
        try:
            outcome = await self._carry_out(
                spec,
                cancel=cancel,
                waiting=lambda text: self._store.describe(run.run_id, text),
                started=lambda: self._note_started(run.run_id),
            )
        except asyncio.CancelledError:
            self._store.move(run.run_id, RunState.FAILED, STOPPED)
            raise
        except Exception as error:  # our own fault must not leave a run that never ends
            logger.exception("run %s", run.run_id)
            outcome = Outcome(RunState.FAILED, f"the local service failed: {type(error).__name__}: {error}")
        finally:
            del self._active[run.run_id]
            shutil.rmtree(spec.work, ignore_errors=True)
            self.wake()
        self._store.move(run.run_id, RunState(outcome.state), outcome.reason)

    def _note_started(self, run_id: str) -> None:
        self._store.move(run_id, RunState.RUNNING)

    def _spec(self, run: StoredRun) -> RunSpec:
        job = self._store.job(run.job_id)
        stored = (job.condition.get("parameters") or {}) if job else {}
        condition = run.condition
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
            work=self._folder / "runs" / run.run_id,
        )
