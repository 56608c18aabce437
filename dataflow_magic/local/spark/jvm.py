"""A Java process with PySpark's gateway in it: how it is started, reached and given its settings. Knows no run."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import struct
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataflow_magic.local.spark.java import Java
from dataflow_magic.local.spark.process_group import ProcessGroup
from dataflow_magic.local.spark.settings import QUICK_START, java_options, run_environment

__all__ = [
    "JvmGateway",
    "NoSpark",
    "end_of",
    "gateway_command",
    "last_words",
    "launch_gateway",
    "make_work_folder",
    "run_beside",
    "set_properties",
    "spark_command",
    "spark_home",
    "stop_spark",
]

_JOB = Path(__file__).with_name("programs") / "job.py"
_LIFELINE = "DATAFLOW_MAGIC_LIFELINE"  # read in job.py, as is

_JVM_START_SECONDS = 120.0  # 1 s is usual; a cold disk and a busy machine are not
_CONNECTION_POLL_SECONDS = 0.02


class NoSpark(Exception):
    """Spark did not start; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class JvmGateway:
    """A JVM that waits for a script.

    Parameters
    ----------
    group
        It leads this one; a script that uses it joins.
    process
        The JVM's own.
    folder
        Its private folder, current folder ``cwd`` included, which no other process may use.
    log
        What it prints.
    connection
        The environment variables by which a script reaches it. One of them is a secret.
    """

    group: ProcessGroup
    process: Process
    folder: Path
    log: Path
    connection: Mapping[str, str]

    def __repr__(self) -> str:
        return f"JvmGateway(pid={self.process.pid}, folder={self.folder!s})"

    @property
    def is_alive(self) -> bool:
        """Whether the JVM runs, as far as is known."""
        return self.process.returncode is None

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Give a py4j client of the JVM."""
        from py4j.clientserver import ClientServer, JavaParameters, PythonParameters

        client = ClientServer(
            java_parameters=JavaParameters(
                port=int(self.connection["PYSPARK_GATEWAY_PORT"]),
                auth_token=self.connection["PYSPARK_GATEWAY_SECRET"],
            ),
            python_parameters=PythonParameters(port=0, eager_load=False),
        )
        try:
            yield client
        finally:
            client.close()


def spark_home() -> Path:
    """Return the folder of PySpark.

    Raises
    ------
    NoSpark
        It is not installed.
    """
    spark = importlib.util.find_spec("pyspark")
    if spark is None or not spark.submodule_search_locations:
        raise NoSpark('PySpark is not installed; pip install "dataflow-magic[local]"')
    return Path(spark.submodule_search_locations[0])


def gateway_command(
    java: Java,
    home: Path,
    options: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    class_path: Sequence[str] = (),
) -> list[str]:
    """Return the command of a JVM with a gateway.

    Parameters
    ----------
    home
        From `spark_home`.
    options
        Of Java, beside those Spark needs.
    settings
        Of Spark; `set_properties` gives them to a JVM that runs.
    class_path
        Folders after Spark's jars; before them they would make an archive useless.
    """
    return [
        str(java.executable),
        *java_options(java.version),
        *options,
        *(f"-D{name}={value}" for name, value in (settings or {}).items()),
        "-cp",
        os.pathsep.join([*sorted(str(jar) for jar in (home / "jars").glob("*.jar")), *class_path]),
        "org.apache.spark.api.python.PythonGatewayServer",
    ]


async def launch_gateway(
    command: Sequence[str],
    group: ProcessGroup,
    folder: Path,
    *,
    home: Path,
    log: Path,
    cancel: asyncio.Event | None = None,
    is_here: bool = True,
) -> JvmGateway | None:
    """Start a JVM and wait until it says how to reach it; None when that is canceled meanwhile.

    Parameters
    ----------
    group
        An empty one; whoever made it ends it, also after an error here.
    folder
        Made for this user only: it gets the secret of the connection.
    is_here
        Whether nobody on another machine need reach it.

    Raises
    ------
    NoSpark
        It does not start, ends, or says nothing for two minutes.
    """
    make_work_folder(folder)
    connection_file = folder / "connection"
    connection_file.unlink(missing_ok=True)  # of one that was here before
    environment = _environment(folder, home) | {
        "_PYSPARK_DRIVER_CONN_INFO_PATH": str(connection_file),
        "LC_ALL": "C.UTF-8",  # in a C locale Java cannot name a file 매출.csv
        "SPARK_CONNECT_MODE": "0",
        "SPARK_ENV_LOADED": "1",
        "SPARK_SCALA_VERSION": "2.13",
    }
    if not is_here:
        del environment["SPARK_LOCAL_IP"]
    try:
        process = await group.launch(
            command, environment, stdin=group.lifeline, folder=folder / "cwd", log=log
        )
    except (OSError, ValueError) as error:
        raise NoSpark(" ".join(str(error).split())) from error
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _JVM_START_SECONDS
    while (connection := _read_connection(connection_file)) is None:
        if cancel is not None and cancel.is_set():
            return None
        if process.returncode is not None:
            raise NoSpark(f"the JVM {end_of(process)}{last_words(log)} (see jvm.log)")
        if loop.time() > deadline:
            raise NoSpark(f"no answer from the JVM in {_JVM_START_SECONDS:.0f} s (see jvm.log)")
        await asyncio.sleep(_CONNECTION_POLL_SECONDS)
    return JvmGateway(group, process, folder, log, connection)


def make_work_folder(folder: Path) -> None:
    """Make the private folder of a JVM, and of the script that uses it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("script", "scratch", "cwd"):
        (folder / name).mkdir(exist_ok=True)


def stop_spark(gateway: JvmGateway) -> None:
    """Stop the Spark context of a JVM whose script has ended, if it did not itself; its event log is whole then. Blocks.

    Raises
    ------
    NoSpark
        The JVM is gone, or does not do it.
    """
    from py4j.protocol import Py4JError

    try:
        with gateway.client() as client:
            companion = getattr(client.jvm.org.apache.spark, "SparkContext$")
            active = getattr(companion, "MODULE$").getActive()
            if active.isDefined():
                active.get().stop()
    except (OSError, Py4JError) as error:
        raise NoSpark(f"the JVM does not stop its Spark context ({type(error).__name__})") from None


def set_properties(gateway: JvmGateway, settings: Mapping[str, str]) -> None:
    """Give Spark settings to a JVM that runs; the next Spark context made in it has them. Blocks for some 10 ms.

    Raises
    ------
    NoSpark
        The JVM does not take them.
    """
    from py4j.protocol import Py4JError

    try:
        with gateway.client() as client:
            for name, value in settings.items():
                client.jvm.java.lang.System.setProperty(name, value)
    except (OSError, Py4JError) as error:
        raise NoSpark(f"the JVM does not take its settings ({type(error).__name__})") from None


async def run_beside(
    gateway: JvmGateway,
    arguments: Sequence[str],
    *,
    home: Path,
    log: Path,
    variables: Mapping[str, str] | None = None,
) -> Process:
    """Start a Python script that uses the gateway, in its group and its folder.

    Parameters
    ----------
    arguments
        The script and what it is given.
    log
        Gets what it prints, appended.

    Raises
    ------
    OSError, ValueError
        It cannot be started: a NUL in an argument, say.
    """
    environment = {
        **_environment(gateway.folder, home),
        **gateway.connection,
        _LIFELINE: str(gateway.group.lifeline),
        **(variables or {}),
    }
    return await gateway.group.launch(
        [sys.executable, "-P", str(_JOB), *arguments],
        environment,
        stdin=DEVNULL,
        folder=gateway.folder / "cwd",
        log=log,
    )


def spark_command(java: Java, home: Path, main: str, settings: Mapping[str, str]) -> list[str]:
    """Return the command of a JVM with another of Spark's programs, by the name of its class."""
    return [*gateway_command(java, home, QUICK_START, settings)[:-1], main]


def end_of(process: Process) -> str:
    """Return how a process ended, as a verb."""
    code = process.returncode or 0
    if code >= 0:
        return f"exited with code {code}"
    with suppress(ValueError):
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"was killed by signal {-code}"


def _environment(folder: Path, home: Path) -> dict[str, str]:
    """Return the variables the JVM and the script have in common."""
    return run_environment(os.environ, work=folder) | {"SPARK_HOME": str(home)}


def _read_connection(path: Path) -> dict[str, str] | None:
    """Read the port and the secret PythonGatewayServer leaves, each behind its length; None while incomplete."""
    try:
        content = path.read_bytes()
        port, length = struct.unpack_from("!ii", content)
    except (FileNotFoundError, struct.error):
        return None
    secret = content[8 : 8 + length]
    if len(secret) < length:
        return None
    return {"PYSPARK_GATEWAY_PORT": str(port), "PYSPARK_GATEWAY_SECRET": secret.decode()}


def last_words(file: Path) -> str:
    """Return ``: `` and the last line of a log, where Java and Python say why they failed; empty where there is none."""
    with suppress(OSError), file.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
        lines = log.read().decode("utf-8", errors="replace").split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
    return ""
