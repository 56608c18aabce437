"""Cells in one or two kernels, a service and other people, and what goes wrong between them, all drawn by a seed.

``python -m tests.faults.schedules SEED COUNT`` runs that many from that seed on, and prints which failed and what was seen.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dataflow_magic.cell.run import make_request
from dataflow_magic.errors import DataflowError, OutcomeUnknown
from dataflow_magic.models.marker import Marker
from dataflow_magic.models.request import RunRequest
from dataflow_magic.models.view import NOT_STARTED, SUBMITTING, UNCLEAR, RunView
from dataflow_magic.session.run import LiveRun
from tests.faults.drawing import (
    AFTER,
    BEFORE,
    CLOCKS,
    LAGS,
    LATENCIES,
    LATENESSES,
    MARKERS,
    Asked,
    draw_asked,
    draw_grid,
    draw_rules,
    nearly,
    other_condition,
    vary,
)
from tests.faults.fake import CONDITION, Rules
from tests.faults.judge import Said, Start, judge, said_by
from tests.faults.outcome import COLUMNS, Outcome, run_many
from tests.faults.proxy import CALM, NOT_SENT, SENT, SLOW, UNHEARD, Fault, Seen
from tests.faults.simulation import Killed
from tests.faults.world import Kernel, World, a_simulated_world, records_of

__all__ = ["run_schedule"]

CLEAR = (
    *(Rules(),) * 4,
    Rules(page_cap=2, echo_limit="none", count="missing", ready_seconds=0),
    Rules(parameters="objects", numbers="text", condition="filled", zone="Z"),
    Rules(parameters="empty", shows_trigger=False),
    Rules(numbers="short", order="oldest", slash="end"),
)
"""Services that hide little or nothing of a run."""
MISTAKES = (*("somebody",) * 4, "ours", "ours", "ours at the edge", "grid")
LOSING = tuple(fault for fault in SENT if fault.name in {"reset after it was carried out", "half an answer"})
EARLIER = 150.0
EDGES = (335.0, 345.0, 355.0)
"""Seconds from a start to another that the service creates while it could still create the first."""
DATES_SECONDS = 10.0
"""How far dates in whole seconds, clocks that drift, and the time until a request arrives let a measurement be off."""
MOST_WAITING = 1000.0
"""Simulated seconds after which nothing that was drawn is still to happen."""
MOST_SETTLING = 5 * 3600.0
"""Simulated seconds until every start is settled: clocks that are an hour off, and lists that lag, add to each other."""


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
        self.asked = Asked({}, {})
        """What the newest cell asked for."""
        self.began = 0.0
        """What the service's clock showed when that cell began."""
        self.marker: Marker = "off"
        self.next_faults: list[Fault] = []
        """What happens to the next starts; what happens to others is drawn."""
        self.look_faults = 0.1
        """The share of other requests to which something happens."""
        self.is_time_known = True
        """Whether the service's clock, once measured, shows when each start was sent."""
        self.deleted: set[str] = set()
        """Starts whose rows were deleted."""
        self.at_work: dict[int, list[Callable[[], None]]] = {}
        """By number of pieces of work from now on: what happens then."""
        self.at_arrival: list[Callable[[], object]] = []

    def run(self) -> None:
        world, random = self.world, self.random
        world.proxy.plan = self.plan
        world.proxy.latency = lambda: random.choice(LATENCIES)
        world.proxy.lateness = lambda: random.choice(LATENESSES)
        world.simulation.after_work = lambda _: self.work_done()
        try:
            may_mistake = random.random() < 0.7
            self.draw_service(is_clear=may_mistake)
            for _ in range(random.choice((1, 1, 2))):
                self.new_kernel()
            if len(self.kernels) > 1:
                self.outcome.kinds.add("two kernels at once")
            if may_mistake:
                self.mistake()
            else:
                for _ in range(random.choice((1, 1, 2, 3))):
                    self.happen()
            self.calm_down()
            self.judge()
        finally:
            world.proxy.plan = lambda _: CALM
            world.simulation.after_work = lambda _: None
            for kernel in self.kernels:
                kernel.end()

    def draw_service(self, *, is_clear: bool) -> None:
        """Draw the service; a clear one hides little, so that only the evidence keeps another's run from being taken."""
        random, service = self.random, self.service
        if is_clear:
            service.rules = random.choice(CLEAR)
            service.ahead_seconds, self.world.ahead_seconds = (
                random.choice((0, 0, 40)),
                random.choice((0, 0, 200)),
            )
            self.marker = random.choice(("off", "off", "off", *MARKERS))
            self.look_faults = 0.0
        else:
            service.rules = draw_rules(random)
            service.lag_seconds = random.choice(LAGS)
            service.moves = random.choice((0, 0, 0.5))
            service.ahead_seconds = random.choice(CLOCKS)
            self.world.ahead_seconds = random.choice(CLOCKS)
            service.collides = random.choice((0,) * 9 + (0.8,))
            self.marker = random.choice(MARKERS)
        self.is_time_known = service.rules.shows_date
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

    def happen(self) -> None:
        """Run a cell in one kernel, or the same in all, while things happen."""
        random = self.random
        before = self.asked if self.starts else None
        asked = draw_asked(random)
        if before and random.random() < 0.5:
            asked = random.choice((before, vary(random, before)))
        self.asked = asked
        for _ in range(random.choice((0, 1, 1, 2))):
            self.arm()
        alive = self.alive or [self.new_kernel()]
        chosen = alive if random.random() < 0.5 else [random.choice(alive)]
        self.cell({kernel: [asked] for kernel in chosen} if random.random() < 0.8 else self.grid(chosen[0]))
        self.world.simulation.run_for(random.choice((0, 0, 3, 60, 340, 400)))
        if not self.alive:
            with contextlib.suppress(DataflowError, Killed):
                self.new_kernel().look_around(self.job_id)

    def mistake(self) -> None:
        """Lose a start that the service never had, beside a run that could be mistaken for its."""
        random, asked = self.random, draw_asked(self.random)
        kernels = self.kernels
        self.asked, unheard = asked, random.choice(UNHEARD)
        self.next_faults = [unheard]
        match random.choice(MISTAKES):
            case "somebody":
                self.arm_somebody(random.choice(("before", "arrival", "later")), identical=0.5)
                self.cell({kernels[0]: [asked]})
            case "ours":
                self.outcome.kinds.add("two starts of ours to mistake")
                faults = [unheard, random.choice(LOSING)]
                random.shuffle(faults)
                self.next_faults = faults[:1]
                self.cell({kernels[0]: [asked]})
                self.world.simulation.run_for(random.choice((0, 3, 60, 200)))
                self.next_faults = faults[1:]
                self.cell({kernels[-1]: [vary(random, asked)]})
            case "ours at the edge":
                self.outcome.kinds.add("another start of ours awaits its answer")
                self.service.ahead_seconds = self.world.ahead_seconds = 0
                self.cell({kernels[0]: [asked]})
                self.world.simulation.run_for(EARLIER - self.world.simulation.now)
                self.world.looks_apart = 1  # as in earnest, so that a look falls into the time of the answer
                self.world.simulation.run_for(random.choice(EDGES) - EARLIER)
                self.next_faults = [SLOW]
                self.cell({kernels[-1]: [asked]})
            case "grid":
                self.next_faults += random.choices((CALM, *UNHEARD, *LOSING), k=5)
                self.cell(self.grid(kernels[0]))

    def grid(self, kernel: Kernel) -> dict[Kernel, list[Asked]]:
        self.outcome.kinds.add("sweep")
        return {kernel: draw_grid(self.random, self.asked)}

    def cell(self, cells: Mapping[Kernel, list[Asked]]) -> None:
        """Run cells at the same time, one in each kernel."""
        self.began = self.service.clock()
        self.tell(" | ".join(f"{len(asked)} of {asked[0].parameters}" for asked in cells.values()))
        calls = [partial(self.start, kernel, asked) for kernel, asked in cells.items()]
        for result in self.world.simulation.side_by_side(calls):
            if isinstance(result, BaseException) and not isinstance(result, DataflowError | Killed):
                raise result
            self.tell(repr(result))
        self.at_work, self.at_arrival, self.next_faults = {}, [], []

    @property
    def alive(self) -> list[Kernel]:
        return [kernel for kernel in self.kernels if not kernel.is_dead]

    def start(self, kernel: Kernel, asked: list[Asked]) -> list[LiveRun]:
        """Start a run, or the runs of a sweep; keep what the cell learns of each."""
        before = {run.key for run in kernel.session.runs}
        try:
            if len(asked) == 1:
                run = kernel.start(self.request(asked[0]))
                # A start whose answer is lost is looked for at first.
                is_refused = run.view.settled == UNCLEAR
                self.start_of(run.key).is_answer_refused = is_refused
            else:
                kernel.sweep([self.request(each) for each in asked])
        except OutcomeUnknown:
            raise AssertionError("the kernel looks for a start whose outcome is unknown") from None
        finally:
            runs = [run for run in kernel.session.runs if run.key not in before]
            for run in runs:
                start = self.start_of(run.key, run.view)
                start.kernel = self.kernels.index(kernel)
                if run.run_id and not run.view.found_by:
                    start.answered = run.run_id
                    self.service.returned.add(run.run_id)
        return runs

    def start_of(self, key: str, view: RunView | None = None) -> Start:
        if key not in self.starts:
            condition = view.condition.to_wire() if view else {}
            self.starts[key] = Start(condition, view.parameters if view else {}, self.marker, self.began)
        return self.starts[key]

    def request(self, asked: Asked) -> RunRequest:
        condition = asked.condition
        return make_request(
            f"id:{self.job_id}",
            {name.removeprefix("$"): value for name, value in asked.parameters.items()},
            marker=self.marker,
            nrn=condition["nrn"],
            script_path=condition["scriptPath"],
            log_path=condition["logPath"],
            workers=condition.get("numWorker"),
            timeout=condition.get("timeout"),
        )

    def plan(self, seen: Seen) -> Fault:
        random = self.random
        if not seen.is_start:
            return random.choice(NOT_SENT + SENT) if random.random() < self.look_faults else CALM
        self.sent(seen)
        drawn = random.choice((CALM, random.choice(NOT_SENT), random.choice(SENT)))
        fault = self.next_faults.pop(0) if self.next_faults else drawn
        self.tell(f"POST of {seen.source}: {fault.name}")
        for happens in self.at_arrival:
            happens()
        self.at_arrival = []
        return fault

    def calm_plan(self, seen: Seen) -> Fault:
        if seen.is_start:
            self.sent(seen)
        return CALM

    def sent(self, seen: Seen) -> None:
        asked, start = json.loads(seen.body), self.start_of(seen.source)
        start.condition, start.parameters = asked["jobCondition"], asked.get("parameters", {})
        stamp = re.search(rb"x-ncp-apigw-timestamp: (\d+)", seen.headers)
        assert stamp, "each start is signed"
        start.stamps += [self.world.clock(), int(stamp[1]) / 1000]
        start.arrivals.append(self.service.clock())

    # What happens meanwhile

    def arm(self) -> None:
        """Let something happen at a point of the next cell."""
        random = self.random
        moment = random.choice(("before", "work", "work", "arrival", "later", "later"))
        if random.random() < 0.67:
            self.arm_somebody(moment)
            return
        events: tuple[tuple[str, Callable[[], None]], ...] = (
            ("machine slept", self.sleep),
            ("clock of the machine set", partial(self.set_clock, self.world)),
            ("clock of the service set", partial(self.set_clock, self.service)),
            ("kernel killed", self.kill),
            ("ledger deleted", self.delete_ledger),
        )
        self.arm_event(*random.choice(events), moment)

    def arm_somebody(self, moment: str, *, identical: float = 0.2) -> None:
        kinds = {
            "identical": "somebody's identical run",
            "nearly": "somebody's nearly identical run",
            "settings": "somebody's run with other settings",
            "trigger": "a trigger's run",
            "copy": "somebody's copy of a whole request",
        }
        is_identical = self.random.random() < identical
        how = "identical" if is_identical else self.random.choice(("nearly", *list(kinds)[1:]))
        self.arm_event(kinds[how], partial(self.somebody, how), moment)

    def arm_event(self, kind: str, happens: Callable[[], None], moment: str) -> None:
        random = self.random
        self.outcome.kinds.add(kind)
        match moment:
            case "before":
                happens()
                self.world.simulation.run_for(random.choice(BEFORE))
            case "work":
                self.at_work.setdefault(random.choice((1, 1, 2, 3, 6)), []).append(happens)
            case "arrival":
                self.at_arrival.append(happens)
            case "later":
                after = random.choice(AFTER)
                self.at_arrival.append(lambda: self.world.loop.call_later(after, happens))

    def work_done(self) -> None:
        self.at_work = {number - 1: events for number, events in self.at_work.items()}
        for happens in self.at_work.pop(0, ()):
            # On the service's loop: a kernel that ends here would run on to the end of its turn.
            self.world.loop.call_soon(happens)

    def somebody(self, how: str) -> None:
        random, parameters = self.random, dict(self.asked.parameters)
        condition: Mapping[str, Any] = CONDITION
        query: Mapping[str, str] = {}
        match how:
            case "nearly":
                parameters = nearly(random, parameters)
            case "settings":
                condition = {**condition, **other_condition(random)}
            case "trigger":
                query = {"triggerId": "trigger00001", "workflowId": "workflow0001"}
                parameters = random.choice(({}, parameters))
            case "copy":
                seen = [run for run in self.service.listed(self.job_id) if run.source in self.starts]
                if not seen:
                    return
                copied = random.choice(seen)
                condition, parameters = copied.condition, dict(copied.parameters)
        self.tell(f"{how}: {parameters}")
        source, kind = ("trigger", "WORKFLOW") if how == "trigger" else ("colleague", "JOB")
        self.service.add_run(self.job_id, source, condition, parameters, query, type=kind)

    def sleep(self) -> None:
        seconds = self.random.choice((30, 200, 720, 4000))
        self.tell(f"the machine sleeps {seconds} s")
        self.world.slept_seconds += seconds

    def set_clock(self, whose: Any) -> None:
        whose.ahead_seconds = self.random.choice(CLOCKS)
        if whose is self.service:
            self.is_time_known = False
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

    def judge(self) -> None:
        said = self.said()
        for key in self.deleted & self.starts.keys():
            self.starts[key].may_be_forgotten = True
            self.starts[key].has_handle = any(
                run.key == key for kernel in self.alive for run in kernel.session.runs
            )
        slowest = self.world.proxy.slowest_seconds
        uncertainty = slowest / 2 + DATES_SECONDS if self.is_time_known else None
        self.outcome.counts = judge(self.service, self.starts, said, uncertainty)

    def calm_down(self) -> None:
        """Let the kernels find out the rest while nothing more goes wrong, and read the list once more."""
        world = self.world
        world.proxy.plan, self.service.moves = self.calm_plan, 0
        self.tell("calm")
        world.simulation.run_for(MOST_WAITING)
        if not self.service.rules.shows_date and self.random.random() < 0.5:
            # Nobody can find out by how much the clock is off, but its owner can set it.
            world.ahead_seconds = self.service.ahead_seconds
        last = self.new_kernel()
        with contextlib.suppress(DataflowError):
            last.look_around(self.job_id)
        world.simulation.run_for(60)
        self.service.lag_seconds = 0
        self.settle(lambda said: any(each.status == SUBMITTING for each in said))
        # Of a start that was deleted with the ledger, its own kernel alone knows until that uses the ledger again.
        for kernel in reversed(self.alive) if self.deleted else [last]:
            with contextlib.suppress(DataflowError):
                kernel.list_runs(self.job_id)
        world.simulation.run_for(60)
        # A kernel learns from the ledger at its own next look what another has found.
        self.settle(_differ)

    def settle(self, is_open: Callable[[list[Said]], bool]) -> None:
        """Let time pass while something is open about a start."""
        end = self.world.simulation.now + MOST_SETTLING
        while any(map(is_open, self.said().values())) and self.world.simulation.now < end:
            self.world.simulation.run_for(60)

    def said(self) -> dict[str, list[Said]]:
        said: dict[str, list[Said]] = {record.key: [said_by(record)] for record in records_of(self.home)}
        for kernel in self.kernels:
            if not kernel.is_dead:
                for run in kernel.session.runs:
                    said.setdefault(run.key, []).append(said_by(run.view))
        return said

    def tell(self, event: str) -> None:
        self.outcome.story.append(f"{self.world.simulation.now:.3f} {event}")


def _differ(said: list[Said]) -> bool:
    statuses = {each.status for each in said}
    return NOT_STARTED in statuses and len(statuses) > 1


if __name__ == "__main__":
    sys.exit(run_many(run_schedule, COLUMNS, "tests.faults.schedules", sys.argv[1:]))
