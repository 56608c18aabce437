"""One run in each state that a card distinguishes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from dataflow_magic.models.failure import Failure, Place
from dataflow_magic.models.stages import Hotspots, Stage
from dataflow_magic.models.view import KST, NOT_STARTED, UNCLEAR, Progress, RunView
from dataflow_magic.models.wire import JobCondition, JobExecution
from tests.views import run_view

__all__ = ["NOON", "STATES"]

NOON = datetime(2026, 11, 1, 12, tzinfo=KST)
"""When each run was submitted."""

_SENT = run_view(
    NOON,
    job_id="gqigvHq1w2e3",
    job_name="daily_delays",
    condition=JobCondition(
        num_worker=4, timeout=60, nrn="nrn:PUB:IAM::1:Role/1", script_path="b/scripts/", log_path="b/logs/"
    ),
    parameters={"$table_name": "test.flights", "$run_date": "2026-11-01"},
    key="k3yk3y",
)


def _in_state(status: str, **more: Any) -> RunView:
    return replace(_SENT, execution=JobExecution(job_execution_id="7Hk2mQx9LpZa", status=status, **more))


def _given_up(settled: str, words: str) -> RunView:
    return replace(_SENT, is_lost=True, settled=settled, blind_since=NOON, blind_reason=words)


_END = NOON + timedelta(seconds=87)
_LOG = ("reading", "Traceback (most recent call last):", "ValueError: no flights from 'SFO' in month 1")

_JOIN = Stage(
    "local-1795772123789", 4, 0, "parquet", Place("daily_delays.py", 27), 0, "COMPLETED",
    submitted=0, completed=43_000, tasks=200, tasks_done=200, median=390, slowest=26_200, keys=("origin",), cores=4,
)  # fmt: skip
_HOTSPOTS = Hotspots(
    (_JOIN, replace(_JOIN, number=2, name="count", place=None, completed=9_000, slowest=600)), 80_000
)

STATES = {
    "SUBMITTING": _SENT,
    "looked for": replace(
        _SENT,
        is_lost=True,
        blind_since=NOON,
        blind_reason="the answer to its start was lost; it is looked for until 12:06:00 KST, when no run of it can be created any more",
    ),
    "READY": _in_state("READY", status_detail="starting Spark"),
    "RUNNING": replace(_in_state("RUNNING"), progress=Progress(2, 5, 70, 128, 1, "count at daily.py:14")),
    "COMPLETED": _in_state("COMPLETED", end_date=_END),
    "slow": replace(_in_state("COMPLETED", end_date=_END), hotspots=_HOTSPOTS),
    "FAILED": replace(_in_state("FAILED", end_date=_END), failure=Failure(_LOG[-1], _LOG)),
    "CANCELED": replace(_in_state("CANCELED", end_date=_END), failure=Failure("canceled on request")),
    "canceling": replace(_in_state("RUNNING"), cancel_requested=True),
    "blind": replace(
        _in_state("RUNNING"), blind_since=NOON + timedelta(seconds=20), blind_reason="connection refused"
    ),
    "found": replace(_in_state("RUNNING"), found_by="parameters"),
    "unknown": _in_state("SUSPENDED"),
    "not started": _given_up(
        NOT_STARTED,
        "the answer to its start was lost, and no run of it is in the job's list as of 12:06:07 KST; a later list that shows one "
        "corrects this; %dataflow_run --again k3yk3y looks once more and starts it again",
    ),
    "unclear": _given_up(
        UNCLEAR,
        "the answer to its start was lost, and 2 runs may be it: 7Hk2mQx9LpZa, 8Hk2mQx9LpZa; "
        "%dataflow_attach ID takes that run for it",
    ),
}
"""Runs by the names of their states."""
