"""A parameter block of JSON: text to parameters and a job condition, sent as written. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from dataflow_magic.cell.sweep import WORDS
from dataflow_magic.cell.values import check_name, check_text
from dataflow_magic.errors import CellError, suggestion
from dataflow_magic.models.secret import Parameter
from dataflow_magic.models.wire import JobCondition

__all__ = ["parse_json_block"]

Lines = Mapping[tuple[str | int, ...], int]
"""The cell's line of each key, by the path that leads to it."""

BODY = frozenset({"jobCondition", "parameters"})
FIELDS = frozenset(str(field.validation_alias) for field in JobCondition.model_fields.values())
SWEEP_WORD = re.compile(rf":\s*({'|'.join(WORDS)})\s*\(")

TOKEN = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*"(?=\s*:))|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<open>[{\[])|(?P<close>[}\]])|(?P<comma>,)|(?P<word>[-+.\w]+)"
)


def parse_json_block(
    text: str, first_line: int
) -> tuple[dict[str, Parameter], JobCondition, tuple[str, ...]]:
    """Read one JSON object: a map of parameters, or the request body of the executeJob page.

    Parameters
    ----------
    text
        Begins with a brace.
    first_line
        The number of its first line in the cell, for messages.

    Returns
    -------
    tuple
        Parameters by their keys as written; the job condition, empty in a map of parameters; warnings, one line each.

    Raises
    ------
    CellError
        With the cell's line, for what is not valid JSON, a repeated key, or a value that no request can carry.
    """
    document = _load(text, first_line)
    lines = _key_lines(text, first_line)
    if not document or not set(document) <= BODY:
        return _parameters(document, lines), JobCondition(), _warnings(document)
    for key, part in document.items():
        if not isinstance(part, dict):
            raise CellError(f'"{key}" must be a JSON object in a request body', line=lines[key,])
    parameters = _parameters(document.get("parameters", {}), lines, "parameters")
    return parameters, _condition(document.get("jobCondition", {}), lines), _warnings(parameters)


def _load(text: str, first_line: int) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        line = error.lineno + first_line - 1
        if word := SWEEP_WORD.search(text):
            raise CellError(
                f"{word[1]}(...) has no meaning in JSON; write the block as assignments, name = {word[1]}(...)",
                line=line,
            ) from None
        raise CellError(
            f"the block is not valid JSON: {error.msg} (column {error.colno})", line=line
        ) from None
    except (RecursionError, ValueError) as error:
        raise CellError(f"the block cannot be read as JSON ({error})", line=first_line) from None
    return document


def _key_lines(text: str, first_line: int) -> Lines:
    """Return the lines of all keys of well-formed JSON; refuse what ``json`` accepts and no request can carry."""
    lines: dict[tuple[str | int, ...], int] = {}
    path: list[str | int] = []  # of the current key or list item
    for token in TOKEN.finditer(text):
        line = first_line + text.count("\n", 0, token.start())
        match token.lastgroup:
            case "open":
                path.append(0)
            case "close":
                path.pop()
            case "comma" if isinstance(path[-1], int):
                path[-1] += 1
            case "key":
                path[-1] = _checked_key(token[0], line)
                if tuple(path) in lines:
                    raise CellError(f'"{path[-1]}" is given twice; each parameter has one value', line=line)
                lines[tuple(path)] = line
            case "text":
                _checked_text(token[0], line)
            case "word" if token[0] not in {"true", "false", "null"} and not math.isfinite(float(token[0])):
                raise CellError(f"{token[0]} is not a finite number", line=line)
    return lines


def _checked_text(literal: str, line: int) -> str:
    try:
        return check_text(json.loads(literal), f"{literal} is text that")
    except ValueError as error:
        raise CellError(str(error), line=line) from None


def _checked_key(literal: str, line: int) -> str:
    try:
        check_name(literal)  # before its escapes are read: what is written out is seen
    except ValueError as error:
        raise CellError(f"{literal!a} {error}, or escape it to send it", line=line) from None
    return _checked_text(literal, line)


def _parameters(values: dict[str, Any], lines: Lines, *parents: str) -> dict[str, Parameter]:
    for key, value in values.items():
        if value is None or isinstance(value, dict | list):
            kind = "null" if value is None else "an object" if isinstance(value, dict) else "a list"
            raise CellError(
                f'"{key}" is {kind}; a parameter is text, a number, true or false{_hint(key, value, parents)}',
                line=lines[*parents, key],
            )
    return values


def _hint(key: str, value: object, parents: tuple[str, ...]) -> str:
    if isinstance(value, list):
        return (
            f"; for a run per value write the block as assignments, {key.lstrip('$') or 'name'} = each(...)"
        )
    if not isinstance(value, dict) or parents:
        return ""
    if key in BODY:
        return '; a whole request body has only "jobCondition" and "parameters"'
    return suggestion(key, sorted(BODY))


def _condition(fields: dict[str, Any], lines: Lines) -> JobCondition:
    for key in fields:
        if key not in FIELDS and (near := suggestion(key, sorted(FIELDS))):
            raise CellError(f"the job condition has no field {key!r}{near}", line=lines["jobCondition", key])
    try:
        return JobCondition.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise CellError(f"jobCondition.{key}: {first['msg']}", line=lines["jobCondition", key]) from None


def _warnings(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    bare = [key for key in parameters if not key.startswith("$")]
    return (
        (f"sent as written, without the leading $ of the service's examples: {', '.join(bare)}",)
        if bare
        else ()
    )
