"""``dataflow-magic local`` and its actions: serve a data folder, manage its service and its objects."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dataflow_magic.cli.terminal import in_words
from dataflow_magic.errors import ConfigError
from dataflow_magic.local.options import CONTRACT_VARIABLE, Contract, contract_of
from dataflow_magic.models.text import clean, in_lines

if TYPE_CHECKING:
    from dataflow_magic.local.folder import DataFolder
    from dataflow_magic.local.options import Options

__all__ = ["Parser", "add_local"]

DEFAULT_PORT = 8970
WAIT_SECONDS = 600.0
HISTORY_PORT = 18080
NOT_RUNNING = 3
"""Exit code of ``status`` when no service runs."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are in the user's language; the help is English."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and exit with code 2."""
        super().error(in_words(message))


def add_local(commands: Any) -> None:
    """Add ``local`` and its actions to the sub-commands of a parser."""
    local = commands.add_parser(
        "local",
        allow_abbrev=False,
        help="serve a local Data Flow service until interrupted, or manage one",
        description="Serve a local Data Flow service until interrupted. DATAFLOW_LOCAL_ACCESS_KEY and "
        "DATAFLOW_LOCAL_SECRET_KEY set its keys (default: those in keys.env of the data folder, made at its first start). "
        "With an ACTION, manage the service of a data folder instead.",
    )
    _add_serving(local)
    actions = local.add_subparsers(metavar="ACTION", title="actions")

    def add(name: str, command: Any, what: str, more: str = "") -> argparse.ArgumentParser:
        action: argparse.ArgumentParser = actions.add_parser(
            name, allow_abbrev=False, help=what, description=f"{what[0].upper()}{what[1:]}.{more}"
        )
        # Suppressed: a default would replace the value given before the action.
        _add_data(action, default=argparse.SUPPRESS)
        action.set_defaults(command=command)
        return action

    _add_care(add)
    _add_objects(add)


def _add_data(parser: argparse.ArgumentParser, default: Any = None) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        default=default,
        metavar="FOLDER",
        help="folder of jobs, runs and objects (default: the one that notebooks of this user share)",
    )


def _add_serving(local: argparse.ArgumentParser) -> None:
    local.add_argument(
        "--host",
        type=_host,
        default="127.0.0.1",
        metavar="ADDRESS",
        help="IP address to listen at (default %(default)s); nothing is encrypted there",
    )
    local.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        metavar="PORT",
        help="port to listen at (default %(default)s); 0 takes a free port",
    )
    _add_data(local)
    local.add_argument(
        "--contract",
        choices=[str(name) for name in Contract],
        help=f"version of the vendor's API reference to follow (default: {CONTRACT_VARIABLE}, "
        f"else {Contract.EXECUTE_JOB})",
    )
    local.add_argument(
        "--master",
        default="",
        metavar="URL",
        help="existing Spark cluster for the runs, as for spark-submit (default: this machine)",
    )
    local.add_argument(
        "--conf",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="Spark setting of every run; repeat it for several",
    )
    local.add_argument(
        "--jars",
        action="append",
        default=[],
        metavar="FILE,FILE",
        help="jars on the class path of every run, such as a JDBC driver; those in the folder jars of the data folder are too",
    )
    local.add_argument(
        "--memory", default="", metavar="SIZE", help="maximum heap of the driver of a run, such as 2g"
    )
    local.add_argument("--no-warm", action="store_true", help="start no JVM before a run needs it")
    local.add_argument(
        "--no-reuse", action="store_true", help="give each run a fresh JVM, also when its script has just run"
    )
    local.set_defaults(command=_serve)


def _add_care(add: Callable[..., argparse.ArgumentParser]) -> None:
    add(
        "status",
        _status,
        "show the service, its Java, and the number of runs and files",
        " The exit code is 3 when no service runs.",
    )
    stop = add("stop", _stop, "stop the service; active runs end FAILED")
    stop.add_argument("--wait", action="store_true", help="wait until no run is READY or RUNNING, then stop")
    stop.add_argument(
        "--timeout",
        type=_seconds,
        default=WAIT_SECONDS,
        metavar="SECONDS",
        help="time limit of --wait (default %(default)g)",
    )
    reset = add("reset", _reset, "delete all jobs, runs, logs and objects of a data folder")
    reset.add_argument("--stop", action="store_true", help="stop the service first")
    reset.add_argument("--yes", action="store_true", help="delete without asking")
    history = add(
        "history",
        _history,
        "serve the Spark UI of all runs until interrupted",
        " A Spark History Server reads the event logs among the objects; it listens on 127.0.0.1 and checks no keys.",
    )
    history.add_argument(
        "--port",
        type=_port,
        default=HISTORY_PORT,
        metavar="PORT",
        help="port to listen at (default %(default)s); 0 takes a free port",
    )


def _add_objects(add: Callable[..., argparse.ArgumentParser]) -> None:
    put = add("put", _put, "copy files and folders into the objects", " Readers never see a partial object.")
    put.add_argument("sources", nargs="+", metavar="FILE", help="file or folder; - is standard input")
    put.add_argument(
        "destination",
        metavar="BUCKET/PREFIX/",
        help="prefix of the objects; for a single file also its BUCKET/KEY",
    )
    ls = add("ls", _ls, "list buckets, or the objects of one", " Times are in Korean time.")
    ls.add_argument("path", nargs="?", default="", metavar="BUCKET[/PREFIX]")
    ls.add_argument("-r", "--recursive", action="store_true", help="list all levels below")
    rm = add("rm", _rm, "remove objects")
    rm.add_argument("paths", nargs="+", metavar="BUCKET/KEY")
    rm.add_argument("-r", "--recursive", action="store_true", help="remove folders and everything below them")


def _serve(options: argparse.Namespace) -> int:
    from dataflow_magic.local.launch import cache_folder, check_installed

    check_installed()
    from dataflow_magic.local.keys import ACCESS_VARIABLE, given_keys
    from dataflow_magic.local.machine import check_machine
    from dataflow_magic.local.server import serve
    from dataflow_magic.local.spark.runner import SparkRunner

    check_machine()
    keys = given_keys(os.environ)
    contract = Contract(options.contract) if options.contract else contract_of(os.environ)
    folder = _folder(options)
    where = f"keys of {ACCESS_VARIABLE}" if keys else f"keys in {folder.keys}"
    serve(
        folder,
        keys,
        SparkRunner(folder, cache_folder(os.environ), _run_options(options)),
        host=options.host,
        port=options.port,
        contract=contract,
        ready=lambda endpoint: _say(f"Data Flow service at {endpoint}, data in {folder.path}, {where}"),
    )
    return 0


def _run_options(given: argparse.Namespace) -> Options:
    from dataflow_magic.local.options import Options, read_conf, read_jars, read_memory

    of_environment = Options.from_environment(os.environ)
    return Options(
        warm=of_environment.warm and not given.no_warm,
        reuse=of_environment.reuse and not given.no_reuse,
        memory=read_memory(given.memory, "--memory ") if given.memory else of_environment.memory,
        master=given.master or of_environment.master,
        conf={**of_environment.conf, **read_conf(given.conf, "--conf ")},
        jars=(*of_environment.jars, *read_jars(",".join(given.jars), "--jars ")),
        java=of_environment.java,
    ).checked()


def _status(options: argparse.Namespace) -> int:
    from dataflow_magic.local.manage import counted, read_status
    from dataflow_magic.local.spark.java import java_in_words

    folder = _folder(options)
    found = read_status(folder)
    address, tally = found.address, found.tally
    service = "starting or ending" if found.is_served else "not running"
    if address and found.since:
        service = (
            f"running at {address.endpoint}, process {address.pid}, since {found.since:%Y-%m-%d %H:%M:%S} KST"
        )
    facts = {
        "service": service,
        "java": address.java if address else java_in_words(os.environ),
        "folder": str(folder.path),
        "runs": f"{tally.running} running, {tally.waiting} waiting, {tally.runs} in all"
        if tally
        else f"unknown, {folder.database.name} cannot be read",
        "disk": f"{_size(found.size)} in {counted(found.files, 'file')}",
    }
    _say(in_lines(facts))
    return 0 if address else NOT_RUNNING


def _stop(options: argparse.Namespace) -> int:
    from dataflow_magic.local.manage import wait_for_runs

    folder = _folder(options)
    if options.wait and folder.is_served:
        _say(f"waiting until no run is READY or RUNNING, {options.timeout:g} s at most")
        wait_for_runs(folder, options.timeout)
    _end(folder)
    return 0


def _reset(options: argparse.Namespace) -> int:
    from dataflow_magic.local.manage import check_is_data_folder, counted, measure, read_status, reset

    folder = _folder(options)
    check_is_data_folder(folder)
    found = read_status(folder)
    if found.is_served and not options.stop:
        raise ConfigError(f"a local service serves {folder.path}; add --stop to stop it first")
    objects = counted(measure(folder.objects)[0], "object")
    rows = (
        f"{counted(found.tally.jobs, 'job')}, {counted(found.tally.runs, 'run')}"
        if found.tally
        else "all jobs, all runs"
    )
    what = f"{rows} and {objects} ({_size(found.size)}) of {folder.path}"
    if not options.yes:
        if not sys.stdin.isatty():
            raise ConfigError(
                f"standard input is no terminal, so nothing was deleted; --yes deletes {what} without asking"
            )
        if not _confirmed(f"{in_words(f'Delete {what}?')} [y/N] "):
            _say("nothing was deleted")
            return 1
    if found.is_served:
        _end(folder)
    reset(folder)
    _say(f"deleted {what}")
    return 0


def _confirmed(question: str) -> bool:
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except EOFError:  # Ctrl-D
        _say("")
        return False


def _history(options: argparse.Namespace) -> int:
    from dataflow_magic.local.launch import check_installed

    check_installed()
    from dataflow_magic.local.spark.history import serve_history
    from dataflow_magic.local.spark.java import find_java

    folder = _folder(options)
    serve_history(
        folder,
        find_java(os.environ),
        port=options.port,
        ready=lambda address: _say(f"Spark History Server at {address}, data in {folder.path}"),
    )
    return 0


def _put(options: argparse.Namespace) -> int:
    from dataflow_magic.local.objects.objects import put

    folder = _folder(options)
    folder.make()
    for key, size in put(folder.objects, options.sources, options.destination, sys.stdin.buffer):
        _say(f"s3a://{clean(key)}  {_size(size)}")
    return 0


def _ls(options: argparse.Namespace) -> int:
    from dataflow_magic.local.objects.objects import list_objects

    for entry in list_objects(_folder(options).objects, options.path, recursive=options.recursive):
        modified = f"{entry.modified:%Y-%m-%d %H:%M:%S}" if entry.modified else ""
        size = "" if entry.size is None else entry.size
        _say(f"{modified:19}  {size:>12}  {clean(entry.key)}")
    return 0


def _rm(options: argparse.Namespace) -> int:
    from dataflow_magic.local.objects.objects import remove

    for path in options.paths:
        remove(_folder(options).objects, path, recursive=options.recursive)
    return 0


def _end(folder: DataFolder) -> None:
    from dataflow_magic.local.manage import counted, read_status, stop

    live = read_status(folder).tally
    address = stop(folder)
    if address is None:
        _say(f"no local service runs in {folder.path}")
        return
    words = f"stopped the service at {address.endpoint}, process {address.pid}"
    if live and live.running:
        words += f"; {counted(live.running, 'RUNNING run')} ended FAILED"
    if live and live.waiting:
        words += f"; {counted(live.waiting, 'READY run')} will start with the next service"
    _say(words)


def _folder(options: argparse.Namespace) -> DataFolder:
    from dataflow_magic.local.folder import DataFolder
    from dataflow_magic.local.launch import default_folder

    return DataFolder(options.data.resolve()) if options.data else default_folder(os.environ)


def _host(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address") from None


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def _size(size: int) -> str:
    for unit, divisor in ("GB", 1e9), ("MB", 1e6), ("kB", 1e3):
        if size >= divisor:
            return f"{size / divisor:.1f} {unit}"
    return f"{size} bytes"


def _say(text: str) -> None:
    print(in_words(text), flush=True)  # noqa: T201
