"""What schedules saw, one by one and as a table; and many schedules at once."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.faults.judge import FAULTS as WRONG

__all__ = ["COLUMNS", "Outcome", "run_many"]

say = partial(print, flush=True)

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
    wrong
        Names of what must not be counted.
    """

    seed: int
    wrong: tuple[str, ...] = WRONG
    kinds: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def is_wrong(self) -> bool:
        return bool(self.error) or any(self.counts[name] for name in self.wrong)

    def __str__(self) -> str:
        wrong = ", ".join(f"{self.counts[name]} {name}" for name in self.wrong if self.counts[name])
        return f"seed {self.seed}: {wrong or self.error}\n  " + "\n  ".join(
            [*sorted(self.kinds), *self.story]
        )


def table(outcomes: list[Outcome], columns: tuple[str, ...]) -> str:
    """Return what was seen, by kind of schedule."""
    kinds = sorted({kind for outcome in outcomes for kind in outcome.kinds})
    width = max(map(len, kinds), default=0)
    lines = [
        " " * width + "".join(f"{name.split()[0].strip(chr(34)):>12}" for name in ("schedules", *columns))
    ]
    for kind in ["all", *kinds]:
        of_kind = [outcome for outcome in outcomes if kind == "all" or kind in outcome.kinds]
        counts: Counter[str] = sum((outcome.counts for outcome in of_kind), Counter())
        lines.append(
            f"{kind:{width}}{len(of_kind):>12,}" + "".join(f"{counts[name]:>12,}" for name in columns)
        )
    return "\n".join(lines)


def run_many(
    run: Callable[[int], Outcome], columns: tuple[str, ...], module: str, arguments: Sequence[str]
) -> int:
    """Run schedules from a seed on, so many of them, one process a core; print what was seen, and return the exit code."""
    begun = time.monotonic()
    first, count = map(int, arguments)
    seeds = range(first, first + count)
    say(f"{count:,} schedules of {module}, seeds {first} to {seeds[-1]}")
    with multiprocessing.Pool() as pool:
        outcomes = []
        for outcome in pool.imap_unordered(run, seeds, chunksize=8):
            outcomes.append(outcome)
            if outcome.is_wrong:
                say(outcome, f"\n  python -m {module} {outcome.seed} 1 repeats it")
    say(table(outcomes, columns))
    wrong = sum(outcome.is_wrong for outcome in outcomes)
    say(f"{wrong} of {count:,} schedules are wrong; {time.monotonic() - begun:.0f} s")
    return int(wrong > 0)
