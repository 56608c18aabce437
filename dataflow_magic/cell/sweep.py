"""The words of a sweep in a parameter block: `each` gives one name several values, `zipped` pairs lists. Pure."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

__all__ = ["EACH", "MOST_RUNS", "ZIPPED", "each_values", "sweep_word", "values_of", "zipped_rows"]

EACH: Final = "each"
ZIPPED: Final = "zipped"
MOST_RUNS: Final = 1000
"""Limit of runs per cell."""


def sweep_word(expression: ast.AST) -> str:
    """Return ``each`` or ``zipped`` if the expression calls that name, else an empty string.

    Only the name counts, not its value in the notebook: a leftover loop variable must not change what a cell starts.
    """
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name):
        return expression.func.id if expression.func.id in (EACH, ZIPPED) else ""
    return ""


def values_of(call: ast.Call) -> ast.Tuple:
    """Return the arguments of a call of ``each`` or ``zipped`` as one expression.

    Raises
    ------
    ValueError
        Completing "the name ...", if there are keyword arguments.
    """
    if call.keywords:
        raise ValueError(
            f"passes {ast.unparse(call.keywords[0])}; {EACH}(...) and {ZIPPED}(...) take no keyword arguments"
        )
    values = ast.Tuple(call.args, ast.Load())
    return ast.fix_missing_locations(ast.copy_location(values, call))


def each_values(given: Sequence[Any]) -> list[Any]:
    """Return the values of ``each``: its arguments, or the items of its only argument, which may have none.

    Raises
    ------
    ValueError
        Completing "the name ...", if there is no argument.
    """
    if not given:
        raise ValueError(f"has nothing in {EACH}(); give values, or a list of them, which may be empty")
    return _held(given[0]) if len(given) == 1 else list(given)


def zipped_rows(given: Sequence[Any], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the rows of ``zipped``, each with one value per name.

    Raises
    ------
    ValueError
        Completing "the names ...", if the number or the lengths of the lists do not fit.
    """
    if len(given) != len(names):
        what = f"{len(given)} lists for {len(names)} names"
        raise ValueError(
            f"cannot take {what}; {ZIPPED}(...) needs one list per name: a, b = {ZIPPED}([1, 2], [3, 4])"
        )
    columns = [_held(column) for column in given]
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"have lists of different lengths ({', '.join(map(str, lengths))}); {ZIPPED}(...) pairs equal lengths"
        )
    return list(zip(*columns, strict=True))


def _held(value: Any) -> list[Any]:
    """Return the items of an iterable, at most one more than the limit; text and scalars count as one item."""
    if isinstance(value, str | bytes):
        return [value]
    if isinstance(value, Mapping) or getattr(value, "ndim", 1) > 1:
        raise ValueError(f"has its values in a {type(value).__name__}; give a list")
    try:
        values = iter(value)
    except TypeError:
        return [value]
    try:
        return list(islice(values, MOST_RUNS + 1))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's iterator raises
        raise ValueError(f"has values that cannot be read: {type(error).__name__}: {error}") from None
