"""Parameters whose values are sent and never shown: what stands for them, and texts of a service without them. Pure.

A `Secret` holds no value, only a mark that is the same for the same value within one process. The values are in this
module alone, so no repr, traceback with its variables, pickle or file of a run can tell one. Marks are random and say
nothing of a value; in another process a mark stands for a value that is not known there.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from dataflow_magic.models.wire import JobExecution, Scalar

__all__ = ["MASK", "Parameter", "Secret", "is_any_unknown", "masked", "masked_text", "secret_names"]

MASK: Final = "••••••"
"""What is shown of any secret: it tells no length."""
SHORTEST: Final = 4
"""Characters of the shortest value that is looked for in prose: a shorter one would blot out words that have nothing to
do with it. Where its parameter is told by name, it is masked all the same."""
PLAIN_FIELDS: Final = frozenset(
    {
        "jobExecutionId", "jobId", "jobName", "status", "startDate", "endDate", "createdDate", "triggerId",
        "triggerName", "workflowId", "waitingTime", "runningTime", "executorNum", "type",
    }
)  # fmt: skip
"""Of a run's snapshot: what says nothing of its parameters, and must stay what it is."""

_lock = threading.Lock()
_marks: dict[str, str] = {}
"""By value."""
_values: dict[str, str] = {}
"""By mark."""
_told: dict[str, set[str]] = {}
"""By mark: how services told its value, where that is not known or told otherwise."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A parameter's value that is sent and not shown; made by `dataflow_magic.secret`.

    Parameters
    ----------
    mark
        Equal for equal values; empty where only that a value is secret matters.
    """

    mark: str = ""

    @classmethod
    def of(cls, value: str) -> Secret:
        """Return what stands for a value in this process."""
        with _lock:
            mark = _marks.setdefault(value, secrets.token_hex(8))
            _values[mark] = value
        return cls(mark)

    @classmethod
    def unknown(cls) -> Secret:
        """Return a secret of its own whose value nobody here was given; a service may tell it."""
        return cls(secrets.token_hex(8))

    def reveal(self) -> str | None:
        """Return the value; None where another process was given it. For who writes a request's body."""
        return _values.get(self.mark)

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK


Parameter = Scalar | Secret
"""What a parameter may be before it is sent."""


def secret_names(parameters: Mapping[str, Parameter]) -> list[str]:
    """Return the names of the parameters that are secret, without their ``$``."""
    return [name.removeprefix("$") for name, value in parameters.items() if isinstance(value, Secret)]


def is_any_unknown(parameters: Mapping[str, Parameter]) -> bool:
    """Say whether a secret is among the parameters that another process was given and no service has told here yet."""
    return any(
        isinstance(value, Secret) and value.reveal() is None and not _told.get(value.mark)
        for value in parameters.values()
    )


def masked_text(text: str, parameters: Mapping[str, Parameter]) -> str:
    """Return a text without the values of secret parameters, as far as they are known in this process."""
    for word in _words(value for value in parameters.values() if isinstance(value, Secret)):
        text = text.replace(word, MASK)
    return text


def masked(execution: JobExecution, parameters: Mapping[str, Parameter]) -> JobExecution:
    """Return a snapshot without the values of secret parameters, whatever the service tells of them."""
    hidden = {
        name.removeprefix("$"): value for name, value in parameters.items() if isinstance(value, Secret)
    }
    if not hidden:
        return execution
    wire = execution.to_wire()
    rest = {name: part for name, part in wire.items() if name not in PLAIN_FIELDS}
    _learn(rest, hidden)
    words = _words(hidden.values())
    told = {name: _hide(part, hidden, words) for name, part in rest.items()}
    return execution if told == rest else JobExecution.model_validate(wire | told)


def _learn(part: Any, hidden: Mapping[str, Secret]) -> None:
    """Take note of how a service tells a secret: the same may stand in its other words, and in a log."""
    if isinstance(part, list):
        for each in part:
            _learn(each, hidden)
    elif isinstance(part, dict):
        for name, value in part.items():
            secret = _secret_at(name, part, hidden)
            if secret and secret.mark and isinstance(value, str) and value not in {"", MASK}:
                with _lock:
                    _told.setdefault(secret.mark, set()).add(value)
            _learn(value, hidden)


def _hide(part: Any, hidden: Mapping[str, Secret], words: list[str]) -> Any:
    if isinstance(part, dict):
        return {
            name: MASK if _secret_at(name, part, hidden) else _hide(value, hidden, words)
            for name, value in part.items()
        }
    if isinstance(part, list):
        return [_hide(each, hidden, words) for each in part]
    if isinstance(part, str):
        for word in words:
            part = part.replace(word, MASK)
    return part


def _secret_at(name: str, fields: Mapping[str, Any], hidden: Mapping[str, Secret]) -> Secret | None:
    """Return the secret a field has the value of: by its own name, or by that beside it as in ``{"name": ..., "value": ...}``."""
    beside = fields.get("name")
    if name == "value" and isinstance(beside, str) and beside.removeprefix("$") in hidden:
        return hidden[beside.removeprefix("$")]
    return hidden.get(name.removeprefix("$"))


def _words(hidden: Iterable[Secret]) -> list[str]:
    """Return the texts a secret may stand as in other text, the longest first."""
    words: set[str] = set()
    for secret in set(hidden):
        with _lock:
            values = {_values.get(secret.mark, ""), *_told.get(secret.mark, ())}
        for value in values:
            # A key of several lines is read line by line in a log.
            for text in {value, value.strip(), *map(str.strip, value.splitlines())}:
                words |= _spellings(text) if len(text) >= SHORTEST else set()
    return sorted(words, key=lambda word: (-len(word), word))


def _spellings(text: str) -> set[str]:
    """Return a text as it is, and as it stands in JSON, in a Python message and in an address."""
    quoted = json.dumps(text, ensure_ascii=False), json.dumps(text), repr(text)
    return {text, quote(text, safe=""), quote(text), *(each[1:-1] for each in quoted)}
