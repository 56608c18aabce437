"""A service that dies by SIGKILL during a start, and starts again, has the run once; the kernel finds it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from dataflow_magic.cell.run import make_request
from dataflow_magic.session.session import Session
from dataflow_magic.session.watch import Pace
from tests.faults.proxy import CALM, Fault, Port, a_proxy
from tests.faults.world import no_local_service, records_of
from tests.helpers import ACCESS_KEY, SECRET_KEY, eventually


@contextmanager
def a_service(folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.killed_service", str(folder)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            yield urlsplit(process.stdout.readline().decode().strip()).port or 0, process
        finally:
            process.kill()


def test_the_kernel_finds_a_run_whose_service_died_before_it_answered(tmp_path):
    home, folder = tmp_path / "home", tmp_path / "service"
    with a_service(folder) as (port, service), a_proxy(port) as proxy:
        session = Session(
            {
                "DATAFLOW_MAGIC_HOME": str(home),
                "DATAFLOW_TARGET": f"http://127.0.0.1:{proxy.port}",
                "DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY,
                "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY,
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

        run = session.start(make_request("daily_delays", {"a": 1}), session.target())
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
