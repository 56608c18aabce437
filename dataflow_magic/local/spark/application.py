"""One Spark application from start to end: a JVM, the script beside it, one process group. Knows no HTTP, no database.

PySpark's gateway JVM is started directly, or was before, and the script is a Python process of its own, as
``spark-submit`` would arrange it, but in less than half the time and with nothing between us and the two processes that have to
be stopped.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dataflow_magic.files import InvalidKey, object_path
from dataflow_magic.local.objects.paths import log_key
from dataflow_magic.local.run import Outcome, RunSpec
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
)
from dataflow_magic.local.spark.log_limit import limit_logs
from dataflow_magic.local.spark.process_group import ProcessGroup
from dataflow_magic.local.spark.script import (
    ScriptProblem,
    StagedScript,
    find_script,
    stage_script,
)
from dataflow_magic.local.spark.settings import (
    QUICK_START,
    is_here,
    mountable_buckets,
    spark_settings,
)

__all__ = ["run_application"]

_STOP_CONTEXT_SECONDS = 30.0
_LAST_WORDS = "DATAFLOW_MAGIC_LAST_WORDS"
_CODE = "DATAFLOW_MAGIC_CODE"


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything about a run that is known before a process exists."""

    spec: RunSpec
    script: StagedScript
    logs: Path
    home: Path
    settings: dict[str, str]

    @property
    def console_log(self) -> Path:
        """What the script prints."""
        return self.logs / "console.log"

    @property
    def jvm_log(self) -> Path:
        """What the JVM prints."""
        return self.logs / "jvm.log"


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
    options: Sequence[str] = QUICK_START,
    warm: JvmGateway | None = None,
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
    options
        Of Java, for a JVM that has to be started.
    warm
        A JVM to use instead, whose folder must be the spec's ``work``. It is ended whatever happens. One that does not
        take the run's settings is replaced.

    Raises
    ------
    asyncio.CancelledError
        The task was cancelled; the process group was killed without grace.
    """
    group = warm.group if warm else None
    try:
        plan = _plan(replace(spec, objects=spec.objects.absolute(), work=spec.work.absolute()))
        if warm is not None and not await _adopt(warm, plan):
            await warm.group.end()
            warm = group = None
        group = group or ProcessGroup(plan.spec.work)
        gateway = warm or await _launch(plan, group, java, options, cancel=cancel, waiting=waiting)
        return await _supervise(plan, gateway, cancel=cancel, started=started)
    except (InvalidKey, ScriptProblem) as problem:
        return _failed(str(problem))
    except OSError as error:
        return _failed(f"the run's files could not be prepared: {_in_one_line(error)}")
    except _Ended as ended:
        return ended.outcome
    finally:
        if group is not None:
            await group.end()


def _plan(spec: RunSpec) -> _Plan:
    """Settle everything that can fail without a process, and make the folders."""
    script = find_script(spec.objects, spec.script_path, spec.job_name)
    object_path(spec.objects, spec.log_path)  # first, so that a refusal quotes it as it was given
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
    settings = spark_settings(
        spec,
        buckets=mountable_buckets(folder.name for folder in spec.objects.iterdir() if folder.is_dir()),
        logs=logs,
        cores=_cores(),
    )
    make_work_folder(spec.work)
    for folder in spec.objects.iterdir():
        if folder.is_dir():  # a path without a scheme, bucket/key, leads into the objects as well
            (spec.work / "cwd" / folder.name).symlink_to(folder)
    staged = stage_script(script, spec.parameters, spec.work / "script")
    (logs / "events").mkdir(parents=True, exist_ok=True)
    return _Plan(spec, staged, logs, home, settings)


async def _adopt(warm: JvmGateway, plan: _Plan) -> bool:
    """Make a warm JVM the run's own: its settings, its log; False where it does not take them."""
    try:
        # What it prints from now on is the run's: the file it holds open moves, emptied.
        os.truncate(warm.log, 0)
        warm.log.rename(plan.jvm_log)
        await asyncio.to_thread(set_properties, warm, plan.settings)
    except (OSError, NoSpark):
        return False
    return True


async def _launch(
    plan: _Plan,
    group: ProcessGroup,
    java: Java,
    options: Sequence[str],
    *,
    cancel: asyncio.Event,
    waiting: Callable[[str], None],
) -> JvmGateway:
    waiting("starting Spark")
    command = gateway_command(java, plan.home, options, plan.settings)
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
    plan: _Plan, gateway: JvmGateway, *, cancel: asyncio.Event, started: Callable[[], None]
) -> Outcome:
    last_words_file = gateway.folder / "last_words"
    try:
        script = await run_beside(
            gateway,
            [str(plan.script.path), *plan.script.arguments],
            home=plan.home,
            log=plan.console_log,
            variables={_LAST_WORDS: str(last_words_file), _CODE: str(plan.script.code or "")},
        )
    except (OSError, ValueError) as error:
        raise _Ended(_failed(f"the script did not start: {_in_one_line(error)}")) from error
    started()
    bounded = asyncio.ensure_future(limit_logs((plan.console_log, plan.jvm_log)))
    try:
        stopped = await _until_ended(script, cancel=cancel, timeout_seconds=plan.spec.timeout_seconds)
    finally:
        bounded.cancel()
    if stopped is not None:
        await gateway.group.terminate()
        return stopped
    # Stopped so, a JVM need not end by itself, which takes half a second; what does not answer is given the time.
    with suppress(NoSpark, TimeoutError):
        async with asyncio.timeout(_STOP_CONTEXT_SECONDS):
            await asyncio.to_thread(stop_spark, gateway)
            if script.returncode == 0:
                return Outcome("COMPLETED")
    await gateway.group.close()
    # Asked to end, the JVM says 0; anything else came first, and the script's error only follows from it.
    if (script.returncode or 0) > 0 and gateway.process.returncode not in (0, None):
        return _failed(f"Spark's JVM {end_of(gateway.process)} during the run (see jvm.log)")
    if script.returncode == 0:
        return Outcome("COMPLETED")
    with suppress(OSError):
        if last_words := last_words_file.read_text("utf-8"):
            return _failed(last_words)
    return _failed(f"the script {end_of(script)}")


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


def _cores() -> int:
    """Count the cores this process may use; a container often has fewer than its machine."""
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
