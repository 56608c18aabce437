"""The parser of every magic's line, by the name of the magic. Holds the short ones itself."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

from dataflow_magic.cell import run, script, table, wait
from dataflow_magic.cell.line import LineParser

__all__ = ["MAGICS"]

RUN_HELP = "run id or its beginning, key of %%dataflow_runs --all, or @last"


def _attach() -> LineParser:
    parser = LineParser(
        "%dataflow_attach",
        "RUN [JOB]",
        "Show the live card of a run, also of an earlier kernel, and watch the run from this kernel.",
    )
    parser.add_argument("run", metavar="RUN", type=_not_empty, help=RUN_HELP)
    parser.add_argument(
        "job", metavar="JOB", nargs="?", help="the job to search for a run that another machine started"
    )
    return parser


def _cancel() -> LineParser:
    parser = LineParser("%dataflow_cancel", "RUN [--yes]", "Ask the service to cancel a run.")
    parser.add_argument("run", metavar="RUN", type=_not_empty, help=RUN_HELP)
    parser.add_argument(
        "--yes",
        action="store_true",
        help="also a run that was found by its parameters, which may be somebody else's identical run",
    )
    return parser


def _config() -> LineParser:
    return LineParser(
        "%dataflow_config",
        "",
        "Show each setting, its value, the source of that value, and the values it overrides. "
        "%config DataflowMagic.NAME = value changes a setting.",
    )


def _jobs() -> LineParser:
    parser = LineParser("%dataflow_jobs", "[TARGET]", "Return the jobs of a target as a DataFrame.")
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help="cloud, local, the name of a profile, or a URL"
    )
    return parser


def _status() -> LineParser:
    parser = LineParser(
        "%dataflow_status",
        "[RUN]",
        "Show the card of a run. Without RUN, show the target of new runs, with its endpoint and access key.",
    )
    parser.add_argument("run", metavar="RUN", nargs="?", help=RUN_HELP)
    return parser


def _not_empty(text: str) -> str:
    if not text:
        raise ArgumentTypeError("it is empty; give a run or @last")
    return text


MAGICS: dict[str, Callable[[], LineParser]] = {
    "attach": _attach,
    "cancel": _cancel,
    "config": _config,
    "jobs": _jobs,
    "run": run.parser,
    "runs": table.parser,
    "script": script.parser,
    "status": _status,
    "wait": wait.parser,
}
"""By the name of the magic, without ``dataflow_``."""
