"""One service behind a spoiling proxy, a clock that runs ahead while nobody waits, and kernels that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from dataflow_magic.session.watch import Pace
from tests.faults.proxy import Proxy, a_proxy
from tests.helpers import ACCESS_KEY, CONDITION, SECRET_KEY, ScriptedService, eventually

__all__ = ["Kernel", "World", "a_world"]

ANSWER_SECONDS = 0.06
"""A kernel's patience, short since what is held is held for all of it. A machine that is busy makes one fault more of it."""
PATIENT_SECONDS = 10.0
"""That of a kernel which has to see how things stand."""
PAGE = 2
"""Runs a page, however many are asked for."""


class World:
    """The service's side, and the time of both."""

    def __init__(self, service: ScriptedService, proxy: Proxy) -> None:
        self.service = service
        self.proxy = proxy
        self.lag_seconds = 0.0
        self.shuffle: Random | None = None
        """Has items of lists move between pages and come twice."""
        self._starts_inside = 0

    def new_job(self, name: str) -> str:
        job = self.service.store.add_job(
            name, "SCRIPT", max_concurrent_runs=None, condition=CONDITION, extra={}
        )
        return job.job_id

    def runs(self, job_id: str) -> dict[str, dict[str, Any]]:
        """The parameters of each run that was really started, by its id: what is counted."""
        runs, _ = self.service.store.runs(job_id, page=0, limit=1000)
        return {run.run_id: dict(run.parameters) for run in runs}

    async def sleep(self, seconds: float) -> None:
        # Minutes pass in a millisecond here. A start whose signature was taken is carried out before they do, or a busy
        # machine would make of it what no service does: take a start and begin it six minutes later.
        deadline = time.monotonic() + PATIENT_SECONDS
        while self._starts_inside and time.monotonic() < deadline:  # noqa: ASYNC110 - of another loop
            await asyncio.sleep(0.001)
        self.service.passed_seconds += seconds
        await asyncio.sleep(0.001)

    # The service as its clients see it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        is_start = scope["method"] == "POST"
        self._starts_inside += is_start
        try:
            await self.service(scope, receive, keep)
        finally:
            self._starts_inside -= is_start
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

    def _list(self, job_id: str, page: int) -> bytes:
        now = self.service.now()
        items, _ = self.service.store.runs(job_id, page=0, limit=1000)
        items = [run for run in items if (now - run.created).total_seconds() >= self.lag_seconds]
        if self.shuffle and items and self.shuffle.random() < 0.5:
            items.insert(self.shuffle.randrange(len(items)), self.shuffle.choice(items))
        if self.shuffle and self.shuffle.random() < 0.5:
            self.shuffle.shuffle(items)
        shown = items[page * PAGE : (page + 1) * PAGE]
        told = [execution_response(run, now, "") for run in shown]
        return json.dumps({"list": told, "count": len(items), "page": page, "limit": PAGE}).encode()


class Kernel:
    """A session that can be killed: it leaves what a process leaves that is killed with SIGKILL."""

    def __init__(self, world: World, home: Path, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.environment = {
            "DATAFLOW_MAGIC_HOME": str(home),
            "DATAFLOW_TARGET": f"http://127.0.0.1:{world.proxy.port}",
            "DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY,
            "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY,
        }
        self.is_dead = False
        self._lock = threading.Lock()
        self.session = Session(
            self.environment,
            home / "configure",
            _no_local_service,
            pace=Pace(0.01, 0.01),
            now=world.service.seconds,
            sleep=world.sleep,
            answer_seconds=answer_seconds,
        )

    def start(self, job_id: str, parameters: dict[str, Any]) -> Run:
        request = make_request(
            f"id:{job_id}", parameters, nrn="nrn:1", script_path="bucket/scripts/", log_path="bucket/logs/"
        )
        return self.session.start(request, self.session.target())

    def look_around(self, job_id: str) -> None:
        """Use the service once, as a cell would."""
        self.session.ask(self.session.target(), lambda client: client.get_job(job_id))

    def kill(self) -> None:
        with self._lock:
            if self.is_dead:
                return
            self.is_dead = True
            ledger = self.session._ledger
            ledger._open = _dead  # type: ignore[method-assign]
            with ledger._lock:
                if ledger._db is not None:
                    ledger._db.close()
                    ledger._db = None
                if ledger._alive is not None:
                    os.close(ledger._alive)
                    ledger._alive = None
            # Its connections end with a process; what is told in it by that is not written down any more.
            if loop := self.session._loop._loop:
                loop.set_exception_handler(lambda *_: None)
                with suppress(TimeoutError):
                    self.session._loop.submit(self.session._services.aclose()).result(1)
            self.session._loop.stop()

    def end(self) -> None:
        if not self.is_dead:
            self.session.close()


@contextmanager
def a_world(folder: Path) -> Iterator[World]:
    """Give a world whose service and proxy listen; retries in it do not wait."""
    service = ScriptedService(folder)
    world = World(service, Proxy(0))
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


def records_of(home: Path) -> list[RunRecord]:
    """Read a ledger as a stranger would; empty where there is none."""
    ledger = Ledger(home / "ledger.sqlite3")
    try:
        return ledger.records()
    finally:
        ledger.close()


def until_settled(home: Path, story: str) -> None:
    """Return once nothing more is to be learned of any run of a ledger."""
    deadline = time.monotonic() + 30
    while any(record.is_live for record in records_of(home)):
        assert time.monotonic() < deadline, f"{story}: {[record[:4] for record in records_of(home)]}"
        time.sleep(0.02)


def check_that_each_run_is_there_once(world: World, job_id: str, home: Path, story: str) -> None:
    """Compare a settled ledger with what the service really started."""
    started = {run_id: str(parameters["$a"]) for run_id, parameters in world.runs(job_id).items()}
    records = records_of(home)
    ours = {record.run_id: json.loads(record.parameters)["$a"] for record in records if record.run_id}
    without = Counter(record.status for record in records if not record.run_id)

    assert set(ours) == set(started), f"{story}: what the service started is what the ledger has"
    assert ours == started, f"{story}: whose run is whose"
    assert len(ours) + without.total() == len(records), f"{story}: one row a run"
    assert set(without) <= {"NOT_STARTED"}, f"{story}: {without}"


def _no_local_service() -> ServiceAddress:
    raise AssertionError("no run goes to a service of this machine's own")


def _dead() -> NoReturn:
    raise sqlite3.OperationalError("the kernel is dead")


def in_background(work: Any) -> threading.Thread:
    """Do something on a thread of its own; what a kernel that was killed in it raises is nobody's business."""

    def run() -> None:
        with suppress(BaseException):
            work()

    thread = threading.Thread(target=run)
    thread.start()
    return thread
