"""The option line and the parameter block: text to a `CellOptions`. Pure but for the user's own expressions."""

from __future__ import annotations

import argparse
import keyword
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from dataflow_magic.cell.block import Block, parse_block, parse_mapping
from dataflow_magic.cell.values import render
from dataflow_magic.errors import CellError, suggestion
from dataflow_magic.models.request import JobRef, RunRequest, SweepRequest
from dataflow_magic.models.wire import JobCondition

__all__ = [
    "CellOptions",
    "LineParser",
    "add_condition",
    "add_place",
    "check_ranges",
    "condition_of",
    "help_text",
    "make_request",
    "minutes",
    "option_strings",
    "parse_cell",
    "parse_job_ref",
    "split_line",
]

WORKERS = range(2, 11)
"""numWorker of the G0 executeJob page and of createJob (2026-09)."""
TIMEOUT_MINUTES = range(1441)
"""timeout of the executeJob page."""
ALL_OF_A_REQUEST = frozenset(
    {
        "job", "workers", "timeout", "worker_type", "nrn", "script_path", "log_path", "trigger_id", "workflow_id",
        "target", "profile", "dry_run",
    }
)  # fmt: skip
"""Options that say what is sent, where, or whether at all."""


@dataclass(frozen=True, slots=True)
class CellOptions:
    """A cell, read.

    Parameters
    ----------
    wait
        True or False when asked for, None for the default of the place: wait where nobody watches.
    wait_timeout
        Minutes to wait at most; None waits as long as the run takes.
    out
        Name the run is bound to, None for none.
    again
        The run whose request is sent once more instead of ``request``, None for none.
    sweep
        All requests where the block makes a sweep, ``request`` being the first; None where it does not.
    """

    request: RunRequest
    again: str | None = None
    wait: bool | None = None
    wait_timeout: float | None = None
    out: str | None = None
    dry_run: bool = False
    target: str | None = None
    profile: str | None = None
    warnings: tuple[str, ...] = ()
    sweep: SweepRequest | None = None


def parse_cell(line: str, body: str, namespace: Mapping[str, Any]) -> CellOptions | None:
    """Read a cell; None when it asks for help.

    Parameters
    ----------
    line
        What follows ``%%dataflow_run``. A whole token ``$name`` or ``{expression}`` is replaced by its value.
    body
        The parameter block.
    namespace
        The notebook's names, never changed.

    Raises
    ------
    CellError
        One line saying what is wrong; nothing was sent.
    """
    options = _parser().read(split_line(line, namespace))
    if options.help:
        return None
    if options.again is not None:
        _check_alone(options, body)
    elif options.job is None:
        raise CellError("no job is named; write %%dataflow_run JOB, a job's name or id", line=1)
    block = parse_block(body, namespace)
    request = RunRequest(
        # What --again sends is known once its run is found.
        job=JobRef(options.again) if options.again is not None else parse_job_ref(options.job),
        condition=condition_of(vars(options)).over(block.condition),
        parameters=block.parameters,
        trigger_id=options.trigger_id,
        workflow_id=options.workflow_id,
    )
    check_ranges(request.condition, force=options.force)
    return CellOptions(
        request=request,
        again=options.again,
        wait=options.wait,
        wait_timeout=options.wait_timeout,
        out=_variable(options.out),
        dry_run=options.dry_run,
        target=options.target,
        profile=options.profile,
        warnings=block.warnings,
        sweep=_sweep_of(request, block),
    )


def _sweep_of(request: RunRequest, block: Block) -> SweepRequest | None:
    requests = tuple(replace(request, parameters=each) for each in block.combinations)
    return SweepRequest(block.swept, requests) if block.swept else None


def make_request(
    job: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    workers: int | None = None,
    timeout: int | None = None,
    worker_type: str | None = None,
    nrn: str | None = None,
    script_path: str | None = None,
    log_path: str | None = None,
    trigger_id: str | None = None,
    workflow_id: str | None = None,
    force: bool = False,
) -> RunRequest:
    """Make the request a cell with these options and parameters makes.

    Raises
    ------
    CellError
        For a value that cannot be sent.
    """
    given = {
        "job": job,
        "workers": workers,
        "timeout": timeout,
        "worker_type": worker_type,
        "nrn": nrn,
        "script_path": script_path,
        "log_path": log_path,
        "trigger_id": trigger_id,
        "workflow_id": workflow_id,
    }
    for name, value in given.items():
        wanted = int if name in {"workers", "timeout"} else str
        if value is not None and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise CellError(f"{name}={value!r} is {type(value).__name__}, not {wanted.__name__}")
    condition = condition_of(given)
    check_ranges(condition, force=force)
    return RunRequest(parse_job_ref(job), condition, parse_mapping(parameters or {}), trigger_id, workflow_id)


def parse_job_ref(text: str) -> JobRef:
    """Read ``NAME``, ``ID``, ``name:NAME`` or ``id:ID``.

    Raises
    ------
    CellError
        The text names no job, or its id has characters that would change the request's path.
    """
    kind, colon, rest = text.partition(":")
    ref = JobRef(rest, "id" if kind == "id" else "name") if colon and kind in {"id", "name"} else JobRef(text)
    if not ref.text:
        raise CellError("no job is named; write %%dataflow_run JOB, a job's name or id")
    if ref.kind == "id" and not re.fullmatch(r"[A-Za-z0-9_-]+", ref.text):
        raise CellError(f"{ref.text!r} is not a job id; ids are letters and digits")
    return ref


def check_ranges(condition: JobCondition, *, force: bool = False) -> None:
    """Refuse what the vendor's pages say the service refuses; ``force`` sends it anyway.

    Raises
    ------
    CellError
        Naming the option, the value and the range.
    """
    if force:
        return
    if condition.num_worker is not None and condition.num_worker not in WORKERS:
        raise CellError(
            f"{condition.num_worker} workers are outside 2-10; set them between, or --force (force=True) sends it anyway"
        )
    if condition.timeout is not None and condition.timeout not in TIMEOUT_MINUTES:
        raise CellError(
            f"a timeout of {condition.timeout} is outside 0-1440 minutes; set it between, or --force (force=True) sends it anyway"
        )


def help_text() -> str:
    """Return the help of ``%%dataflow_run``, made from the options themselves."""
    return _parser().format_help()


def option_strings() -> list[str]:
    """Return every long option of ``%%dataflow_run``, in the order of its help."""
    return _parser().flags()


def split_line(line: str, namespace: Mapping[str, Any]) -> list[str]:
    """Return the words of an option line; a whole word ``$name`` or ``{expression}`` is replaced by its value.

    Raises
    ------
    CellError
        It does not split, or an expression has no value.
    """
    try:
        return [_expand(token, namespace) for token in shlex.split(line)]
    except ValueError as error:
        raise CellError(f"the option line does not split: {error}", line=1) from None


class LineParser(argparse.ArgumentParser):
    """argparse that raises one line instead of printing usage and ending the process, and takes no abbreviations."""

    def __init__(self, magic: str, *, usage: str, description: str) -> None:
        super().__init__(
            prog=magic,
            usage=usage,
            description=description,
            add_help=False,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=30, width=110),
        )

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the line, with where to read on."""
        raise CellError(f"{message}; see {self.prog.replace('%%', '%')} --help", line=1)

    def read(self, words: list[str]) -> argparse.Namespace:
        """Return what the words say.

        Raises
        ------
        CellError
            One is not known; the nearest option is offered.
        """
        options, unknown = self.parse_known_args(words)
        if unknown:
            word = unknown[0].split("=")[0]
            what = "option" if word.startswith("-") else "argument (one job a cell)"
            known = [flag for action in self._actions for flag in action.option_strings]
            self.error(f"unknown {what} {word!r}{suggestion(word, known)}")
        return options

    def flags(self) -> list[str]:
        """Return every long option, in the order of the help."""
        return [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]


def add_condition(parser: LineParser, title: str) -> None:
    """Add the options of the job condition; `condition_of` reads them."""
    add = parser.add_argument_group(title).add_argument
    add("--workers", "-w", type=_integer, metavar="N", help="number of workers, 2-10")
    add("--timeout", type=_integer, metavar="MINUTES", help="end the run after so many minutes, 0-1440")
    add("--worker-type", metavar="TYPE", help="DEFAULT or DATAFLOW; rarely needed")
    add("--nrn", help="the role the run works as")
    add("--script-path", metavar="PATH", help="bucket/prefix/ of the script")
    add("--log-path", metavar="PATH", help="bucket/prefix/ for logs")


def add_place(add: Callable[..., Any]) -> None:
    """Add the options that say which service is meant, with a parser's or a group's ``add_argument``."""
    add("--target", metavar="TARGET", help="cloud, local, a profile's name or a URL")
    add("--profile", metavar="NAME", help="profile of ~/.ncloud/configure")


def _parser() -> LineParser:
    parser = LineParser(
        "%%dataflow_run",
        usage="%%%%dataflow_run JOB [options]",
        description="Start a run of a Data Flow job. The cell below the line is the parameter block: "
        "name = expression, one a line, or a JSON object. name = each(a, b) starts a run per value, "
        "a, b = zipped([1, 2], [3, 4]) per pair. name = secret(expression) sends a value and shows it nowhere.",
    )
    add = parser.add_argument
    add("job", metavar="JOB", nargs="?", help="a job's name or id; name:X or id:X says which")
    add_condition(parser, "job condition (default: what is stored on the job)")
    query = parser.add_argument_group("provenance, sent in the query").add_argument
    query("--trigger-id", metavar="ID", help="trigger this run belongs to")
    query("--workflow-id", metavar="ID", help="workflow this run belongs to")
    here = parser.add_argument_group("here").add_argument
    here(
        "--again",
        metavar="RUN",
        help="start the same as this run of this machine once more; no JOB and no block then",
    )
    here(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="block until the run is over; a failed run fails the cell "
        "(the default where nobody watches: nbclient, papermill, nbconvert)",
    )
    here(
        "--wait-timeout", type=minutes, metavar="MINUTES", help="stop waiting after so long; the run goes on"
    )
    here("--out", "-o", metavar="NAME", help="bind the run to this name, also when it fails")
    here("--dry-run", action="store_true", help="show the request as curl and send nothing")
    add_place(here)
    here("--force", action="store_true", help="send values outside the documented ranges")
    here("--help", "-h", action="store_true", help="show this and do nothing")
    return parser


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def minutes(text: str) -> float:
    """Return the value of an option that takes minutes; argparse tells what is wrong with another."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes")
    return value


def _check_alone(options: argparse.Namespace, body: str) -> None:
    given = [name for name, value in vars(options).items() if name in ALL_OF_A_REQUEST and value]
    if given or body.strip():
        what = f"{'JOB' if given[0] == 'job' else '--' + given[0].replace('_', '-')}" if given else "a block"
        raise CellError(f"--again sends a run's request as it was, so {what} has no place beside it", line=1)


def _variable(name: str | None) -> str | None:
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise CellError(f"--out {name!r} is not a name Python can bind", line=1)
    return name


def condition_of(given: Mapping[str, Any]) -> JobCondition:
    """Return the job condition that options, by their names, ask for."""
    names = {
        "workers": "num_worker",
        "timeout": "timeout",
        "worker_type": "worker_type",
        "nrn": "nrn",
        "script_path": "script_path",
        "log_path": "log_path",
    }
    return JobCondition(**{ours: given[name] for name, ours in names.items() if given[name] is not None})


def _expand(token: str, namespace: Mapping[str, Any]) -> str:
    """Replace a whole token ``$name`` or ``{expression}`` by its value; leave text inside other text alone."""
    if token.startswith("$") and token[1:].isidentifier():
        expression = token[1:]
    elif token.startswith("{") and token.endswith("}"):
        expression = token[1:-1]
    elif token.startswith("{") and "}" not in token:
        raise CellError(
            f"{token!r} opens an expression and does not close it; put one with blanks in quotes", line=1
        )
    else:
        return token
    try:
        value = eval(expression, dict(namespace))  # noqa: S307 - the user's own code, in the user's own kernel
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's expression raises
        raise CellError(f"{token}: {type(error).__name__}: {error}", line=1) from None
    try:
        return render(value)
    except ValueError as error:
        raise CellError(f"{token} {error}", line=1) from None
