"""What finished runs leave behind in a kernel: the widgets of the newest cards, no task, no thread, no descriptor."""

import asyncio
import threading
from pathlib import Path
from types import CoroutineType

import ipywidgets
import pytest

from dataflow_magic.card.output import MOST_ENDED
from tests.helpers import eventually
from tests.widgets import live_widgets

RUN = "%%dataflow_run {job}\nday = {number}"
SWEEP = "%%dataflow_run {job}\nday = each({number}, 100 + {number})"
WAIT = "%%dataflow_run {job} --wait\nday = {number}"
MOST_OF_A_CARD = 31
"""Widgets of one card, with its layouts and styles."""


def tasks_of(scene) -> list[str]:
    """Return the tasks on the session's loop but those of the service, which runs there too."""

    async def names() -> list[str]:
        coroutines = [task.get_coro() for task in asyncio.all_tasks() - {asyncio.current_task()}]
        return [
            each.__qualname__
            for each in coroutines
            if isinstance(each, CoroutineType) and "local/engine.py" not in each.cr_code.co_filename
        ]

    found: list[str] = scene.session._loop.call(names())
    return found


def descriptors_of(scene) -> int:
    """Return how many descriptors this process has, without those that the scene keeps of each attach."""
    return len(list(Path("/dev/fd").iterdir())) - len(scene.holds)


def open_widgets() -> int:
    return len(ipywidgets.Widget.get_manager_state()["state"])


@pytest.mark.parametrize("cell", [RUN, SWEEP, WAIT], ids=["runs", "sweeps", "waits"])
@pytest.mark.parametrize("job", ["daily_sales", "broken"])
def test_finished_cards_leave_no_widget_task_thread_or_descriptor(lab, scene, cell, job):
    existing, opened = live_widgets(), open_widgets()
    lab.run(cell.format(job=job, number=0))  # imports, and makes the connections
    eventually(lambda: not tasks_of(scene), "nothing is followed any more")
    threads, descriptors = threading.active_count(), descriptors_of(scene)
    for number in range(1, MOST_ENDED + 6):
        lab.run(cell.format(job=job, number=number))
    eventually(lambda: not tasks_of(scene), "nothing is followed any more")

    assert len(scene.session.runs) >= MOST_ENDED + 6
    assert all(run.is_over for run in scene.session.runs)
    assert open_widgets() - opened <= MOST_OF_A_CARD * MOST_ENDED
    assert len({*map(id, live_widgets())} - {*map(id, existing)}) <= MOST_OF_A_CARD * MOST_ENDED
    eventually(lambda: threading.active_count() <= threads, "no thread is left")
    # The ledger and the service open a file more where many threads read at once; a card opens none.
    assert descriptors_of(scene) < descriptors + MOST_ENDED
