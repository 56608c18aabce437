"""Finds a script and stages a copy with its parameters. Starts no process, and writes only into the given folder.

The vendor does not publish how its service passes parameters to a script, so both ways work here: ``$name`` in the
script's text becomes the value, and a parameter that the text does not use becomes the argument ``--name=value``.
"""

from __future__ import annotations

import io
import marshal
import os
import sys
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dataflow_magic.files import InvalidKey, is_inside, object_path
from dataflow_magic.local.objects.paths import bare_path
from dataflow_magic.local.spark.parameters import ScriptProblem, fill_script

__all__ = [
    "ScriptProblem",
    "StagedScript",
    "find_script",
    "link_neighbours",
    "python_files",
    "stage_script",
]

_LISTED = 5
MOST_NEIGHBOURS = 10_000
"""Files beside a script that it can import and read; each is a link."""


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


def link_neighbours(script: Path, objects: Path, folder: Path, *, most: int = MOST_NEIGHBOURS) -> None:
    """Link what lies beside the script into the folder of its copy, so that it can import and read it as from its own.

    Packages are made anew with a link per file, so that Python writes its compiled modules there and not among the
    objects. A module with the name of one of Python's own is left out: it may be the script of another job, and would
    replace Python's in this run.

    Raises
    ------
    ScriptProblem
        More than `most` files lie there.
    OSError
        A folder cannot be read, or a link cannot be made.
    """
    linked = 0
    for source, name in _neighbours(script.parent):
        target = folder / name
        if target.exists() or not is_inside(objects, source):
            continue
        linked += 1
        if linked > most:
            raise ScriptProblem(
                f"more than {most:,} files lie beside {script.name}: give the script a folder of its own"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)


def python_files(value: str, objects: Path) -> list[Path]:
    """Return the files that ``spark.submit.pyFiles`` names: object paths with or without a scheme, and local paths.

    Raises
    ------
    ScriptProblem
        A file does not exist, or is of a kind that Python cannot import.
    """
    found = []
    for word in filter(None, map(str.strip, value.split(","))):
        file = _place(word, objects)
        if file is None or not file.is_file():
            raise ScriptProblem(
                f"no file at {word}, which spark.submit.pyFiles names: upload it, or correct the path"
            )
        if file.suffix not in {".py", ".zip", ".egg"}:
            raise ScriptProblem(f"spark.submit.pyFiles names {word}: Python imports .py, .zip and .egg files")
        found.append(file)
    return found


def _place(word: str, objects: Path) -> Path | None:
    if word.startswith("file:"):
        return Path(unquote(urlsplit(word).path))
    if word.startswith("/"):
        return Path(word)
    try:
        return object_path(objects, bare_path(word))
    except InvalidKey:
        return None


def _neighbours(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file and folder of data beside the script, and each file of the packages, with its name below `folder`."""
    for entry in sorted(folder.iterdir()):
        module = entry.name.partition(".")[0]
        is_pythons = module in sys.stdlib_module_names and (entry.suffix == ".py" or entry.is_dir())
        if entry.name.startswith(".") or entry.name == "__pycache__" or is_pythons:
            continue
        if entry.is_dir() and not entry.is_symlink() and _is_package(entry):
            for place, folders, names in os.walk(entry):
                folders[:] = sorted(name for name in folders if name != "__pycache__")
                for name in sorted(names):
                    file = Path(place, name)
                    yield file, file.relative_to(folder).as_posix()
        else:
            yield entry, entry.name


def _is_package(folder: Path) -> bool:
    return folder.name.isidentifier() and any(folder.glob("*.py"))


def _scripts_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    # Hidden files are skipped: macOS writes a ._name.py beside each name.py it copies.
    return sorted(p.name for p in folder.iterdir() if p.suffix == ".py" and p.name[0] != "." and p.is_file())


def _listing(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
