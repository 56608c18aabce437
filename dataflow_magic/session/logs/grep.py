"""A regular expression for the lines of a log, whose search always takes linear time. Pure.

Python's own engine would hang the kernel at a pattern such as ``(a+)+$``: it holds the interpreter's lock meanwhile, so no
thread and no time limit can end it. RE2 has no such patterns, and searches a block of lines at once.
"""

from __future__ import annotations

import re
import warnings
from typing import Final

from dataflow_magic.errors import CellError

__all__ = ["Grep"]

MOST_LENGTH: Final = 1_000
"""Characters of a pattern."""
_EACH_LINE: Final = "(?m)"
_LOOKS_AROUND: Final = re.compile(r"\(\?<?[=!]|\\[1-9]|\(\?P=|\(\?>")
_WHOLE_TEXT: Final = re.compile(r"(?<!\\)(?:\\\\)*\\[AzZ]")


class Grep:
    """Finds the lines that a regular expression matches somewhere.

    Parameters
    ----------
    pattern
        In the syntax of RE2, which is Python's without lookaround and backreferences. ``^`` and ``$`` are the ends of a line.

    Raises
    ------
    CellError
        It is not valid; the message names the place.
    """

    def __init__(self, pattern: str) -> None:
        import re2  # 5 ms, which only who searches pays

        if len(pattern) > MOST_LENGTH:
            raise CellError(
                f"the regular expression has {len(pattern):,} characters; the limit is {MOST_LENGTH:,}"
            )
        if found := _WHOLE_TEXT.search(pattern):
            raise _invalid(pattern, found.end() - 2, "write ^ and $ for the ends of a line")
        options = re2.Options()
        options.log_errors = False
        options.never_nl = True
        try:
            self._search = re2.compile(f"{_EACH_LINE}{pattern}".encode(), options).search
        except UnicodeEncodeError as error:
            raise _invalid(pattern, error.start - len(_EACH_LINE), "half of a surrogate pair") from None
        except re2.error as error:
            raise _invalid(pattern, *_place_of(pattern, error.args[0])) from None

    def lines(self, text: str) -> list[str]:
        """Return the lines of a text that match, in order."""
        block = text.encode("utf-8", "replace")
        found, place = [], 0
        while place <= len(block) and (match := self._search(block, place)):
            begin = block.rfind(b"\n", 0, match.start()) + 1
            end = block.find(b"\n", match.end())
            end = len(block) if end < 0 else end
            found.append(block[begin:end].decode())
            place = end + 1
        return found


def _invalid(pattern: str, place: int, why: str) -> CellError:
    return CellError(f"the regular expression {pattern!r} is not valid at character {place + 1}: {why}")


def _place_of(pattern: str, words: bytes | str) -> tuple[int, str]:
    """Return where a pattern that RE2 refused is wrong, and why. Python's engine names the place, where it refuses it too."""
    if found := _LOOKS_AROUND.search(pattern):
        return found.start(), "lookaround and backreferences are not supported: a search takes linear time"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except re.error as error:
        return error.pos or 0, error.msg
    except (OverflowError, RecursionError):
        pass
    said = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    why, _, part = said.rpartition(": ")
    return max(0, pattern.find(part)), f"{why or said} {part}" if why else said
