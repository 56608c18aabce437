"""The end of a log as a person reads it: runs of library and JVM frames become one line. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Final

__all__ = ["folded_tail", "is_own", "own_lines"]

_MOST_LINES: Final = 2_000
"""Lines that are looked at, from the end."""
_LIBRARY: Final = re.compile(
    r"site-packages|dist-packages|/lib(?:64)?/python\d|pyspark\.zip|(?:^|/)py(?:spark|4j)/|\.p(?:xi|yx)$|^<|/programs/job\.py$"
)
_FRAME: Final = re.compile(r'(\s*)File "([^"]{1,500})", line \d')
_OF_SPARK: Final = re.compile(
    r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d [A-Z]{4,5} |\s+at \S+\(|\s*\.\.\. \d+ more$|Caused by: |\{\"ts\": |\[Stage \d|\s*$"
)
_JAVA_FRAME: Final = re.compile(r"\s+at \S+\(|\s*\.\.\. \d+ more$")


def is_own(file: str) -> bool:
    """Whether a file of a traceback is the user's: neither Python's nor a library's."""
    return not _LIBRARY.search(file)


def own_lines(lines: Sequence[str], most: int) -> list[str]:
    """Return the last lines, at most `most`, that the script may have printed: none of Spark's log and of the JVM's stacks."""
    own = (line.strip() for line in reversed(lines[-_MOST_LINES:]) if not _OF_SPARK.match(line))
    return list(islice(own, most))[::-1]


def folded_tail(lines: Sequence[str], most: int) -> tuple[str, ...]:
    """Return the last lines, at most `most`; ``… (+12)`` stands for 12 lines of frames that are not the user's."""
    shown: list[str] = []
    folded = 0
    indent: int | None = None  # of the library's frame whose source and marks follow
    for line in lines[-_MOST_LINES:]:
        frame = _FRAME.match(line)
        if frame:
            indent = None if is_own(frame[2]) else len(frame[1])
        elif indent is not None and (len(line) - len(line.lstrip()) <= indent and line.strip("^~ ")):
            indent = None
        if indent is not None or _JAVA_FRAME.match(line):
            folded += 1
            continue
        if folded:
            shown.append(f"  … (+{folded})")
            folded = 0
        shown.append(line)
    if folded:
        shown.append(f"  … (+{folded})")
    return tuple(shown[-most:])
