"""When a card is repainted: a change at once, a second one half a second later, the time by its tick."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest

from dataflow_magic.card.painter import PAINT_SECONDS, Painter

pytestmark = pytest.mark.anyio


@dataclass
class State:
    name: str
    is_final: bool = False
    tick: float = 60.0
    line_key: object = None

    def timeless(self) -> object:
        return self.name


class Painted:
    """A state that a test changes."""

    def __init__(self, **fields: Any) -> None:
        self.state = State("first", **fields)
        self.is_over = False

    def card_state(self, *, kernel_waits: bool = False) -> State:  # noqa: ARG002
        return self.state


class Presenter:
    """Records what it paints, and when."""

    is_shown = True

    def __init__(self) -> None:
        self.painted: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
        self.faults: list[Exception] = []
        self.faults_of_showing: list[Exception] = []
        self.said: list[str] = []

    def show(self, state: State, *, above: object = None) -> None:  # noqa: ARG002
        if self.faults_of_showing:
            raise self.faults_of_showing.pop()

    def say(self, text: str) -> None:
        self.said.append(text)

    def update(self, state: State, *, kernel_waits: bool = False, is_over: bool = False) -> float:  # noqa: ARG002
        if self.faults:
            raise self.faults.pop()
        self.painted.put_nowait((state.name, asyncio.get_running_loop().time()))
        return state.tick


class Stage:
    """A painter on the running loop, with what it paints and where."""

    def __init__(self, **fields: Any) -> None:
        self.painted = Painted(**fields)
        self.presenter = Presenter()
        self.tasks: list[asyncio.Task[Any]] = []
        self.painter = Painter[State](self.painted, self.presenter, self._submit)  # type: ignore[arg-type, type-var]

    def _submit(self, work: Coroutine[Any, Any, Any]) -> Any:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def change(self, name: str, *, is_over: bool = False) -> float:
        """Change the state and return the time of it."""
        self.painted.state = replace(self.painted.state, name=name)
        self.painted.is_over = is_over
        self.painter.changed()
        return asyncio.get_running_loop().time()

    async def next(self) -> tuple[str, float]:
        """Return the next state that is painted, and when."""
        async with asyncio.timeout(10):
            return await self.presenter.painted.get()

    async def end(self) -> list[str]:
        """Return what is painted until the end."""
        self.change("last", is_over=True)
        await asyncio.gather(*self.tasks)
        return [self.presenter.painted.get_nowait()[0] for _ in range(self.presenter.painted.qsize())]


async def test_a_change_is_painted_at_once_and_the_next_one_half_a_second_later():
    stage = Stage()
    stage.painter.show()
    _, shown_at = await stage.next()
    await asyncio.sleep(PAINT_SECONDS + 0.1)
    changed_at = stage.change("second")
    second, second_at = await stage.next()
    stage.change("never painted")
    stage.change("third")
    third, third_at = await stage.next()

    assert (second, third) == ("second", "third")
    assert second_at - changed_at < PAINT_SECONDS
    assert second_at - shown_at > PAINT_SECONDS
    assert third_at - second_at >= 0.99 * PAINT_SECONDS
    assert await stage.end() == ["last"]


async def test_without_a_change_the_card_is_painted_by_its_tick():
    stage = Stage(tick=0.7)
    stage.painter.show()
    times = [(await stage.next())[1] for _ in range(3)]
    await stage.end()

    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.99 * 0.7


@pytest.mark.parametrize("fault", [TypeError("a bug"), OSError(5, "Input/output error"), ImportError("no")])
async def test_a_card_that_cannot_be_shown_or_painted_fails_no_cell_and_no_wait(fault):
    stage = Stage()
    stage.presenter.faults_of_showing = [fault, fault]
    stage.painter.show()
    waited = []

    def wait(paint: Callable[[], None]) -> None:
        stage.presenter.faults = [fault]
        paint()
        paint()
        waited.append(True)

    stage.painter.show_and_wait(wait)
    await stage.end()

    assert waited == [True]
    assert len(stage.presenter.said) == 2
    assert all(
        line.endswith(f"could not be shown: {type(fault).__name__}: {fault})")
        for line in stage.presenter.said
    )


async def test_a_card_that_could_not_be_painted_is_painted_later():
    stage = Stage()
    stage.presenter.faults = [RuntimeError("a bug")]
    stage.painter.show()

    assert (await stage.next())[0] == "first"
    assert await stage.end() == ["last"]


async def test_the_loop_paints_nothing_while_a_cell_waits_and_paints_again_after_an_interrupt():
    stage = Stage()

    def wait(paint: Callable[[], None]) -> None:
        paint()
        assert stage.tasks == []
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.painter.show_and_wait(wait)
    assert len(stage.tasks) == 1
    assert [(await stage.next())[0] for _ in range(2)] == ["first", "first"]
    assert await stage.end() == ["last"]


async def test_a_card_whose_cell_waited_for_its_end_is_painted_when_it_lives_on():
    stage = Stage()
    stage.painter.show_and_wait(lambda paint: paint())
    assert stage.tasks == []

    stage.painter.resume()

    assert len(stage.tasks) == 1
    assert [(await stage.next())[0] for _ in range(2)] == ["first", "first"]
    assert await stage.end() == ["last"]


async def test_a_card_shown_twice_is_painted_by_one_task():
    stage = Stage()
    stage.painter.show()
    stage.painter.show()
    await stage.next()
    await asyncio.sleep(0.1)

    assert [task.done() for task in stage.tasks] == [False, True]
    assert await stage.end() == ["last"]
