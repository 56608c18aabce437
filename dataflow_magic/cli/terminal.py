"""What the command line prints: results on standard output, everything a person reads meanwhile on standard error.

Magics and commands have the same words and options, so texts that name a magic name the command here. Knows no run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Mapping
from typing import TextIO

from dataflow_magic.card.words import ENGLISH, Words, words_of
from dataflow_magic.config.settings import language
from dataflow_magic.errors import ConfigError
from dataflow_magic.models.text import clean

__all__ = ["Terminal", "as_commands", "in_words"]

COMMANDS = {
    "attach": "status",
    **{
        name: name for name in ("cancel", "jobs", "logs", "run", "runs", "stages", "status", "sweeps", "wait")
    },
}
"""The command for each magic that has one."""
MAGIC = re.compile(rf"%%?dataflow_({'|'.join(COMMANDS)})\b")
REST = re.compile(r"%dataflow_attach \S+ starts the rest")
"""A command that only shows a run starts nothing."""
CLEAR = "\r\x1b[2K"
"""Returns to the begin of a line and empties it, on any terminal that has a cursor."""
NARROWEST = 20


def as_commands(text: str) -> str:
    """Return a text with the command in place of each magic: ``dataflow-magic wait`` for ``%dataflow_wait``."""
    text = REST.sub("the same dataflow-magic sweep command starts the rest", text)
    return MAGIC.sub(lambda found: f"dataflow-magic {COMMANDS[found[1]]}", text)


def in_words(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return a message of this package in the language of the environment."""
    try:
        return words_of(language("auto", environment)).sentence(text)
    except ConfigError:  # the language itself is wrong
        return text


class Terminal:
    """Where a command writes.

    Parameters
    ----------
    out, err
        Standard output and standard error.
    environment
        ``TERM`` says whether the terminal has a cursor.
    is_json
        Whether standard output has JSON only; then a person reads no more than errors.
    words
        Translates what a person reads.
    """

    def __init__(
        self,
        out: TextIO | None = None,
        err: TextIO | None = None,
        *,
        environment: Mapping[str, str],
        is_json: bool = False,
        words: Words = ENGLISH,
    ) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._is_json = is_json
        self._words = words
        self._is_drawn = False
        self.has_cursor = self._err.isatty() and environment.get("TERM", "dumb") != "dumb"

    def result(self, text: str) -> None:
        """Write a result to standard output."""
        self._erase()
        _write(self._out, f"{as_commands(text)}\n")

    def quote(self, text: str) -> None:
        """Write text of a script to standard output."""
        self._erase()
        _write(self._out, f"{text}\n")

    def json(self, value: object) -> None:
        """Write a value as one line of JSON to standard output."""
        self._erase()
        _write(self._out, f"{json.dumps(value)}\n")

    def say(self, text: str) -> None:
        """Write what a person reads to standard error; nothing where a program reads JSON."""
        if not self._is_json:
            self.warn(text)

    def warn(self, text: str, *, begin: str = "") -> None:
        """Write an error or a note to standard error, below the words of its begin."""
        self._erase()
        _write(self._err, f"{begin}{as_commands(self._words.sentence(text))}\n")

    def draw(self, line: str) -> None:
        """Write a line over the last one that was drawn, cut to the width of the terminal."""
        width = max(shutil.get_terminal_size().columns - 1, NARROWEST)
        _write(self._err, f"{CLEAR}{_cut(clean(line), width)}")
        self._is_drawn = True

    def _erase(self) -> None:
        if self._is_drawn:
            self._is_drawn = False
            _write(self._err, CLEAR)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


def _cut(line: str, width: int) -> str:
    """Return as much of a line as fits into so many columns; a Korean or Japanese character takes two."""
    used = 0
    for place, character in enumerate(line):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else not unicodedata.combining(character)
        if used > width:
            return f"{line[: place - 1]}…"
    return line
