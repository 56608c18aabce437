"""Puts parameters into a script: each ``$name`` becomes its value in the script's syntax tree. Pure; knows no file.

The text of a value never becomes syntax. Inside a string literal the value is text; elsewhere it is a literal of its
own. So quotes, backslashes and newlines arrive exactly, and no value can add code to a script.
"""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType
from typing import NamedTuple

__all__ = ["FilledScript", "ScriptProblem", "fill_script"]

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
        The compiled script; None when its text uses no parameter, so that Python compiles the text as it is.
    arguments
        ``--name=value`` for each parameter that the text does not use, in the order given.
    """

    code: CodeType | None
    arguments: tuple[str, ...]


class _Use(NamedTuple):
    """A place of the script that names a parameter."""

    name: str
    line: int
    mark: str


def fill_script(text: str, parameters: Mapping[str, str], *, path: str) -> FilledScript:
    """Return the script with the value of each known ``$name`` in its place.

    A name ends where no word character follows: ``$table`` leaves ``$table_name`` alone. Names are case sensitive;
    where two fit, the longer wins. A value that holds ``$other`` is not replaced again, and names in comments or of
    no parameter stay. Outside a string literal a number arrives as int or float, ``true`` and ``false`` (also
    capitalized) as bool, and any other text as str.

    Parameters
    ----------
    parameters
        Name to value; the names with their leading ``$``, or without.
    path
        The file that tracebacks name.

    Raises
    ------
    ScriptProblem
        A parameter's name is empty or given twice; a value holds a character that no script can receive (NUL, a lone
        surrogate); a ``$name`` stands where no value can, such as ``col_$name``; or the script has a syntax error.
    """
    values = _plain_names(parameters)
    marked, uses = _mark(text, values)
    code = None
    used: set[str] = set()
    if uses:
        try:
            code, filled = _compile(text, marked, uses, values, path)
        except (SyntaxError, ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            where = f"line {line}: " if line else ""
            raise ScriptProblem(
                f"{path.rpartition('/')[2]}, {where}{getattr(error, 'msg', None) or error}"
            ) from None
        used = {use.name for use in uses if use.mark in filled}
    rest = tuple(f"--{name}={value}" for name, value in values.items() if name not in used)
    return FilledScript(code if used else None, rest)


def _mark(text: str, values: Mapping[str, str]) -> tuple[str, list[_Use]]:
    """Replace each ``$name`` by an identifier that the text does not hold, so that the text is Python."""
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
        warnings.simplefilter("ignore")  # of the script's own text, such as an invalid escape
        tree = fill.visit(ast.parse(marked, path))
        _check_all_are_replaced(marked, uses, fill.filled, path)
        _cover_lines(tree, text, {use.line for use in uses})
        return compile(tree, path, "exec", dont_inherit=True), fill.filled


class _Fill(ast.NodeTransformer):
    """Replaces marks in string literals and in the place of values."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._any = re.compile("|".join(map(re.escape, values)))
        self.filled: set[str] = set()

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str):
            node.value = self._any.sub(self._value_of, node.value)
        elif isinstance(node.value, bytes):
            # Latin-1 gives each byte a character and back; the value itself goes in as UTF-8.
            text = node.value.decode("latin-1")
            filled = self._any.sub(lambda found: self._value_of(found).encode().decode("latin-1"), text)
            node.value = filled.encode("latin-1")
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = self._values.get(node.id)
        if value is None or not isinstance(node.ctx, ast.Load):
            return node
        self.filled.add(node.id)
        return ast.copy_location(ast.Constant(_literal(value)), node)

    def _value_of(self, found: re.Match[str]) -> str:
        self.filled.add(found[0])
        return self._values[found[0]]


def _literal(value: str) -> str | float | bool:
    """Return the number or bool that a text spells, else the text."""
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
                f"{path.rpartition('/')[2]}, line {use.line}: ${use.name} stands where no value can; "
                f'write it alone, or inside quotes as "...${use.name}..."'
            )


def _cover_lines(tree: ast.AST, text: str, changed: set[int]) -> None:
    """Let code on changed lines cover the whole line: tracebacks would underline the wrong characters."""
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
                f"the parameter {name!r} holds a character no script can receive (NUL or half a pair)"
            )
        values[name] = value
    return values


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
