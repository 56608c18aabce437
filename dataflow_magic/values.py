"""What a parameter's value becomes on the wire: Python value to string. Pure; imports neither numpy nor pandas."""

from __future__ import annotations

import math
import os
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

__all__ = ["check_text", "render"]


def render(value: object) -> str:  # noqa: C901 - one table, one case a row
    """Return the string a value is sent as.

    ============================  ======================================
    value                         string
    ============================  ======================================
    str                           as it is
    bool                          ``true`` / ``false``
    int                           decimal digits
    float                         its ``repr``; nan and inf are errors
    Decimal                       fixed-point, never an exponent
    date, datetime, Timestamp     ISO 8601
    path                          its text
    Enum member                   its value, by this table
    numpy scalar                  its Python value, by this table
    ============================  ======================================

    Raises
    ------
    ValueError
        For anything else, completing the sentence "the parameter $x ...".
    """
    match value:
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
                raise ValueError(f"is {value}, which is not a number a job can read")
            return repr(float(value))
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"is {value}, which is not a number a job can read")
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
        f"is {kind}, which has no string form here; give text, a number, a bool, a date or a path (or str(...) of it)"
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
    if value.dtype.kind == "M":
        if value != value:
            raise ValueError("is NaT, which is no date")
        if not isinstance(item, date):  # .item() is a bare count where no datetime can say it
            return _exact_moment(str(value))
    elif type(item).__module__ == "numpy" or value.dtype.kind == "m":
        raise ValueError(f"is {_article(type(value).__name__)}, which has no string form here")
    return render(item)


def _exact_moment(text: str) -> str:
    """Drop the zeros isoformat has not: all of a fraction, or those after microseconds."""
    head, _, fraction = text.partition(".")
    fraction = fraction if fraction[6:].strip("0") else fraction[:6]
    return f"{head}.{fraction}" if fraction.strip("0") else head


def check_text(text: str, what: str) -> str:
    """Return the text if UTF-8 can carry it and a script can read it.

    Raises
    ------
    ValueError
        Beginning with ``what``, for a NUL or a lone surrogate.
    """
    if "\0" in text:
        raise ValueError(f"{what} holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(
            f"{what} holds a lone surrogate (U+{code:04X}), which is not text UTF-8 can send"
        ) from None
    return text
