"""Runs whose course a test dictates, a clock it sets, and the end of services it started."""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dataflow_magic.files import try_lock
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.run import Outcome, RunSpec

LONG_SECONDS = 20.0


class Started:
    """The order to say that the run's script runs."""


@dataclass
class ScriptedRuns:
    """Carries runs out as the test orders: each one stays where it is until it is told to go on.

    Ends CANCELED when it is canceled, as the real one does.
    """

    specs: list[RunSpec] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: int = 0
    _orders: dict[str, asyncio.Queue[object]] = field(default_factory=lambda: defaultdict(asyncio.Queue))

    async def __call__(
        self,
        spec: RunSpec,
        *,
        cancel: asyncio.Event,
        waiting: Callable[[str], None],
        started: Callable[[], None],
    ) -> Outcome:
        self.specs.append(spec)
        spec.work.mkdir(parents=True)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            waiting("starting Spark")
            while True:
                order = await self._order(spec.run_id, cancel)
                if isinstance(order, Started):
                    started()
                elif isinstance(order, Outcome):
                    return order
                elif isinstance(order, Exception):
                    raise order
        finally:
            self._at_once -= 1

    def begun(self) -> list[str]:
        """The ids of the runs that were begun, in that order."""
        return [spec.run_id for spec in self.specs]

    def start(self, run_id: str) -> None:
        self._orders[run_id].put_nowait(Started())

    def complete(self, run_id: str) -> None:
        self._orders[run_id].put_nowait(Outcome("COMPLETED"))

    def fail(self, run_id: str, reason: str) -> None:
        self._orders[run_id].put_nowait(Outcome("FAILED", reason))

    def crash(self, run_id: str, error: Exception) -> None:
        self._orders[run_id].put_nowait(error)

    async def _order(self, run_id: str, cancel: asyncio.Event) -> object:
        order = asyncio.ensure_future(self._orders[run_id].get())
        canceled = asyncio.ensure_future(cancel.wait())
        try:
            await asyncio.wait({order, canceled}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            canceled.cancel()
            order.cancel()
            with suppress(asyncio.CancelledError):
                await canceled
        return Outcome("CANCELED", "canceled on request") if cancel.is_set() else order.result()


@dataclass
class Clock:
    """Stands still until the test moves it."""

    moment: datetime = datetime(2026, 11, 1, 8, 0, 0, 900_000, tzinfo=UTC)  # 17:00:00 in Korea

    def now(self) -> datetime:
        return self.moment

    def seconds(self) -> float:
        return self.moment.timestamp()

    def advance(self, **span: float) -> None:
        self.moment += timedelta(**span)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until this holds; fail when it does not for long."""
    async with asyncio.timeout(LONG_SECONDS):
        while not holds():  # noqa: ASYNC110  a database sends no events
            await asyncio.sleep(0.002)


def eventually(holds: Callable[[], object]) -> None:
    """Wait until this holds, without an event loop; fail when it does not for long."""
    deadline = time.monotonic() + LONG_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def is_served(folder: DataFolder) -> bool:
    """Whether a process serves the folder; one that was killed takes a moment to be gone."""
    if not folder.service_lock.exists():
        return False
    lock = try_lock(folder.service_lock)
    if lock is not None:
        os.close(lock)
    return lock is None


def end_service(folder: DataFolder) -> None:
    """Kill the process that serves the folder, if there is one, and wait until it is gone."""
    if is_served(folder):
        eventually(lambda: folder.read_address() or not is_served(folder))
    address = folder.read_address()
    if address and is_served(folder):
        os.kill(address.pid, signal.SIGKILL)
    eventually(lambda: not is_served(folder))
