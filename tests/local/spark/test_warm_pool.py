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
    wanted: list[bool] = field(default_factory=list)
    improving: list[str] = field(default_factory=list)
    improvement: asyncio.Event = field(default_factory=asyncio.Event)

    async def improve(self) -> None:
        self.improving.append("begun")
        try:
            await self.improvement.wait()
        except asyncio.CancelledError:
            self.improving.append("cancelled")
            raise
        self.improving.append("done")

    async def warm(self, wanted: asyncio.Event) -> JvmGateway:
        self.begun += 1
        waits = [asyncio.ensure_future(event.wait()) for event in (self.may, wanted)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self.wanted.append(wanted.is_set())
        if self.error:
            raise self.error
        number = len(self.made) + 1
        process = cast(Any, Process(number))
        self.made.append(JvmGateway(cast(Any, None), process, Path(f"/{number}"), Path("/log"), {}))
        return self.made[-1]

    async def discard(self, gateway: JvmGateway) -> None:
        self.discarded.append(gateway)

    @asynccontextmanager
    async def pool(self, *, keep_seconds: float = 600.0, improve_seconds: float = 600.0, quick: bool = True):
        if quick:
            self.may.set()
        async with WarmPool(
            self.warm,
            self.improve,
            self.discard,
            quiet_seconds=0.01,
            improve_seconds=improve_seconds,
            keep_seconds=keep_seconds,
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


async def test_the_jvm_that_a_run_does_not_take_stays_for_the_next():
    makers = Makers()
    async with makers.pool() as pool:
        await until(lambda: pool.is_warm)
        with pool.busy():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

        with pool.busy():
            assert await pool.take(no_cancel()) is makers.made[0]
    assert len(makers.made) == 1


async def test_a_run_gets_the_jvm_that_is_being_warmed_as_it_is():
    makers = Makers()
    async with makers.pool(quick=False) as pool:
        await until(lambda: makers.begun)
        assert pool.is_warming
        with pool.busy():
            assert await pool.take(no_cancel()) is makers.made[0]
        await until(lambda: makers.begun == 2)
        makers.may.set()

        await until(lambda: pool.is_warm)
        assert not pool.is_warming
    assert makers.wanted == [True, False]


async def test_the_first_jvm_is_warmed_at_once():
    makers = Makers()
    makers.may.set()
    async with WarmPool(makers.warm, makers.improve, makers.discard, quiet_seconds=600.0) as pool:
        await until(lambda: pool.is_warm)


async def test_jvms_are_improved_while_the_service_is_idle_and_one_is_warm():
    makers = Makers()
    async with makers.pool(quick=False, improve_seconds=0.01) as pool:
        await asyncio.sleep(0.05)
        assert makers.improving == []
        makers.may.set()
        await until(lambda: makers.improving == ["begun"])
        assert pool.is_warm

        makers.improvement.set()

        await until(lambda: makers.improving == ["begun", "done"])
        assert pool.is_warm


async def test_a_run_cancels_the_improvement_which_begins_again_after_it():
    makers = Makers()
    async with makers.pool(improve_seconds=0.01) as pool:
        await until(lambda: makers.improving == ["begun"])
        with pool.busy():
            assert await pool.take(no_cancel()) is makers.made[0]
            await until(lambda: makers.improving == ["begun", "cancelled"])

        await until(lambda: makers.improving == ["begun", "cancelled", "begun"])
        assert pool.is_warm
    assert makers.improving == ["begun", "cancelled", "begun", "cancelled"]


async def test_after_each_cancelled_improvement_the_next_waits_twice_as_long():
    makers = Makers()
    async with makers.pool(improve_seconds=0.01) as pool:
        for times in range(1, 4):
            await until(lambda times=times: makers.improving.count("begun") == times)
            with pool.busy():
                await until(lambda times=times: makers.improving.count("cancelled") == times)
        assert pool._improve_seconds == 0.08


async def test_an_improvement_that_fails_is_logged_and_the_jvm_stays_warm(caplog):
    class Failing(Makers):
        async def improve(self) -> None:
            raise ValueError("no room")

    makers = Failing()
    async with makers.pool(improve_seconds=0.01) as pool:
        await until(lambda: "making later JVMs start faster" in caplog.messages)
        assert pool.is_warm


async def test_a_run_canceled_while_it_waits_takes_no_jvm():
    class Slow(Makers):
        async def warm(self, _: asyncio.Event) -> JvmGateway:
            return await super().warm(asyncio.Event())

    makers, cancel = Slow(), asyncio.Event()
    async with makers.pool(quick=False) as pool:
        await until(lambda: makers.begun)
        taking = asyncio.ensure_future(pool.take(cancel))
        await asyncio.sleep(0.02)
        assert not taking.done()

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
