"""Parameters of a command line: ``NAME=VALUE``, and values that are read from a file or from standard input, as secrets."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from dataflow_magic.cell.values import secret
from dataflow_magic.errors import CellError
from dataflow_magic.models.secret import Parameter

__all__ = ["read_parameters"]

MOST_BYTES = 1 << 16
"""Of a value that is read."""
FROM_INPUT = "@-"


def read_parameters(
    words: Iterable[str],
    stdin: BinaryIO | None = None,
    *,
    ask: Callable[[str], str] = getpass.getpass,
) -> dict[str, Parameter]:
    """Return the parameters that words ``NAME=VALUE`` give, values as written.

    Parameters
    ----------
    words
        ``NAME=@FILE`` reads the value from a file and ``NAME=@-`` from standard input, without a last line end; both are
        secrets. ``NAME=@@TEXT`` is the text ``@TEXT``.
    stdin
        By default this process's.
    ask
        Asks for a value at a terminal, without showing it.

    Raises
    ------
    CellError
        A name is given twice, two values are read from standard input, or a value cannot be read.
    """
    parameters: dict[str, Parameter] = {}
    is_read = False
    for word in words:
        name, _, text = word.partition("=")
        name = name.removeprefix("$")
        if name in parameters:
            raise CellError(f"the parameter {name} is given twice")
        if text == FROM_INPUT:
            if is_read:
                raise CellError(f"the parameter {name}: standard input gives one value, and has given it")
            is_read = True
        parameters[name] = _value(name, text, stdin or sys.stdin.buffer, ask)
    return parameters


def _value(name: str, text: str, stdin: BinaryIO, ask: Callable[[str], str]) -> Parameter:
    if not text.startswith("@"):
        return text
    if text.startswith("@@"):
        return text[1:]
    try:
        if text == FROM_INPUT and stdin.isatty():
            content = ask(f"{name}: ").encode()
        elif text == FROM_INPUT:
            content = stdin.read(MOST_BYTES + 1)
        else:
            with Path(text[1:]).open("rb") as file:
                content = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        place = "standard input" if text == FROM_INPUT else repr(text[1:])
        raise CellError(
            f"the parameter {name}: {place} cannot be read ({reason}); {name}=@{text} sends {text!r} itself"
        ) from None
    if len(content) > MOST_BYTES:
        raise CellError(f"the parameter {name}: the value is longer than {MOST_BYTES:,} bytes, the limit")
    try:
        # Editors and echo end a file with a line end that is no part of the value.
        return secret(content.removesuffix(b"\n").removesuffix(b"\r").decode())
    except UnicodeDecodeError:
        raise CellError(f"the parameter {name}: the value is not text in UTF-8") from None
    except CellError as error:
        raise CellError(f"the parameter {name}: {error}") from None
