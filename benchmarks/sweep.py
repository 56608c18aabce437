"""What one update of a sweep's card costs: CPU time and bytes, beside painting the table anew and beside Dask's progress.

The card is the real one, its messages are those of ipywidgets and IPython, made and serialized by Jupyter's own `Session` as
a kernel does; only the socket is missing. The sweep has N runs, 20 of them RUNNING; an update is of one run that went from
RUNNING to COMPLETED and another from READY to RUNNING.

The naive peer is a table of all runs as one `text/html`, rendered and sent anew by `update_display`. The other is the
progress widget of dask.distributed, where that is installed: its `MultiProgressWidget` repaints bars and counts, ten times a
second, and has no rows, so it is to be held against the card's counts alone. The limits: what it takes to make and serialize
one message that holds nothing.

Prints a table; judges nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import comm
import ipywidgets
from jupyter_client.session import Session

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.output import LiveCard
from dataflow_magic.card.painter import PAINT_SECONDS
from dataflow_magic.card.sweep import ROWS_SECONDS, SWEEP_CARD
from dataflow_magic.card.sweep.html import rows_html, sweep_html
from dataflow_magic.card.sweep.state import Rows, SweepState, SweepView, sweep_state
from dataflow_magic.models.request import JobRef, RunRequest
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import KST, JobCondition, JobExecution

SIZES = (100, 1000)
ROUNDS = 200
AT_ONCE = 20
NOON = datetime(2026, 11, 1, 12, tzinfo=KST)


class Wire:
    """Makes and serializes messages as a kernel does, and counts their bytes."""

    def __init__(self) -> None:
        self._session = Session(key=b"benchmark")
        self.bytes = 0
        self.messages = 0

    def send(self, kind: str, content: dict[str, Any]) -> None:
        parts = self._session.serialize(self._session.msg(kind, content, metadata={"version": "2.1.0"}))
        self.bytes += sum(map(len, parts))
        self.messages += 1


WIRE = Wire()


class WiredComm(comm.base_comm.BaseComm):
    """A widget's comm that ends at the wire."""

    def publish_msg(self, msg_type: str, data: Any = None, *_: Any, **__: Any) -> None:
        WIRE.send(msg_type, {"comm_id": self.comm_id, "data": data or {}})


def display(bundle: dict[str, Any], *, display_id: str, update: bool, **_: Any) -> None:
    kind = "update_display_data" if update else "display_data"
    WIRE.send(kind, {"data": bundle, "metadata": {}, "transient": {"display_id": display_id}})


def a_run(number: int, status: str) -> RunView:
    """Return a run of a backfill."""
    is_over = status == "COMPLETED"
    return RunView(
        RunRequest(
            JobRef("gqigvHq1w2e3", "id"),
            JobCondition(num_worker=4),
            {"$run_date": f"{NOON.date() - timedelta(days=number)}", "$table": "test.sales"},
        ),
        target="cloud",
        endpoint="https://df.apigw.ntruss.com",
        key=f"key{number}",
        job_name="daily_sales",
        submitted_at=NOON,
        running_since=None if status == "READY" else NOON + timedelta(seconds=30),
        execution=JobExecution(
            job_execution_id=f"run{number:09}",
            job_id="gqigvHq1w2e3",
            status=status,
            end_date=NOON + timedelta(minutes=4) if is_over else None,
        ),
    )


class Backfill:
    """A sweep of which one run ends and one begins with each step."""

    def __init__(self, runs: int) -> None:
        self.views = [a_run(number, "RUNNING" if number < AT_ONCE else "READY") for number in range(runs)]
        self._at = 0
        self._rows = Rows(("$run_date",))
        self._numbers = tuple(range(runs))

    def step(self) -> None:
        runs = len(self.views)
        self.views[self._at % runs] = a_run(self._at % runs, "COMPLETED")
        following = (self._at + AT_ONCE) % runs
        self.views[following] = a_run(following, "RUNNING")
        self._at += 1

    def state(self, *, anew: bool = False) -> SweepState:
        view = SweepView(("$run_date",), len(self.views), tuple(zip(self._numbers, self.views, strict=True)))
        now = NOON + timedelta(minutes=5)
        return sweep_state(view, now, rows=None if anew else self._rows)


@dataclass(frozen=True)
class Cost:
    """Of one update: the median of its CPU time, and means of what was sent."""

    milliseconds: float
    bytes: float
    messages: float


def measure(step: Callable[[], None], update: Callable[[], None]) -> Cost:
    """Return what an update costs after each of many steps."""
    for _ in range(5):
        step()
        update()
    before, said = WIRE.bytes, WIRE.messages
    took = []
    for _ in range(ROUNDS):
        step()
        began = time.process_time_ns()
        update()
        took.append((time.process_time_ns() - began) / 1e6)
    return Cost(statistics.median(took), (WIRE.bytes - before) / ROUNDS, (WIRE.messages - said) / ROUNDS)


def of_card(runs: int, *, rows: bool) -> Cost:
    """Return the cost of an update of the card, of its counts alone or with its rows."""
    backfill = Backfill(runs)
    card = LiveCard(SWEEP_CARD, Actions(), display=display)
    card.show(backfill.state())
    return measure(backfill.step, lambda: card.update(backfill.state(), whole=rows))


def of_nothing(runs: int) -> Cost:
    """Return the cost of an update when nothing has changed."""
    backfill = Backfill(runs)
    card = LiveCard(SWEEP_CARD, Actions(), display=display)
    card.show(backfill.state())
    return measure(lambda: None, lambda: card.update(backfill.state()))


def of_redraw(runs: int) -> Cost:
    """Return the cost of a table of all runs, painted anew."""
    backfill = Backfill(runs)

    def update() -> None:
        state = backfill.state(anew=True)
        head = sweep_html(replace(state, rows=(), more=()))
        rows = [Rows(("$run_date",)).of(number, view) for number, view in enumerate(backfill.views)]
        display({"text/html": head + rows_html(state, tuple(rows))}, display_id="all", update=True)

    return measure(backfill.step, update)


def of_message() -> Cost:
    """Return the cost of a message that holds nothing."""
    return measure(lambda: None, lambda: WIRE.send("comm_msg", {"comm_id": "1f", "data": {}}))


def of_dask(runs: int) -> Cost | None:
    """Return the cost of a repaint of dask.distributed's bars, None where it is not installed."""
    try:
        from distributed.diagnostics.progressbar import MultiProgressWidget
    except ImportError:
        return None
    widget = MultiProgressWidget([], scheduler="tcp://127.0.0.1:1")
    widget.make_widget({"daily_sales": runs})
    done = iter(range(10**9))

    def update() -> None:
        over = next(done) % runs
        widget._draw_bar(  # noqa: SLF001 - what its loop calls every 0.1 s
            remaining={"daily_sales": runs - over}, all={"daily_sales": runs}, status="running"
        )

    return measure(lambda: None, update)


def print_costs(runs: int) -> None:
    """Print what updates of so many runs cost, as ratios of the card's with its rows."""
    card = of_card(runs, rows=True)
    # How often each is painted at most: a table painted anew is given the card's own pace.
    costs = {
        "card, counts and rows": (card, 1 / ROWS_SECONDS),
        "card, counts alone": (of_card(runs, rows=False), 1 / PAINT_SECONDS),
        "card, nothing changed": (of_nothing(runs), 1 / PAINT_SECONDS),
        "table painted anew": (of_redraw(runs), 1 / ROWS_SECONDS),
        "dask.distributed": (of_dask(runs), 10),
        "an empty message": (of_message(), 1),
    }
    print(f"\n{runs} runs, one update; and what its updates send in a second at most\n")
    print(f"{'':<24}{'CPU':>10}{'ratio':>8}{'sent':>12}{'ratio':>8}{'messages':>10}{'a second':>13}")
    for name, (cost, often) in costs.items():
        if cost is None:
            print(f"{name:<24}{'not installed':>20}")
            continue
        print(
            f"{name:<24}{cost.milliseconds:>7.2f} ms{cost.milliseconds / card.milliseconds:>7.2f}x"
            f"{cost.bytes / 1000:>9.1f} KB{cost.bytes / card.bytes:>7.2f}x{cost.messages:>10.1f}"
            f"{cost.bytes * often / 1000:>10.1f} KB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, nargs="*", default=list(SIZES), metavar="N")
    sizes = parser.parse_args().runs
    if min(sizes) <= AT_ONCE:
        parser.error(
            f"{AT_ONCE} runs are active at once; give a larger number, so that some run follows another"
        )
    ipywidgets.comm.create_comm = WiredComm
    print(f"Python {sys.version.split()[0]}, ipywidgets {ipywidgets.__version__}")
    for runs in sizes:
        print_costs(runs)


if __name__ == "__main__":
    main()
