"""Reads and writes objects: in a local service's folder, or in the cloud's object storage. Knows no job and no run.

Source: Object Storage is S3-compatible at ``kr.object.ncloudstorage.com``, region ``kr-standard``, with the API's own
key pair (the vendor's Cloud Functions object-storage samples, read 2026-11).
"""

from __future__ import annotations

import asyncio
import atexit
import io
import json
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from dataflow_magic.errors import DataflowError, Unreachable
from dataflow_magic.files import InvalidKey, is_locked, object_path, write_whole

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import S3Store

__all__ = ["CloudObjects", "FolderObjects", "NoObject", "Objects", "RangedObjects", "folder_of_service"]

T = TypeVar("T")

CLOUD_ENDPOINT = "https://kr.object.ncloudstorage.com"
CLOUD_REGION = "kr-standard"

MOST_BYTES = 64 * 2**20
"""Of an object that is read whole, which is a script: as of a response of the service."""
MOST_SECONDS = 60.0
"""Of one call, with its second tries and all of an object's bytes."""
TOO_LARGE = f"it is larger than {MOST_BYTES // 2**20} MiB, the limit"
CHUNK_BYTES = 1 << 20
FINISH_SECONDS = 0.1
PART_CHUNK_BYTES = 1 << 18
"""Of a part: as many may be lost where a connection ends."""
_MOST_WALKED = 100_000
"""Files of a folder that are looked at for a listing."""


class NoObject(Exception):
    """The path has no readable object; the message names the path and the reason."""


class _OverBound(Exception):
    """An object is over a bound, which the message names."""


class _NotAFile(OSError):
    """A path has a pipe, a socket or a device: reading it may never end."""


class Objects(Protocol):
    """Object storage; each ``path`` is ``bucket/key``."""

    async def tail(self, path: str, most: int) -> bytes:
        """Return the last ``most`` bytes of an object.

        Raises
        ------
        NoObject
            It does not exist or cannot be read.
        DataflowError
            The storage sends more bytes, or takes longer than 60 s.
        """

    async def read(self, path: str) -> bytes | None:
        """Return a whole object; None where it does not exist.

        Raises
        ------
        DataflowError
            The storage does not show whether it exists, no object can have the path, or it is larger than 64 MiB or takes longer
            than 60 s.
        """

    async def put(self, path: str, content: bytes) -> None:
        """Write or replace an object; readers see the old or the new one, never a part.

        Raises
        ------
        DataflowError
            It cannot be written, or not within 60 s.
        """


class RangedObjects(Objects, Protocol):
    """Object storage that reads parts of objects, and lists them."""

    async def size(self, path: str) -> int:
        """Return the bytes of an object.

        Raises
        ------
        NoObject
            It does not exist, or no object can have the path.
        Unreachable
            The storage does not answer, or not within 60 s.
        DataflowError
            The key pair may not read it.
        """

    async def part(self, path: str, start: int, stop: int) -> bytes:
        """Return the bytes of an object from ``start`` to below ``stop``; raises as `size`.

        Returns
        -------
        bytes
            Fewer where the connection ends or 60 s are over before all of them came, and none behind the end of a file.
        """

    async def names(self, folder: str, most: int, *, after: str = "") -> list[str]:
        """Return the paths of the first objects below a folder, in order and at most ``most``; none where it does not exist.

        Parameters
        ----------
        folder
            ``bucket/prefix/``, the last slash optional.
        after
            Leave out paths up to and with this one.

        Raises
        ------
        Unreachable
            The storage does not answer, or not within 60 s.
        DataflowError
            There is no such bucket, the key pair may not list it, or no folder can have the name.
        """


class FolderObjects:
    """Objects as files of this machine.

    These are plain file operations and not obstore's ``LocalStore``: that hangs in a forked process, refuses names a
    folder may hold (``a#1``, a tab), and its writes leave the checksum of Hadoop beside a file, which then refuses it.

    Parameters
    ----------
    folder
        Holds one folder per bucket.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def tail(self, path: str, most: int) -> bytes:
        """Return the last bytes of a file; see `Objects.tail`."""
        try:
            async with _within(MOST_SECONDS):
                return await asyncio.to_thread(_tail, object_path(self._folder, path), most)
        except (_OverBound, OSError, ValueError) as error:
            raise _no_object(path, error) from None

    async def size(self, path: str) -> int:
        """Return the size of a file; see `RangedObjects.size`."""
        return await self._look(path, _size)

    async def part(self, path: str, start: int, stop: int) -> bytes:
        """Return bytes of a file; see `RangedObjects.part`."""
        return await self._look(path, partial(_part, start=start, stop=stop))

    async def names(self, folder: str, most: int, *, after: str = "") -> list[str]:
        """Return the paths of files; see `RangedObjects.names`."""
        return await self._look(folder, partial(_names, root=self._folder, most=most, after=after))

    async def read(self, path: str) -> bytes | None:
        """Return a file's content; see `Objects.read`."""
        try:
            async with _within(MOST_SECONDS):
                return await asyncio.to_thread(_whole, object_path(self._folder, path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (_OverBound, OSError, ValueError) as error:
            raise _failed(path, "read", error) from None

    async def put(self, path: str, content: bytes) -> None:
        """Write a file; see `Objects.put`."""
        try:
            async with _within(MOST_SECONDS):
                await asyncio.to_thread(write_whole, object_path(self._folder, path), io.BytesIO(content))
        except (_OverBound, OSError, ValueError) as error:
            raise _failed(path, "written", error) from None

    async def _look(self, path: str, look: Callable[[Path], T]) -> T:
        try:
            async with _within(MOST_SECONDS):
                return await asyncio.to_thread(look, object_path(self._folder, path))
        except (_OverBound, OSError, ValueError) as error:
            raise _not_read(path, error) from None


def folder_of_service(folder: Path, endpoint: str) -> FolderObjects:
    """Return the objects in the folder that the service at an endpoint names as its own.

    Any program may listen on this machine and name any folder. A local service of this user has published its address beside
    its object folder, and holds the folder's lock while it runs.

    Raises
    ------
    DataflowError
        The folder is no object folder of this user, or belongs to a service at another address.
    """
    published = folder.parent / "service.json"
    try:
        is_whole = (
            folder.name == "objects" and folder.is_absolute() and folder.is_dir() and published.is_file()
        )
        if not is_whole or not is_locked(folder.parent / "service.lock"):
            why = "that is no object folder of a running local service"
        elif {path.stat().st_uid for path in (folder, folder.parent, published)} != {os.getuid()}:
            why = "that belongs to another user"
        elif not _is_same(endpoint, json.loads(published.read_text(encoding="utf-8"))["endpoint"]):
            why = "a service at another address has that folder"
        else:
            return FolderObjects(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = f"that cannot be checked ({type(error).__name__})"
    raise DataflowError(
        f"the service at {endpoint} names {str(folder)!r} as its object folder, but {why}; "
        "its objects are neither read nor written: start it as this user with dataflow-magic local"
    )


class CloudObjects:
    """Objects in the cloud's object storage.

    Parameters
    ----------
    endpoint, region
        Of the storage, not of the Data Flow API.
    seconds
        Limit of the time of one call.
    """

    def __init__(
        self,
        access_key: str,
        secret_key: SecretStr,
        endpoint: str = CLOUD_ENDPOINT,
        region: str = CLOUD_REGION,
        *,
        seconds: float = MOST_SECONDS,
    ) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._endpoint = endpoint
        self._region = region
        self._seconds = seconds
        self._stores: dict[str, S3Store] = {}
        """By bucket: a store keeps its connections."""

    # Each method imports obstore itself: the import takes 45 ms, which a cell without objects does not pay.

    async def tail(self, path: str, most: int) -> bytes:
        """Return the last bytes of an object; see `Objects.tail`."""
        import obstore

        try:
            store, key = self._locate(path)
            async with _within(self._seconds):
                size = (await obstore.head_async(store, key))["size"]
                if size == 0 or most == 0:
                    return b""
                wanted = (max(0, size - most), size)
                result = await obstore.get_async(store, key, options={"range": wanted})
                return await _bytes_of(
                    result, most, f"the storage sends more than the {most:,} bytes asked for"
                )
        except (_OverBound, obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise _no_object(path, error, self._endpoint) from None

    async def size(self, path: str) -> int:
        """Return the size of an object; see `RangedObjects.size`."""
        import obstore

        try:
            async with _within(self._seconds):
                return (await obstore.head_async(*self._locate(path)))["size"]
        except (_OverBound, obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise _not_read(path, error, self._endpoint) from None

    async def part(self, path: str, start: int, stop: int) -> bytes:
        """Return bytes of an object; see `RangedObjects.part`."""
        import obstore

        content = bytearray()
        try:
            async with _within(self._seconds):
                result = await obstore.get_async(*self._locate(path), options={"range": (start, stop)})
                async for chunk in result.stream(min_chunk_size=PART_CHUNK_BYTES):
                    content += chunk
                    if len(content) >= stop - start:
                        break
        except (_OverBound, obstore.exceptions.BaseError, OSError, ValueError) as error:
            if not content:
                raise _not_read(path, error, self._endpoint) from None
        del content[stop - start :]
        return bytes(content)

    async def names(self, folder: str, most: int, *, after: str = "") -> list[str]:
        """Return the paths of objects; see `RangedObjects.names`."""
        import obstore

        found: list[str] = []
        try:
            store, prefix = self._locate(f"{folder.rstrip('/')}/.")
            bucket = folder.partition("/")[0]
            offset = after.removeprefix(f"{bucket}/") or None
            async with _within(self._seconds):
                async for entries in obstore.list(store, prefix[:-1] or None, offset=offset, chunk_size=most):
                    found += (f"{bucket}/{entry['path']}" for entry in entries)
                    if len(found) >= most:
                        break
        except (_OverBound, obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise _not_read(folder, error, self._endpoint) from None
        return found[:most]

    async def read(self, path: str) -> bytes | None:
        """Return an object; see `Objects.read`."""
        import obstore

        try:
            async with _within(self._seconds):
                return await _bytes_of(await obstore.get_async(*self._locate(path)), MOST_BYTES, TOO_LARGE)
        except FileNotFoundError:
            return None
        except (_OverBound, obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise _failed(path, "read", error, self._endpoint) from None

    async def put(self, path: str, content: bytes) -> None:
        """Write an object; see `Objects.put`."""
        import obstore

        try:
            async with _within(self._seconds):
                await obstore.put_async(*self._locate(path), content, use_multipart=False)
        except (_OverBound, obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise _failed(path, "written", error, self._endpoint) from None

    def _locate(self, path: str) -> tuple[S3Store, str]:
        from obstore.store import S3Store

        bucket, _, key = path.partition("/")
        # obstore aborts the process for a bucket that no address can hold.
        if not key or not re.fullmatch(r"[A-Za-z0-9._-]+", bucket):
            raise InvalidKey(f"{path!r} is not a path in object storage: write bucket/key")
        if bucket not in self._stores:
            atexit.unregister(_finish)  # once, for however many buckets
            atexit.register(_finish)
            self._stores[bucket] = S3Store(
                bucket,
                endpoint=self._endpoint,
                region=self._region,
                access_key_id=self._access_key,
                secret_access_key=self._secret_key.get_secret_value(),
                virtual_hosted_style_request=False,
                client_options={"allow_http": self._endpoint.startswith("http://")},
                retry_config={"max_retries": 2},
            )
        return self._stores[bucket], key


def _finish() -> None:
    """Let obstore's threads drop the result that Python has already: one that does so while Python ends aborts the process."""
    time.sleep(FINISH_SECONDS)


def _is_same(endpoint: str, published: str) -> bool:
    asked, known = urlsplit(endpoint), urlsplit(published)
    return asked.port == known.port and asked.hostname in {"localhost", known.hostname}


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise _OverBound(f"it takes longer than {seconds:g} s, the limit") from None


async def _bytes_of(result: GetResult, most: int, over: str) -> bytes:
    """Return all bytes of an object; raise `_OverBound` with this text at more than ``most`` of them."""
    content = bytearray()
    async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
        content += chunk
        if len(content) > most:
            raise _OverBound(over)
    return bytes(content)


def _tail(file: Path, most: int) -> bytes:
    with _opened(file) as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - most))
        return stream.read(most)


def _size(file: Path) -> int:
    with _opened(file) as stream:
        return stream.seek(0, os.SEEK_END)


def _part(file: Path, start: int, stop: int) -> bytes:
    with _opened(file) as stream:
        stream.seek(start)
        return stream.read(stop - start)


def _names(folder: Path, root: Path, most: int, after: str) -> list[str]:
    found = islice(_below(folder, root), _MOST_WALKED)
    return list(islice((name for name in found if name > after), most))


def _below(folder: Path, root: Path) -> Iterator[str]:
    """Yield the names of the files below a folder in the order of S3, which compares whole names."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: f"{entry.name}/" if entry.is_dir() else entry.name)
    for entry in ordered:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path), root)
        else:
            yield Path(entry.path).relative_to(root).as_posix()


def _whole(file: Path) -> bytes:
    with _opened(file) as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise _OverBound(TOO_LARGE)
    return content


def _opened(file: Path) -> BinaryIO:
    # A pipe without a writer would keep an ordinary open waiting.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        os.close(descriptor)
        raise _NotAFile(f"{file} is no file")
    try:
        return os.fdopen(descriptor, "rb")
    except IsADirectoryError:
        os.close(descriptor)
        raise


# Both errors name only the kind of their cause: the words of a storage may hold the signed request.


def _no_object(path: str, error: Exception, endpoint: str = "") -> NoObject | DataflowError:
    if isinstance(error, InvalidKey):
        return NoObject(str(error))
    if isinstance(error, _OverBound):
        return _failed(path, "read", error, endpoint)
    return NoObject(f"no object {path!r}{_in(endpoint)} ({type(error).__name__})")


def _not_read(path: str, error: Exception, endpoint: str = "") -> NoObject | DataflowError:
    """Return the error of a size, a part or a listing: only what may go away by itself is `Unreachable`."""
    if isinstance(error, InvalidKey):
        return NoObject(str(error))
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError | _NotAFile):
        return NoObject(f"no object {path!r}{_in(endpoint)} ({type(error).__name__})")
    if isinstance(error, _OverBound):
        return Unreachable(f"s3a://{path}{_in(endpoint)} cannot be read: {error}")
    # The storage's own words may hold the signed request, so only its status is taken from them.
    status = found[1] if (found := re.search(r"status code: (\d{3})", str(error))) else ""
    if status == "404":  # of a listing: objects that are missing have an error of their own
        return DataflowError(f"there is no bucket {path.partition('/')[0]!r}{_in(endpoint)}")
    if status in {"401", "403"} or isinstance(error, PermissionError):
        return DataflowError(
            f"the key pair may not read s3a://{path}{_in(endpoint)} ({status or type(error).__name__}); check the keys, "
            "their rights, and the clock of this machine"
        )
    return Unreachable(f"s3a://{path}{_in(endpoint)} cannot be read ({type(error).__name__})")


def _failed(path: str, what: str, error: Exception, endpoint: str = "") -> DataflowError:
    if isinstance(error, InvalidKey):
        return DataflowError(str(error))
    if isinstance(error, _OverBound):
        return DataflowError(f"s3a://{path} cannot be {what}{_in(endpoint)}: {error}")
    advice = "; check that the bucket exists and that the key pair may access it" if endpoint else ""
    return DataflowError(f"s3a://{path} cannot be {what}{_in(endpoint)} ({type(error).__name__}){advice}")


def _in(endpoint: str) -> str:
    return f" in {endpoint}" if endpoint else ""
