"""The cost of a run's card: the time from the cell to the card, and a kernel's work while live cards are shown.

First card: `%%dataflow_run` in an IPython shell, against the real local service in a process of its own whose runs are
scripted, over real HTTP. Counted from the cell's begin until its card is published, less the time the service took to answer;
in a fresh process for the first cell, where modules are imported, and for those that follow.

Living cards: N runs that are RUNNING, each with its card shown, for some seconds: CPU time of the kernel, messages and
bytes, which ipywidgets makes and Jupyter's own `Session` serializes as in a kernel; only the socket is missing. A card that ticks
each second sends one message for it. The peer is dask.distributed's progress widget at its own pace of ten repaints a second,
where that is installed: it is given no scheduler, so its cost is that of painting alone.

Prints tables; judges nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import ipywidgets
from sweep import WIRE, WiredComm, display
from watch import ServiceProcess, job_id, new_session, parameters

from dataflow_magic import api
from dataflow_magic.card.actions import Actions
from dataflow_magic.card.front_end import FrontEnd
from dataflow_magic.card.output import LiveCard
from dataflow_magic.card.painter import Painter
from dataflow_magic.card.presenter import Presenter
from dataflow_magic.card.run import RUN_CARD
from dataflow_magic.models.request import JobRef, RunRequest
from dataflow_magic.models.wire import JobCondition
from dataflow_magic.session.session import Session

CELLS = 10
FRESH = 5
SETTLE_SECONDS = 3.0
WATCHED_SECONDS = 20.0
CONDITION = JobCondition(nrn="nrn:PUB:IAM::1:Role/1", script_path="bucket/scripts/", log_path="bucket/logs/")


class TimingTransport(httpx.AsyncBaseTransport):
    """Real sockets, and the seconds the service took for all requests so far."""

    def __init__(self) -> None:
        self._sockets = httpx.AsyncHTTPTransport()
        self.seconds = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send."""
        began = time.perf_counter()
        try:
            response = await self._sockets.handle_async_request(request)
            await response.aread()
        finally:
            self.seconds += time.perf_counter() - began
        return response

    async def aclose(self) -> None:
        """Hang up."""
        await self._sockets.aclose()


def first_cards(address: str, home: Path) -> list[float]:
    """Return how long each of some cells took to show its card, beyond the service's answers, in milliseconds."""
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    published: list[float] = []

    class Publisher(DisplayPublisher):
        def publish(self, *_: Any, **__: Any) -> None:
            published.append(time.perf_counter())

    transport = TimingTransport()
    session = new_session(home, transport)  # type: ignore[arg-type]
    api.get_session = lambda: session
    shell: Any = InteractiveShell.instance()
    shell.display_pub = Publisher()  # type: ignore[no-untyped-call]
    shell.kernel = SimpleNamespace(_allow_stdin=True)
    shell.run_cell("%load_ext dataflow_magic")
    took = []
    for number in range(CELLS):
        # What watching the runs before takes is theirs.
        before, cell = transport.seconds, f"%%dataflow_run id:{job_id(0)} --target {address}\nday = {number}"
        published.clear()
        began = time.perf_counter()
        result = shell.run_cell(cell, store_history=False)
        result.raise_error()
        took.append(1000 * (published[0] - began - (transport.seconds - before)))
    session.close()
    return took


def in_fresh_processes(address: str) -> tuple[list[float], list[float]]:
    """Return the first and the following cells' times of some processes."""
    first, following = [], []
    for _ in range(FRESH):
        with tempfile.TemporaryDirectory() as home:
            done = subprocess.run(
                [sys.executable, __file__, "--cells", address, home],
                capture_output=True,
                text=True,
                check=True,
            )
        took = json.loads(done.stdout.splitlines()[-1])
        first.append(took[0])
        following += took[1:]
    return first, following


def watched(session: Session, service: ServiceProcess, runs: int) -> dict[str, float]:
    """Return what showing so many living runs costs in a second."""
    target = session.target(service.address, None)
    for number in range(runs):
        run = session.start(RunRequest(JobRef(job_id(0), "id"), CONDITION, parameters(number)), target)
        make_card = partial(LiveCard, display=display)
        presenter = Presenter(RUN_CARD, Actions(), FrontEnd.WIDGETS, make_card=make_card)
        run._painter = Painter(run, presenter, run._tracker.submit)  # noqa: SLF001
        run.show()
        service.change(str(run.run_id), "RUNNING")
    time.sleep(SETTLE_SECONDS)
    return cost_of(lambda: time.sleep(WATCHED_SECONDS))


def dask_progress() -> dict[str, float] | None:
    """Return what dask.distributed's progress widget costs in a second, None where it is not installed."""
    try:
        from distributed.diagnostics.progressbar import MultiProgressWidget
    except ImportError:
        return None
    widget = MultiProgressWidget([], scheduler="tcp://127.0.0.1:1")
    widget.make_widget({"daily_sales": 1000})

    async def paint() -> None:
        for step in range(int(WATCHED_SECONDS * 10)):
            widget._draw_bar(  # noqa: SLF001 - what its loop calls every 0.1 s
                remaining={"daily_sales": 1000 - step}, all={"daily_sales": 1000}, status="running"
            )
            await asyncio.sleep(0.1)

    return cost_of(lambda: asyncio.run(paint()))


def cost_of(act: Callable[[], None]) -> dict[str, float]:
    """Return what is used and sent meanwhile, by the second."""
    cpu, began, sent, said = time.process_time(), time.monotonic(), WIRE.bytes, WIRE.messages
    act()
    seconds = time.monotonic() - began
    return {
        "CPU, ms": 1000 * (time.process_time() - cpu) / seconds,
        "messages": (WIRE.messages - said) / seconds,
        "KB": (WIRE.bytes - sent) / 1000 / seconds,
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--shown", type=int, nargs="*", default=[1, 100], metavar="N", help="living cards")
    options = parser.parse_args()
    if options.cells:
        address, home = options.cells
        print(f"\n{json.dumps(first_cards(address, Path(home)))}")
        return
    print(f"Python {sys.version.split()[0]}, ipywidgets {ipywidgets.__version__}")
    with tempfile.TemporaryDirectory() as folder, ServiceProcess.opened(Path(folder) / "s", 0, 1) as service:
        first, following = in_fresh_processes(service.address)
    print("\nfrom the cell to its card, beyond the service's answers")
    print(f"  first cell of a kernel   {statistics.median(first):7.1f} ms (of {len(first)})")
    print(f"  a cell that follows      {statistics.median(following):7.1f} ms (of {len(following)})")
    ipywidgets.comm.create_comm = WiredComm
    costs: dict[str, dict[str, float] | None] = {}
    for runs in options.shown:
        with (
            tempfile.TemporaryDirectory() as folder,
            ServiceProcess.opened(Path(folder) / "s", 0, 1) as service,
        ):
            session = new_session(Path(folder) / "home", TimingTransport())  # type: ignore[arg-type]
            try:
                costs[f"{runs} living cards"] = watched(session, service, runs)
            finally:
                session.close()
    costs["dask.distributed"] = dask_progress()
    peer = costs["dask.distributed"]
    print("\nin a second\n")
    for name, cost in costs.items():
        if cost is None:
            print(f"{name:<20} not installed")
            continue
        print(
            f"{name:<20}"
            + "".join(
                f"{what:>10} {value:8.2f}" + (f" {value / peer[what]:6.2f}x" if peer else "")
                for what, value in cost.items()
            )
        )


if __name__ == "__main__":
    main()
