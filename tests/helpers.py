"""A real local service on the session's own loop, and a real IPython shell that records its output."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import json
import os
import select
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import httpx
import stamina
import uvicorn
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send
from traitlets import Type
from traitlets.config import Config

from dataflow_magic.card.output import ENDED
from dataflow_magic.cell.run import make_request
from dataflow_magic.config.settings import Target
from dataflow_magic.errors import ConfigError
from dataflow_magic.files import try_lock
from dataflow_magic.local.engine import Engine
from dataflow_magic.local.http.app import Backend, Keys, create_app
from dataflow_magic.local.options import Contract
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.store import Store
from dataflow_magic.magics.extension import DataflowMagic
from dataflow_magic.models.view import KST
from dataflow_magic.models.wire import JobExecution
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.service import ServiceAddress
from dataflow_magic.session.session import Session
from dataflow_magic.session.watch import Pace
from dataflow_magic.signing import SIGNATURE_HEADER

ENDPOINT = "http://127.0.0.1:7001"
"""The scripted service's address; no request uses a socket."""
ACCESS_KEY = "local-0123456789abcdef"
SECRET_KEY = "s3cr3t-0f-th3-scr1pt3d-s3rv1c3"
CONDITION = {
    "numWorker": 2,
    "timeout": 360,
    "nrn": "nrn:PUB:IAM::1:Role/1",
    "scriptPath": "bucket/scripts/",
    "logPath": "bucket/logs/",
}
PATIENCE = 60.0
"""Seconds after which a wait fails its test."""

FAILED_LOG = """\
reading
Traceback (most recent call last):
  File "broken.py", line 3, in <module>
    raise ValueError("no such table: test.sales")
ValueError: no such table: test.sales
"""


UNQUOTED_LOG = """\
Traceback (most recent call last):
  File "/run/script/divides.py", line 3, in <module>
pyspark.errors.exceptions.captured.ArithmeticException: [DIVIDE_BY_ZERO] Division by zero. SQLSTATE: 22012
== DataFrame ==
"__truediv__" was called from
/run/script/divides.py:2
"""


def eventually(claim: Callable[[], object], what: str) -> None:
    """Return once the claim holds, or fail with ``what`` after a minute."""
    deadline = time.monotonic() + PATIENCE
    while not claim():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.005)


@dataclass(frozen=True)
class Sent:
    """One request as the client sent it."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any

    @property
    def is_start(self) -> bool:
        return self.method == "POST" and self.path.endswith("/executions")


class ScriptedService(httpx.AsyncBaseTransport):
    """The real app, store and engine. The name of a run's job decides what the run does; tests switch faults on.

    ``daily_sales`` completes, ``broken`` fails with a log, ``divides`` with one that does not quote its line, ``mute`` fails without one, ``slow`` runs until
    `finish` is set or it is canceled. Two jobs have the name ``twins``. `outcome_of` may decide by a run's parameters instead.
    """

    def __init__(self, folder: Path, contract: Contract = Contract.EXECUTE_JOB) -> None:
        (folder / "objects").mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.contract = contract
        (folder / "state.sqlite3").write_bytes(_seeded())
        self.passed_seconds = 0.0
        self.store = Store(folder / "state.sqlite3", self.now)
        self.finish = threading.Event()
        self.slow_seconds = PATIENCE
        self.sent: list[Sent] = []
        self.signatures: set[str] = set()
        self.endpoint = ENDPOINT
        self.clock_ahead_seconds = 0.0
        self.is_down = False
        self.cannot_start = False
        self.keys = Keys(ACCESS_KEY, SECRET_KEY)
        self.lost_answers = 0
        self.lost_requests = 0
        self.answers: list[httpx.Response] = []
        self.list_answer: httpx.Response | None = None
        self.list_lags_seconds = 0.0
        self.before_answer: Callable[[Sent], None] = lambda _: None
        self.outcome_of: Callable[[Mapping[str, str]], Outcome | None] = lambda _: None
        self._app: ASGIApp | None = None
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def seconds(self) -> float:
        """The right time, which a test can advance by ``passed_seconds``."""
        return time.time() + self.passed_seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds() + self.clock_ahead_seconds, KST)

    def job_id(self, name: str) -> str:
        return self.store.jobs(name=name, page=0, limit=1)[0][0].job_id

    def write_log(self, run_id: str | None, text: bytes) -> None:
        log = self.folder / "objects" / "bucket" / "logs" / str(run_id) / "console.log"
        log.parent.mkdir(parents=True)
        log.write_bytes(text)

    def write_events(self, run_id: str | None, *lines: bytes) -> None:
        """Append lines to a run's event log, as Spark does."""
        log = self.folder / "objects" / "bucket" / "logs" / str(run_id) / "events" / "eventlog_v2_local-1"
        log.mkdir(parents=True, exist_ok=True)
        with (log / "events_1_local-1").open("ab") as events:
            events.writelines(lines)

    @property
    def starts(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.is_start]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        sent = Sent(
            request.method,
            request.url.path,
            dict(request.url.params),
            json.loads(content) if content else None,
        )
        self.sent.append(sent)
        if self.is_down or not str(request.url).startswith(self.endpoint):
            raise httpx.ConnectError("All connection attempts failed", request=request)
        if sent.is_start and self.answers:
            return self.answers.pop(0)
        if self.list_answer and sent.method == "GET" and sent.path.endswith("/executions"):
            return self.list_answer
        if sent.is_start and self.lost_requests:
            self.lost_requests -= 1
            raise httpx.ReadTimeout("", request=request)
        response = await httpx.ASGITransport(self, raise_app_exceptions=False).handle_async_request(request)
        if sent.is_start and self.lost_answers:
            self.lost_answers -= 1
            raise httpx.ReadTimeout("", request=request)
        if self.list_lags_seconds and sent.method == "GET" and sent.path.endswith("/executions"):
            response = self._lagging(await response.aread())
        response.headers["date"] = formatdate(self.seconds() + self.clock_ahead_seconds, usegmt=True)
        await asyncio.to_thread(self.before_answer, sent)
        return response

    def _lagging(self, content: bytes) -> httpx.Response:
        """Return a list without the runs younger than the lag."""
        answer = json.loads(content)
        youngest = (self.now() - timedelta(seconds=self.list_lags_seconds)).isoformat(timespec="seconds")
        answer["list"] = [each for each in answer["list"] if each["createdDate"] <= youngest]
        answer["count"] = len(answer["list"])
        return httpx.Response(200, json=answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application; each event loop gets its own."""
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.signatures.add(headers.get(SIGNATURE_HEADER, ""))
        if self._app is None or self._loop is not asyncio.get_running_loop():
            self._app = await self._start()
        await self._app(scope, receive, send)

    async def restart(self) -> None:
        """Stop the service; the next request starts another."""
        assert self._engine is not None
        await self._engine.__aexit__(None, None, None)
        self._app = None

    async def _start(self) -> ASGIApp:
        self._loop = asyncio.get_running_loop()
        self._engine = Engine(self.store, self.folder, self._run_script, slots=4)
        await self._engine.__aenter__()  # stopping the loop cancels the engine's tasks
        return create_app(
            Backend(self.store, self._engine, self.folder, self.now, self.contract),
            self.keys,
            clock=lambda: self.seconds() + self.clock_ahead_seconds,
        )

    async def _run_script(
        self,
        spec: RunSpec,
        *,
        cancel: asyncio.Event,
        waiting: Callable[[str], None],  # noqa: ARG002 - the engine's protocol
        started: Callable[[], Awaitable[None]],
    ) -> Outcome:
        await started()
        if (decided := self.outcome_of(spec.parameters)) is not None:
            await asyncio.sleep(0.02)
            return decided
        match spec.job_name:
            case "broken":
                self.write_log(spec.run_id, FAILED_LOG.encode())
                return Outcome("FAILED", "ValueError: no such table: test.sales")
            case "divides":
                self.write_log(spec.run_id, UNQUOTED_LOG.encode())
                return Outcome("FAILED", "division by zero [DIVIDE_BY_ZERO]")
            case "mute":
                return Outcome("FAILED", "no Java was found")
            case "slow" | "slow_count":
                deadline = time.monotonic() + self.slow_seconds
                while not self.finish.is_set() and time.monotonic() < deadline:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(cancel.wait(), 0.005)
                        return Outcome("CANCELED", "canceled on request")
        return Outcome("COMPLETED")


def is_ready(reader: int, seconds: float = 0.0) -> bool:
    """Whether there is something to read, or nothing will come any more, within so many seconds."""
    # Not `select.select`, which takes no descriptor above 1,023.
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    return bool(poll.poll(1_000 * seconds))


@contextlib.contextmanager
def at_a_port(service: ASGIApp) -> Iterator[str]:
    """Serve at a real port and give its address; clients close their connections before this exits."""
    config = uvicorn.Config(service, port=0, lifespan="off", log_level="critical", date_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    lock = None
    try:
        eventually(lambda: server.started, "the server accepts requests")
        endpoint = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        if folder := getattr(service, "folder", None):  # as a local service does beside its objects
            (folder / "service.json").write_text(json.dumps({"endpoint": endpoint}))
            lock = try_lock(folder / "service.lock")
        yield endpoint
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        if lock is not None:
            os.close(lock)


@functools.cache
def _seeded() -> bytes:
    """Return the database with the jobs; made once, since each write waits for the disk."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.sqlite3"
        store = Store(path, lambda: datetime.now(KST))
        for name in ("daily_sales", "broken", "mute", "slow", "twins", "twins", "twelvechars1"):
            store.add_job(name, "SCRIPT", max_concurrent_runs=None, condition=CONDITION, extra={})
        store.close()
        return path.read_bytes()


class Scene:
    """A session whose only service is the scripted one. Retries do not wait."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.configure_file = folder / "configure"
        self.environment = {"DATAFLOW_MAGIC_HOME": str(folder / "home"), **(environment or {})}
        self.service = ScriptedService(folder / "service")
        self.looks: list[float] = []
        self.may_look = threading.Event()
        self.may_look.set()
        self.failed_attaches = 0
        self._holds: list[int] = []
        self.session = self.new_session()

    def new_session(self) -> Session:
        return Session(
            self.environment,
            self.configure_file,
            self._attach,
            transport=self.service,
            pace=Pace(0.01, 0.01),
            now=self.service.seconds,
            sleep=self._look,
        )

    def __enter__(self) -> Self:
        stamina.set_testing(True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()
        stamina.set_testing(False)
        for reader in self._holds:
            os.close(reader)

    @property
    def holds(self) -> list[bool]:
        """For each time a session attached to the local service, whether it still holds it."""
        return [not is_ready(reader) for reader in self._holds]

    def _attach(self) -> ServiceAddress:
        service = self.service
        if service.cannot_start:
            self.failed_attaches += 1
            raise ConfigError("the local service ended at its start")
        reader, hold = os.pipe()
        self._holds.append(reader)
        return ServiceAddress(
            service.endpoint,
            service.keys.access_key,
            SecretStr(service.keys.secret_key),
            service.folder / "objects",
            hold,
        )

    async def _look(self, seconds: float) -> None:
        self.looks.append(seconds)
        deadline = time.monotonic() + PATIENCE
        while not self.may_look.is_set() and time.monotonic() < deadline:  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.002)
        self.service.passed_seconds += seconds
        await asyncio.sleep(0)

    def local(self) -> Target:
        return self.session.target("local")

    def start(self, job: str, parameters: Mapping[str, Any] | None = None, **options: Any) -> LiveRun:
        """Start a run as `dataflow_magic.run` does."""
        return self.session.start(make_request(job, parameters, **options), self.local())


@dataclass(frozen=True)
class Shown:
    """One display message."""

    data: Mapping[str, Any]
    display_id: str | None
    is_update: bool
    thread: str

    @property
    def text(self) -> str:
        return str(self.data["text/plain"])


@dataclass(frozen=True)
class Ran:
    """A cell's value, error and output."""

    value: Any
    error: BaseException | None
    out: str
    err: str
    shown: list[Shown] = field(default_factory=list)

    @property
    def displays(self) -> list[Shown]:
        """What the cell displayed itself: cards of earlier cells may be repainted meanwhile."""
        return [shown for shown in self.shown if not shown.is_update]


class _Recorder(DisplayPublisher):
    shown: list[Shown]
    faults: list[BaseException]
    """Errors that the next updates raise."""
    interrupts: list[BaseException]
    """Errors raised after an output was shown."""

    def publish(self, data: Any, *_: Any, transient: Any = None, update: bool = False, **__: Any) -> None:
        if update and self.faults:
            raise self.faults.pop()
        display_id = (transient or {}).get("display_id")
        if "text/plain" in data:  # else the widgets of the card above
            self.shown.append(Shown(data, display_id, update, threading.current_thread().name))
        if self.interrupts:
            raise self.interrupts.pop()


class _Shell(InteractiveShell):
    display_pub_class = Type(_Recorder)


class Notebook:
    """Runs cells one after another."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell

    @property
    def shown(self) -> list[Shown]:
        return list(self.shell.display_pub.shown)

    def run(self, cell: str, *, store_history: bool = True) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        before = len(self.shown)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            result = self.shell.run_cell(cell, store_history=store_history)
        error = result.error_before_exec or result.error_in_exec
        return Ran(result.result, error, out.getvalue(), err.getvalue(), self.shown[before:])


@contextlib.contextmanager
def open_notebook(folder: Path, *, stdin: bool | None = None) -> Iterator[Notebook]:
    """Give a shell without our magics: a terminal's, a kernel's (``stdin`` True), or that of nbclient (False)."""
    config = Config()
    config.HistoryManager.enabled = False
    shell: Any = _Shell.instance(config=config, ipython_dir=str(folder / "ipython"), colors="nocolor")
    shell.display_pub.shown, shell.display_pub.faults, shell.display_pub.interrupts = [], [], []
    if stdin is not None:
        shell.kernel = SimpleNamespace(_allow_stdin=stdin)
    try:
        yield Notebook(shell)
    finally:
        while ENDED:  # the end of a later card would change outputs of this shell
            ENDED.popleft().close()
        shell.restore_sys_module_state()
        _Shell.clear_instance()


@contextlib.contextmanager
def notebook_with_magics(scene: Scene, *, stdin: bool | None = None) -> Iterator[Notebook]:
    """Give a shell with the magics, whose runs go to the scene's session."""
    with open_notebook(scene.folder, stdin=stdin) as notebook:
        DataflowMagic(notebook.shell, lambda: scene.session).register()
        yield notebook


def execution(status: str, run_id: str = "run000000001", **fields: Any) -> JobExecution:
    """Return a run as the service lists it."""
    return JobExecution.model_validate(
        {"jobExecutionId": run_id, "jobId": "job000000001", "status": status, **fields}
    )
