"""Why a run failed, read out of its console log. Pure."""

from __future__ import annotations

import re

from dataflow_magic.models.view import Failure

__all__ = ["TAIL_LINES", "diagnose", "last_exception"]

TAIL_LINES = 20

# A group of exceptions is drawn with a margin: "  + Exception Group Traceback", "    | ValueError: x". A script Python
# cannot read has no traceback, only the place.
TRACEBACK = re.compile(
    r"\s*([|+] )?(Exception Group )?Traceback \(most recent call last\):\s*"
    r'|\s*([|+] )?  File ".+", line \d+'
)
EXCEPTION = re.compile(r"(\s*[|+] )?(\S.*)")

EXIT_CODE = re.compile(r"exited with code \d+$")
"""How the local service says that a script ended by itself without a word on why."""


def diagnose(log: str, detail: str, status: str) -> Failure:
    """Return why a run failed.

    Parameters
    ----------
    log
        The end of the console log, empty when there is none.
    detail
        What the service says of it, empty when it says nothing.
    status
        The run's state, the last resort.
    """
    lines = log.splitlines()
    if detail and not EXIT_CODE.search(detail):
        reason = detail  # the service knows; an exception in the log may have been caught, or only follow from that
    else:
        last_words = next((line.strip() for line in reversed(lines) if line.strip()), "")
        uncaught = None if detail else last_exception(lines)
        reason = uncaught or ": ".join(filter(None, (detail, last_words)))
    return Failure(reason or f"the run ended {status} and no reason was given", tuple(lines[-TAIL_LINES:]))


def last_exception(lines: list[str]) -> str | None:
    """Return the line that names the last exception a Python traceback ends with, None without a traceback.

    Spark's exceptions go on with the JVM's stack; the line that counts is the first after the indented frames.
    """
    starts = [number for number, line in enumerate(lines) if TRACEBACK.fullmatch(line)]
    if not starts:
        return None
    rest = (EXCEPTION.match(line) for line in lines[starts[-1] + 1 :])
    return next((found[2].strip() for found in rest if found), None)
