"""A log's bytes, as they come, as lines that may be shown: progress bars folded, secrets masked, long lines cut. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from dataflow_magic.models.text import last_frame, without_colours
from dataflow_magic.session.logs.grep import Grep

__all__ = ["MOST_LINE", "LastLines", "Lines", "without_cut_line"]

MOST_LINE: Final = 1 << 16
"""Characters of a line that are kept, unless a caller asks for more."""
_UNSURE: Final = 1 << 14
"""Characters at the end of what is held of a line that goes on: they may be the begin of a secret."""
_ESCAPES: Final = "\x1b", "\x9b"


class Lines:
    """Returns the lines of a log whose bytes come in parts of any size; an unfinished line waits for its end.

    Keeps no more than one unfinished line, and of that two bytes per character of the longest line.

    Parameters
    ----------
    mask
        Returns a text without secrets; gets whole lines.
    grep
        Return only lines that match, as they are shown.
    longest
        Characters of a line that are kept.
    """

    def __init__(
        self, mask: Callable[[str], str], grep: Grep | None = None, longest: int = MOST_LINE
    ) -> None:
        self._mask = mask
        self._grep = grep
        self._longest = longest
        self._most_held = 2 * longest
        self._open = bytearray()
        """The begin of the unfinished line."""
        self._dropped = 0
        """Bytes of it that were not kept."""

    def feed(self, content: bytes) -> list[str]:
        """Return the lines that end in the next part of the log."""
        first, end, rest = content.partition(b"\n")
        self._hold(first)
        if not end:
            return []
        lines = self.end(always=True)
        block, end, last = rest.rpartition(b"\n")
        self._hold(last)
        return [*lines, *self._shown(block.decode("utf-8", "replace"))] if end else lines

    def end(self, *, always: bool = False) -> list[str]:
        """Return the unfinished line, which gets no more; none where it is empty, unless ``always``."""
        line, dropped = bytes(self._open).decode("utf-8", "replace"), self._dropped
        self._open, self._dropped = bytearray(), 0
        return self._shown(line, dropped) if line or always else []

    def _hold(self, more: bytes) -> None:
        if self._dropped:
            # The next frame of a progress bar overwrites the line that was too long.
            cut, frame, rest = more.partition(b"\r")
            self._dropped += len(cut)
            if not frame:
                return
            self._open, self._dropped, more = bytearray(), 0, rest
        self._open += more
        if len(self._open) > self._most_held:
            before, frame, last = bytes(self._open).rpartition(b"\r")
            if frame:
                self._open = bytearray(last if last.strip() else before.rpartition(b"\r")[2])
            self._dropped = max(0, len(self._open) - self._most_held)
            del self._open[self._most_held :]

    def _shown(self, text: str, dropped: int = 0) -> list[str]:
        """Return lines as they are shown; ``dropped`` bytes of a single line are gone already."""
        if "\r" in text:
            text = "\n".join(last_frame(line) if "\r" in line else line for line in text.split("\n"))
        if any(escape in text for escape in _ESCAPES):
            text = "\n".join(
                without_colours(line) if any(escape in line for escape in _ESCAPES) else line
                for line in text.split("\n")
            )
        text = self._mask(text)
        if dropped or _has_long_line(text, self._longest):
            text = "\n".join(_cut(line, self._longest, dropped) for line in text.split("\n"))
        return self._grep.lines(text) if self._grep else text.split("\n")


class LastLines:
    """Keeps the last of many lines.

    Parameters
    ----------
    most
        Lines that are kept; None keeps any number.
    most_characters
        Characters of all of them, with one for each line's end; the last line is kept whatever its length.
    """

    def __init__(self, most: int | None = None, most_characters: int | None = None) -> None:
        self._most = most
        self._most_characters = most_characters
        self._kept: deque[str] = deque()
        self._characters = 0
        self.left_out = 0
        """Lines that were not kept."""

    def add(self, lines: Iterable[str]) -> None:
        """Add lines behind those that are kept, and drop as many of the first as are too many."""
        for line in lines:
            self._kept.append(line)
            self._characters += len(line) + 1
            while self._has_too_many():
                self._characters -= len(self._kept.popleft()) + 1
                self.left_out += 1

    def _has_too_many(self) -> bool:
        if self._most is not None and len(self._kept) > self._most:
            return True
        return (
            self._most_characters is not None
            and self._characters > self._most_characters
            and len(self._kept) > 1
        )

    def taken(self) -> list[str]:
        """Return the lines that are kept, oldest first."""
        return list(self._kept)


def without_cut_line(content: bytes) -> bytes:
    """Return the end of a log from the first line, or frame of a progress bar, that begins in it.

    The rest of a line that begins before may begin in the middle of a secret. Where no line begins, the first 16 KiB go.
    """
    for end in (b"\n", b"\r"):
        _, found, rest = content.partition(end)
        if found:
            return rest
    return content[_UNSURE:]


def _has_long_line(text: str, longest: int) -> bool:
    """Whether a line may be longer than the limit: it then covers one of these windows."""
    half = longest // 2
    return any(text.find("\n", place, place + half) < 0 for place in range(0, len(text) - half, half))


def _cut(line: str, longest: int, dropped: int) -> str:
    if len(line) <= longest and not dropped:
        return line
    kept = line[: min(longest, len(line) - (_UNSURE if dropped else 0))]
    more = len(line[len(kept) :].encode("utf-8", "replace")) + dropped
    return f"{kept} … [{more:,} more bytes of this line are not shown]"
