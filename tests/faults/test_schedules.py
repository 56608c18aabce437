"""Whatever goes wrong between kernels and service: no run is started twice, none is forgotten.

What counts is what the service has. ``DATAFLOW_FAULT_SCHEDULES`` says how many schedules there are (1,000),
``DATAFLOW_FAULT_SEED`` with which seed they begin (0).
"""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

SCHEDULES = int(os.environ.get("DATAFLOW_FAULT_SCHEDULES", "1000"))
SEED = int(os.environ.get("DATAFLOW_FAULT_SEED", "0"))
WORKERS = 2
SECONDS_EACH = 3
"""Far more than one takes, on the slowest machine."""


def test_every_run_is_started_once_and_is_in_the_ledger_whatever_goes_wrong():
    # Without coverage, which doubles their time and whose lines other tests reach too.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    bounds = [SEED + SCHEDULES * worker // WORKERS for worker in range(WORKERS + 1)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.faults.schedules", str(first), str(end - first)],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first, end in pairwise(bounds)
    ]
    try:
        said = [worker.communicate(timeout=60 + SECONDS_EACH * SCHEDULES) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()

    for worker, (out, trouble) in zip(workers, said, strict=True):
        print(out)  # noqa: T201 - which seeds were drawn
        assert worker.returncode == 0, trouble[-4000:]
