"""A sweep with a limit, kernels that die and others that continue it, and a service that fails, all drawn by a seed.

``python -m tests.faults.sweeps SEED COUNT`` runs that many from that seed on, and prints which failed and what was seen.
Counts at the service alone how many runs are alive, and which are started twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, NoReturn

from dataflow_magic.cell.run import make_request
from dataflow_magic.client.objects import NoObject
from dataflow_magic.errors import BadState, DataflowError
from dataflow_magic.models.marker import Marker
from dataflow_magic.models.request import SweepPlan, SweepRequest
from dataflow_magic.models.view import NOT_STARTED, UNCLEAR
from dataflow_magic.session.sweep.handle import Sweep
from tests.faults.drawing import LATENCIES, LATENESSES, MARKERS
from tests.faults.fake import CONDITION, FakeRun, Rules
from tests.faults.outcome import Outcome, run_many
from tests.faults.proxy import CALM, NOT_SENT, SENT, Fault, Seen
from tests.faults.simulation import Killed
from tests.faults.world import Kernel, World, a_simulated_world

__all__ = ["FAULTS", "run_sweep"]

FAULTS = ("over the limit", "started twice", "left out", "two drivers")
"""What must not happen."""
COLUMNS = ("kernels", "started", "retried", "not started", "unclear", *FAULTS)
RULES = (
    *(Rules(),) * 4,
    Rules(page_cap=3, echo_limit="none", count="missing", ready_seconds=0),
    Rules(parameters="objects", numbers="text", condition="filled", zone="Z"),
    Rules(parameters_when="running", running_seconds=300),
    Rules(order="oldest", slash="end", running_seconds=1),
)
"""Services that show enough of a run to distinguish a lost start from the others of its sweep."""
LAGS = (0, 0, 3, 20)
"""Seconds until lists have a run, below what a search for a lost start allows for."""
WAITS = (0.0, 0.5, 3.0, 30.0, 60.0, 400.0)
DOWN = (1.0, 30.0, 200.0)
GONE = Fault("the service is down", reads=False, answer=lambda _: None)
MOST_SETTLING = 12 * 3600.0
"""Simulated seconds in which a sweep ends once nothing goes wrong any more: lost starts are looked for one after another."""
STEP = 20.0
AT_ONCE = 4
"""The most starts that are under way when the limit is lowered."""


class NoObjects:
    """Object storage without any object."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def none(*_: Any, **__: Any) -> NoReturn:
            raise NoObject(name)

        return none


def run_sweep(seed: int) -> Outcome:
    """Run the schedule of a seed."""
    # Each commit waits for the disk, and this is about order, not about disks.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - only this run's folder in it
    folder = Path(tempfile.mkdtemp(dir=memory))
    outcome = Outcome(seed, FAULTS)
    try:
        with a_simulated_world(seed) as world:
            _Schedule(world, folder / "home", outcome).run()
    except (Exception, Killed):  # noqa: BLE001 - reported with its seed
        outcome.error = traceback.format_exc()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


class _Schedule:
    """One sweep, what happens to it, and the calm after that."""

    def __init__(self, world: World, home: Path, outcome: Outcome) -> None:
        self.world = world
        self.service = world.service
        self.random = world.simulation.random
        self.home = home
        self.outcome = outcome
        self.job_id = self.service.new_job("job")
        self.kernels: list[Kernel] = []
        self.key = ""
        self.days = self.random.choice((1, 3, 5, 8))
        self.retry = self.random.choice((0, 0, 1, 2))
        self.limits: list[float] = []
        """The limits that were in force, one after another."""
        self.since: dict[int, int] = {}
        """By day, the number of limits that had been in force when the newest request of a start was seen."""
        self.may_exceed = 0
        """Starts that were under way when the limit was lowered, and still end."""
        self.faults = self.random.choice((0.0, 0.1, 0.3, 0.6))
        """The share of starts to which something happens."""
        self.look_faults = self.random.choice((0.0, 0.1, 0.3))
        self.down_until = 0.0
        self.at_work: dict[int, Callable[[], None]] = {}
        """By number of pieces of work from now on: what happens then."""
        self.at_arrival: list[Callable[[], object]] = []

    def run(self) -> None:
        world, random = self.world, self.random
        self.draw_service()
        world.proxy.plan = self.plan
        world.proxy.latency = lambda: random.choice(LATENCIES)
        world.proxy.lateness = lambda: random.choice(LATENESSES)
        world.simulation.after_work = lambda _: self.work_done()
        try:
            self.begin()
            for _ in range(random.choice((1, 2, 3, 5))):
                if self.key:
                    world.simulation.run_for(random.choice(WAITS))
                    self.happen()
            self.calm_down()
            self.judge()
        finally:
            world.proxy.plan = lambda _: CALM
            world.simulation.after_work = lambda _: None
            for kernel in self.kernels:
                kernel.end()

    def draw_service(self) -> None:
        random, service = self.random, self.service
        service.rules = random.choice(RULES)
        service.lag_seconds = random.choice(LAGS)
        failing = random.choice((0, 0, 0.2, 0.5))
        service.new_end = lambda: "FAILED" if random.random() < failing else "COMPLETED"
        service.on_start = self.started

    def new_kernel(self) -> Kernel:
        kernel = Kernel(self.world, self.home)
        self.kernels.append(kernel)
        # Where the log of a failed run is looked for.
        kernel.session._services.connect(kernel.session.target())._objects = NoObjects()
        return kernel

    @property
    def alive(self) -> list[Kernel]:
        return [kernel for kernel in self.kernels if not kernel.is_dead]

    # The sweep

    def begin(self) -> None:
        """Start the sweep in a first kernel; start it again where its first run is refused."""
        random = self.random
        most = random.choice((1, 1, 2, 3, None))
        self.limits.append(inf if most is None else most)
        marker: Marker = random.choice(MARKERS)
        self.outcome.kinds |= {f"marker {marker}", "no limit" if most is None else "limit"}
        plan = SweepPlan(most, reverse=random.random() < 0.3, retry=self.retry)
        request = SweepRequest(
            ("$day",), tuple(self.request(day, marker) for day in range(self.days)), plan=plan
        )
        kernel = self.new_kernel()
        self.arm_kill(kernel, 0.3)
        for _ in range(5):
            try:
                self.key = kernel.session.sweep(request, kernel.session.target()).key
            except Killed:
                break
            except DataflowError as error:
                self.tell(f"refused: {error}")
                assert not self.service.runs, "a sweep that was refused has started nothing"
            else:
                self.tell(
                    f"sweep {self.key} of {self.days} with {most}, {self.retry} retries, {plan.reverse}"
                )
                return
        self.find_key()

    def find_key(self) -> None:
        """Read in the ledger which sweep a killed kernel has started, in the next one."""
        kernel = self.new_kernel()
        found = kernel.session._book.table.newest(1)
        self.key = found[0].key if found else ""
        assert found or not self.service.runs, "a sweep is in the ledger before its first run is started"

    def request(self, day: int, marker: Marker) -> Any:
        return make_request(
            f"id:{self.job_id}",
            {"day": day},
            marker=marker,
            nrn=CONDITION["nrn"],
            script_path=CONDITION["scriptPath"],
            log_path=CONDITION["logPath"],
            workers=2,
            timeout=360,
        )

    def sweep(self, kernel: Kernel) -> Sweep:
        """Return the sweep in a kernel; it is continued there where no other kernel drives it."""
        found = kernel.session.get(self.key, target=kernel.session.target)
        assert isinstance(found, Sweep)
        return found

    # What happens

    def happen(self) -> None:
        """Let one thing happen, at once or at a point of what follows."""
        events: Mapping[str, Callable[[], None]] = {
            "kernel killed": self.kill,
            "second kernel": self.attach_elsewhere,
            "watcher resumes": self.resume_watched,
            "ledger deleted": self.delete_ledger,
            "paused": self.pause,
            "limit changed": self.change_limit,
            "service restarted": self.restart,
            "run canceled by somebody": self.cancel_somewhere,
        }
        self.go_on()
        if not self.alive:  # it died while it attached
            return
        names = (*("kernel killed",) * 3, *events)
        name = self.random.choice(names)
        self.outcome.kinds.add(name)
        try:
            events[name]()
        except (DataflowError, Killed) as error:
            self.tell(f"{name}: {error!r}")
        self.go_on()

    def go_on(self) -> None:
        """Attach the sweep in a new kernel where none lives."""
        if not self.alive:
            self.world.simulation.run_for(self.random.choice(WAITS))
            kernel = self.new_kernel()
            self.arm_kill(kernel, 0.3)
            with contextlib.suppress(DataflowError, Killed):
                self.sweep(kernel)
                self.tell("the next kernel attaches")

    def arm_kill(self, kernel: Kernel, chance: float) -> None:
        """Let a kernel die at a point of its next work, with that chance."""
        random = self.random
        if random.random() < chance:
            self.outcome.kinds.add("killed at work")
            if random.random() < 0.7:
                self.at_work[random.choice((1, 2, 3, 4, 6, 9, 13, 20))] = partial(self.kill_one, kernel)
            else:
                self.at_arrival.append(partial(self.world.loop.call_soon, self.kill_one, kernel))

    def kill(self) -> None:
        self.kill_one(self.random.choice(self.alive))

    def kill_one(self, kernel: Kernel) -> None:
        if not kernel.is_dead:
            self.tell("a kernel is killed")
            kernel.kill()

    def attach_elsewhere(self) -> None:
        """Attach the sweep in one more kernel, and try to drive it there."""
        kernel = self.new_kernel()
        try:
            self.sweep(kernel).resume()
        except BadState as error:
            self.tell(f"a second kernel: {error}")

    def resume_watched(self) -> None:
        """Resume the sweep in a kernel that took it up some time ago, if any, without a look at the ledger before."""
        known = [
            sweep for kernel in self.alive for sweep in kernel.session._book.sweeps if sweep.key == self.key
        ]
        if known:
            try:
                self.random.choice(known).resume()
            except BadState as error:
                self.tell(f"a watcher: {error}")

    def delete_ledger(self) -> None:
        """Delete the ledger while the kernel that drives the sweep lives, which writes it again."""
        if drivers := [
            sweep for kernel in self.alive for sweep in kernel.session._book.sweeps if sweep.drives
        ]:
            self.tell("the ledger is deleted")
            for path in self.home.glob("ledger.sqlite3*"):
                path.unlink()
            self.random.choice(drivers).pause()
            with contextlib.suppress(BadState):
                self.random.choice(drivers).resume()

    def pause(self) -> None:
        kernel = self.random.choice(self.alive)
        sweep = self.sweep(kernel)
        sweep.pause()
        self.tell(f"paused: {sweep.counts}")
        self.world.simulation.run_for(self.random.choice(WAITS))
        if self.random.random() < 0.7:
            sweep.resume()

    def change_limit(self) -> None:
        sweep = self.sweep(self.random.choice(self.alive))
        most = self.random.choice((1, 2, 4))
        self.tell(f"limit {most}")
        if most < self.limits[-1]:
            self.may_exceed = AT_ONCE
        # Either is in force while the new one is written.
        self.limits.append(max(most, self.limits[-1]))
        sweep.max_parallel = most
        self.limits.append(most)

    def restart(self) -> None:
        """Let the service be away for a while; some of its runs fail by that."""
        self.down_until = self.world.simulation.now + self.random.choice(DOWN)
        self.tell(f"the service is down until {self.down_until:.0f}")
        for run in self.service.runs:
            if self.service.is_alive(run) and self.random.random() < 0.5:
                run.is_broken = True

    def cancel_somewhere(self) -> None:
        if alive := [run for run in self.service.runs if self.service.is_alive(run)]:
            self.random.choice(alive).canceled = self.world.time()

    # What requests meet

    def plan(self, seen: Seen) -> Fault:
        random = self.random
        self.note(seen)
        if self.world.simulation.now < self.down_until:
            return GONE
        if not seen.is_start:
            return random.choice(NOT_SENT + SENT) if random.random() < self.look_faults else CALM
        fault = random.choice(NOT_SENT + SENT) if random.random() < self.faults else CALM
        self.tell(f"POST of day {_day(json.loads(seen.body))}: {fault.name}")
        for happens in self.at_arrival:
            happens()
        self.at_arrival = []
        return fault

    def note(self, seen: Seen) -> None:
        if seen.is_start:
            self.since[_day(json.loads(seen.body))] = len(self.limits) - 1

    def work_done(self) -> None:
        self.at_work = {number - 1: event for number, event in self.at_work.items()}
        if 0 in self.at_work:
            # On the service's loop: a kernel that ends here would run on to the end of its turn.
            self.world.loop.call_soon(self.at_work.pop(0))

    # What the service sees

    def started(self, run: FakeRun) -> None:
        """Count what is alive when a run is started, and look at the earlier runs of its day."""
        service, day = self.service, _day({"parameters": run.parameters})
        alive = sum(map(service.is_alive, service.runs))
        most = max(self.limits[self.since[day] :])
        if alive > most and self.may_exceed:
            self.may_exceed -= 1
        elif alive > most:
            self.wrong("over the limit", f"{alive} runs are alive, of {most}")
        earlier = [service.state(each) for each in service.runs if each is not run and self.day(each) == day]
        if any(state != "FAILED" for state in earlier):
            self.wrong("started twice", f"day {day} after {earlier}")
        if len(earlier) > self.retry:
            self.wrong("started twice", f"day {day} again after {len(earlier)} failed runs")

    def day(self, run: FakeRun) -> int:
        return _day({"parameters": run.parameters})

    # The end

    def calm_down(self) -> None:
        """Let the sweep end while nothing more goes wrong; its user resumes it where it says that it has stopped."""
        world = self.world
        world.proxy.plan = self.calm_plan
        self.at_work, self.at_arrival = {}, []
        self.tell("calm")
        if not self.key:
            return
        end = world.simulation.now + MOST_SETTLING
        while world.simulation.now < end and not self.is_done():
            world.simulation.run_for(STEP)

    def is_done(self) -> bool:
        """Whether the sweep has come as far as it can; resumes it where it waits for its user."""
        if not self.alive:
            self.new_kernel()
        sweeps = [self.sweep(kernel) for kernel in self.alive]
        drivers = [sweep for sweep in sweeps if sweep.is_sending]
        if len(drivers) > 1:
            self.wrong("two drivers", f"{len(drivers)} kernels start its runs")
        if drivers or not any(sweep.is_over for sweep in sweeps):
            return False
        resumed = self.driver(sweeps)
        resumed.resume()
        self.world.simulation.run_for(STEP)
        return resumed.is_over and not self.resumable(resumed)

    def driver(self, sweeps: list[Sweep]) -> Sweep:
        """Return the sweep in the kernel that may start its runs."""
        kernels = self.alive
        (record,) = kernels[-1].session._book.table.find(self.key)
        owner = next(
            (kernel for kernel in kernels if kernel.session._ledger.kernel == record.kernel), kernels[-1]
        )
        return sweeps[kernels.index(owner)]

    def resumable(self, sweep: Sweep) -> bool:
        """Whether resuming starts more: not where runs whose outcome is unclear take up the whole limit."""
        counts = sweep.counts
        if "whole limit" in (sweep.error or ""):
            return False
        return bool(counts.get("UNSENT") or counts.get(NOT_STARTED))

    def calm_plan(self, seen: Seen) -> Fault:
        self.note(seen)
        return CALM

    def judge(self) -> None:
        """Compare what the sweep says of each day with the service's runs of it."""
        counts, service = self.outcome.counts, self.service
        counts["kernels"], counts["started"] = len(self.kernels), len(service.runs)
        if not self.key:
            return
        sweep = self.driver([self.sweep(kernel) for kernel in self.alive])
        self.tell(f"{dict(sweep.counts)} {sweep.error}")
        counts["retried"] = len(service.runs) - len({self.day(run) for run in service.runs})
        shown = dict(sweep._sending.runs)
        unclear = sum(run.status == UNCLEAR for run in shown.values())
        for day in range(self.days):
            self.judge_day(day, shown.get(day), unclear)

    def judge_day(self, day: int, shown: Any, unclear: int) -> None:
        counts, service = self.outcome.counts, self.service
        runs = [run for run in service.runs if self.day(run) == day]
        states = [service.state(run) for run in runs]
        status = shown.status if shown else "UNSENT"
        if status == UNCLEAR:
            counts["unclear"] += 1
        elif not runs:
            # A sweep may wait for its user where the outcome of others is unclear.
            if status in {"UNSENT", NOT_STARTED} and unclear >= self.limits[-1]:
                counts["not started"] += 1
            else:
                self.wrong("left out", f"day {day} is {status}, and has no run")
        elif status != states[-1] or shown.run_id != runs[-1].run_id:
            self.wrong("left out", f"day {day} is shown as {status}, and is {states}")
        elif states[-1] == "FAILED" and len(runs) <= self.retry:
            self.wrong("left out", f"day {day} is to be tried {self.retry} times more, and is {states}")

    def wrong(self, what: str, words: str) -> None:
        self.outcome.counts[what] += 1
        self.tell(f"WRONG: {what}: {words}")

    def tell(self, event: str) -> None:
        self.outcome.story.append(f"{self.world.simulation.now:.3f} {event}")


def _day(asked: Mapping[str, Any]) -> int:
    return int(asked["parameters"]["$day"])


if __name__ == "__main__":
    sys.exit(run_many(run_sweep, COLUMNS, "tests.faults.sweeps", sys.argv[1:]))
