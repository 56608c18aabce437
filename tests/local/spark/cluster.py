"""A standalone Spark cluster on this machine: a master and two workers with one core, each in its own process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataflow_magic.local.spark.catalog import free_port
from dataflow_magic.local.spark.java import Java
from dataflow_magic.local.spark.jvm import gateway_command, spark_home
from dataflow_magic.local.spark.settings import QUICK_START

UP_SECONDS = 90.0


@dataclass
class Cluster:
    """A master, its workers, and the state that the master reports."""

    port: int
    page: int
    master: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"spark://127.0.0.1:{self.port}"

    def state(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.page}/json/", timeout=5) as answer:
                state: dict[str, Any] = json.load(answer)
                return state
        except OSError:
            return {}

    def executors(self) -> list[int]:
        """Return the process ids of the running executors, which are children of the workers."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (process / "cmdline").read_bytes()
                if b"CoarseGrainedExecutorBackend" in command and f":{self.port}".encode() in _environment(
                    process
                ):
                    found.append(int(process.name))
        return found

    def kill_a_worker(self) -> None:
        """Kill a worker and its children at once, as when a machine is lost."""
        worker = self.workers.pop()
        for child in _children(worker.pid):
            os.kill(child, signal.SIGKILL)
        worker.kill()
        worker.wait()

    def kill_the_master(self) -> None:
        self.master.kill()
        self.master.wait()


@contextmanager
def a_cluster(folder: Path, java: Java) -> Iterator[Cluster]:
    """Start a cluster, and kill its processes afterwards."""
    home = spark_home()
    port, page = free_port(), free_port()
    environment = os.environ | {
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_SCALA_VERSION": "2.13",
        "JAVA_HOME": str(_shim(folder / "java", java)),
        "SPARK_LOCAL_DIRS": str(folder / "scratch"),
        "TEST_CLUSTER": f":{port}",  # inherited by the executors
    }

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [*gateway_command(java, home, [*QUICK_START, "-Xmx256m"])[:-1], *arguments]
        with (folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    master = start(
        "master",
        "org.apache.spark.deploy.master.Master",
        *("--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)),
    )
    cluster = Cluster(port, page, master)
    try:
        _until(lambda: bool(cluster.state()), "the master responds")
        for number in (1, 2):
            cluster.workers.append(
                start(
                    f"worker-{number}",
                    "org.apache.spark.deploy.worker.Worker",
                    *("--host", "127.0.0.1", "--webui-port", str(free_port()), "-c", "1", "-m", "1g"),
                    *("-d", str(folder / f"work-{number}"), cluster.url),
                )
            )
        _until(lambda: cluster.state().get("aliveworkers") == 2, "two workers are alive")
        yield cluster
    finally:
        for process in (*cluster.workers, master):
            for child in _children(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            process.kill()
            process.wait()


def _shim(home: Path, java: Java) -> Path:
    """Make a Java home that drops an option for a module that the wheel's Java does not have."""
    (home / "bin").mkdir(parents=True)
    launcher = home / "bin" / "java"
    launcher.write_text(
        "#!/bin/bash\n"
        'kept=(); for each; do [[ $each == --add-modules=jdk.incubator.vector ]] || kept+=("$each"); done\n'
        f'exec "{java.executable}" "${{kept[@]}}"\n'
    )
    launcher.chmod(0o755)
    return home


def _children(pid: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found += [int(process.name), *_children(int(process.name))]
    return found


def _environment(process: Path) -> bytes:
    return (process / "environ").read_bytes()


def _until(holds: Any, what: str) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
