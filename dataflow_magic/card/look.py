"""What a kind of card consists of: its state, how that is written, and its widgets. Imports no ipywidgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from dataflow_magic.card.actions import Actions
from dataflow_magic.card.words import Words

if TYPE_CHECKING:
    from dataflow_magic.card.widgets import Widgets

__all__ = ["Look", "S", "State"]


class State(Protocol):
    """What a card shows at one moment."""

    @property
    def is_final(self) -> bool:
        """Whether nothing in it changes any more."""

    @property
    def save_key(self) -> object:
        """What a saved notebook is brought up to date for when it changes, while the card lives; it changes seldom."""

    @property
    def refresh(self) -> str:
        """The command that shows it again, in its own kernel."""

    @property
    def later(self) -> str:
        """The command that continues with it in another kernel."""

    @property
    def words(self) -> Words:
        """The card's labels."""

    @property
    def tick(self) -> float:
        """Seconds from one elapsed time to the next."""

    @property
    def line_key(self) -> object:
        """What a terminal prints a new line for when it changes."""

    def timeless(self) -> object:
        """Return the state without what changes as time passes."""


S = TypeVar("S", bound=State)


@dataclass(frozen=True, slots=True)
class Look(Generic[S]):
    """How one kind of card is written.

    Parameters
    ----------
    html, text, line
        Return the whole card as HTML, as plain text, and as one line.
    widgets
        Returns the widgets of a new card, given its first state, what its buttons do, and what to call with the name of
        a clicked button. Imports ipywidgets.
    whole_seconds
        From one repaint of all of a live card to the next at least; between them its small parts are repainted.
    """

    html: Callable[[S], str]
    text: Callable[[S], str]
    line: Callable[[S], str]
    widgets: Callable[[S, Actions, Callable[[str], None]], Widgets[S]]
    whole_seconds: float = 0.0
