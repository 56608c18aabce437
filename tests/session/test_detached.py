"""An interrupt of a cell that awaits a run is one line, whoever handles interrupts there."""

import asyncio
import os
import signal
import threading

import pytest

from dataflow_magic.session.detached import Detached, detachable

pytestmark = pytest.mark.anyio


async def never() -> None:
    await asyncio.Event().wait()


async def interrupted() -> None:
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
    await detachable(never(), lambda: "run 1 continues")


def test_where_nothing_else_handles_interrupts_the_await_raises_one_line_and_leaves_no_handler():
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(Detached, match=r"^stopped waiting; run 1 continues$") as caught:
            loop.run_until_complete(interrupted())
        assert caught.value._render_traceback_() == ["stopped waiting; run 1 continues"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        loop.close()


def test_an_interrupt_of_asyncio_run_is_handled_by_asyncio():
    with pytest.raises(KeyboardInterrupt) as caught:
        asyncio.run(interrupted())

    assert type(caught.value) is KeyboardInterrupt


async def test_a_cancellation_stays_one_and_ipython_shows_it_as_one_line():
    task = asyncio.ensure_future(detachable(never(), lambda: "run 1 continues"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task

    assert type(caught.value) is asyncio.CancelledError
    assert caught.value._render_traceback_() == ["stopped waiting; run 1 continues"]  # type: ignore[attr-defined]


async def test_a_timeout_of_the_caller_ends_the_wait():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await detachable(never(), lambda: "")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(detachable(never(), lambda: ""), 0.01)


async def test_the_loop_wakes_while_nothing_happens():
    # An interrupt of ipykernel is noticed then only; the wait itself schedules nothing.
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(detachable(never(), lambda: ""))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waking = [handle.when() for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    task.cancel()

    assert min(waking) - loop.time() <= 0.5


def test_on_another_thread_the_wait_is_plain():
    ended: list[object] = []

    async def answer() -> int:
        return 7

    def work() -> None:
        ended.append(asyncio.run(detachable(answer(), lambda: "")))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)

    assert ended == [7]
