import asyncio

import pytest

from dataflow_magic.local.tasks import Tasks

pytestmark = pytest.mark.anyio


async def test_the_end_cancels_each_task_and_waits_until_it_has_ended():
    tasks, ended = Tasks(), []

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0)
            ended.append(name)
            raise OSError(name)

    for name in ("first", "second"):
        tasks.spawn(work(name))
    await asyncio.sleep(0)

    await tasks.end()

    assert sorted(ended) == ["first", "second"]


async def test_a_task_that_is_done_gives_its_result_and_is_not_kept():
    tasks = Tasks()

    async def number() -> int:
        return 7

    assert await tasks.spawn(number()) == 7
    await tasks.end()
