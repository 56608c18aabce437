"""The parser of a magic's line, and the options that several magics share. Knows no single magic.

Adding an option to a parser is enough: the help, the documentation of the magic and the Tab key read the parser.
"""

from __future__ import annotations

import argparse
import keyword
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from dataflow_magic.cell.sweep import CALLS, WORDS
from dataflow_magic.cell.values import INVISIBLE, code_point, render
from dataflow_magic.errors import CellError, suggestion
from dataflow_magic.models.marker import MARKERS, Marker
from dataflow_magic.models.request import JobRef
from dataflow_magic.models.wire import JobCondition

__all__ = [
    "CONDITION_FIELDS",
    "JOB_HELP",
    "RUN_HELP",
    "HelpRequested",
    "LineParser",
    "add_condition",
    "add_target",
    "check_ranges",
    "condition_of",
    "marker_word",
    "minutes",
    "parse_job_ref",
    "python_name",
    "take_assignments",
    "whole_number",
]

WORKERS = range(2, 11)
"""numWorker of the G0 executeJob page and of createJob (2026-09)."""
TIMEOUT_MINUTES = range(1441)
"""timeout of the executeJob page."""
CONDITION_FIELDS = {
    "workers": "num_worker",
    "timeout": "timeout",
    "worker_type": "worker_type",
    "nrn": "nrn",
    "script_path": "script_path",
    "log_path": "log_path",
}
"""The field of the job condition that each option sets."""

SWEPT = re.compile(rf"({'|'.join(WORDS)})\(")
JOB_HELP = "name or id of a job; name:X and id:X force one"
RUN_HELP = "variable, run id or its beginning, key, or @last"


class HelpRequested(Exception):
    """The line asks for help, which is the text of this exception."""


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        raise HelpRequested(parser.format_help())


class LineParser(argparse.ArgumentParser):
    """argparse for the line of a magic: raises `CellError` instead of exiting, and accepts no abbreviations.

    The metavar of an argument says what its value is; the Tab key completes by it.

    Parameters
    ----------
    magic
        With its ``%`` or ``%%``.
    arguments
        What may follow the name of the magic, for the usage.
    description
        What the magic does.
    """

    def __init__(self, magic: str, arguments: str, description: str) -> None:
        self.written = f"{magic} {arguments}".rstrip()
        super().__init__(
            prog=magic,
            usage=self.written.replace("%", "%%"),
            description=description,
            add_help=False,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=30, width=110),
        )
        self.add_argument("--help", "-h", action=_Help, nargs=0, help="show this help")

    def read(self, line: str, namespace: Mapping[str, Any] | None = None) -> argparse.Namespace:
        """Return the options of a line.

        Parameters
        ----------
        namespace
            Replaces each whole word ``$name`` or ``{expression}`` by its value. Without it all words are literal.

        Returns
        -------
        argparse.Namespace
            The options by their names with ``_``, and ``notes``: one line for each name inside a word, which is literal.

        Raises
        ------
        CellError
            With line 1 for a cell magic. Of an unknown option it names the nearest known one.
        HelpRequested
            The line contains ``--help`` or ``-h``.
        """
        for character in line:
            if character not in " \t\r\n" and unicodedata.category(character) in INVISIBLE:
                raise self.mistake(
                    f"the line contains {code_point(character)}, which cannot be seen; remove it"
                )
        try:
            words = shlex.split(line)
        except ValueError as error:
            self.error(f"the line cannot be split into words: {error}")
        if swept := next((word for word in words if SWEPT.match(word)), None):
            raise self.mistake(
                f"{swept!r} is on the line; {CALLS} give values to a parameter of the block below it: "
                "month = each(1, 7)"
            )
        notes = () if namespace is None else tuple(_notes(words))
        if namespace is not None:
            words = [self._expand(word, namespace) for word in words]
        options = self.read_words(words)
        options.notes = notes
        return options

    def read_words(self, words: Sequence[str]) -> argparse.Namespace:
        """Return the options of words, each as it is; raises as `read`."""
        options, unknown = self.parse_known_args(words)
        if unknown:
            self._refuse(unknown[0].split("=")[0])
        return options

    def _expand(self, word: str, namespace: Mapping[str, Any]) -> str:
        """Replace a whole word ``$name`` or ``{expression}`` by its value, a run or a sweep by its name; keep any other word."""
        if word.startswith("$") and word[1:].isidentifier():
            expression = word[1:]
        elif word.startswith("{") and word.endswith("}"):
            expression = word[1:-1]
        elif word.startswith("{") and "}" not in word:
            raise self.mistake(f"{word!r} has no closing brace; quote an expression that contains spaces")
        else:
            return word
        try:
            value = eval(expression, dict(namespace))  # noqa: S307 - the user's own code, in the user's own kernel
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's expression raises
            raise self.mistake(f"{word}: {type(error).__name__}: {error}") from None
        try:
            named = getattr(type(value), "_dataflow_name_", None)
            return str(named(value)) if named else render(value)
        except ValueError as error:
            raise self.mistake(f"{word} {error}") from None

    def error(self, message: str) -> NoReturn:
        """Raise a `CellError` that also names the help of the magic."""
        raise self.mistake(f"{message}; see {self.prog.replace('%%', '%')} --help")

    def mistake(self, message: str) -> CellError:
        """Return the error for a line that cannot be used, with the line's number in a cell."""
        return CellError(message, line=1 if self.prog.startswith("%%") else None)

    def _refuse(self, word: str) -> NoReturn:
        near = suggestion(word, [flag for action in self._actions for flag in action.option_strings])
        if word.startswith("-"):
            self.error(f"unknown option {word!r}{near}")
        raise self.mistake(f"unexpected word {word!r}{near}; write {self.written}")

    def flags(self) -> list[str]:
        """Return every long option, in the order of the help."""
        return [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]

    def takes_value(self, flag: str) -> bool:
        """Return whether a flag is one of an option that must have a value."""
        return any(flag in action.option_strings and action.nargs not in (0, "?") for action in self._actions)

    def value_of(self, flag: str) -> str:
        """Return the metavar of an option's value."""
        return next(str(action.metavar) for action in self._actions if flag in action.option_strings)

    def argument_at(self, position: int) -> str:
        """Return the metavar of a positional argument by its position from 0; empty where none is accepted."""
        arguments = [action for action in self._actions if not action.option_strings]
        if arguments and arguments[-1].nargs == "*":
            position = min(position, len(arguments) - 1)
        return str(arguments[position].metavar) if position < len(arguments) else ""


def add_condition(parser: LineParser, title: str) -> None:
    """Add the options of the job condition, which `condition_of` reads."""
    add = parser.add_argument_group(title).add_argument
    add("--workers", "-w", type=whole_number, metavar="N", help="number of workers, 2-10")
    add("--timeout", type=whole_number, metavar="MINUTES", help="time limit of the run, 0-1440 minutes")
    add("--worker-type", metavar="TYPE", help="DEFAULT or DATAFLOW; rarely needed")
    add("--nrn", metavar="NRN", help="role of the run")
    add("--script-path", metavar="PATH", help="bucket/prefix/ of the script")
    add("--log-path", metavar="PATH", help="bucket/prefix/ of the logs")


def add_target(add: Callable[..., Any]) -> None:
    """Add the options that choose the service, with the ``add_argument`` of a parser or of a group."""
    add("--target", metavar="TARGET", help="cloud, local, the name of a profile, or a URL")
    add("--profile", metavar="PROFILE", help="profile of ~/.ncloud/configure")


def condition_of(options: Mapping[str, Any]) -> JobCondition:
    """Return the job condition that options set, by their names with ``_``; other names are ignored."""
    fields = {field: options.get(name) for name, field in CONDITION_FIELDS.items()}
    return JobCondition(**{field: value for field, value in fields.items() if value is not None})


def check_ranges(condition: JobCondition, *, force: bool = False) -> None:
    """Refuse values that the service refuses by the vendor's documentation, unless ``force``.

    Raises
    ------
    CellError
        With the value and the range.
    """
    if force:
        return
    workers, timeout = condition.num_worker, condition.timeout
    if workers is not None and workers not in WORKERS:
        raise CellError(
            f"{workers} workers: the number is outside 2-10; --force (force=True) sends it anyway"
        )
    if timeout is not None and timeout not in TIMEOUT_MINUTES:
        raise CellError(
            f"timeout {timeout}: the minutes are outside 0-1440; --force (force=True) sends them anyway"
        )


def parse_job_ref(text: str | None) -> JobRef:
    """Read ``NAME``, ``ID``, ``name:NAME`` or ``id:ID``.

    Raises
    ------
    CellError
        There is no text, or the id has characters that would change the path of the request.
    """
    kind, colon, rest = (text or "").partition(":")
    ref = (
        JobRef(rest, "id" if kind == "id" else "name")
        if colon and kind in {"id", "name"}
        else JobRef(text or "")
    )
    if not ref.text:
        raise CellError("no job is given; write %%dataflow_run JOB with the name or id of a job")
    if ref.kind == "id" and not re.fullmatch(r"[A-Za-z0-9_-]+", ref.text):
        raise CellError(f"{ref.text!r} is not a job id; a job id has only letters and digits")
    return ref


def whole_number(text: str) -> int:
    """Return the value of an option that takes a whole number.

    Raises
    ------
    argparse.ArgumentTypeError
        The text is not one.
    """
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def python_name(text: str) -> str:
    """Return the value of an option that takes the name of a variable.

    Raises
    ------
    argparse.ArgumentTypeError
        The text is not one.
    """
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a Python name")
    return text


def marker_word(text: str) -> Marker:
    """Return the value of an option that says where the marker is sent.

    Raises
    ------
    argparse.ArgumentTypeError
        The text is none of the words.
    """
    for word in MARKERS:
        if text == word:
            return word
    raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(MARKERS)}")


def minutes(text: str) -> float:
    """Return the value of an option that takes minutes.

    Raises
    ------
    argparse.ArgumentTypeError
        The text is not a finite number of at least 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes")
    return value


ASSIGNMENT = re.compile(r"\$?[^\W\d]\w*(?:,[^\W\d]\w*)*=(?!=)")
OPENING, CLOSING = "([{", ")]}"


def take_assignments(line: str) -> tuple[str, list[str]]:
    """Return a line without its words ``name=expression``, and these words as written.

    Such a word ends at the first blank that is neither in a Python string nor in brackets: ``origin=each("JFK", "EWR")``.
    """
    rest: list[str] = []
    taken: list[str] = []
    start = 0
    while start < len(line):
        is_taken = ASSIGNMENT.match(line, start) is not None
        end = _end_of_word(line, start, OPENING if is_taken else "")
        (taken if is_taken else rest).append(line[start:end])
        start = end + 1
    return " ".join(rest), taken


def _end_of_word(line: str, start: int, opening: str) -> int:
    """Return where a word ends: at a blank outside quotes and outside the brackets that the opening signs begin."""
    depth, quote, place = 0, "", start
    while place < len(line):
        sign = line[place]
        if sign == "\\":
            place += 1
        elif quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in opening:
            depth += 1
        elif sign in CLOSING:
            depth -= 1
        elif sign in " \t\r\n" and depth <= 0:
            break
        place += 1
    return place


NAME_INSIDE = re.compile(r"\$[^\W\d]\w*|\{[^{}]+\}")


def _notes(words: Iterable[str]) -> Iterator[str]:
    """Yield a line for each word that contains a name or an expression and is not one as a whole."""
    for word in words:
        is_whole = (word[:1] == "$" and word[1:].isidentifier()) or (word[:1] == "{" and word[-1:] == "}")
        if not is_whole and (inside := NAME_INSIDE.search(word)):
            written = re.sub(r"\$([^\W\d]\w*)", r"{\1}", word)
            yield (
                f"{word!r} is sent as written: {inside[0]} is replaced only where it is a whole word; "
                f"""write "{{f{written!r}}}" for its value"""
            )
