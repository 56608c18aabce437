"""Keeps one JVM warm for the next run, and makes the next one while no run is active. Knows neither runs nor HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from dataflow_magic.local.log import event
from dataflow_magic.local.spark.jvm import JvmGateway
from dataflow_magic.local.tasks import end_tasks

__all__ = ["WarmPool"]

logger = logging.getLogger(__name__)

QUIET_SECONDS = 0.5
"""Without an active run, before a JVM is warmed: runs need the cores more."""
KEEP_SECONDS = 900.0
"""Without a new run, before the warm JVM is discarded: it holds some 400 MB."""
TAKE_SECONDS = 60.0
"""A run waits at most this long for a JVM that is being warmed. The warming ends early for it, so it rarely takes so long."""
IMPROVE_SECONDS = 20.0
"""Without a run and with a warm JVM, before `improve` is called: it takes both cores for a while."""
MOST_FAILURES = 3
"""In a row, before the pool stops trying. Each run then starts its own JVM, and reports what is wrong."""

Warm = Callable[[asyncio.Event], Awaitable[JvmGateway]]
Discard = Callable[[JvmGateway], Awaitable[None]]


class WarmPool:
    """Holds at most one warm JVM.

    Parameters
    ----------
    warm
        Starts and warms a JVM, in seconds. It returns the JVM as it is, as soon as it can, once the given event is set: a
        run waits for it. Its errors are logged; the pool tries again after the next run.
    improve
        Awaited while no run is active and a JVM is warm; makes later JVMs start faster. A run that starts cancels it; it is
        then called again, after twice the time.
    discard
        Ends a JVM that no run took.
    quiet_seconds, improve_seconds, keep_seconds
        See `QUIET_SECONDS`, `IMPROVE_SECONDS`, `KEEP_SECONDS`.

    Notes
    -----
    An async context manager; leaving it discards the JVM it holds.
    """

    def __init__(
        self,
        warm: Warm,
        improve: Callable[[], Coroutine[Any, Any, None]],
        discard: Discard,
        *,
        quiet_seconds: float = QUIET_SECONDS,
        improve_seconds: float = IMPROVE_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        self._warm = warm
        self._improve = improve
        self._discard = discard
        self._quiet_seconds = quiet_seconds
        self._improve_seconds = improve_seconds
        self._keep_seconds = keep_seconds
        self._ready: JvmGateway | None = None
        self._warming: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._active_runs = self._started_runs = 0
        self._runs_changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep_one_warm())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (self._keeper, self._warming):
            if task is not None:
                await end_tasks([task])
        await self._discard_ready()

    @property
    def is_warm(self) -> bool:
        """Whether a warm JVM is ready for the next run."""
        return self._ready is not None and self._ready.is_alive

    @property
    def active_runs(self) -> int:
        """How many runs are active."""
        return self._active_runs

    @property
    def is_warming(self) -> bool:
        """Whether a JVM is being warmed, for which a run waits."""
        return self._warming is not None and not self._warming.done()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Mark a run as active: no JVM is warmed meanwhile."""
        self._active_runs += 1
        self._started_runs += 1
        self._runs_changed.set()
        try:
            yield
        finally:
            self._active_runs -= 1
            self._runs_changed.set()

    async def take(self, cancel: asyncio.Event) -> JvmGateway | None:
        """Return the warm JVM, which the caller then owns; None when none is ready in time or `cancel` is set first."""
        if self._warming is not None and not self._warming.done():
            self._wanted.set()
            canceled = asyncio.ensure_future(cancel.wait())
            try:
                await asyncio.wait(
                    {self._warming, canceled}, timeout=TAKE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                canceled.cancel()
        if cancel.is_set():
            return None
        gateway, self._ready = self._ready, None
        if gateway is not None and not gateway.is_alive:
            await self._discard(gateway)
            return None
        return gateway

    async def _keep_one_warm(self) -> None:
        failures = 0
        quiet_seconds = 0.0  # at the service's start: its first run takes the JVM as it is then
        while failures < MOST_FAILURES:
            await self._wait_until_quiet(quiet_seconds)
            quiet_seconds = self._quiet_seconds
            started = self._started_runs
            try:
                if not self.is_warm:  # the last run may have taken none
                    await self._discard_ready()
                    self._wanted.clear()
                    # A task, so that `take` can wait for it.
                    self._warming = asyncio.create_task(self._make_ready())
                    await self._warming
                failures = 0
            except Exception:  # runs do without; the run that fails reports the reason
                logger.exception("warming a JVM")
                failures += 1
            await self._wait_for_a_run_after(started)
        logger.warning("no JVM can be kept warm; each run starts its own")

    async def _make_ready(self) -> None:
        self._ready = await self._warm(self._wanted)
        event(logger, "a JVM is warm")

    async def _wait_until_quiet(self, seconds: float) -> None:
        """Return once no run has started, ended or been active for so long."""
        while await self._runs_change_within(None if self._active_runs else seconds):
            pass

    async def _wait_for_a_run_after(self, started: int) -> None:
        """Return once more than `started` runs have started; meanwhile improve, and discard the JVM no run takes in time."""
        may_improve = self._ready is not None and self._improve_seconds < self._keep_seconds
        if may_improve and not await self._a_run_starts_within(self._improve_seconds, started):
            await self._improve_until_a_run_after(started)
        if self._ready and not await self._a_run_starts_within(self._keep_seconds, started):
            await self._discard_ready()
        await self._a_run_starts_within(None, started)

    async def _improve_until_a_run_after(self, started: int) -> None:
        improving = asyncio.create_task(self._improve())
        starting = asyncio.create_task(self._a_run_starts_within(None, started))
        try:
            await asyncio.wait({improving, starting}, return_when=asyncio.FIRST_COMPLETED)
            if not improving.done():
                self._improve_seconds *= 2
        finally:
            for task in (improving, starting):
                task.cancel()
            (error, _) = await asyncio.gather(improving, starting, return_exceptions=True)
        if isinstance(error, Exception):
            logger.error("making later JVMs start faster", exc_info=error)

    async def _a_run_starts_within(self, seconds: float | None, started: int) -> bool:
        """Wait until more than `started` runs have started; False when no run starts or ends in time."""
        while self._started_runs == started:
            if not await self._runs_change_within(seconds):
                return False
        return True

    async def _runs_change_within(self, seconds: float | None) -> bool:
        """Wait until a run starts or ends; False when none does in time."""
        self._runs_changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._runs_changed.wait()
            return True
        return False

    async def _discard_ready(self) -> None:
        gateway, self._ready = self._ready, None
        if gateway is not None:
            await self._discard(gateway)
