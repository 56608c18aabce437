"""Cells in one or two kernels, a service and other people, and what goes wrong between them, all drawn by a seed.

``python -m tests.faults.schedules SEED COUNT`` runs that many from that seed on, and prints which failed and what was seen.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from dataflow_magic.cell.run import make_request
from dataflow_magic.errors import DataflowError, OutcomeUnknown
from dataflow_magic.models.marker import Marker
from dataflow_magic.models.request import RunRequest
from dataflow_magic.session.run import LiveRun
from tests.faults.fake import CONDITION, Rules
from tests.faults.judge import FAULTS as WRONG
from tests.faults.judge import Said, Start, judge, said_by
from tests.faults.proxy import CALM, NOT_SENT, SENT, Fault, Seen
from tests.faults.simulation import Killed
from tests.faults.world import Kernel, World, a_simulated_world, records_of

__all__ = ["Outcome", "run_schedule", "table"]

REQUIRED = {name: CONDITION[name] for name in ("nrn", "scriptPath", "logPath")}
MARKERS: tuple[Marker, ...] = ("off", "off", "log-path", "parameter")
LATENCIES = (0.0, 0.0, 0.01, 0.5, 5.0)
LATENESSES = (0.0, 5.0, 60.0, 280.0, 500.0)
"""Seconds a late request takes: some beyond the 300 for which its signature counts."""
CLOCKS = (0, 0, 0, 0, 40, -40, 200, -200, 3600, -3600)
"""Seconds a clock is off: right, off within what a signature may be, an hour off."""
LAGS = (0, 0, 0, 3, 20, 100, 900)
VALUES = (1, 2, "1", "x", 1.5, True)
NEARLY: dict[str, tuple[Any, ...]] = {
    "1": (1.0, "01", " 1", True),
    "2": (2.0, "2 "),
    "'1'": ("1.0", "+1"),
    "'x'": ("X", " x"),
    "1.5": ("1.50",),
    "True": (1, "True"),
}
"""By a value as Python writes it: others that a loose comparison takes for it."""
say = partial(print, flush=True)

COLUMNS = (
    "starts",
    "answered",
    "found",
    "labelled",
    "UNCLEAR",
    "NOT_STARTED",
    "refused",
    "forgotten",
    *WRONG,
)
"""Of the table: how starts ended, and what must be 0."""
MOST_WAITING = 1000.0
"""Simulated seconds after which nothing that was drawn is still to happen."""
MOST_SETTLING = 5 * 3600.0
"""Simulated seconds until every start is settled: clocks that are an hour off, and lists that lag, add to each other."""


@dataclass
class Outcome:
    """What one schedule saw.

    Parameters
    ----------
    kinds
        What was drawn for it.
    """

    seed: int
    kinds: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def is_wrong(self) -> bool:
        return bool(self.error) or any(self.counts[name] for name in WRONG)

    def __str__(self) -> str:
        wrong = ", ".join(f"{self.counts[name]} {name}" for name in WRONG if self.counts[name])
        return f"seed {self.seed}: {wrong or self.error}\n  " + "\n  ".join(
            [*sorted(self.kinds), *self.story]
        )


def run_schedule(seed: int) -> Outcome:
    """Run the schedule of a seed."""
    # Each commit waits for the disk, and this is about order, not about disks.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - only this run's folder in it
    folder = Path(tempfile.mkdtemp(dir=memory))
    outcome = Outcome(seed)
    try:
        with a_simulated_world(seed) as world:
            _Schedule(world, folder / "home", outcome).run()
    except (Exception, Killed):  # noqa: BLE001 - reported with its seed
        outcome.error = traceback.format_exc()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def draw_rules(random: Random) -> Rules:
    """Draw how a service does what the pages leave open; half of them follow the pages' examples."""
    draw = random.choice
    return Rules(
        page_cap=draw((None, None, 1, 2, 3)),
        echo_limit=draw(("asked", "cap", "none")),
        count=draw(("total", "page", "missing", "wrong")),
        order=draw(("newest", "newest", "oldest", "unordered")),
        parameters=draw(("object", "object", "object", "objects", "empty", "null", "missing")),
        parameters_when=draw(("at once", "running")),
        numbers=draw(("sent", "text", "number")),
        names=draw(("sent", "bare")),
        shows_type=random.random() < 0.7,
        shows_trigger=random.random() < 0.7,
        shows_date=random.random() < 0.9,
        condition=draw(("whole", "filled", "missing")),
        slash=draw(("sent", "end", "none")),
        zone=draw(("+09:00", "+09:00", "", "Z")),
        ready_seconds=draw((0, 2, 2, 60)),
        running_seconds=draw((1, 30, 30, 300)),
    )


class _Schedule:
    """Some cells while things go wrong, and the calm after them."""

    def __init__(self, world: World, home: Path, outcome: Outcome) -> None:
        self.world = world
        self.service = world.service
        self.random = world.simulation.random
        self.home = home
        self.outcome = outcome
        self.job_id = self.service.new_job("job")
        self.kernels: list[Kernel] = []
        self.starts: dict[str, Start] = {}
        self.parameters: dict[str, Any] = {}
        self.condition: dict[str, Any] = {}
        self.marker: Marker = "off"
        self.deleted: set[str] = set()
        """Starts whose rows were deleted."""
        self.at_work: dict[int, list[Callable[[], None]]] = {}
        """By number of pieces of work from now on: what happens then."""
        self.at_arrival: list[Callable[[], None]] = []

    def run(self) -> None:
        world, random = self.world, self.random
        self.draw_service()
        world.proxy.plan = self.plan
        world.proxy.latency = lambda: random.choice(LATENCIES)
        world.proxy.lateness = lambda: random.choice(LATENESSES)
        world.simulation.after_work = lambda _: self.work_done()
        try:
            for _ in range(random.choice((1, 1, 2))):
                self.new_kernel()
            if len(self.kernels) > 1:
                self.outcome.kinds.add("two kernels at once")
            for _ in range(random.choice((1, 1, 2, 3))):
                self.cell()
            self.calm_down()
            said = self.said()
            for key in self.deleted & self.starts.keys():
                self.starts[key].may_be_forgotten = True
                self.starts[key].has_handle = any(
                    run.key == key for kernel in self.alive for run in kernel.session.runs
                )
            self.outcome.counts = judge(self.service, self.starts, said)
        finally:
            world.proxy.plan = lambda _: CALM
            world.simulation.after_work = lambda _: None
            for kernel in self.kernels:
                kernel.end()

    def draw_service(self) -> None:
        random, service = self.random, self.service
        service.rules = draw_rules(random)
        service.lag_seconds = random.choice(LAGS)
        service.moves = random.choice((0, 0, 0.5))
        service.ahead_seconds = random.choice(CLOCKS)
        self.world.ahead_seconds = random.choice(CLOCKS)
        service.collides = random.choice((0,) * 9 + (0.8,))
        self.marker = random.choice(MARKERS)
        self.outcome.kinds.add(f"marker {self.marker}")
        self.note_rules()

    def note_rules(self) -> None:
        rules, service = self.service.rules, self.service
        kinds = {
            "pages capped": rules.page_cap is not None,
            "pages capped, cap not echoed": rules.page_cap is not None and rules.echo_limit != "cap",
            "count missing or wrong": rules.count in {"missing", "wrong"},
            "unordered": rules.order == "unordered",
            "items move between pages": service.moves > 0,
            "lists lag": 0 < service.lag_seconds < 300,
            "lists lag beyond every margin": service.lag_seconds >= 300,
            "no parameters shown": not rules.shows_parameters,
            "parameters shown once RUNNING": rules.shows_parameters and rules.parameters_when == "running",
            "numbers as other types": rules.numbers != "sent",
            "type or trigger hidden": not (rules.shows_type and rules.shows_trigger),
            "no Date": not rules.shows_date,
            "clocks differ": service.ahead_seconds != self.world.ahead_seconds,
            "ids collide": service.collides > 0,
        }
        self.outcome.kinds |= {kind for kind, is_drawn in kinds.items() if is_drawn}

    def new_kernel(self) -> Kernel:
        kernel = Kernel(self.world, self.home)
        self.kernels.append(kernel)
        return kernel

    # Cells

    def cell(self) -> None:
        """Run one cell in one kernel, or the same in all."""
        random = self.random
        self.parameters = random.choice(({}, *({"$a": value} for value in VALUES)))
        self.condition = {**random.choice(({}, {"numWorker": 2, "timeout": 360})), **REQUIRED}
        for _ in range(random.choice((0, 1, 1, 2))):
            self.arm()
        alive = self.alive or [self.new_kernel()]
        chosen = alive if random.random() < 0.5 else [random.choice(alive)]
        self.tell(f"{len(chosen)} start {self.parameters}")
        calls = [partial(self.start, kernel) for kernel in chosen]
        for result in self.world.simulation.side_by_side(calls):
            if isinstance(result, BaseException) and not isinstance(result, DataflowError | Killed):
                raise result
            self.tell(repr(result))
        self.at_work, self.at_arrival = {}, []
        self.world.simulation.run_for(random.choice((0, 0, 3, 60, 400)))
        if not self.alive:
            with contextlib.suppress(DataflowError, Killed):
                self.new_kernel().look_around(self.job_id)

    @property
    def alive(self) -> list[Kernel]:
        return [kernel for kernel in self.kernels if not kernel.is_dead]

    def start(self, kernel: Kernel) -> LiveRun:
        """Start a run, and keep what the cell is told of it."""
        began, parameters, condition = self.clocks(), self.parameters, self.condition
        before = {run.key for run in kernel.session.runs}
        keys: list[str] = []

        def keep() -> Start:
            keys[:] = [run.key for run in kernel.session.runs if run.key not in before] or keys
            start = Start(condition, parameters, self.marker, began)
            return self.starts.setdefault(keys[0], start) if keys else start

        kernel.begun = keep
        try:
            run = kernel.start(self.request(condition, parameters))
        except OutcomeUnknown:
            raise AssertionError("the kernel looks for a start whose outcome is unknown") from None
        except DataflowError:
            keep().is_refused = True
            raise
        if run.run_id:
            keep().answered = run.run_id
            self.service.returned.add(run.run_id)
        return run

    def request(self, condition: Mapping[str, Any], parameters: Mapping[str, Any]) -> RunRequest:
        return make_request(
            f"id:{self.job_id}",
            {name.removeprefix("$"): value for name, value in parameters.items()},
            marker=self.marker,
            nrn=condition["nrn"],
            script_path=condition["scriptPath"],
            log_path=condition["logPath"],
            workers=condition.get("numWorker"),
            timeout=condition.get("timeout"),
        )

    def clocks(self) -> list[float]:
        """Return what the clocks show: a service can only tell a run's time by one of them."""
        return [self.service.clock(), self.world.clock()]

    def plan(self, seen: Seen) -> Fault:
        fault = CALM
        if seen.is_start:
            self.sent(seen)
            fault = self.random.choice((CALM, self.random.choice(NOT_SENT), self.random.choice(SENT)))
            self.tell(f"POST of {seen.source}: {fault.name}")
            for happens in self.at_arrival:
                happens()
            self.at_arrival = []
        elif self.random.random() < 0.1:
            fault = self.random.choice(NOT_SENT + SENT)
        return fault

    def calm_plan(self, seen: Seen) -> Fault:
        if seen.is_start:
            self.sent(seen)
        return CALM

    def sent(self, seen: Seen) -> None:
        asked = json.loads(seen.body)
        start = self.starts[seen.source]
        start.condition, start.parameters = asked["jobCondition"], asked.get("parameters", {})
        stamp = re.search(rb"x-ncp-apigw-timestamp: (\d+)", seen.headers)
        assert stamp, "each start is signed"
        start.clocks += [*self.clocks(), int(stamp[1]) / 1000]

    # What happens meanwhile

    def arm(self) -> None:
        """Let something happen at a point of the next cell."""
        random = self.random
        others: tuple[tuple[str, Callable[[], None]], ...] = (
            ("somebody's identical run", partial(self.somebody, "identical")),
            ("somebody's nearly identical run", partial(self.somebody, "nearly")),
            ("somebody's run with other settings", partial(self.somebody, "settings")),
            ("a trigger's run", partial(self.somebody, "trigger")),
        )
        events: tuple[tuple[str, Callable[[], None]], ...] = (
            ("machine slept", self.sleep),
            ("clock of the machine set", partial(self.set_clock, self.world)),
            ("clock of the service set", partial(self.set_clock, self.service)),
            ("kernel killed", self.kill),
            ("ledger deleted", self.delete_ledger),
        )
        kind, happens = random.choice(random.choice((others, others, events)))
        self.outcome.kinds.add(kind)
        match random.choice(("before", "work", "work", "arrival", "later", "later")):
            case "before":
                happens()
                self.world.simulation.run_for(random.choice((0, 0.3, 3, 70, 700)))
            case "work":
                self.at_work.setdefault(random.choice((1, 1, 2, 3, 6)), []).append(happens)
            case "arrival":
                self.at_arrival.append(happens)
            case "later":
                self.world.loop.call_later(random.choice((0.001, 0.3, 2, 70, 280, 700, 900)), happens)

    def work_done(self) -> None:
        self.at_work = {number - 1: events for number, events in self.at_work.items()}
        for happens in self.at_work.pop(0, ()):
            # On the service's loop: a kernel that ends here would run on to the end of its turn.
            self.world.loop.call_soon(happens)

    def somebody(self, how: str) -> None:
        random, condition, parameters = self.random, dict(CONDITION), dict(self.parameters)
        query: dict[str, str] = {}
        if how == "nearly":
            near = NEARLY.get(repr(parameters.get("$a")), ())
            nearly: list[dict[str, Any]] = [{}, {"$b": 1}, {"$a": "other"}, *({"$a": each} for each in near)]
            parameters = random.choice([each for each in nearly if repr(each) != repr(parameters)])
        elif how == "settings":
            condition |= random.choice(
                ({"numWorker": 3}, {"timeout": 30}, {"nrn": "nrn:2"}, {"logPath": "b/other/"})
            )
        elif how == "trigger":
            query = {"triggerId": "trigger00001", "workflowId": "workflow0001"}
            parameters = random.choice(({}, parameters))
        self.tell(f"{how}: {parameters}")
        source, kind = ("trigger", "WORKFLOW") if how == "trigger" else ("colleague", "JOB")
        self.service.add_run(self.job_id, source, condition, parameters, query, type=kind)

    def sleep(self) -> None:
        seconds = self.random.choice((30, 200, 720, 4000))
        self.tell(f"the machine sleeps {seconds} s")
        self.world.slept_seconds += seconds

    def set_clock(self, whose: Any) -> None:
        whose.ahead_seconds = self.random.choice(CLOCKS)
        self.tell(f"clock of {type(whose).__name__} set to {whose.ahead_seconds}")

    def kill(self) -> None:
        if alive := self.alive:
            self.tell("a kernel is killed")
            self.random.choice(alive).kill()

    def delete_ledger(self) -> None:
        self.tell("the ledger is deleted")
        with contextlib.suppress(DataflowError):
            self.deleted |= {record.key for record in records_of(self.home)}
        if self.random.random() < 0.5:
            shutil.rmtree(self.home, ignore_errors=True)
        else:
            (self.home / "ledger.sqlite3").unlink(missing_ok=True)

    # The end

    def calm_down(self) -> None:
        """Let the kernels find out the rest while nothing more goes wrong, and read the list once more."""
        world = self.world
        world.proxy.plan, self.service.moves = self.calm_plan, 0
        self.tell("calm")
        world.simulation.run_for(MOST_WAITING)
        if not self.service.rules.shows_date:  # then nobody can find out by how much a clock is off
            world.ahead_seconds = self.service.ahead_seconds
        last = self.new_kernel()
        with contextlib.suppress(DataflowError):
            last.look_around(self.job_id)
        world.simulation.run_for(MOST_WAITING)
        self.service.lag_seconds = 0
        end = world.simulation.now + MOST_SETTLING
        while any(each.status == "SUBMITTING" for said in self.said().values() for each in said):
            if world.simulation.now > end:
                break
            world.simulation.run_for(60)
        with contextlib.suppress(DataflowError):
            last.list_runs(self.job_id)
        world.simulation.run_for(60)

    def said(self) -> dict[str, list[Said]]:
        said: dict[str, list[Said]] = {record.key: [said_by(record)] for record in records_of(self.home)}
        for kernel in self.kernels:
            if not kernel.is_dead:
                for run in kernel.session.runs:
                    said.setdefault(run.key, []).append(said_by(run.view))
        return said

    def tell(self, event: str) -> None:
        self.outcome.story.append(f"{self.world.simulation.now:.3f} {event}")


def main(first: int, count: int) -> int:
    """Run schedules, one process a core; print what was seen, and return the exit code."""
    begun = time.monotonic()
    seeds = range(first, first + count)
    say(f"{count:,} schedules, seeds {first} to {seeds[-1]}")
    with multiprocessing.Pool() as pool:
        outcomes = []
        for outcome in pool.imap_unordered(run_schedule, seeds, chunksize=8):
            outcomes.append(outcome)
            if outcome.is_wrong:
                say(outcome, f"\n  python -m tests.faults.schedules {outcome.seed} 1 repeats it")
    say(table(outcomes))
    wrong = sum(outcome.is_wrong for outcome in outcomes)
    say(f"{wrong} of {count:,} schedules are wrong; {time.monotonic() - begun:.0f} s")
    return int(wrong > 0)


def table(outcomes: list[Outcome]) -> str:
    """Return what was seen, by kind of schedule."""
    kinds = sorted({kind for outcome in outcomes for kind in outcome.kinds})
    width = max(map(len, kinds), default=0)
    lines = [
        " " * width + "".join(f"{name.split()[0].strip(chr(34)):>12}" for name in ("schedules", *COLUMNS))
    ]
    for kind in ["all", *kinds]:
        of_kind = [outcome for outcome in outcomes if kind == "all" or kind in outcome.kinds]
        counts: Counter[str] = sum((outcome.counts for outcome in of_kind), Counter())
        lines.append(
            f"{kind:{width}}{len(of_kind):>12,}" + "".join(f"{counts[name]:>12,}" for name in COLUMNS)
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
