"""A kernel that dies by SIGKILL between a start's intent and its response leaves the start to the next kernel."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.proxy import CALM, Fault
from tests.faults.world import a_session, a_world, records_of
from tests.helpers import eventually

ARRIVED = Fault("arrived and not passed on", passes_on=False, holds=True)
CARRIED_OUT = Fault("carried out, its answer held", holds=True)


@pytest.fixture
def world():
    with a_world() as world:
        yield world


@pytest.mark.parametrize(
    ("where", "fault", "is_started"),
    [
        ("before it leaves", CALM, False),
        ("while it is on its way", ARRIVED, False),
        ("while its answer is on its way", CARRIED_OUT, True),
        ("before its answer is written down", CALM, True),
        ("after its cell is done", CALM, True),
    ],
)
def test_the_next_kernel_finds_the_outcome_of_the_start(world, tmp_path, where, fault, is_started):
    home, job_id = tmp_path / "home", world.service.new_job("daily")
    starts: list[bool] = []

    def plan(seen):
        starts.extend([True] if seen.is_start else [])
        return fault if seen.is_start else CALM

    world.proxy.plan = plan
    address = f"http://127.0.0.1:{world.proxy.port}"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.killed_kernel", str(home), address, job_id, where],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    ) as killed:
        try:
            if fault is CALM:
                assert killed.stdout is not None
                assert killed.stdout.readline() == b"there\n"
            else:
                eventually(
                    lambda: starts and (world.service.of(job_id) or not is_started), "the request arrived"
                )
        finally:
            killed.kill()
    (before,) = records_of(home)
    assert before.phase == ("started" if where == "after its cell is done" else "sending")

    world.proxy.plan = lambda _: CALM
    with a_session(world, home) as session:
        session.ask(session.target(), lambda client: client.get_job(job_id))
        eventually(lambda: not records_of(home)[0].is_live, "the next kernel knows")

    (record,) = records_of(home)
    assert [run.run_id for run in world.service.of(job_id)] == ([record.run_id] if is_started else [])
    assert record.status == ("COMPLETED" if is_started else "NOT_STARTED")
    assert record.key == before.key
    assert len(starts) == (0 if where == "before it leaves" else 1)
