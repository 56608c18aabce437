"""What `%dataflow_runs --all` costs over a ledger of 100,000 runs, beside pandas reading the same rows by itself.

The peer reads the same columns with sqlite3 and hands them to `pandas.DataFrame.from_records`, which leaves times as
numbers and parameters as JSON text. They take turns in one process; the first round is not counted. Prints medians and
their ratio; judges nothing.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from dataflow_magic.ledger.frame import records_frame
from dataflow_magic.ledger.ledger import INSERT, TABLE_FIELDS, Ledger, new_key
from dataflow_magic.ledger.record import RunRecord, record_of
from dataflow_magic.models.request import JobRef, RunRequest
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import KST, JobCondition, JobExecution

RUNS = 100_000
ROUNDS = 5
BEGIN = datetime(2026, 11, 1, 9, 0, tzinfo=KST)


def a_run(number: int) -> RunView:
    """Return a run over one of 365 days and 20 tables, as a backfill makes them."""
    submitted = BEGIN + timedelta(seconds=number)
    status = ("COMPLETED", "COMPLETED", "COMPLETED", "FAILED", "CANCELED")[number % 5]
    return RunView(
        RunRequest(
            JobRef(f"job{number % 10:09}", "id"),
            JobCondition(
                num_worker=4, timeout=60, nrn="nrn:PUB:IAM::1:Role/1", script_path="bucket/scripts/"
            ),
            {
                "$table_name": f"test.table_{number % 20}",
                "$run_date": f"{BEGIN.date() - timedelta(days=number % 365)}",
            },
        ),
        target="cloud",
        endpoint="https://dataflow.apigw.ntruss.com",
        key=new_key(),
        job_name=f"job_{number % 10}",
        submitted_at=submitted,
        notebook="backfill.ipynb",
        running_since=submitted + timedelta(seconds=5),
        execution=JobExecution(
            job_execution_id=f"run{number:09}", status=status, end_date=submitted + timedelta(minutes=2)
        ),
    )


def fill(path: Path) -> None:
    """Write the runs, past the ledger's own way of one at a time."""
    ledger = Ledger(path)
    ledger.records()  # makes the file
    with sqlite3.connect(path) as db:
        db.executemany(INSERT, [record_of(a_run(number), ledger.kernel) for number in range(RUNS)])
    db.close()
    ledger.close()


def ours(path: Path) -> int:
    """Read the table as the magic does."""
    ledger = Ledger(path)
    try:
        return len(records_frame(ledger.records()))
    finally:
        ledger.close()


def typed(path: Path) -> int:
    """Read the table with parameters as numbers, booleans and days."""
    ledger = Ledger(path)
    try:
        return len(records_frame(ledger.records()).convert_parameters())
    finally:
        ledger.close()


def peer(path: Path) -> int:
    """Read the same rows and leave them as they are."""
    db = sqlite3.connect(path)
    try:
        rows = db.execute(f"SELECT {TABLE_FIELDS} FROM runs ORDER BY submitted").fetchall()  # noqa: S608 - fixed text
        return len(pd.DataFrame.from_records(rows, columns=list(RunRecord._fields)))
    finally:
        db.close()


def seconds(read: Callable[[Path], int], path: Path) -> float:
    """Return the seconds one reading took."""
    begin = time.perf_counter()
    if read(path) != RUNS:
        sys.exit("rows are missing")
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite3"
        fill(path)
        ways = {"from_records": peer, "dataflow_runs --all": ours, "convert_parameters": typed}
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(ROUNDS + 1):
            for name, read in ways.items():
                one = seconds(read, path)
                if number:
                    taken[name].append(one)
    medians = {name: statistics.median(each) for name, each in taken.items()}
    print(
        f"Python {sys.version.split()[0]}, pandas {pd.__version__}, {RUNS:,} runs, {ROUNDS} rounds, medians\n"
    )
    for name, median in medians.items():
        print(f"{name:<22}{median * 1000:>8.0f} ms{median / medians['from_records']:>8.2f}x")


if __name__ == "__main__":
    main()
