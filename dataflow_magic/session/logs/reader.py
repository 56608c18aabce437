"""Reads a log from a place on, in parts, while it grows: range reads only, and no more than two parts in memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from dataflow_magic.client.objects import NoObject, RangedObjects
from dataflow_magic.errors import Unreachable
from dataflow_magic.session.logs.lines import without_cut_line

__all__ = ["PART_BYTES", "LogReader", "Part"]

PART_BYTES: Final = 4 << 20
"""Of one part. After a read that failed a part is a quarter as long, and doubles again with each that succeeds."""
LEAST_PART_BYTES: Final = 1 << 16
FIRST_BYTES: Final = 1 << 18
"""The end of a log that is read first for its last lines."""
SEEN_BYTES: Final = 256
"""Before the place, read again each time: another text there means that the log was cut or replaced."""
_CUT: Final = re.compile(rb"\[(\d{1,15}) bytes of older output were dropped here\]\n")
"""How a log of the local service begins after a cut."""
REPLACED = "the log was replaced; what follows is read from its begin"


@dataclass(frozen=True, slots=True)
class Part:
    """The next bytes of a log.

    Parameters
    ----------
    is_whole
        Whether the log had no more when these were read.
    note
        What a reader should know before them; empty where there is nothing.
    """

    content: bytes
    is_whole: bool
    note: str = ""


class LogReader:
    """Reads one log; on the loop.

    Parameters
    ----------
    objects
        Returns the storage: its keys and its address may change meanwhile.
    path
        ``bucket/key``.
    """

    def __init__(self, objects: Callable[[], RangedObjects], path: str) -> None:
        self.path = path
        self._objects = objects
        self._place = 0
        self._size = 0
        self._seen = b""
        self._most = PART_BYTES
        self._ahead: asyncio.Task[Part] | None = None

    async def seek_lines(self, most: int) -> None:
        """Go to where the last so many lines begin, an unfinished one included."""
        size = stop = await self._objects().size(self.path)
        if most == 0:
            self._place = size
            return
        found = 0
        while stop > 0:
            start = max(0, stop - (FIRST_BYTES if stop == size else PART_BYTES))
            content = await self._objects().part(self.path, start, stop)
            if len(content) < stop - start:
                raise Unreachable(f"s3a://{self.path} was read in part only")
            # The end of the last line begins no other.
            ends = content.count(b"\n") - (stop == size and content.endswith(b"\n"))
            if found + ends >= most:
                place = len(content) - (stop == size and content.endswith(b"\n"))
                for _ in range(most - found):
                    place = content.rfind(b"\n", 0, place)
                self._place = start + place + 1
                return
            found += ends
            stop = start
        self._place = 0

    async def seek_bytes(self, most: int) -> int:
        """Go on to where a line begins in the last so many bytes, unless the place is there already; return the bytes left out."""
        size, before = await self._objects().size(self.path), self._place
        # With the byte before them, which may be the end of a line.
        start = size - most - 1
        if start < before:
            return 0
        content = await self._objects().part(self.path, start, min(size, start + FIRST_BYTES))
        self._place = start + len(content) - len(without_cut_line(content))
        return self._place - before

    async def next(self) -> Part:
        """Return what comes next, empty where there is nothing yet. The part after it is read meanwhile.

        Raises
        ------
        NoObject
            There is no log.
        Unreachable
            The storage does not answer; the next call reads the same again.
        DataflowError
            The key pair may not read the log.
        """
        ahead, self._ahead = self._ahead, None
        part = await (ahead or self._read())
        if not part.is_whole:
            self._ahead = asyncio.ensure_future(self._read())
        return part

    async def close(self) -> None:
        """Stop reading ahead."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)
            self._ahead = None

    async def _read(self) -> Part:
        objects = self._objects()
        if self._place >= self._size:
            self._size = await objects.size(self.path)
        note = ""
        if self._size < self._place:
            note = await self._find_place(objects)
        if self._size == self._place:
            return Part(b"", is_whole=True, note=note)
        start = self._place - len(self._seen)
        most, self._most = self._most, max(LEAST_PART_BYTES, self._most // 4)
        content = await objects.part(self.path, start, min(self._size, self._place + most))
        self._most = min(PART_BYTES, most * 2)
        if not content.startswith(self._seen):
            note = await self._find_place(objects)
            return Part(b"", is_whole=False, note=note)
        fresh = content[len(self._seen) :]
        self._place += len(fresh)
        if not fresh:  # it became shorter meanwhile
            self._size = self._place
        self._seen = content[-SEEN_BYTES:]
        return Part(fresh, self._place >= self._size, note)

    async def _find_place(self, objects: RangedObjects) -> str:
        """Find the place again in a log that was cut or replaced; return a note where what was read is not there."""
        seen, self._seen = self._seen, b""
        self._size = await objects.size(self.path)
        with suppress(NoObject):
            begin = await objects.part(self.path, 0, SEEN_BYTES) if self._size else b""
            if cut := _CUT.match(begin):
                place = self._place - int(cut[1]) + cut.end()
                if len(seen) + cut.end() <= place <= self._size:
                    there = await objects.part(self.path, place - len(seen), place)
                    if there == seen:
                        self._place, self._seen = place, seen
                        return ""
        self._place = 0
        return REPLACED
