"""The clocks of a machine: processes of one boot compare their steady time, and a caller's own clock is its own."""

import subprocess
import sys
import time

from dataflow_magic.client.clock import Clock, system_clock

SHOW = "from dataflow_magic.client.clock import system_clock as c; print(c().boot, c().steady())"


def test_two_processes_of_a_boot_count_from_the_same_moment():
    before = system_clock().steady()
    done = subprocess.run(
        [sys.executable, "-c", SHOW], capture_output=True, text=True, check=True, timeout=60
    )
    boot, steady = done.stdout.split()

    if (
        sys.platform == "linux"
    ):  # elsewhere no boot has a name, and each process compares its own values alone
        assert boot == system_clock().boot
    assert before < float(steady) < system_clock().steady()


def test_the_system_s_clock_is_the_default():
    assert Clock.of(time.time) is system_clock()
    assert Clock.of(time.time).now is time.time


def test_a_clock_that_is_handed_in_is_steady_unless_another_is_given():
    def now() -> float:
        return 1.0

    def steady() -> float:
        return 2.0

    assert Clock.of(now).steady is now
    assert Clock.of(now, steady).steady is steady
    assert Clock.of(now).boot != system_clock().boot
