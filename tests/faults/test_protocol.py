"""The protocol between kernels, ledger and service as a state machine: Hypothesis looks for the shortest way to break it.

What must hold at each step is that the ledger knows no run the service has not started; what must hold once all is settled is
that both have the very same runs, each once and each with its own parameters.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
from collections.abc import Iterator
from typing import ClassVar

import pytest
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
    PATIENT_SECONDS,
    Kernel,
    World,
    a_world,
    check_that_each_run_is_there_once,
    records_of,
    until_settled,
)

EXAMPLES = 40
STEPS = 12
MOST_KERNELS = 3
KEPT = [CALM, *(fault for fault in FAULTS if not fault.late)]
# A kernel that is killed in the middle of a request leaves sockets to be collected, as none is left of a real one.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Protocol(RuleBasedStateMachine):
    """Cells, kernels that come and go, time, and what befalls each start."""

    world: ClassVar[World]
    numbers: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        number = next(self.numbers)
        self.job_id = self.world.new_job(f"protocol_{number}")
        self.home = self.world.service.folder.parent / f"protocol-{number}"
        self.world.lag_seconds, self.world.shuffle = 0.0, None
        self.world.proxy.plan = lambda _: CALM
        self.kernels = [Kernel(self.world, self.home)]
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
                raise AssertionError("a start whose outcome is unknown is looked for") from error

    @rule()
    @precondition(lambda self: len(self.kernels) < MOST_KERNELS)
    def a_new_kernel(self) -> None:
        self.kernels.append(Kernel(self.world, self.home))
        with contextlib.suppress(DataflowError):
            self.kernels[-1].look_around(self.job_id)

    @rule(number=st.integers(0, MOST_KERNELS - 1))
    @precondition(lambda self: self.kernels)
    def a_kernel_dies(self, number: int) -> None:
        self.kernels.pop(number % len(self.kernels)).kill()

    @rule(seconds=st.sampled_from((5, 60, 400)))
    def time_passes(self, seconds: int) -> None:
        asyncio.run(self.world.sleep(seconds))

    @rule(seconds=st.sampled_from((0, 5, 30)))
    def lists_lag(self, seconds: int) -> None:
        self.world.lag_seconds = seconds

    @invariant()
    def no_run_is_made_up_and_none_is_started_but_by_a_start(self) -> None:
        known = {record.run_id for record in records_of(self.home) if record.run_id}
        started = set(self.world.runs(self.job_id))

        assert known <= started
        assert len(started) <= self.sent

    def teardown(self) -> None:
        self.world.proxy.plan, self.world.lag_seconds = (lambda _: CALM), 0.0
        for kernel in self.kernels:  # they would look as well, with a patience that a busy machine exhausts
            kernel.end()
        last = Kernel(self.world, self.home, answer_seconds=PATIENT_SECONDS)
        try:
            last.look_around(self.job_id)
            until_settled(self.home, "once all is calm")
            check_that_each_run_is_there_once(self.world, self.job_id, self.home, "once all is calm")
        finally:
            last.end()
            shutil.rmtree(self.home, ignore_errors=True)


def test_no_way_leads_to_a_run_that_is_doubled_or_lost(tmp_path):
    with a_world(tmp_path / "service") as Protocol.world:
        run_state_machine_as_test(
            Protocol,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
