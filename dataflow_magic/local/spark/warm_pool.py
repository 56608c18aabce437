"""Keeps one JVM warm for the next run. Each serves one run and is replaced while nothing runs; knows neither runs nor HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from dataflow_magic.local.log import event
from dataflow_magic.local.spark.jvm import Gateway

__all__ = ["Pool"]

logger = logging.getLogger(__name__)

QUIET_SECONDS = 0.5
"""Without a run, before one is made warm: a run needs the cores more."""
KEEP_SECONDS = 900.0
"""Without a run, before the warm one is given up: it holds some 400 MB."""
PATIENCE_SECONDS = 5.0
"""A run waits for one that is being made warm: that is sooner than a cold one."""
TRIES = 3
"""In a row that fail, before no more is tried: each run goes cold then, and says what is wrong."""

Warm = Callable[[], Awaitable[Gateway]]
Discard = Callable[[Gateway], Awaitable[None]]


class Pool:
    """At most one warm JVM.

    Parameters
    ----------
    prepare
        Does what has to be done before the first can be made; may take long, and no run waits for it.
    warm
        Makes one, in seconds. Whatever it or ``prepare`` raises is logged, and tried again after the next run.
    discard
        Ends one nobody took.
    quiet_seconds, keep_seconds
        See `QUIET_SECONDS`, `KEEP_SECONDS`.

    Notes
    -----
    An async context manager; leaving it discards what it has.
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
        self._ready: Gateway | None = None
        self._making: asyncio.Task[None] | None = None
        self._runs = self._begun = 0
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (self._keeper, self._making):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._give_up()

    @property
    def is_warm(self) -> bool:
        """Whether the next run finds one."""
        return self._ready is not None and self._ready.is_alive

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Hold while a run goes on: nothing is made warm beside it."""
        self._runs += 1
        self._begun += 1
        self._changed.set()
        try:
            yield
        finally:
            self._runs -= 1
            self._changed.set()

    async def take(self, cancel: asyncio.Event) -> Gateway | None:
        """Return the warm JVM, which is the caller's from now on; None where there is none soon, or ``cancel`` comes first."""
        if self._making is not None and not self._making.done():
            canceled = asyncio.ensure_future(cancel.wait())
            try:
                await asyncio.wait(
                    {self._making, canceled}, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
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

    async def _keep(self) -> None:
        failures = 0
        while failures < TRIES:
            await self._until_quiet(self._quiet_seconds)
            begun = self._begun
            if await self._succeeds(self._prepare()):
                self._making = asyncio.create_task(self._make())
                await asyncio.wait({self._making})
            failures = 0 if self._ready is not None else failures + 1
            # With one that is warm, or none to be had, the next look is due when a run has taken it.
            await self._until_a_run(begun)
        logger.warning("no JVM can be kept warm; each run starts its own")

    async def _make(self) -> None:
        if await self._succeeds(self._get_warm()):
            event(logger, "a JVM is warm")

    async def _get_warm(self) -> None:
        self._ready = await self._warm()

    async def _succeeds(self, work: Awaitable[None]) -> bool:
        try:
            await work
        except Exception:  # runs go without; the reason is each run's own to find and tell
            logger.exception("making a JVM warm")
            return False
        return True

    async def _until_a_run(self, begun: int) -> None:
        """Return once a run has begun since; the warm JVM is given up when none does for long."""
        while self._begun == begun:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._keep_seconds if self._ready else None):
                    await self._changed.wait()
            except TimeoutError:
                await self._give_up()

    async def _until_quiet(self, seconds: float) -> None:
        """Return once no run has gone on for so long."""
        while True:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._runs else seconds):
                    await self._changed.wait()
                continue
            return

    async def _give_up(self) -> None:
        gateway, self._ready = self._ready, None
        if gateway is not None:
            await self._discard(gateway)
