"""A real IPython in a terminal, without a notebook: plain lines, one for each change, and real Spark runs."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from dataflow_magic.local.folder import DataFolder
from tests.local_service import no_credentials, processes_of, service_folder

PATIENCE = 90.0
PROMPT = re.compile(r"In \[\d+\]: $")


class Terminal:
    """An IPython that is typed to. What it prints, errors included, is read in one stream."""

    def __init__(self, home: Path, ipython: Path) -> None:
        changes = no_credentials() | {
            "DATAFLOW_MAGIC_HOME": str(home),
            "DATAFLOW_TARGET": "local",
            "IPYTHONDIR": str(ipython),
            "PYTHONUNBUFFERED": "1",
        }
        environment = {**os.environ, **changes}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner"],
            env={name: value for name, value in environment.items() if value is not None},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self._unread = ""
        self.shown = ""

    def __enter__(self) -> Self:
        self.until(PROMPT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def run(self, cell: str) -> str:
        """Type a line or a cell and return what it printed, up to the next prompt."""
        self.type(cell)
        return self.until(PROMPT)

    def type(self, cell: str) -> None:
        # Two empty lines end a cell magic here.
        text = f"{cell}\n\n\n" if "\n" in cell else f"{cell}\n"
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())

    def until(self, end: re.Pattern[str]) -> str:
        """Return what is printed from now on up to and without what matches."""
        deadline = time.monotonic() + PATIENCE
        while not (found := end.search(self._unread)):
            self._unread += self._read(deadline)
        read, self._unread = self._unread[: found.start()], self._unread[found.end() :]
        # The prompts of a cell's further lines.
        return read.replace("   ...: ", "").strip("\n")

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def _read(self, deadline: float) -> str:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            ready = selector.select(max(0.0, deadline - time.monotonic()))
        assert ready, f"no end within {PATIENCE:g} s of:\n{self.shown[-2000:]}"
        text = os.read(self._process.stdout.fileno(), 1 << 16).decode()
        assert text, f"IPython ended:\n{self.shown[-2000:]}"
        self.shown += text
        return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, archives: Path) -> Iterator[DataFolder]:
    with service_folder(tmp_path_factory.mktemp("home"), archives) as used:
        yield used


@pytest.fixture(scope="module")
def terminal(folder: DataFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """An IPython with the extension loaded; it must have printed neither colours nor a traceback at the end."""
    with Terminal(folder.path.parent, tmp_path_factory.mktemp("ipython")) as opened:
        assert opened.run("%load_ext dataflow_magic") == ""
        yield opened

    assert "\x1b" not in opened.shown
    assert "Traceback" not in opened.shown


def run_id_of(printed: str) -> str:
    found = re.search(r" run (\w{12}) ", printed)
    assert found, printed
    return found[1]


def test_status_is_one_fact_a_line(terminal, folder):
    status = terminal.run("%dataflow_status")

    assert [line.split("  ")[0] for line in status.splitlines()] == [
        "target",
        "endpoint",
        "access key",
        "service",
        "folder",
        "java",
    ]
    assert "target      local (chosen)" in status
    assert f"folder      {folder.path}" in status


def test_a_dry_run_prints_the_request(terminal):
    request = terminal.run("%%dataflow_run slow_count --workers 3 --dry-run\nseconds = 1")

    assert "curl --request POST http://127.0.0.1" in request
    assert '"numWorker": 3' in request
    assert '"$seconds": "1"' in request


def test_a_bad_block_is_one_line(terminal):
    assert terminal.run("%%dataflow_run slow_count\nseconds + 1") == (
        "UsageError: line 2: this is not an assignment; each line of a parameter block is name = value"
    )


@pytest.mark.spark
def test_a_run_that_is_waited_for_is_a_line_per_change_and_its_repr(terminal):
    printed = terminal.run("%%dataflow_run slow_count --wait -o run\nseconds = 1")
    *changes, value = (line for line in printed.splitlines() if not line.startswith(" "))

    assert [line.split()[0] for line in changes] == ["READY", "RUNNING", "COMPLETED"]
    assert "  seconds  1\n" in printed
    assert value.endswith(f": <Run {run_id_of(printed)} of slow_count on local: COMPLETED>")
    # Counted with hashlib.
    assert "474 hits among 2000000 numbers" in terminal.run("print(run.logs())")


@pytest.mark.spark
def test_an_interrupt_stops_the_wait_and_not_the_run(terminal, folder):
    terminal.type("%%dataflow_run slow_count --wait -o long\nseconds = 600")
    waited = terminal.until(re.compile(r"RUNNING +slow_count +\w{12} +\d+ s\n"))
    run_id = run_id_of(waited)
    terminal.interrupt()

    assert terminal.until(PROMPT) == (
        f"stopped waiting; run {run_id} continues: %dataflow_wait {run_id} waits again, %dataflow_status {run_id} shows it, "
        f"%dataflow_cancel {run_id} cancels it"
    )
    assert len(processes_of(folder, run_id)) == 2
    assert terminal.run("%dataflow_cancel @last") == f"cancel requested for run {run_id} of slow_count"
    assert terminal.run("long.result()") == (
        f"RunFailed: run {run_id} of slow_count ended CANCELED: canceled on request"
    )
    assert processes_of(folder, run_id) == []
