"""Spark's own pages about runs. A script that only listens replaces Java, except in the last test."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dataflow_magic.cli.main import main
from dataflow_magic.errors import ConfigError
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.run import Outcome, RunSpec
from dataflow_magic.local.spark import history
from dataflow_magic.local.spark.application import run_application
from dataflow_magic.local.spark.history import serve_history
from dataflow_magic.local.spark.java import Java, find_java
from tests.local.scripted import eventually, noting

COMMAND = Path(sys.executable).with_name("dataflow-magic")

LISTENER = """
import json, os, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
options = dict(each[2:].split("=", 1) for each in sys.argv if each.startswith("-Dspark.") or each.startswith("-Djava."))
work = Path(options["java.io.tmpdir"]).parent
Path(os.environ["RECORD"]).write_text(json.dumps({
    "main": sys.argv[-1],
    "bound": os.environ["SPARK_LOCAL_IP"],
    "folder": str(work),
    "keys": [name for name in os.environ if name.startswith("NCLOUD_")],
}))
if "STUBBORN" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(0.3)


class Pages(BaseHTTPRequestHandler):
    kind = "text/html"  # Spark's first page, until its API is there

    def do_GET(self):
        with open(os.environ["RECORD"] + ".asked", "a") as asked:
            print(self.path, Pages.kind, file=asked)
        self.send_response(200)
        self.send_header("Content-Type", Pages.kind)
        self.end_headers()
        Pages.kind = "application/json"

    def log_message(self, *arguments):
        pass


server = HTTPServer(("127.0.0.1", int(options["spark.history.ui.port"])), Pages)
threading.Thread(target=server.serve_forever, daemon=True).start()
while True:
    logs = sorted(os.listdir(options["spark.history.fs.logDirectory"].removeprefix("file://")))
    new = Path(os.environ["RECORD"] + ".new")
    new.write_text(json.dumps(logs))
    new.rename(os.environ["RECORD"] + ".logs")  # complete at any time, even when this process is killed
    time.sleep(0.05)
"""


@pytest.fixture
def folder(tmp_path):
    folder = DataFolder(tmp_path / "local 1")
    folder.make()
    return folder


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Return the file in which the listener records how it was started."""
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    return tmp_path / "record"


def java_that(home: Path, does: str) -> Java:
    launcher = home / "java" / "bin" / "java"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f"#!/bin/sh\n{does}\n")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    (home / "java" / "release").write_text('JAVA_VERSION="21.0.1"\n')
    return Java(home / "java", 21, "DATAFLOW_JAVA")


def listener(home: Path) -> Java:
    script = home / "listener.py"
    script.write_text(LISTENER)
    return java_that(home, f'exec "{sys.executable}" "{script}" "$@"')


def add_log(folder: DataFolder, name: str) -> None:
    (folder.objects / "bucket" / "logs" / "mY3275GiRXkm" / "events" / name).mkdir(parents=True)


def logs_in(record: Path) -> Any:
    return json.loads(record.with_name("record.logs").read_text())


class Interrupts:
    """Keeps the server's address and sends this process a signal."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number
        self.addresses: list[str] = []

    def __call__(self, address: str) -> None:
        self.addresses.append(address)
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_gets_all_event_logs_and_ends_with_the_command(
    folder, record, tmp_path, monkeypatch, number
):
    monkeypatch.setenv("NCLOUD_SECRET_KEY", "not for others")
    add_log(folder, "eventlog_v2_local-1")
    add_log(folder, "eventlog_v2_local-2")
    ready, before = Interrupts(number), signal.getsignal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        serve_history(folder, listener(tmp_path), port=0, ready=ready)

    (address,) = ready.addresses
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))).close()
    started = json.loads(record.read_text())
    assert started["main"] == "org.apache.spark.deploy.history.HistoryServer"
    assert (started["bound"], started["keys"]) == ("127.0.0.1", [])
    assert logs_in(record) == ["eventlog_v2_local-1", "eventlog_v2_local-2"]
    assert not Path(started["folder"]).exists()
    assert (folder.objects / "bucket" / "logs" / "mY3275GiRXkm" / "events" / "eventlog_v2_local-1").is_dir()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_log_that_is_written_later_is_linked_too(folder, record, tmp_path, monkeypatch):
    monkeypatch.setattr(history, "NEW_LOGS_POLL_SECONDS", 0.25)
    add_log(folder, "eventlog_v2_local-1")

    def add_and_interrupt(_: str) -> None:
        add_log(folder, "eventlog_v2_local-2")
        pid = os.getpid()
        watch = f"until grep -q local-2 '{record}.logs'; do sleep 0.05; done; kill -INT {pid}"
        watchers.append(subprocess.Popen(["timeout", "20", "sh", "-c", watch]))

    watchers: list[subprocess.Popen[bytes]] = []
    with pytest.raises(KeyboardInterrupt):
        serve_history(folder, listener(tmp_path), port=0, ready=add_and_interrupt)

    assert watchers[0].wait(60) == 0
    assert logs_in(record) == ["eventlog_v2_local-1", "eventlog_v2_local-2"]


def test_the_address_is_reported_once_the_api_answers(folder, record, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        serve_history(folder, listener(tmp_path), port=0, ready=Interrupts(signal.SIGINT))

    assert record.with_name("record.asked").read_text() == (
        "/api/v1/version text/html\n/api/v1/version application/json\n"
    )


@pytest.mark.usefixtures("record")
def test_a_server_that_does_not_end_is_killed(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("STUBBORN", "1")
    monkeypatch.setattr(history, "END_SECONDS", 0.2)
    ready = Interrupts(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        serve_history(folder, listener(tmp_path), port=0, ready=ready)

    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(ready.addresses[0].rpartition(":")[2]))).close()


def test_a_server_that_ends_by_itself_is_an_error(folder, tmp_path):
    with pytest.raises(ConfigError) as refused:
        serve_history(folder, java_that(tmp_path, "exit 7"), port=0, ready=print)

    assert str(refused.value) == "Spark's History Server ended with code 7"


def test_a_port_in_use_is_an_error_before_java_starts(folder):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            serve_history(folder, Java(Path("/no/such/java"), 21, "PATH"), port=port, ready=print)

    assert str(refused.value) == (
        f"port {port} of 127.0.0.1 cannot be used (Address already in use); give another --port"
    )


def test_a_folder_that_no_service_used_is_refused_and_not_created(tmp_path, capsys):
    assert main(["local", "history", "--data", str(tmp_path / "typo"), "--port", "0"]) == 3

    assert capsys.readouterr().err == (
        f"dataflow-magic: {tmp_path}/typo has no objects: pass the folder of a service that ran jobs as --data\n"
    )
    assert not (tmp_path / "typo").exists()


@pytest.mark.spark
def test_sparks_own_pages_show_a_run(folder):
    (folder.objects / "b").mkdir()
    (folder.objects / "b" / "daily.py").write_text(
        "from pyspark.sql import SparkSession\nprint(SparkSession.builder.getOrCreate().range(9).count())\n"
    )
    work = folder.path / "runs" / "1"
    spec = RunSpec("mY3275GiRXkm", "daily", "b/daily.py", "b/logs/", {}, 2, 120.0, folder.objects, work)
    java = find_java(os.environ)
    ended = run_application(
        spec, java=java, cancel=asyncio.Event(), waiting=lambda _: None, started=noting([])
    )
    assert asyncio.run(ended) == Outcome("COMPLETED")

    arguments = ["local", "history", "--data", str(folder.path), "--port", "0"]
    with subprocess.Popen([COMMAND, *arguments], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            first = server.stdout.readline()
            address = first.split()[4].rstrip(",")
            assert first == f"Spark History Server at {address}, data in {folder.path}\n"
            eventually(lambda: applications(address))
            (application,) = applications(address)
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(30) == 130

    assert application["name"] == "daily mY3275GiRXkm"
    assert [attempt["completed"] for attempt in application["attempts"]] == [True]


def applications(address: str) -> Any:
    with urllib.request.urlopen(f"{address}/api/v1/applications", timeout=20) as answer:  # noqa: S310
        return json.load(answer)
