"""Every error this package raises, by who has to act.

::

    DataflowError
    |-- ConfigError              the machine's set-up: credentials, target, Java, an extra
    |-- CellError                the cell: an option or a line of the parameter block (.line)
    |   '-- NoSuchRun            the run it names was not started on this machine
    |-- ServiceError             the service answered, or failed to
    |   |-- RequestRejected      it said no (.status .code .detail)
    |   |   |-- NotSignedIn      key, signature or clock
    |   |   |-- NotAllowed       the key may not do this
    |   |   |-- NotFound         no such job, run or address
    |   |   |-- BadParameter     a value it will not take
    |   |   |-- BadState         not now: the job or run is in a state that forbids it
    |   |   '-- TooManyRequests  slow down (.retry_after)
    |   |-- ServiceBroken        its fault: 5xx, or an answer that is not the contract
    |   |-- Unreachable          the request never arrived
    |   '-- OutcomeUnknown       it may or may not have arrived
    |-- RunFailed                the run ended FAILED or CANCELED (.run)
    |   '-- SweepFailed          not every run of a sweep completed (.sweep)
    '-- WaitTimeout              still running when the wait was over (.run)

Messages say what happened with the value and what to do. They are shown as they are, alone, in a cell or a terminal, and often quote
what a service or a script said: nothing in them moves a cursor or cannot be printed.
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
    """The root: catch this to catch everything the package raises on purpose."""

    def __init__(self, message: str = "") -> None:
        super().__init__("\n".join(map(clean, without_colours(message).split("\n"))))

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this in every traceback mode and in %tb: the message is the whole story.
        return [f"{type(self).__name__}: {self}"]


class ConfigError(DataflowError):
    """The machine is not set up for what was asked: credentials, target, Java or an extra is missing."""


class CellError(DataflowError):
    """The cell cannot be read; nothing was sent.

    Parameters
    ----------
    line
        The cell's own line number, 1 being the ``%%dataflow_run`` line; None when it has none.
    """

    def __init__(self, message: str, *, line: int | None = None) -> None:
        self.line = line
        super().__init__(message if line is None else f"line {line}: {message}")


class NoSuchRun(CellError):
    """No run of this machine has the id, key or beginning that a cell names."""


class ServiceError(DataflowError):
    """A call to the service did not end well."""


class RequestRejected(ServiceError):
    """The service, or the gateway before it, answered that it will not do this.

    Parameters
    ----------
    status
        HTTP status of the answer.
    code
        The vendor's own code as text: the gateway's ``errorCode`` ("200") or the service's ``errorType``
        ("bad-parameter"); empty when the answer carried none.
    detail
        The vendor's own words, empty when it gave none.
    """

    def __init__(self, message: str, *, status: int, code: str = "", detail: str = "") -> None:
        self.status = status
        self.code = code
        self.detail = detail
        super().__init__(message)


class NotSignedIn(RequestRejected):
    """The key, the signature or the clock was not accepted."""


class NotAllowed(RequestRejected):
    """The key is good but has no right to do this."""


class NotFound(RequestRejected):
    """There is no such job, run or address."""


class BadParameter(RequestRejected):
    """A value the service will not take."""


class BadState(RequestRejected):
    """The job or run is in a state that forbids this now."""


class TooManyRequests(RequestRejected):
    """The service asks for fewer calls.

    Parameters
    ----------
    retry_after
        Seconds the service asked to wait, None when it did not say.
    """

    def __init__(
        self, message: str, *, status: int, code: str = "", detail: str = "", retry_after: float | None = None
    ) -> None:
        self.retry_after = retry_after
        super().__init__(message, status=status, code=code, detail=detail)


class ServiceBroken(ServiceError):
    """The service failed, or answered something outside its contract.

    Parameters
    ----------
    status
        HTTP status of the answer.
    retry_after
        Seconds the service asked to wait, None when it did not say.
    """

    def __init__(self, message: str, *, status: int, retry_after: float | None = None) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(message)


class Unreachable(ServiceError):
    """The request certainly did not reach the service, so nothing happened there."""


class OutcomeUnknown(ServiceError):
    """The request left and no answer came back: it may or may not have been carried out."""


class RunFailed(DataflowError):
    """The run is over and did not complete.

    Parameters
    ----------
    run
        The run, for its ``error`` and ``logs()``.
    """

    def __init__(self, message: str, *, run: Any) -> None:
        self.run = run
        super().__init__(message)


class SweepFailed(RunFailed):
    """A sweep is over and not every run it was asked for completed.

    Parameters
    ----------
    run
        The first that did not, None where none was sent that did not.
    sweep
        The sweep, for its ``runs`` and ``retry_failed()``.
    """

    def __init__(self, message: str, *, run: Any, sweep: Any) -> None:
        self.sweep = sweep
        super().__init__(message, run=run)


class WaitTimeout(DataflowError):
    """The wait is over and the run is not; the run itself goes on.

    Parameters
    ----------
    run
        The run, still going.
    """

    def __init__(self, message: str, *, run: Any) -> None:
        self.run = run
        super().__init__(message)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known word nearest to `word`; empty when none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
