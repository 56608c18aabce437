"""The package's one event loop, on its one thread, started on first use. Knows nothing of what runs on it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from dataflow_magic import errors

__all__ = ["LoopThread", "check_process"]

T = TypeVar("T")

STOP_SECONDS = 5.0


def check_process(pid: int) -> None:
    """Raise a `DataflowError` in any process but the one with this id: a forked process has no thread of its parent."""
    if pid != os.getpid():
        raise errors.DataflowError(
            f"this run belongs to process {pid}, which started it, and this process was forked from it: wait, cancel and "
            "read logs there, or start a run here with dataflow_magic.run"
        )


class LoopThread:
    """An event loop on a daemon thread.

    A magic is a plain function, and the kernel's own loop stands still while a cell runs: work that continues meanwhile
    needs another loop.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    @property
    def is_running(self) -> bool:
        """Whether the thread was started and not stopped since."""
        return self._loop is not None

    @property
    def is_foreign(self) -> bool:
        """Whether this process was forked from the one that started the thread."""
        return self.is_running and self._pid != os.getpid()

    def check_process(self) -> None:
        """Raise a `DataflowError` where this process was forked from the one that started the thread."""
        if self.is_running:
            check_process(self._pid)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine on the loop, in a new context that belongs to no cell; callable from any thread.

        Raises
        ------
        DataflowError
            This process was forked from the one whose thread it is.
        """
        try:
            self.check_process()  # before the lock, which a thread of the other process may have held
        except errors.DataflowError:
            coroutine.close()
            raise
        context = _new_context()
        # The lock is held until the coroutine is scheduled, so that a concurrent stop cancels it.
        with self._lock:
            return context.run(asyncio.run_coroutine_threadsafe, coroutine, self._started())

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result; an interrupt cancels it."""
        future = self.submit(coroutine)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancel all tasks and end the thread, waiting for it at most 5 seconds; a later submit starts another."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=STOP_SECONDS)

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._pid = os.getpid()
            self._loop = asyncio.new_event_loop()
            self._loop.set_default_executor(_DaemonThreads())
            self._thread = threading.Thread(
                target=_run, args=(self._loop,), name="dataflow-magic", daemon=True
            )
            self._thread.start()
        return self._loop


class _DaemonThreads(concurrent.futures.ThreadPoolExecutor):
    """Runs each call on a daemon thread of its own.

    The executor of the standard library refuses calls once the main thread has ended, while runs are still followed.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - the caller's
                    future.set_exception(error)

        threading.Thread(target=work, name="dataflow-magic-work", daemon=True).start()
        return future


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


def _new_context() -> Context:
    """Return an empty context in which a kernel can publish.

    In a copy of the cell's context, output would belong to that cell, and be dropped once the cell is done. In an empty
    one only ipykernel 7.0.1 cannot publish: it looks there for the request that is being answered, and raises
    `LookupError`. An empty request stands in for it.
    Source: ``ipykernel/kernelbase.py`` and ``zmqshell.py`` of 6.31, 7.0.1, 7.1 and 7.4.
    """
    context = Context()
    kernel = _kernel()
    if hasattr(kernel, "get_parent"):  # other kernels than ipykernel may lack it
        context.run(_set_empty_parent, kernel)
    return context


def _kernel() -> Any:
    # Not imported here: code that uses runs without a notebook need not load IPython.
    ipython = sys.modules.get("IPython")
    return getattr(ipython.get_ipython(), "kernel", None) if ipython else None


def _set_empty_parent(kernel: Any) -> None:
    try:
        kernel.get_parent()
    except LookupError:
        from ipykernel.kernelbase import Kernel

        # Not the kernel's own method, which redirects standard output on every thread.
        set_parent: Any = Kernel.set_parent  # not typed
        set_parent(kernel, [], {}, "shell")
        kernel.shell.display_pub.set_parent({})
