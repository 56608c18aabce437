"""The protocol between kernels, ledger and service as a state machine: Hypothesis looks for the shortest way to break it.

At each step the ledger knows no run the service has not started. Once all is settled both have the same runs, each once and
with its own parameters.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dataflow_magic.errors import DataflowError, OutcomeUnknown
from tests.faults.proxy import CALM, FAULTS, Fault, Seen
from tests.faults.world import (
    Kernel,
    a_simulated_world,
    check_that_each_run_is_there_once,
    records_of,
    until_settled,
)

EXAMPLES = 40
STEPS = 12
MOST_KERNELS = 3
KEPT = [CALM, *(fault for fault in FAULTS if not fault.late)]


class Protocol(RuleBasedStateMachine):
    """Cells, kernels that come and go, time, and what happens to each start."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.home = self.folder / "home"
        self.stack = contextlib.ExitStack()
        self.world = self.stack.enter_context(a_simulated_world(self.folder / "service", Random(0)))  # noqa: S311
        self.job_id = self.world.new_job("job")
        self.kernels = [Kernel(self.world, self.home)]
        self.killed: list[Kernel] = []
        self.sent = 0

    @initialize(ahead=st.sampled_from((0, 200, -200, 3600, -3600)))
    def a_clock(self, ahead: int) -> None:
        self.world.service.clock_ahead_seconds = ahead

    @rule(number=st.integers(0, MOST_KERNELS - 1), value=st.sampled_from((1, 2)), fault=st.sampled_from(KEPT))
    @precondition(lambda self: self.kernels)
    def a_cell(self, number: int, value: int, fault: Fault) -> None:
        """Run a cell; its first attempt meets the fault, further ones meet none."""
        faults = iter([fault])

        def plan(seen: Seen) -> Fault:
            if not seen.is_start:
                return CALM
            drawn = next(faults, CALM)
            self.sent += drawn.is_sent
            return drawn

        self.world.proxy.plan = plan
        with contextlib.suppress(DataflowError):
            try:
                self.kernels[number % len(self.kernels)].start(self.job_id, {"a": value})
            except OutcomeUnknown as error:
                raise AssertionError("the kernel looks for a start whose outcome is unknown") from error

    @rule()
    @precondition(lambda self: len(self.kernels) < MOST_KERNELS)
    def a_new_kernel(self) -> None:
        self.kernels.append(Kernel(self.world, self.home))
        with contextlib.suppress(DataflowError):
            self.kernels[-1].look_around(self.job_id)

    @rule(number=st.integers(0, MOST_KERNELS - 1))
    @precondition(lambda self: self.kernels)
    def a_kernel_dies(self, number: int) -> None:
        self.killed.append(self.kernels.pop(number % len(self.kernels)))
        self.killed[-1].kill()

    @rule(seconds=st.sampled_from((5, 60, 400)))
    def time_passes(self, seconds: int) -> None:
        self.world.simulation.run_for(seconds)

    @rule(seconds=st.sampled_from((0, 5, 30)))
    def lists_lag(self, seconds: int) -> None:
        self.world.lag_seconds = seconds

    @invariant()
    def the_ledger_knows_started_runs_only_and_each_has_its_own_start(self) -> None:
        known = {record.run_id for record in records_of(self.home) if record.run_id}
        started = set(self.world.runs(self.job_id))

        assert known <= started
        assert len(started) <= self.sent

    def teardown(self) -> None:
        self.world.proxy.plan, self.world.lag_seconds = (lambda _: CALM), 0.0
        self.kernels.append(Kernel(self.world, self.home))
        try:
            self.kernels[-1].look_around(self.job_id)
            until_settled(self.world, self.home, "once all is calm")
            check_that_each_run_is_there_once(self.world, self.job_id, self.home, "once all is calm")
        finally:
            for kernel in [*self.kernels, *self.killed]:
                kernel.end()
            self.stack.close()
            shutil.rmtree(self.folder, ignore_errors=True)


def test_no_order_of_events_doubles_or_loses_a_run():
    run_state_machine_as_test(
        Protocol,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
