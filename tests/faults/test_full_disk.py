"""A disk that fills between a start's intent and its response loses nothing: the ledger has the run once there is room."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.world import a_world, records_of

PROGRAM = """
import resource, sys
from pathlib import Path
import httpx
from dataflow_magic.cell.run import make_request
from dataflow_magic.session.session import Session
from tests.faults.world import KEYS, no_local_service

home, address, job_id = sys.argv[1:]
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)

class Filling(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request):
        response = await super().handle_async_request(request)
        await response.aread()
        if request.method == "POST":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, most))
        return response

session = Session(
    {"DATAFLOW_MAGIC_HOME": home, "DATAFLOW_TARGET": address, **KEYS},
    Path(home) / "configure",
    no_local_service,
    transport=Filling(),
)
run = session.start(make_request(f"id:{job_id}", {"a": 1}), session.target())
print(run.run_id, run.result(60).status, flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
session.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on the size of files stands in for the disk")
def test_a_disk_that_fills_after_the_intent_loses_neither_run_nor_outcome(tmp_path):
    home = tmp_path / "home"
    with a_world() as world:
        job_id = world.service.new_job("daily")
        address = f"http://127.0.0.1:{world.proxy.port}"
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(home), address, job_id],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as kernel:
            try:
                assert kernel.stdout is not None
                run_id, status = kernel.stdout.readline().split()
                full = [(record.run_id, record.phase) for record in records_of(home)]
                kernel.communicate("there is room again\n", timeout=30)
            finally:
                kernel.kill()
        started = [run.run_id for run in world.service.of(job_id)]

    assert (started, status) == ([run_id], "COMPLETED")
    assert full == [(None, "sending")], "the row from before the disk was full"
    assert [(record.run_id, record.status) for record in records_of(home)] == [(run_id, "COMPLETED")]
