"""The services this process uses: for each target its client, its watches and its objects. Knows no run."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from dataflow_magic import errors
from dataflow_magic.client.client import Client
from dataflow_magic.client.objects import CloudObjects, FolderObjects, RangedObjects, folder_of_service
from dataflow_magic.config.settings import Target, is_loopback
from dataflow_magic.models.secret import Secret
from dataflow_magic.models.view import Progress
from dataflow_magic.session.watch import CLOUD_PACE, LOCAL_PACE, Listener, Pace, Watch

__all__ = ["CLOSED", "Service", "ServiceAddress", "ServicePool"]

logger = logging.getLogger(__name__)

CLOSED = "the extension was unloaded; the run itself continues"
PROGRESS_SECONDS = 0.1
"""Between two requests for progress, of whatever run."""


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Where a service is, and the keys it accepts.

    Parameters
    ----------
    endpoint
        Base address without a path.
    objects
        Folder of the service's objects where it is known.
    hold
        Descriptor that keeps a local service alive; its owner closes it.
    """

    endpoint: str
    access_key: str
    secret_key: SecretStr
    objects: Path | None = None
    hold: int | None = None


class Service:
    """One target: its client, and the watches of the runs started there. Lives on the loop.

    Parameters
    ----------
    name
        The target's name, as shown.
    new_client
        Makes a client of the two keys, the endpoint and ``clock_offset``.
    is_own
        Whether it is this user's own local service, whose runs nobody else starts.
    find_again
        Resolves the target again and calls `move` where its address or keys changed. Blocks.
    """

    def __init__(
        self,
        name: str,
        address: ServiceAddress,
        *,
        pace: Pace,
        new_client: Callable[..., Client] = Client,
        is_own: bool = False,
        find_again: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self.is_own = is_own
        self.listed: dict[str, set[str]] = {}
        """By job: the runs that looks for lost starts have seen, so no later start created them."""
        self._address = address
        self._pace = pace
        self._new_client = new_client
        self._find_again = find_again
        self._objects: RangedObjects | None = None
        self._next_turn = 0.0
        self._watches: dict[str, tuple[Watch, asyncio.Task[None]]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._holds: dict[object, str] = {}
        self.client = self._client_at(address)

    @property
    def endpoint(self) -> str:
        """Base address of the service."""
        return self.client.endpoint

    @property
    def secret(self) -> Secret:
        """The secret key, for masking it in what is shown."""
        return Secret.of(self._address.secret_key.get_secret_value())

    def new_client(self) -> Client:
        """Return another client of the same service, for a loop of the caller's own."""
        return self._client_at(self._address, self.client.clock_offset)

    def move(self, address: ServiceAddress) -> None:
        """Use another address, or other keys, from now on; watched runs stay watched."""
        before, self._address = self._address, address
        if before.hold is not None:
            os.close(before.hold)
        if _client_of(before) != _client_of(address):
            self._objects = None
            self.client = self._client_at(address)

    def refresh(self) -> None:
        """Find the service again in the background: its address or its keys may have changed. On the loop."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(asyncio.to_thread(self._refresh))

    @property
    def held(self) -> str:
        """Why and until when polls or the starts of a sweep are held back; empty where none are. Any thread may read."""
        return next(iter(tuple(self._holds.values())), "")

    @property
    def silence(self) -> str:
        """Since when the service does not answer polls, and why; empty while it does. Any thread may read."""
        return next(filter(None, (watch.silence for watch, _ in tuple(self._watches.values()))), "")

    async def hold(
        self, seconds: float, words: str = "", sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Sleep as long as the service asks, or until `wake`; ``words`` say why and until when."""
        key = object()
        if words:
            self._holds[key] = words
        waits = [asyncio.ensure_future(sleep(seconds)), asyncio.ensure_future(self._woken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            self._holds.pop(key, None)

    def wake(self) -> None:
        """Try again at once what is held back: the service has answered a request of the user, or the user asks. On the loop."""
        self._woken.set()
        self._woken = asyncio.Event()

    def follow(
        self,
        job_id: str,
        run_id: str,
        listener: Listener,
        on_list: Callable[[Set[str]], None] = lambda _: None,
    ) -> None:
        """Watch a run until it is over; ``on_list`` is called with the ids of each list that is read meanwhile. On the loop."""
        watch, task = self._watches.get(job_id, (None, None))
        if watch is None or task is None or watch.is_over or task.done():
            watch = Watch(
                lambda: self.client,
                job_id,
                self._pace,
                clock=asyncio.get_running_loop().time,
                on_silence=self.refresh,
                on_list=on_list,
                hold=self.hold,
            )
            watch.add(run_id, listener)
            self._watches[job_id] = watch, asyncio.get_running_loop().create_task(watch.follow())
        else:
            watch.add(run_id, listener)

    async def objects(self) -> RangedObjects:
        """Return the store of this target's objects.

        Raises
        ------
        DataflowError
            A service names a folder that is not its own; see `folder_of_service`.
        """
        if self._objects is None:
            named = None
            if self._address.objects is None and is_loopback(self.endpoint):
                named = await self.client.local_objects()
            if self._address.objects is not None:
                self._objects = FolderObjects(self._address.objects)
            elif named is not None:
                self._objects = await asyncio.to_thread(folder_of_service, named, self.endpoint)
            else:
                self._objects = CloudObjects(self._address.access_key, self._address.secret_key)
        return self._objects

    async def progress(self, job_id: str, run_id: str) -> Progress | None:
        """Return how far a run is; None where the service does not report it: only a local one does.

        Sends at most ten requests a second; further calls wait for their turn.

        Raises
        ------
        DataflowError
            The service did not answer.
        """
        if not is_loopback(self.endpoint):
            return None
        now = asyncio.get_running_loop().time()
        turn, self._next_turn = self._next_turn, max(now, self._next_turn) + PROGRESS_SECONDS
        await asyncio.sleep(turn - now)
        return await self.client.local_progress(job_id, run_id)

    def release(self) -> None:
        """Let a local service end; the service must not be used afterwards."""
        if self._address.hold is not None:
            os.close(self._address.hold)

    def _client_at(self, address: ServiceAddress, clock_offset: float = 0.0) -> Client:
        return self._new_client(
            address.access_key, address.secret_key, address.endpoint, clock_offset=clock_offset
        )

    def _refresh(self) -> None:
        try:
            self._find_again()
        except Exception:  # the runs stay blind and say so; the next poll refreshes again
            logger.debug("%s was not found again", self.name, exc_info=True)


class ServicePool:
    """The services of one process, one per target, made on first use. Any thread may call.

    Parameters
    ----------
    resolve
        Chooses a target by name and profile, from the environment as it is now.
    attach
        Finds or starts the local service; called before each use, since the service may have ended.
    new_client
        As in `Service`.
    pace
        How often runs are polled; by default that of the target.
    """

    def __init__(
        self,
        resolve: Callable[[str | None, str | None], Target],
        attach: Callable[[], ServiceAddress],
        *,
        new_client: Callable[..., Client] = Client,
        pace: Pace | None = None,
    ) -> None:
        self._resolve = resolve
        self._attach = attach
        self._new_client = new_client
        self._pace = pace
        self._lock = threading.Lock()
        self._is_closed = False
        self._services: dict[tuple[str, str, str | None], Service] = {}

    def connect(self, target: Target) -> Service:
        """Return the service of a target, with the target's keys; a local service is started if necessary.

        Raises
        ------
        DataflowError
            The pool is closed.
        ConfigError
            The local service cannot be started, or a client cannot be made.
        """
        with self._lock:
            self.check_open()
            address = self._address_of(target)
            service = self._services.get(_key_of(target))
            if service is not None:
                service.move(address)
                return service
            service = self._services[_key_of(target)] = Service(
                target.name,
                address,
                pace=self._pace or (CLOUD_PACE if target.kind == "cloud" else LOCAL_PACE),
                new_client=self._new_client,
                is_own=target.is_own,
                find_again=lambda: self.reconnect(target.name, target.profile),
            )
            return service

    def reconnect(self, name: str, profile: str | None = None) -> Service:
        """Return the service of a target by its name, resolved again; raises as `connect`."""
        return self.connect(self._resolve(name, profile))

    def known(self, target: Target) -> Service | None:
        """Return the service of a target if it was used already; starts nothing."""
        with self._lock:
            return self._services.get(_key_of(target))

    def check_open(self) -> None:
        """Raise a `DataflowError` where the pool is closed."""
        if self._is_closed:
            raise errors.DataflowError(CLOSED)

    def close(self) -> bool:
        """Refuse to connect from now on; False where the pool was closed already."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            return not was_closed

    async def aclose(self) -> None:
        """Close the clients of all services, on the loop that uses them."""
        for service in list(self._services.values()):
            await service.client.aclose()

    def release(self) -> None:
        """Let the local service end."""
        for service in self._services.values():
            service.release()
        self._services.clear()

    def _address_of(self, target: Target) -> ServiceAddress:
        if target.kind == "local":
            return self._attach()
        return ServiceAddress(target.endpoint, target.access_key, target.secret_key)


def _key_of(target: Target) -> tuple[str, str, str | None]:
    # Not its keys: runs that are watched with other keys of the target follow to the new ones.
    return target.name, target.endpoint, target.profile


def _client_of(address: ServiceAddress) -> tuple[str, str, SecretStr]:
    return address.endpoint, address.access_key, address.secret_key
