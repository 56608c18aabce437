"""Serves Spark's own pages about the runs in a data folder, with a Spark History Server over their event logs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from dataflow_magic.errors import ConfigError
from dataflow_magic.files import is_inside
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.spark.java import Java
from dataflow_magic.local.spark.jvm import make_work_folder, spark_command, spark_home
from dataflow_magic.local.spark.settings import run_environment

__all__ = ["serve_history"]

HOST = "127.0.0.1"
NEW_LOGS_POLL_SECONDS = 10.0
"""The History Server looks for changes as often."""
START_POLL_SECONDS = 0.2
END_SECONDS = 10.0

# By default it logs every file it reads, for each page, and reports SIGTERM and Ctrl-C as errors.
LOGGING = """\
logger.signals.name = org.apache.spark.deploy.history.HistoryServer
logger.signals.level = off
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
"""


def serve_history(folder: DataFolder, java: Java, *, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM raises KeyboardInterrupt. Main thread only: it sets a signal handler.

    Parameters
    ----------
    port
        On 127.0.0.1; 0 takes a free one. Every user of this machine can open the pages.
    ready
        Called with the address once the server answers for its pages and its API.

    Raises
    ------
    ConfigError
        The folder has no objects, the port is in use, or the History Server ends by itself.
    """
    if not folder.objects.is_dir():
        raise ConfigError(
            f"{folder.path} has no objects: pass the folder of a service that ran jobs as --data"
        )
    port = _usable(port)
    with TemporaryDirectory(prefix="dataflow-magic-history-") as name:
        work = Path(name)
        make_work_folder(work)
        links = work / "logs"
        links.mkdir()
        _link(folder.objects, links)
        with _running(_command(java, work, links, port), work) as server:
            seconds = START_POLL_SECONDS
            while server.poll() is None:
                if seconds < NEW_LOGS_POLL_SECONDS and _answers(port):
                    ready(f"http://{HOST}:{port}")
                    seconds = NEW_LOGS_POLL_SECONDS
                with suppress(subprocess.TimeoutExpired):
                    server.wait(seconds)
                _link(folder.objects, links)
        raise ConfigError(f"Spark's History Server ended with code {server.returncode}")


def _command(java: Java, work: Path, links: Path, port: int) -> list[str]:
    logging = work / "log4j2.properties"
    logging.write_text(LOGGING)
    settings = {
        "spark.history.fs.logDirectory": links.as_uri(),
        "spark.history.ui.port": str(port),
        "spark.port.maxRetries": "0",  # another port would not be the one that is reported
        "java.io.tmpdir": str(work / "scratch"),
        "log4j2.configurationFile": logging.as_uri(),
    }
    main = "org.apache.spark.deploy.history.HistoryServer"
    return spark_command(java, spark_home(), main, settings)


@contextmanager
def _running(command: list[str], work: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = run_environment(os.environ, work=work) | {"SPARK_HOME": str(spark_home())}
    # Both: a shell script starts commands in the background with SIGINT ignored.
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        with subprocess.Popen(  # noqa: S603
            command, env=environment, cwd=work / "cwd", stdin=subprocess.DEVNULL
        ) as server:
            try:
                yield server
            finally:
                _end(server)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()


def _link(objects: Path, links: Path) -> None:
    """Link each event log below `objects` into one folder: the History Server does not read folders below it."""
    for place, folders, _ in os.walk(objects):
        logs = [
            name
            for name in folders
            if name.startswith("eventlog_v2_") and is_inside(objects, Path(place, name))
        ]
        for name in logs:
            folders.remove(name)
            with suppress(FileExistsError):
                (links / name).symlink_to(Path(place, name).absolute())


def _usable(port: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} of {HOST} cannot be used ({error.strerror}); give another --port"
            ) from None
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    # The port opens before the API is there; until then every address shows the first page.
    connection = HTTPConnection(HOST, port, timeout=5)
    with closing(connection), suppress(OSError, HTTPException):
        connection.request("GET", "/api/v1/version")
        answer = connection.getresponse()
        return answer.status == 200 and (answer.getheader("content-type") or "").startswith(
            "application/json"
        )
    return False
