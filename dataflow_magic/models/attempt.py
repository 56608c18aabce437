"""One sending of a start, as the machine that sent it measured it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ANSWERED", "LOST_ATTEMPT", "UNSENT", "Attempt", "ServiceClock"]

UNSENT: Final = "unsent"
"""No connection was established, or what was before the service refused: the service cannot have carried it out."""
LOST_ATTEMPT: Final = "lost"
"""The request left, and no response says what became of it."""
ANSWERED: Final = "answered"
"""The service accepted it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that was signed to start a run; it is in the ledger before the request leaves.

    Parameters
    ----------
    number
        From 1, in the order of sending.
    signed_ms
        The timestamp that was signed: milliseconds since 1970. The service accepts the request while its own clock is
        within five minutes of it, whatever this machine's clock shows then.
    sent_us
        This machine's clock when the request was signed, in microseconds since 1970.
    sent_steady_us
        Microseconds on a clock that nobody sets and that counts a sleeping machine's time; it begins at a boot.
    boot
        Names the boot whose clock that is: values of another boot are not comparable.
    offset_us, uncertainty_us
        By how much the service's clock was measured ahead of this machine's, and how far that may be wrong; None where
        no response had shown it, or this machine's clock was set since.
    ended_us, ended_steady_us
        The two clocks when the response arrived or the connection failed; None while neither is known.
    outcome
        `UNSENT`, `LOST_ATTEMPT` or `ANSWERED`; empty while unknown, which counts as sent.
    """

    number: int
    signed_ms: int
    sent_us: int
    sent_steady_us: int
    boot: str
    offset_us: int | None = None
    uncertainty_us: int | None = None
    ended_us: int | None = None
    ended_steady_us: int | None = None
    outcome: str = ""

    @property
    def may_be_carried_out(self) -> bool:
        """Whether the service may have started a run for it."""
        return self.outcome != UNSENT


DRIFT = 1e-4
"""By which fraction two clocks that nobody sets may diverge: a hundred parts per million, more than a bad quartz."""


@dataclass(frozen=True, slots=True)
class ServiceClock:
    """The service's clock as one response showed it.

    Parameters
    ----------
    service_us
        Its time, in microseconds since 1970.
    steady_us, boot
        This machine's steady clock at that moment; see `Attempt`.
    uncertainty_us
        How far ``service_us`` may be wrong: half a second, since a ``Date`` has whole ones, and half the request's time.
    """

    service_us: int
    steady_us: int
    boot: str
    uncertainty_us: int

    def at(self, steady_us: int) -> tuple[int, int]:
        """Return the service's time at another moment of the same boot, and how far that may be wrong."""
        passed = steady_us - self.steady_us
        return self.service_us + passed, self.uncertainty_us + round(abs(passed) * DRIFT)
