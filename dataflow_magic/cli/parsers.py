"""The parser of each command that concerns runs and jobs: the words and options of the magic with its name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dataflow_magic.cell import backfill, parsers, run, table, wait
from dataflow_magic.cell.line import JOB_HELP, LineParser, add_target

__all__ = ["COMMANDS", "STARTS", "take_parameters"]

STARTS = ("run", "sweep")
"""The commands that take words ``NAME=VALUE``."""

RUN = "run id or its beginning, key, or @last"
SHELLS = ("bash", "zsh", "fish")


def _command(name: str, arguments: str, description: str) -> LineParser:
    return LineParser(f"dataflow-magic {name}", arguments, description)


def _add_json(parser: LineParser) -> LineParser:
    parser.add_argument("--json", action="store_true", help="print one line of JSON for programs")
    return parser


def _run() -> LineParser:
    parser = _command(
        "run",
        "JOB [NAME=VALUE ...] [options]",
        "Start a run of a Data Flow job and print its id. NAME=VALUE is a parameter, sent as written. NAME=@FILE reads the "
        "value from a file and NAME=@- from standard input: both are sent and never shown. NAME=@@TEXT sends @TEXT.",
    )
    parser.add_argument("job", metavar="JOB", nargs="?", help=JOB_HELP)
    run.add_options(parser, in_cell=False)
    return _add_json(parser)


def _sweep() -> LineParser:
    parser = _command(
        "sweep",
        "JOB NAME=VALUES ... [options]",
        "Start a run per combination of values and print the key of the sweep. NAME=2026-11-01..2026-11-30 are days, "
        "NAME=1..12 whole numbers, NAME=a,b these values; one value is that of every run. The same command continues a sweep "
        "that did not start all of its runs.",
    )
    parser.add_argument("job", metavar="JOB", nargs="?", help=JOB_HELP)
    run.add_options(parser, in_cell=False)
    backfill.add_sweep(parser.add_argument_group("the sweep").add_argument)
    return _add_json(parser)


def _runs() -> LineParser:
    parser = _command(
        "runs",
        "[options]",
        "List the newest runs of this machine, newest first: 20, or as many as --limit says.",
    )
    table.add_options(parser)
    parser.set_defaults(columns=None)
    return _add_json(parser)


def _sweeps() -> LineParser:
    parser = _command(
        "sweeps", "[options]", "List the sweeps of this machine, newest first, and how far each is."
    )
    return _add_json(parser)


def _status() -> LineParser:
    parser = _command(
        "status",
        "[RUN] [options]",
        "Show a run. Without RUN, show the target of new runs, with its endpoint and access key.",
    )
    parser.add_argument("run", metavar="RUN", nargs="?", help=RUN)
    parser.add_argument("--job", metavar="JOB", help="the job of a run that another machine started")
    add_target(parser.add_argument)
    return _add_json(parser)


def _logs() -> LineParser:
    parser = _command(
        "logs",
        "RUN [options]",
        "Print what the script of a run printed: the last 256 KiB, or with --all the whole log.",
    )
    parser.add_argument("run", metavar="RUN", type=parsers.not_empty, help=RUN)
    parsers.add_log_options(parser, table.limit, "print the whole log")
    return parser


def _wait() -> LineParser:
    parser = _command(
        "wait",
        "[RUN ...] [options]",
        "Wait until runs end. The exit code is 1 if one did not complete. Ctrl+C ends the wait and no run.",
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help=f"{RUN} (default: all active runs of this machine)"
    )
    wait.add_options(parser)
    return _add_json(parser)


def _cancel() -> LineParser:
    parser = _command("cancel", "RUN [options]", "Ask the service to cancel a run.")
    parser.add_argument("run", metavar="RUN", type=parsers.not_empty, help=RUN)
    parsers.add_sure(parser)
    return _add_json(parser)


def _compare() -> LineParser:
    parser = _command(
        "compare",
        "RUN RUN [options]",
        "Show what differs between two runs: parameters, condition, script, how they ended, times, and stages.",
    )
    parser.add_argument("runs", metavar="RUN", nargs=2, type=parsers.not_empty, help=RUN)
    return _add_json(parser)


def _stages() -> LineParser:
    parser = _command(
        "stages",
        "RUN [options]",
        "Print the stages of a run, and what is out of line in them, by its event log.",
    )
    parser.add_argument("run", metavar="RUN", type=parsers.not_empty, help=RUN)
    return _add_json(parser)


def _jobs() -> LineParser:
    parser = _command("jobs", "[JOB] [options]", "List the jobs of a target, or one job.")
    parser.add_argument("job", metavar="JOB", nargs="?", help=JOB_HELP)
    add_target(parser.add_argument)
    return _add_json(parser)


def _completion() -> LineParser:
    parser = _command(
        "completion", "SHELL", "Print the lines that let a shell complete commands by the Tab key."
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")
    return parser


COMMANDS: dict[str, tuple[str, Callable[[], LineParser]]] = {
    "run": ("start a run of a job", _run),
    "sweep": ("start a run per combination of values", _sweep),
    "runs": ("list runs", _runs),
    "sweeps": ("list sweeps", _sweeps),
    "status": ("show a run, or the target of new runs", _status),
    "logs": ("print the log of a run", _logs),
    "wait": ("wait until runs end", _wait),
    "cancel": ("cancel a run", _cancel),
    "compare": ("show what differs between two runs", _compare),
    "stages": ("print the stages of a run", _stages),
    "jobs": ("list jobs", _jobs),
    "completion": ("print the completion script of a shell", _completion),
}
"""Command -> what it does in a few words, and its parser."""


def take_parameters(parser: LineParser, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words without those that are ``NAME=VALUE``, and these; the value of an option is none of them."""
    rest: list[str] = []
    taken: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        is_taken = "=" in word and not word.startswith("-") and not parser.takes_value(before)
        (taken if is_taken else rest).append(word)
    return rest, taken
