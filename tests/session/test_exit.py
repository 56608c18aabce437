"""A script that ends while a run is active prints nothing of this package's."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys, time, dataflow_magic
from dataflow_magic import api
started = [dataflow_magic.run(job) for job in ("daily_sales", "slow", "broken")]
time.sleep(float(sys.argv[1]))
"""
IN_A_THREAD = """
import threading, dataflow_magic
run = dataflow_magic.run("slow")
def wait():
    threading.main_thread().join()
    print(run.cancel(), run.wait(30), run.status, flush=True)
threading.Thread(target=wait).start()
"""


def output_of(environment, script: str, *arguments: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout, done.returncode


@pytest.mark.parametrize("seconds", ["0", "0.1", "0.2", "0.24", "0.26", "0.3"])
def test_a_script_that_ends_while_a_run_is_active_prints_nothing(environment, seconds):
    assert output_of(environment, SCRIPT, seconds) == ("", 0)


def test_a_thread_that_waits_after_the_script_has_ended_sees_the_end_of_its_run(environment):
    assert output_of(environment, IN_A_THREAD) == ("None None CANCELED\n", 0)
