"""The demo without Spark: what it refuses, what it prints for a notebook that fails, and the states it prints."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina

from dataflow_magic import Client
from dataflow_magic.cli.demo import _printing_states, new_states, run_demo
from dataflow_magic.errors import ConfigError
from dataflow_magic.local.folder import Address
from tests.browser.lab import write_notebook
from tests.local_service import no_credentials, service_folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of the service that these tests share."""
    path = tmp_path_factory.mktemp("home")
    with service_folder(path):
        yield path


@pytest.fixture
def notebook(tmp_path, monkeypatch, home):
    """Write a notebook of these cells, for a process without credentials and with the home of a test."""
    for name in no_credentials():
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATAFLOW_MAGIC_HOME", str(home))
    (tmp_path / "notebooks").mkdir()

    def written(*cells: str):
        path = tmp_path / "notebooks" / "some.ipynb"
        write_notebook(path, *cells)
        return path

    return written


class Runs:
    """A service that lists the runs of a test, newest first as the real one."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/jobs":
            items = [{"jobId": "job000000001", "name": "daily_delays", "type": "SCRIPT"}]
        else:
            assert request.url.path == "/api/v1/jobs/job000000001/executions"
            items = self.runs
        return httpx.Response(200, json={"list": items, "count": len(items), "page": 0, "limit": 20})

    def client(self) -> Client:
        return Client("key", "secret", "http://127.0.0.1:7001", transport=httpx.MockTransport(self))


def run(run_id: str, status: str, detail: str | None = None) -> dict[str, Any]:
    return {"jobExecutionId": run_id, "jobId": "job000000001", "status": status, "statusDetail": detail}


def without_clock(lines: list[str]) -> list[str]:
    return [line.partition("  ")[2] for line in lines]


@pytest.mark.anyio
async def test_each_state_is_printed_once():
    service, known = Runs(), dict[str, str]()
    service.runs = [run("run000000001", "READY", "starting Spark")]
    async with service.client() as client:
        assert without_clock(await new_states(client, known)) == [
            "daily_delays  run000000001  READY (starting Spark)"
        ]
        assert await new_states(client, known) == []
        service.runs = [run("run000000001", "RUNNING")]
        assert without_clock(await new_states(client, known)) == ["daily_delays  run000000001  RUNNING"]


@pytest.mark.anyio
async def test_states_are_printed_oldest_run_first():
    service = Runs()
    service.runs = [run("run000000002", "READY"), run("run000000001", "RUNNING")]
    async with service.client() as client:
        assert without_clock(await new_states(client, {})) == [
            "daily_delays  run000000001  RUNNING",
            "daily_delays  run000000002  READY",
        ]


@pytest.mark.anyio
async def test_a_run_that_ended_before_the_first_poll_is_skipped_and_a_later_one_is_not():
    service, known = Runs(), dict[str, str]()
    service.runs = [run("run000000001", "COMPLETED")]
    async with service.client() as client:
        assert await new_states(client, known) == []
        service.runs = [run("run000000002", "FAILED", "code 1"), *service.runs]
        assert without_clock(await new_states(client, known)) == [
            "daily_delays  run000000002  FAILED (code 1)"
        ]


@pytest.mark.anyio
async def test_a_first_poll_without_runs_counts():
    service, known = Runs(), dict[str, str]()
    async with service.client() as client:
        assert await new_states(client, known) == []
        service.runs = [run("run000000001", "COMPLETED")]
        assert without_clock(await new_states(client, known)) == ["daily_delays  run000000001  COMPLETED"]


def test_a_service_that_does_not_answer_is_reported_and_the_demo_continues():
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as closed:
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    stamina.set_testing(True)
    try:
        with _printing_states(Address(endpoint, "key", "secret", pid=1), said.append):
            pass
    finally:
        stamina.set_testing(False)

    assert said
    assert said[-1].startswith(f"the states of the runs are unknown: no answer from {endpoint}")


@pytest.mark.parametrize(
    "content",
    [b"", b"not JSON", b"[]", b"{}", b'{"nbformat": 99, "nbformat_minor": 0}', b"\xff"],
    ids=["empty", "text", "a list", "no cells", "a format to come", "not UTF-8"],
)
def test_a_file_that_is_not_a_notebook_is_refused_before_anything_is_written(tmp_path, content):
    file = tmp_path / "some.ipynb"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"some.ipynb' is not a notebook \(\w+\); give another path$"):
        run_demo(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_notebook_is_never_overwritten(notebook):
    file = notebook("1 + 1")

    with pytest.raises(ConfigError, match=r"would overwrite .*; give another --out$"):
        run_demo(file, file.parent / ".")


def test_an_output_folder_that_is_a_file_is_refused(notebook, tmp_path):
    (tmp_path / "out").write_text("")

    with pytest.raises(ConfigError, match=r"out' cannot be used \(File exists\); give another --out$"):
        run_demo(notebook("1 + 1"), tmp_path / "out")


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("raise ValueError('no such table')", "ValueError: no such table"),
        ("%load_ext dataflow_magic\n%dataflow_status nosuch", "NoSuchRun: no run 'nosuch' was started here"),
        ("import time\ntime.sleep(60)", "timed out while it was being executed, after 2 seconds"),
        ("import os\nos._exit(1)", "Kernel died"),
    ],
    ids=["an error", "a mistake in a cell", "too slow", "a dead kernel"],
)
def test_a_notebook_that_fails_is_reported_and_still_written(notebook, tmp_path, cell, reason):
    file, said = notebook("'before'", cell, "'after'"), list[str]()
    code = run_demo(file, tmp_path / "out", said.append, cell_seconds=2)

    assert code == 1
    assert said[-1].startswith("the notebook failed: ")
    assert reason in said[-1]
    cells = json.loads((tmp_path / "out" / "some.ipynb").read_text())["cells"]
    assert cells[0]["outputs"][0]["data"] == {"text/plain": ["'before'"]}
    assert cells[2]["outputs"] == []
    assert (tmp_path / "out" / "some.html").is_file()


def test_an_interrupt_ends_the_demo_and_writes_no_notebook(notebook, tmp_path):
    file = notebook("import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)")

    with pytest.raises(KeyboardInterrupt):
        run_demo(file, tmp_path / "out", list[str]().append)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_notebook_runs_locally_in_its_folder_and_changes_nothing(notebook, tmp_path, monkeypatch):
    file = notebook(
        "import os\nfor name in 'DATAFLOW_TARGET', 'DATAFLOW_MAGIC_HOME': print(os.environ[name])\nprint(os.getcwd())"
    )
    monkeypatch.delenv("DATAFLOW_MAGIC_HOME")
    monkeypatch.setenv("DATAFLOW_TARGET", "cloud")
    before, content, said = dict(os.environ), file.read_bytes(), list[str]()
    with service_folder(tmp_path / "out" / "home") as folder:
        code = run_demo(file, tmp_path / "out", said.append)

    assert code == 0
    assert said[0].endswith(f", data in {folder.path}")
    (printed,) = json.loads((tmp_path / "out" / "some.ipynb").read_text())["cells"][0]["outputs"]
    assert printed["text"] == ["local\n", f"{tmp_path / 'out' / 'home'}\n", f"{file.parent}\n"]
    assert file.read_bytes() == content
    assert dict(os.environ) == before
