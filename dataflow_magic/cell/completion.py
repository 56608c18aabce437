"""What the Tab key offers on a line of a magic or in a parameter block, from what is known already. Asks no service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, get_args

from dataflow_magic.cell.backfill import ORDERS
from dataflow_magic.cell.line import LineParser
from dataflow_magic.cell.parsers import MAGICS
from dataflow_magic.models.marker import MARKERS
from dataflow_magic.models.request import Reprocess
from dataflow_magic.models.wire import RunState

__all__ = ["Known", "complete", "complete_block", "complete_words"]

LINE = re.compile(r"\s*%%?dataflow_(\w+)\s+(.*)", re.DOTALL)
BLOCK = re.compile(r"\s*%%dataflow_run\s+(?:(?:id|name):)?(\w\S*)")
NAME = re.compile(r"\s*(\$?\w*)")
ASSIGNED = re.compile(r"\s*\$?(\w+)\s*=(?!=)")
LAST = "@last"


class Known(Protocol):
    """The names to offer; each method is called only where its names may stand."""

    def job_names(self) -> Iterable[str]:
        """Return names of jobs."""

    def run_names(self, beginning: str, variables: Mapping[str, object], /) -> Mapping[str, str]:
        """Return names of runs and sweeps that begin so, with their job and state, in the order to offer them."""

    def profile_names(self) -> Iterable[str]:
        """Return names of profiles."""

    def parameter_names(self, job: str) -> Iterable[str]:
        """Return the parameters of earlier runs of a job and those it has stored, without ``$``.

        Parameters
        ----------
        job
            Name or id.
        """


def complete(line: str, known: Known, variables: Mapping[str, object]) -> dict[str, str] | None:
    """Return the words that may end a line of a magic, in the order to offer them, each with what it is.

    Parameters
    ----------
    line
        The line up to the cursor.
    variables
        The notebook's names.

    Returns
    -------
    dict or None
        Whole words that begin with the part of the last word already typed, with a description that may be empty; None
        if the line is no line of a magic of this package.
    """
    found = LINE.fullmatch(line)
    if found is None or found[1] not in MAGICS:
        return None
    *before, word = re.split(r"\s+", found[2])
    return complete_words(MAGICS[found[1]](), before, word, known, variables)


def complete_words(
    parser: LineParser,
    before: Sequence[str],
    word: str,
    known: Known,
    variables: Mapping[str, object] = MappingProxyType({}),
) -> dict[str, str]:
    """Return the words that may stand in place of one that is begun, as `complete`.

    Parameters
    ----------
    before
        The words before it.
    """
    if before and parser.takes_value(before[-1]):
        return _beginning_with(word, _values(parser.value_of(before[-1]), word, known, variables))
    if word.startswith("-"):
        return _beginning_with(
            word, dict.fromkeys((flag for flag in parser.flags() if flag not in before), "")
        )
    given = [
        other
        for other, previous in zip(before, ["", *before], strict=False)
        if not other.startswith("-") and not parser.takes_value(previous)
    ]
    offered = _values(parser.argument_at(len(given)), word, known, variables)
    return _beginning_with(word, {name: what for name, what in offered.items() if name not in given})


def complete_block(
    above: Sequence[str], line: str, below: Sequence[str], known: Known
) -> dict[str, str] | None:
    """Return the names of parameters that may end a line of a block; None where no name may stand.

    Parameters
    ----------
    above, below
        The lines of the cell before and after it; the first line is that of the magic.
    line
        The line up to the cursor.
    """
    begun = NAME.fullmatch(line)
    job = BLOCK.match(above[0]) if above else None
    if begun is None or job is None or any(other.lstrip().startswith("{") for other in above[1:]):
        return None
    dollar = "$" if begun[1].startswith("$") else ""
    given = {found[1] for other in (*above[1:], *below) if (found := ASSIGNED.match(other))}
    names = [name for name in known.parameter_names(job[1]) if name.isidentifier() and name not in given]
    return _beginning_with(begun[1], dict.fromkeys((dollar + name for name in names), ""))


def _values(metavar: str, word: str, known: Known, variables: Mapping[str, object]) -> dict[str, str]:
    """Return the known values of an argument, by the metavar that its parser gives it."""
    match metavar:
        case "JOB":
            return dict.fromkeys(sorted(set(known.job_names())), "")
        case "RUN":
            return {LAST: "the newest start"} | dict(known.run_names(word, variables))
        case "PROFILE":
            return dict.fromkeys(known.profile_names(), "")
        case "TARGET":
            return dict.fromkeys(["cloud", "local", *known.profile_names()], "")
        case "STATUS":
            return dict.fromkeys(map(str, RunState), "")
        case "MARKER":
            return dict.fromkeys(MARKERS, "")
        case "ORDER":
            return dict.fromkeys(ORDERS, "")
        case "WHICH":
            return dict.fromkeys(get_args(Reprocess), "")
        case "TYPE":
            return dict.fromkeys(["DEFAULT", "DATAFLOW"], "")
    return {}


def _beginning_with(word: str, known: Mapping[str, str]) -> dict[str, str]:
    return {each: what for each, what in known.items() if each.startswith(word)}
