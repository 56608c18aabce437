"""Reads the errors of Python and Java out of the lines of a log, in one pass. Pure; makes no sentence of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count, takewhile
from typing import Final

__all__ = ["Frame", "LoggedError", "chains_in", "error_of", "stack_in"]

# Python prints an exception group with a margin: "  + Exception Group Traceback", "    | ValueError: x".
_MARGIN: Final = re.compile(r"(?:\s*[|+](?:-[-+ \d]*)?)+ ?")
_HEAD: Final = re.compile(r"(.*?)(?:Exception Group )?Traceback \(most recent call last\):\s*$")
_FRAME: Final = re.compile(r'\s+File "([^"]{1,500})", line (\d{1,9})(?:, in (.{1,200}))?\s*$')
_STACK: Final = "(most recent call first):"
"""Ends the line above the frames that Python's faulthandler prints, of a worker that crashed or a script that was ended."""
_STACK_FRAME: Final = re.compile(r'\s+File "([^"]{1,500})", line (\d{1,9}) in (.{1,200})$')
_PYTHON_ERROR: Final = re.compile(r"([A-Za-z_][\w.]{0,200})(?::(?: (.*))?)?$")
_ERROR_NAME: Final = re.compile(r"(?:\w{1,100}\.){0,20}_*[A-Z]\w{0,200}(?::|$)")
_JAVA_ERROR: Final = re.compile(
    r"(?:Caused by: |.{0,200}?\s)?((?:[a-z_]\w{0,50}\.){1,12}[A-Z][\w$]{0,100}"
    r"(?:Exception|Error|Failure|Fault|Throwable|InterruptedIO))(?:: (.*))?$"
)
_JAVA_WORDS: Final = ("Exception", "Error", "Failure", "Fault", "Throwable", "InterruptedIO")
_JAVA_FRAME: Final = re.compile(r"\s+at \S|\s*\.\.\. \d+ more$")
_LOG_LINE: Final = re.compile(r"\d\d(?:\d\d)?[/-]\d\d[/-]\d\d[ T]\d\d:\d\d:\d\d")
_LINKS: Final = frozenset(
    {
        "The above exception was the direct cause of the following exception:",
        "During handling of the above exception, another exception occurred:",
    }
)
_QUOTES_ANOTHER: Final = ("Python worker", "exception was thrown", "Python exception", "python function")
"""Words of messages that quote the traceback of another process."""
_MOST_MESSAGE_LINES: Final = 60
_LONGEST_LINE: Final = 4_000
_MOST_CHAINS: Final = 64


@dataclass(frozen=True, slots=True)
class Frame:
    """One call of a traceback; `source` is empty where the log does not quote the line."""

    file: str
    line: int
    function: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class LoggedError:
    """One error as a log shows it.

    Parameters
    ----------
    name
        Its type, with the module: ``pyspark.errors.exceptions.captured.AnalysisException``.
    message
        The text after the type; may have several lines.
    frames
        Of Python's traceback, outermost first; of an error of Java those that it quotes of a worker that crashed.
    end
        The number of the last line that is certainly of this error.
    is_java
        Whether Java reported it.
    """

    name: str
    message: str
    frames: tuple[Frame, ...] = ()
    end: int = 0
    is_java: bool = False

    @property
    def text(self) -> str:
        """Type and message."""
        return f"{self.name}: {self.message}" if self.message else self.name


@dataclass(slots=True)
class _Open:
    """An error whose message may go on."""

    name: str
    frames: tuple[Frame, ...]
    end: int
    is_java: bool
    message: list[str] = field(default_factory=list)

    def closed(self) -> LoggedError:
        message = "\n".join(self.message).strip("\n")
        return LoggedError(self.name, message, self.frames or stack_in(self.message), self.end, self.is_java)


class _Reader:
    """Folds lines into chains of errors."""

    def __init__(self) -> None:
        self.chains: list[tuple[LoggedError, ...]] = []
        self._open: _Open | None = None
        self._frames: list[Frame] | None = None
        self._roots: list[LoggedError] = []
        """Errors from which the open one followed."""
        self._wrappers: list[LoggedError] = []
        """Errors that the open one caused, or whose messages quote it."""
        self._is_linked = False

    def read(self, number: int, line: str) -> None:
        bare = _MARGIN.sub("", line, count=1) if line.lstrip()[:1] in {"|", "+"} else line
        if self._frames is not None and self._read_frame(number, bare):
            return
        if bare.startswith('{"ts": '):  # PySpark's own log, which says nothing that its error does not
            self._finish()
        elif head := _HEAD.match(bare):
            self._begin(number, head[1])
        elif bare.startswith('  File "') and self._open is None and _FRAME.match(bare):
            # A script that Python cannot read has no head.
            self._begin(number, "")
            self._read_frame(number, bare)
        elif bare.strip() in _LINKS and self._open is not None:
            self._roots.append(self._open.closed())
            self._open, self._is_linked = None, True
        elif java := _java_error(bare):
            self._begin_java(number, bare, java)
        elif _LOG_LINE.match(bare):
            self._finish()
        elif self._open is not None and not _JAVA_FRAME.match(bare):
            if len(self._open.message) < _MOST_MESSAGE_LINES:
                self._open.message.append(bare)
            else:
                self._finish()

    def end(self) -> list[tuple[LoggedError, ...]]:
        self._frames = None
        self._finish()
        return self.chains[-_MOST_CHAINS:]

    def begin_frames(self) -> None:
        """Take the next lines for those of a traceback."""
        self._frames = []

    def _begin(self, number: int, prefix: str) -> None:
        """Begin a traceback; the prefix may be an error of Java that quotes it."""
        is_quoted = self._quotes_another()
        if java := _java_error(prefix.strip().removesuffix(":")):
            self._begin_java(number, prefix, java)
            is_quoted = True
        if is_quoted and not self._is_linked:
            self._wrap()
        elif not self._is_linked:
            self._finish()
        self._is_linked = False
        self.begin_frames()

    def _quotes_another(self) -> bool:
        error = self._open
        if error is None or error.is_java:
            return False
        said = " ".join(error.message)
        return error.name.endswith("ExceptionGroup") or any(word in said for word in _QUOTES_ANOTHER)

    def _begin_java(self, number: int, line: str, found: re.Match[str]) -> None:
        is_cause = line.startswith(("Caused by: ", ": ")) or (
            self._open is not None and self._open.message[-1:] == ["JVM stacktrace:"]
        )
        if is_cause and self._open is not None:
            self._wrap()
        else:
            self._finish()
        self._open = _Open(found[1], (), number, True, [found[2] or ""])

    def _read_frame(self, number: int, line: str) -> bool:
        """Read a line of a traceback; return whether it was one."""
        frames = self._frames
        assert frames is not None  # noqa: S101 - the caller looked
        if found := _FRAME.match(line):
            frames.append(Frame(found[1], int(found[2]), "" if found[3] == "<module>" else found[3] or ""))
            return True
        # Spark adds the frames of a worker to a traceback, without the indentation of their marks.
        if line.strip() and (line[:1].isspace() or not line.strip("^~ ")):
            if frames and not frames[-1].source and not line.strip().startswith(("^", "~", "[Previous")):
                frames[-1] = replace(frames[-1], source=line.strip())
            return True
        self._frames = None
        if error := _PYTHON_ERROR.match(line):
            self._open = _Open(error[1], tuple(frames), number, False, [error[2] or ""])
            return True
        self._finish()
        return False

    def _wrap(self) -> None:
        """Make the open error one that the next error caused."""
        if self._open is not None:
            self._wrappers = [*self._roots, self._open.closed(), *self._wrappers]
        self._open, self._roots = None, []

    def _finish(self) -> None:
        opened = [self._open.closed()] if self._open is not None else []
        if chain := (*self._roots, *opened, *self._wrappers):
            self.chains.append(chain)
        self._open, self._roots, self._wrappers, self._is_linked = None, [], [], False


def chains_in(lines: Sequence[str]) -> list[tuple[LoggedError, ...]]:
    """Return the chains of errors in a log, in its order; in each chain the root comes first, the uncaught error last.

    Takes time in proportion to the lines; at most the last 64 chains are returned.
    """
    reader = _Reader()
    for number, line in zip(count(), lines, strict=False):
        reader.read(number, line[:_LONGEST_LINE])
    return reader.end()


def error_of(text: str) -> tuple[LoggedError, ...]:
    """Return the chain of an error's own text, ``type: message``, whose message may quote a traceback; empty for other text."""
    lines = text.split("\n")
    if not (_ERROR_NAME.match(lines[0]) or _FRAME.match(lines[0])):
        return ()
    reader = _Reader()
    reader.begin_frames()
    for number, line in enumerate(lines):
        reader.read(number, line[:_LONGEST_LINE])
    chains = reader.end()
    return chains[0] if chains else ()


def stack_in(lines: Sequence[str]) -> tuple[Frame, ...]:
    """Return the frames of the last stack that Python's faulthandler printed, outermost first; empty where there is none."""
    start = max((number for number, line in enumerate(lines) if line.endswith(_STACK)), default=len(lines))
    found = takewhile(bool, map(_STACK_FRAME.match, lines[start + 1 :]))
    frames = [
        Frame(each[1], int(each[2]), "" if each[3] == "<module>" else each[3]) for each in found if each
    ]
    return tuple(reversed(frames))


def _java_error(line: str) -> re.Match[str] | None:
    return _JAVA_ERROR.match(line) if any(word in line for word in _JAVA_WORDS) else None
