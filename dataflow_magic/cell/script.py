"""``%%dataflow_script``: its line and the script below it become a `ScriptCell`. Pure but for the line's expressions."""

from __future__ import annotations

import io
import re
import tokenize
import warnings
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dataflow_magic.cell.backfill import OPTIONS, add_sweep
from dataflow_magic.cell.block import parse_block
from dataflow_magic.cell.line import (
    LineParser,
    add_condition,
    add_target,
    check_ranges,
    condition_of,
    parse_job_ref,
    take_assignments,
)
from dataflow_magic.cell.run import CellOptions, add_start, start_options
from dataflow_magic.errors import CellError
from dataflow_magic.models.request import JobRef, RunRequest, ScriptRequest
from dataflow_magic.models.wire import JobCondition

__all__ = ["LOCAL_DEFAULTS", "ScriptCell", "object_key", "parse_script", "parser"]

LOCAL_DEFAULTS = JobCondition(
    num_worker=2,
    timeout=30,
    nrn="nrn:PUB:IAM::0000000:Role/00000000-0000-0000-0000-000000000000",
    script_path="dataflow-sample/scripts/",
    log_path="dataflow-sample/sparkHistoryLogs/",
)
"""Condition of a new job of a local service where the cell sets none: that of the sample jobs."""
OF_IPYTHON = re.compile(r"\s*[%!?]|.*=\s*[%!]|.*\?\s*$")


WITH_READING = frozenset({"job", "show", "edit", "target", "profile", "notes"})
"""Options that may stand beside ``--show`` and ``--edit``."""
OF_A_RUN = ("wait", "wait_timeout", "marker", "out", *OPTIONS)
"""Options that only a line with ``--run`` may have."""


@dataclass(frozen=True, slots=True)
class ScriptCell:
    """What a cell asks for.

    Parameters
    ----------
    write
        The script to write; None where the cell only reads it.
    reading
        ``show`` prints the stored script, and ``edit`` puts it into the next cell.
    run
        The run, or the sweep, to start afterwards; None for none.
    warnings
        One line each, for what is sent all the same.
    """

    job: JobRef
    write: ScriptRequest | None = None
    reading: Literal["", "show", "edit"] = ""
    run: CellOptions | None = None
    target: str | None = None
    profile: str | None = None
    warnings: tuple[str, ...] = ()


def parse_script(line: str, body: str, namespace: Mapping[str, Any]) -> ScriptCell:
    """Read a cell.

    Parameters
    ----------
    line
        What follows ``%%dataflow_script``. A word ``name=expression`` is a parameter of the run. A whole word ``$name``
        or ``{expression}`` is replaced by its value.
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
    line, assignments = take_assignments(line)
    options = mine.read(line, namespace)
    if options.job is None:
        raise mine.mistake("no job is given; write %%dataflow_script JOB")
    job = parse_job_ref(options.job)
    place = {"target": options.target, "profile": options.profile, "warnings": options.notes}
    if options.show or options.edit:
        _check_reads_only(options, assignments, body)
        return ScriptCell(job, reading="edit" if options.edit else "show", **place)
    if not body.strip():
        raise mine.mistake(
            "the cell has no script; write it below %%dataflow_script JOB, or read the stored one with "
            "%dataflow_script JOB --show"
        )
    condition = condition_of(vars(options))
    check_ranges(condition, force=options.force)
    for path in filter(None, (condition.script_path, condition.log_path)):
        _check_path(path)
    run = _run_of(options, job, assignments, namespace)
    content = _checked(body.rstrip("\r\n") + "\n")
    return ScriptCell(job, ScriptRequest(job, content, condition, force=options.force), run=run, **place)


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
        "JOB [options] [--run [NAME=EXPRESSION ...]]",
        "Write the cell below the line as the script of a job, and create the job or change its condition. With --run, "
        'start a run of it with these parameters, as %%dataflow_run does: month=7 origin=each("JFK", "EWR").',
    )
    parser.add_argument(
        "job", metavar="JOB", nargs="?", help="name of the job; for an existing one also its id"
    )
    add_condition(
        parser,
        "job condition (default: what the job has stored; for a new job of a local service, that of its samples)",
    )
    add = parser.add_argument_group("a run of the new script").add_argument
    add("--run", action="store_true", help="then start a run, or a sweep, with the parameters of the line")
    add_start(add)
    add_sweep(parser.add_argument_group("a sweep of the new script").add_argument, is_new_script=True)
    add = parser.add_argument_group("the stored script, without a cell").add_argument
    add("--show", action="store_true", help="print it")
    add("--edit", action="store_true", help="put it into the next cell")
    add = parser.add_argument_group("behavior").add_argument
    add_target(add)
    add(
        "--force",
        action="store_true",
        help="overwrite a script that this notebook neither wrote nor read; send values outside the documented ranges",
    )
    return parser


def _check_reads_only(options: Namespace, assignments: list[str], body: str) -> None:
    """Refuse everything beside ``--show`` and ``--edit`` that would change something."""
    given = [name for name, value in vars(options).items() if value and name not in WITH_READING]
    extra = [*(f"--{name.replace('_', '-')}" for name in given), *assignments]
    if extra := extra + ["the cell below"] * bool(body.strip()):
        word = "--edit" if options.edit else "--show"
        raise CellError(f"{word} only reads the stored script; remove {', '.join(extra)}", line=1)


def _is_given(options: Namespace, name: str) -> bool:
    value = getattr(options, name, None)
    return bool(value) if name in OPTIONS else value is not None


def _run_of(
    options: Namespace, job: JobRef, assignments: list[str], namespace: Mapping[str, Any]
) -> CellOptions | None:
    """Return the run that a line asks for, None for none."""
    if options.run:
        block = parse_block("; ".join(assignments), namespace, first_line=1)
        return start_options(options, RunRequest(job, parameters=block.parameters), block)
    given = [f"--{name.replace('_', '-')}" for name in OF_A_RUN if _is_given(options, name)]
    if extra := [*given, *assignments]:
        raise CellError(f"{', '.join(extra)}: this is for a run; add --run to start one", line=1)
    return None


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
