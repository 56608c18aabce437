"""The fake service behind a spoiling proxy, and kernels that can be killed: simulated, or at a port for real processes."""

from __future__ import annotations

import asyncio
import json
import os
import random as global_random
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest import mock

import stamina

from dataflow_magic.ledger import ledger as ledger_module
from dataflow_magic.ledger.ledger import Ledger
from dataflow_magic.ledger.record import RunRecord
from dataflow_magic.models.request import JobRef, RunRequest, SweepRequest
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.service import ServiceAddress
from dataflow_magic.session.session import Session
from dataflow_magic.session.watch import Pace
from tests.faults.fake import ACCESS_KEY, SECRET_KEY, FakeService, Rules
from tests.faults.network import Network
from tests.faults.proxy import Proxy, Seen, a_proxy
from tests.faults.simulation import Killed, SimulatedThread, Simulation

__all__ = ["KEYS", "Kernel", "World", "a_session", "a_simulated_world", "a_world", "records_of"]

BEGIN = 1_800_000_000.0
"""Seconds since the epoch when a simulation begins."""
PACE = Pace(2.0, 240.0, 0.5)
"""Slower than in earnest: fewer requests, so more schedules."""
ENDPOINT = "http://127.0.0.1:7001"
KEYS = {"DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY, "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY}


class World:
    """A service, the machine of its users, and simulated time.

    Attributes
    ----------
    slept_seconds
        How long the machine slept: steady clocks stood still, the time of day went on.
    ahead_seconds
        By how much the machine's clock is ahead of the right time.
    looks_apart
        By how much longer than in earnest kernels sleep between two looks for a run: fewer requests, so more schedules.
    """

    def __init__(self, random: Random) -> None:
        self.simulation = Simulation(random)
        self.loop = self.simulation.new_loop()
        """The service's."""
        self.slept_seconds = 0.0
        self.ahead_seconds = 0.0
        self.looks_apart = 8
        self.service = FakeService(random, self.time)
        self.proxy = Proxy(_asked(self.service))

    def time(self) -> float:
        """Return the right time, in seconds since the epoch."""
        return BEGIN + self.simulation.now + self.slept_seconds

    def clock(self) -> float:
        """Return what the machine's clock shows."""
        return self.time() + self.ahead_seconds

    def close(self) -> None:
        self.simulation.finish(self.loop)


class Kernel:
    """A session of a simulated world that can be killed: it leaves what SIGKILL leaves of a process."""

    def __init__(self, world: World, home: Path) -> None:
        self.world = world
        self.thread = SimulatedThread(world.simulation)
        self._network = Network(world.loop, partial(world.proxy.serve, source=self._sender))
        self.session = Session(
            {"DATAFLOW_MAGIC_HOME": str(home), "DATAFLOW_TARGET": ENDPOINT, **KEYS},
            home / "configure",
            no_local_service,
            transport=self._network.transport(),
            pace=PACE,
            now=world.clock,
            steady=world.time,
            sleep=lambda seconds: asyncio.sleep(seconds * world.looks_apart),
            loop=self.thread,
        )

    @property
    def is_dead(self) -> bool:
        return self.thread.is_killed

    def start(self, request: RunRequest) -> LiveRun:
        return self.session.start(request, self.session.target())

    def sweep(self, requests: Sequence[RunRequest]) -> None:
        """Start the runs of a sweep; return once each is started or will not be."""
        sweep = self.session.sweep(SweepRequest((), tuple(requests)), self.session.target())
        self.world.simulation.wait(lambda: self.is_dead or not sweep.is_sending)
        if self.is_dead:
            raise Killed

    def look_around(self, job_id: str) -> None:
        """Use the service once, as a cell would."""
        self.session.ask(self.session.target(), lambda client: client.get_job(job_id))

    def list_runs(self, job_id: str) -> None:
        """Read the job's list, as the table of a job's runs does."""
        self.session.executions(JobRef(job_id, "id"), self.session.target())

    def kill(self) -> None:
        if self.is_dead:
            return
        self.thread.kill()
        self._network.cut()
        ledger = self.session._ledger
        ledger._open = _dead  # type: ignore[method-assign]
        if ledger._db is not None:
            ledger._db.close()
            ledger._db = None
        if ledger._alive is not None:
            os.close(ledger._alive)
            ledger._alive = None

    def end(self) -> None:
        """Close the session; of a dead kernel, free what is left in memory."""
        if self.is_dead:
            self.thread.loop.set_exception_handler(lambda *_: None)
            self.thread.stop()
        else:
            self.session.close()

    def _sender(self, body: bytes) -> str:
        """Return the key of the newest start with the parameters of a body: a kernel of these schedules runs one cell at a
        time, and the starts of a sweep differ in their parameters."""
        if not body:
            return ""
        asked = _as_json(json.loads(body).get("parameters", {}))
        return next(
            (run.key for run in reversed(self.session.runs) if _as_json(run.view.parameters) == asked), ""
        )


@contextmanager
def a_simulated_world(seed: int) -> Iterator[World]:
    """Give a world in which nothing waits for this machine, and everything is drawn from the seed."""
    random = Random(seed)  # noqa: S311 - to be drawn again
    global_random.seed(seed)  # of the intervals between polls
    keys = SimpleNamespace(
        choice=random.choice, token_hex=lambda size: random.randbytes(size).hex(), token_urlsafe=None
    )
    world = World(random)
    # The order of keys decides between starts of the same microsecond.
    with mock.patch.object(ledger_module, "secrets", keys):
        try:
            yield world
        finally:
            world.close()


@contextmanager
def a_world() -> Iterator[FakeWorldAtAPort]:
    """Give a service behind a proxy at a port; retries do not wait."""
    world = FakeWorldAtAPort()
    stamina.set_testing(True, attempts=4, cap=True)
    try:
        with a_proxy(_asked(world.service)) as world.proxy:
            yield world
    finally:
        stamina.set_testing(False)


class FakeWorldAtAPort:
    """A service for real processes; its time can be advanced."""

    proxy: Proxy

    def __init__(self) -> None:
        self.passed_seconds = 0.0
        self.service = FakeService(Random(0), self.time, Rules(ready_seconds=0, running_seconds=0))  # noqa: S311

    def time(self) -> float:
        return time.time() + self.passed_seconds


@contextmanager
def a_session(world: FakeWorldAtAPort, home: Path) -> Iterator[Session]:
    """Give a session that reaches a world at its port, for which time passes while it sleeps between looks."""

    async def sleep(seconds: float) -> None:
        world.passed_seconds += seconds
        await asyncio.sleep(0.001)

    session = Session(
        {
            "DATAFLOW_MAGIC_HOME": str(home),
            "DATAFLOW_TARGET": f"http://127.0.0.1:{world.proxy.port}",
            **KEYS,
        },
        home / "configure",
        no_local_service,
        now=world.time,
        sleep=sleep,
    )
    try:
        yield session
    finally:
        session.close()


def records_of(home: Path) -> list[RunRecord]:
    """Return what another process reads in a ledger; empty where there is none."""
    ledger = Ledger(home / "ledger.sqlite3")
    try:
        return ledger.records()
    finally:
        ledger.close()


def no_local_service() -> ServiceAddress:
    raise AssertionError("no run goes to this machine's own service")


def _asked(service: FakeService) -> Any:
    async def ask(seen: Seen) -> bytes:
        return service.answer(seen.method, seen.path, seen.headers, seen.body, seen.source)

    return ask


def _as_json(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, sort_keys=True)


def _dead() -> NoReturn:
    raise sqlite3.OperationalError("the kernel is dead")
