"""A connection of the service's HTTP server that does not wait for its client without end. Knows no request's meaning.

Uvicorn closes a connection that is idle between two requests. It waits for ever for a request that comes slowly or not
at all, and for a client that does not read its response.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

__all__ = ["CLIENT_SECONDS", "connection_limit", "limited"]

CLIENT_SECONDS = 30.0
"""How long a client may take to send one request, and to read one response."""
MOST_CONNECTIONS = 512
FEWEST_CONNECTIONS = 8
OTHER_DESCRIPTORS = 64
"""Of the log, locks, the database at rest, pipes to runs."""
DESCRIPTORS_PER_CONNECTION = 4
"""A request that reads the database opens the file, its log and its index beside the connection itself."""


def connection_limit(descriptors: int) -> int:
    """Return how many connections a process can serve that may open so many descriptors; see `resource.getrlimit`."""
    if descriptors == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    affordable = (descriptors - OTHER_DESCRIPTORS) // DESCRIPTORS_PER_CONNECTION
    return max(FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, affordable))


def limited(*, connections: int, seconds: float) -> type[asyncio.Protocol]:
    """Return the class of connections with these limits, for uvicorn's setting ``http``.

    Parameters
    ----------
    connections
        Limit of open connections. One more closes the one that has waited longest for its client, so that a client that
        sends at once is served beside any number of silent ones.
    seconds
        Limit of the time to receive a whole request, and of the time to send what a client does not read. A connection over
        it is closed without a response.
    """
    return type("LimitedConnection", (_Connection,), {"most": connections, "client_seconds": seconds})


class _Connection(H11Protocol):
    most: int
    client_seconds: float

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.waits_since = self.loop.time()
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # So that pause_writing comes for each byte that the system does not take at once.
        transport.set_write_buffer_limits(high=0)
        self._receiving = self._until(self._check_received)
        if len(self.connections) > self.most:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        if self._receiving is None:  # the first part of a later request
            self._receiving = self._until(self._check_received)
        super().data_received(data)
        if self._is_received:
            self._stop_receiving()

    def on_response_complete(self) -> None:
        answered = self.cycle
        self.waits_since = self.loop.time()
        super().on_response_complete()
        # A part of a next request may have come with this one.
        is_next = self.cycle is not answered or self.conn.trailing_data[0]
        if is_next and self._receiving is None and not self._is_received:
            self._receiving = self._until(self._check_received)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._sending = self._until(self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_sending()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_receiving()
        self._stop_sending()
        super().connection_lost(exc)

    @property
    def _is_received(self) -> bool:
        """Whether the request in progress has come whole; False where none is in progress."""
        return not self._is_idle and not self.cycle.more_body

    @property
    def _is_idle(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is None or cycle.response_complete

    @property
    def waits_for_client(self) -> bool:
        """Whether only the client can bring this connection forward."""
        return self._is_idle or self._receiving is not None or self._sending is not None

    def _until(self, then: Callable[[], None]) -> asyncio.TimerHandle:
        self.waits_since = self.loop.time()
        return self.loop.call_later(self.client_seconds, then)

    def _check_received(self) -> None:
        if self.flow.read_paused:  # the service is slow, not the client
            self._receiving = self._until(self._check_received)
        else:
            self.transport.abort()

    def _make_room(self) -> None:
        waiting = [
            each for each in self.connections if isinstance(each, _Connection) and each.waits_for_client
        ]
        longest = min(waiting, key=lambda each: each.waits_since, default=self)
        # At once: the loop reports the end of a connection later than the next one.
        self.connections.discard(longest)
        longest.transport.abort()

    def _stop_receiving(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
