"""A process that was forked from a kernel: it never hangs, and it neither ends nor keeps what belongs to its parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow_magic.ledger.ledger import Ledger
from tests.helpers import eventually

PROGRAM = """
import asyncio, multiprocessing, os, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside a thread, which is what is tried
import dataflow_magic
from dataflow_magic import api
from dataflow_magic.errors import DataflowError
from tests.helpers import make_request

def refused(call):
    try:
        call()
    except DataflowError as error:
        print(error, flush=True)
    else:
        print("not refused", flush=True)

async def awaited(run):
    await run

run = dataflow_magic.run("slow")
"""
IN_A_FORK = """
def child():
    {calls}

process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join(30)
print("ended", process.exitcode)
process.kill()
print(run.status in ("READY", "RUNNING"))
"""


def program(environment, more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + more],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def output_of(environment, more: str) -> list[str]:
    with program(environment, more) as process:
        try:
            return process.communicate(timeout=60)[0].splitlines()
        finally:
            process.kill()


def test_what_needs_the_parent_of_a_fork_is_refused_in_one_line(environment):
    calls = [
        "run.result",
        "run.wait",
        "run.logs",
        "run.cancel",
        "lambda: asyncio.run(awaited(run))",
        "lambda: session.start(make_request('slow', {}), session.target())",
        "lambda: session.wait_for([run])",
    ]
    more = "session = api.get_session()\n" + IN_A_FORK.format(
        calls=f"for c in [{', '.join(calls)}]: refused(c)"
    )
    *refusals, ended, is_active = output_of(environment, more)

    assert len(refusals) == len(calls)
    for refusal in refusals:
        assert refusal.startswith("this run belongs to process ")
        assert refusal.endswith(
            ", which started it, and this process was forked from it: wait, cancel and read logs there, or start a run "
            "here with dataflow_magic.run"
        )
    assert (ended, is_active) == ("ended 0", "True")


def test_a_sweep_of_the_parent_is_refused_as_well(environment):
    calls = [
        "sweep.result",
        "sweep.wait",
        "sweep.cancel",
        "lambda: asyncio.run(awaited(sweep))",
    ]
    more = """
from dataflow_magic.models.request import SweepRequest
session = api.get_session()
requests = tuple(make_request("slow", {"a": a}) for a in (1, 2))
sweep = session.sweep(SweepRequest(("$a",), requests), session.target())
sweep.wait_sent()
""" + IN_A_FORK.format(calls=f"for c in [{', '.join(calls)}]: refused(c)")
    *refusals, ended, is_active = output_of(environment, more)

    assert [refusal.startswith("this run belongs to process ") for refusal in refusals] == [True] * 4
    assert (ended, is_active) == ("ended 0", "True")


def test_a_fork_starts_runs_of_its_own_and_leaves_those_of_its_parent(environment):
    more = IN_A_FORK.format(
        calls="print(dataflow_magic.run('daily_sales').result().status, len(dataflow_magic.runs()), flush=True); "
        "api.close_session(); session.close()"
    )

    assert output_of(environment, "session = api.get_session()\n" + more) == [
        "COMPLETED 1",
        "ended 0",
        "True",
    ]


def test_a_fork_that_outlives_a_killed_kernel_does_not_keep_its_runs(environment, tmp_path):
    more = """
child = os.fork()
if child == 0:
    print("forked", os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""
    with program(environment, more) as killed:
        assert killed.stdout is not None
        fork = int(killed.stdout.readline().split()[1])
        other = Ledger(tmp_path / "home" / "ledger.sqlite3")
        assert other.orphans() == []
        killed.kill()
        killed.wait()

        os.kill(fork, 0)  # it lives
        eventually(lambda: [record.job for record in other.orphans()] == ["slow"], "its run has no owner")
        other.close()
        assert killed.stdin is not None
        killed.stdin.close()


SLEEP = "[sys.executable, '-c', 'import time; time.sleep(60)']"
CHILDREN = {
    "multiprocessing, spawn": "child = started('spawn')",
    "multiprocessing, forkserver": "child = started('forkserver')",
    "multiprocessing, fork": "child = started('fork')",
    "subprocess": f"child = subprocess.Popen({SLEEP}).pid",
    "subprocess, close_fds=False": f"child = subprocess.Popen({SLEEP}, close_fds=False).pid",
    "os.posix_spawn": f"child = os.posix_spawn(sys.executable, {SLEEP}, os.environ)",
    "os.spawnv": f"child = os.spawnv(os.P_NOWAIT, sys.executable, {SLEEP})",
}


@pytest.mark.parametrize("start", CHILDREN.values(), ids=CHILDREN)
def test_no_process_that_a_killed_kernel_has_started_keeps_its_runs(environment, tmp_path, start):
    more = f"""
import subprocess
def started(method):
    process = multiprocessing.get_context(method).Process(target=time.sleep, args=(60,))
    process.start()
    return process.pid
{start}
print("started", child, flush=True)
sys.stdin.read()
"""
    with program(environment, more) as killed:
        assert killed.stdout is not None
        child = int(killed.stdout.readline().split()[1])
        other = Ledger(tmp_path / "home" / "ledger.sqlite3")
        try:
            assert other.orphans() == []
            killed.kill()
            killed.wait()
            os.kill(child, 0)  # it lives
            eventually(lambda: [record.job for record in other.orphans()] == ["slow"], "its run has no owner")
        finally:
            other.close()
            os.kill(child, signal.SIGKILL)


def test_a_kernel_that_was_forked_keeps_its_runs(environment, tmp_path):
    more = """
for _ in range(2):
    if os.fork() == 0:
        os._exit(0)
    os.wait()
run.cancel()
run.wait()
print(run.status, len(api.get_session().records()), flush=True)
sys.stdin.read()
"""
    with program(environment, more) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "CANCELED 1\n"
        other = Ledger(tmp_path / "home" / "ledger.sqlite3")
        eventually(lambda: other.records()[0].status == "CANCELED", "the end is in the ledger")
        assert [path.name for path in (tmp_path / "home" / "kernels").iterdir()].count(
            other.records()[0].kernel
        )
        other.close()
        process.stdin.close() if process.stdin else None
