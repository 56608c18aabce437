"""The cost of watching N live runs, beside one request per run; and the time from a change to its card.

Watching: the ledger holds N live runs of a kernel that is gone, over ten jobs (fewer for few runs); a new session takes
them over, as a kernel restarted beside them does. The runs are real ones of the real local service in a process of its own,
over real HTTP; only their execution is scripted: they start and stay active. Each N has a fresh process for the kernel, so
its CPU time, its loop's lag and its memory are of watching alone. The runs are young to the watch, which is when it asks
most often, and their starts are spread over a minute, so that at any time some of them change in the minutes they ran.

The naive peer asks the same service for each run with `Client.get_execution`, one after another and ten at once, in a
process of its own. The limits: one request per job and tick, since the API lists no runs across jobs; and the lag of the
same loop while it watches nothing.

Changes: one run at a time, started through a session and watched at the default pace, starts and ends on command. Timed
from when the service's store has the change until `Run.view` shows it and until the card is painted, which is a fake that
notes the time. The limit is that of polling at all: a change waits half the mean interval between two polls for the next.

Prints tables; judges nothing. Ends with 1 when runs are not found or requests fail.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import os
import select
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import uvicorn
from pydantic import SecretStr

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.front_end import FrontEnd
from dataflow_magic.card.painter import Painter
from dataflow_magic.card.presenter import Presenter
from dataflow_magic.card.run import RUN_CARD
from dataflow_magic.card.run.state import CardState
from dataflow_magic.client.client import Client
from dataflow_magic.errors import ConfigError
from dataflow_magic.ledger.ledger import INSERT, Ledger, ledger_path, new_key
from dataflow_magic.ledger.record import record_of
from dataflow_magic.local.engine import Engine
from dataflow_magic.local.http.app import Backend, Keys, create_app
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.store import Store
from dataflow_magic.models.request import JobRef, RunRequest
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import KST, JobCondition, JobExecution, RunState
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.service import ServiceAddress
from dataflow_magic.session.session import Session

SIZES = (10, 100, 1000, 10_000)
MOST_JOBS = 10
MOST_NAIVE = 1000
"""Runs the naive peer is measured with; more of them only take longer."""
AT_ONCE = 10
CHANGES = 40
MOST_STARTED = 200
"""Runs that may be active at the service at once, besides those it is seeded with."""

PATIENCE_SECONDS = 120.0
"""Until a process that waits in vain gives up."""
IDLE_SECONDS = 2.0
SETTLE_SECONDS = 4.0
CPU_SECONDS = 10.0
LAG_SECONDS = 6.0
"""Apart from the CPU's, since looking for lag takes CPU time."""
NAP_SECONDS = 0.005

HOST = "127.0.0.1"
LOCAL_ACCESS_KEY, LOCAL_SECRET_KEY = "BENCHMARK-ACCESS", "BENCHMARK-SECRET"
CONDITION = {
    "workerType": "DEFAULT",
    "numWorker": 2,
    "timeout": 360,
    "nrn": "nrn:PUB:IAM::1:Role/1",
    "scriptPath": "bucket/scripts/",
    "logPath": "bucket/logs/",
}


def job_id(number: int) -> str:
    """Return the id of a job."""
    return f"job{number:09}"


def run_id(number: int) -> str:
    """Return the id of a run; its job is its number modulo the jobs."""
    return f"run{number:09}"


def parameters(number: int) -> dict[str, str]:
    """Return a run's parameters, as a backfill makes them."""
    day = datetime(2026, 11, 1, tzinfo=KST).date() - timedelta(days=number % 365)
    return {"$table_name": f"test.table_{number % 20}", "$run_date": f"{day}"}


# The service's process


class TellingStore(Store):
    """The store; prints each change on standard output once it is stored, when asked to."""

    announces = False

    def move(self, run_id: str, state: RunState, detail: str = "") -> bool:
        """Bring a run to a state."""
        moved = super().move(run_id, state, detail)
        if self.announces:
            print(run_id, state, time.time(), flush=True)
        return moved


def seed(path: Path, runs: int, jobs: int) -> None:
    """Write jobs and waiting runs, past the store's own way of one at a time."""
    condition, now = json.dumps(CONDITION), datetime.now(KST).isoformat()
    with sqlite3.connect(path) as db:
        db.executemany(
            "INSERT INTO jobs (job_id, name, type, condition, extra, created, updated) "
            "VALUES (?, ?, 'SCRIPT', ?, '{}', ?, ?)",
            [(job_id(number), f"job_{number}", condition, now, now) for number in range(jobs)],
        )
        db.executemany(
            "INSERT INTO runs (run_id, job_id, job_name, condition, parameters, status, created) "
            "VALUES (?, ?, ?, ?, ?, 'READY', ?)",
            [
                (
                    run_id(number),
                    job_id(number % jobs),
                    f"job_{number % jobs}",
                    condition,
                    json.dumps(parameters(number)),
                    now,
                )
                for number in range(runs)
            ],
        )
    db.close()


def spread_starts(path: Path, runs: int) -> None:
    """Have the runs started over the last minute, so that their minutes do not all change in one second."""
    now = datetime.now(KST)
    with sqlite3.connect(path) as db:
        db.executemany(
            "UPDATE runs SET started = ? WHERE run_id = ?",
            [
                ((now - timedelta(seconds=number * 60 / runs)).isoformat(), run_id(number))
                for number in range(runs)
            ],
        )
    db.close()


async def serve(folder: Path, runs: int, jobs: int) -> None:
    """Serve the runs until stdin closes; a line ``RUN STATE`` on it brings a run that was started later to a state."""
    store = TellingStore(folder / "state.sqlite3", lambda: datetime.now(KST))
    seed(folder / "state.sqlite3", runs, jobs)
    seeded = {run_id(number) for number in range(runs)}
    announced: defaultdict[tuple[str, str], asyncio.Event] = defaultdict(asyncio.Event)

    async def run_script(
        spec: RunSpec,
        *,
        cancel: asyncio.Event,
        waiting: Callable[[str], None],
        started: Callable[[], Awaitable[None]],
    ) -> Outcome:
        if spec.run_id in seeded:
            await started()
            await cancel.wait()
            return Outcome("CANCELED")
        waiting("a word")
        await announced[spec.run_id, "RUNNING"].wait()
        await started()
        await announced[spec.run_id, "COMPLETED"].wait()
        return Outcome("COMPLETED")

    # Named TCP: with protocol 0 the loop leaves Nagle's algorithm on, which costs 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind((HOST, 0))
    listener.listen(128)
    async with Engine(store, folder, run_script, slots=runs + MOST_STARTED) as engine:
        while store.runs_in(RunState.READY):  # noqa: ASYNC110 - the engine sends no event
            await asyncio.sleep(0.05)
        spread_starts(folder / "state.sqlite3", runs)
        store.announces = True
        app = create_app(
            Backend(store, engine, folder, lambda: datetime.now(KST)),
            Keys(LOCAL_ACCESS_KEY, LOCAL_SECRET_KEY),
        )
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_level="warning",
            access_log=False,
            date_header=False,
            timeout_keep_alive=60,
        )
        serving = asyncio.create_task(uvicorn.Server(config).serve(sockets=[listener]))
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
        )
        print(f"http://{HOST}:{listener.getsockname()[1]}", flush=True)
        async for line in lines:
            run, state = line.decode().split()
            announced[run, state].set()
        serving.cancel()
        # At once: the engine would end each run, and nobody looks at this folder again.
        os._exit(0)


class ServiceProcess:
    """The service in a process of its own.

    Attributes
    ----------
    address
        Where it is, once `opened` has given it.
    """

    def __init__(self, folder: Path, runs: int, jobs: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(folder), str(runs), str(jobs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.address = ""

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, runs: int, jobs: int) -> Iterator[ServiceProcess]:
        """Give a service that takes requests; it ends afterwards."""
        folder.mkdir()
        service = cls(folder, runs, jobs)
        try:
            service.address = service.line()
            yield service
        finally:
            service.close()

    def line(self) -> str:
        """Return its next line."""
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - asked for above
        if not select.select([pipe], [], [], PATIENCE_SECONDS)[0] or not (line := pipe.readline()):
            sys.exit("the service says nothing")
        return line.decode().strip()

    def change(self, run: str, state: str) -> float:
        """Have a run changed; returns when the store had it, in seconds since the epoch."""
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        self._process.stdin.write(f"{run} {state}\n".encode())
        words = self.line().split()
        if words[:2] != [run, state]:
            sys.exit(f"the service reports {words} instead of {run} {state}")
        return float(words[2])

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


# The kernel's process


class CountingTransport(httpx.AsyncBaseTransport):
    """Real sockets, and a note of each request.

    Attributes
    ----------
    sent
        When each left, by the steady clock, with its path and the page it asks for, if any.
    refused
        How many were answered with anything but 200.
    """

    def __init__(self) -> None:
        self._sockets = httpx.AsyncHTTPTransport()
        self.sent: list[tuple[float, str, str | None]] = []
        self.refused = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send."""
        self.sent.append((time.monotonic(), request.url.path, request.url.params.get("page")))
        response = await self._sockets.handle_async_request(request)
        self.refused += response.status_code != 200
        return response

    async def aclose(self) -> None:
        """Hang up."""
        await self._sockets.aclose()


def no_local_service() -> ServiceAddress:
    """Refuse: the service here is named by its address."""
    raise ConfigError("there is no local service to attach to")


def new_session(home: Path, transport: CountingTransport) -> Session:
    """Return a session as a kernel has one, with the keys of the service here."""
    environment = {
        "DATAFLOW_MAGIC_HOME": str(home),
        "DATAFLOW_LOCAL_ACCESS_KEY": LOCAL_ACCESS_KEY,
        "DATAFLOW_LOCAL_SECRET_KEY": LOCAL_SECRET_KEY,
    }
    return Session(environment, home / "configure", no_local_service, transport=transport)


async def lags(seconds: float) -> list[float]:
    """Return by how many seconds the loop was late, each time a nap was over."""
    found, end = [], time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        await asyncio.sleep(NAP_SECONDS)
        found.append(time.monotonic() - begin - NAP_SECONDS)
    return found


def thread_lags(seconds: float) -> list[float]:
    """Return the same of this thread: what a cell's own code meets."""
    found, end = [], time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        time.sleep(NAP_SECONDS)
        found.append(time.monotonic() - begin - NAP_SECONDS)
    return found


def part(values: Sequence[float], portion: float) -> float:
    """Return the value below which that portion of the values is."""
    return sorted(values)[min(len(values) - 1, int(len(values) * portion))]


def milliseconds(values: Sequence[float]) -> list[float]:
    """Return median, 99th percentile and maximum in milliseconds."""
    return [1000 * part(values, 0.5), 1000 * part(values, 0.99), 1000 * max(values)]


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(psutil.Process().memory_info().rss)


def take_over(session: Session, address: str, runs: int) -> float:
    """Have the runs of the ledger taken over; returns the seconds until the service has reported each."""
    begin = time.monotonic()
    session.jobs(session.target(address))
    while True:
        views = [run.view for run in list(session._tracker.known.values())]  # noqa: SLF001 - no public way to know
        # The ledger's snapshots have no creation date, those of the service do.
        known = sum(view.execution is not None and view.execution.created_date is not None for view in views)
        seconds = time.monotonic() - begin
        if known == runs:
            return seconds
        if seconds > PATIENCE_SECONDS:
            sys.exit(f"of {runs} runs, {len(views)} were taken over and {known} were seen")
        time.sleep(0.1)


def watch(home: Path, address: str, runs: int, jobs: int) -> dict[str, Any]:
    """Take over the runs and measure what watching them costs."""
    transport = CountingTransport()
    session = new_session(home, transport)
    on_loop = session._loop.submit  # noqa: SLF001 - the loop is what is measured
    idle = on_loop(lags(IDLE_SECONDS)).result()
    before = resident()
    taken = take_over(session, address, runs)
    time.sleep(SETTLE_SECONDS)
    grown = resident() - before

    first, cpu, begin = len(transport.sent), time.process_time(), time.monotonic()
    time.sleep(CPU_SECONDS)
    cpu, seconds = time.process_time() - cpu, time.monotonic() - begin
    sent = transport.sent[first:]
    polls = sum(page == "0" for _, _, page in sent)
    if not polls:
        sys.exit("nothing was asked for")

    lagging = on_loop(lags(LAG_SECONDS))
    cell = thread_lags(LAG_SECONDS)
    blind = sum(run.view.blind_since is not None for run in session._tracker.known.values())  # noqa: SLF001
    if transport.refused or blind:
        sys.exit(f"{transport.refused} requests were refused, {blind} runs are blind")
    lag = lagging.result()
    session.close()
    ticks = polls / jobs
    return {
        "requests": len(sent) / ticks,
        "interval": seconds / ticks,
        "taken": taken,
        "cpu": cpu / ticks,
        "busy": cpu / seconds,
        "grown": grown,
        "idle": milliseconds(idle),
        "lag": milliseconds(lag),
        "cell": milliseconds(cell),
    }


def trace(home: Path, address: str, runs: int) -> dict[str, Any]:
    """Take over the runs and count the bytes of Python objects that stay; by itself, since counting slows all down."""
    session = new_session(home, CountingTransport())

    async def held() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    on_loop = session._loop.submit  # noqa: SLF001 - between two steps of the loop no page is in hand
    tracemalloc.start()
    before = on_loop(held()).result()
    take_over(session, address, runs)
    time.sleep(SETTLE_SECONDS / 2)
    after = []
    for _ in range(6):
        after.append(on_loop(held()).result())
        time.sleep(0.3)
    tracemalloc.stop()
    session.close()
    return {"held": min(after) - before}


async def naive(address: str, runs: int, jobs: int) -> dict[str, Any]:
    """Ask for each run by itself, one tick of it; one after another, and some at once."""
    found: dict[str, Any] = {}
    async with Client(
        LOCAL_ACCESS_KEY, SecretStr(LOCAL_SECRET_KEY), address, transport=CountingTransport()
    ) as client:
        for name, many in ("one", 1), ("many", AT_ONCE):
            numbers = iter(range(runs))

            async def ask(numbers: Iterator[int] = numbers) -> None:
                for number in numbers:
                    await client.get_execution(job_id(number % jobs), run_id(number))

            await client.get_execution(job_id(0), run_id(0))  # opens the connection
            cpu, begin = time.process_time(), time.monotonic()
            await asyncio.gather(*(ask() for _ in range(many)))
            found[name] = time.monotonic() - begin, time.process_time() - cpu
    return found


# Changes


class NotingCard:
    """A card that only notes when it first showed a state."""

    def __init__(self) -> None:
        self.shown: dict[str, float] = {}

    def update(self, state: CardState, *, whole: bool = True) -> None:  # noqa: ARG002
        """Note."""
        self.shown.setdefault(state.state, time.time())

    show = finish = update

    def offer(self) -> None:
        """Do nothing."""


def changes(count: int, folder: Path) -> tuple[list[float], list[float], float]:
    """Return, of each change, the seconds to the view and to the card; and the mean seconds between polls meanwhile."""
    transport = CountingTransport()
    to_view: list[float] = []
    to_card: list[float] = []
    gaps: list[float] = []
    with ServiceProcess.opened(folder / "service", 0, 1) as service:
        session = new_session(folder / "home", transport)
        try:
            target = session.target(service.address)
            request = RunRequest(
                JobRef(job_id(0), "id"), JobCondition.model_validate(CONDITION), parameters(0), None, None
            )
            for number in range((count + 1) // 2):
                run = session.start(request, target)
                first = len(transport.sent)
                one(run, service, number, to_view, to_card)
                polled = [at for at, path, _ in transport.sent[first:] if path.endswith(f"/{run.run_id}")]
                gaps += [after - before for before, after in itertools.pairwise(polled)]
        finally:
            session.close()
    if transport.refused:
        sys.exit(f"{transport.refused} requests were refused")
    return to_view, to_card, statistics.mean(gaps)


def one(
    run: LiveRun, service: ServiceProcess, number: int, to_view: list[float], to_card: list[float]
) -> None:
    """Show a run, start and end it, and measure how long each change took to be known and to be shown."""
    seen: dict[str, float] = {}
    card = NotingCard()
    # Set before it is shown, so that this card is the one that is shown.
    presenter = Presenter(RUN_CARD, Actions(), FrontEnd.WIDGETS, make_card=cast(Any, lambda *_, **__: card))
    run._painter = Painter(run, presenter, run._tracker.submit)  # noqa: SLF001
    run.show()
    waiter = threading.Thread(
        target=run.wait,
        args=(PATIENCE_SECONDS, lambda view: seen.setdefault(view.status, time.time())),
        daemon=True,
    )
    waiter.start()
    for step, state in enumerate(("RUNNING", "COMPLETED")):
        # Spread evenly over a second, so that changes fall anywhere between two polls and two paintings.
        time.sleep(0.5 + (2 * number + step) * 0.618034 % 1)
        changed = service.change(str(run.run_id), state)
        while not (state in seen and state in card.shown):
            if time.time() - changed > PATIENCE_SECONDS:
                sys.exit(f"run {run.run_id} is not seen {state}")
            time.sleep(0.01)
        to_view.append(seen[state] - changed)
        to_card.append(card.shown[state] - changed)
    waiter.join()


# All together


def fill(home: Path, address: str, runs: int, jobs: int) -> None:
    """Write the ledger of a kernel that is gone and has left the runs, past the ledger's own way of one at a time."""
    ledger = Ledger(ledger_path({"DATAFLOW_MAGIC_HOME": str(home)}))
    ledger.records()  # makes the file
    with sqlite3.connect(ledger.path) as db:
        db.executemany(
            INSERT, [record_of(a_run(number, address, jobs), ledger.kernel) for number in range(runs)]
        )
    db.close()
    ledger.close()


def a_run(number: int, address: str, jobs: int) -> RunView:
    """Return a live run as its kernel last knew it."""
    submitted = datetime.now(KST) - timedelta(minutes=1)
    return RunView(
        RunRequest(
            JobRef(job_id(number % jobs), "id"), JobCondition.model_validate(CONDITION), parameters(number)
        ),
        target=address,
        endpoint=address,
        key=new_key(),
        job_name=f"job_{number % jobs}",
        submitted_at=submitted,
        notebook="backfill.ipynb",
        running_since=submitted + timedelta(seconds=5),
        execution=JobExecution(
            job_execution_id=run_id(number), job_id=job_id(number % jobs), status="RUNNING"
        ),
    )


def in_child(*words: str | int | Path) -> dict[str, Any]:
    """Return what this file prints as JSON in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, *map(str, words)],
        stdout=subprocess.PIPE,
        check=False,
        timeout=2 * PATIENCE_SECONDS,
    )
    if done.returncode:
        sys.exit(f"{words[0]} failed")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(runs: int, folder: Path) -> dict[str, Any]:
    """Return all figures of one number of runs."""
    jobs = max(1, min(MOST_JOBS, runs // 10))
    found: dict[str, Any] = {"runs": runs, "jobs": jobs}
    with ServiceProcess.opened(folder / f"service-{runs}", runs, jobs) as service:
        for what in "--watch", "--trace":
            home = folder / f"home-{runs}{what}"
            fill(home, service.address, runs, jobs)
            found |= in_child(what, home, service.address, runs, jobs)
        if runs <= MOST_NAIVE:
            found |= in_child("--naive", service.address, runs, jobs)
    return found


def print_watching(rows: list[dict[str, Any]]) -> None:
    """Print what watching costs."""
    print("Watching: per tick, that is one poll of each job\n")
    columns = (
        (6, "", "runs"), (5, "", "jobs"), (8, "", "every"), (9, "requests", "per tick"), (7, "naive", "peer"),
        (10, "CPU", "per tick"), (8, "of it", "per run"), (8, "kernel", "busy"), (9, "memory", "per run"),
        (9, "objects", "per run"), (9, "taken", "over in"),
    )  # fmt: skip
    for line in 1, 2:
        print("".join(f"{column[line]:>{column[0]}}" for column in columns))
    base = rows[0]
    for row in rows:
        runs, more = row["runs"], row["runs"] - base["runs"]
        memory, objects = (
            f"{(row[name] - base[name]) / runs / 1000:.1f} KB" if more else "-" for name in ("grown", "held")
        )
        print(
            f"{runs:>6}{row['jobs']:>5}{row['interval']:>6.2f} s{row['requests']:>9.1f}{runs / row['requests']:>6.0f}x"
            f"{row['cpu'] * 1000:>7.1f} ms{row['cpu'] / runs * 1e6:>5.0f} us{row['busy']:>8.1%}"
            f"{memory:>9}{objects:>9}{row['taken']:>7.1f} s"
        )
    print(f"\nMemory is what {base['runs']} runs do not take: resident, and of Python objects alone.")

    print("\nLag: median, 99th percentile, maximum, in ms\n")
    print(f"{'runs':>6}{'loop, watching nothing':>28}{'loop, watching':>28}{'thread of the cells':>28}")
    for row in rows:
        cells = "".join(
            f"{'':>4}{row[name][0]:>8.1f}{row[name][1]:>8.1f}{row[name][2]:>8.1f}"
            for name in ("idle", "lag", "cell")
        )
        print(f"{row['runs']:>6}{cells}")


def print_naive(rows: list[dict[str, Any]]) -> None:
    """Print what the naive peer needs for one tick, and how much more that is."""
    print("\nNaive peer: each run asked for by itself, one tick; CPU and its ratio to the watch's tick\n")
    print(f"{'runs':>6}{'one after another':>34}{f'{AT_ONCE} at once':>34}")
    for row in rows:
        if "one" in row:
            cells = "".join(
                f"{seconds:>12.2f} s{cpu * 1000:>9.0f} ms{cpu / row['cpu']:>8.1f}x"
                for seconds, cpu in (row["one"], row["many"])
            )
            print(f"{row['runs']:>6}{cells}")


def print_changes(to_view: list[float], to_card: list[float], interval: float) -> None:
    """Print how long changes took to be known and shown."""
    print(f"\nChanges: {len(to_view)}, polls every {interval:.3f} s on the mean\n")
    print(f"{'from the store to':<22}{'median':>10}{'of a poll':>11}{'p95':>10}{'of a poll':>11}")
    limit = [interval / 2], [interval * 0.95]
    for name, middle, late in (
        ("polling's limit", *limit),
        ("Run.view", to_view, to_view),
        ("the card", to_card, to_card),
    ):
        median, p95 = statistics.median(middle), part(late, 0.95)
        print(
            f"{name:<22}{median:>8.3f} s{median / interval:>10.2f}x{p95:>8.3f} s{p95 / interval:>10.2f}x",
        )


def main(sizes: list[int], count: int) -> None:
    """Measure and print."""
    begin = time.monotonic()
    print(f"Python {sys.version.split()[0]}, httpx {httpx.__version__}, {os.cpu_count()} CPUs\n")
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(runs, Path(folder)) for runs in sizes]
        if rows:
            print_watching(rows)
            print_naive(rows)
        if count:
            (Path(folder) / "changes").mkdir()
            print_changes(*changes(count, Path(folder) / "changes"))
    print(f"\n{time.monotonic() - begin:.0f} s in all")


def from_command_line() -> None:
    """Be the process the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--runs",
        type=lambda text: sorted({int(each) for each in text.split(",") if each}),
        default=list(SIZES),
        metavar="N,N",
        help="how many runs to watch, of one size after another",
    )
    parser.add_argument("--changes", type=int, default=CHANGES, metavar="N", help="how many changes to time")
    for name, places in ("--serve", 3), ("--watch", 4), ("--trace", 4), ("--naive", 3):
        parser.add_argument(name, nargs=places, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        folder, *numbers = given.serve
        asyncio.run(serve(Path(folder), *map(int, numbers)))
    elif given.watch:
        home, address, runs, jobs = given.watch
        print(json.dumps(watch(Path(home), address, int(runs), int(jobs))))
    elif given.trace:
        home, address, runs, _ = given.trace
        print(json.dumps(trace(Path(home), address, int(runs))))
    elif given.naive:
        address, runs, jobs = given.naive
        print(json.dumps(asyncio.run(naive(address, int(runs), int(jobs)))))
    elif min(given.runs, default=2) < 2:
        parser.error("two runs are the fewest that are listed together")
    else:
        main(given.runs, given.changes)


if __name__ == "__main__":
    from_command_line()
