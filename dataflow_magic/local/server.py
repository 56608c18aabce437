"""Serves one data folder over HTTP on 127.0.0.1 until told to stop, or until nobody uses it. The service's process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import uvicorn

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.app import Keys, Service, create_app
from dataflow_magic.local.engine import CarryOut, Engine
from dataflow_magic.local.folder import Address, DataFolder, try_lock
from dataflow_magic.local.sampledata import install_samples, sample_jobs
from dataflow_magic.local.store import Store
from dataflow_magic.view import KST

__all__ = ["random_keys", "serve"]

HOST = "127.0.0.1"
GRACE_SECONDS = 3.0
"""How long the service outlives its last user, so that a restarted kernel finds it again."""
LOOK_SECONDS = 0.5


def random_keys() -> Keys:
    """Return keys nobody else knows, for a service that tells them only through its data folder."""
    return Keys("local-" + secrets.token_hex(8), secrets.token_urlsafe(32))


def serve(
    folder: DataFolder,
    keys: Keys,
    carry_out: CarryOut,
    *,
    port: int = 0,
    until_unused: bool = False,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the folder; returns when the service has ended.

    Parameters
    ----------
    port
        Port on 127.0.0.1; 0 takes a free one.
    until_unused
        End when no user is left and no run goes on or waits.
    ready
        Called with the address once requests are accepted.

    Raises
    ------
    ConfigError
        The port is in use, or another process serves the folder.
    """
    folder.make()
    with _held(folder), _listening(port) as listener:
        asyncio.run(_serve(folder, keys, carry_out, listener, until_unused=until_unused, ready=ready))


@contextmanager
def _held(folder: DataFolder) -> Iterator[None]:
    lock = try_lock(folder.service_lock)
    if lock is None:
        address = folder.read_address()
        where = f" at {address.endpoint}, process {address.pid}" if address else ""
        raise ConfigError(
            f"a local service already serves {folder.path}{where}; use it, or give another --data"
        )
    try:
        yield
    finally:
        folder.remove_address()
        os.close(lock)


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    # Named TCP: with protocol 0 the loop leaves Nagle's algorithm on, which costs 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(128)
        except OSError as error:
            raise ConfigError(
                f"port {port} of {HOST} cannot be used ({error.strerror}); give another --port"
            ) from None
        yield listener


async def _serve(
    folder: DataFolder,
    keys: Keys,
    carry_out: CarryOut,
    listener: socket.socket,
    *,
    until_unused: bool,
    ready: Callable[[str], None] | None,
) -> None:
    now = functools.partial(datetime.now, KST)
    store = Store(folder.database, now)
    _seed(store, folder)
    slots = max(2, os.cpu_count() or 1)
    async with Engine(store, folder.path, carry_out, slots=slots) as engine:
        app = create_app(Service(store, engine, folder.path, now), keys)
        config = uvicorn.Config(app, lifespan="off", ws="none", log_level="warning", access_log=False, loop="asyncio")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn tells by a flag
                await asyncio.sleep(0.01)
            if not serving.done():
                endpoint = f"http://{HOST}:{listener.getsockname()[1]}"
                folder.write_address(Address(endpoint, keys.access_key, keys.secret_key, os.getpid()))
                if ready:
                    ready(endpoint)
            if until_unused:
                await _until_unused(folder, engine, serving)
                server.should_exit = True
            await serving
        finally:
            server.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await serving


async def _until_unused(folder: DataFolder, engine: Engine, serving: asyncio.Task[None]) -> None:
    """Return when nobody uses the service, holding the users' lock whole so that nobody new can begin to."""
    unused_since: float | None = None
    while not serving.done():
        lock = try_lock(folder.users_lock) if engine.is_idle() else None
        now = time.monotonic()
        if lock is None:
            unused_since = None
        elif unused_since is not None and now - unused_since >= GRACE_SECONDS:
            folder.remove_address()
            return  # the lock goes with the process
        else:
            unused_since = unused_since or now
            os.close(lock)
        await asyncio.sleep(LOOK_SECONDS)


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
