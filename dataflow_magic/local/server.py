"""Serves one data folder over HTTP until a signal stops it, or until nobody uses it. For a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

import uvicorn
from starlette.types import Receive, Scope

from dataflow_magic.errors import ConfigError
from dataflow_magic.files import try_lock
from dataflow_magic.local.engine import Engine, Runner
from dataflow_magic.local.folder import Address, DataFolder
from dataflow_magic.local.http.app import Backend, create_app
from dataflow_magic.local.http.connection import CLIENT_SECONDS, connection_limit, limited
from dataflow_magic.local.keys import Keys, kept_keys
from dataflow_magic.local.log import event, logged_to
from dataflow_magic.local.objects.samples import install_samples, sample_jobs
from dataflow_magic.local.options import Contract
from dataflow_magic.local.spark.java import java_in_words
from dataflow_magic.local.store import Store
from dataflow_magic.models.wire import KST

__all__ = ["GRACE_SECONDS", "serve"]

logger = logging.getLogger(__name__)

LOOPBACK = IPv4Address("127.0.0.1")
PARSER_HEAD_BYTES = 64 << 10
"""Limit of a request's head in the parser: above the gateway's, so that the gateway refuses it with its own 413."""
GRACE_SECONDS = 3.0
"""How long the service outlives its last user, so that a restarted kernel finds it again."""
CHECKS_PER_GRACE = 6
"""How often the service looks for users within that time."""
START_POLL_SECONDS = 0.01
LISTEN_BACKLOG = 128
ACCEPTED_AT_ONCE = 1
"""Connections that asyncio accepts before it looks at them again, so that their limit holds during a flood too. Where no
descriptor is left, asyncio tries each of them again, logs each, and multiplies its retries (CPython 3.11)."""


def serve(
    folder: DataFolder,
    keys: Keys | None,
    runner: AbstractAsyncContextManager[Runner],
    *,
    host: IPv4Address | IPv6Address = LOOPBACK,
    port: int = 0,
    contract: Contract = Contract.EXECUTE_JOB,
    grace_seconds: float | None = None,
    client_seconds: float = CLIENT_SECONDS,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the folder until SIGTERM, or SIGINT as KeyboardInterrupt; live runs are FAILED by then.

    Call it in the main thread of a process of its own, since it handles signals. It handles SIGINT also where the parent
    ignores it, as a shell script does for commands in the background; so do the processes of its runs.

    Parameters
    ----------
    keys
        None takes those the folder keeps, made at its first start.
    runner
        Entered while the service runs; gives what runs one script.
    host
        Address to listen at. Requests are not encrypted.
    port
        0 takes a free one.
    grace_seconds
        When given, end also after this long without a user and a READY or RUNNING run.
    client_seconds
        How long a client may take to send a request, and to read a response.
    ready
        Called with the service's URL once it accepts requests.

    Raises
    ------
    ConfigError
        The port is in use, another process serves the folder, or its keys cannot be used.
    """
    os.umask(0o077)  # what this process and its runs create is private
    folder.make()
    with _owned(folder), _listening(host, port) as listener, logged_to(folder.log):
        keys = keys or kept_keys(folder.keys)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        asyncio.run(
            _serve(
                folder,
                keys,
                runner,
                listener,
                contract=contract,
                grace_seconds=grace_seconds,
                client_seconds=client_seconds,
                ready=ready,
            )
        )


@contextmanager
def _owned(folder: DataFolder) -> Iterator[None]:
    lock = folder.own()
    folder.remove_address()  # a killed service leaves one
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def _listening(host: IPv4Address | IPv6Address, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
    # TCP by name: with protocol 0 asyncio leaves Nagle's algorithm on, which costs 40 ms per response.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((str(host), port))
            listener.listen(LISTEN_BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"port {port} of {host} cannot be used ({error.strerror}); give another --port"
            ) from None
        yield listener


async def _serve(
    folder: DataFolder,
    keys: Keys,
    runner: AbstractAsyncContextManager[Runner],
    listener: socket.socket,
    *,
    contract: Contract,
    grace_seconds: float | None,
    client_seconds: float,
    ready: Callable[[str], None] | None,
) -> None:
    stop = asyncio.Event()
    # asyncio.run handles SIGINT itself: it cancels this coroutine and raises KeyboardInterrupt.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    now = functools.partial(datetime.now, KST)
    store = Store(folder.database, now)
    _add_samples(store, folder)
    slots = max(2, os.cpu_count() or 1)
    java = await asyncio.to_thread(java_in_words, os.environ)
    async with runner as run, Engine(store, folder.path, run, slots=slots) as engine:
        backend = Backend(store, engine, folder.path, now, contract)
        async with _answering(backend, keys, listener, stop, client_seconds):
            url = _url(*listener.getsockname()[:2])
            with _published(folder, Address(url, keys.access_key, keys.secret_key, os.getpid(), java)):
                event(logger, "the service has started", pid=os.getpid(), contract=contract)
                if ready:
                    ready(url)
                await _until_stopped(folder, engine, stop, grace_seconds)


@asynccontextmanager
async def _answering(
    backend: Backend, keys: Keys, listener: socket.socket, stop: asyncio.Event, client_seconds: float
) -> AsyncIterator[None]:
    """Accept requests inside the block; set ``stop`` if the server ends by itself."""
    server = _server(backend, keys, client_seconds)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    serving.add_done_callback(lambda _: stop.set())
    try:
        while not (server.started or stop.is_set()):  # noqa: ASYNC110 - uvicorn only has a flag
            await asyncio.sleep(START_POLL_SECONDS)
        listener.listen(LISTEN_BACKLOG)  # asyncio has set it to `ACCEPTED_AT_ONCE`
        yield
    finally:
        server.should_exit = True
        await serving
        event(logger, "the service ends", pid=os.getpid())


@contextmanager
def _published(folder: DataFolder, address: Address) -> Iterator[None]:
    """Keep the address in the folder inside the block: a user who finds none waits for the end and starts a service."""
    folder.write_address(address)
    try:
        yield
    finally:
        folder.remove_address()


async def _until_stopped(
    folder: DataFolder, engine: Engine, stop: asyncio.Event, grace_seconds: float | None
) -> None:
    """Return when ``stop`` is set, the folder is gone, or the service was unused for the grace time.

    An unused service returns with the users' lock, so that no new user starts to use it while it ends.
    """
    if grace_seconds is None:
        await stop.wait()
        return
    unused_since: float | None = None
    while not stop.is_set():
        try:
            lock = try_lock(folder.users_lock) if engine.is_idle() else None
        except FileNotFoundError:  # the folder was removed
            return
        now = time.monotonic()
        if lock is None:
            unused_since = None
        elif unused_since is not None and now - unused_since >= grace_seconds:
            return  # the lock ends with the process
        else:
            unused_since = now if unused_since is None else unused_since
            os.close(lock)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), grace_seconds / CHECKS_PER_GRACE)


def _url(host: str, port: int) -> str:
    """Return the service's URL for this machine; a service at all addresses is at the loopback one too."""
    address = ip_address(host)
    if address.is_unspecified:
        address = ip_address("::1" if address.version == 6 else "127.0.0.1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


class _Server(uvicorn.Server):
    """A server that leaves signals to `_serve`: uvicorn raises them again before the runs have ended."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def hang_up(self, scope: Scope, receive: Receive) -> None:
        """Close the connection of a request."""
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", None) == scope["client"]:
                connection.transport.close()
        while (await receive())["type"] != "http.disconnect":
            pass


def _server(backend: Backend, keys: Keys, client_seconds: float) -> _Server:
    async def hang_up(scope: Scope, receive: Receive) -> None:
        await server.hang_up(scope, receive)

    config = uvicorn.Config(
        create_app(backend, keys, hang_up=hang_up),
        http=limited(
            connections=connection_limit(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
            seconds=client_seconds,
        ),
        backlog=ACCEPTED_AT_ONCE,
        lifespan="off",
        ws="none",
        log_config=None,  # `logged_to` configures its loggers
        access_log=False,
        proxy_headers=False,  # they would name another client than the connection's
        date_header=False,  # the gateway dates its responses itself
        # Longer than clients keep a connection, so that the service never closes one that a client starts to use.
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=PARSER_HEAD_BYTES,
    )
    server = _Server(config)
    return server


def _add_samples(store: Store, folder: DataFolder) -> None:
    """Add the sample objects and the sample jobs that the folder lacks."""
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
