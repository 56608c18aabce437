"""Serves one data folder over HTTP until told to stop, or until nobody uses it. The service's process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

import uvicorn
from starlette.types import ASGIApp, Receive, Scope

from dataflow_magic.errors import ConfigError
from dataflow_magic.files import try_lock
from dataflow_magic.local.engine import Engine, Runner
from dataflow_magic.local.folder import Address, DataFolder
from dataflow_magic.local.http.app import Keys, Service, create_app
from dataflow_magic.local.log import event, logged_to
from dataflow_magic.local.objects.samples import install_samples, sample_jobs
from dataflow_magic.local.options import Contract
from dataflow_magic.local.spark.java import java_in_words
from dataflow_magic.local.store import Store
from dataflow_magic.models.wire import KST

__all__ = ["GRACE_SECONDS", "random_keys", "serve"]

logger = logging.getLogger(__name__)

LOOPBACK = IPv4Address("127.0.0.1")
MAX_HEAD = 64 << 10
"""Bytes of a head that are read at all: more than the gateway allows, so that it is the one to say so."""
GRACE_SECONDS = 3.0
"""How long the service outlives its last user, so that a restarted kernel finds it again."""
LOOKS = 6
"""For users, in that time."""


def random_keys() -> Keys:
    """Return keys nobody else knows, for a service that tells them only through its data folder."""
    return Keys("local-" + secrets.token_hex(8), secrets.token_urlsafe(32))


def serve(
    folder: DataFolder,
    keys: Keys,
    runner: AbstractAsyncContextManager[Runner],
    *,
    host: IPv4Address | IPv6Address = LOOPBACK,
    port: int = 0,
    contract: Contract = Contract.EXECUTE_JOB,
    grace_seconds: float | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the folder until SIGTERM, or SIGINT; returns once the live runs are ended too, as FAILED.

    For a process of its own: it handles signals, so it works in the main thread only.

    Parameters
    ----------
    runner
        Entered while the service runs; gives what runs one script.
    host
        Address to listen at. Requests are not encrypted.
    port
        0 takes a free one.
    grace_seconds
        When given, end also once there was no user, and no run went on or waited, for that long.
    ready
        Called with the address once requests are accepted.

    Raises
    ------
    ConfigError
        The port is in use, or another process serves the folder.
    """
    folder.make()
    with _held(folder), _listening(host, port) as listener, logged_to(folder.log):
        serving = _serve(
            folder, keys, runner, listener, contract=contract, grace_seconds=grace_seconds, ready=ready
        )
        asyncio.run(serving)


@contextmanager
def _held(folder: DataFolder) -> Iterator[None]:
    lock = folder.own()
    folder.remove_address()  # left by a service that was killed
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def _listening(host: IPv4Address | IPv6Address, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
    # Named TCP: with protocol 0 the loop leaves Nagle's algorithm on, which costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((str(host), port))
            listener.listen(128)
        except OSError as error:
            raise ConfigError(
                f"port {port} of {host} cannot be used ({error.strerror}); give another --port"
            ) from None
        yield listener


def _url(host: IPv4Address | IPv6Address, port: int) -> str:
    """Return where this machine finds it; one that listens everywhere is on loopback too."""
    name = str(ip_address("::1" if host.version == 6 else "127.0.0.1") if host.is_unspecified else host)
    return f"http://[{name}]:{port}" if host.version == 6 else f"http://{name}:{port}"


class _Server(uvicorn.Server):
    """Leaves signals to `_serve`: uvicorn would repeat them as soon as it is done, before the runs are ended."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def hang_up(self, scope: Scope, receive: Receive) -> None:
        """Close the connection a request came by."""
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", None) == scope["client"]:
                connection.transport.close()
        while (await receive())["type"] != "http.disconnect":
            pass


async def _serve(
    folder: DataFolder,
    keys: Keys,
    runner: AbstractAsyncContextManager[Runner],
    listener: socket.socket,
    *,
    contract: Contract,
    grace_seconds: float | None,
    ready: Callable[[str], None] | None,
) -> None:
    stop = asyncio.Event()
    # asyncio.run has its own way with SIGINT: it cancels this coroutine, and raises KeyboardInterrupt at the end.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    now = functools.partial(datetime.now, KST)
    store = Store(folder.database, now)
    _seed(store, folder)
    slots = max(2, os.cpu_count() or 1)
    java = await asyncio.to_thread(java_in_words, os.environ)
    async with runner as run, Engine(store, folder.path, run, slots=slots) as engine:
        service = Service(store, engine, folder.path, now, contract)
        server: _Server = _server(
            create_app(service, keys, hang_up=lambda scope, receive: server.hang_up(scope, receive))
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        serving.add_done_callback(lambda _: stop.set())
        try:
            while not (server.started or stop.is_set()):  # noqa: ASYNC110 - uvicorn tells by a flag
                await asyncio.sleep(0.01)
            endpoint = _url(ip_address(listener.getsockname()[0]), listener.getsockname()[1])
            folder.write_address(Address(endpoint, keys.access_key, keys.secret_key, os.getpid(), java))
            event(logger, "the service has started", pid=os.getpid(), contract=contract)
            if ready:
                ready(endpoint)
            if grace_seconds is None:
                await stop.wait()
            else:
                await _until_unused(folder, engine, stop, grace_seconds)
        finally:
            folder.remove_address()  # first: whoever looks from now on waits for the end and starts another
            server.should_exit = True
            await serving
            event(logger, "the service ends", pid=os.getpid())


def _server(app: ASGIApp) -> _Server:
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,  # its loggers write where the service's do
        access_log=False,
        date_header=False,  # the gateway dates its answers itself
        # Longer than clients keep a connection, so that it is never this side that closes one just being used.
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=MAX_HEAD,
    )
    return _Server(config)


async def _until_unused(
    folder: DataFolder, engine: Engine, stop: asyncio.Event, grace_seconds: float
) -> None:
    """Return when nobody uses the service, holding the users' lock whole so that nobody new can begin to.

    Also when it is told to stop, or when its folder was removed.
    """
    unused_since: float | None = None
    while not stop.is_set():
        try:
            lock = try_lock(folder.users_lock) if engine.is_idle() else None
        except FileNotFoundError:
            return
        now = time.monotonic()
        if lock is None:
            unused_since = None
        elif unused_since is not None and now - unused_since >= grace_seconds:
            return  # the lock goes with the process
        else:
            unused_since = now if unused_since is None else unused_since
            os.close(lock)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), grace_seconds / LOOKS)


def _seed(store: Store, folder: DataFolder) -> None:
    install_samples(folder.objects)
    known = {job.name for job in store.jobs(name=None, page=0, limit=1_000_000)[0]}
    for body in sample_jobs():
        if body["name"] not in known:
            store.add_job(
                body["name"],
                body["type"],
                max_concurrent_runs=body.get("maxConcurrentRuns"),
                condition=body["jobCondition"],
                extra={"description": body["description"]} if "description" in body else {},
            )
