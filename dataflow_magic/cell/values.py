"""What a parameter's value becomes on the wire: Python value to string. Imports neither numpy nor pandas."""

from __future__ import annotations

import math
import os
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from dataflow_magic.errors import CellError
from dataflow_magic.models.secret import MASK, Secret

__all__ = ["check_text", "parameter", "render", "secret"]


def secret(value: object) -> Secret:
    """Return a parameter's value that is sent and never shown.

    Parameters
    ----------
    value
        What is sent, by the table at `render`. In a parameter block it must not be written out, since the cell is
        in the notebook and its history.

    Returns
    -------
    Secret
        Shown as ``••••••`` on the card, in tables, messages and files.

    Raises
    ------
    CellError
        There is no value, or it has no string form.

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
        raise CellError("the secret is empty; check where it is taken from")
    return Secret.of(text)


def parameter(value: object) -> str | Secret:
    """Return what a parameter's value is sent as: a string by the table at `render`, or a secret as it is.

    Raises
    ------
    ValueError
        As `render`.
    """
    return value if isinstance(value, Secret) else render(value)


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
        case Secret():
            raise ValueError("is a secret, which only a parameter of a run may be")
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
    if MASK in text:
        raise ValueError(
            f"{what} holds {MASK}, the mask of a secret and not its value; a secret is a whole value: name = secret(...)"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(
            f"{what} holds a lone surrogate (U+{code:04X}), which is not text UTF-8 can send"
        ) from None
    return text
