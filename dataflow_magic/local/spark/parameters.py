"""Puts parameters into a script: each ``$name`` becomes its value in the script's syntax tree. Pure; knows no file.

The text of a value never becomes syntax. Inside a string literal the value is text; elsewhere it is a literal. So
quotes, backslashes and newlines arrive exactly, and no value can add code to a script.
"""

from __future__ import annotations

import ast
import io
import math
import re
import shlex
import tokenize
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any, NamedTuple

__all__ = ["WORDS", "FilledScript", "ScriptProblem", "fill_script"]

WORDS = "argv"
"""The parameter whose words, split as a shell splits them, are a script's first arguments."""
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_BOOLS = {"true": True, "True": True, "false": False, "False": False}


class ScriptProblem(Exception):
    """A path, a script or a parameter that cannot be used; the message is for the user who sent it."""


@dataclass(frozen=True, slots=True)
class FilledScript:
    """A script with its parameters.

    Parameters
    ----------
    code
        The compiled script; None when its text uses no parameter and can run unchanged.
    arguments
        For the parameters that the text does not use: the words of `WORDS`, then ``--name=value`` for each other one, in the
        given order.
    """

    code: CodeType | None
    arguments: tuple[str, ...]


class _Use(NamedTuple):
    """A place in the script that names a parameter."""

    name: str
    line: int
    mark: str


def fill_script(text: str, parameters: Mapping[str, str], *, path: str) -> FilledScript:
    """Return the script with the value of each parameter in the place of its ``$name``.

    A name ends where no word character follows: with a parameter ``table``, ``$table_name`` stays. Names are case
    sensitive; where two match, the longer one wins. A ``$other`` inside a value stays, as do names in comments and names
    of no parameter. Outside a string literal a number becomes int or float, ``true`` and ``false`` (also capitalized)
    become bool, and any other value becomes str.

    Parameters
    ----------
    parameters
        Name to value; a leading ``$`` of a name is optional.
    path
        The file that tracebacks name.

    Raises
    ------
    ScriptProblem
        `WORDS` cannot be split; a parameter's name is empty or given twice; a value holds a character that no script can receive (NUL, a lone
        surrogate); a ``$name`` is where Python allows no value, such as ``col_$name``; or the script has a syntax error.
    """
    values = _plain_names(parameters)
    marked, uses = _mark(text, values)
    code = None
    used: set[str] = set()
    if uses:
        try:
            code, filled = _compile(text, marked, uses, values, path)
        except (RecursionError, MemoryError):  # Python's parser reports deep nesting as either
            raise ScriptProblem(
                f"{path.rpartition('/')[2]} is nested too deeply for parameters: split its longest expression"
            ) from None
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            where = f"line {line}: " if line else ""
            raise ScriptProblem(
                f"{path.rpartition('/')[2]}, {where}{getattr(error, 'msg', None) or error}"
            ) from None
        used = {use.name for use in uses if use.mark in filled}
    rest = {name: value for name, value in values.items() if name not in used}
    words = _words(rest.pop(WORDS, ""))
    return FilledScript(
        code if used else None, (*words, *(f"--{name}={value}" for name, value in rest.items()))
    )


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ScriptProblem(
            f"the parameter {WORDS} cannot be split into words ({error}): check its quotes"
        ) from None


def _mark(text: str, values: Mapping[str, str]) -> tuple[str, list[_Use]]:
    """Replace each ``$name`` by an identifier that is new to the text, so that Python can parse it."""
    uses: list[_Use] = []
    if not values:
        return text, uses
    prefix = "_parameter_"
    while prefix in text:
        prefix += "_"

    def mark(found: re.Match[str]) -> str:
        use = _Use(found[1], text.count("\n", 0, found.start()) + 1, f"{prefix}{len(uses)}_")
        uses.append(use)
        return use.mark

    names = "|".join(re.escape(name) for name in sorted(values, key=len, reverse=True))
    return re.sub(rf"\$({names})(?!\w)", mark, text), uses


def _compile(
    text: str, marked: str, uses: list[_Use], values: Mapping[str, str], path: str
) -> tuple[CodeType, set[str]]:
    """Return the code with values in place of marks, and the marks that were replaced."""
    fill = _Fill({use.mark: values[use.name] for use in uses})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those about the script's own text, such as an invalid escape
        tree = ast.parse(marked, path)
        fill.replace_in(tree)
        _check_all_are_replaced(marked, uses, fill.filled, path)
        _cover_lines(tree, text, {use.line for use in uses})
        return compile(tree, path, "exec", dont_inherit=True), fill.filled


class _Fill:
    """Replaces marks in string literals and where Python evaluates a name."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._any = re.compile("|".join(map(re.escape, values)))
        self.filled: set[str] = set()

    def replace_in(self, tree: ast.AST) -> None:
        # Not a NodeTransformer: it recurses, and would fail at some 150 chained calls.
        for parent in ast.walk(tree):
            for field, child in ast.iter_fields(parent):
                if isinstance(child, list):
                    child[:] = map(self._replaced, child)
                else:
                    setattr(parent, field, self._replaced(child))

    def _replaced(self, node: Any) -> Any:
        match node:
            case ast.Constant(value=str(text)):
                node.value = self._any.sub(self._value_of, text)
            case ast.Constant(value=bytes(data)) if self._any.search(text := data.decode("latin-1")):
                # Latin-1 maps each byte to a character and back; the value itself becomes UTF-8.
                filled = self._any.sub(lambda mark: self._value_of(mark).encode().decode("latin-1"), text)
                node.value = filled.encode("latin-1")
            case ast.Name(id=mark, ctx=ast.Load()) if mark in self._values:
                self.filled.add(mark)
                return ast.copy_location(ast.Constant(_literal(self._values[mark])), node)
        return node

    def _value_of(self, found: re.Match[str]) -> str:
        self.filled.add(found[0])
        return self._values[found[0]]


def _literal(value: str) -> str | float | bool:
    """Return the number or bool that the text spells, else the text."""
    if value in _BOOLS:
        return _BOOLS[value]
    found = _NUMBER.fullmatch(value)
    if found is None:
        return value
    try:
        number = int(value) if found[1] is None and found[2] is None else float(value)
    except ValueError:  # more digits than Python converts
        return value
    return number if math.isfinite(number) else value


def _check_all_are_replaced(marked: str, uses: list[_Use], filled: set[str], path: str) -> None:
    left = [use for use in uses if use.mark not in filled]
    if not left:
        return
    tokens = tokenize.generate_tokens(io.StringIO(marked).readline)
    comments = "\n".join(token.string for token in tokens if token.type == tokenize.COMMENT)
    for use in left:
        if use.mark not in comments:
            raise ScriptProblem(
                f"{path.rpartition('/')[2]}, line {use.line}: no value can replace ${use.name} here; "
                f'write it alone, or inside quotes as "...${use.name}..."'
            )


def _cover_lines(tree: ast.AST, text: str, changed: set[int]) -> None:
    """Let code on changed lines cover the whole line, or tracebacks would underline the wrong characters."""
    lines = text.encode().splitlines()
    for node in ast.walk(tree):
        if getattr(node, "lineno", None) in changed:
            line = lines[node.lineno - 1]  # type: ignore[attr-defined]
            node.col_offset = len(line) - len(line.lstrip())  # type: ignore[attr-defined]
        if getattr(node, "end_lineno", None) in changed:
            node.end_col_offset = len(lines[node.end_lineno - 1].rstrip())  # type: ignore[attr-defined]


def _plain_names(parameters: Mapping[str, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for given, value in parameters.items():
        name = given.removeprefix("$")
        if not name:
            raise ScriptProblem(f"the parameter {given!r} has no name: write $name")
        if name in values:
            raise ScriptProblem(f"the parameter {name} is given twice, with $ and without: keep one")
        if "\0" in name + value or _has_surrogate(name + value):
            raise ScriptProblem(
                f"the parameter {name!r} holds a character that no script can receive (NUL or a lone surrogate)"
            )
        values[name] = value
    return values


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
