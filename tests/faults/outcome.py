"""What schedules saw, one by one and as a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.faults.judge import FAULTS as WRONG

__all__ = ["Outcome", "table"]

COLUMNS = (
    "starts",
    "answered",
    "found",
    "labelled",
    "UNCLEAR",
    "NOT_STARTED",
    "refused",
    "forgotten",
    *WRONG,
)
"""Of the table: how starts ended, and what must be 0."""


@dataclass
class Outcome:
    """What one schedule saw.

    Parameters
    ----------
    kinds
        What was drawn for it.
    """

    seed: int
    kinds: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def is_wrong(self) -> bool:
        return bool(self.error) or any(self.counts[name] for name in WRONG)

    def __str__(self) -> str:
        wrong = ", ".join(f"{self.counts[name]} {name}" for name in WRONG if self.counts[name])
        return f"seed {self.seed}: {wrong or self.error}\n  " + "\n  ".join(
            [*sorted(self.kinds), *self.story]
        )


def table(outcomes: list[Outcome]) -> str:
    """Return what was seen, by kind of schedule."""
    kinds = sorted({kind for outcome in outcomes for kind in outcome.kinds})
    width = max(map(len, kinds), default=0)
    lines = [
        " " * width + "".join(f"{name.split()[0].strip(chr(34)):>12}" for name in ("schedules", *COLUMNS))
    ]
    for kind in ["all", *kinds]:
        of_kind = [outcome for outcome in outcomes if kind == "all" or kind in outcome.kinds]
        counts: Counter[str] = sum((outcome.counts for outcome in of_kind), Counter())
        lines.append(
            f"{kind:{width}}{len(of_kind):>12,}" + "".join(f"{counts[name]:>12,}" for name in COLUMNS)
        )
    return "\n".join(lines)
