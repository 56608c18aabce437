"""What a run costs at the local service beside ``spark-submit``, and a request beside a bare route of the same server.

Turn-around: from the service's taking the POST of a trivial script to its writing down COMPLETED: warm, where a JVM was
ready; cold, where none was kept (``DATAFLOW_LOCAL_WARM=off``) but Java's classes lie in the archive; and the very same script by
``spark-submit``, whole process, with Spark's defaults. The three take turns, so that a change of the machine's speed meets all
alike. The script counts a range, reads a CSV file with its types inferred, groups it, writes parquet and reads that back.

Queue: that many runs started at once, from the first POST to the last COMPLETED, beside the sum of as many warm turn-arounds.

Requests: the signed POST of a start and the list of a job's newest runs, with so many runs stored, beside a Starlette route that
answers a constant, in the same uvicorn; eight connections from another process, which reads answers and nothing more. The runs
the POSTs make wait, behind scripted ones that hold every place; their number is bounded by the service, so its bound is lifted.

Start-up: in a process that has imported nothing, from the first import of the service to its first accepted request, in a
fresh data folder. Memory: resident, of an idle service and of the JVM it keeps warm.

Prints tables; judges nothing. Ends with 1 when a run does not complete or a request fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
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
import os, shutil
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
here = os.environ["TURN_AROUND"]
parts = os.path.join(here, f"parts-{os.getpid()}")
assert spark.range(1000).count() == 1000
frame = spark.read.csv(os.path.join(here, "rows.csv"), header=True, inferSchema=True)
frame.groupBy("name").sum("amount").write.parquet(parts)
assert spark.read.parquet(parts).count() == 7
spark.stop()
shutil.rmtree(parts)
"""
KEYS = Keys("AK_BENCH", "SK_BENCH")
CONNECTIONS = 8
READY_SECONDS = 600.0
RUN_SECONDS = 600.0


@dataclass(frozen=True)
class Place:
    """A folder with the script and its data, and the data folders of services below it."""

    folder: Path

    def make(self) -> None:
        rows = "\n".join(f"{number},n{number % 7},{number / 3}" for number in range(1000))
        (self.folder / "rows.csv").write_text(f"id,name,amount\n{rows}\n")
        (self.folder / "trivial.py").write_text(SCRIPT)

    def environment(self, warm: str) -> dict[str, str]:
        return {
            "DATAFLOW_MAGIC_HOME": str(self.folder / "home"),
            "DATAFLOW_LOCAL_WARM": warm,
            "TURN_AROUND": str(self.folder),
        }


class Served:
    """A service of its own data folder, as a kernel would attach to it."""

    def __init__(self, place: Place, name: str, warm: str) -> None:
        os.environ |= place.environment(warm)
        self.folder = DataFolder(place.folder / name)
        self.address, self._hold = attach(self.folder)
        bucket = self.folder.objects / "bench"
        bucket.mkdir()
        shutil.copy(place.folder / "trivial.py", bucket)
        self.client = Client(self.address.access_key, self.address.secret_key, self.address.endpoint)
        self.condition = JobCondition(nrn="nrn:1", script_path="bench/trivial.py", log_path="bench/logs/")
        self.job_id = ""
        self._warmed = 0

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

    async def turn_around(self) -> float:
        run_id = await self.start()
        await self.completed(run_id)
        run = Store(self.folder.database, lambda: datetime.now(KST)).run(run_id)
        if run is None or run.ended is None:
            raise SystemExit(f"run {run_id} is over and its end is not stored")
        return (run.ended - run.created).total_seconds()

    async def until_warm(self) -> int:
        """Return the process id of the next JVM that is made warm."""
        deadline = time.monotonic() + READY_SECONDS
        while self.folder.log.read_text().count('"a JVM is warm"') <= self._warmed:
            if time.monotonic() > deadline:
                raise SystemExit("no JVM was made warm")
            await asyncio.sleep(0.1)
        self._warmed += 1
        (folder,) = self.folder.warm.glob("warm-*")
        return int((folder / "group").read_text())

    async def end(self) -> None:
        await self.client.aclose()
        os.close(self._hold)
        process = psutil.Process(self.address.pid)
        process.terminate()
        process.wait(30)


def spark_submit(place: Place) -> float:
    """Return the seconds ``spark-submit`` takes for the script."""
    home, java = spark_home(), find_java(os.environ)
    environment = os.environ | {
        "SPARK_HOME": str(home),
        "JAVA_HOME": str(java.home),
        "PYSPARK_PYTHON": sys.executable,
        "TURN_AROUND": str(place.folder),
    }
    begin = time.perf_counter()
    done = subprocess.run(
        [home / "bin" / "spark-submit", "--master", "local[2]", place.folder / "trivial.py"],
        env=environment,
        capture_output=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"spark-submit exited with {done.returncode}: {done.stderr[-500:].decode()}")
    return time.perf_counter() - begin


async def turn_arounds(place: Place, rounds: int, queued: int) -> None:
    warm, cold = Served(place, "warm", "on"), Served(place, "cold", "off")
    seconds: dict[str, list[float]] = {"warm": [], "cold": [], "spark-submit": []}
    for number in range(rounds + 1):
        await warm.until_warm()
        # The first round fills the file cache and is not counted.
        for name, sample in (
            ("warm", await warm.turn_around()),
            ("cold", await cold.turn_around()),
            ("spark-submit", await asyncio.to_thread(spark_submit, place)),
        ):
            if number:
                seconds[name].append(sample)
    base = statistics.median(seconds["spark-submit"])
    print(f"turn-around, medians of {rounds}\n")
    print(f"{'':16}{'s':>8}{'range':>16}{'of spark-submit':>18}")
    for name, samples in seconds.items():
        spread = f"{min(samples):.2f}-{max(samples):.2f}"
        median = statistics.median(samples)
        print(f"{name:16}{median:8.2f}{spread:>16}{median / base:17.0%}")
    jvm = await warm.until_warm()
    print("\nmemory idle, resident\n")
    print(f"{'service':16}{psutil.Process(warm.address.pid).memory_info().rss / 1e6:8.0f} MB")
    print(f"{'warm JVM':16}{psutil.Process(jvm).memory_info().rss / 1e6:8.0f} MB\n")
    begin = time.perf_counter()
    runs = [await warm.start() for _ in range(queued)]
    for run_id in runs:
        await warm.completed(run_id)
    took = time.perf_counter() - begin
    in_turn = queued * statistics.median(seconds["warm"])
    print(
        f"{queued} runs at once on {os.cpu_count()} cores: {took:.0f} s, {took / queued:.2f} s a run; ",
        end="",
    )
    print(f"{took / in_turn:.2f} times as many warm turn-arounds in a row ({in_turn:.0f} s)\n")
    await warm.end()
    await cold.end()


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
        while not server.started:  # noqa: ASYNC110 - uvicorn tells by a flag
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
    parser.add_argument("--only", choices=["runs", "requests", "start"])
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.stored))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.make()
        if options.only in (None, "start"):
            start_up(place.folder, options.rounds)
        if options.only in (None, "requests"):
            requests(place.folder / "requests", options.stored, options.seconds)
        if options.only in (None, "runs"):
            asyncio.run(turn_arounds(place, options.rounds, options.queued))
    return 0


if __name__ == "__main__":
    sys.exit(main())
