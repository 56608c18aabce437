"""Who looks at the output decides how a run is shown, and only a cell that waits has lines to print."""

import sys
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.presenter import FrontEnd, Presenter, front_end, is_headless
from dataflow_magic.card.run.html import to_text
from dataflow_magic.card.run.state import CardState, card_state
from dataflow_magic.models.view import KST, RunView
from tests.helpers import execution
from tests.views import run_view

NOW = datetime(2026, 11, 2, 10, 0, 30, tzinfo=KST)
SUBMITTING = run_view(NOW.replace(second=0), parameters={"$day": "1"})


def seen(status: str, **fields: Any) -> RunView:
    return replace(SUBMITTING, execution=execution(status, **fields))


RUNNING = seen("RUNNING")
DONE = seen("COMPLETED", endDate="2026-11-02T10:00:20+09:00")


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
def test_the_shell_tells_who_looks(shell, expected):
    assert front_end(shell) is expected


def test_colab_gets_no_widgets():
    sys.modules["google.colab"] = SimpleNamespace()  # type: ignore[assignment]
    try:
        assert front_end(SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True))) is FrontEnd.STATIC
    finally:
        del sys.modules["google.colab"]


def test_nobody_watches_only_where_a_kernel_cannot_ask():
    assert is_headless(SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False)))
    assert not is_headless(SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True)))
    assert not is_headless(SimpleNamespace())
    assert not is_headless(None)


class Card:
    """Notes what it is told."""

    def __init__(self, *, interactive: bool) -> None:
        self.interactive = interactive
        self.told: list[tuple[str, str]] = []

    def show(self, state: CardState) -> None:
        self.told.append(("show", state.state))

    def update(self, state: CardState) -> None:
        self.told.append(("update", state.state))

    def finish(self, state: CardState) -> None:
        self.told.append(("finish", state.state))

    def offer_cancel(self) -> None:
        self.told.append(("offer cancel", ""))


def a_presenter(where: FrontEnd) -> tuple[Presenter, list[Card], list[str]]:
    cards: list[Card] = []
    lines: list[str] = []

    def make_card(_: Actions, *, interactive: bool) -> Any:
        cards.append(Card(interactive=interactive))
        return cards[-1]

    return Presenter(Actions(), where, make_card=make_card, write=lines.append), cards, lines


@pytest.mark.parametrize(
    ("where", "interactive"), [(FrontEnd.WIDGETS, True), (FrontEnd.STATIC, False)], ids=["widgets", "static"]
)
def test_a_card_is_made_once_repainted_and_finished_and_nothing_is_printed(where, interactive):
    presenter, cards, lines = a_presenter(where)
    assert not presenter.is_shown
    presenter.show(SUBMITTING, NOW)
    presenter.update(RUNNING, NOW)
    presenter.show(RUNNING, NOW)
    presenter.update(DONE, NOW)
    presenter.offer_cancel()

    assert presenter.is_shown
    assert [card.interactive for card in cards] == [interactive]
    assert cards[0].told == [
        ("show", "SUBMITTING"),
        ("update", "RUNNING"),
        ("show", "RUNNING"),
        ("finish", "COMPLETED"),
        ("offer cancel", ""),
    ]
    assert lines == []


def test_a_terminal_gets_the_whole_run_a_line_per_change_and_the_whole_at_the_end():
    presenter, cards, lines = a_presenter(FrontEnd.TERMINAL)
    ready = seen("READY")
    blind = replace(RUNNING, blind_since=NOW, blind_reason="the service is gone")
    later = NOW.replace(second=40)
    presenter.show(ready, NOW, kernel_waits=True)
    for view, now in [
        (ready, later),
        (RUNNING, NOW),
        (RUNNING, later),
        (blind, NOW),
        (blind, later),
        (RUNNING, later),
    ]:
        presenter.update(view, now, kernel_waits=True)
    presenter.update(DONE, NOW, kernel_waits=True)
    presenter.update(DONE, NOW, kernel_waits=True)

    assert cards == []
    assert not presenter.is_shown
    first, *changes, last = lines
    assert first == to_text(card_state(ready, NOW, kernel_waits=True))
    assert changes[0] == "RUNNING  daily  run000000001  30 s"
    assert changes[1].startswith("RUNNING  daily  run000000001  30 s  ")
    assert changes[1].endswith("10:00:30 KST: the service is gone")
    assert changes[2:] == ["RUNNING  daily  run000000001  40 s"]
    assert last == to_text(card_state(DONE, NOW))


def test_background_work_never_prints():
    presenter, _, lines = a_presenter(FrontEnd.TERMINAL)
    presenter.show(SUBMITTING, NOW)
    shown = len(lines)
    presenter.update(RUNNING, NOW)
    presenter.update(DONE, NOW)
    presenter.offer_cancel()

    assert len(lines) == shown == 1


def test_a_terminal_prints_to_standard_output_by_default(capsys):
    Presenter(Actions(), FrontEnd.TERMINAL).show(DONE, NOW)

    assert capsys.readouterr().out.startswith("COMPLETED  daily")
