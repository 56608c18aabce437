"""What displays the output decides how a card is shown, and a terminal gets lines only while a cell waits."""

import sys
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.front_end import FrontEnd, front_end, is_headless
from dataflow_magic.card.look import Look
from dataflow_magic.card.presenter import Presenter
from dataflow_magic.card.run import RUN_CARD
from dataflow_magic.card.run.html import to_text
from dataflow_magic.card.run.state import CardState, card_state
from dataflow_magic.card.sweep import SWEEP_CARD
from dataflow_magic.card.sweep.state import SweepState, SweepView, sweep_state
from dataflow_magic.models.view import KST
from tests.helpers import execution
from tests.views import run_view

NOON = datetime(2026, 11, 2, 12, tzinfo=KST)
SENT = run_view(NOON, parameters={"$day": "1"})


def run_state(status: str = "", seconds: float = 30, *, kernel_waits: bool = False, **more: Any) -> CardState:
    end = "2026-11-02T12:00:20+09:00" if status == "COMPLETED" else None
    view = replace(SENT, execution=execution(status, endDate=end) if status else None, **more)
    return card_state(view, NOON + timedelta(seconds=seconds), kernel_waits=kernel_waits)


def state_of_sweep(*statuses: str, is_over: bool = False, seconds: float = 1) -> SweepState:
    end = "2026-11-02T12:00:09+09:00" if is_over else None
    views = [
        run_view(
            NOON,
            parameters={"$month": number},
            execution=execution(status, f"run00000000{number}", endDate=end),
        )
        for number, status in enumerate(statuses)
    ]
    sweep = SweepView(("$month",), len(views), tuple(enumerate(views)), is_over=is_over)
    return sweep_state(sweep, NOON + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        (None, FrontEnd.TERMINAL),
        (SimpleNamespace(), FrontEnd.TERMINAL),
        (SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True)), FrontEnd.WIDGETS),
        (SimpleNamespace(kernel=SimpleNamespace()), FrontEnd.WIDGETS),
        (SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False)), FrontEnd.STATIC),
    ],
    ids=["no IPython", "terminal IPython", "JupyterLab", "a kernel that does not say", "nbclient"],
)
def test_the_shell_decides_the_front_end(shell, expected):
    assert front_end(shell) is expected


def test_colab_gets_no_widgets():
    sys.modules["google.colab"] = SimpleNamespace()  # type: ignore[assignment]
    try:
        assert front_end(SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True))) is FrontEnd.STATIC
    finally:
        del sys.modules["google.colab"]


def test_only_a_kernel_that_cannot_ask_for_input_and_a_script_are_headless():
    assert is_headless(SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False)))
    assert not is_headless(SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True)))
    assert is_headless(SimpleNamespace(parent=SimpleNamespace(interact=False)))
    assert not is_headless(SimpleNamespace(parent=SimpleNamespace(interact=True)))
    assert not is_headless(SimpleNamespace())
    assert not is_headless(None)


class Card:
    """Records its calls."""

    def __init__(self, *, interactive: bool) -> None:
        self.interactive = self.is_interactive = interactive
        self.fault: Exception | None = None
        self.calls: list[tuple[str, object]] = []

    def show(self, state: Any) -> None:
        self.calls.append(("show", state.state))

    def update(self, state: Any, *, whole: bool) -> None:
        self.calls.append((f"update {state.state}", whole))

    def finish(self, state: Any) -> None:
        self.calls.append(("finish", state.state))

    def offer(self) -> None:
        self.calls.append(("offer", None))


class Stage:
    """A presenter with a card, a clock and a terminal of its own."""

    def __init__(self, look: Look[Any], where: FrontEnd) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.cards: list[Card] = []
        self.no_card: Exception | None = None
        self.fault: Exception | None = None
        self.noted: set[str] = set()
        self.presenter = Presenter[Any](
            look,
            Actions(),
            where,
            make_card=self._make_card,
            write=self.lines.append,
            clock=lambda: self.now,
            noted=self.noted,
        )

    def _make_card(self, _look: Look[Any], _actions: Actions, *, interactive: bool) -> Any:
        if self.no_card is not None:
            raise self.no_card
        self.cards.append(Card(interactive=interactive))
        self.cards[-1].fault = self.fault
        return self.cards[-1]


@pytest.mark.parametrize(
    ("where", "interactive"), [(FrontEnd.WIDGETS, True), (FrontEnd.STATIC, False)], ids=["widgets", "static"]
)
def test_a_card_is_made_once_repainted_and_finished_and_nothing_is_printed(where, interactive):
    stage = Stage(RUN_CARD, where)
    assert not stage.presenter.is_shown
    stage.presenter.offer()
    stage.presenter.show(run_state())
    stage.presenter.update(run_state("RUNNING"))
    stage.presenter.show(run_state("RUNNING"))
    stage.presenter.update(run_state("COMPLETED"))
    stage.presenter.offer()

    assert stage.presenter.is_shown
    assert [card.interactive for card in stage.cards] == [interactive]
    assert stage.cards[0].calls == [
        ("show", "SUBMITTING"),
        ("update RUNNING", True),
        ("show", "RUNNING"),
        ("finish", "COMPLETED"),
        ("offer", None),
    ]
    assert stage.lines == []


def test_a_card_of_a_run_that_is_given_up_is_finished_although_its_state_is_not_final():
    stage = Stage(RUN_CARD, FrontEnd.WIDGETS)
    stage.presenter.show(run_state())
    stage.presenter.update(run_state(settled="NOT_STARTED"), is_over=True)

    assert stage.cards[0].calls == [("show", "SUBMITTING"), ("finish", "NOT_STARTED")]


def test_rows_of_a_sweep_are_painted_once_a_second_at_most_and_what_was_put_off_is_not_forgotten():
    stage = Stage(SWEEP_CARD, FrontEnd.WIDGETS)
    stage.presenter.show(state_of_sweep("READY"))
    rests = []
    for stage.now in (0.0, 0.5, 1.0, 1.5):
        rests.append(stage.presenter.update(state_of_sweep("RUNNING")))
    stage.now = 2.0
    rests.append(stage.presenter.update(state_of_sweep("RUNNING", seconds=200)))

    (card,) = stage.cards
    assert card.calls == [
        ("show", "RUNNING"),
        *(("update RUNNING", rows) for rows in (True, False, True, False, True)),
    ]
    assert rests == [1.0, 0.5, 1.0, 0.5, 10.0]


def test_a_terminal_gets_the_whole_run_a_line_per_change_and_the_whole_at_the_end():
    stage = Stage(RUN_CARD, FrontEnd.TERMINAL)
    blind: dict[str, Any] = {
        "blind_since": NOON + timedelta(seconds=30),
        "blind_reason": "the service is gone",
    }
    stage.presenter.show(run_state("READY", kernel_waits=True))
    for state in [
        run_state("READY", 40),
        run_state("RUNNING"),
        run_state("RUNNING", 40),
        run_state("RUNNING", **blind),
        run_state("RUNNING", 40, **blind),
        run_state("RUNNING", 40),
        run_state("COMPLETED"),
        run_state("COMPLETED"),
    ]:
        stage.presenter.update(state, kernel_waits=True)

    assert stage.cards == []
    assert not stage.presenter.is_shown
    first, *changes, last = stage.lines
    assert first == to_text(run_state("READY", kernel_waits=True))
    assert changes[0] == "RUNNING  daily  run000000001  30 s"
    assert changes[1].startswith("RUNNING  daily  run000000001  30 s  ")
    assert changes[1].endswith("12:00:30 KST: the service is gone")
    assert changes[2:] == ["RUNNING  daily  run000000001  40 s"]
    assert last == to_text(run_state("COMPLETED"))


def test_a_terminal_gets_a_line_per_change_of_a_sweep_and_the_whole_at_the_end():
    stage = Stage(SWEEP_CARD, FrontEnd.TERMINAL)
    stage.presenter.show(state_of_sweep("READY", "READY"))
    stage.presenter.update(state_of_sweep("RUNNING", "READY", seconds=5))
    for seconds in (7, 8):
        stage.presenter.update(state_of_sweep("RUNNING", "READY", seconds=seconds), kernel_waits=True)
    for _ in range(2):
        stage.presenter.update(state_of_sweep("FAILED", "COMPLETED", is_over=True), kernel_waits=True)

    assert stage.cards == []
    assert stage.lines[1:] == [
        "0 of 2 runs over  daily  1 RUNNING, 1 READY  7 s",
        "FAILED  daily  2 of 2 runs over  9 s  local\n  1 FAILED, 1 COMPLETED\n  .retry_failed() starts the 1 failed again\n  FAILED  month=0  run000000000",
    ]


def test_background_work_never_prints():
    stage = Stage(RUN_CARD, FrontEnd.TERMINAL)
    stage.presenter.show(run_state())
    stage.presenter.update(run_state("RUNNING"))
    stage.presenter.update(run_state("COMPLETED"))
    stage.presenter.offer()

    assert len(stage.lines) == 1


def test_a_terminal_prints_to_standard_output_by_default(capsys):
    Presenter(RUN_CARD, Actions(), FrontEnd.TERMINAL).show(run_state("COMPLETED"))

    assert capsys.readouterr().out.startswith("COMPLETED  daily")


FAULTS = st.builds(
    lambda kind, text: kind(text),
    st.sampled_from(
        [ImportError, ModuleNotFoundError, TypeError, RuntimeError, OSError, KeyError, ValueError]
    ),
    st.text(max_size=300),
)


@given(FAULTS)
def test_a_card_that_no_output_takes_is_written_as_text_instead(fault):
    stage = Stage(RUN_CARD, FrontEnd.WIDGETS)
    stage.no_card = fault
    stage.presenter.show(run_state("READY"))
    stage.presenter.update(run_state("RUNNING"), kernel_waits=True)
    stage.presenter.update(run_state("COMPLETED"), kernel_waits=True)

    assert stage.lines[0] == to_text(run_state("READY"))
    assert stage.lines[-1] == to_text(run_state("COMPLETED"))
    assert not stage.presenter.is_live


@given(FAULTS)
def test_a_card_that_lost_its_widgets_says_so_once_with_the_remedy(fault):
    stage = Stage(RUN_CARD, FrontEnd.WIDGETS)
    stage.fault = fault
    for _ in range(2):
        stage.presenter.show(run_state("READY"))

    (note,) = stage.lines
    assert note.startswith(
        "Note: cards have no buttons here, because ipywidgets does not work in this kernel ("
    )
    assert note.endswith("). Run %pip install -U ipywidgets and restart the kernel.")
    assert len(note.splitlines()) == 1
    assert len(note) < 500


def test_a_note_that_cannot_be_written_fails_no_cell():
    def write(_: str) -> None:
        raise OSError(5, "Input/output error")

    Presenter[Any](RUN_CARD, Actions(), FrontEnd.STATIC, write=write).say("a note")
