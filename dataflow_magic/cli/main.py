"""The command line: ``dataflow-magic local`` serves a local Data Flow service, ``demo`` executes a notebook against it.

Exit codes: 0 success, 1 a failed notebook or a declined question, 2 usage, 3 service or configuration, 130 interrupt.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from dataflow_magic.cli.local import add_local
from dataflow_magic.errors import ConfigError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell script starts its background jobs like this; an interrupt would end neither command nor children.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return int(options.command(options))
    except (ConfigError, OSError) as error:
        print(f"dataflow-magic: {error}", file=sys.stderr)  # noqa: T201
        return 3
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dataflow-magic",
        allow_abbrev=False,
        description="Serve a local Data Flow service, or execute a notebook against it.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
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
