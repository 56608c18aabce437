"""Cells in one or two kernels under faults drawn by a seed, the calm after them, and what must hold then.

``python -m tests.faults.schedules SEED COUNT`` runs that many from that seed on, and stops at the first that fails.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from random import Random

from dataflow_magic.errors import DataflowError, OutcomeUnknown
from dataflow_magic.session.run import Run
from tests.faults.proxy import CALM, FAULTS, Fault, Seen
from tests.faults.simulation import Killed
from tests.faults.world import (
    Kernel,
    SimulatedWorld,
    a_simulated_world,
    check_that_each_run_is_there_once,
    records_of,
    until_settled,
)

CLOCKS = (0, 0, 0, 200, -200, 3600, -3600)
"""Seconds the service's clock is ahead: right, off within what a signature may be, an hour off."""
LATENCIES = (0.0, 0.0, 0.01, 0.5, 5.0)
LATENESSES = (0.0, 5.0, 60.0, 280.0, 500.0)
"""Seconds a late request takes: some beyond the 300 for which its signature counts."""
KILLS = (0.0, 0.0, 0.001, 0.1, 2.0, 40.0)
"""Seconds from a start's arrival to the kernel's end."""


def run_schedules(first: int, count: int) -> None:
    """Run schedules one after another; the first that fails raises AssertionError, which has its seed and its story."""
    # Each commit waits for the disk, and this is about order, not about disks.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - only this run's folder in it
    for seed in range(first, first + count):
        folder = Path(tempfile.mkdtemp(dir=memory))
        try:
            with a_simulated_world(folder / "service", Random(seed)) as world:  # noqa: S311 - to be drawn again
                Schedule(world, folder / "home", seed).run()
        except Exception as error:
            error.add_note(f"python -m tests.faults.schedules {seed} 1 repeats it")
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Schedule:
    """Some cells under faults, and the calm after them."""

    def __init__(self, world: SimulatedWorld, home: Path, seed: int) -> None:
        self.world = world
        self.seed = seed
        self.random = world.simulation.random
        random.seed(seed)  # of the intervals between polls
        self.home = home
        self.job_id = world.new_job("job")
        self.story: list[str] = []
        self.crashing: Kernel | None = None
        self.doomed: list[Kernel] = []
        self.answered: list[Run] = []
        self.kernels: list[Kernel] = []

    def run(self) -> None:
        world, random = self.world, self.random
        world.service.clock_ahead_seconds = random.choice(CLOCKS)
        world.lag_seconds = random.choice((0, 0, 3, 20))
        world.shuffle = random if random.random() < 0.5 else None
        world.proxy.plan = self.plan
        world.proxy.latency = lambda: random.choice(LATENCIES)
        world.proxy.lateness = lambda: random.choice(LATENESSES)
        try:
            for _ in range(random.choice((1, 2, 2))):
                self.new_kernel()
            for _ in range(random.randint(1, 3)):
                self.cell()
            self.calm_down()
            self.check()
        finally:
            world.proxy.plan = lambda _: CALM
            for kernel in self.kernels:
                kernel.end()

    def new_kernel(self) -> Kernel:
        kernel = Kernel(self.world, self.home)
        self.kernels.append(kernel)
        return kernel

    def cell(self) -> None:
        """Run one cell in one kernel, or the same in all."""
        parameters = {"a": self.random.choice((1, 2))}
        alive = [kernel for kernel in self.kernels if not kernel.is_dead]
        chosen = alive if self.random.random() < 0.5 else [self.random.choice(alive)]
        self.crashing = chosen[0] if self.random.random() < 0.2 else None
        self.story.append(f"{len(chosen)} start {parameters}, clock {self.world.service.clock_ahead_seconds}")
        calls = [partial(kernel.start, self.job_id, parameters) for kernel in chosen]
        for result in self.world.simulation.side_by_side(calls):
            match result:
                case Run():
                    self.answered.append(result)
                case Killed():
                    self.story.append("killed")
                case DataflowError() if not isinstance(result, OutcomeUnknown):
                    self.story.append(f"refused: {type(result).__name__}")
                case _:
                    raise result
        self.crashing = None
        self.world.simulation.run_for(self.random.choice((0, 0, 3, 60)))
        for kernel in alive:
            if kernel.is_dead:
                self.world.simulation.side_by_side([partial(self.new_kernel().look_around, self.job_id)])

    def plan(self, seen: Seen) -> Fault:
        fault = CALM
        if self.random.random() < (0.6 if seen.is_start else 0.1):
            fault = self.random.choice(FAULTS)
        if seen.is_start:
            self.story.append(fault.name)
            if self.crashing:
                self.story.append("kill")
                self.doomed.append(self.crashing)
                self.world.loop.call_later(self.random.choice(KILLS), self.crashing.kill)
        return fault

    def calm_down(self) -> None:
        """Let the kernels find out the rest with nothing more going wrong but requests that are still late."""
        world = self.world
        world.proxy.plan, world.lag_seconds, world.shuffle = lambda _: CALM, 0, None
        # A machine that sleeps meanwhile sees the time leap.
        world.simulation.now += self.random.choice((0, 0, 400))
        for kernel in self.doomed:
            kernel.kill()
        self.new_kernel().look_around(self.job_id)
        until_settled(world, self.home, str(self))
        world.simulation.run_for(2 * max(LATENESSES))

    def check(self) -> None:
        check_that_each_run_is_there_once(self.world, self.job_id, self.home, str(self))
        keys = {record.key for record in records_of(self.home)}
        assert {run.key for run in self.answered} <= keys, f"{self}: a cell that returned is in the ledger"

    def __str__(self) -> str:
        return f"seed {self.seed} ({'; '.join(self.story)})"


if __name__ == "__main__":
    first, count = map(int, sys.argv[1:])
    begin = time.monotonic()
    run_schedules(first, count)
    print(f"{count} schedules from seed {first} on, {time.monotonic() - begin:.0f} s: each run once")  # noqa: T201
