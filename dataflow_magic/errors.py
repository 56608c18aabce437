"""Every error of this package, by who has to act. Knows no run and no service.

::

    DataflowError
    |-- ConfigError              this machine: credentials, target, Java, an extra
    |-- CellError                the cell: an option or a line of the parameter block (.line)
    |   '-- NoSuchRun            it names a run that this machine did not start
    |-- ServiceError             a call to the service failed
    |   |-- RequestRejected      the service refused (.status .code .detail)
    |   |   |-- NotSignedIn      key, signature or clock
    |   |   |-- NotAllowed       the key lacks the permission
    |   |   |-- NotFound         no such job, run or address
    |   |   |-- BadParameter     a value is not accepted
    |   |   |-- BadState         the state of the job or run forbids it
    |   |   '-- TooManyRequests  the service limits the rate (.retry_after)
    |   |-- ServiceBroken        the service failed: 5xx, or a response that breaks the contract
    |   |-- Unreachable          the request did not arrive
    |   '-- OutcomeUnknown       the response was lost; the request may have been carried out
    |-- RunFailed                the run ended FAILED or CANCELED (.run)
    |   '-- SweepFailed          not every run of a sweep completed (.sweep)
    '-- WaitTimeout              the wait timed out; the run is still active (.run)

A message says what happened, with the value, and what to do. A cell or a terminal shows it alone. It may quote a service or a
script, so control characters in it are replaced by visible ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from dataflow_magic.models.text import clean, without_colours

__all__ = [
    "BadParameter",
    "BadState",
    "CellError",
    "ConfigError",
    "DataflowError",
    "NoSuchRun",
    "NotAllowed",
    "NotFound",
    "NotSignedIn",
    "OutcomeUnknown",
    "RequestRejected",
    "RunFailed",
    "ServiceBroken",
    "ServiceError",
    "SweepFailed",
    "TooManyRequests",
    "Unreachable",
    "WaitTimeout",
    "suggestion",
]


class DataflowError(Exception):
    """The base of every error that this package raises on purpose."""

    shown = ""
    """The message in the user's language; empty where it is the error's own."""

    def __init__(self, message: str = "") -> None:
        super().__init__("\n".join(map(clean, without_colours(message).split("\n"))))

    def _render_traceback_(self) -> list[str]:
        # IPython shows this in every traceback mode and in %tb.
        return [f"{type(self).__name__}: {self.shown or self}"]


class ConfigError(DataflowError):
    """The machine lacks credentials, a target, Java or an extra, or a setting is invalid."""


class CellError(DataflowError):
    """The cell is invalid; nothing was sent.

    Parameters
    ----------
    line
        Number of the line in the cell, 1 for the ``%%dataflow_run`` line; None where the error has no line.
    """

    def __init__(self, message: str, *, line: int | None = None) -> None:
        self.line = line
        super().__init__(message if line is None else f"line {line}: {message}")


class NoSuchRun(CellError):
    """No run of this machine has the id, key or prefix that a cell names."""


class ServiceError(DataflowError):
    """A call to the service failed."""


class RequestRejected(ServiceError):
    """The service or its gateway refused the request.

    Parameters
    ----------
    status
        HTTP status of the response.
    code
        The vendor's own code as text: the gateway's ``errorCode`` ("200") or the service's ``errorType``
        ("bad-parameter"); empty where the response has none.
    detail
        The vendor's own words, empty where the response has none.
    """

    def __init__(self, message: str, *, status: int, code: str = "", detail: str = "") -> None:
        self.status = status
        self.code = code
        self.detail = detail
        super().__init__(message)


class NotSignedIn(RequestRejected):
    """The service did not accept the key, the signature or the clock."""


class NotAllowed(RequestRejected):
    """The key is valid and lacks the permission."""


class NotFound(RequestRejected):
    """The service has no such job, run or address."""


class BadParameter(RequestRejected):
    """The service does not accept a value."""


class BadState(RequestRejected):
    """The current state of the job or run forbids the request."""


class TooManyRequests(RequestRejected):
    """The service limits the rate of requests.

    Parameters
    ----------
    retry_after
        Seconds until the next request, as the service asks, 300 at most; None where it does not.
    """

    def __init__(
        self, message: str, *, status: int, code: str = "", detail: str = "", retry_after: float | None = None
    ) -> None:
        self.retry_after = retry_after
        super().__init__(message, status=status, code=code, detail=detail)


class ServiceBroken(ServiceError):
    """The service failed, or its response breaks the contract.

    Parameters
    ----------
    status
        HTTP status of the response; 0 for a response that did not end in time.
    retry_after
        Seconds until the next request, as the service asks, 300 at most; None where it does not.
    """

    def __init__(self, message: str, *, status: int, retry_after: float | None = None) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(message)


class Unreachable(ServiceError):
    """The request did not reach the service, which therefore did nothing."""


class OutcomeUnknown(ServiceError):
    """The response was lost: the service may or may not have carried out the request."""


class RunFailed(DataflowError):
    """The run ended FAILED or CANCELED.

    Parameters
    ----------
    run
        The run, for its ``error`` and ``logs()``.
    """

    def __init__(self, message: str, *, run: Any) -> None:
        self.run = run
        super().__init__(message)


class SweepFailed(RunFailed):
    """A sweep ended and not every run of it completed.

    Parameters
    ----------
    run
        The first run that ended without completing, None where there is none.
    sweep
        The sweep, for its ``runs`` and ``retry_failed()``.
    """

    def __init__(self, message: str, *, run: Any, sweep: Any) -> None:
        self.sweep = sweep
        super().__init__(message, run=run)


class WaitTimeout(DataflowError):
    """The wait timed out; the run is still active.

    Parameters
    ----------
    run
        The run, still active.
    """

    def __init__(self, message: str, *, run: Any) -> None:
        self.run = run
        super().__init__(message)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known word nearest to `word`; empty when none is near.

    A word that differs in capitals alone is nearest.
    """
    words = list(known)
    near = [each for each in words if each.lower() == word.lower()] or difflib.get_close_matches(
        word, words, n=1
    )
    return f"; did you mean {near[0]!r}?" if near else ""
