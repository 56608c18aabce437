"""Reads and writes objects: in a local service's folder, or in the cloud's object storage. Knows no job and no run.

Source: Object Storage is S3-compatible at ``kr.object.ncloudstorage.com``, region ``kr-standard``, with the API's own
key pair (the vendor's Cloud Functions object-storage samples, read 2026-11).
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from dataflow_magic.errors import DataflowError
from dataflow_magic.files import InvalidKey, is_locked, object_path, write_whole

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = ["CloudObjects", "FolderObjects", "NoObject", "Objects", "folder_of_service"]

CLOUD_ENDPOINT = "https://kr.object.ncloudstorage.com"
CLOUD_REGION = "kr-standard"


class NoObject(Exception):
    """The path has no readable object; the message names the path and the reason."""


class Objects(Protocol):
    """Object storage; each ``path`` is ``bucket/key``."""

    async def tail(self, path: str, most: int) -> bytes:
        """Return the last ``most`` bytes of an object.

        Raises
        ------
        NoObject
            It does not exist or cannot be read.
        """

    async def read(self, path: str) -> bytes | None:
        """Return a whole object; None where it does not exist.

        Raises
        ------
        DataflowError
            The storage does not show whether it exists, or no object can have the path.
        """

    async def put(self, path: str, content: bytes) -> None:
        """Write or replace an object; readers see the old or the new one, never a part.

        Raises
        ------
        DataflowError
            It cannot be written.
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
            return await asyncio.to_thread(_tail, object_path(self._folder, path), most)
        except (OSError, ValueError) as error:
            raise _no_object(path, error) from None

    async def read(self, path: str) -> bytes | None:
        """Return a file's content; see `Objects.read`."""
        try:
            return await asyncio.to_thread(object_path(self._folder, path).read_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise _failed(path, "read", error) from None

    async def put(self, path: str, content: bytes) -> None:
        """Write a file; see `Objects.put`."""
        try:
            await asyncio.to_thread(write_whole, object_path(self._folder, path), io.BytesIO(content))
        except (OSError, ValueError) as error:
            raise _failed(path, "written", error) from None


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
    """

    def __init__(
        self,
        access_key: str,
        secret_key: SecretStr,
        endpoint: str = CLOUD_ENDPOINT,
        region: str = CLOUD_REGION,
    ) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._endpoint = endpoint
        self._region = region

    # Each method imports obstore itself: the import takes 45 ms, which a cell without objects does not pay.

    async def tail(self, path: str, most: int) -> bytes:
        """Return the last bytes of an object; see `Objects.tail`."""
        import obstore

        try:
            store, key = self._locate(path)
            size = (await obstore.head_async(store, key))["size"]
            if size == 0:
                return b""
            return bytes(await obstore.get_range_async(store, key, start=max(0, size - most), end=size))
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise _no_object(path, error, self._endpoint) from None

    async def read(self, path: str) -> bytes | None:
        """Return an object; see `Objects.read`."""
        import obstore

        try:
            return bytes(await (await obstore.get_async(*self._locate(path))).bytes_async())
        except FileNotFoundError:
            return None
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise _failed(path, "read", error, self._endpoint) from None

    async def put(self, path: str, content: bytes) -> None:
        """Write an object; see `Objects.put`."""
        import obstore

        try:
            await obstore.put_async(*self._locate(path), content, use_multipart=False)
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise _failed(path, "written", error, self._endpoint) from None

    def _locate(self, path: str) -> tuple[S3Store, str]:
        from obstore.store import S3Store

        bucket, _, key = path.partition("/")
        # obstore aborts the process for a bucket that no address can hold.
        if not key or not re.fullmatch(r"[A-Za-z0-9._-]+", bucket):
            raise InvalidKey(f"{path!r} is not a path in object storage: write bucket/key")
        store = S3Store(
            bucket,
            endpoint=self._endpoint,
            region=self._region,
            access_key_id=self._access_key,
            secret_access_key=self._secret_key.get_secret_value(),
            virtual_hosted_style_request=False,
            client_options={"allow_http": self._endpoint.startswith("http://")},
            retry_config={"max_retries": 2},
        )
        return store, key


def _is_same(endpoint: str, published: str) -> bool:
    asked, known = urlsplit(endpoint), urlsplit(published)
    return asked.port == known.port and asked.hostname in {"localhost", known.hostname}


def _tail(file: Path, most: int) -> bytes:
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - most))
        return stream.read(most)


# Both errors name only the kind of their cause: the words of a storage may hold the signed request.


def _no_object(path: str, error: Exception, endpoint: str = "") -> NoObject:
    if isinstance(error, InvalidKey):
        return NoObject(str(error))
    return NoObject(f"no object {path!r}{_in(endpoint)} ({type(error).__name__})")


def _failed(path: str, what: str, error: Exception, endpoint: str = "") -> DataflowError:
    if isinstance(error, InvalidKey):
        return DataflowError(str(error))
    advice = "; check that the bucket exists and that the key pair may access it" if endpoint else ""
    return DataflowError(f"s3a://{path} cannot be {what}{_in(endpoint)} ({type(error).__name__}){advice}")


def _in(endpoint: str) -> str:
    return f" in {endpoint}" if endpoint else ""
