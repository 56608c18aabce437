import asyncio
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from dataflow_magic.client import Client
from dataflow_magic.local.attach import attach
from dataflow_magic.local.carry import carry_out
from dataflow_magic.local.folder import DataFolder
from dataflow_magic.local.spark import Outcome
from dataflow_magic.local.sparkconf import RunSpec
from dataflow_magic.models import Job, JobExecution
from tests.local.scripted import end_service, eventually, is_served

pytestmark = pytest.mark.anyio

RUN_SECONDS = 180.0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    folder = DataFolder(tmp_path / "local")
    yield folder
    end_service(folder)
    eventually(lambda: not run_processes(folder))


def spec_in(folder: Path) -> RunSpec:
    return RunSpec(
        run_id="mY3275GiRXkm",
        job_name="daily",
        script_path="scripts/",
        log_path="logs/",
        parameters={},
        workers=2,
        timeout_seconds=60.0,
        objects=folder / "objects",
        work=folder / "work",
    )


async def carried_out(spec: RunSpec) -> tuple[Outcome, list[str]]:
    """Carry out a run that does not get as far as Java; return how it ended and what it reported."""
    calls: list[str] = []
    outcome = await carry_out(
        spec, cancel=asyncio.Event(), waiting=calls.append, started=lambda: calls.append("started")
    )
    return outcome, calls


async def test_a_run_without_java_fails_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAFLOW_JAVA", str(tmp_path / "nowhere"))

    outcome, calls = await carried_out(spec_in(tmp_path))

    assert outcome.state == "FAILED"
    assert outcome.reason.startswith(f"DATAFLOW_JAVA={tmp_path}/nowhere has no Java that runs (")
    assert calls == []


async def test_a_run_is_handed_to_spark_with_the_java_that_was_found(tmp_path, monkeypatch):
    launcher = tmp_path / "java" / "bin" / "java"
    launcher.parent.mkdir(parents=True)
    launcher.write_text("#!/bin/sh\necho 'this is the one' >&2\nexit 3\n")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "java" / "release").write_text('JAVA_VERSION="21.0.1"\n')
    monkeypatch.setenv("DATAFLOW_JAVA", str(tmp_path / "java"))
    spec = spec_in(tmp_path)
    (spec.objects / "logs").mkdir(parents=True)
    (spec.objects / "scripts").mkdir()
    (spec.objects / "scripts" / "daily.py").write_text("")

    outcome, calls = await carried_out(spec)

    assert outcome == Outcome(
        "FAILED", "Spark did not start: the JVM exited with code 3: this is the one (see jvm.log)"
    )
    assert calls == ["starting Spark"]


def run_processes(folder: DataFolder) -> list[str]:
    """The command lines of all processes of all runs: each has its scratch below the data folder."""
    mark = f"TMPDIR={folder.path}/runs/".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        if any(variable.startswith(mark) for variable in environment.split(b"\0")):
            found.append(command.replace(b"\0", b" ").decode())
    return found


async def ended(client: Client, job: Job, run_id: str) -> tuple[list[str], JobExecution]:
    """Watch a run to its end; return the states it was seen in and its last snapshot."""
    seen: list[str] = []
    with anyio.fail_after(RUN_SECONDS):
        while True:
            run = await client.get_execution(job.job_id, run_id)
            if run.status not in seen:
                seen.append(run.status)
            if run.is_final:
                return seen, run
            await asyncio.sleep(0.1)


@pytest.mark.spark
async def test_a_service_runs_spark_and_no_spark_outlives_it(folder):
    address, hold = attach(folder)
    async with Client(address.access_key, address.secret_key, address.endpoint) as client:
        daily, slow = (await client.list_jobs()).items
        good = await client.execute_job(daily.job_id, daily.condition, {"$origin": "JFK", "$month": "1"})
        bad = await client.execute_job(daily.job_id, daily.condition, {"$origin": "XXX", "$month": "1"})

        seen, run = await ended(client, daily, good.job_execution_id)
        assert (run.status, run.status_detail) == ("COMPLETED", None)
        assert seen == ["READY", "RUNNING", "COMPLETED"]
        assert run.parameters == {"$origin": "JFK", "$month": "1"}
        results = folder.objects / "dataflow-sample/results/daily_delays/origin=JFK/month=1"
        assert (results / "_SUCCESS").exists()
        log = console_log(folder, run)
        assert "wrote 31 days to s3a://dataflow-sample/results/daily_delays" in log

        _, run = await ended(client, daily, bad.job_execution_id)
        assert (run.status, run.status_detail) == (
            "FAILED",
            "ValueError: no flights from 'XXX' in month 1; the table has EWR, JFK, LGA",
        )
        assert "ValueError: no flights from 'XXX' in month 1; the table has EWR, JFK, LGA" in console_log(
            folder, run
        )
        assert not run_processes(folder)
        eventually(lambda: not list((folder.path / "runs").iterdir()))

        killed = await client.execute_job(slow.job_id, slow.condition, {"$seconds": "600"})
        with anyio.fail_after(RUN_SECONDS):
            while " of 600 s: " not in console_log(folder, killed):  # noqa: ASYNC110  files send no events
                await asyncio.sleep(0.1)
        commands = "\n".join(run_processes(folder))
        assert "PythonGatewayServer" in commands
        assert "slow_count.py" in commands

        os.kill(address.pid, signal.SIGKILL)
        eventually(lambda: not is_served(folder))
        eventually(lambda: not run_processes(folder))

    address, another_hold = attach(folder)
    async with Client(address.access_key, address.secret_key, address.endpoint) as client:
        run = await client.get_execution(slow.job_id, killed.job_execution_id)
        assert (run.status, run.status_detail) == ("FAILED", "the local service stopped while it ran")
        assert run.end_date is not None
    os.close(hold)
    os.close(another_hold)


def console_log(folder: DataFolder, run: JobExecution) -> str:
    """What the run's script has printed so far."""
    assert run.job_condition is not None
    log = folder.objects / f"{run.job_condition.log_path}{run.job_execution_id}/console.log"
    return log.read_text() if log.exists() else ""
