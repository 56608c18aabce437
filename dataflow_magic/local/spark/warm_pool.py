"""Keeps one JVM warm for the next run, and makes the next one while no run is active. Knows neither runs nor HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from dataflow_magic.local.log import event
from dataflow_magic.local.spark.jvm import JvmGateway

__all__ = ["WarmPool"]

logger = logging.getLogger(__name__)

QUIET_SECONDS = 0.5
"""Without an active run, before a JVM is warmed: runs need the cores more."""
KEEP_SECONDS = 900.0
"""Without a new run, before the warm JVM is discarded: it holds some 400 MB."""
TAKE_SECONDS = 5.0
"""A run waits this long for a JVM that is being warmed: still sooner than a cold start."""
MOST_FAILURES = 3
"""In a row, before the pool stops trying. Each run then starts its own JVM, and reports what is wrong."""

Warm = Callable[[], Awaitable[JvmGateway]]
Discard = Callable[[JvmGateway], Awaitable[None]]


class WarmPool:
    """Holds at most one warm JVM.

    Parameters
    ----------
    prepare
        Awaited before each JVM is warmed. It may take long: no run waits for it.
    warm
        Starts and warms a JVM, in seconds. Errors of `prepare` and `warm` are logged; the pool tries again after the
        next run.
    discard
        Ends a JVM that no run took.
    quiet_seconds, keep_seconds
        See `QUIET_SECONDS`, `KEEP_SECONDS`.

    Notes
    -----
    An async context manager; leaving it discards the JVM it holds.
    """

    def __init__(
        self,
        prepare: Callable[[], Awaitable[None]],
        warm: Warm,
        discard: Discard,
        *,
        quiet_seconds: float = QUIET_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        self._prepare = prepare
        self._warm = warm
        self._discard = discard
        self._quiet_seconds = quiet_seconds
        self._keep_seconds = keep_seconds
        self._ready: JvmGateway | None = None
        self._warming: asyncio.Task[None] | None = None
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
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._discard_ready()

    @property
    def is_warm(self) -> bool:
        """Whether a warm JVM is ready for the next run."""
        return self._ready is not None and self._ready.is_alive

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
        while failures < MOST_FAILURES:
            await self._wait_until_quiet()
            started = self._started_runs
            try:
                await self._prepare()
                self._warming = asyncio.create_task(
                    self._make_ready()
                )  # a task, so that `take` can wait for it
                await self._warming
                failures = 0
            except Exception:  # runs do without; the run that fails reports the reason
                logger.exception("warming a JVM")
                failures += 1
            await self._wait_for_a_run_after(started)
        logger.warning("no JVM can be kept warm; each run starts its own")

    async def _make_ready(self) -> None:
        self._ready = await self._warm()
        event(logger, "a JVM is warm")

    async def _wait_until_quiet(self) -> None:
        """Return once no run has started, ended or been active for `quiet_seconds`."""
        while await self._runs_change_within(None if self._active_runs else self._quiet_seconds):
            pass

    async def _wait_for_a_run_after(self, started: int) -> None:
        """Return once more than `started` runs have started; discard the JVM that no run takes in `keep_seconds`."""
        while self._started_runs == started:
            if not await self._runs_change_within(self._keep_seconds if self._ready else None):
                await self._discard_ready()

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
