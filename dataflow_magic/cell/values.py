"""Values of parameters: Python value to string, and secrets. Imports neither numpy nor pandas."""

from __future__ import annotations

import ast
import builtins
import math
import os
import unicodedata
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from dataflow_magic.errors import CellError
from dataflow_magic.models.secret import MASK, Secret

__all__ = [
    "INVISIBLE",
    "check_name",
    "check_text",
    "code_point",
    "is_written_out",
    "parameter",
    "render",
    "secret",
]

READERS = frozenset({"__import__", "eval", "exec", "getattr", "globals", "input", "locals", "open", "vars"})
PURE = frozenset(dir(builtins)) - READERS
"""Builtins whose result depends on their arguments alone."""
INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
"""Unicode's categories of controls, formats such as zero-width spaces, and blanks."""
LOOKUPS = frozenset({"get", "getenv", "pop", "setdefault"})
"""Functions whose second argument is the default."""


def secret(value: object) -> Secret:
    """Return a value of a parameter that is sent and never shown.

    Parameters
    ----------
    value
        Sent as the string that `render` returns. A parameter block must not contain the value itself: the notebook
        and its history store the cell.

    Returns
    -------
    Secret
        Shown as ``••••••`` on cards, in tables, messages and files.

    Raises
    ------
    CellError
        The value is empty, or has no string form.

    Examples
    --------
    >>> secret(os.environ["HOME"])
    ••••••
    """
    if isinstance(value, Secret):
        return value
    try:
        text = render(value)
    except ValueError as error:
        raise CellError(f"the secret {error}") from None
    if not text:
        raise CellError("the secret is empty; check its source")
    return Secret.of(text)


def parameter(value: object) -> str | Secret:
    """Return the string that `render` returns, or a secret unchanged.

    Raises
    ------
    ValueError
        As `render`.
    """
    return value if isinstance(value, Secret) else render(value)


def render(value: object) -> str:  # noqa: C901 - one table, one case a row
    """Return the string that is sent for a value.

    ============================  ======================================
    value                         string
    ============================  ======================================
    str                           unchanged
    bool                          ``true`` / ``false``
    int                           decimal digits
    float                         its ``repr``; nan and inf are errors
    Decimal                       fixed-point, without exponent
    date, datetime, Timestamp     ISO 8601
    path                          its text
    Enum member                   its value, by this table
    numpy scalar                  its Python value, by this table
    numpy float32, float16        the shortest digits that give it
    ============================  ======================================

    Raises
    ------
    ValueError
        Completing "the parameter $x ...", for any other value.
    """
    match value:
        case Secret():
            raise ValueError("is a secret, and only a parameter of a run may be one")
        case Enum():
            return render(value.value)
        case str():
            return check_text(str(value), "has text that")
        case bool():
            return "true" if value else "false"
        case int():
            return _digits(value)
        case float():
            if not math.isfinite(value):
                raise ValueError(f"is {value}, which is not a finite number")
            return repr(float(value))
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"is {value}, which is not a finite number")
            return f"{value:f}"
        case datetime() | date() if value == value:  # NaT is a datetime that differs from itself
            return value.isoformat()
        case os.PathLike():
            text = os.fspath(value)
            if isinstance(text, str):
                return check_text(text, "has a path that")
        case _ if _is_numpy_scalar(value):
            return _render_numpy(value)
    kind = "None" if value is None else _article(type(value).__name__)
    raise ValueError(
        f"is {kind}, which has no string form; give text, a number, a bool, a date or a path, or convert it by str(...)"
    )


def _article(name: str) -> str:
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def _digits(value: int) -> str:
    try:
        return str(int(value))
    except ValueError:  # CPython refuses to print integers of more than a few thousand digits
        raise ValueError("is an integer too long to print") from None


def _is_numpy_scalar(value: object) -> bool:
    return type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0 and hasattr(value, "item")


def _render_numpy(value: Any) -> str:
    item = value.item()
    if value.dtype.kind == "f" and value.dtype.itemsize < 8 and math.isfinite(item):
        return _shortest(item, value.dtype.type)
    if value.dtype.kind == "M":
        if value != value:
            raise ValueError("is NaT, which is not a date")
        if not isinstance(item, date):  # .item() returns a bare count where datetime has no such value
            return _exact_moment(str(value))
    elif type(item).__module__ == "numpy" or value.dtype.kind == "m":
        raise ValueError(f"is {_article(type(value).__name__)}, which has no string form")
    return render(item)


def _shortest(item: float, kind: Any) -> str:
    """Return a number of fewer bits than Python's as it prints: 0.1, not 0.10000000149011612."""
    from numpy import errstate  # imported already: the value is NumPy's

    shorter = (float(f"{item:.{digits}g}") for digits in range(1, 17))
    with errstate(over="ignore"):  # the largest number, rounded up, is infinite
        return repr(next((number for number in shorter if kind(number) == item), item))


def _exact_moment(text: str) -> str:
    """Drop the zeros that isoformat omits: a whole fraction, or those after the microseconds."""
    head, _, fraction = text.partition(".")
    fraction = fraction if fraction[6:].strip("0") else fraction[:6]
    return f"{head}.{fraction}" if fraction.strip("0") else head


def check_text(text: str, what: str) -> str:
    """Return the text if UTF-8 can encode it and a script can read it.

    Raises
    ------
    ValueError
        Beginning with ``what``, for a NUL, a lone surrogate or the mask of a secret.
    """
    if "\0" in text:
        raise ValueError(f"{what} contains a NUL character")
    if MASK in text:
        raise ValueError(
            f"{what} contains {MASK}, the mask of a secret and not its value; assign the secret alone: name = secret(...)"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(
            f"{what} contains a lone surrogate (U+{code:04X}), which UTF-8 cannot encode"
        ) from None
    return text


def check_name(name: str) -> str:
    """Return the name of a parameter if all its characters can be seen.

    Raises
    ------
    ValueError
        Completing "the parameter $x ...", with the code point: the name would be sent as another one than it looks.
    """
    for character in name:
        if character != " " and unicodedata.category(character) in INVISIBLE:
            raise ValueError(
                f"has a name that contains {code_point(character)}, which cannot be seen; remove it"
            )
    return name


def code_point(character: str) -> str:
    """Return a character as ``U+200B (ZERO WIDTH SPACE)``."""
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")


def is_written_out(value: ast.expr) -> bool:
    """Return whether the value of an expression is, or may be, text or a number that the expression contains.

    True for ``"x"``, ``f"x"``, ``"x".upper()``, ``token or "x"`` and ``os.environ.get("X", "x")``; false for
    ``os.environ["X"]``, ``input()`` and ``f"{user}:{password}"``. Evaluates nothing.
    """
    match value:
        case ast.Constant():
            return bool(value.value)
        case ast.BoolOp():
            return any(map(is_written_out, value.values))
        case ast.IfExp():
            return is_written_out(value.body) or is_written_out(value.orelse)
        case ast.NamedExpr():
            return is_written_out(value.value)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in LOOKUPS:
            defaults = [*value.args[1:], *(keyword.value for keyword in value.keywords)]
            return any(map(is_written_out, defaults))
    return all(name.id in PURE for name in ast.walk(value) if isinstance(name, ast.Name))
