"""One target, connected: its client, its watches and its objects. Lives on the loop; starts no thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from pydantic import SecretStr

from dataflow_magic.client.client import Client
from dataflow_magic.client.objects import CloudObjects, FolderObjects, Objects
from dataflow_magic.models.view import Progress
from dataflow_magic.session.watch import Listener, Pace, Watch
from dataflow_magic.settings import is_loopback

__all__ = ["Connection"]

PROGRESS_SECONDS = 0.1


class Connection:
    """A target's client and the watches over the runs started through it.

    Parameters
    ----------
    name
        The target's name, as shown.
    objects
        Folder of the objects where it is known. Otherwise a service on this machine is asked for it, and any other
        target has them in the cloud's object storage.
    transport, now, answer_seconds
        Handed to the client.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        access_key: str,
        secret_key: SecretStr,
        *,
        pace: Pace,
        objects: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], float] = time.time,
        answer_seconds: float = 30.0,
    ) -> None:
        self.name = name
        self._keys = access_key, secret_key
        self._objects: Objects | None = FolderObjects(objects) if objects else None
        self._pace = pace
        self._transport = transport
        self._now = now
        self._answer_seconds = answer_seconds
        self._next_turn = 0.0
        self._watches: dict[str, tuple[Watch, asyncio.Task[None]]] = {}
        self.client = self._make_client(endpoint)

    @property
    def endpoint(self) -> str:
        """Base address of the service."""
        return self.client.endpoint

    def move(self, endpoint: str, access_key: str, secret_key: SecretStr) -> None:
        """Go on at another address: a local service that was started anew. Watches follow by themselves."""
        self._keys = access_key, secret_key
        self._objects = None
        self.client = self._make_client(endpoint)

    def new_client(self) -> Client:
        """Return another client of the same service."""
        return self._make_client(self.endpoint, self.client.clock_offset)

    async def objects(self) -> Objects:
        """Return where this target keeps its objects."""
        if self._objects is None:
            folder = await self.client.local_objects() if is_loopback(self.endpoint) else None
            self._objects = FolderObjects(folder) if folder else CloudObjects(*self._keys)
        return self._objects

    async def progress(self, job_id: str, run_id: str) -> Progress | None:
        """Return how far a run is; None where the service does not tell: only a local one does.

        However many runs are asked about, it is ten times a second at most: the others wait for their turn.

        Raises
        ------
        DataflowError
            It gives no answer this time.
        """
        if not is_loopback(self.endpoint):
            return None
        now = asyncio.get_running_loop().time()
        turn, self._next_turn = self._next_turn, max(now, self._next_turn) + PROGRESS_SECONDS
        await asyncio.sleep(turn - now)
        return await self.client.local_progress(job_id, run_id)

    def follow(self, job_id: str, run_id: str, listener: Listener) -> None:
        """Watch a run until it is over; on the loop."""
        watch, task = self._watches.get(job_id, (None, None))
        if watch is not None and task is not None and not (watch.is_over or task.done()):
            watch.add(run_id, listener)
            return
        watch = Watch(lambda: self.client, job_id, self._pace, clock=time.monotonic)
        watch.add(run_id, listener)
        self._watches[job_id] = watch, asyncio.get_running_loop().create_task(watch.follow())

    def _make_client(self, endpoint: str, clock_offset: float = 0.0) -> Client:
        return Client(
            *self._keys,
            endpoint,
            transport=self._transport,
            now=self._now,
            timeout=self._answer_seconds,
            clock_offset=clock_offset,
        )
