"""``%%dataflow_run``: its line and its block become a `CellOptions`. Pure but for the user's own expressions."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dataflow_magic.cell.backfill import add_sweep, plan_of
from dataflow_magic.cell.block import Block, parse_block, parse_mapping
from dataflow_magic.cell.line import (
    CONDITION_FIELDS,
    JOB_HELP,
    LineParser,
    add_condition,
    add_target,
    check_ranges,
    condition_of,
    marker_word,
    minutes,
    parse_job_ref,
    python_name,
    take_assignments,
)
from dataflow_magic.errors import CellError
from dataflow_magic.models.marker import MARKERS, Marker
from dataflow_magic.models.request import JobRef, RunRequest, SweepPlan, SweepRequest

__all__ = [
    "CellOptions",
    "add_options",
    "add_start",
    "check_again",
    "make_request",
    "no_runs",
    "parse_cell",
    "parser",
    "start_options",
]

WITH_AGAIN = frozenset({"again", "notes", "force", "json", "out", "wait", "wait_timeout"})
"""Options that do not change what ``--again`` sends, nor where."""


@dataclass(frozen=True, slots=True)
class CellOptions:
    """What a cell asks for.

    Parameters
    ----------
    request
        The run to start. With ``again`` it names only that run.
    again
        The earlier run whose request is sent once more, None for none.
    wait
        None leaves the choice to the settings: without a person at the front end, a cell waits.
    wait_timeout
        Minutes to wait at most; None waits until the run ends.
    out
        Name to bind the run to, None for none.
    warnings
        One line each, for what is sent all the same.
    marker
        Where the marker is sent; None leaves the choice to the settings.
    sweep
        All runs to start when the block has a word of a sweep; ``request`` is the first. Else None.
    asks_service
        Whether the service is asked too which runs there were.
    is_meant
        Whether a sweep of more than 100 runs is started.
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
    marker: Marker | None = None
    sweep: SweepRequest | None = None
    asks_service: bool = False
    is_meant: bool = False

    def with_marker(self, by_default: Marker) -> CellOptions:
        """Return the options with the marker in each request: that of the line, else that of the settings."""
        marker = self.marker or by_default
        return replace(
            self,
            request=replace(self.request, marker=marker),
            sweep=self.sweep and self.sweep.with_marker(marker),
        )

    def at_job(self, job: JobRef) -> CellOptions:
        """Return the options with the job in each request."""
        requests = self.sweep.requests if self.sweep else ()
        return replace(
            self,
            request=replace(self.request, job=job),
            sweep=self.sweep
            and replace(self.sweep, requests=tuple(replace(each, job=job) for each in requests)),
        )


def parse_cell(line: str, body: str, namespace: Mapping[str, Any]) -> CellOptions:
    """Read a cell.

    Parameters
    ----------
    line
        What follows ``%%dataflow_run``. A whole word ``$name`` or ``{expression}`` is replaced by its value.
    body
        The parameter block.
    namespace
        The notebook's names, never changed.

    Raises
    ------
    CellError
        Something in the cell is wrong; nothing was sent.
    HelpRequested
        The line asks for help.
    """
    mine = parser()
    for word in take_assignments(line)[1]:
        before = line[: line.index(word)].split()
        if not (before and mine.takes_value(before[-1])):
            raise mine.mistake(
                f"{word!r} is on the line; parameters stand in the block below it: {_as_line(word, namespace)}"
            )
    options = mine.read(line, namespace)
    if options.again is not None:
        check_again(options, ["the block"] * bool(body.strip()), line=1)
    job = parse_job_ref(options.job) if options.again is None else JobRef(options.again)
    block = parse_block(body, namespace)
    request = RunRequest(
        job,
        condition_of(vars(options)).over(block.condition),
        block.parameters,
        options.trigger_id,
        options.workflow_id,
    )
    check_ranges(request.condition, force=options.force)
    started = start_options(options, request, block)
    return replace(started, again=options.again, dry_run=options.dry_run)


def start_options(options: argparse.Namespace, request: RunRequest, block: Block) -> CellOptions:
    """Return what the options of `add_start`, `backfill.add_sweep` and `line.add_target` ask for."""
    return CellOptions(
        request,
        wait=options.wait,
        wait_timeout=options.wait_timeout,
        out=options.out,
        target=options.target,
        profile=options.profile,
        warnings=(*options.notes, *block.warnings),
        marker=options.marker,
        sweep=_sweep_of(request, block, plan_of(options, is_sweep=bool(block.swept))),
        asks_service=getattr(options, "remote", False),
        is_meant=options.yes,
    )


def make_request(
    job: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    force: bool = False,
    marker: Marker = "off",
    **options: Any,
) -> RunRequest:
    """Return the request that a cell with these options and parameters makes.

    Parameters
    ----------
    options
        By their names with ``_``: those of the job condition, ``trigger_id`` and ``workflow_id``.

    Raises
    ------
    CellError
        A value cannot be sent.
    """
    for name, value in {"job": job, **options}.items():
        expected = int if name in {"workers", "timeout"} else str
        if value is not None and (not isinstance(value, expected) or isinstance(value, bool)):
            raise CellError(f"{name}={value!r} is {type(value).__name__}, not {expected.__name__}")
    if marker not in MARKERS:
        raise CellError(f"marker={marker!r} is none of {', '.join(MARKERS)}")
    condition = condition_of(options)
    check_ranges(condition, force=force)
    provenance = {name: value for name, value in options.items() if name not in CONDITION_FIELDS}
    return RunRequest(
        parse_job_ref(job), condition, parse_mapping(parameters or {}), marker=marker, **provenance
    )


def no_runs(sweep: SweepRequest) -> str:
    """Return why a sweep has no runs, in a sentence."""
    names = ", ".join(name.removeprefix("$") for name in sweep.swept)
    return f"no value is left for {names}, so the sweep has no runs and nothing is sent"


def parser() -> LineParser:
    """Return the parser of the line."""
    parser = LineParser(
        "%%dataflow_run",
        "JOB [options]",
        "Start a run of a Data Flow job. The cell below the line is the parameter block: one name = expression per "
        "line, or a JSON object. name = each(a, b) starts a run per value, a, b = zipped([1, 2], [3, 4]) a run per "
        "pair, a, b = rows(frame) a run per row. name = secret(expression) sends a value that is never shown.",
    )
    parser.add_argument("job", metavar="JOB", nargs="?", help=JOB_HELP)
    add_options(parser, in_cell=True)
    return parser


def add_options(parser: LineParser, *, in_cell: bool) -> None:
    """Add the options of a start; those that concern a cell only where there is one."""
    add_condition(parser, "job condition (default: what the job has stored)")
    add = parser.add_argument_group("provenance, sent in the query").add_argument
    add("--trigger-id", metavar="ID", help="trigger that the run belongs to")
    add("--workflow-id", metavar="ID", help="workflow that the run belongs to")
    if in_cell:
        add_sweep(parser.add_argument_group("a sweep").add_argument)
    add = parser.add_argument_group("behavior").add_argument
    add(
        "--again",
        metavar="RUN",
        help="send the request of this earlier run once more, without JOB and parameters",
    )
    add_start(add, in_cell=in_cell)
    add("--dry-run", action="store_true", help="print the request as curl and send nothing")
    add_target(add)
    add("--force", action="store_true", help="send values outside the documented ranges")


def add_start(add: Callable[..., Any], *, in_cell: bool = True) -> None:
    """Add the options of a start beside its request, with the ``add_argument`` of a parser or of a group."""
    of_cell = "a failed run fails the cell (default under nbclient, papermill and nbconvert)"
    add(
        "--wait",
        action=_Wait,
        help=f"block until the run ends; {of_cell if in_cell else 'the exit code is 1 if it did not complete'}",
    )
    add(
        "--wait-timeout", type=minutes, metavar="MINUTES", help="stop waiting after this time; implies --wait"
    )
    add(
        "--marker",
        type=marker_word,
        metavar="MARKER",
        help="where to send the run's key, which makes the search for a lost start certain: log-path, parameter or off",
    )
    if in_cell:
        add(
            "--out",
            "-o",
            type=python_name,
            metavar="NAME",
            help="bind the run to this name, even if it fails",
        )


class _Wait(argparse.BooleanOptionalAction):
    """``--wait`` and ``--no-wait``, of which a line has one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        flag: str | None = None,
    ) -> None:
        before = namespace.wait
        super().__call__(parser, namespace, values, flag)
        if before not in (None, namespace.wait):
            parser.error("--wait and --no-wait contradict each other; keep one")


def check_again(options: argparse.Namespace, more: Iterable[str], *, line: int | None = None) -> None:
    """Refuse everything beside ``--again`` that would change what it sends: options, and ``more``.

    Raises
    ------
    CellError
        With what is to be removed.
    """
    given = [name for name, value in vars(options).items() if value and name not in WITH_AGAIN]
    flags = ["JOB" if name == "job" else f"--{name.replace('_', '-')}" for name in given]
    if extra := [*flags, *more]:
        raise CellError(
            f"--again sends the request of that run unchanged; remove {', '.join(extra)}", line=line
        )


def _as_line(word: str, namespace: Mapping[str, Any]) -> str:
    """Return ``name=value`` as a line of a block, which has text in quotes."""
    name, _, value = word.partition("=")
    try:
        parsed = ast.parse(value, mode="eval").body
        is_text = isinstance(parsed, ast.Name) and parsed.id not in namespace
    except (SyntaxError, ValueError):
        is_text = True
    return f"{name.removeprefix('$')} = {value!r}" if is_text else f"{name.removeprefix('$')} = {value}"


def _sweep_of(request: RunRequest, block: Block, plan: SweepPlan) -> SweepRequest | None:
    requests = tuple(replace(request, parameters=each) for each in block.combinations)
    job = "" if requests else request.job.text
    return SweepRequest(block.swept, requests, job, plan) if block.swept else None
