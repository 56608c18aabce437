"""One service behind a spoiling proxy, and kernels that can be killed: simulated, or at a port for real processes."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from random import Random
from typing import Any, NoReturn
from urllib.parse import parse_qs

import stamina
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from dataflow_magic.cell.run import make_request
from dataflow_magic.ledger.ledger import Ledger
from dataflow_magic.ledger.record import RunRecord
from dataflow_magic.local.http.responses import execution_response
from dataflow_magic.session.run import Run
from dataflow_magic.session.service import ServiceAddress
from dataflow_magic.session.session import Session
from tests.faults.network import Network
from tests.faults.proxy import Port, Proxy, Seen, a_proxy
from tests.faults.simulation import SimulatedThread, Simulation, no_worker_threads
from tests.helpers import ACCESS_KEY, CONDITION, ENDPOINT, SECRET_KEY, ScriptedService, eventually

__all__ = ["Kernel", "SimulatedWorld", "World", "a_simulated_world", "a_world"]

BEGIN = 1_800_000_000.0
"""Seconds since the epoch when a simulation begins."""
PAGE = 2
"""Runs a page, however many the client asks for."""


class World:
    """The service's side.

    Parameters
    ----------
    proxy
        Stands before it.
    """

    def __init__(self, service: ScriptedService, proxy: Proxy) -> None:
        self.service = service
        self.proxy = proxy
        self.lag_seconds = 0.0
        """Age at which a run shows in lists."""
        self.shuffle: Random | None = None
        """Moves items of lists between pages, and repeats some."""

    def new_job(self, name: str) -> str:
        job = self.service.store.add_job(
            name, "SCRIPT", max_concurrent_runs=None, condition=CONDITION, extra={}
        )
        return job.job_id

    def runs(self, job_id: str) -> dict[str, dict[str, Any]]:
        """Return the parameters of each run the service started, by its id."""
        runs, _ = self.service.store.runs(job_id, page=0, limit=1000)
        return {run.run_id: dict(run.parameters) for run in runs}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.service(scope, receive, keep)
        status = messages[0]["status"]
        body = b"".join(message.get("body", b"") for message in messages[1:])
        if status == 200 and scope["method"] == "GET" and scope["path"].endswith("/executions"):
            body = self._list(scope["path"].split("/")[4], int(parse_qs(scope["query_string"])[b"page"][0]))
        now = self.service.seconds() + self.service.clock_ahead_seconds
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"date", formatdate(now, usegmt=True).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def ask(self, seen: Seen) -> bytes:
        """Answer a request with the bytes of a response."""
        path, _, query = seen.path.partition("?")
        lines = [line.partition(b":") for line in seen.headers.split(b"\r\n")[1:] if line]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": seen.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.strip().lower(), value.strip()) for name, _, value in lines],
            "server": ("127.0.0.1", 7001),
        }
        parts: list[bytes] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": seen.body}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = b"".join(b"%s: %s\r\n" % pair for pair in message["headers"])
                parts.append(b"HTTP/1.1 %d Whatever\r\n%s\r\n" % (message["status"], headers))
            else:
                parts.append(message["body"])

        await self(scope, receive, send)
        return b"".join(parts)

    def _list(self, job_id: str, page: int) -> bytes:
        now = self.service.now()
        items, _ = self.service.store.runs(job_id, page=0, limit=1000)
        items = [run for run in items if (now - run.created).total_seconds() >= self.lag_seconds]
        if self.shuffle and items and self.shuffle.random() < 0.5:
            items.insert(self.shuffle.randrange(len(items)), self.shuffle.choice(items))
        if self.shuffle and self.shuffle.random() < 0.5:
            self.shuffle.shuffle(items)
        shown = [execution_response(run, now, "") for run in items[page * PAGE : (page + 1) * PAGE]]
        return json.dumps({"list": shown, "count": len(items), "page": page, "limit": PAGE}).encode()


class SimulatedWorld(World):
    """A world in simulated time, and how its kernels reach it."""

    def __init__(self, folder: Path, random: Random) -> None:
        self.simulation = Simulation(random)
        self.loop = self.simulation.new_loop()
        """The service's."""
        service = _TimelessService(folder, self.simulation)
        super().__init__(service, Proxy(self.ask))
        self.simulation.run(self.loop, service.begin())

    def network(self) -> Network:
        return Network(self.loop, self.proxy.serve)

    def close(self) -> None:
        self.simulation.finish(self.loop)


class _TimelessService(ScriptedService):
    """A service whose time is the simulation's."""

    def __init__(self, folder: Path, simulation: Simulation) -> None:
        self._simulation = simulation
        super().__init__(folder)

    def seconds(self) -> float:
        return BEGIN + self._simulation.now

    async def begin(self) -> None:
        """Start the engine before requests come, which each would start one."""
        self._app = await self._start()


class Kernel:
    """A session of a simulated world that can be killed: it leaves what SIGKILL leaves of a process."""

    def __init__(self, world: SimulatedWorld, home: Path) -> None:
        self.thread = SimulatedThread(world.simulation)
        self._network = world.network()
        self.session = Session(
            {"DATAFLOW_MAGIC_HOME": str(home), "DATAFLOW_TARGET": ENDPOINT, **KEYS},
            home / "configure",
            no_local_service,
            transport=self._network.transport(),
            now=world.service.seconds,
            loop=self.thread,
        )

    @property
    def is_dead(self) -> bool:
        return self.thread.is_killed

    def start(self, job_id: str, parameters: dict[str, Any]) -> Run:
        request = make_request(
            f"id:{job_id}", parameters, nrn="nrn:1", script_path="bucket/scripts/", log_path="bucket/logs/"
        )
        return self.session.start(request, self.session.target())

    def look_around(self, job_id: str) -> None:
        """Use the service once, as a cell would."""
        self.session.ask(self.session.target(), lambda client: client.get_job(job_id))

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


KEYS = {"DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY, "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY}


@contextmanager
def a_simulated_world(folder: Path, random: Random) -> Iterator[SimulatedWorld]:
    """Give a world in which nothing waits for this machine, retries included."""
    stamina.set_testing(True, attempts=4, cap=True)
    with no_worker_threads():
        world = SimulatedWorld(folder, random)
        try:
            yield world
        finally:
            world.close()
            stamina.set_testing(False)


@contextmanager
def a_world(folder: Path) -> Iterator[World]:
    """Give a world whose service and proxy listen at ports; retries do not wait."""
    world = World(ScriptedService(folder), Proxy(Port(0)))
    server = uvicorn.Server(
        uvicorn.Config(world, port=0, lifespan="off", log_level="critical", date_header=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    stamina.set_testing(True, attempts=4, cap=True)
    try:
        eventually(lambda: server.started, "the server accepts requests")
        with a_proxy(server.servers[0].sockets[0].getsockname()[1]) as world.proxy:
            yield world
    finally:
        stamina.set_testing(False)
        server.should_exit = True
        thread.join(60)


@contextmanager
def a_session(world: World, home: Path) -> Iterator[Session]:
    """Give a session that reaches a world at its port, for which time passes while it sleeps between looks."""

    async def sleep(seconds: float) -> None:
        world.service.passed_seconds += seconds
        await asyncio.sleep(0.001)

    session = Session(
        {
            "DATAFLOW_MAGIC_HOME": str(home),
            "DATAFLOW_TARGET": f"http://127.0.0.1:{world.proxy.port}",
            **KEYS,
        },
        home / "configure",
        no_local_service,
        now=world.service.seconds,
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


def until_settled(world: SimulatedWorld, home: Path, story: str) -> None:
    """Let time pass until no run of a ledger is live."""
    # A service whose clock is an hour behind takes a start for that much longer.
    for _ in range(480):
        if not any(record.is_live for record in records_of(home)):
            return
        world.simulation.run_for(15)
    raise AssertionError(f"{story}: {[record[:4] for record in records_of(home)]}")


def check_that_each_run_is_there_once(world: World, job_id: str, home: Path, story: str) -> None:
    """Compare a settled ledger with the runs the service started."""
    started = {run_id: str(parameters["$a"]) for run_id, parameters in world.runs(job_id).items()}
    records = records_of(home)
    ours = {record.run_id: json.loads(record.parameters)["$a"] for record in records if record.run_id}
    without = Counter(record.status for record in records if not record.run_id)

    assert set(ours) == set(started), f"{story}: the ledger has the runs the service started"
    assert ours == started, f"{story}: each run belongs to its own cell"
    assert len(ours) + without.total() == len(records), f"{story}: each run has one row"
    assert set(without) <= {"NOT_STARTED"}, f"{story}: {without}"


def no_local_service() -> ServiceAddress:
    raise AssertionError("no run goes to this machine's own service")


def _dead() -> NoReturn:
    raise sqlite3.OperationalError("the kernel is dead")
