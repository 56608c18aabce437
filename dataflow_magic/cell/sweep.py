"""The words of a sweep in a parameter block: `each` gives one name several values, `zipped` pairs lists, `rows` takes rows.

Pure; imports neither numpy nor pandas.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Any, Final

__all__ = [
    "CALLS",
    "EACH",
    "MOST_RUNS",
    "TUPLES",
    "WORDS",
    "column_values",
    "sweep_rows",
    "sweep_word",
    "values_of",
]

EACH: Final = "each"
ZIPPED: Final = "zipped"
ROWS: Final = "rows"
WORDS: Final = (EACH, ZIPPED, ROWS)
CALLS: Final = "each(...), zipped(...) and rows(...)"
TUPLES: Final = (ZIPPED, ROWS)
"""The words that give several names their values."""
MOST_RUNS: Final = 1000
"""Limit of runs per cell."""


def sweep_word(expression: ast.AST) -> str:
    """Return the word of `WORDS` that the expression calls, else an empty string.

    Only the name counts, not its value in the notebook: a leftover loop variable must not change what a cell starts.
    """
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name):
        return expression.func.id if expression.func.id in WORDS else ""
    return ""


def values_of(call: ast.Call) -> ast.Tuple:
    """Return the arguments of a call of a word as one expression.

    Raises
    ------
    ValueError
        Completing "the name ...", if there are keyword arguments.
    """
    if call.keywords:
        raise ValueError(f"passes {ast.unparse(call.keywords[0])}; {CALLS} take no keyword arguments")
    values = ast.Tuple(call.args, ast.Load())
    return ast.fix_missing_locations(ast.copy_location(values, call))


def sweep_rows(word: str, given: Sequence[Any], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the values that a word gives its names, one tuple a run; at most one more than the limit.

    Parameters
    ----------
    word
        One of `WORDS`.
    given
        The arguments of its call.
    names
        As the line assigns to them; one for ``each``.

    Raises
    ------
    ValueError
        Completing "the names ...", where the arguments do not fit.
    """
    if word == EACH:
        return [(value,) for value in _each_values(given)]
    return _zipped_rows(given, names) if word == ZIPPED else _table_rows(given, names)


def _each_values(given: Sequence[Any]) -> list[Any]:
    """Return the values of ``each``: its arguments, or the items of its only argument, which may have none."""
    if not given:
        raise ValueError(f"has nothing in {EACH}(); give values, or a list of them, which may be empty")
    return column_values(given[0]) if len(given) == 1 else list(given)


def _zipped_rows(given: Sequence[Any], names: Sequence[str]) -> list[tuple[Any, ...]]:
    if len(given) != len(names):
        what = f"{len(given)} lists for {len(names)} names"
        raise ValueError(
            f"cannot take {what}; {ZIPPED}(...) needs one list per name: a, b = {ZIPPED}([1, 2], [3, 4])"
        )
    columns = [column_values(column) for column in given]
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"have lists of different lengths ({', '.join(map(str, lengths))}); {ZIPPED}(...) pairs equal lengths"
        )
    return list(zip(*columns, strict=True))


def _table_rows(given: Sequence[Any], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the rows of a DataFrame, whose columns the names choose; or of a list of rows, which have them in this order."""
    if len(given) != 1:
        raise ValueError(
            f"cannot take {len(given)} tables; {ROWS}(...) needs one: region, day = {ROWS}(frame)"
        )
    table = given[0]
    if (columns := getattr(table, "columns", None)) is not None:
        return _zipped_rows([_column(table, columns, name) for name in names], names)
    return [_of_row(row, names, number) for number, row in enumerate(column_values(table), 1)]


def _column(table: Any, columns: Iterable[Any], name: str) -> Any:
    found = [column for column in columns if column == name]
    if len(found) != 1:
        there = ", ".join(map(str, columns))
        what = "no column" if not found else f"{len(found)} columns"
        raise ValueError(
            f"cannot be read: the table has {what} {name!r} (it has {there}); rename a column or the name"
        )
    return table[name]


def _of_row(row: Any, names: Sequence[str], number: int) -> tuple[Any, ...]:
    if isinstance(row, Mapping):
        if missing := [name for name in names if name not in row]:
            raise ValueError(f"cannot be read: row {number} has no {', '.join(missing)}")
        return tuple(row[name] for name in names)
    values = tuple(row) if isinstance(row, Iterable) and not isinstance(row, str | bytes) else (row,)
    if len(values) != len(names):
        raise ValueError(
            f"cannot be read: the length of row {number} is {len(values)}, the number of names {len(names)}"
        )
    return values


def column_values(value: Any) -> list[Any]:
    """Return the items of an iterable, at most one more than the limit; text and scalars count as one item.

    Raises
    ------
    ValueError
        Completing "the name ...", for a table, a mapping or an iterable that raises.
    """
    if isinstance(value, str | bytes):
        return [value]
    if isinstance(value, Mapping) or getattr(value, "ndim", 1) > 1:
        if hasattr(value, "columns"):
            raise ValueError(f"has a whole table; {ROWS}(...) takes its rows, and {EACH}(...) one column")
        raise ValueError(f"has its values in a {type(value).__name__}; give a list")
    if days := _days(value):
        return days
    try:
        values = iter(value)
    except TypeError:
        return [value]
    try:
        return list(islice(values, MOST_RUNS + 1))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's iterator raises
        raise ValueError(f"has values that cannot be read: {type(error).__name__}: {error}") from None


def _days(value: Any) -> list[date]:
    """Return the days of an array of times that all are midnights without a zone, as of `date_range`; else nothing."""
    if (
        getattr(getattr(value, "dtype", None), "kind", "") != "M"
        or getattr(value.dtype, "tz", None) is not None
    ):
        return []
    import numpy as np  # imported already: the times are NumPy's

    times = np.asarray(value).ravel()[: MOST_RUNS + 1]
    days = times.astype("datetime64[D]")
    if not bool((days == times).all()):  # a time of day, or NaT, which differs from itself
        return []
    held: list[date] = days.tolist()
    return held if all(isinstance(day, date) for day in held) else []  # else before year 1, or after 9999
