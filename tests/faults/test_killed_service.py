"""A service that dies by SIGKILL and starts again has each run once, begins no script twice and forgets no cancel."""

import asyncio
import random
import subprocess
from collections import Counter
from contextlib import suppress
from datetime import datetime

from dataflow_magic.cell.run import make_request
from dataflow_magic.client import Client
from dataflow_magic.errors import DataflowError, RequestRejected
from dataflow_magic.local.store import Store
from dataflow_magic.models.wire import KST, JobCondition, RunState
from dataflow_magic.session.session import Session
from dataflow_magic.session.watch import Pace
from tests.faults.fake import ACCESS_KEY, CONDITION, SECRET_KEY
from tests.faults.local_service import a_service
from tests.faults.proxy import CALM, Fault, Port, a_proxy
from tests.faults.world import KEYS, no_local_service, records_of
from tests.helpers import PATIENCE, eventually


def test_the_kernel_finds_a_run_whose_service_died_before_it_answered(tmp_path):
    home, folder = tmp_path / "home", tmp_path / "service"
    with a_service(folder) as (port, service), a_proxy(Port(port)) as proxy:
        session = Session(
            {
                "DATAFLOW_MAGIC_HOME": str(home),
                "DATAFLOW_TARGET": f"http://127.0.0.1:{proxy.port}",
                **KEYS,
            },
            home / "configure",
            no_local_service,
            pace=Pace(0.01, 0.1),
        )

        def kill(answer: bytes) -> None:
            assert answer.startswith(b"HTTP/1.1 200"), "the run is on disk"
            service.kill()

        killed = Fault("killed after it stored a start", answer=kill)
        proxy.plan = lambda seen: killed if seen.is_start else CALM

        request = make_request("daily_delays", {"a": 1}, marker="log-path", log_path="bucket/logs/")
        run = session.start(request, session.target())
        assert run.status == "SUBMITTING"
        eventually(lambda: "looking for it failed" in run.view.blind_reason, "the service is gone")
        with a_service(folder) as (next_port, _):
            proxy.ask = Port(next_port)
            # The service reports a run it had begun as FAILED, and runs one it had not; either way it is this run.
            run.wait(60)
            jobs = [job.job_id for job in session.jobs(session.target()) if job.name == "daily_delays"]
            listed = session.ask(session.target(), lambda client: client.list_executions(jobs[0]))

        session.close()
    assert [each.job_execution_id for each in listed.items] == [run.run_id]
    assert [record.run_id for record in records_of(home)] == [run.run_id]


KILLS = 8
MOST_LIVE = 3
"""Runs that are not canceled yet: so few that scripts begin all the time."""
LONGEST_SECONDS = 0.3
"""From the first confirmed cancel to the kill: long enough for several starts and cancels, of which some are cut off."""


def test_a_service_killed_at_any_moment_begins_no_script_twice_and_forgets_no_cancel(tmp_path):
    folder, seed = tmp_path / "service", random.randrange(1 << 32)  # noqa: S311
    print("seed", seed)  # noqa: T201 - for a failure
    moments = random.Random(seed)  # noqa: S311
    accepted: list[str] = []
    canceled: list[str] = []
    for _ in range(KILLS):
        more = moments.uniform(0, LONGEST_SECONDS)
        with a_service(folder, "endless") as (port, service):
            asyncio.run(start_and_cancel_until_killed(port, service, more, accepted, canceled))
    with a_service(folder):
        store = Store(folder / "state.sqlite3", lambda: datetime.now(KST))
        eventually(
            lambda: not store.count_in(RunState.READY) + store.count_in(RunState.RUNNING), "all runs end"
        )
        states = {run.run_id: run.status for state in RunState for run in store.runs_in(state)}

    assert len(canceled) >= KILLS
    assert set(accepted) <= set(states)
    assert {states[run_id] for run_id in canceled} == {"CANCELED"}
    begun = Counter((folder / "begun").read_text().split())
    assert {run_id: times for run_id, times in begun.items() if times > 1} == {}


async def start_and_cancel_until_killed(
    port: int, service: subprocess.Popen[bytes], more: float, accepted: list[str], canceled: list[str]
) -> None:
    """Start runs and cancel the oldest until the service is killed; note what the service confirms."""
    live = [run_id for run_id in accepted if run_id not in canceled]

    async def go(client: Client, job_id: str) -> None:
        while True:
            started = await client.execute_job(job_id, JobCondition.model_validate(CONDITION))
            accepted.append(started.job_execution_id)
            live.append(started.job_execution_id)
            while len(live) > MOST_LIVE:
                oldest = live.pop(0)
                with suppress(RequestRejected):  # it ended with an earlier service
                    await client.cancel_execution(job_id, oldest)
                    canceled.append(oldest)

    before = len(canceled)
    async with Client(ACCESS_KEY, SECRET_KEY, f"http://127.0.0.1:{port}") as client:
        job_id = (await client.list_jobs(name="daily_delays")).items[0].job_id
        work = [asyncio.ensure_future(go(client, job_id)) for _ in range(3)]
        async with asyncio.timeout(PATIENCE):
            while len(canceled) == before:  # noqa: ASYNC110 - a list sends no events
                await asyncio.sleep(0.001)
        await asyncio.sleep(more)
        service.kill()
        service.wait()
        for each in work:
            each.cancel()
            with suppress(asyncio.CancelledError, DataflowError):
                await each
