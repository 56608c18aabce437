"""Why a run did not complete, as one frozen value. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

__all__ = ["Failure", "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """The line of the user's own code that failed.

    Parameters
    ----------
    file
        The script's or the module's name, below the script's folder: ``daily.py``, ``shared/prices.py``.
    line
        From 1.
    function
        ``by_carrier``; empty at the top level of a file.
    source
        The line's text without its indentation; empty where the log does not quote it.
    """

    file: str
    line: int
    function: str = ""
    source: str = ""

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}" + (f", in {self.function}" if self.function else "")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run did not complete.

    Parameters
    ----------
    reason
        One sentence.
    log_tail
        The last lines of the console log, oldest first, at most 20, with frames of libraries folded; empty where there is no
        log.
    error_class
        Spark's condition, such as ``DIVIDE_BY_ZERO``, or the short name of the exception; empty where neither is known.
    place
        The user's own line; None where no log names one.
    expression
        The part of a query that failed, as Spark quotes it; empty where it does not.
    advice
        What to try, in one line; empty where nothing is known to help beyond the reason itself.
    functions
        Names of the Python functions that Spark's workers ran when one of them failed outside of their lines: it crashed, or
        returned what Spark cannot take.
    """

    reason: str
    log_tail: tuple[str, ...] = ()
    error_class: str = ""
    place: Place | None = None
    expression: str = ""
    advice: str = ""
    functions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.reason

    @property
    def cause(self) -> str:
        """What failures of the same cause share: the class, or where it is unknown the reason."""
        return self.error_class or self.reason

    def with_texts(self, change: Callable[[str], str]) -> Failure:
        """Return the failure with a function applied to each of its texts, such as one that masks secrets."""
        place = self.place
        return Failure(
            reason=change(self.reason),
            log_tail=tuple(map(change, self.log_tail)),
            error_class=change(self.error_class),
            place=place
            and replace(
                place,
                file=change(place.file),
                function=change(place.function),
                source=change(place.source),
            ),
            expression=change(self.expression),
            advice=change(self.advice),
            functions=tuple(map(change, self.functions)),
        )
