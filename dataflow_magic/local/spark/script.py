"""How a script is found and receives its parameters. Starts nothing, and writes only into the folder it is given.

How the vendor's service hands parameters to a script is not published, so both ways work here: ``$name`` in the
script's text is replaced by the value, and a name the text does not hold arrives as the argument ``--name=value``.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Rendered",
    "ScriptProblem",
    "StagedScript",
    "find_script",
    "object_path",
    "render",
    "stage_script",
]

_LONGEST_KEY = 1024  # bytes; S3's own limit, which keeps a path below every file system's
_LONGEST_SEGMENT = 255  # bytes; a file name on every common file system
_LISTED = 5


class ScriptProblem(Exception):
    """What is wrong with a path, a script or a parameter, in words for the person who sent it."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A script's text with its parameters in, and the arguments that carry the others."""

    text: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StagedScript:
    """The copy of a script that is run, and its arguments."""

    path: Path
    arguments: tuple[str, ...]


def object_path(objects: Path, key: str) -> Path:
    """Return where the object or folder ``bucket/key`` lies below `objects`; it need not exist.

    Raises
    ------
    ScriptProblem
        The key would leave `objects` (``..``, a leading slash), has a scheme, or no file can be named so.
    """
    segments = key.removesuffix("/").split("/")
    if any(_is_unsafe(segment) for segment in segments) or len(_encoded(key)) > _LONGEST_KEY:
        raise ScriptProblem(
            f"{key!r} is not a path in object storage: write bucket/key, without a scheme, .. or a leading slash"
        )
    return objects.joinpath(*segments)


def find_script(objects: Path, script_path: str, job_name: str) -> Path:
    """Return the script a job condition's ``scriptPath`` means.

    Parameters
    ----------
    objects
        The folder that holds one folder per bucket.
    script_path
        ``bucket/key`` of one ``.py`` object, or ``bucket/prefix/``: there ``<job_name>.py``, else the only
        ``.py``.

    Raises
    ------
    ScriptProblem
        There is no such script, or more than one it could be.
    """
    place = object_path(objects, script_path)
    if script_path.endswith(".py"):
        if not place.is_file():
            raise ScriptProblem(f"no script at {script_path}: upload it, or correct scriptPath")
        return place
    named = f"{job_name}.py"
    scripts = _scripts_in(place)
    if named in scripts:
        return place / named
    if not scripts:
        raise ScriptProblem(f"no script in {script_path}: upload {named} there, or correct scriptPath")
    if len(scripts) > 1:
        raise ScriptProblem(
            f"several scripts in {script_path} ({_listing(scripts)}) and none is {named}: "
            f"let scriptPath name the one to run"
        )
    return place / scripts[0]


def render(text: str, parameters: Mapping[str, str]) -> Rendered:
    """Return the script's text with every ``$name`` of a known parameter replaced by its value.

    A name counts where no word character follows it: ``$table`` leaves ``$table_name`` alone. Names are case
    sensitive and of any script; where two fit, the longer wins. Values go in as they are, in one pass: a value that
    holds ``$other`` is not expanded again. All other text stays, unknown ``$names`` included.

    Parameters
    ----------
    parameters
        Name to value; the names with their leading ``$``, or without.

    Raises
    ------
    ScriptProblem
        A name is empty or given twice, or text no program can receive: a NUL, a lone surrogate.
    """
    values = _plain_names(parameters)
    replaced: set[str] = set()

    def value_of(found: re.Match[str]) -> str:
        replaced.add(found[1])
        return values[found[1]]

    if values:
        names = "|".join(re.escape(name) for name in sorted(values, key=len, reverse=True))
        text = re.sub(rf"\$({names})(?!\w)", value_of, text)
    rest = tuple(f"--{name}={value}" for name, value in values.items() if name not in replaced)
    return Rendered(text, rest)


def stage_script(script: Path, parameters: Mapping[str, str], folder: Path) -> StagedScript:
    """Write the rendered script into `folder`, under its own name and in its own encoding and line ends.

    Raises
    ------
    ScriptProblem
        The script is no text, or a parameter cannot be put into it.
    OSError
        The script cannot be read or the copy not written.
    """
    source = script.read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        text = source.decode(encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ScriptProblem(f"{script.name} cannot be read as text ({error}): save it as UTF-8") from error
    rendered = render(text, parameters)
    staged = folder / script.name
    try:
        staged.write_bytes(rendered.text.encode(encoding))
    except UnicodeEncodeError as error:
        raise ScriptProblem(
            f"a parameter holds text that {script.name}, declared as {encoding}, cannot: save the script as UTF-8"
        ) from error
    return StagedScript(staged, rendered.arguments)


def _is_unsafe(segment: str) -> bool:
    return (
        segment in ("", ".", "..")
        or any(character in segment for character in "\\\0")
        or not 0 < len(_encoded(segment)) <= _LONGEST_SEGMENT
    )


def _encoded(text: str) -> bytes:
    """Encode as file names are; empty when nothing can be named so."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return b""


def _scripts_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    # Hidden ones are no scripts: macOS leaves a ._name.py beside each name.py it copies.
    return sorted(p.name for p in folder.iterdir() if p.suffix == ".py" and p.name[0] != "." and p.is_file())


def _listing(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


def _plain_names(parameters: Mapping[str, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for given, value in parameters.items():
        name = given.removeprefix("$")
        if not name:
            raise ScriptProblem(f"the parameter {given!r} has no name: write $name")
        if name in values:
            raise ScriptProblem(f"the parameter {name} is given twice, with $ and without: keep one")
        if "\0" in name + value or not _encoded(name + value + "."):
            raise ScriptProblem(
                f"the parameter {name!r} holds a character no script can receive (NUL or half a pair)"
            )
        values[name] = value
    return values
