"""A clock that jumps over idle time, event loops that share it, and threads of control that take turns on one thread.

Nothing here waits for the machine: the same seed gives the same order on any of them. Knows no service and no fault.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import selectors
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from random import Random
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from dataflow_magic.session.loop import LoopThread

__all__ = ["Killed", "SimulatedThread", "Simulation"]

T = TypeVar("T")

LONG_SECONDS = 3600.0
"""Simulated; what takes longer hangs."""
DELAYS = (0.0, 0.0, 0.0, 0.001, 0.02)
"""Seconds that work on a thread may take."""


class Killed(BaseException):
    """Raised where code waits for a loop that was killed."""


class Simulation:
    """Some event loops and their one clock, in seconds from 0.

    Parameters
    ----------
    random
        Draws how long work on a thread takes.
    """

    def __init__(self, random: Random) -> None:
        self.now = 0.0
        self.random = random
        self.after_work: Callable[[asyncio.AbstractEventLoop], None] = lambda _: None
        """Called on a loop after each piece of work that a thread would do for it."""
        self._loops: list[_Loop] = []

    def new_loop(self) -> _Loop:
        loop = _Loop(self)
        self._loops.append(loop)
        return loop

    def drop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let nothing run on a loop any more, as if its process were gone."""
        if loop in self._loops:
            self._loops.remove(loop)

    def finish(self, loop: _Loop) -> None:
        """Cancel what is left on a loop, and close it."""
        if loop not in self._loops:
            self._loops.append(loop)
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        self.run_until(lambda: all(task.done() for task in tasks))
        self.drop(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def run(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns."""
        task = loop.create_task(coroutine)
        self.run_until(task.done)
        return task.result()

    def run_for(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due in it."""
        end = self.now + seconds
        while self._step(end):
            pass
        self.now = end

    def run_until(self, is_over: Callable[[], bool]) -> None:
        """Run until the condition holds; an hour without it is an error."""
        end = self.now + LONG_SECONDS
        while not is_over():
            assert self._step(end), f"nothing happens any more at {self.now:.3f} s"

    def wait(self, is_over: Callable[[], bool]) -> None:
        """Return once the condition holds: other calls of `side_by_side` take their turns until then."""
        here = getcurrent()
        if here.parent is None:
            self.run_until(is_over)
        else:
            here.parent.switch(is_over)

    def side_by_side(self, calls: Sequence[Callable[[], T]]) -> list[T | BaseException]:
        """Make calls at the same time; return what each returned or raised."""
        results: list[T | BaseException] = [Killed() for _ in calls]

        def made(number: int) -> None:
            try:
                results[number] = calls[number]()
            except BaseException as error:  # noqa: BLE001 - the caller looks at it
                results[number] = error

        waiting = {greenlet(made): (number,) for number in range(len(calls))}
        blocked: dict[greenlet, Callable[[], bool]] = {}
        for each, arguments in waiting.items():
            blocked[each] = each.switch(*arguments)
        while blocked := {each: is_over for each, is_over in blocked.items() if not each.dead}:
            self.run_until(lambda: any(is_over() for is_over in blocked.values()))
            for each, is_over in blocked.items():
                if is_over():
                    blocked[each] = each.switch()
        return results

    def _step(self, end: float) -> bool:
        """Run what is due, or jump to when something is; False where nothing is until the end."""
        ran = [loop.run_due() for loop in self._loops]
        if any(ran):
            return True
        due = min((loop.due() for loop in self._loops), default=float("inf"))
        if due > end:
            return False
        self.now = max(self.now, due)
        return True


class SimulatedThread(LoopThread):
    """What `LoopThread` is, without a thread: who waits for a coroutine runs the simulation meanwhile."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self.loop = simulation.new_loop()
        self.is_killed = False
        self._simulation = simulation
        self._is_running = False

    @property
    def is_running(self) -> bool:
        return self._is_running

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        if self.is_killed:
            coroutine.close()
            raise Killed
        self._is_running = True
        return _Awaited(self, self._simulation, coroutine)

    def kill(self) -> None:
        """End as with SIGKILL: nothing runs any more, not even what cleans up."""
        self.is_killed = True
        self._simulation.drop(self.loop)

    def stop(self) -> None:
        if not self.loop.is_closed():
            self._simulation.finish(self.loop)


class _Awaited(concurrent.futures.Future[T]):
    """The result of a coroutine on a simulated thread."""

    def __init__(
        self, thread: SimulatedThread, simulation: Simulation, coroutine: Coroutine[Any, Any, T]
    ) -> None:
        super().__init__()
        self._thread, self._simulation = thread, simulation
        self._task = thread.loop.create_task(coroutine, context=Context())
        self._task.add_done_callback(self._settle)

    def result(self, timeout: float | None = None) -> T:  # noqa: ARG002 - simulated time costs nothing
        self._simulation.wait(lambda: self.done() or self._thread.is_killed)
        if not self.done():
            raise Killed
        return super().result(0)

    def cancel(self) -> bool:
        self._task.cancel()
        return super().cancel()

    def _settle(self, task: asyncio.Task[T]) -> None:
        if self.cancelled():
            return
        if task.cancelled():
            super().cancel()
        elif error := task.exception():
            self.set_exception(error)
        else:
            self.set_result(task.result())


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that never waits; work for threads is done on it."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        super().__init__(_NothingToSelect())

    def time(self) -> float:
        return self._simulation.now

    def due(self) -> float:
        """Return when something is to run next."""
        if self._ready:  # type: ignore[attr-defined]
            return self.time()
        scheduled = self._scheduled  # type: ignore[attr-defined]
        return float(scheduled[0].when()) if scheduled else float("inf")

    def run_due(self) -> bool:
        """Run what is to run now; False where nothing is."""
        if self.due() > self.time():
            return False
        self.call_soon(self.stop)
        self.run_forever()
        return True

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # noqa: ARG002
        future: asyncio.Future[T] = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - the awaiting task gets it
                future.set_exception(error)
            self._simulation.after_work(self)

        self.call_later(self._simulation.random.choice(DELAYS), work)
        return future

    def _write_to_self(self) -> None:
        """Do nothing: no thread waits in a select."""


class _NothingToSelect(selectors.SelectSelector):
    def select(self, timeout: float | None = None) -> list[Any]:  # noqa: ARG002
        return []
