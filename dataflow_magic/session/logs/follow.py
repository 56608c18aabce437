"""The lines of a run's log as they come, for ``for`` and ``async for``; the end of the run ends them, not the end of the log."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, Protocol, TypeVar

from dataflow_magic.client.objects import NoObject, RangedObjects
from dataflow_magic.errors import CellError, ServiceError
from dataflow_magic.session.detached import Detached, detachable
from dataflow_magic.session.logs.grep import Grep
from dataflow_magic.session.logs.lines import MOST_LINE, LastLines, Lines
from dataflow_magic.session.logs.reader import LogReader, Part
from dataflow_magic.session.logs.search import Search

__all__ = ["LogLines", "LogOptions", "Source", "log_options"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

SHORTEST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 4.0
"""Seconds between two looks at a log that does not grow; each such look doubles the pause."""
LONGEST_TROUBLE: Final = 15.0
"""Seconds between two looks at a storage that does not answer."""
TRIES: Final = 5
"""Looks at a storage that does not answer, once the run is over."""


class Source(Protocol):
    """What is read of a run."""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, or is not followed any more."""

    def submit(self, coroutine: Coroutine[Any, Any, T], /) -> concurrent.futures.Future[T]:
        """Run a coroutine on the loop, from any thread."""

    async def objects(self) -> RangedObjects:
        """Return the storage; its keys are the ones of now."""

    async def find(self) -> Search:
        """Look for the log."""

    def mask(self, text: str) -> str:
        """Return a text without secrets."""

    def way_back(self) -> str:
        """Return what goes on after an interrupt, and how to come back."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which lines of a log.

    Parameters
    ----------
    follow
        Go on until the run is over; otherwise the end of the log ends them.
    tail
        Begin with so many lines, the last ones; None begins with the first line.
    grep
        Only lines that it matches.
    most
        Begin with so many bytes at most, the last ones; None begins with any number.
    rest
        How to get what is left out because of ``most``, in words.
    longest
        Characters of a line that are kept.
    """

    follow: bool = False
    tail: int | None = None
    grep: Grep | None = None
    most: int | None = None
    rest: str = ""
    longest: int = MOST_LINE

    @property
    def is_of_the_end(self) -> bool:
        """Whether they begin with the last lines, which are known once the log was read."""
        return self.tail is not None or self.most is not None


def log_options(
    *, follow: bool = False, tail: int | None = None, grep: str | None = None, whole: bool = False
) -> LogOptions:
    """Return the options of which lines to read.

    Parameters
    ----------
    whole
        Whether the caller asks for all lines; the bounds of the options are the caller's.

    Raises
    ------
    CellError
        The number of lines is below 0, the caller asks for all lines as well, or the regular expression is not valid.
    """
    if whole and tail is not None:
        raise CellError("tail and all contradict each other; keep one")
    if tail is not None and tail < 0:
        raise CellError(f"tail={tail} is not a number of lines; give 0 or more")
    return LogOptions(follow, tail, None if grep is None else Grep(grep))


class LogLines:
    """Lines of a run's log, without their ends: ``async for line in run.logs(follow=True)``, or ``for``.

    Each loop begins anew. Frames of progress bars are folded, colours removed, secrets masked, and lines of more than 65,536
    characters cut, or of more than the options say.

    Raises
    ------
    DataflowError
        In a loop: the log cannot be read.
    Detached
        In a loop: the user interrupted it; the run continues.
    """

    def __init__(
        self,
        source: Source,
        options: LogOptions,
        on_note: Callable[[str], None] = lambda note: logger.info("%s", note),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._options = options
        self._on_note = on_note
        self._sleep = sleep
        self.path: str | None = None
        """``bucket/key`` of the log; None before it is found."""

    def __iter__(self) -> Iterator[str]:
        """Yield lines; blocks while there are none."""
        for lines in self.batches():
            yield from lines

    def batches(self) -> Iterator[list[str]]:
        """Yield lines in lists, as many as came at once."""
        feed = self._feed()
        try:
            while (part := self._wait(feed.next())) is not None:
                if lines := feed.taken(part):
                    yield lines
        finally:
            self._source.submit(feed.close())
        if lines := feed.rest():
            yield lines

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield lines without blocking the event loop."""
        feed = self._feed()
        submit, way_back = self._source.submit, self._source.way_back
        try:
            while True:
                # As a coroutine, which `detachable` can cancel; the cancel reaches the session's loop.
                part = await detachable(_result(submit(feed.next())), way_back)
                if part is None:
                    break
                for line in feed.taken(part):
                    yield line
        finally:
            submit(feed.close())
        for line in feed.rest():
            yield line

    def _feed(self) -> _Feed:
        return _Feed(self, self._source, self._options, self._on_note, self._sleep)

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = self._source.submit(coroutine)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise Detached(f"stopped reading the log; {self._source.way_back()}") from None


async def _result(future: concurrent.futures.Future[T]) -> T:
    return await asyncio.wrap_future(future)


class _Feed:
    """One loop over the lines: `next` on the session's loop, the rest where the lines are used."""

    def __init__(
        self,
        owner: LogLines,
        source: Source,
        options: LogOptions,
        on_note: Callable[[str], None],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._owner = owner
        self._source = source
        self._options = options
        self._on_note = on_note
        self._sleep = sleep
        self._lines = Lines(source.mask, options.grep, options.longest)
        self._reader: LogReader | None = None
        self._objects: RangedObjects | None = None
        self._last = LastLines(options.tail, options.most) if options.is_of_the_end else None
        """The lines to begin with, until the log was read once."""
        self._bytes_left_out = 0
        self._pause = SHORTEST_PAUSE
        self._failures = 0
        self._noted = ""

    async def next(self) -> Part | str | None:
        """Return the next bytes, none where the log was read whole for the first time, or a note; None once the log is over."""
        while True:
            # Before the read: what is written until the end is then read.
            is_over = self._source.is_over or not self._options.follow
            found = await self._try(is_over=is_over)
            if isinstance(found, str):
                if found != self._noted:
                    self._noted = found
                    return found
            elif found.content or found.note or (found.is_whole and self._last is not None and not is_over):
                self._pause = SHORTEST_PAUSE
                return found
            if is_over and not self._failures:
                return None
            await self._wait(is_over=is_over)
            self._pause = min(self._pause * 2, LONGEST_TROUBLE if self._failures else LONGEST_PAUSE)

    async def _wait(self, *, is_over: bool) -> None:
        """Sleep as long as the pause, or until the run is over."""
        for _ in range(ceil(self._pause / SHORTEST_PAUSE)):
            await self._sleep(SHORTEST_PAUSE)
            if self._source.is_over and not is_over:
                return

    def taken(self, found: Part | str) -> list[str]:
        """Return the lines that end in a part; pass a note on."""
        if isinstance(found, str):
            self._on_note(found)
            return []
        lines = []
        if found.note:
            lines = self._lines.end()
            self._on_note(found.note)
        lines += self._lines.feed(found.content)
        if self._last is None:
            return lines
        if found.is_whole:
            return self._kept(lines)
        self._last.add(lines)
        return []

    def rest(self) -> list[str]:
        """Return the last line, which has no end, and before it what was held back."""
        lines = self._lines.end()
        if self._last is None:
            return lines
        return self._kept(lines)

    def _kept(self, lines: list[str]) -> list[str]:
        """Return what was held back, and these lines; note what is left out."""
        assert self._last is not None  # noqa: S101 - held back
        last, self._last = self._last, None
        last.add(lines)
        options = self._options
        is_of_lines = options.tail is not None
        left_out = ""
        if self._bytes_left_out:
            left_out = f"earlier bytes of the log that are not shown: {self._bytes_left_out:,}"
        elif last.left_out and options.grep:
            left_out = f"earlier lines that match: {last.left_out:,}"
        elif last.left_out and not is_of_lines:  # the log grew meanwhile
            left_out = f"earlier lines that are not shown: {last.left_out:,}"
        if left_out:
            is_asked_for = is_of_lines and not self._bytes_left_out
            self._on_note(left_out if is_asked_for or not options.rest else f"{left_out}; {options.rest}")
        return last.taken()

    async def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            await self._reader.close()

    async def _try(self, *, is_over: bool) -> Part | str:
        """Return the next part, or why there is none."""
        try:
            # Each time: the service may have moved, or its keys may be others.
            self._objects = await self._source.objects()
            if self._reader is None:
                found = await self._source.find()
                self._failures = 0
                if found.path is None:
                    have = "the run has no log" if is_over else "the run has no log yet"
                    return f"{have}; looked at, with the objects found: {found.in_words}"
                await self._begin(found.path)
            assert self._reader is not None  # noqa: S101 - begun
            part = await self._reader.next()
        except NoObject as error:
            self._reader = None
            return f"the log is gone: {error}"
        except ServiceError as error:
            self._failures += 1
            if is_over and self._failures >= TRIES:
                raise
            return f"the log cannot be read and is tried again: {error}"
        self._failures, self._noted = 0, ""
        return part

    async def _begin(self, path: str) -> None:
        reader = LogReader(self._now, path)
        options = self._options
        if options.grep is None:  # what matches is known once all is read
            if options.tail is not None:
                await reader.seek_lines(options.tail)
            if options.most is not None:
                self._bytes_left_out = await reader.seek_bytes(options.most)
        self._reader, self._owner.path = reader, path

    def _now(self) -> RangedObjects:
        assert self._objects is not None  # noqa: S101 - asked before each read
        return self._objects
