"""The same power without magics: one session per process, and runs started by a plain call."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import dataflow_magic
from dataflow_magic import api
from dataflow_magic.errors import CellError, ConfigError, NotFound
from dataflow_magic.files import try_lock
from dataflow_magic.local import launch
from dataflow_magic.local.launch import default_folder, peek
from tests.helpers import ACCESS_KEY, SECRET_KEY, ScriptedService, at_a_port


@pytest.fixture(autouse=True)
def empty_machine(tmp_path, monkeypatch):
    """No credentials, no service and no home but a temporary one; the process's session is closed afterwards."""
    for name in [name for name in os.environ if name.startswith(("NCLOUD_", "DATAFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATAFLOW_MAGIC_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield
    api.close_session()


def test_a_process_has_one_session_until_it_is_closed():
    session = api.get_session()

    assert api.get_session() is session
    api.close_session()
    assert api.get_session() is not session


def test_closing_where_there_is_no_session_is_harmless():
    api.close_session()
    api.close_session()


def test_the_session_reads_the_environment_at_each_call(tmp_path, monkeypatch):
    session = api.get_session()
    assert session.target().source == "no credentials found"

    (tmp_path / ".ncloud").mkdir()
    (tmp_path / ".ncloud" / "configure").write_text(
        "ncloud_access_key_id = AK\nncloud_secret_access_key = SK\n"
    )
    assert api.get_session().target().source == "profile 'DEFAULT' of ~/.ncloud/configure"
    monkeypatch.setenv("DATAFLOW_TARGET", "local")
    assert session.target().kind == "local"


def test_a_forked_process_gets_a_new_session():
    program = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside a thread, which is what is tried
from dataflow_magic import api
parent = api.get_session()
parent.jobs  # the parent's
child = os.fork()
if child == 0:
    own = api.get_session()
    os._exit(0 if own is not parent and api.get_session() is own and own.runs == [] else 7)
_, status = os.waitpid(child, 0)
assert api.get_session() is parent
sys.exit(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)

    assert done.returncode == 0


def test_a_value_that_cannot_be_sent_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(CellError, match=r"the parameter \$days is a list"):
        dataflow_magic.run("daily", {"days": [1, 2]})

    assert not (tmp_path / "data").exists()


def test_a_target_that_does_not_exist_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ConfigError, match="no profile 'prod'"):
        dataflow_magic.run("daily", profile="prod")

    assert not (tmp_path / "data").exists()


def test_runs_is_an_empty_table_before_the_first_run():
    table = dataflow_magic.runs()

    assert len(table) == 0
    assert list(table.columns)[:3] == ["run_id", "job", "status"]


@pytest.mark.parametrize(
    "path", ["s3a://bucket/a/b.parquet", "bucket/a/b.parquet"], ids=["with a scheme", "bare"]
)
def test_an_object_of_the_local_service_is_a_file(tmp_path, path):
    assert (
        dataflow_magic.local_path(path)
        == tmp_path / "data" / "local" / "objects" / "bucket" / "a" / "b.parquet"
    )


@pytest.mark.parametrize("path", ["s3a://bucket/../../key", "/etc/hostname", "bucket//key"])
def test_a_path_outside_the_objects_is_refused(path):
    with pytest.raises(CellError, match="is not a path in object storage"):
        dataflow_magic.local_path(path)


@pytest.mark.parametrize(
    "parameters", [["origin"], "origin", [("origin", "JFK")]], ids=["list", "text", "pairs"]
)
def test_parameters_must_be_a_mapping(parameters):
    with pytest.raises(CellError, match="parameters must be a mapping of names to values, not"):
        dataflow_magic.run("daily", parameters)


@pytest.fixture
def address(tmp_path, monkeypatch):
    """The scripted service at a real port."""
    monkeypatch.setenv("DATAFLOW_LOCAL_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("DATAFLOW_LOCAL_SECRET_KEY", SECRET_KEY)
    with at_a_port(ScriptedService(tmp_path / "service")) as address:
        yield address
        api.close_session()


def test_runs_selects_as_the_magic_does(address):
    started = [dataflow_magic.run(job, target=address) for job in ("daily_sales", "broken", "daily_sales")]
    for run in started:
        run.wait(60)
    first, failed, last = (run.id for run in started)

    def ids(**selected: Any) -> list[str | None]:
        return dataflow_magic.runs(**selected)["run_id"].tolist()

    assert ids() == ids(all=True) == [last, failed, first]
    assert ids(job="daily_sales") == ids(remote="daily_sales", target=address) == [last, first]
    assert ids(status="failed") == ids(status=["FAILED", "READY"]) == [failed]
    assert ids(limit=1) == [last]
    assert (
        ids(since="1h")
        == ids(since=timedelta(hours=1))
        == ids(since=datetime.now(UTC) - timedelta(hours=1))
        == ids()
    )
    assert ids(since=datetime.now(UTC) + timedelta(hours=1)) == []  # fmt: skip
    with pytest.raises(
        CellError, match=r"^since 'yesterday' is not a time; write 30m, 12h, 7d, 2w or 2026-11-01$"
    ):
        ids(since="yesterday")
    with pytest.raises(CellError, match=r"^limit=-1 is not a number of runs$"):
        ids(limit=-1)


def test_runs_started_from_python_are_in_the_table(address):
    started = [dataflow_magic.run("daily_sales", {"month": month}, target=address) for month in (1, 7)]

    assert [run.result(60).status for run in started] == ["COMPLETED", "COMPLETED"]
    table = dataflow_magic.runs()
    assert table["run_id"].tolist() == [run.id for run in reversed(started)]
    assert table["param.month"].tolist() == ["7", "1"]
    assert table["target"].tolist() == [address, address]


@pytest.mark.anyio
async def test_starts_are_awaited_together_and_do_not_block_the_loop(address):
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    runs = await asyncio.gather(
        *(dataflow_magic.start("daily_sales", {"month": month}, target=address) for month in (1, 7))
    )
    during = ticks
    ticking.cancel()

    assert during > 3
    assert [run.parameters["$month"] for run in runs] == ["1", "7"]
    assert [(await run).status for run in runs] == ["COMPLETED", "COMPLETED"]


def test_a_run_is_got_by_each_of_its_names_also_in_a_later_session(address):
    run = dataflow_magic.run("daily_sales", {"month": 1}, target=address)
    run.wait(60)

    assert dataflow_magic.get(run) is run
    assert dataflow_magic.get("@last") is run
    assert dataflow_magic.get(run.key) is run
    api.close_session()
    again = dataflow_magic.get((run.id or "")[:9])
    assert isinstance(again, dataflow_magic.Run)
    assert (again.id, again.status, again.job) == (run.id, "COMPLETED", "daily_sales")
    assert again.submitted == run.submitted


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nosuch", "no run 'nosuch' was started here"),
        (7, "7 names no run; give a run, a sweep, an id or a key"),
    ],
)
def test_a_name_that_names_no_run_is_refused(name, said):
    with pytest.raises(CellError, match=said):
        dataflow_magic.get(name)


@pytest.mark.anyio
async def test_a_connected_client_creates_a_job_that_runs_by_its_id(address):
    async with dataflow_magic.connect(address) as client:
        condition = dataflow_magic.JobCondition(
            nrn="nrn:x", script_path="bucket/scripts/", log_path="bucket/logs/"
        )
        job = await client.create_job("my_job", condition=condition)

    run = await asyncio.to_thread(dataflow_magic.run, job.job_id, target=address)
    assert run.job == "my_job"
    assert run._live.condition.script_path == "bucket/scripts/"


def test_the_first_use_starts_the_local_service_and_closing_releases_it(tmp_path):
    folder = default_folder(os.environ)
    try:
        with pytest.raises(NotFound, match="no job is named 'no_such_job'"):
            dataflow_magic.run("no_such_job")

        served = peek(folder)
        assert served is not None
        assert folder.path == tmp_path / "data" / "local"
        assert try_lock(folder.users_lock) is None, "this process holds it"
        api.close_session()
        lock = try_lock(folder.users_lock)
        assert lock is not None, "no process holds it"
        os.close(lock)
    finally:
        if served := peek(folder):
            os.kill(served.pid, signal.SIGTERM)
        for process in launch._started:
            process.wait(60)


def test_the_marker_of_a_run_is_that_of_the_call_or_else_of_the_environment(tmp_path, monkeypatch):
    service = ScriptedService(tmp_path / "service")
    with at_a_port(service) as address:
        monkeypatch.setenv("DATAFLOW_TARGET", address)
        monkeypatch.setenv("DATAFLOW_LOCAL_ACCESS_KEY", ACCESS_KEY)
        monkeypatch.setenv("DATAFLOW_LOCAL_SECRET_KEY", SECRET_KEY)
        monkeypatch.setenv("DATAFLOW_MARKER", f"@{address}=log-path")
        by_default = dataflow_magic.run("daily_sales")
        named = dataflow_magic.run("daily_sales", marker="parameter")
        off = dataflow_magic.run("daily_sales", marker="off")
        with pytest.raises(CellError, match=r"^marker='logpath' is none of off, log-path, parameter$"):
            dataflow_magic.run("daily_sales", marker="logpath")  # type: ignore[arg-type]
        monkeypatch.setenv("DATAFLOW_MARKER", "yes")
        with pytest.raises(ConfigError, match=r"^DATAFLOW_MARKER says 'yes', which is none of off, "):
            dataflow_magic.run("daily_sales", marker="off")

    assert by_default._live.condition.log_path == f"bucket/logs/dataflow-run-{by_default.key}/"
    assert named.parameters == {"$dataflow_run": f"dataflow-run-{named.key}"}
    assert (off._live.condition.log_path, dict(off.parameters)) == ("bucket/logs/", {})
    assert list(dataflow_magic.runs()["key"]) == [off.key, named.key, by_default.key]


def test_a_sweep_of_a_grid_starts_a_run_per_combination(address):
    sweep = dataflow_magic.sweep(
        "daily_sales", {"day": [1, 2], "origin": ("JFK", "EWR"), "table": "t"}, max_parallel=2, target=address
    )

    assert [each.status for each in sweep.result(60)] == ["COMPLETED"] * 4
    assert [list(run.parameters.values()) for run in sweep.runs] == [
        ["1", "JFK", "t"], ["1", "EWR", "t"], ["2", "JFK", "t"], ["2", "EWR", "t"]
    ]  # fmt: skip
    assert sweep.max_parallel == 2
    table = dataflow_magic.sweeps()
    assert list(zip(table.sweep, table.completed, table.max_parallel, strict=True)) == [(sweep.key, 4, 2)]


def test_a_sweep_leaves_out_what_completed(address):
    dataflow_magic.sweep("daily_sales", {"day": [1, 2]}, target=address).result(60)
    sweep = dataflow_magic.sweep("daily_sales", [{"day": 2}, {"day": 3}], reprocess="none", target=address)

    assert len(sweep.result(60)) == 1
    assert sweep.counts == {"COMPLETED": 1, "SKIPPED": 1}
