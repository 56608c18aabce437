"""Joins engine and Spark: finds a Java for each run and has the run carried out with it, in a warm JVM where there is one."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.archive import Archive
from dataflow_magic.local.group import ProcessGroup, end_strays
from dataflow_magic.local.java import Java, find_java
from dataflow_magic.local.jvm import (
    Gateway,
    NoSpark,
    gateway_command,
    launch_gateway,
    run_beside,
    spark_home,
)
from dataflow_magic.local.options import Options
from dataflow_magic.local.pool import Pool
from dataflow_magic.local.spark import Outcome, run_application
from dataflow_magic.local.sparkconf import QUICK_START, RunSpec
from dataflow_magic.local.store import new_id
from dataflow_magic.models import RunState

__all__ = ["Carrier"]

logger = logging.getLogger(__name__)

_WARMUP = Path(__file__).with_name("warmup.py")
_TRAIN_SECONDS = 120.0
_MODESTLY = ("nice", "-n", "19")  # runs go on meanwhile
# A heap that is given back after the warm-up: an idle JVM holds 350 MB, not 430.
_IDLE = ("-Xms32m", "-XX:MinHeapFreeRatio=10", "-XX:MaxHeapFreeRatio=20")


class Carrier:
    """Carries out runs as Spark applications on this machine.

    Parameters
    ----------
    work
        Gets a folder per warm JVM; what an earlier service left there is ended and removed.
    cache
        Where archives of Java's classes are kept.
    options
        How runs are to be carried out.

    Notes
    -----
    An async context manager: inside it a JVM is kept warm, if the options say so.
    """

    def __init__(self, work: Path, cache: Path, options: Options) -> None:
        self._work = work
        self._cache = cache
        self._options = options
        self._pool = Pool(self._warm, _discard)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(end_strays, self._work)
        await _remove(self._work)
        if self._options.warm:
            await self._pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._options.warm:
            await self._pool.__aexit__(kind, error, trace)

    @property
    def is_warm(self) -> bool:
        """Whether the next run finds a warm JVM."""
        return self._pool.is_warm

    async def __call__(
        self,
        spec: RunSpec,
        *,
        cancel: asyncio.Event,
        waiting: Callable[[str], None],
        started: Callable[[], None],
    ) -> Outcome:
        """Carry out one run."""
        try:
            java = await _java()
        except ConfigError as error:
            # Whoever changes a variable now would wait in vain: what counts is what the service was started with.
            reason = f"{error} (the local service was started with that; it starts anew once nobody uses it)"
            return Outcome(RunState.FAILED, reason)
        with self._pool.busy():
            warm = None if spec.is_long else await self._pool.take(cancel)
            try:
                return await run_application(
                    replace(spec, work=warm.folder) if warm else spec,
                    java=java,
                    cancel=cancel,
                    waiting=waiting,
                    started=started,
                    options=await asyncio.to_thread(self._java_options, java, is_long=spec.is_long),
                    warm=warm,
                )
            finally:
                if warm is not None:
                    await _remove(warm.folder)

    def _java_options(self, java: Java, *, is_long: bool) -> list[str]:
        memory = [f"-Xmx{self._options.memory}"] if self._options.memory else []
        if is_long:
            return memory
        try:
            archive = Archive(self._cache, java, spark_home())
        except NoSpark:
            return memory  # the run finds that out, and says it
        return [*memory, *QUICK_START, *archive.options()]

    async def _warm(self) -> Gateway:
        java, home = await _java(), spark_home()
        archive = Archive(self._cache, java, home)
        await archive.make(lambda options: self._train(java, home, options))
        options = await asyncio.to_thread(self._java_options, java, is_long=False)
        return await self._warmed(java, home, [*options, *_IDLE])

    async def _train(self, java: Java, home: Path, options: Sequence[str]) -> bool:
        """Have a JVM with these options run the warm-up and end; whether both went well."""
        gateway = await self._warmed(java, home, [*QUICK_START, *options], prefix=_MODESTLY)
        try:
            await gateway.group.close(_TRAIN_SECONDS)
            return gateway.process.returncode == 0
        finally:
            await _discard(gateway)

    async def _warmed(
        self, java: Java, home: Path, options: Sequence[str], prefix: Sequence[str] = ()
    ) -> Gateway:
        folder = self._work / f"warm-{new_id()}"
        group = ProcessGroup(folder)
        try:
            gateway = await launch_gateway(
                [*prefix, *gateway_command(java, home, options, {"java.io.tmpdir": str(folder / "scratch")})],
                group,
                folder,
                home=home,
                log=folder / "jvm.log",
            )
            assert gateway is not None  # noqa: S101 - nobody cancels it
            script = await run_beside(gateway, [str(_WARMUP)], home=home, log=folder / "warmup.log")
            async with asyncio.timeout(_TRAIN_SECONDS):
                _check_warmup(await script.wait())
        except BaseException:
            await group.end()
            await _remove(folder)
            raise
        return gateway


async def _java() -> Java:
    # On a thread: where no release file tells the version, Java itself is asked.
    return await asyncio.to_thread(find_java, os.environ)


def _check_warmup(code: int) -> None:
    if code:
        raise NoSpark(f"the warm-up exited with code {code}")


async def _discard(gateway: Gateway) -> None:
    await gateway.group.end()
    await _remove(gateway.folder)


async def _remove(folder: Path) -> None:
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
