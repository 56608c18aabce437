"""Parameter values that are sent and never shown, and masking of texts that contain them.

A `Secret` holds a mark instead of its value; equal values have equal marks within one process. Only this module holds the
values, so no repr, traceback, pickle or file of a run contains one. Marks are random; another process knows the mark of a
stored run but not its value.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from re import Pattern
from typing import Any, Final

from dataflow_magic.models.spelling import any_spelling, in_base64, in_every_spelling, unescaped_letters
from dataflow_magic.models.wire import JobExecution, Scalar

__all__ = ["MASK", "Parameter", "Secret", "is_any_unknown", "masked", "masked_text", "secret_names"]

MASK: Final = "••••••"
"""Shown for any secret, whatever its length."""
SHORTEST: Final = 4
"""Characters of the shortest value that is masked inside other text: a shorter one would mask unrelated words. Under the
name of its parameter, a value of any length is masked."""
PLAIN_FIELDS: Final = frozenset(
    {
        "jobExecutionId", "jobId", "jobName", "status", "startDate", "endDate", "createdDate", "triggerId",
        "triggerName", "workflowId", "waitingTime", "runningTime", "executorNum", "type",
    }
)  # fmt: skip
"""Fields of a snapshot that are never masked: they do not depend on parameters, and ids must stay intact."""

_Spelled = tuple[str, Pattern[str]]

_lock = threading.Lock()
_marks: dict[str, str] = {}
"""By value."""
_values: dict[str, str] = {}
"""By mark."""
_seen: dict[str, set[str]] = {}
"""By mark: texts that services sent as the secret's value."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Stands for a parameter value that is sent and not shown; made by `dataflow_magic.secret`.

    Parameters
    ----------
    mark
        Equal for equal values; empty where only the fact that a value is secret matters.
    """

    mark: str = ""

    @classmethod
    def of(cls, value: str) -> Secret:
        """Return the secret of a value in this process."""
        with _lock:
            mark = _marks.setdefault(value, secrets.token_hex(8))
            _values[mark] = value
        return cls(mark)

    @classmethod
    def unknown(cls) -> Secret:
        """Return a new secret whose value this process does not know; a service may send it."""
        return cls(secrets.token_hex(8))

    def reveal(self) -> str | None:
        """Return the value, for the body of a request; None where this process does not know it."""
        return _values.get(self.mark)

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK


Parameter = Scalar | Secret
"""A parameter value before it is sent."""


def secret_names(parameters: Mapping[str, Parameter]) -> list[str]:
    """Return the names of the secret parameters, without their ``$``."""
    return [name.removeprefix("$") for name, value in parameters.items() if isinstance(value, Secret)]


def is_any_unknown(parameters: Mapping[str, Parameter]) -> bool:
    """Whether the value of any secret is still unknown to this process."""
    return any(
        isinstance(value, Secret) and value.reveal() is None and not _seen.get(value.mark)
        for value in parameters.values()
    )


def masked_text(text: str, parameters: Mapping[str, Parameter]) -> str:
    """Return a text with the values of secret parameters masked, as far as this process knows them."""
    return _mask(text, _patterns(value for value in parameters.values() if isinstance(value, Secret)))


def masked(execution: JobExecution, parameters: Mapping[str, Parameter]) -> JobExecution:
    """Return a snapshot with the values of secret parameters masked, wherever the service put them."""
    hidden = {
        name.removeprefix("$"): value for name, value in parameters.items() if isinstance(value, Secret)
    }
    if not hidden:
        return execution
    wire = execution.to_wire()
    rest = {name: part for name, part in wire.items() if name not in PLAIN_FIELDS}
    _learn(rest, hidden)
    patterns = _patterns(hidden.values())
    hidden_rest = {name: _hide(part, hidden, patterns) for name, part in rest.items()}
    return execution if hidden_rest == rest else JobExecution.model_validate(wire | hidden_rest)


def _learn(part: Any, hidden: Mapping[str, Secret]) -> None:
    """Remember how a service spells a secret: its other texts and a log may contain the same."""
    if isinstance(part, list):
        for each in part:
            _learn(each, hidden)
    elif isinstance(part, dict):
        for name, value in part.items():
            secret = _secret_at(name, part, hidden)
            if secret and secret.mark and isinstance(value, str) and value not in {"", MASK}:
                with _lock:
                    _seen.setdefault(secret.mark, set()).add(value)
            _learn(value, hidden)


def _hide(part: Any, hidden: Mapping[str, Secret], patterns: Sequence[_Spelled]) -> Any:
    if isinstance(part, dict):
        return {
            name: MASK if _secret_at(name, part, hidden) else _hide(value, hidden, patterns)
            for name, value in part.items()
        }
    if isinstance(part, list):
        return [_hide(each, hidden, patterns) for each in part]
    return _mask(part, patterns) if isinstance(part, str) else part


def _secret_at(name: str, fields: Mapping[str, Any], hidden: Mapping[str, Secret]) -> Secret | None:
    """Return the secret whose value a field holds: by the field's name, or by its sibling in ``{"name": ..., "value": ...}``."""
    beside = fields.get("name")
    if name == "value" and isinstance(beside, str) and beside.removeprefix("$") in hidden:
        return hidden[beside.removeprefix("$")]
    return hidden.get(name.removeprefix("$"))


def _patterns(hidden: Iterable[Secret]) -> list[_Spelled]:
    """Return what finds secrets in other text: a pattern, and a text that each of its matches has."""
    texts: set[str] = set()
    for secret in set(hidden):
        with _lock:
            values = {_values.get(secret.mark, ""), *_seen.get(secret.mark, ())}
        for value in values:
            # A log shows a key of several lines line by line.
            texts |= {value, value.strip(), *map(str.strip, value.splitlines()), *in_base64(value)}
    return [(in_every_spelling(text), any_spelling(text)) for text in sorted(texts) if len(text) >= SHORTEST]


def _mask(text: str, patterns: Sequence[_Spelled]) -> str:
    """Return a text without what the patterns find, also where letters and digits are escaped without need."""
    text = _replaced(text, patterns)
    plain = unescaped_letters(text)
    hidden = _replaced(plain, patterns) if plain != text else plain
    return hidden if hidden != plain else text


def _replaced(text: str, patterns: Sequence[_Spelled]) -> str:
    """Return a text with one mask for each stretch of overlapping matches."""
    kept, end = [], 0
    near = [pattern for part, pattern in patterns if part in text]
    for start, stop in sorted(match.span() for pattern in near for match in pattern.finditer(text)):
        if start >= end:
            kept += [text[end:start], MASK]
        end = max(end, stop)
    return "".join([*kept, text[end:]])
