"""Printable text: text from outside without control characters, and facts in aligned lines. Pure; escapes no markup."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["clean", "in_columns", "in_lines", "last_frame", "log_lines", "printable", "without_colours"]

# Escape sequences of a terminal: CSI, OSC with its end, and the two-character ones.
_COLOUR: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]"
)

_REPLACEMENT: Final = 0xFFFD
_CLEAN: Final[dict[int, int]] = {
    # Unicode has a picture for each control character.
    **{code: 0x2400 + code for code in range(0x20)},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), _REPLACEMENT),
    # Half of a surrogate pair cannot be encoded as UTF-8.
    **dict.fromkeys(range(0xD800, 0xE000), _REPLACEMENT),
    # Marks and overrides of writing direction reorder the text around them; two separators break lines.
    **dict.fromkeys((0x061C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF), _REPLACEMENT),
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), _REPLACEMENT),
}


def clean(text: str) -> str:
    """Return one line of text, with a visible character for each invisible one, line ends included."""
    return text.translate(_CLEAN)


def printable(text: str) -> str:
    """Return lines of text, with a visible character for each invisible one but tabs."""
    return "\n".join("\t".join(map(clean, line.split("\t"))) for line in text.split("\n"))


def without_colours(text: str) -> str:
    """Return text without terminal escape sequences."""
    return _COLOUR.sub("", text)


def log_lines(text: str) -> list[str]:
    """Return the lines of a log as a terminal shows them: of frames that carriage returns overwrite, the last one."""
    lines = text.split("\n")
    frames = map(last_frame, lines if lines[-1] else lines[:-1])
    return [line for frame in frames for line in frame.splitlines() or [""]]


def last_frame(line: str) -> str:
    """Return what a terminal shows of a line: of frames that carriage returns overwrite, the last one."""
    # Spark's bar ends with a blank frame, which clears it.
    return next((frame for frame in reversed(line.split("\r")) if frame.strip()), "")


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def in_lines(facts: Mapping[str, str]) -> str:
    """Return one line per fact, with the facts aligned in one column."""
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {fact}" for name, fact in facts.items())
