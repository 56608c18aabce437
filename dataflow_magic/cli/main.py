"""The command line: ``dataflow-magic local`` serves, ``dataflow-magic demo`` runs a notebook and tells what its runs do.

Exit codes: 0 fine, 1 a run or the notebook failed, or the answer was no, 2 usage, 3 service or set-up, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dataflow_magic.cli.local import add_local
from dataflow_magic.errors import ConfigError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except (ConfigError, OSError) as error:
        print(f"dataflow-magic: {error}", file=sys.stderr)  # noqa: T201
        return 3
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dataflow-magic", allow_abbrev=False, description=__doc__.split("\n")[0]
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_local(commands)
    demo = commands.add_parser(
        "demo",
        allow_abbrev=False,
        help="execute a notebook against the local service",
        description="Execute a notebook against the local service, print each run's states as they change, then the "
        "table of runs, then where the executed notebook and its HTML page are.",
    )
    demo.add_argument("notebook", type=Path, nargs="?", default=Path("notebooks/quickstart.ipynb"))
    demo.add_argument(
        "--out", type=Path, default=Path(".demo"), help="folder for all it writes (default %(default)s)"
    )
    demo.set_defaults(command=_demo)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from dataflow_magic.cli.demo import run_demo

    return run_demo(options.notebook, options.out)
