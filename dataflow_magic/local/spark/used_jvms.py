"""Keeps the JVMs of ended runs for the next run of the same script. Knows neither HTTP nor how a script runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from dataflow_magic.local.log import event
from dataflow_magic.local.spark.jvm import JvmGateway, empty_work_folder
from dataflow_magic.local.spark.jvm_state import JvmState, restore_state
from dataflow_magic.local.tasks import Tasks

__all__ = ["UsedJvm", "UsedJvms", "log_refusal"]

logger = logging.getLogger(__name__)

KEEP_SECONDS = 15.0
"""Without a next run. By then a fresh JVM is warm, and a service that is idle keeps one JVM."""
MOST_RUNS = 25
"""Of one JVM: what a run leaves outside the heap adds up."""
RESTORE_SECONDS = 10.0

Restore = Callable[[JvmGateway, JvmState], tuple[str, int]]


@dataclass(frozen=True, slots=True)
class UsedJvm:
    """A JVM that runs of one script use, one after another.

    Parameters
    ----------
    key
        Equal for runs that may use the same JVM.
    state
        Of the JVM before its first run.
    runs
        How many runs it has served.
    """

    key: Hashable
    gateway: JvmGateway
    state: JvmState
    runs: int = 1


def log_refusal(reason: str) -> None:
    """Log why a JVM serves no other run."""
    event(logger, "a JVM serves no other run", reason=reason)


class UsedJvms:
    """The JVMs that wait for a next run.

    Parameters
    ----------
    discard
        Ends a JVM.
    most
        Limit of JVMs that wait; the oldest is discarded for a new one.
    restore
        See `restore_state`. Blocks.

    Notes
    -----
    An async context manager; leaving it discards the JVMs.
    """

    def __init__(
        self,
        discard: Callable[[JvmGateway], Awaitable[None]],
        *,
        most: int,
        restore: Restore = restore_state,
        keep_seconds: float = KEEP_SECONDS,
        most_runs: int = MOST_RUNS,
    ) -> None:
        self._discard = discard
        self._most = most
        self._restore = restore
        self._keep_seconds = keep_seconds
        self._most_runs = most_runs
        self._waiting: list[tuple[UsedJvm, asyncio.Task[UsedJvm | None]]] = []
        self._owned: dict[int, JvmGateway] = {}
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.end()
        for gateway in list(self._owned.values()):
            await self._end(gateway)

    def put(self, used: UsedJvm) -> None:
        """Own a JVM whose run has ended, and restore its state in the background."""
        self._owned[used.gateway.process.pid] = used.gateway
        entry = (used, self._tasks.spawn(self._restored(used)))
        self._waiting.append(entry)
        self._tasks.spawn(self._end_when_unused(entry))
        self.make_room(self._most)

    async def take(self, key: Hashable) -> UsedJvm | None:
        """Return a JVM for a run with this key, which the caller then owns; None without one."""
        while entry := next((each for each in self._waiting if each[0].key == key), None):
            self._waiting.remove(entry)
            used = await asyncio.shield(entry[1])  # cancelled, it is still owned and ends with this object
            if used is not None:
                del self._owned[used.gateway.process.pid]
                return used
        return None

    def make_room(self, most: int) -> None:
        """Discard the JVMs that have waited longest until at most so many wait."""
        while len(self._waiting) > most:
            used, restoring = self._waiting.pop(0)
            restoring.cancel()
            self._tasks.spawn(self._end(used.gateway))

    async def _end_when_unused(self, entry: tuple[UsedJvm, asyncio.Task[UsedJvm | None]]) -> None:
        await asyncio.sleep(self._keep_seconds)
        if entry in self._waiting:
            self._waiting.remove(entry)
            await self._end(entry[0].gateway)

    async def _end(self, gateway: JvmGateway) -> None:
        await self._discard(gateway)
        self._owned.pop(gateway.process.pid, None)

    async def _restored(self, used: UsedJvm) -> UsedJvm | None:
        """Return the JVM, ready for another run; None when it cannot take one and was discarded."""
        reason = f"it has served {used.runs} runs" if used.runs >= self._most_runs else ""
        memory = 0
        if not reason:
            try:
                async with asyncio.timeout(RESTORE_SECONDS):
                    reason, memory = await asyncio.to_thread(self._restore, used.gateway, used.state)
                    await asyncio.to_thread(empty_work_folder, used.gateway.folder)
            except Exception as error:  # noqa: BLE001 - whatever it is, a fresh JVM has no such trouble
                reason = f"its state could not be restored ({type(error).__name__})"
        if not reason and used.gateway.is_alive:
            state = used.state if used.state.used_bytes else replace(used.state, used_bytes=memory)
            return replace(used, state=state, runs=used.runs + 1)
        log_refusal(reason or "it has ended")
        self._waiting = [each for each in self._waiting if each[0] is not used]
        await self._end(used.gateway)
        return None
