"""The command line: runs and jobs as in a notebook, the local service, and a demo.

Exit codes: 0 success, 1 a run that did not complete, a failed notebook or a declined question, 2 usage, 3 service or
configuration, 4 a start whose outcome is unknown, 124 a wait that timed out, 130 interrupt, 141 closed output.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["main"]

CLOSED_OUTPUT = 141
"""As of a program that the closed pipe ended: 128 and the number of the signal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    # All that is imported late: an interrupt or a closed pipe may come at any moment, and shows no traceback.
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # A shell script starts its background jobs like this; an interrupt would end neither command nor children.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = _main(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _close_output()
        return CLOSED_OUTPUT
    except KeyboardInterrupt:
        return 130
    return code


def _main(arguments: Sequence[str]) -> int:
    from dataflow_magic.cli.parsers import COMMANDS

    if arguments and arguments[0] in COMMANDS:
        return _of_runs(arguments[0], arguments[1:])
    from dataflow_magic.cli.completion import ASK

    if arguments and arguments[0] == ASK:
        return _complete(" ".join(arguments[1:]))
    return _of_service(arguments)


def _of_runs(command: str, arguments: Sequence[str]) -> int:
    from dataflow_magic.api import close_session
    from dataflow_magic.cli.commands import execute

    try:
        return execute(command, arguments)
    finally:
        # Ends at once at a second interrupt: all starts are on disk.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        close_session()


def _complete(line: str) -> int:
    from dataflow_magic.api import get_session
    from dataflow_magic.cli.completion import offered

    for word in offered(line, _parser(), get_session):
        print(word)  # noqa: T201
    return 0


def _of_service(arguments: Sequence[str]) -> int:
    from dataflow_magic.cli.terminal import in_words
    from dataflow_magic.errors import ConfigError

    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except BrokenPipeError:
        raise
    except (ConfigError, OSError) as error:
        print(f"dataflow-magic: {in_words(str(error))}", file=sys.stderr)  # noqa: T201
        return 3


def _close_output() -> None:
    """Let Python find no closed pipe when it flushes its streams at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def _parser() -> argparse.ArgumentParser:
    from pathlib import Path

    from dataflow_magic.cli.local import Parser, add_local
    from dataflow_magic.cli.parsers import COMMANDS

    parser = Parser(
        prog="dataflow-magic",
        allow_abbrev=False,
        description="Start, watch and cancel runs, serve a local Data Flow service, or execute a notebook against it.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (what, _) in COMMANDS.items():
        commands.add_parser(name, help=what)  # for the help; `execute` reads its words
    add_local(commands)
    demo = commands.add_parser(
        "demo",
        allow_abbrev=False,
        help="execute a notebook against the local service",
        description="Execute a notebook against the local service. Print each change of a run's state, the table of "
        "runs, and the paths of the executed notebook and of its HTML page.",
    )
    demo.add_argument(
        "notebook",
        type=Path,
        nargs="?",
        default=Path("notebooks/quickstart.ipynb"),
        metavar="NOTEBOOK",
        help="default %(default)s",
    )
    demo.add_argument(
        "--out",
        type=Path,
        default=Path(".demo"),
        metavar="FOLDER",
        help="folder for all output (default %(default)s)",
    )
    demo.set_defaults(command=_demo)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from dataflow_magic.cli.demo import run_demo

    return run_demo(options.notebook, options.out)
