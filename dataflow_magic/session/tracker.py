"""The runs of one process on its loop: those it follows, those it looks for, and those it takes over from kernels that are gone."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from itertools import groupby
from typing import Any

from dataflow_magic import errors
from dataflow_magic.client.responses import clock_words
from dataflow_magic.ledger.ledger import Ledger
from dataflow_magic.ledger.record import RunRecord, view_of
from dataflow_magic.ledger.writer import LedgerWriter
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import JobExecution
from dataflow_magic.session.connection import Connection
from dataflow_magic.session.connections import CLOSED, Connections
from dataflow_magic.session.reconcile import LOST, search, start_of
from dataflow_magic.session.run import Home, Run

__all__ = ["RunSet"]

logger = logging.getLogger(__name__)

RECOVER_SECONDS = 30.0
"""How long after a look for runs of dead kernels the next one may be."""
BREATH = 100
"""How many runs are taken over between two turns of the loop for others."""


class RunSet:
    """The handles of a process's runs, and what keeps them up to date.

    Parameters
    ----------
    ledger, writer
        Where runs are read from, and written to.
    connections
        How their services are reached.
    home
        What handles have of their session.
    connect
        Gives the connection to a target by its name.
    now
        Seconds since the epoch.
    sleep
        Seconds asleep between two looks for a run whose answer was lost.

    Notes
    -----
    All but `listed`, `known`, `is_recovery_due` and `add` is called on the loop.
    """

    def __init__(
        self,
        ledger: Ledger,
        writer: LedgerWriter,
        connections: Connections,
        home: Home,
        connect: Callable[[str], Connection],
        *,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._ledger = ledger
        self._writer = writer
        self._connections = connections
        self._home = home
        self._connect = connect
        self._now = now
        self._sleep = sleep
        self._listed: list[Run] = []
        self._revived: dict[str, Run] = {}
        """By key: runs of kernels that are gone."""
        self._lock = threading.Lock()
        self._recovered_at: float | None = None
        # A task nobody refers to may be collected before it is done.
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def listed(self) -> list[Run]:
        """What this process started or was asked for by name, oldest first."""
        return list(self._listed)

    @property
    def known(self) -> dict[str, Run]:
        """Every run of the ledger that has a handle here, by its key."""
        return {run.key: run for run in [*self._revived.values(), *self._listed] if run.key}

    def add(self, run: Run) -> None:
        """Have a run among those listed, once."""
        if run not in self._listed:
            self._listed.append(run)

    async def start(self, view: RunView, connection: Connection, note: Callable[[Run], None] | None) -> Run:
        """Return the run that the view's request has started, or may have.

        Raises
        ------
        DataflowError
            It was certainly not started.
        """
        # Before anything leaves: who dies from here on leaves a trace of what may have been started.
        await self._writer.intend(view)
        run = self._new(view, connection, note)
        self._listed.append(run)
        try:
            execution = await connection.client.execute_job(
                view.job_id, view.condition, view.parameters, **view.request.query
            )
        except errors.OutcomeUnknown:
            logger.debug("%r", run, exc_info=True)
            await self._lose(run, f"{LOST}; it is looked for among the job's runs", connection)
        except errors.DataflowError:
            self._listed.remove(run)
            await self._writer.withdraw(view)
            raise
        except Exception as error:  # a fault of ours says nothing about whether the request has left
            await self._lose(run, f"{LOST} ({type(error).__name__})", connection)
            raise
        else:
            await self._writer.settle(replace(view, execution=execution))
            self._follow(run, execution, connection)
        return run

    async def take(self, view: RunView, execution: JobExecution, connection: Connection) -> Run:
        """Return the handle of a run of the service: that of a start whose answer was lost, where it can be that one's."""
        known = self.known
        record = await asyncio.to_thread(start_of, self._ledger, execution, view)
        if record is None:
            run = self._new(view, connection)
        else:
            before = known.get(record.key)
            if before is not None and not before.is_over:
                run = before
            else:
                # A handle that was told that nobody knows stays with that; another one goes on.
                run = self._new(replace(view_of(record), settled=""), connection)
                self._listed = [each for each in self._listed if each is not before]
            self._revived[record.key] = run
        self.add(run)
        self._follow(run, execution, connection)
        return run

    async def revive(self, record: RunRecord, connection: Connection) -> Run:
        """Return the handle of a run of the ledger, which goes on from what stands there."""
        if record.key in self._revived:
            return self._revived[record.key]
        run = self._revived[record.key] = self._new(view_of(record), connection)
        execution = run.view.execution
        if execution is not None:
            self._follow(run, execution, connection)
        elif not run.view.settled:
            run.lost(LOST)
            self._background(self._reconcile(run, connection))
        else:
            run.give_up(errors.OutcomeUnknown(run.view.blind_reason), run.view.settled)
        return run

    def is_recovery_due(self) -> bool:
        """Whether to look for runs of kernels that are gone: said to one caller, now and then."""
        with self._lock:
            now = time.monotonic()
            if self._recovered_at is not None and now - self._recovered_at < RECOVER_SECONDS:
                return False
            self._recovered_at = now
        return True

    async def recover(self) -> None:
        """Look after the runs of kernels that are gone."""
        try:
            orphans = await asyncio.to_thread(self._ledger.orphans)
            orphans.sort(key=lambda record: record.target)
            for target, records in groupby(orphans, lambda record: record.target):
                await self._take_over(target, list(records))
        except errors.DataflowError:  # whoever starts a run or asks for one is told
            logger.debug("the ledger could not be read", exc_info=True)

    def let_go(self) -> None:
        """Tell whoever waits for a run that nobody watches it any more."""
        for run in [*self._listed, *self._revived.values()]:
            if not run.is_over:
                run.give_up(errors.DataflowError(f"nobody watches the run any more: {CLOSED}"))

    async def _take_over(self, target: str, orphans: list[RunRecord]) -> None:
        try:
            connection = await asyncio.to_thread(self._connect, target)
        except errors.DataflowError:  # such as no credentials: another kernel may have them
            logger.debug("%d runs of %s stay as they are", len(orphans), target, exc_info=True)
            return
        for number, record in enumerate(await asyncio.to_thread(self._ledger.claim, orphans)):
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            await self.revive(record, connection)

    def _follow(self, run: Run, execution: JobExecution, connection: Connection) -> None:
        run.seen(execution)
        if words := clock_words(connection.client.clock_offset):
            run.off_clock(words)
        if not execution.is_final:
            listener = _Listener(run, self._connections, connection)
            connection.follow(run.view.job_id, execution.job_execution_id, listener)

    def _note(self, run: Run) -> None:
        self._writer.note(run.view)

    def _new(self, view: RunView, connection: Connection, note: Callable[[Run], None] | None = None) -> Run:
        """Return a handle whose changes are written down, and told to ``note`` as well."""
        if note is None:
            return Run(view, connection, self._home, self._note)

        def changed(run: Run) -> None:
            self._note(run)
            note(run)

        return Run(view, connection, self._home, changed)

    async def _lose(self, run: Run, reason: str, connection: Connection) -> None:
        run.lost(reason)
        # At once: while it stands there as sent, others that look for theirs wait for its answer.
        await self._writer.settle(run.view)
        self._background(self._reconcile(run, connection, connection.client.clock_offset))

    async def _reconcile(self, run: Run, connection: Connection, signed_ahead: float | None = None) -> None:
        found = await search(
            run,
            connection,
            self._ledger,
            signed_ahead=signed_ahead,
            now=self._now,
            sleep=self._sleep,
            seek=lambda: self._connections.seek(connection),
        )
        if found is not None:
            self._follow(run, found, connection)
        else:
            await self._writer.settle(run.view)

    def _background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Listener:
    """Passes on what a run is told, and has a silent service looked for: it may have moved, or its keys changed."""

    __slots__ = ("_connection", "_connections", "_run")

    def __init__(self, run: Run, connections: Connections, connection: Connection) -> None:
        self._run = run
        self._connections = connections
        self._connection = connection

    def seen(self, execution: JobExecution) -> None:
        self._run.seen(execution)

    def blind(self, reason: str) -> None:
        self._run.blind(reason)
        self._connections.seek(self._connection)
