"""The words of a sweep: in a parameter block `each` gives one name several values, `zipped` pairs those of several. Pure."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

__all__ = ["EACH", "MOST_RUNS", "ZIPPED", "each_values", "sweep_word", "values_of", "zipped_rows"]

EACH: Final = "each"
ZIPPED: Final = "zipped"
MOST_RUNS: Final = 1000
"""Of one cell."""


def sweep_word(expression: ast.AST) -> str:
    """Return ``each`` or ``zipped`` where the expression is a call of that name, else nothing.

    By its name alone, whatever the notebook calls so: a name left over from a loop must not change what a cell starts.
    """
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name):
        return expression.func.id if expression.func.id in (EACH, ZIPPED) else ""
    return ""


def values_of(call: ast.Call) -> ast.Tuple:
    """Return what a call of a sweep's word is given, as an expression of its own.

    Raises
    ------
    ValueError
        Completing the sentence "the name ...", for what is given by keyword.
    """
    if call.keywords:
        raise ValueError(
            f"gives {ast.unparse(call.keywords[0])} by name; {EACH}(...) and {ZIPPED}(...) take values alone"
        )
    values = ast.Tuple(call.args, ast.Load())
    return ast.fix_missing_locations(ast.copy_location(values, call))


def each_values(given: Sequence[Any]) -> list[Any]:
    """Return the values of ``each``: what it is given, or what the only thing it is given holds.

    Raises
    ------
    ValueError
        Completing the sentence "the name ...", where there is none.
    """
    values = _held(given[0]) if len(given) == 1 else list(given)
    if not values:
        raise ValueError(f"has no values in {EACH}(...), so nothing would run; give at least one")
    return values


def zipped_rows(given: Sequence[Any], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the rows of ``zipped``: a value for each of the names.

    Raises
    ------
    ValueError
        Completing the sentence "the names ...", where the lists do not fit the names or each other.
    """
    if len(given) != len(names):
        what = f"{len(names)} names for {len(given)} lists"
        raise ValueError(f"are {what}; {ZIPPED}(...) takes a list for each: a, b = {ZIPPED}([1, 2], [3, 4])")
    columns = [_held(column) for column in given]
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"have {', '.join(map(str, lengths))} values; {ZIPPED}(...) pairs lists of one length"
        )
    if not lengths or not lengths[0]:
        raise ValueError(f"have no values in {ZIPPED}(...), so nothing would run; give at least one each")
    return list(zip(*columns, strict=True))


def _held(value: Any) -> list[Any]:
    """Return the values something holds, one more than there may be at most; text holds itself."""
    if isinstance(value, str | bytes):
        return [value]
    if isinstance(value, Mapping) or getattr(value, "ndim", 1) > 1:
        raise ValueError(f"has values in a {type(value).__name__}, which is no plain list of them; give one")
    try:
        values = iter(value)
    except TypeError:
        return [value]
    try:
        return list(islice(values, MOST_RUNS + 1))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an iterator of the user's raises
        raise ValueError(f"cannot be listed: {type(error).__name__}: {error}") from None
