import asyncio
import concurrent.futures
import contextvars
import gc
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from dataflow_magic.session.loop import LoopThread

PATIENCE = 60.0
"""Seconds after which a test that waits in vain fails."""


@pytest.fixture
def loop():
    thread = LoopThread()
    yield thread
    thread.stop()


@pytest.fixture
def our_threads():
    """Gives the threads of ours that this test began and that still run."""
    before = set(threading.enumerate())
    return lambda: [t for t in threading.enumerate() if t.name == "dataflow-magic" and t not in before]


def eventually(claim: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not claim():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.001)


async def name_of_thread() -> str:
    return threading.current_thread().name


async def never() -> None:
    await asyncio.Event().wait()


def test_there_is_no_thread_before_the_first_use(our_threads):
    LoopThread()

    assert our_threads() == []


def test_everything_runs_on_one_daemon_thread(our_threads, loop):
    assert [loop.call(name_of_thread()) for _ in range(3)] == ["dataflow-magic"] * 3
    assert [thread.daemon for thread in our_threads()] == [True]


def test_any_thread_may_submit(our_threads, loop):
    async def square(number: int) -> int:
        await asyncio.sleep(0)
        return number * number

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: loop.call(square(number)), range(100)))

    assert found == [number * number for number in range(100)]
    assert len(our_threads()) == 1


def test_the_loop_itself_may_submit(loop):
    async def outer() -> str:
        return await asyncio.wrap_future(loop.submit(name_of_thread()))

    assert loop.call(outer()) == "dataflow-magic"


def test_an_error_is_raised_in_the_caller(loop):
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match=r"^no$"):
        loop.call(fail())


def test_a_task_gets_an_empty_context(loop):
    cell = contextvars.ContextVar("cell", default="none")
    cell.set("cell 7")

    async def seen() -> tuple[str, int]:
        await asyncio.sleep(0)
        return cell.get(), len(contextvars.copy_context())

    assert loop.call(seen()) == ("none", 0)
    assert cell.get() == "cell 7"


def test_an_interrupt_ends_the_wait_and_the_work(loop):
    became: list[str] = []
    main = threading.main_thread().ident
    assert main is not None

    async def work() -> None:
        deadline = time.monotonic() + PATIENCE
        # Nothing shows that the main thread waits.
        while sys._current_frames()[main].f_code.co_name != "wait" and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0)
        signal.pthread_kill(main, signal.SIGINT)
        try:
            await never()
        except asyncio.CancelledError:
            became.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        loop.call(work())

    eventually(lambda: became, "the work was cancelled")
    assert became == ["cancelled"]
    assert loop.call(name_of_thread()) == "dataflow-magic"


def test_a_stop_cancels_running_tasks_and_ends_the_thread(our_threads):
    loop, became = LoopThread(), []

    async def work() -> None:
        try:
            await never()
        finally:
            await asyncio.sleep(0)  # cleaning up may take a moment
            became.append("cleaned up")

    future = loop.submit(work())
    loop.call(name_of_thread())
    loop.stop()

    assert became == ["cleaned up"]
    assert future.cancelled()
    assert our_threads() == []


def test_a_coroutine_submitted_just_before_a_stop_is_cancelled():
    loop = LoopThread()
    futures = [loop.submit(never()) for _ in range(10)]

    loop.stop()

    assert all(future.cancelled() for future in futures)


def test_every_coroutine_submitted_during_a_stop_ends(our_threads):
    loop = LoopThread()
    futures: list[concurrent.futures.Future[None]] = []
    go = threading.Barrier(2)

    def submit() -> None:
        go.wait(PATIENCE)
        futures.extend(loop.submit(never()) for _ in range(200))

    submitter = threading.Thread(target=submit)
    submitter.start()
    go.wait(PATIENCE)
    for _ in range(5):
        loop.stop()
    submitter.join(PATIENCE)
    loop.stop()

    assert len(futures) == 200
    assert all(future.cancelled() for future in futures)
    assert our_threads() == []


def test_a_submit_after_a_stop_starts_another_thread(our_threads):
    loop = LoopThread()

    names = []
    for _ in range(3):
        names.append(loop.call(name_of_thread()))
        loop.stop()

    assert names == ["dataflow-magic"] * 3
    assert our_threads() == []


def test_a_stop_before_the_first_submit_does_nothing(our_threads):
    loop = LoopThread()

    loop.stop()
    loop.stop()

    assert our_threads() == []


def test_a_stop_closes_unfinished_generators():
    loop, became = LoopThread(), []

    async def pages() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            became.append("finished")

    kept = pages()

    async def take_one() -> int:
        return await anext(kept)

    assert loop.call(take_one()) == 1
    loop.stop()

    assert became == ["finished"]


def test_an_error_that_is_never_retrieved_does_not_end_the_loop(loop):
    async def fail() -> None:
        raise ValueError("no")

    future = loop.submit(fail())
    assert isinstance(future.exception(PATIENCE), ValueError)
    del future
    gc.collect()

    assert loop.call(name_of_thread()) == "dataflow-magic"
