"""Signs requests with the service's time. Knows no operation and no retry.

Source: `dataflow_magic.signing`. The gateway refuses a timestamp more than five minutes from its own clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

import httpx
from pydantic import SecretStr

from dataflow_magic.client.responses import clock_offset as measure
from dataflow_magic.errors import ConfigError
from dataflow_magic.signing import (
    ACCESS_KEY_HEADER,
    MAX_SKEW_MS,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    key_fault,
    sign,
)

__all__ = ["SignedAuth"]

SKEW_SECONDS = 60.0
"""A smaller offset is not corrected: the gateway allows five minutes, and a slow response measures its clock to half a minute."""
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

    Attributes
    ----------
    clock_offset
        Seconds the service's clock is ahead of this machine's; 0 until a 401 shows a difference of over a minute.

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
    ) -> None:
        for kind, key in ("access", access_key), ("secret", secret_key.get_secret_value()):
            if fault := key_fault(key):
                raise ConfigError(f"the {kind} key holds {fault}; copy the key again without it")
        self.clock_offset = clock_offset
        self._access_key = access_key
        self._secret_key = secret_key
        self._now = now
        self._measured: float | None = None

    def service_now(self) -> float:
        """Return the time that requests are signed with, in seconds since the epoch."""
        return self._now() + self.clock_offset

    def service_time(self, moment: float) -> float:
        """Return the service's time at a moment of this machine's clock, both in seconds since the epoch.

        The newest response with a ``Date`` gives it, to a second and half that request's time. Before there is one, this
        is the earliest time at which the service accepts signatures of this clock.
        """
        measured = self.clock_offset - MAX_SKEW_MS / 1000 if self._measured is None else self._measured
        return moment + measured

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
        sent = self._now()
        timestamp = int((sent + self.clock_offset) * 1000)
        # raw_path keeps percent-escapes and the query as they are sent; the gateway refuses a decoded path.
        target = request.url.raw_path
        request.headers[TIMESTAMP_HEADER] = str(timestamp)
        request.headers[ACCESS_KEY_HEADER] = self._access_key
        request.headers[SIGNATURE_HEADER] = sign(
            request.method, target, timestamp, self._access_key, self._secret_key.get_secret_value()
        )
        response = yield request
        offset = measure(response, sent, self._now())
        self._measured = self._measured if offset is None else offset
        return response, offset

    def _correct_clock(self, offset: float | None, signed_with: float) -> bool:
        """Adopt a measured offset that differs from the one that signed; return whether it did.

        Another request may have corrected the clock meanwhile, so the offset in use does not count.
        """
        if offset is None or abs(offset - signed_with) <= SKEW_SECONDS:
            return False
        self.clock_offset = offset if abs(offset) > SKEW_SECONDS else 0.0
        return True
