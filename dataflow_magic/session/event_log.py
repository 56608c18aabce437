"""Reads the event logs of one run from object storage, a part at a time, and again what was added since. Knows no card."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Final

from dataflow_magic.client.objects import NoObject, RangedObjects
from dataflow_magic.errors import DataflowError
from dataflow_magic.models.marker import bare, is_marked
from dataflow_magic.models.stages import StageReport, joined
from dataflow_magic.reasons.event_log import LineCutter, event_logs
from dataflow_magic.reasons.stages.fold import StageFold

__all__ = ["CannotUnpack", "EventLogs", "folder_of", "unpacked"]

MOST_NAMES: Final = 1_000
PART_BYTES: Final = 4 << 20
"""Of one read, and of one call of the fold, which then holds a core for some 50 ms."""
MOST_APPLICATIONS: Final = 20
IN_MEMORY: Final = 16 << 20
"""Of a compressed file; the rest of a larger one is on disk, in a file without a name."""
MOST_UNPACKED: Final = 8 << 30
"""Of one compressed file."""
CODECS: Final = {"zstd": "zstd"}
"""Spark's name of a codec -> Arrow's, of those with the same format."""


class CannotUnpack(DataflowError):
    """An event log is compressed, and what unpacks it is missing here."""


@dataclass
class _Log:
    """How far the log of one application is read."""

    fold: StageFold
    cutter: LineCutter = field(default_factory=LineCutter)
    done: set[str] = field(default_factory=set)
    """Files that will not grow."""
    place: int = 0
    """In the file after these."""


class EventLogs:
    """The event logs of one run.

    Parameters
    ----------
    folder
        See `folder_of`.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._logs: dict[str, _Log] = {}
        self._turn = asyncio.Lock()
        self.is_whole = False
        """Whether all is read and nothing is added any more."""

    async def read(self, objects: RangedObjects, *, is_over: bool, most: int) -> StageReport | None:
        """Read what was added since the last call, and return the stages so far; on the loop.

        Parameters
        ----------
        is_over
            Whether nothing is added any more. A compressed file is read when it is whole: when another follows it, or then.
        most
            Bytes, as stored, of one call. With fewer than there are, the log is read to that place.

        Returns
        -------
        StageReport
            None where there is no event log.

        Raises
        ------
        CannotUnpack
            It is compressed, and Arrow is not installed or does not know the codec.
        Unreachable
            The storage does not answer.
        DataflowError
            The key pair may not read it.
        """
        async with self._turn:
            found = event_logs(await objects.names(self._folder, MOST_NAMES))
            for app, files in list(found.items())[:MOST_APPLICATIONS]:
                log = self._logs.setdefault(app, _Log(StageFold(app)))
                most = await self._read(objects, log, files, is_over=is_over, most=most)
            self.is_whole = is_over and most > 0
            reports = [log.fold.report() for log in self._logs.values()]
            return joined(reports) if reports else None

    async def _read(
        self, objects: RangedObjects, log: _Log, files: list[tuple[str, str]], *, is_over: bool, most: int
    ) -> int:
        """Read one application's files; return how many bytes are left to read."""
        for number, (name, codec) in enumerate(files):
            # A log in one file loses the end of its name, ``.inprogress``, when it is whole.
            key = name.removesuffix(".inprogress")
            is_whole = is_over or number < len(files) - 1
            if key in log.done or (codec and not is_whole):
                continue
            if most <= 0:
                break
            try:
                read = await (_packed if codec else _plain)(objects, log, name, codec, most)
            except NoObject:  # removed meanwhile, or renamed; the next call finds it
                break
            most -= read
            if is_whole and most > 0:
                log.done.add(key)
                log.place = 0
        return most


async def _plain(objects: RangedObjects, log: _Log, name: str, _: str, most: int) -> int:
    """Fold what was added to a file."""
    size, read = await objects.size(name), 0
    while log.place < size and read < most:
        content = await objects.part(name, log.place, min(size, log.place + min(PART_BYTES, most - read)))
        if not content:
            break
        log.place += len(content)
        read += len(content)
        await asyncio.to_thread(log.fold.feed, log.cutter.feed(content))
    return read


async def _packed(objects: RangedObjects, log: _Log, name: str, codec: str, most: int) -> int:
    """Fold a compressed file that is whole; none of it where it is larger than `most`."""
    size = await objects.size(name)
    if size > most:
        return most
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as file:
        place = 0
        while place < size:
            content = await objects.part(name, place, min(size, place + PART_BYTES))
            if not content:
                break
            place += len(content)
            file.write(content)
        file.seek(0)
        await asyncio.to_thread(_fold_packed, log, file, codec)
    return size


def _fold_packed(log: _Log, file: IO[bytes], codec: str) -> None:
    for chunk in unpacked(file, codec):
        log.fold.feed(log.cutter.feed(chunk))
    log.fold.feed(log.cutter.end())


def unpacked(file: IO[bytes], codec: str, most: int = MOST_UNPACKED) -> Iterator[bytes]:
    """Yield the content of a compressed file in parts, up to where it was cut off, and at most about `most` bytes.

    Raises
    ------
    CannotUnpack
        Arrow is not installed, or does not know the codec.
    """
    if codec not in CODECS:
        raise CannotUnpack(
            f"the event log is compressed with {codec}, which is not read here; set spark.eventLog.compression.codec to zstd"
        )
    try:
        import pyarrow as pa
    except ImportError:
        raise CannotUnpack(
            f"the event log is compressed with {codec}, and pyarrow is not installed; pip install pyarrow"
        ) from None
    with pa.CompressedInputStream(pa.PythonFile(file, mode="r"), CODECS[codec]) as stream:
        while most > 0:
            try:
                chunk = stream.read(PART_BYTES)
            except OSError:  # Spark was killed while it wrote
                return
            if not chunk:
                return
            most -= len(chunk)
            yield chunk


def folder_of(log_path: str | None, run_id: str) -> str:
    """Return the folder of the logs of a run alone, ``bucket/prefix``; empty where its condition names no log path."""
    logs = bare(log_path or "")
    return logs if is_marked(logs) else logs and f"{logs}/{run_id}"
