"""Why a run failed, from its console log and the service's words. Pure."""

from __future__ import annotations

import re

from dataflow_magic.models.text import log_lines
from dataflow_magic.models.view import Failure

__all__ = ["TAIL_LINES", "diagnose", "last_exception"]

TAIL_LINES = 20

# Python prints an exception group with a margin: "  + Exception Group Traceback", "    | ValueError: x". A script with a
# syntax error has no traceback, only the line "  File ...".
TRACEBACK = re.compile(
    r"\s*([|+] )?(Exception Group )?Traceback \(most recent call last\):\s*"
    r'|\s*([|+] )?  File ".+", line \d+'
)
EXCEPTION = re.compile(r"(\s*[|+] )?(\S.*)")

EXIT_CODE = re.compile(r"exited with code \d+$")
"""The local service's words for a script that ended without an exception of Spark."""


def diagnose(log: str, detail: str, status: str) -> Failure:
    """Return why a run failed.

    Parameters
    ----------
    log
        The end of the console log; empty where there is none.
    detail
        The service's reason; empty where it gives none.
    status
        The run's state, named where nothing else is known.
    """
    lines = log_lines(log)
    if detail and not EXIT_CODE.search(detail):
        # The service knows better than the log, whose exception the script may have caught.
        reason = detail
    else:
        last_words = next((line.strip() for line in reversed(lines) if line.strip()), "")
        uncaught = None if detail else last_exception(lines)
        reason = uncaught or ": ".join(filter(None, (detail, last_words)))
    return Failure(reason or f"the run ended {status} without a reason", tuple(lines[-TAIL_LINES:]))


def last_exception(lines: list[str]) -> str | None:
    """Return the line that names the exception of the last Python traceback; None without a traceback.

    It is the first line after the indented frames: Spark's exceptions continue with the JVM's stack.
    """
    starts = [number for number, line in enumerate(lines) if TRACEBACK.fullmatch(line)]
    if not starts:
        return None
    rest = (EXCEPTION.match(line) for line in lines[starts[-1] + 1 :])
    return next((found[2].strip() for found in rest if found), None)
