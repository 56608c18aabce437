"""``%%dataflow_script``: its line and the script below it become a `ScriptRequest`. Pure but for the line's expressions."""

from __future__ import annotations

import io
import re
import tokenize
import warnings
from collections.abc import Mapping
from typing import Any

from dataflow_magic.cell.line import (
    LineParser,
    add_condition,
    add_target,
    check_ranges,
    condition_of,
    parse_job_ref,
)
from dataflow_magic.errors import CellError
from dataflow_magic.models.request import ScriptRequest
from dataflow_magic.models.wire import JobCondition

__all__ = ["LOCAL_DEFAULTS", "object_key", "parse_script", "parser"]

LOCAL_DEFAULTS = JobCondition(
    num_worker=2,
    timeout=30,
    nrn="nrn:PUB:IAM::0000000:Role/00000000-0000-0000-0000-000000000000",
    script_path="dataflow-sample/scripts/",
    log_path="dataflow-sample/sparkHistoryLogs/",
)
"""Condition of a new job of a local service where the cell sets none: that of the sample jobs."""
OF_IPYTHON = re.compile(r"\s*[%!?]|.*=\s*[%!]|.*\?\s*$")


def parse_script(line: str, body: str, namespace: Mapping[str, Any]) -> ScriptRequest:
    """Read a cell.

    Parameters
    ----------
    line
        What follows ``%%dataflow_script``. A whole word ``$name`` or ``{expression}`` is replaced by its value.
    body
        The script. A parameter ``$name`` may stand wherever Python allows a name.
    namespace
        The notebook's names, never changed.

    Raises
    ------
    CellError
        Something in the cell is wrong; nothing was written.
    HelpRequested
        The line asks for help.
    """
    mine = parser()
    options = mine.read(line, namespace)
    if options.job is None:
        raise mine.mistake("no job is given; write %%dataflow_script JOB")
    if not body.strip():
        raise mine.mistake("the cell has no script; write it below %%dataflow_script JOB")
    condition = condition_of(vars(options))
    check_ranges(condition, force=options.force)
    for path in filter(None, (condition.script_path, condition.log_path)):
        _check_path(path)
    content = body.rstrip("\r\n") + "\n"
    return ScriptRequest(
        job=parse_job_ref(options.job),
        content=_checked(content),
        condition=condition,
        force=options.force,
        run=options.run,
        target=options.target,
        profile=options.profile,
        warnings=options.notes,
    )


def object_key(script_path: str, job_name: str) -> str:
    """Return the key of a job's script: a scriptPath that ends in ``.py``, else ``<job name>.py`` in that folder.

    Raises
    ------
    CellError
        The path is not one in object storage.
    """
    _check_path(script_path)
    return script_path if script_path.endswith(".py") else f"{script_path.rstrip('/')}/{job_name}.py"


def parser() -> LineParser:
    """Return the parser of the line."""
    parser = LineParser(
        "%%dataflow_script",
        "JOB [options]",
        "Write the cell below the line as the script of a job, and create the job or change its condition.",
    )
    parser.add_argument(
        "job", metavar="JOB", nargs="?", help="name of the job; for an existing one also its id"
    )
    add_condition(
        parser,
        "job condition (default: what the job has stored; for a new job of a local service, that of its samples)",
    )
    add = parser.add_argument_group("behavior").add_argument
    add("--run", action="store_true", help="then start a run, as %%dataflow_run JOB does")
    add_target(add)
    add(
        "--force",
        action="store_true",
        help="overwrite a script that this kernel neither wrote nor read; send values outside the documented ranges",
    )
    return parser


def _checked(source: str) -> bytes:
    """Return the source in UTF-8, once it compiles."""
    try:
        content = source.encode()
    except UnicodeEncodeError as error:
        line = source.count("\n", 0, error.start) + 2
        raise CellError(
            f"{source[error.start]!r} is a lone surrogate, which UTF-8 cannot encode", line=line
        ) from None
    try:
        _check_encoding(content)
        with warnings.catch_warnings():  # the run shows them
            warnings.simplefilter("ignore")
            # The value of a parameter is unknown here; any name compiles where its value will.
            compile(re.sub(r"\$(?=\w)", "_", source), "script", "exec", dont_inherit=True)
    except SyntaxError as error:
        number = error.lineno or 1
        raise CellError(_explain(source.split("\n")[number - 1 : number], error), line=number + 1) from None
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL; too many levels
        why = str(error) or type(error).__name__
        raise CellError(f"the script does not compile ({why}); nothing was written") from None
    return content


def _check_encoding(content: bytes) -> None:
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    if encoding not in {"utf-8", "utf-8-sig"}:
        raise CellError(
            f"the script declares the encoding {encoding}, but is stored as UTF-8; remove the declaration",
            line=2,
        )


def _explain(wrong: list[str], error: SyntaxError) -> str:
    if wrong and OF_IPYTHON.match(wrong[0]):
        return (
            f"{wrong[0].strip()!r} is IPython syntax, and a script runs without IPython; nothing was written"
        )
    return f"{error.msg}; nothing was written"


def _check_path(path: str) -> None:
    segments = path.removesuffix("/").split("/")
    if {"", ".", ".."} & set(segments) or (path.endswith(".py") and len(segments) < 2):
        raise CellError(
            f"{path!r} is not a path in object storage: write bucket/prefix/, without a scheme, .. or a leading slash"
        )
