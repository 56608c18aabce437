"""One Spark application from start to end: a JVM, the script beside it, one process group. Knows no HTTP, no database.

PySpark's gateway JVM is started directly and the script is a Python process of its own, as ``spark-submit`` would
arrange it, but in half the time and with nothing between us and the two processes that have to be stopped.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import struct
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dataflow_magic.local.group import ProcessGroup
from dataflow_magic.local.java import Java
from dataflow_magic.local.script import ScriptProblem, StagedScript, find_script, object_path, stage_script
from dataflow_magic.local.sparkconf import (
    RunSpec,
    java_options,
    log_key,
    mountable_buckets,
    run_environment,
    spark_settings,
)

__all__ = ["Outcome", "RunSpec", "run_application"]

_START_SECONDS = 120.0  # 1 s is usual; a cold disk and a busy machine are not
_POLL_SECONDS = 0.05

_JOB = Path(__file__).with_name("job.py")
_LIFELINE = "DATAFLOW_MAGIC_LIFELINE"  # read in job.py, as is
_LAST_WORDS = "DATAFLOW_MAGIC_LAST_WORDS"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Parameters
    ----------
    state
        ``COMPLETED``, ``FAILED`` or ``CANCELED``.
    reason
        One line for a person; empty when completed.
    """

    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything about a run that is known before a process exists."""

    spec: RunSpec
    script: StagedScript
    logs: Path
    jvm_command: list[str]
    environment: dict[str, str]

    @property
    def connection_file(self) -> Path:
        """Where the JVM writes how to reach it."""
        return self.spec.work / "connection"

    @property
    def last_words_file(self) -> Path:
        """Where the script's process writes what ended the script."""
        return self.spec.work / "last_words"

    @property
    def folder(self) -> Path:
        """The current folder of both processes, empty at the start: what a script leaves there goes with the run."""
        return self.spec.work / "cwd"


class _Ended(Exception):
    """The run is over before its script could start."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


async def run_application(
    spec: RunSpec,
    *,
    java: Java,
    cancel: asyncio.Event,
    waiting: Callable[[str], None],
    started: Callable[[], None],
) -> Outcome:
    """Run the script to its end and return how it ended; whatever it did, no process of it is left.

    Needs an event loop of asyncio's own: uvloop cannot place a process in a group.

    Parameters
    ----------
    java
        From `find_java`.
    cancel
        Set it to stop the run: SIGTERM to the process group, SIGKILL after five seconds.
    waiting
        Called with what the run waits for, before its script runs.
    started
        Called once, when the script's process exists.

    Raises
    ------
    asyncio.CancelledError
        The task was cancelled; the process group was killed without grace.
    """
    group = None
    try:
        plan = _plan(replace(spec, objects=spec.objects.absolute(), work=spec.work.absolute()), java)
        group = ProcessGroup()
    except ScriptProblem as problem:
        return _failed(str(problem))
    except OSError as error:
        return _failed(f"the run's files could not be prepared: {_in_one_line(error)}")
    try:
        return await _supervise(plan, group, cancel=cancel, waiting=waiting, started=started)
    except _Ended as ended:
        return ended.outcome
    finally:
        await group.end()


def _plan(spec: RunSpec, java: Java) -> _Plan:
    """Settle everything that can fail without a process, and make the folders."""
    script = find_script(spec.objects, spec.script_path, spec.job_name)
    object_path(spec.objects, spec.log_path)  # first, so that a refusal quotes it as it was given
    logs = object_path(spec.objects, log_key(spec.log_path, spec.run_id, ""))
    bucket = spec.log_path.partition("/")[0]
    if not (spec.objects / bucket).is_dir():
        raise ScriptProblem(
            f"no bucket {bucket!r} for the logs at {spec.log_path}: make it, or correct logPath"
        )
    spark = importlib.util.find_spec("pyspark")
    if spark is None or not spark.submodule_search_locations:
        raise ScriptProblem(
            'Spark did not start: PySpark is not installed; pip install "dataflow-magic[local]"'
        )
    home = Path(spark.submodule_search_locations[0])
    settings = spark_settings(
        spec,
        buckets=mountable_buckets(folder.name for folder in spec.objects.iterdir() if folder.is_dir()),
        logs=logs,
        cores=_cores(),
    )
    spec.work.mkdir(mode=0o700, parents=True, exist_ok=True)  # holds the secret of the connection to the JVM
    for name in ("script", "scratch", "cwd"):
        (spec.work / name).mkdir(exist_ok=True)
    staged = stage_script(script, spec.parameters, spec.work / "script")
    (logs / "events").mkdir(parents=True, exist_ok=True)
    return _Plan(
        spec=spec,
        script=staged,
        logs=logs,
        jvm_command=[
            str(java.executable),
            *java_options(java.version),
            *(f"-D{name}={value}" for name, value in settings.items()),
            "-cp",
            os.pathsep.join(sorted(str(jar) for jar in (home / "jars").glob("*.jar"))),
            "org.apache.spark.api.python.PythonGatewayServer",
        ],
        environment=run_environment(os.environ, work=spec.work) | {"SPARK_HOME": str(home)},
    )


async def _supervise(
    plan: _Plan,
    group: ProcessGroup,
    *,
    cancel: asyncio.Event,
    waiting: Callable[[str], None],
    started: Callable[[], None],
) -> Outcome:
    jvm = await _launch_jvm(plan, group)
    waiting("starting Spark")
    gateway = await _gateway(plan, jvm, cancel)
    script = await _launch_script(plan, group, gateway)
    started()
    stopped = await _until_ended(script, cancel=cancel, timeout_seconds=plan.spec.timeout_seconds)
    if stopped is not None:
        await group.terminate()
        return stopped
    await group.close()
    # Asked to end, the JVM says 0; anything else came first, and the script's error only follows from it.
    if (script.returncode or 0) > 0 and jvm.returncode not in (0, None):
        return _failed(f"Spark's JVM {_end_of(jvm)} during the run (see jvm.log)")
    if script.returncode == 0:
        return Outcome("COMPLETED")
    with suppress(OSError):
        if last_words := plan.last_words_file.read_text("utf-8"):
            return _failed(last_words)
    return _failed(f"the script {_end_of(script)}")


async def _launch_jvm(plan: _Plan, group: ProcessGroup) -> Process:
    environment = plan.environment | {
        "_PYSPARK_DRIVER_CONN_INFO_PATH": str(plan.connection_file),
        "LC_ALL": "C.UTF-8",  # in a C locale Java cannot name a file 매출.csv
        "SPARK_CONNECT_MODE": "0",
        "SPARK_ENV_LOADED": "1",
        "SPARK_SCALA_VERSION": "2.13",
    }
    try:
        return await group.launch(
            plan.jvm_command,
            environment,
            stdin=group.lifeline,
            folder=plan.folder,
            log=plan.logs / "jvm.log",
        )
    except (OSError, ValueError) as error:
        raise _Ended(_failed(f"Spark did not start: {_in_one_line(error)}")) from error


async def _gateway(plan: _Plan, jvm: Process, cancel: asyncio.Event) -> dict[str, str]:
    """Wait until the JVM says how to reach it; return that as the script's environment variables."""
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
    while True:
        if (gateway := _read_connection(plan.connection_file)) is not None:
            return gateway
        if cancel.is_set():
            raise _Ended(_canceled())
        if jvm.returncode is not None:
            raise _Ended(
                _failed(f"Spark did not start: the JVM {_end_of(jvm)}{_last_words(plan)} (see jvm.log)")
            )
        if asyncio.get_running_loop().time() > deadline:
            waited = _duration(_START_SECONDS)
            raise _Ended(_failed(f"Spark did not start: no answer from the JVM in {waited} (see jvm.log)"))
        await asyncio.sleep(_POLL_SECONDS)


async def _launch_script(plan: _Plan, group: ProcessGroup, gateway: dict[str, str]) -> Process:
    command = [sys.executable, "-P", str(_JOB), str(plan.script.path), *plan.script.arguments]
    environment = (
        plan.environment
        | gateway
        | {
            _LIFELINE: str(group.lifeline),
            _LAST_WORDS: str(plan.last_words_file),
        }
    )
    try:
        return await group.launch(
            command,
            environment,
            stdin=DEVNULL,
            folder=plan.folder,
            log=plan.logs / "console.log",
        )
    except (OSError, ValueError) as error:
        raise _Ended(_failed(f"the script did not start: {_in_one_line(error)}")) from error


async def _until_ended(script: Process, *, cancel: asyncio.Event, timeout_seconds: float) -> Outcome | None:
    """Wait for the script's end; what stopped it when that came first, None when it ended by itself."""
    ended = asyncio.ensure_future(script.wait())
    canceled = asyncio.ensure_future(cancel.wait())
    try:
        done, _ = await asyncio.wait(
            {ended, canceled}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        ended.cancel()
        canceled.cancel()
    if ended in done:
        return None
    return (
        _canceled()
        if canceled in done
        else _failed(f"stopped after {_duration(timeout_seconds)}: its timeout")
    )


def _read_connection(path: Path) -> dict[str, str] | None:
    """Read the port and the secret PythonGatewayServer leaves, each behind its length; None while incomplete."""
    try:
        content = path.read_bytes()
        port, length = struct.unpack_from("!ii", content)
    except (FileNotFoundError, struct.error):
        return None
    secret = content[8 : 8 + length]
    if len(secret) < length:
        return None
    return {"PYSPARK_GATEWAY_PORT": str(port), "PYSPARK_GATEWAY_SECRET": secret.decode()}


def _cores() -> int:
    """Count the cores this process may use; a container often has fewer than its machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _failed(reason: str) -> Outcome:
    return Outcome("FAILED", reason)


def _canceled() -> Outcome:
    return Outcome("CANCELED", "canceled on request")


def _end_of(process: Process) -> str:
    code = process.returncode or 0
    if code >= 0:
        return f"exited with code {code}"
    with suppress(ValueError):
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"was killed by signal {-code}"


def _last_words(plan: _Plan) -> str:
    """Return ``: `` and the last line of the JVM's log, where Java says why it refused to start."""
    with suppress(OSError), (plan.logs / "jvm.log").open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
        lines = log.read().decode("utf-8", errors="replace").split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
    return ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    parts = [f"{minutes:.0f} min" if minutes else "", f"{rest:g} s" if rest or not minutes else ""]
    return " ".join(filter(None, parts))


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
