"""What the Tab key offers on a line of ours: options, jobs and runs that are known already. Pure; asks no service."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dataflow_magic.cell import option_strings
from dataflow_magic.script import script_option_strings

__all__ = ["complete"]

JOB = re.compile(r"\s*%%?dataflow_(run|script)\s+(.*)", re.DOTALL)
ONE_RUN = re.compile(r"\s*%dataflow_(?:status|cancel|attach)\s+(\S*)")
VALUES = {"--target": ("cloud", "local")}
LAST = "@last"


def complete(line: str, *, jobs: Iterable[str], runs: Iterable[str]) -> list[str] | None:
    """Return what may stand where the line ends, in the order to offer it.

    Parameters
    ----------
    line
        The line up to the cursor.
    jobs, runs
        Names of jobs and ids of runs that are known.

    Returns
    -------
    list of str or None
        Whole words that begin with what is typed of the last one; None where the line is not ours.
    """
    if found := ONE_RUN.fullmatch(line):
        return _beginning_with(found[1], [LAST, *runs])
    found = JOB.fullmatch(line)
    if found is None:
        return None
    *before, word = re.split(r"\s+", found[2])
    if before and before[-1] in VALUES:
        return _beginning_with(word, VALUES[before[-1]])
    if word.startswith("-"):
        options = option_strings() if found[1] == "run" else script_option_strings()
        return _beginning_with(word, [option for option in options if option not in before])
    return [] if before else _beginning_with(word, sorted(set(jobs)))


def _beginning_with(word: str, known: Iterable[str]) -> list[str]:
    return [each for each in known if each.startswith(word)]
