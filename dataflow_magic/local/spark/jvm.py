"""Starts a JVM with PySpark's gateway, connects to it and changes its settings. Knows no run."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import struct
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataflow_magic.files import remove_folder
from dataflow_magic.local.spark.class_archive import uses_archive
from dataflow_magic.local.spark.java import Java
from dataflow_magic.local.spark.process_group import ProcessGroup
from dataflow_magic.local.spark.settings import (
    CLASSES,
    OBJECT_STORAGE,
    QUICK_START,
    java_options,
    run_environment,
)

__all__ = [
    "JvmGateway",
    "NoSpark",
    "empty_work_folder",
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
    "take_log_back",
]

_JOB = Path(__file__).with_name("programs") / "job.py"
_LIFELINE = "DATAFLOW_MAGIC_LIFELINE"  # read in job.py, as is

_WORK_FOLDERS = ("script", "scratch", "cwd")
_OF_THE_JVM = ("group", "connection", "jvm.log", "archive.log")
_JVM_START_SECONDS = 120.0  # 1 s is usual; a cold disk or a busy machine takes longer
_CONNECTION_POLL_SECONDS = 0.02


class NoSpark(Exception):
    """Spark did not start; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class JvmGateway:
    """A JVM that accepts a script.

    Parameters
    ----------
    group
        The process group: the JVM leads it, and its script joins it.
    process
        The JVM's process.
    folder
        The JVM's private folder, which holds its current folder ``cwd``. No other JVM uses it.
    log
        The file of its output.
    connection
        The environment variables that connect a script to it. One of them is a secret.
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
        """Whether the JVM's end has not been noticed yet."""
        return self.process.returncode is None

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Yield a py4j client of the JVM."""
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
    *,
    eager: bool = False,
) -> list[str]:
    """Return the command of a JVM with a gateway.

    Parameters
    ----------
    home
        From `spark_home`.
    options
        Java's options, in addition to those that Spark needs.
    settings
        Spark's settings; `set_properties` sets them in a JVM that runs.
    class_path
        Folders and jars, added after Spark's jars: before them they would make the archive of classes useless.
    eager
        Load the classes of a first session while the JVM starts and the session too, where the options name no archive of
        classes: such a session is bound to one processor, and mostly loads classes.
    """
    if eager and not uses_archive(options):
        main = ["dataflow.EagerPythonGatewayServer", str(CLASSES)]
    else:
        main = ["org.apache.spark.api.python.PythonGatewayServer"]
    return [
        str(java.executable),
        *java_options(java.version),
        *options,
        *(f"-D{name}={value}" for name, value in (settings or {}).items()),
        "-cp",
        os.pathsep.join(
            [*sorted(str(jar) for jar in (home / "jars").glob("*.jar")), str(OBJECT_STORAGE), *class_path]
        ),
        *main,
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
    """Start a JVM and wait until it reports its port; None when `cancel` is set first.

    Parameters
    ----------
    group
        An empty group. The caller ends it, also after an error here.
    folder
        Made readable for this user only: it receives the secret of the connection.
    is_here
        Whether only processes on this machine connect to the JVM.

    Raises
    ------
    NoSpark
        The JVM did not start, ended, or reported no port within two minutes.
    """
    make_work_folder(folder)
    connection_file = folder / "connection"
    connection_file.unlink(missing_ok=True)  # of an earlier JVM
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
    """Make the private folder of a JVM and its script."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in _WORK_FOLDERS:
        (folder / name).mkdir(exist_ok=True)


def empty_work_folder(folder: Path) -> None:
    """Remove what a script left in the folder of its JVM, which stays in it."""
    for path in folder.iterdir():
        if path.name in _WORK_FOLDERS:
            for each in path.iterdir():
                _remove(each)
        elif path.name not in _OF_THE_JVM:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_folder(path)
    else:
        path.unlink(missing_ok=True)


def take_log_back(gateway: JvmGateway, log: Path) -> JvmGateway:
    """Leave a copy of what a JVM has written to `log`, a run's, and make the file it writes to its own again. Blocks."""
    own = gateway.folder / "jvm.log"
    own.unlink(missing_ok=True)
    copy = log.with_name(f"{log.name}.copy")
    shutil.copyfile(log, copy)
    own.hardlink_to(log)
    copy.replace(log)
    return replace(gateway, log=own)


def stop_spark(gateway: JvmGateway) -> None:
    """Stop the Spark context that a script left running, so that its event log is complete. Blocks.

    Raises
    ------
    NoSpark
        The JVM has ended, or did not stop the context.
    """
    from py4j.protocol import Py4JError

    try:
        with gateway.client() as client:
            companion = getattr(client.jvm.org.apache.spark, "SparkContext$")
            active = getattr(companion, "MODULE$").getActive()
            if active.isDefined():
                active.get().stop()
    except (OSError, Py4JError) as error:
        raise NoSpark(f"the JVM did not stop its Spark context ({type(error).__name__})") from None


def set_properties(gateway: JvmGateway, settings: Mapping[str, str]) -> None:
    """Set Spark settings in a JVM that runs; the next Spark context there uses them. Blocks for some 10 ms.

    Raises
    ------
    NoSpark
        The JVM has ended, or did not accept them.
    """
    from py4j.protocol import Py4JError

    try:
        with gateway.client() as client:
            for name, value in settings.items():
                client.jvm.java.lang.System.setProperty(name, value)
    except (OSError, Py4JError) as error:
        raise NoSpark(f"the JVM did not accept its settings ({type(error).__name__})") from None


async def run_beside(
    gateway: JvmGateway,
    arguments: Sequence[str],
    *,
    home: Path,
    log: Path,
    variables: Mapping[str, str] | None = None,
) -> Process:
    """Start a Python script that uses the JVM, in the JVM's group and current folder.

    Parameters
    ----------
    arguments
        The script's path and its arguments.
    log
        Its output is appended here.

    Raises
    ------
    OSError, ValueError
        The script could not be started, for example with a NUL in an argument.
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
    """Return the command of a JVM that runs another program of Spark, named by its class."""
    return [*gateway_command(java, home, QUICK_START, settings)[:-1], main]


def end_of(process: Process) -> str:
    """Return how a process ended, such as ``exited with code 1``."""
    code = process.returncode or 0
    if code >= 0:
        return f"exited with code {code}"
    with suppress(ValueError):
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"was killed by signal {-code}"


def _environment(folder: Path, home: Path) -> dict[str, str]:
    """Return the variables that the JVM and the script share."""
    return run_environment(os.environ, work=folder) | {"SPARK_HOME": str(home)}


def _read_connection(path: Path) -> dict[str, str] | None:
    """Read the port and the secret that PythonGatewayServer writes; None while the file is incomplete."""
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
    """Return ``: `` and the last line of a log, where Java and Python report an error; empty without one."""
    with suppress(OSError), file.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
        lines = log.read().decode("utf-8", errors="replace").split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
    return ""
