"""Signs requests with the service's time. Knows no operation and no retry.

Source: `dataflow_magic.signing`. The gateway refuses a timestamp more than five minutes from its own clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace

import httpx
from pydantic import SecretStr

from dataflow_magic.client.clock import Clock
from dataflow_magic.client.responses import clock_offset as measure
from dataflow_magic.errors import ConfigError
from dataflow_magic.models.attempt import Attempt, ServiceClock
from dataflow_magic.signing import (
    ACCESS_KEY_HEADER,
    MAX_SKEW_MS,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    key_fault,
    sign,
)

__all__ = ["SIGNED", "SignedAuth"]

HALF_SECOND = 0.5
"""How far a ``Date``, which has whole seconds, may be from its middle."""
SKEW_SECONDS = 60.0
"""A smaller offset is not corrected: the gateway allows five minutes, and a slow response measures its clock to half a minute."""
SIGNED = "dataflow_magic.signed"
"""Extension of a signed request: the `Attempt` that its signature makes it."""
CORRECTED = "dataflow_magic.clock_corrected"
"""Extension of a request that was signed again for the clock."""


class SignedAuth(httpx.Auth):
    """Sign each request over the exact bytes of its target, with the service's time.

    A 401 whose ``Date`` is more than a minute from the clock that signed corrects that clock, and the request is signed
    and sent again, once. That is safe for a POST too: the gateway did not carry out what it refused.

    Parameters
    ----------
    access_key, secret_key
        Of the account or the local service.
    now
        This machine's clock, in seconds since the epoch.
    clock_offset
        The initial `clock_offset`, as an earlier instance measured it.
    steady
        Seconds that nobody sets, for measurements; by default the system's, or ``now`` where that is handed in.

    Attributes
    ----------
    clock_offset
        Seconds the service's clock is ahead of this machine's; 0 until a 401 shows a difference of over a minute.
    clock
        This machine's clocks.
    service_clock
        The service's clock as the newest response with a ``Date`` showed it; None before there is one.

    Raises
    ------
    ConfigError
        A key holds a blank, a quotation mark or a character that no header can carry.

    Examples
    --------
    >>> httpx.Client(auth=SignedAuth(access_key, SecretStr(secret_key)))  # doctest: +SKIP
    """

    def __init__(
        self,
        access_key: str,
        secret_key: SecretStr,
        *,
        now: Callable[[], float] = time.time,
        clock_offset: float = 0.0,
        steady: Callable[[], float] | None = None,
    ) -> None:
        for kind, key in ("access", access_key), ("secret", secret_key.get_secret_value()):
            if fault := key_fault(key):
                raise ConfigError(f"the {kind} key holds {fault}; copy the key again without it")
        self.clock_offset = clock_offset
        self._access_key = access_key
        self._secret_key = secret_key
        self.clock = Clock.of(now, steady)
        self.service_clock: ServiceClock | None = None

    def service_now(self) -> float:
        """Return the time that requests are signed with, in seconds since the epoch."""
        return self.clock.now() + self.clock_offset

    def service_time(self, steady: float) -> float:
        """Return the earliest time that the service's clock may show at a moment of this machine's steady clock.

        The newest response with a ``Date`` gives it. Before there is one, this is the earliest time at which the service
        accepts signatures of this clock.

        Returns
        -------
        float
            Seconds since the epoch.
        """
        if self.service_clock is None:
            return self.service_now() - (self.clock.steady() - steady) - MAX_SKEW_MS / 1000
        service_us, uncertainty_us = self.service_clock.at(_us(steady))
        return (service_us - uncertainty_us) / 1e6

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the signed request, and once more after a correction of the clock; see `httpx.Auth`."""
        signed_with = self.clock_offset
        response, offset = yield from self._attempt(request)
        if response.status_code != 401 or not self._correct_clock(offset, signed_with):
            return
        if not request.extensions.get(CORRECTED):
            request.extensions[CORRECTED] = True
            yield from self._attempt(request)

    def _attempt(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, tuple[httpx.Response, float | None]]:
        """Sign and yield the request; return its response, and the clock offset where the response shows it."""
        sent, steady = self.clock.now(), self.clock.steady()
        timestamp = int((sent + self.clock_offset) * 1000)
        request.extensions[SIGNED] = self._signed(timestamp, sent, steady)
        # raw_path keeps percent-escapes and the query as they are sent; the gateway refuses a decoded path.
        target = request.url.raw_path
        request.headers[TIMESTAMP_HEADER] = str(timestamp)
        request.headers[ACCESS_KEY_HEADER] = self._access_key
        request.headers[SIGNATURE_HEADER] = sign(
            request.method, target, timestamp, self._access_key, self._secret_key.get_secret_value()
        )
        response = yield request
        answered = self.clock.now()
        offset = measure(response, sent, answered)
        if offset is not None:
            self._read_clock(offset + (sent + answered) / 2, steady)
        return response, offset

    def _signed(self, timestamp: int, sent: float, steady: float) -> Attempt:
        """Return what is known of a request when it is signed; its sender numbers it."""
        attempt = Attempt(0, timestamp, _us(sent), _us(steady), self.clock.boot)
        if self.service_clock is None:
            return attempt
        service_us, uncertainty_us = self.service_clock.at(attempt.sent_steady_us)
        return replace(attempt, offset_us=service_us - attempt.sent_us, uncertainty_us=uncertainty_us)

    def _read_clock(self, service: float, steady: float) -> None:
        """Take the service's time at the middle of a request that was sent at ``steady`` and is answered now."""
        half = max(0.0, self.clock.steady() - steady) / 2
        self.service_clock = ServiceClock(
            _us(service), _us(steady + half), self.clock.boot, _us(half + HALF_SECOND)
        )

    def _correct_clock(self, offset: float | None, signed_with: float) -> bool:
        """Adopt a measured offset that differs from the one that signed; return whether it did.

        Another request may have corrected the clock meanwhile, so the offset in use does not count.
        """
        if offset is None or abs(offset - signed_with) <= SKEW_SECONDS:
            return False
        self.clock_offset = offset if abs(offset) > SKEW_SECONDS else 0.0
        return True


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)
