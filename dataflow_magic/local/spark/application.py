"""One Spark application from start to end: a JVM, its script, one process group. Knows no HTTP and no database.

The service starts PySpark's gateway JVM itself, or uses a warm one, and runs the script as a second process. The
result is that of ``spark-submit`` in less than half the time, and the service can stop both processes itself.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from dataflow_magic.files import InvalidKey, is_inside, object_path
from dataflow_magic.local.objects.paths import log_key
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.spark.advice import advice_on
from dataflow_magic.local.spark.java import Java
from dataflow_magic.local.spark.jvm import (
    JvmGateway,
    NoSpark,
    end_of,
    gateway_command,
    launch_gateway,
    make_work_folder,
    run_beside,
    set_properties,
    spark_home,
    stop_spark,
    take_log_back,
)
from dataflow_magic.local.spark.log_copy import copy_lines
from dataflow_magic.local.spark.log_limit import limit_logs
from dataflow_magic.local.spark.process_group import ProcessGroup
from dataflow_magic.local.spark.script import (
    ScriptProblem,
    StagedScript,
    find_script,
    link_neighbours,
    python_files,
    stage_script,
)
from dataflow_magic.local.spark.settings import (
    PYTHON_FILES,
    QUICK_START,
    WORKERS_PATH,
    is_here,
    spark_settings,
)
from dataflow_magic.local.spark.workers import report_missing_workers
from dataflow_magic.local.tasks import end_tasks
from dataflow_magic.models.wire import RAN_SCRIPT
from dataflow_magic.reasons.diagnosis import MOST_LOG, reason_of_error

__all__ = ["Keep", "run_application"]

_STOP_CONTEXT_SECONDS = 30.0
_LEAVE_SECONDS = 2.0  # for Python's workers to end after their Spark context
_LEAVE_POLL_SECONDS = 0.02
_LAST_WORDS = "DATAFLOW_MAGIC_LAST_WORDS"
_CODE = "DATAFLOW_MAGIC_CODE"


@dataclass(frozen=True, slots=True)
class _Plan:
    """A run's files, folders and settings, complete before a process starts."""

    spec: RunSpec
    java: Java
    script: StagedScript
    logs: Path
    home: Path
    settings: dict[str, str]
    python_path: str

    @property
    def console_log(self) -> Path:
        """The script's output."""
        return self.logs / "console.log"

    @property
    def jvm_log(self) -> Path:
        """The JVM's output."""
        return self.logs / "jvm.log"


class Keep(Protocol):
    """Takes the JVM of a run that has ended, for another run."""

    async def note(self, gateway: JvmGateway) -> bool:
        """Note the JVM's state before the script starts, and return whether it may be kept."""

    def put(self, gateway: JvmGateway) -> None:
        """Own the JVM."""

    def refuse(self, reason: str) -> None:
        """Learn why a JVM was not kept after a run that completed."""


class _Ended(Exception):
    """The run ended before its script started."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


async def run_application(
    spec: RunSpec,
    *,
    java: Java,
    cancel: asyncio.Event,
    waiting: Callable[[str], None],
    started: Callable[[], Awaitable[None]],
    options: Sequence[str] = QUICK_START,
    warm: JvmGateway | None = None,
    keep: Keep | None = None,
) -> Outcome:
    """Run the script to its end and return the outcome; no process of the run is left then.

    Needs asyncio's default event loop: uvloop cannot place a process in a group.

    Parameters
    ----------
    java
        From `find_java`.
    cancel
        Set it to stop the run: SIGTERM to the process group, SIGKILL after five seconds.
    waiting
        Called with the text of what the run waits for: before its script runs, and while a cluster gives it no worker.
        Called with an empty text when that is over.
    started
        Awaited once, right before the script's process starts, which it does not when this raises.
    options
        Java's options, for a JVM that this function starts.
    warm
        A warm JVM to use; its folder must be the spec's ``work``. One that does not accept the run's settings is replaced.
    keep
        Receives the run's JVM, and owns it then, when the run completed, the JVM's Spark context is stopped, and no other
        process of the run is left. Any other JVM is ended, and so is each without it.

    Raises
    ------
    asyncio.CancelledError
        The task was cancelled; the process group was killed at once.
    """
    try:
        return await _run(
            spec, java, cancel=cancel, waiting=waiting, started=started, options=options, warm=warm, keep=keep
        )
    except (InvalidKey, ScriptProblem) as problem:
        return _failed(str(problem))
    except OSError as error:
        return _failed(f"the run's files could not be prepared: {_in_one_line(error)}")
    except _Ended as ended:
        return ended.outcome


async def _run(
    spec: RunSpec,
    java: Java,
    *,
    cancel: asyncio.Event,
    waiting: Callable[[str], None],
    started: Callable[[], Awaitable[None]],
    options: Sequence[str],
    warm: JvmGateway | None,
    keep: Keep | None,
) -> Outcome:
    """Run the script in a JVM, and end that JVM's group unless its keeper owns it."""
    group = warm.group if warm else None
    plan: _Plan | None = None
    is_kept = False
    try:
        plan = _plan(replace(spec, objects=spec.objects.absolute(), work=spec.work.absolute()), java)
        if warm is not None and not await _adopt(warm, plan):
            await warm.group.end()
            warm = group = None
        group = group or ProcessGroup(plan.spec.work)
        gateway = warm or await _launch(plan, group, options, cancel=cancel, waiting=waiting)
        # What the JVM prints from now on belongs to the script's output, as on the console of spark-submit.
        may_keep = keep if keep is not None and await keep.note(gateway) else None
        async with copy_lines(plan.jvm_log, plan.console_log):
            outcome = await _supervise(plan, gateway, cancel=cancel, waiting=waiting, started=started)
        if may_keep is not None and outcome.state == "COMPLETED":
            is_kept = await _hand_over(gateway, plan, may_keep)
        return outcome
    finally:
        if group is not None and not is_kept:
            await group.end()
        if plan is not None:
            await asyncio.to_thread(_close_to_others, plan.logs / "events")


async def _hand_over(gateway: JvmGateway, plan: _Plan, keep: Keep) -> bool:
    """Give the JVM of a run that has ended to its keeper; False when it cannot serve another run."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LEAVE_SECONDS
    while await asyncio.to_thread(gateway.group.has_others):
        if loop.time() > deadline:
            keep.refuse("processes are left")
            return False
        await asyncio.sleep(_LEAVE_POLL_SECONDS)
    try:
        gateway = await asyncio.to_thread(take_log_back, gateway, plan.jvm_log)
    except OSError as error:
        keep.refuse(f"its log cannot be taken back ({error.strerror})")
        return False
    keep.put(gateway)
    return True


def _plan(spec: RunSpec, java: Java) -> _Plan:
    """Check everything that can fail without a process, and make the folders."""
    script = find_script(spec.objects, spec.script_path, spec.job_name)
    object_path(
        spec.objects, spec.log_path
    )  # before the key of a log, so that an error quotes the path as the user wrote it
    logs = object_path(spec.objects, log_key(spec.log_path, spec.run_id, ""))
    bucket = spec.log_path.partition("/")[0]
    if not (spec.objects / bucket).is_dir():
        raise ScriptProblem(
            f"no bucket {bucket!r} for the logs at {spec.log_path}: make it, or correct logPath"
        )
    try:
        home = spark_home()
    except NoSpark as error:
        raise ScriptProblem(f"Spark did not start: {error}") from None
    folders = [each for each in spec.objects.iterdir() if each.is_dir() and is_inside(spec.objects, each)]
    settings = spark_settings(
        spec,
        logs=logs,
        cores=_cores(),
    )
    make_work_folder(spec.work)
    for folder in folders:  # so that bucket/key without a scheme finds the object too
        (spec.work / "cwd" / folder.name).symlink_to(folder)
    staged = stage_script(script, spec.parameters, spec.work / "script")
    python_path = _stage_modules(script, spec, settings)
    (logs / "events").mkdir(parents=True, exist_ok=True)
    # The object may be written anew before anybody asks what this run did.
    shutil.copyfile(staged.path, logs / RAN_SCRIPT)
    return _Plan(spec, java, staged, logs, home, settings, python_path)


def _stage_modules(script: Path, spec: RunSpec, settings: dict[str, str]) -> str:
    """Put the modules the script imports beside it, and lead Python's workers there; return the script's PYTHONPATH."""
    folder = spec.work / "script"
    files = python_files(settings.get(PYTHON_FILES, ""), spec.objects)
    for module in (file for file in files if file.suffix == ".py"):
        (folder / module.name).unlink(missing_ok=True)
        (folder / module.name).symlink_to(module)
    link_neighbours(script, spec.objects, folder)
    archives = [str(file) for file in files if file.suffix != ".py"]
    if files:
        settings[PYTHON_FILES] = ",".join(map(str, files))
    wanted = settings.get(WORKERS_PATH, "")
    settings[WORKERS_PATH] = os.pathsep.join(filter(None, (str(folder), *archives, wanted)))
    return os.pathsep.join(filter(None, (*archives, os.environ.get("PYTHONPATH", ""))))


async def _adopt(warm: JvmGateway, plan: _Plan) -> bool:
    """Give a warm JVM the run's settings and log; return whether it accepted them."""
    try:
        # The JVM keeps this file open, so emptied and renamed it becomes the run's log.
        os.truncate(warm.log, 0)
        warm.log.rename(plan.jvm_log)
        await asyncio.to_thread(set_properties, warm, plan.settings)
    except (OSError, NoSpark):
        return False
    return True


async def _launch(
    plan: _Plan,
    group: ProcessGroup,
    options: Sequence[str],
    *,
    cancel: asyncio.Event,
    waiting: Callable[[str], None],
) -> JvmGateway:
    waiting("starting Spark")
    command = gateway_command(
        plan.java, plan.home, options, plan.settings, [str(jar) for jar in plan.spec.jars], eager=True
    )
    try:
        gateway = await launch_gateway(
            command,
            group,
            plan.spec.work,
            home=plan.home,
            log=plan.jvm_log,
            cancel=cancel,
            is_here=is_here(plan.spec.master),
        )
    except NoSpark as error:
        raise _Ended(_failed(f"Spark did not start: {error}")) from error
    if gateway is None:
        raise _Ended(_canceled())
    return gateway


async def _supervise(
    plan: _Plan,
    gateway: JvmGateway,
    *,
    cancel: asyncio.Event,
    waiting: Callable[[str], None],
    started: Callable[[], Awaitable[None]],
) -> Outcome:
    last_words = gateway.folder / "last_words"
    if cancel.is_set():
        raise _Ended(_canceled())
    await started()
    try:
        script = await run_beside(
            gateway,
            [str(plan.script.path), *plan.script.arguments],
            home=plan.home,
            log=plan.console_log,
            variables={
                _LAST_WORDS: str(last_words),
                _CODE: str(plan.script.code or ""),
                "PYTHONPATH": plan.python_path,
            },
        )
    except (OSError, ValueError) as error:
        raise _Ended(_failed(f"the script did not start: {_in_one_line(error)}")) from error
    beside = [asyncio.ensure_future(limit_logs((plan.console_log, plan.jvm_log)))]
    if plan.spec.master:
        workers = report_missing_workers(plan.logs / "events", plan.spec.master, waiting)
        beside.append(asyncio.ensure_future(workers))
    try:
        stopped = await _until_ended(script, cancel=cancel, timeout_seconds=plan.spec.timeout_seconds)
    finally:
        await end_tasks(beside)  # waits for a cut of a log that has begun
    if stopped is not None:
        await gateway.group.terminate()
        return stopped
    if await _stops_spark(gateway) and script.returncode == 0:
        return Outcome(
            "COMPLETED"
        )  # a JVM that is not kept is killed: its own shutdown would take half a second
    await gateway.group.close()
    return await asyncio.to_thread(_outcome_of, plan, script, gateway.process, last_words)


async def _stops_spark(gateway: JvmGateway) -> bool:
    """Stop the Spark context; False when the JVM does not do so in time."""
    with suppress(NoSpark, TimeoutError):
        async with asyncio.timeout(_STOP_CONTEXT_SECONDS):
            await asyncio.to_thread(stop_spark, gateway)
        return True
    return False


def _outcome_of(plan: _Plan, script: Process, jvm: Process, last_words: Path) -> Outcome:
    # A JVM that is asked to end exits with 0. With any other code it ended first, and caused the script's error.
    if (script.returncode or 0) > 0 and jvm.returncode not in (0, None):
        return _failed(f"Spark's JVM {end_of(jvm)} during the run (see jvm.log)")
    if script.returncode == 0:
        return Outcome("COMPLETED")
    with suppress(OSError):
        if words := last_words.read_text("utf-8"):
            reason = reason_of_error(words, _end_of(plan.console_log, MOST_LOG))
            return _failed(reason + advice_on(words, plan.java))
    return _failed(f"the script {end_of(script)}")


def _end_of(log: Path, most: int) -> str:
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - most))
        return file.read().decode("utf-8", "replace")
    return ""


async def _until_ended(script: Process, *, cancel: asyncio.Event, timeout_seconds: float) -> Outcome | None:
    """Wait for the script's end; None when it ended by itself, else the outcome that requires stopping it."""
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
    return _canceled() if canceled in done else _failed(f"timed out after {_duration(timeout_seconds)}")


def _close_to_others(events: Path) -> None:
    """Take the event log's modes from other users: Spark sets 0660 itself, whatever the umask."""
    for path in events.rglob("*"):
        with suppress(OSError):
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)


def _cores() -> int:
    """Return how many cores this process may use; a container often has fewer than its machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _failed(reason: str) -> Outcome:
    return Outcome("FAILED", reason)


def _canceled() -> Outcome:
    return Outcome("CANCELED", "canceled on request")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    parts = [f"{minutes:.0f} min" if minutes else "", f"{rest:g} s" if rest or not minutes else ""]
    return " ".join(filter(None, parts))


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
