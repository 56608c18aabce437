"""Interrupts: one line, which names what continues and how to come back to it. Knows no live run."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

__all__ = ["INTERRUPTED_START", "Detached", "detachable", "in_one_line", "sweep_way_back", "way_back"]

T = TypeVar("T")

AWAKE_SECONDS = 0.5
"""How often an await wakes the main thread's loop: ipykernel notices an interrupt of a cell only when its loop wakes."""

INTERRUPTED_START = "interrupted while sending the run; %dataflow_runs lists it if the service received it"
MOST_NAMED = 10
"""A line with more names would not be read."""


class Detached(KeyboardInterrupt):
    """The user interrupted a wait or a call; what was started continues. IPython shows only the message."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@contextmanager
def in_one_line(words: str) -> Iterator[None]:
    """Show an interrupt of the block as one line.

    Raises
    ------
    Detached
        The user interrupted the block, which did not say so itself.
    """
    try:
        yield
    except Detached:
        raise
    except KeyboardInterrupt:
        raise Detached(words) from None


async def detachable(wait: Coroutine[Any, Any, T], way_back: Callable[[], str]) -> T:
    """Return what a wait returns; an interrupt of the cell that awaits it is shown as one line.

    Parameters
    ----------
    way_back
        Returns what continues after an interrupt, and how to come back to it.

    Raises
    ------
    Detached
        The user interrupted the wait, and no one else handles interrupts, as in IPython in a terminal.
    CancelledError
        The task that awaits was canceled, which is how ipykernel interrupts a cell.
    """
    if threading.current_thread() is not threading.main_thread():
        return await wait  # no cell is interrupted there
    task = asyncio.ensure_future(wait)
    with _interrupts(task) as interrupts:
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=AWAKE_SECONDS)
        except asyncio.CancelledError as error:
            task.cancel()
            task.add_done_callback(
                lambda done: done.cancelled() or done.exception()
            )  # or asyncio logs an error
            # On the error itself: `asyncio.timeout` of Python 3.11 takes no subclass for a cancellation.
            error._render_traceback_ = lambda: [f"stopped waiting; {way_back()}"]  # type: ignore[attr-defined]
            raise
    if interrupts and task.cancelled():
        raise Detached(f"stopped waiting; {way_back()}")
    return task.result()


@contextmanager
def _interrupts(task: asyncio.Task[Any]) -> Iterator[list[bool]]:
    """Cancel a task at an interrupt, where nothing else handles interrupts; give a list that is not empty then."""
    interrupts: list[bool] = []

    def interrupt() -> None:
        interrupts.append(True)
        task.cancel()

    is_ours = False
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with suppress(NotImplementedError, RuntimeError, ValueError):  # such as on Windows
            task.get_loop().add_signal_handler(signal.SIGINT, interrupt)
            is_ours = True
    try:
        yield interrupts
    finally:
        if is_ours:
            task.get_loop().remove_signal_handler(signal.SIGINT)


def way_back(names: Sequence[str]) -> str:
    """Return that these runs continue after a wait, and the magics that come back to them."""
    if len(names) == 1:
        return (
            f"run {names[0]} continues: %dataflow_wait {names[0]} waits again, %dataflow_status {names[0]} shows it, "
            f"%dataflow_cancel {names[0]} cancels it"
        )
    # Without names the magic waits for all active runs.
    again = f" {' '.join(names)}" if len(names) <= MOST_NAMED else ""
    return f"{len(names)} runs continue: %dataflow_wait{again} waits again"


def sweep_way_back(key: str) -> str:
    """Return that a sweep continues after a wait, and the magics that come back to it."""
    return f"the sweep continues: %dataflow_wait {key} waits again, %dataflow_status {key} shows it, %dataflow_cancel {key} cancels it"
