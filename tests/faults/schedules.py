"""A few cells in one or two kernels under faults drawn by a seed, the calm after them, and what must hold then.

``python -m tests.faults.schedules SEED COUNT`` runs that many, from that seed on, and stops at the first that fails.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import shutil
import sys
import tempfile
from pathlib import Path
from random import Random

from dataflow_magic.errors import DataflowError, OutcomeUnknown
from dataflow_magic.session.run import Run
from tests.faults.proxy import CALM, FAULTS, Fault, Seen
from tests.faults.world import (
    PATIENT_SECONDS,
    Kernel,
    World,
    a_world,
    check_that_each_run_is_there_once,
    in_background,
    records_of,
    until_settled,
)
from tests.helpers import eventually

CLOCKS = (0, 0, 0, 200, -200, 3600, -3600)
"""Seconds the service's clock is ahead: right, off and taken, an hour off."""


def main(first: int, count: int) -> None:
    """Run schedules one after another against one service."""
    # Each commit waits for the disk, and this is about order, not about disks.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of its own in it
    folder = Path(tempfile.mkdtemp(dir=memory))
    try:
        with a_world(folder / "service") as world:
            for seed in range(first, first + count):
                Schedule(world, seed).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{count} schedules from seed {first} on: every run once")  # noqa: T201


class Schedule:
    """A few cells under faults, and the calm after them."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.seed = seed
        self.random = Random(seed)  # noqa: S311 - drawn by a seed, to be drawn again
        self.home = world.service.folder.parent / f"home-{seed}"
        self.job_id = world.new_job(f"job_{seed}")
        self.story: list[str] = []
        self.release = 0.0
        self.crashing: Kernel | None = None
        self.answered: list[Run] = []

    def run(self) -> None:
        world, random = self.world, self.random
        world.service.clock_ahead_seconds = random.choice(CLOCKS)
        world.lag_seconds = random.choice((0, 0, 3, 20))
        world.shuffle = random if random.random() < 0.5 else None
        world.proxy.plan, world.proxy.may_pass = (
            self.plan,
            lambda: world.service.passed_seconds >= self.release,
        )
        kernels = [Kernel(world, self.home) for _ in range(random.choice((1, 1, 2)))]
        try:
            for _ in range(random.randint(1, 3)):
                kernels = self.cell(kernels)
            self.calm_down(kernels)
            self.check()
        finally:
            world.proxy.plan = lambda _: CALM
            for kernel in kernels:
                kernel.end()
            shutil.rmtree(self.home, ignore_errors=True)

    def cell(self, kernels: list[Kernel]) -> list[Kernel]:
        """Run one cell in one kernel, or the very same in all; returns the kernels there are now."""
        parameters = {"a": self.random.choice((1, 2))}
        chosen = kernels if self.random.random() < 0.3 else [self.random.choice(kernels)]
        self.crashing = chosen[0] if self.random.random() < 0.2 else None
        self.story.append(f"{len(chosen)} start {parameters}, clock {self.world.service.clock_ahead_seconds}")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            cells = [(kernel, pool.submit(kernel.start, self.job_id, parameters)) for kernel in chosen]
            for kernel, cell in cells:
                try:
                    self.answered.append(cell.result(60))
                except OutcomeUnknown:
                    raise
                except (Exception, concurrent.futures.CancelledError) as error:
                    if not (kernel.is_dead or isinstance(error, DataflowError)):
                        raise
                    self.story.append("killed" if kernel.is_dead else f"refused: {type(error).__name__}")
        self.crashing = None
        return [kernel if not kernel.is_dead else self.new_kernel() for kernel in kernels]

    def new_kernel(self) -> Kernel:
        kernel = Kernel(self.world, self.home)
        in_background(lambda: kernel.look_around(self.job_id)).join(60)
        return kernel

    def plan(self, seen: Seen) -> Fault:
        fault = CALM
        if self.random.random() < (0.6 if seen.is_start else 0.1):
            fault = self.random.choice(FAULTS)
        if seen.is_start:
            self.story.append(fault.name)
            if fault.late:
                self.release = self.world.service.passed_seconds + self.random.choice((0, 5, 60, 280, 500))
            if self.crashing:
                self.story.append("kill")
                in_background(self.crashing.kill)
        return fault

    def calm_down(self, kernels: list[Kernel]) -> None:
        """Let all be found out with nothing more going wrong, late requests included."""
        world = self.world
        world.proxy.plan, world.lag_seconds, world.shuffle = lambda _: CALM, 0, None
        # Mostly at one leap: to see time pass look by look costs sixty looks.
        asyncio.run(world.sleep(self.random.choice((0, 400, 400, 400))))
        kernels.append(Kernel(world, self.home, answer_seconds=PATIENT_SECONDS))
        kernels[-1].look_around(self.job_id)
        until_settled(self.home, str(self))
        self.release = 0.0
        eventually(lambda: not world.proxy.late, "late requests were passed on")

    def check(self) -> None:
        check_that_each_run_is_there_once(self.world, self.job_id, self.home, str(self))
        keys = {record.key for record in records_of(self.home)}
        assert {run.key for run in self.answered} <= keys, f"{self}: a confirmed cell is in the ledger"

    def __str__(self) -> str:
        return f"seed {self.seed} ({'; '.join(self.story)})"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
