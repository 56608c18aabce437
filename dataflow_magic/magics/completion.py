"""What the Tab key offers on a line or in a block of ours: what is known already. Pure; asks no service."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from dataflow_magic.cell.run import option_strings
from dataflow_magic.cell.runs import listing_option_strings
from dataflow_magic.cell.script import script_option_strings
from dataflow_magic.cell.wait import wait_option_strings
from dataflow_magic.models.wire import RunState

__all__ = ["Known", "complete", "complete_block"]

LINE = re.compile(r"\s*%%?dataflow_(\w+)\s+(.*)", re.DOTALL)
BLOCK = re.compile(r"\s*%%dataflow_run\s+(?:(?:id|name):)?(\w\S*)")
NAME = re.compile(r"\s*(\$?\w*)")
ASSIGNED = re.compile(r"\s*\$?(\w+)\s*=(?!=)")
LAST = "@last"


class Known(Protocol):
    """What is known here; each is asked only where it may stand."""

    def job_names(self) -> Iterable[str]:
        """Return names of jobs."""

    def run_names(self) -> Iterable[str]:
        """Return ids and keys of runs, the newest first."""

    def profile_names(self) -> Iterable[str]:
        """Return names of profiles."""

    def parameter_names(self, job: str) -> Iterable[str]:
        """Return the parameters that a job, by its name or id, was given or has stored, without their ``$``."""


class Magic(NamedTuple):
    """What may stand on the line of one magic."""

    options: Callable[[], list[str]] = list
    first: str = ""
    """What the first word that is no option is."""
    others: str = ""
    """What further ones are."""


MAGICS = {
    "attach": Magic(first="run", others="job"),
    "cancel": Magic(first="run"),
    "jobs": Magic(first="target"),
    "run": Magic(option_strings, first="job"),
    "runs": Magic(listing_option_strings),
    "script": Magic(script_option_strings, first="job"),
    "status": Magic(first="run"),
    "wait": Magic(wait_option_strings, first="run", others="run"),
}
VALUES = {
    "--again": "run",
    "--job": "job",
    "--profile": "profile",
    "--remote": "job",
    "--status": "status",
    "--target": "target",
    "--worker-type": "worker type",
}
"""By option: what its value is."""
FREE = frozenset(
    {
        "--columns", "--limit", "--log-path", "--nrn", "--out", "--script-path", "--since", "--timeout", "--trigger-id",
        "--wait-timeout", "--workers", "--workflow-id", "-o", "-w",
    }
)  # fmt: skip
"""Options whose value may be anything."""


def complete(line: str, known: Known) -> list[str] | None:
    """Return what may stand where a line ends, in the order to offer it.

    Parameters
    ----------
    line
        The line up to the cursor.

    Returns
    -------
    list of str or None
        Whole words that begin with what is typed of the last one; None where the line is not ours.
    """
    found = LINE.fullmatch(line)
    magic = MAGICS.get(found[1]) if found else None
    if found is None or magic is None:
        return None
    *before, word = re.split(r"\s+", found[2])
    if before and before[-1] in VALUES:
        return _beginning_with(word, _words(VALUES[before[-1]], known))
    if before and before[-1] in FREE:
        return []
    if word.startswith("-"):
        return _beginning_with(word, [option for option in magic.options() if option not in before])
    given = _positional(before)
    offered = [each for each in _words(magic.others if given else magic.first, known) if each not in given]
    return _beginning_with(word, offered)


def complete_block(above: Sequence[str], line: str, below: Sequence[str], known: Known) -> list[str] | None:
    """Return the names of parameters that may stand where a line of a block ends; None where no name may.

    Parameters
    ----------
    above, below
        The cell's lines around it, the first being that of the magic.
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
    return _beginning_with(begun[1], [dollar + name for name in names])


def _positional(words: Sequence[str]) -> list[str]:
    takes_value = {*VALUES, *FREE}
    return [
        word
        for number, word in enumerate(words)
        if not word.startswith("-") and (number == 0 or words[number - 1] not in takes_value)
    ]


def _words(kind: str, known: Known) -> list[str]:
    match kind:
        case "job":
            return sorted(set(known.job_names()))
        case "run":
            return list(dict.fromkeys([LAST, *known.run_names()]))
        case "profile":
            return list(known.profile_names())
        case "target":
            return list(dict.fromkeys(["cloud", "local", *known.profile_names()]))
        case "status":
            return [str(state) for state in RunState]
        case "worker type":
            return ["DEFAULT", "DATAFLOW"]
    return []


def _beginning_with(word: str, known: Iterable[str]) -> list[str]:
    return [each for each in known if each.startswith(word)]
