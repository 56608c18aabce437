"""When the pool warms, hands out and discards JVMs. Fake JVMs, real but short times."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from dataflow_magic.local.spark.jvm import JvmGateway
from dataflow_magic.local.spark.warm_pool import MOST_FAILURES, WarmPool

pytestmark = pytest.mark.anyio

SECONDS = 20.0


class Process:
    """The attributes of a process that the pool reads."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None


@dataclass
class Makers:
    """Makes fake JVMs, one after another, once `may` is set."""

    made: list[JvmGateway] = field(default_factory=list)
    begun: int = 0
    discarded: list[JvmGateway] = field(default_factory=list)
    may: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    prepared: int = 0
    may_prepare: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepare(self) -> None:
        self.prepared += 1
        await self.may_prepare.wait()

    async def warm(self) -> JvmGateway:
        self.begun += 1
        await self.may.wait()
        if self.error:
            raise self.error
        number = len(self.made) + 1
        process = cast(Any, Process(number))
        self.made.append(JvmGateway(cast(Any, None), process, Path(f"/{number}"), Path("/log"), {}))
        return self.made[-1]

    async def discard(self, gateway: JvmGateway) -> None:
        self.discarded.append(gateway)

    @asynccontextmanager
    async def pool(self, *, keep_seconds: float = 600.0, quick: bool = True, prepared: bool = True):
        if quick:
            self.may.set()
        if prepared:
            self.may_prepare.set()
        async with WarmPool(
            self.prepare, self.warm, self.discard, quiet_seconds=0.01, keep_seconds=keep_seconds
        ) as pool:
            yield pool


async def until(holds) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def no_cancel() -> asyncio.Event:
    return asyncio.Event()


async def test_a_warm_jvm_serves_one_run_and_the_next_is_made_after_it():
    makers = Makers()
    async with makers.pool() as pool:
        await until(lambda: pool.is_warm)
        with pool.busy():
            assert await pool.take(no_cancel()) is makers.made[0]
            assert await pool.take(no_cancel()) is None
            await asyncio.sleep(0.05)
            assert len(makers.made) == 1  # none is warmed during a run
        await until(lambda: pool.is_warm)

        assert len(makers.made) == 2
    assert makers.discarded == [makers.made[1]]  # the run ends the first


async def test_a_run_that_ends_at_once_is_followed_by_a_new_jvm():
    makers = Makers()
    async with makers.pool() as pool:
        await until(lambda: pool.is_warm)
        await asyncio.sleep(0.02)
        with pool.busy():
            gateway, pool._ready = pool._ready, None
        assert gateway is makers.made[0]

        await until(lambda: len(makers.made) == 2)


async def test_a_run_waits_for_the_jvm_that_is_being_warmed():
    makers = Makers()
    async with makers.pool(quick=False) as pool:
        await until(lambda: makers.begun)
        taking = asyncio.ensure_future(pool.take(no_cancel()))
        await asyncio.sleep(0.02)
        assert not taking.done()

        makers.may.set()

        assert await taking is makers.made[0]


async def test_no_run_waits_for_the_preparation():
    makers = Makers()
    async with makers.pool(prepared=False) as pool:
        await until(lambda: makers.prepared)
        with pool.busy():
            assert await pool.take(no_cancel()) is None

        makers.may_prepare.set()

        await until(lambda: pool.is_warm)


async def test_a_run_canceled_while_it_waits_takes_no_jvm():
    makers, cancel = Makers(), asyncio.Event()
    async with makers.pool(quick=False) as pool:
        await until(lambda: makers.begun)
        taking = asyncio.ensure_future(pool.take(cancel))
        await asyncio.sleep(0.02)

        cancel.set()

        assert await taking is None
        makers.may.set()
        await until(lambda: pool.is_warm)


async def test_a_jvm_that_has_died_is_discarded():
    makers = Makers()
    async with makers.pool() as pool:
        await until(lambda: pool.is_warm)
        cast(Any, makers.made[0].process).returncode = -9

        assert not pool.is_warm
        assert await pool.take(no_cancel()) is None
        assert makers.discarded == [makers.made[0]]


async def test_no_jvm_is_warmed_during_a_run():
    makers = Makers()
    async with makers.pool() as pool:
        with pool.busy():
            await asyncio.sleep(0.05)
            assert makers.begun == 0
        await until(lambda: pool.is_warm)


async def test_an_unused_jvm_is_discarded_until_the_next_run():
    makers = Makers()
    async with makers.pool(keep_seconds=0.02) as pool:
        await until(lambda: makers.discarded == makers.made[:1] != [])
        await asyncio.sleep(0.05)
        assert len(makers.made) == 1

        with pool.busy():
            assert await pool.take(no_cancel()) is None

        await until(lambda: len(makers.made) == 2)


async def test_after_a_few_failures_in_a_row_the_pool_stops_trying(caplog):
    makers = Makers(error=ValueError("no room"))
    async with makers.pool() as pool:
        for tried in range(1, MOST_FAILURES + 1):
            await until(lambda tried=tried: makers.begun == tried)
            with pool.busy():
                assert await pool.take(no_cancel()) is None
        await until(lambda: "no JVM can be kept warm; each run starts its own" in caplog.messages)
        with pool.busy():
            pass
        await asyncio.sleep(0.05)

    assert makers.begun == MOST_FAILURES
    assert caplog.messages.count("warming a JVM") == MOST_FAILURES
