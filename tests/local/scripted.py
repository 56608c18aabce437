"""A runner that tests control, a clock they set, and the end of services they start."""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dataflow_magic.files import try_lock
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.run import Outcome, RunSpec

PATIENCE_SECONDS = 20.0


class Started:
    """The order to report that the script runs."""


@dataclass
class ScriptedRuns:
    """A runner: each run keeps its state until the test orders the next; a cancel ends it CANCELED, as the real one does."""

    specs: list[RunSpec] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: int = 0
    _orders: dict[str, asyncio.Queue[object]] = field(default_factory=lambda: defaultdict(asyncio.Queue))

    async def __call__(
        self,
        spec: RunSpec,
        *,
        cancel: asyncio.Event,
        waiting: Callable[[str], None],
        started: Callable[[], Awaitable[None]],
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
                    await started()
                    self.scripts.append(spec.run_id)
                elif isinstance(order, Outcome):
                    return order
                elif isinstance(order, Exception):
                    raise order
        finally:
            self._at_once -= 1

    def begun(self) -> list[str]:
        """The ids of the runs in the order this got them; ``scripts`` has those whose script has started."""
        return [spec.run_id for spec in self.specs]

    def start(self, run_id: str) -> None:
        self._orders[run_id].put_nowait(Started())

    def complete(self, run_id: str) -> None:
        self._orders[run_id].put_nowait(Outcome("COMPLETED"))

    def fail(self, run_id: str, reason: str) -> None:
        self._orders[run_id].put_nowait(Outcome("FAILED", reason))

    def crash(self, run_id: str, error: Exception) -> None:
        self._orders[run_id].put_nowait(error)

    def forget_orders(self) -> None:
        """Forget the orders that no run has followed; those of another event loop are lost too."""
        self._orders.clear()

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


def noting(starts: list[str]) -> Callable[[], Awaitable[None]]:
    """Return what a runner awaits before its script starts: it adds ``started`` to the list."""

    async def started() -> None:
        starts.append("started")

    return started


@dataclass
class Clock:
    """A clock that only the test moves."""

    moment: datetime = datetime(2026, 11, 1, 8, 0, 0, 900_000, tzinfo=UTC)  # 17:00:00 in Korea

    def now(self) -> datetime:
        return self.moment

    def seconds(self) -> float:
        return self.moment.timestamp()

    def advance(self, **span: float) -> None:
        self.moment += timedelta(**span)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until this holds; fail after 20 s."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - a database sends no events
            await asyncio.sleep(0.002)


def eventually(holds: Callable[[], object]) -> None:
    """Wait until this holds, without an event loop; fail after 20 s."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "still does not hold"
        time.sleep(0.01)


def is_served(folder: DataFolder) -> bool:
    """Whether a process serves the folder; a killed one takes a moment to end."""
    if not folder.service_lock.exists():
        return False
    lock = try_lock(folder.service_lock)
    if lock is not None:
        os.close(lock)
    return lock is None


def end_service(folder: DataFolder) -> None:
    """Kill the process that serves the folder, if there is one, and wait for its end."""
    if is_served(folder):
        eventually(lambda: folder.read_address() or not is_served(folder))
    address = folder.read_address()
    if address and is_served(folder):
        os.kill(address.pid, signal.SIGKILL)
    eventually(lambda: not is_served(folder))
