"""Finds a script and stages a copy with its parameters. Starts no process, and writes only into the given folder.

The vendor does not publish how its service passes parameters to a script, so both ways work here: ``$name`` in the
script's text becomes the value, and a parameter that the text does not use becomes the argument ``--name=value``.
"""

from __future__ import annotations

import io
import marshal
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dataflow_magic.files import object_path
from dataflow_magic.local.spark.parameters import ScriptProblem, fill_script

__all__ = [
    "ScriptProblem",
    "StagedScript",
    "find_script",
    "stage_script",
]

_LISTED = 5


@dataclass(frozen=True, slots=True)
class StagedScript:
    """The copy of a script that runs.

    Parameters
    ----------
    path
        The unchanged copy of the script, which tracebacks quote.
    arguments
        The script's ``sys.argv[1:]``.
    code
        The compiled script with its parameters, in marshal's format; None when the copy runs as it is.
    """

    path: Path
    arguments: tuple[str, ...]
    code: Path | None = None


def find_script(objects: Path, script_path: str, job_name: str) -> Path:
    """Return the script that a job condition's ``scriptPath`` names.

    Parameters
    ----------
    objects
        The folder that holds one folder per bucket.
    script_path
        ``bucket/key`` of one ``.py`` object, or ``bucket/prefix/``: there ``<job_name>.py``, else the only
        ``.py``.

    Raises
    ------
    InvalidKey
        No object can have the path, or a symbolic link leads out of the objects.
    ScriptProblem
        No script has this path, or several are in the folder and none has the job's name.
    """
    place = object_path(objects, script_path)
    if script_path.endswith(".py"):
        if not place.is_file():
            raise ScriptProblem(f"no script at {script_path}: upload it, or correct scriptPath")
        return place
    named = f"{job_name}.py"
    scripts = _scripts_in(place)
    if named in scripts:
        return object_path(objects, f"{script_path.removesuffix('/')}/{named}")
    if not scripts:
        raise ScriptProblem(f"no script in {script_path}: upload {named} there, or correct scriptPath")
    if len(scripts) > 1:
        raise ScriptProblem(
            f"several scripts in {script_path} ({_listing(scripts)}) and none is {named}: "
            "set scriptPath to the one to run"
        )
    return object_path(objects, f"{script_path.removesuffix('/')}/{scripts[0]}")


def stage_script(script: Path, parameters: Mapping[str, str], folder: Path) -> StagedScript:
    """Copy the script into `folder` unchanged, and write the code with its parameters beside the folder.

    Raises
    ------
    ScriptProblem
        The script is not text, or a parameter cannot be put into it; see `parameters.fill_script`.
    OSError
        The script cannot be read, or a file cannot be written.
    """
    source = script.read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        text = io.StringIO(
            source.decode(encoding), newline=None
        ).read()  # with \n at the end of each line, as Python reads it
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ScriptProblem(f"{script.name} cannot be read as text ({error}): save it as UTF-8") from error
    staged = folder / script.name
    staged.write_bytes(source)
    filled = fill_script(text, parameters, path=str(staged))
    if filled.code is None:
        return StagedScript(staged, filled.arguments)
    code = folder.parent / "code"
    code.write_bytes(marshal.dumps(filled.code))
    return StagedScript(staged, filled.arguments, code)


def _scripts_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    # Hidden files are skipped: macOS writes a ._name.py beside each name.py it copies.
    return sorted(p.name for p in folder.iterdir() if p.suffix == ".py" and p.name[0] != "." and p.is_file())


def _listing(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
