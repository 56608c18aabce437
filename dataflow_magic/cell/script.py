"""A cell that is a job's script: its option line and its text, checked. Pure but for the line's own expressions."""

from __future__ import annotations

import io
import re
import tokenize
import warnings
from collections.abc import Mapping
from typing import Any

from dataflow_magic.cell.run import (
    LineParser,
    add_condition,
    add_place,
    check_ranges,
    condition_of,
    parse_job_ref,
    split_line,
)
from dataflow_magic.errors import CellError
from dataflow_magic.models.request import ScriptRequest
from dataflow_magic.models.wire import JobCondition

__all__ = [
    "LOCAL_DEFAULTS",
    "object_key",
    "parse_script",
    "script_help",
    "script_option_strings",
]

LOCAL_DEFAULTS = JobCondition(
    num_worker=2,
    timeout=30,
    nrn="nrn:PUB:IAM::0000000:Role/00000000-0000-0000-0000-000000000000",
    script_path="dataflow-sample/scripts/",
    log_path="dataflow-sample/sparkHistoryLogs/",
)
"""What a new job of a local service has where the cell does not say: that of its sample jobs."""
OF_IPYTHON = re.compile(r"\s*[%!?]|.*=\s*[%!]|.*\?\s*$")


def parse_script(line: str, body: str, namespace: Mapping[str, Any]) -> ScriptRequest | None:
    """Read a cell; None when it asks for help.

    Parameters
    ----------
    line
        What follows ``%%dataflow_script``, read as `parse_cell` reads it.
    body
        The script; a parameter ``$name`` may stand where a name may.

    Raises
    ------
    CellError
        One line saying what is wrong, with the line's number in the cell.
    """
    options = _parser().read(split_line(line, namespace))
    if options.help:
        return None
    if options.job is None:
        raise CellError("no job is named; write %%dataflow_script JOB", line=1)
    if not body.strip():
        raise CellError("there is no script; write it below %%dataflow_script JOB", line=1)
    condition = condition_of(vars(options))
    check_ranges(condition, force=options.force)
    for path in filter(None, (condition.script_path, condition.log_path)):
        _check_path(path)
    return ScriptRequest(
        job=parse_job_ref(options.job),
        content=_checked(body.rstrip("\r\n") + "\n"),
        condition=condition,
        force=options.force,
        run=options.run,
        target=options.target,
        profile=options.profile,
    )


def object_key(script_path: str, job_name: str) -> str:
    """Return where the script of a job is: the ``.py`` its scriptPath names, else the job's own in that folder.

    Raises
    ------
    CellError
        The path is none in object storage.
    """
    _check_path(script_path)
    return script_path if script_path.endswith(".py") else f"{script_path.rstrip('/')}/{job_name}.py"


def script_help() -> str:
    """Return the help of ``%%dataflow_script``, made from the options themselves."""
    return _parser().format_help()


def script_option_strings() -> list[str]:
    """Return every long option of ``%%dataflow_script``, in the order of its help."""
    return _parser().flags()


def _parser() -> LineParser:
    parser = LineParser(
        "%%dataflow_script",
        usage="%%%%dataflow_script JOB [options]",
        description="Write the cell below the line as the script of a job, and create the job or change its condition.",
    )
    add = parser.add_argument
    add("job", metavar="JOB", nargs="?", help="a job's name, or of one that is there its id")
    add_condition(
        parser,
        "job condition (default: what is stored on the job; for a new one of a local service that of its samples)",
    )
    here = parser.add_argument_group("here").add_argument
    here("--run", action="store_true", help="start a run then, as %%dataflow_run JOB does")
    add_place(here)
    here(
        "--force",
        action="store_true",
        help="overwrite a script this kernel neither wrote nor saw; send values outside the documented ranges",
    )
    here("--help", "-h", action="store_true", help="show this and do nothing")
    return parser


def _checked(source: str) -> bytes:
    try:
        content = source.encode()
    except UnicodeEncodeError as error:
        line = source.count("\n", 0, error.start) + 2
        raise CellError(
            f"{source[error.start]!r} is half a character, which no file can hold", line=line
        ) from None
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        if encoding not in {"utf-8", "utf-8-sig"}:
            raise CellError(f"the script declares {encoding} and is written as UTF-8; leave that out", line=2)
        with warnings.catch_warnings():  # those are for who runs it
            warnings.simplefilter("ignore")
            # What a parameter will be is not known; that it stands where a name may is.
            compile(re.sub(r"\$(?=\w)", "_", source), "script", "exec", dont_inherit=True)
    except SyntaxError as error:
        number = error.lineno or 1
        wrong = source.split("\n")[number - 1 : number]
        if wrong and OF_IPYTHON.match(wrong[0]):
            raise CellError(
                f"{wrong[0].strip()!r} is IPython's, and a script runs without it", line=number + 1
            ) from None
        raise CellError(f"{error.msg}; nothing was written", line=number + 1) from None
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL; nested too deep
        why = str(error) or type(error).__name__
        raise CellError(f"the script cannot be compiled ({why}); nothing was written") from None
    return content


def _check_path(path: str) -> None:
    segments = path.removesuffix("/").split("/")
    if {"", ".", ".."} & set(segments) or (path.endswith(".py") and len(segments) < 2):
        raise CellError(
            f"{path!r} is not a path in object storage: write bucket/prefix/, without a scheme, .. or a leading slash"
        )
