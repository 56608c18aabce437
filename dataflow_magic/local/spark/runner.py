"""Runs scripts on Spark for the engine: finds Java, keeps a JVM warm, serves the catalog. Knows no HTTP and no database."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from dataflow_magic.errors import ConfigError
from dataflow_magic.files import InvalidKey, remove_folder
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.objects.samples import SAMPLE_TABLE
from dataflow_magic.local.options import Options
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.spark.application import run_application
from dataflow_magic.local.spark.catalog import Catalog, free_port, serve_thrift
from dataflow_magic.local.spark.class_archive import MODESTLY, ServiceArchives, uses_archive
from dataflow_magic.local.spark.java import Java, find_java
from dataflow_magic.local.spark.jvm import (
    JvmGateway,
    NoSpark,
    end_of,
    gateway_command,
    last_words,
    launch_gateway,
    run_beside,
    spark_home,
)
from dataflow_magic.local.spark.jvm_state import JvmState, state_of
from dataflow_magic.local.spark.on_demand import OnDemand
from dataflow_magic.local.spark.process_group import ProcessGroup, end_strays
from dataflow_magic.local.spark.script import ScriptProblem, find_script
from dataflow_magic.local.spark.settings import (
    QUICK_START,
    STACK,
    cluster_settings,
    hadoop_settings,
    is_here,
    masters,
)
from dataflow_magic.local.spark.used_jvms import UsedJvm, UsedJvms, log_refusal
from dataflow_magic.local.spark.warm_pool import WarmPool
from dataflow_magic.local.store import new_id
from dataflow_magic.models.wire import RunState

__all__ = ["SparkRunner", "run_program"]

logger = logging.getLogger(__name__)

_WARMUP = Path(__file__).with_name("programs") / "warmup.py"
_SEED = Path(__file__).with_name("programs") / "seed.py"
_PROGRAM_SECONDS = 120.0  # of the warm-up and the seed
_TRAINING_SECONDS = 600.0  # of the warm-up that makes an archive: it has a low priority
_TRAINING_END_SECONDS = 120.0
_MASTER_CONNECT_SECONDS = 5.0
# Settings of the warm-up and the seed.
_SMALL = {
    "spark.master": "local[2]",
    "spark.app.name": "warm",
    "spark.ui.enabled": "false",
    "spark.eventLog.enabled": "true",
    "spark.eventLog.compress": "false",
}
_CHOOSES_COLLECTOR = re.compile(r"-XX:\+Use\w+GC$")
# The heap shrinks after the warm-up: an idle JVM holds 350 MB, not 430.
_SHRINKS = ("-XX:MinHeapFreeRatio=10", "-XX:MaxHeapFreeRatio=20")
_IDLE = ("-Xms32m", *_SHRINKS)
# Without an archive, loading the classes takes room as well, and the heap above is collected wholly a dozen times.
_IDLE_WITHOUT_ARCHIVE = ("-Xms96m", "-XX:MetaspaceSize=192m", *_SHRINKS)


class SparkRunner:
    """Runs scripts as Spark applications.

    Parameters
    ----------
    folder
        The data folder. Its ``warm`` holds a folder per JVM of the service. Entering the context ends the processes that
        an earlier service left in ``runs`` and ``warm``, and empties ``warm``.
    cache
        The folder of the archives of Java's classes.
    options
        Of all runs: memory, master, Spark settings, and whether a JVM is kept warm.

    Notes
    -----
    An async context manager. Inside it the catalog is served, and a JVM is kept warm if `options.warm` is set.
    """

    def __init__(self, folder: DataFolder, cache: Path, options: Options) -> None:
        self._objects = folder.objects
        self._jars = folder.jars
        self._warm_jars: tuple[Path, ...] = ()
        self._warm_state: JvmState | None = None
        self._work = folder.warm
        self._places = (folder.runs, folder.warm)
        self._archives = ServiceArchives(cache)
        self._options = options
        self._catalog = Catalog(folder.path)
        self._pool = WarmPool(self._warm, self._make_archive, _discard)
        self._most_jvms = max(2, os.cpu_count() or 1)  # as many as runs that the engine starts at once
        self._used = UsedJvms(_discard, most=self._most_jvms)
        self._metastore = OnDemand(self._start_metastore, _discard)
        self._entered = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for place in self._places:
            if strays := await asyncio.to_thread(end_strays, place):
                logger.warning("ended %s process groups that an earlier service left in %s", strays, place)
        await _remove(self._work)
        await self._entered.enter_async_context(self._metastore)
        if self._options.warm:
            await self._entered.enter_async_context(self._pool)
            await self._entered.enter_async_context(self._used)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._entered.aclose()

    @property
    def is_warm(self) -> bool:
        """Whether a warm JVM is ready for the next run."""
        return self._pool.is_warm

    async def __call__(
        self,
        spec: RunSpec,
        *,
        cancel: asyncio.Event,
        waiting: Callable[[str], None],
        started: Callable[[], Awaitable[None]],
    ) -> Outcome:
        """Run one script to its end and return the outcome; see `Runner`."""
        try:
            java = await _java()
        except ConfigError as error:
            # A variable that the user sets now does not reach this process.
            reason = f"{error} (the local service keeps the environment it was started with; stop it to change that)"
            return Outcome(RunState.FAILED, reason)
        if reason := await self._no_cluster(waiting):
            return Outcome(RunState.FAILED, reason)
        jars = await asyncio.to_thread(self._run_jars)
        spec = replace(spec, settings=self._settings(spec.workers), master=self._options.master, jars=jars)
        with self._pool.busy():
            key = await asyncio.to_thread(_reuse_key, spec, java) if self._reuses else None
            used = await self._used.take(key) if key is not None else None
            if used is not None:
                return await self._run(spec, java, key, used.gateway, used, cancel, waiting, started)
            self._used.make_room(max(0, self._most_jvms - self._pool.active_runs))
            warm = None if spec.is_long else await self._take_warm(jars, cancel, waiting)
            return await self._run(spec, java, key, warm, None, cancel, waiting, started)

    @property
    def _reuses(self) -> bool:
        # A cluster's executors have the classes and files of the application they were started for.
        return self._options.warm and self._options.reuse and not self._options.master

    async def _take_warm(
        self, jars: tuple[Path, ...], cancel: asyncio.Event, waiting: Callable[[str], None]
    ) -> JvmGateway | None:
        if self._pool.is_warming:
            waiting("starting Spark")
        warm = await self._pool.take(cancel)
        if warm is not None and self._warm_jars != jars:  # the user changed them after it started
            await _discard(warm)
            return None
        return warm

    async def _run(
        self,
        spec: RunSpec,
        java: Java,
        key: Hashable,
        gateway: JvmGateway | None,
        used: UsedJvm | None,
        cancel: asyncio.Event,
        waiting: Callable[[str], None],
        started: Callable[[], Awaitable[None]],
    ) -> Outcome:
        """Run a script in a JVM that is there, or in one of its own."""
        keeper = None
        if key is not None:
            keeper = _Keeper(self._used, key, gateway, used.state if used else self._warm_state, used)
        if gateway is not None:
            work = gateway.folder
        elif keeper is not None:
            work = self._work / f"run-{new_id()}"  # it outlives the run
        else:
            work = spec.work
        try:
            return await run_application(
                replace(spec, work=work),
                java=java,
                cancel=cancel,
                waiting=waiting,
                started=started,
                options=await asyncio.to_thread(self._run_options, java, is_long=spec.is_long),
                warm=gateway,
                keep=keeper,
            )
        finally:
            if gateway is None:
                await self._check_archive(java, work)
            if work != spec.work and not (keeper and keeper.has_kept):
                await _remove(work)

    def _settings(self, workers: int) -> dict[str, str]:
        master = self._options.master
        return {
            **self._catalog.settings(self._metastore.port),
            **(cluster_settings(master, workers) if master else {}),
            # Java has it already; Spark's own pages and the check of a script's settings read it here.
            **({"spark.driver.memory": self._options.memory} if self._options.memory else {}),
            **self._options.conf,
        }

    async def _no_cluster(self, waiting: Callable[[str], None]) -> str:
        """Return why the cluster cannot be reached, which Spark reports only after a minute; empty when it can."""
        places = masters(self._options.master)
        if not places:
            return ""
        waiting(f"the Spark master at {self._options.master}")
        for host, port in places:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_MASTER_CONNECT_SECONDS):
                    _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return ""
        return f"no Spark master answers at {self._options.master}: start it, or start the service with another --master"

    def _run_jars(self) -> tuple[Path, ...]:
        return (*self._options.jars, *sorted(self._jars.glob("*.jar")))

    def _run_options(self, java: Java, *, is_long: bool) -> list[str]:
        """Return Java's options for a run; the user's come last and win."""
        given = self._options.java
        options = [STACK] if is_long else self._java_options(java)
        if any(_CHOOSES_COLLECTOR.match(option) for option in given):
            options = [STACK, QUICK_START[0]]  # two collectors are an error, and the archive is made for one
        memory = [f"-Xmx{self._options.memory}"] if self._options.memory else []
        return [*memory, *options, *given]

    def _java_options(self, java: Java) -> list[str]:
        try:
            return [*QUICK_START, *self._archives.options(java, spark_home())]
        except NoSpark:
            return []  # the run reports that PySpark is missing

    async def _check_archive(self, java: Java, folder: Path) -> None:
        with suppress(NoSpark):
            await asyncio.to_thread(self._archives.check, java, spark_home(), folder)

    async def _start_metastore(self) -> tuple[JvmGateway, int]:
        java, home, port = await _java(), spark_home(), free_port()
        options = [*await asyncio.to_thread(self._java_options, java), *_IDLE]
        hadoop = hadoop_settings(self._objects)
        class_path = await asyncio.to_thread(self._catalog.prepare, hadoop)
        gateway = await self._gateway(
            java, home, options, self._catalog.properties(), class_path, name="metastore"
        )
        try:
            await serve_thrift(gateway, port)
            if not self._catalog.seeded.exists():
                await self._seed(java, home, options, port)
        except BaseException:
            await _discard(gateway)
            raise
        return gateway, port

    async def _seed(self, java: Java, home: Path, options: Sequence[str], port: int) -> None:
        gateway = await self._gateway(java, home, options, _SMALL | self._catalog.settings(port), name="seed")
        try:
            # A plain path: Spark would not decode a URL's %20.
            await run_program(gateway, home, _SEED, str(self._objects / SAMPLE_TABLE))
            self._catalog.seeded.touch()
        except NoSpark as error:  # the user may have removed the sample; the catalog works without it
            logger.warning("the sample table test.sample_table2 was not made: %s", error)
        finally:
            await _discard(gateway)

    async def _make_archive(self) -> None:
        java, home = await _java(), spark_home()
        try:
            await self._archives.make(java, home, lambda options: self._train(java, home, options))
        except NoSpark as error:  # a JVM is worth warming without the archive too
            logger.warning("the archive of classes was not made: %s", error)

    async def _warm(self, wanted: asyncio.Event) -> JvmGateway:
        java = await _java()
        options = await asyncio.to_thread(self._run_options, java, is_long=False)
        jars = await asyncio.to_thread(self._run_jars)
        idle = _IDLE if uses_archive(options) else _IDLE_WITHOUT_ARCHIVE
        gateway = await self._warmed(
            java, spark_home(), [*idle, *options], class_path=[str(jar) for jar in jars], wanted=wanted
        )
        self._warm_jars = jars
        self._warm_state = await asyncio.to_thread(state_of, gateway)
        return gateway

    async def _train(self, java: Java, home: Path, options: Sequence[str]) -> bool:
        """Run the warm-up in a JVM with these options and end the JVM; return whether both succeeded."""
        gateway = await self._warmed(
            java, home, [*QUICK_START, *options], prefix=MODESTLY, seconds=_TRAINING_SECONDS
        )
        try:
            await gateway.group.close(_TRAINING_END_SECONDS)
            return gateway.process.returncode == 0
        finally:
            await _discard(gateway)

    async def _warmed(
        self,
        java: Java,
        home: Path,
        options: Sequence[str],
        *,
        class_path: Sequence[str] = (),
        prefix: Sequence[str] = (),
        seconds: float = _PROGRAM_SECONDS,
        wanted: asyncio.Event | None = None,
    ) -> JvmGateway:
        # As in a run, with an event log and the catalog. The warm-up reads no table, so no metastore starts.
        settings = _SMALL | self._catalog.settings(self._metastore.port)
        gateway = await self._gateway(java, home, options, settings, class_path, prefix, eager=True)
        enough = gateway.folder / "enough"
        hurrying = asyncio.create_task(_touch_when(wanted, enough)) if wanted else None
        try:
            if wanted is None or not wanted.is_set():
                await run_program(gateway, home, _WARMUP, str(enough), seconds=seconds)
        except BaseException:
            await _discard(gateway)
            raise
        finally:
            if hurrying:
                hurrying.cancel()
        return gateway

    async def _gateway(
        self,
        java: Java,
        home: Path,
        options: Sequence[str],
        settings: Mapping[str, str],
        class_path: Sequence[str] = (),
        prefix: Sequence[str] = (),
        name: str = "warm",
        *,
        eager: bool = False,
    ) -> JvmGateway:
        folder = self._work / f"{name}-{new_id()}"
        group = ProcessGroup(folder)
        own = {
            "java.io.tmpdir": str(folder / "scratch"),
            "derby.system.home": str(folder / "derby"),
            "spark.eventLog.dir": (folder / "scratch").as_uri(),
            **settings,
        }
        try:
            gateway = await launch_gateway(
                [*prefix, *gateway_command(java, home, options, own, class_path, eager=eager)],
                group,
                folder,
                home=home,
                log=folder / "jvm.log",
                is_here=is_here(self._options.master),
            )
        except BaseException:
            await group.end()
            await _remove(folder)
            raise
        assert gateway is not None  # noqa: S101 - without `cancel` it returns one or raises
        await self._check_archive(java, folder)
        return gateway


class _Keeper:
    """Keeps the JVM of one run for the next one of the same script."""

    def __init__(
        self,
        place: UsedJvms,
        key: Hashable,
        gateway: JvmGateway | None,
        state: JvmState | None,
        used: UsedJvm | None,
    ) -> None:
        self._place = place
        self._key = key
        self._gateway = gateway
        self._state = state
        self._runs = used.runs if used else 1
        self.has_kept = False

    async def note(self, gateway: JvmGateway) -> bool:
        if self._state is None or gateway is not self._gateway:
            try:
                self._state, self._runs = await asyncio.to_thread(state_of, gateway), 1
            except NoSpark as error:
                self._state = None
                log_refusal(str(error))
        return self._state is not None

    def put(self, gateway: JvmGateway) -> None:
        assert self._state is not None  # noqa: S101 - noted
        self._place.put(UsedJvm(self._key, gateway, self._state, self._runs))
        self.has_kept = True

    def refuse(self, reason: str) -> None:
        log_refusal(reason)


def _reuse_key(spec: RunSpec, java: Java) -> Hashable | None:
    """Return what must be equal for runs that use the same JVM, one after another; None for a run that must have its own."""
    try:
        script = find_script(spec.objects, spec.script_path, spec.job_name).read_bytes()
        jars = tuple((str(jar), jar.stat().st_mtime_ns, jar.stat().st_size) for jar in spec.jars)
    except (OSError, InvalidKey, ScriptProblem):  # the run reports it
        return None
    digest = hashlib.sha256(script).hexdigest()
    return (spec.job_name, spec.script_path, digest, jars, str(java.home), spec.is_long)


async def run_program(
    gateway: JvmGateway, home: Path, program: Path, *arguments: str, seconds: float = _PROGRAM_SECONDS
) -> None:
    """Run a program, such as the warm-up, with a JVM to its end.

    Raises
    ------
    NoSpark
        The program failed, or took longer than `seconds`.
    """
    log = gateway.folder / f"{program.stem}.log"
    process = await run_beside(gateway, [str(program), *arguments], home=home, log=log)
    try:
        async with asyncio.timeout(seconds):
            code = await process.wait()
    except TimeoutError:
        raise NoSpark(f"{program.name} took longer than {seconds:g} s") from None
    if code:
        raise NoSpark(f"{program.name} {end_of(process)}{last_words(log)}")


async def _touch_when(wanted: asyncio.Event, file: Path) -> None:
    await wanted.wait()
    await asyncio.to_thread(file.touch)


async def _java() -> Java:
    # On a thread: without a release file, the version comes from a run of Java itself.
    return await asyncio.to_thread(find_java, os.environ)


async def _discard(gateway: JvmGateway) -> None:
    await gateway.group.end()
    await _remove(gateway.folder)


async def _remove(folder: Path) -> None:
    await asyncio.to_thread(remove_folder, folder)
