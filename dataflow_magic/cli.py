"""The command line: ``dataflow-magic local`` serves, ``dataflow-magic demo`` runs a notebook and tells what its runs do.

Exit codes: 0 fine, 1 a run or the notebook failed, 2 usage, 3 service or set-up, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.pages import CONTRACT_VARIABLE, Contract, contract_of

__all__ = ["main"]

DEFAULT_PORT = 8970


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except ConfigError as error:
        print(f"dataflow-magic: {error}", file=sys.stderr)  # noqa: T201
        return 3
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dataflow-magic", allow_abbrev=False, description=__doc__.split("\n")[0]
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    local = commands.add_parser(
        "local",
        allow_abbrev=False,
        help="serve a local Data Flow service until interrupted",
        description="Serve a local Data Flow service until interrupted. Its keys are those in "
        "DATAFLOW_LOCAL_ACCESS_KEY and DATAFLOW_LOCAL_SECRET_KEY, else LOCAL-ACCESS-KEY and LOCAL-SECRET-KEY.",
    )
    local.add_argument(
        "--host",
        type=_host,
        default="127.0.0.1",
        help="address to listen at (default %(default)s); one that others reach needs keys of your own",
    )
    local.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="default %(default)s; 0 takes a free one"
    )
    local.add_argument(
        "--data", type=Path, help="folder for jobs, runs and objects (default: this user's own)"
    )
    local.add_argument(
        "--contract",
        choices=[str(name) for name in Contract],
        help=f"the vendor's pages a start of a run is read by (default: {CONTRACT_VARIABLE}, "
        f"else {Contract.EXECUTE_JOB})",
    )
    local.set_defaults(command=_local)
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


def _host(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address") from None


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")


def _local(options: argparse.Namespace) -> int:
    from dataflow_magic.local.attach import cache_folder, check_installed, default_folder
    from dataflow_magic.local.folder import DataFolder

    check_installed()
    from dataflow_magic.local.app import Keys
    from dataflow_magic.local.carry import Carrier
    from dataflow_magic.local.options import Options
    from dataflow_magic.local.server import serve
    from dataflow_magic.settings import LOCAL_ACCESS_KEY, LOCAL_SECRET_KEY

    keys = Keys(
        os.environ.get("DATAFLOW_LOCAL_ACCESS_KEY") or LOCAL_ACCESS_KEY,
        os.environ.get("DATAFLOW_LOCAL_SECRET_KEY") or LOCAL_SECRET_KEY,
    )
    are_known = keys.access_key == LOCAL_ACCESS_KEY or keys.secret_key == LOCAL_SECRET_KEY
    if are_known and not options.host.is_loopback:
        raise ConfigError(
            f"at {options.host} others reach the service, and its keys are known to all: set both "
            "DATAFLOW_LOCAL_ACCESS_KEY and DATAFLOW_LOCAL_SECRET_KEY to keys of your own"
        )
    contract = Contract(options.contract) if options.contract else contract_of(os.environ)
    folder = DataFolder(options.data.resolve()) if options.data else default_folder(os.environ)

    def ready(endpoint: str) -> None:
        print(f"Data Flow service at {endpoint}, data in {folder.path}", flush=True)  # noqa: T201

    carrier = Carrier(folder.warm, cache_folder(os.environ), Options.from_environment(os.environ))
    serve(folder, keys, carrier, host=options.host, port=options.port, contract=contract, ready=ready)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from dataflow_magic.demo import run_demo

    return run_demo(options.notebook, options.out)
