"""The one event loop on the one thread of this package, begun on first use. Knows nothing of what runs on it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

__all__ = ["LoopThread"]

T = TypeVar("T")

STOP_SECONDS = 5.0


class LoopThread:
    """An event loop on a daemon thread.

    A magic is a plain function and the kernel's own loop stands still while a cell runs, so what has to go on
    meanwhile needs a loop of its own.

    Parameters
    ----------
    new_context
        Gives the context of each task; by default an empty one.
    """

    def __init__(self, new_context: Callable[[], Context] = Context) -> None:
        self._new_context = new_context
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_begun(self) -> bool:
        """Whether anything was ever run on the loop and it was not stopped since."""
        return self._loop is not None

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine on the loop, in a context of its own; callable from any thread."""
        context = self._new_context()
        # Held until it is scheduled, so that a stop meanwhile cancels it instead of losing it.
        with self._lock:
            return context.run(asyncio.run_coroutine_threadsafe, coroutine, self._running())

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it; an interrupt ends the wait and cancels the coroutine."""
        future = self.submit(coroutine)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancel what runs and end the thread, waiting a moment for it; a later call begins anew."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=STOP_SECONDS)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=_run, args=(self._loop,), name="dataflow-magic", daemon=True
            )
            self._thread.start()
        return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(_cancel_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
