"""The parser of every magic's line, by the name of the magic. Holds the short ones itself."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

from dataflow_magic.cell import run, script, table, wait
from dataflow_magic.cell.line import JOB_HELP, RUN_HELP, LineParser, add_target, python_name

__all__ = ["MAGICS", "add_sure", "not_empty"]


def _attach() -> LineParser:
    parser = LineParser(
        "%dataflow_attach",
        "RUN [JOB] [options]",
        "Return a run or a sweep, also of an earlier kernel, and watch it from this kernel. Its card is shown.",
    )
    parser.add_argument("run", metavar="RUN", type=not_empty, help=RUN_HELP)
    parser.add_argument(
        "job", metavar="JOB", nargs="?", help="the job to search for a run that another machine started"
    )
    parser.add_argument("--out", "-o", type=python_name, metavar="NAME", help="bind the run to this name")
    add_target(parser.add_argument)
    return parser


def _cancel() -> LineParser:
    parser = LineParser(
        "%dataflow_cancel", "RUN [--yes]", "Ask the service to cancel a run, or all runs of a sweep."
    )
    parser.add_argument("run", metavar="RUN", type=not_empty, help=RUN_HELP)
    add_sure(parser)
    return parser


def add_sure(parser: LineParser) -> None:
    """Add ``--yes``, which cancels what may not be the user's."""
    parser.add_argument(
        "--yes",
        action="store_true",
        help="also cancel a run that was found by its parameters: it may be an identical run of another user",
    )


def _compare() -> LineParser:
    parser = LineParser(
        "%dataflow_compare",
        "RUN RUN",
        "Return what differs between two runs: parameters, condition, script, how they ended, times, and stages.",
    )
    parser.add_argument("runs", metavar="RUN", nargs=2, type=not_empty, help=RUN_HELP)
    return parser


def _config() -> LineParser:
    return LineParser(
        "%dataflow_config",
        "",
        "Show each setting, its value, the source of that value, and the values it overrides. "
        "%config DataflowMagic.NAME = value changes a setting.",
    )


def _sweeps() -> LineParser:
    return LineParser(
        "%dataflow_sweeps",
        "",
        "Return the sweeps of this machine as a DataFrame, newest first: how far each is, and which kernel starts the rest.",
    )


def _jobs() -> LineParser:
    parser = LineParser(
        "%dataflow_jobs",
        "[JOB] [options]",
        "Return the jobs of a target as a DataFrame, or only the job JOB.",
    )
    parser.add_argument("job", metavar="JOB", nargs="?", help=JOB_HELP)
    add_target(parser.add_argument)
    return parser


def _logs() -> LineParser:
    parser = LineParser(
        "%dataflow_logs",
        "RUN [options]",
        "Print the last 50 lines of the console log of a run, also of an earlier kernel.",
    )
    parser.add_argument("run", metavar="RUN", type=not_empty, help=RUN_HELP)
    add_log_options(parser, _lines, "print the whole log; of more than 1 MiB the last 1 MiB")
    return parser


def add_log_options(parser: LineParser, lines: Callable[[str], int], all_help: str) -> None:
    """Add the options of which lines of a log to read, and where to write them.

    Parameters
    ----------
    lines
        Reads a number of lines.
    all_help
        What ``--all`` does.
    """
    parser.add_argument("--tail", type=lines, metavar="N", help="begin with the last N lines")
    parser.add_argument("--all", action="store_true", help=all_help)
    parser.add_argument(
        "--save",
        metavar="FILE",
        type=not_empty_file,
        help="write the whole log, or the lines that the other options select, to a new file",
    )
    parser.add_argument("--follow", "-f", action="store_true", help="print new lines until the run ends")
    parser.add_argument(
        "--grep", metavar="RE", help="search the whole log, and print only lines that match; RE2's syntax"
    )
    parser.add_argument(
        "--stderr", action="store_true", help="the log of standard error; locally what Spark's JVM printed"
    )


def _stages() -> LineParser:
    parser = LineParser(
        "%dataflow_stages",
        "RUN [options]",
        "Draw the stages of a run over time, with what is out of line in them; in a terminal a table.",
    )
    parser.add_argument("run", metavar="RUN", type=not_empty, help=RUN_HELP)
    parser.add_argument(
        "--out", "-o", type=python_name, metavar="NAME", help="bind the stages, as a DataFrame, to this name"
    )
    return parser


def _status() -> LineParser:
    parser = LineParser(
        "%dataflow_status",
        "[RUN]",
        "Show the card of a run or a sweep. Without RUN, show the target of new runs, with its endpoint and access key.",
    )
    parser.add_argument("run", metavar="RUN", nargs="?", help=RUN_HELP)
    return parser


def _lines(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is not a number of lines; give 1 or more")
    return number


def not_empty(text: str) -> str:
    """Return the name of a run.

    Raises
    ------
    argparse.ArgumentTypeError
        It is empty.
    """
    if not text:
        raise ArgumentTypeError("it is empty; give a run or @last")
    return text


def not_empty_file(text: str) -> str:
    """Return the name of a file.

    Raises
    ------
    argparse.ArgumentTypeError
        It is empty.
    """
    if not text:
        raise ArgumentTypeError("it is empty; give the name of a new file")
    return text


MAGICS: dict[str, Callable[[], LineParser]] = {
    "attach": _attach,
    "cancel": _cancel,
    "compare": _compare,
    "config": _config,
    "jobs": _jobs,
    "logs": _logs,
    "run": run.parser,
    "runs": table.parser,
    "script": script.parser,
    "stages": _stages,
    "status": _status,
    "sweeps": _sweeps,
    "wait": wait.parser,
}
"""By the name of the magic, without ``dataflow_``."""
