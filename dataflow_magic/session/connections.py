"""The connections of one process: one per target, made on first use, found anew when a service moved or its keys changed."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from pydantic import SecretStr

from dataflow_magic import errors
from dataflow_magic.session.connection import Connection
from dataflow_magic.session.watch import CLOUD_PACE, LOCAL_PACE, Pace
from dataflow_magic.settings import Target

__all__ = ["Connections", "LocalService"]

logger = logging.getLogger(__name__)

CLOSED = "the extension was unloaded; the run itself goes on"


@dataclass(frozen=True, slots=True)
class LocalService:
    """A local service this process uses.

    Parameters
    ----------
    folder
        Its data folder.
    hold
        Descriptor that keeps it alive.
    """

    endpoint: str
    access_key: str
    secret_key: SecretStr
    folder: Path
    hold: int


class Connections:
    """How this process reaches its targets. Any thread may call.

    Parameters
    ----------
    resolve
        Chooses a target by name and profile, as things stand now.
    attach
        Finds or starts the local service; called before each use of it, since it may have ended meanwhile.
    transport
        Where requests go instead of the network.
    pace
        How often runs are asked for; by default that of the target.
    now
        Seconds since the epoch.
    answer_seconds
        How long a request may take to be sent, and to be answered.
    """

    def __init__(
        self,
        resolve: Callable[[str | None, str | None], Target],
        attach: Callable[[], LocalService],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        pace: Pace | None = None,
        now: Callable[[], float] = time.time,
        answer_seconds: float = 30.0,
    ) -> None:
        self._resolve = resolve
        self._attach = attach
        self._transport = transport
        self._pace = pace
        self._now = now
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self._closed = False
        self._known: dict[Target, Connection] = {}
        """By target without where its keys came from."""
        self._local: tuple[LocalService, Connection] | None = None
        self._seeking: dict[Connection, asyncio.Task[None]] = {}

    def to(self, target: Target) -> Connection:
        """Return the connection to a target; a local service is started if need be.

        Raises
        ------
        DataflowError
            All were closed.
        ConfigError
            The local service cannot be started, or a client cannot be made.
        """
        with self._lock:
            self.check_open()
            if target.kind == "local":
                return self._to_local()
            key = replace(target, source="")
            if key not in self._known:
                self._renew(key)
            if key not in self._known:
                self._known[key] = Connection(
                    target.name,
                    target.endpoint,
                    target.access_key,
                    target.secret_key,
                    pace=self._pace or (CLOUD_PACE if target.kind == "cloud" else LOCAL_PACE),
                    transport=self._transport,
                    now=self._now,
                    answer_seconds=self._answer_seconds,
                )
            return self._known[key]

    def known(self, target: Target) -> Connection | None:
        """Return the connection to a target if there is one already; starts nothing."""
        with self._lock:
            if target.kind == "local":
                return self._local[1] if self._local else None
            return self._known.get(replace(target, source=""))

    def seek(self, connection: Connection) -> None:
        """Have a service that gives no answer, or takes no key, looked for anew; what is watched follows. On the loop."""
        task = self._seeking.get(connection)
        if task is None or task.done():
            self._seeking[connection] = asyncio.get_running_loop().create_task(
                asyncio.to_thread(self._seek, connection)
            )

    def check_open(self) -> None:
        """Refuse once all were closed.

        Raises
        ------
        DataflowError
            They were.
        """
        if self._closed:
            raise errors.DataflowError(CLOSED)

    def close(self) -> bool:
        """Make no more connections; False when that was said before."""
        with self._lock:
            closed, self._closed = self._closed, True
            return not closed

    async def aclose(self) -> None:
        """Close the clients of all connections, on the loop they work on."""
        for connection in [*self._known.values(), *([self._local[1]] if self._local else [])]:
            await connection.client.aclose()

    def let_go(self) -> None:
        """Let the local service end."""
        if self._local is not None:
            os.close(self._local[0].hold)
            self._local = None

    def _to_local(self) -> Connection:
        service = self._attach()
        address = service.endpoint, service.access_key, service.secret_key
        if self._local is None:
            connection = Connection(
                "local",
                *address,
                pace=self._pace or LOCAL_PACE,
                objects=service.folder / "objects",
                transport=self._transport,
                now=self._now,
                answer_seconds=self._answer_seconds,
            )
        else:
            before, connection = self._local
            os.close(before.hold)
            if (before.endpoint, before.access_key) != address[:2]:
                connection.move(*address)
        self._local = service, connection
        return connection

    def _renew(self, target: Target) -> None:
        """Have what is watched with other keys of the same target go on with these."""
        for other in list(self._known):
            if (other.name, other.endpoint, other.profile) == (target.name, target.endpoint, target.profile):
                connection = self._known.pop(other)
                connection.move(target.endpoint, target.access_key, target.secret_key)
                self._known[target] = connection

    def _seek(self, connection: Connection) -> None:
        try:
            with self._lock:
                targets = [target for target, known in self._known.items() if known is connection]
            if targets:
                self.to(self._resolve(targets[0].name, targets[0].profile))
                return
            with self._lock:
                self.check_open()
                self._to_local()
        except Exception:  # the run stays blind, says so, and the next poll looks again
            logger.debug("%s was not found again", connection.name, exc_info=True)
