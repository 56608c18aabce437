"""Reads objects, and writes scripts: in a local service's folder or in the cloud's object storage.

Source: Object Storage is S3-compatible at ``kr.object.ncloudstorage.com``, region ``kr-standard``, with the API's own
key pair (the vendor's Cloud Functions object-storage samples, read 2026-11).
"""

from __future__ import annotations

import asyncio
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import SecretStr

from dataflow_magic.errors import DataflowError
from dataflow_magic.files import write_whole

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = ["CloudObjects", "FolderObjects", "NoObject", "Objects"]

CLOUD_ENDPOINT = "https://kr.object.ncloudstorage.com"
CLOUD_REGION = "kr-standard"


class NoObject(Exception):
    """There is nothing to read under that path; the message says what was looked for and why not."""


class Objects(Protocol):
    """A place objects are kept in."""

    async def tail(self, path: str, most: int) -> bytes:
        """Return the last ``most`` bytes of the object ``bucket/key``.

        Raises
        ------
        NoObject
            It is not there or cannot be read.
        """

    async def read(self, path: str) -> bytes | None:
        """Return the whole object, None when there is none.

        Raises
        ------
        DataflowError
            Whether there is one cannot be seen.
        """

    async def put(self, path: str, content: bytes) -> None:
        """Write the object whole, in the place of one that is there.

        Raises
        ------
        DataflowError
            It cannot be written.
        """


class FolderObjects:
    """Objects as files, one folder per bucket.

    Parameters
    ----------
    folder
        Holds the buckets.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def tail(self, path: str, most: int) -> bytes:
        """Return the last bytes of a file; see `Objects.tail`."""
        return await asyncio.to_thread(self._tail, path, most)

    async def read(self, path: str) -> bytes | None:
        """Return a file's content; see `Objects.read`."""
        try:
            return await asyncio.to_thread((self._folder / _checked(path)).read_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise DataflowError(f"s3a://{path} cannot be read ({type(error).__name__})") from None

    async def put(self, path: str, content: bytes) -> None:
        """Write a file; see `Objects.put`."""
        try:
            await asyncio.to_thread(write_whole, self._folder / _checked(path), io.BytesIO(content))
        except (OSError, ValueError) as error:
            raise DataflowError(f"s3a://{path} cannot be written ({type(error).__name__})") from None

    def _tail(self, path: str, most: int) -> bytes:
        if _leads_out(path):
            raise NoObject(f"no object {path!r} (the path leads out of the folder)")
        try:
            with (self._folder / path).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - most))
                return file.read(most)
        except (OSError, ValueError) as error:
            raise NoObject(f"no object {path!r} ({type(error).__name__})") from None


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

    async def tail(self, path: str, most: int) -> bytes:
        """Return the last bytes of an object; see `Objects.tail`."""
        # Late: 20 ms that only a failed cloud run pays.
        from obstore import get_range_async, head_async
        from obstore.exceptions import BaseError

        bucket, _, key = path.partition("/")
        if not _is_bucket(bucket):
            raise NoObject(f"no object {path!r} in {self._endpoint} (that is no bucket's name)")
        try:
            store = self._store(bucket)
            size = (await head_async(store, key))["size"]
            if size == 0:
                return b""
            return bytes(await get_range_async(store, key, start=max(0, size - most), end=size))
        except (BaseError, OSError, ValueError) as error:  # a missing object is a FileNotFoundError
            # The storage's own words may hold the request; its kind says enough.
            raise NoObject(f"no object {path!r} in {self._endpoint} ({type(error).__name__})") from None

    async def read(self, path: str) -> bytes | None:
        """Return an object; see `Objects.read`."""
        from obstore import get_async
        from obstore.exceptions import BaseError

        bucket, key = self._parts(path)
        try:
            return bytes(await (await get_async(self._store(bucket), key)).bytes_async())
        except FileNotFoundError:
            return None
        except (BaseError, OSError, ValueError) as error:
            raise DataflowError(self._fault(path, "read", error)) from None

    async def put(self, path: str, content: bytes) -> None:
        """Write an object; see `Objects.put`."""
        from obstore import put_async
        from obstore.exceptions import BaseError

        bucket, key = self._parts(path)
        try:
            await put_async(self._store(bucket), key, content, use_multipart=False)
        except (BaseError, OSError, ValueError) as error:
            raise DataflowError(self._fault(path, "written", error)) from None

    def _store(self, bucket: str) -> S3Store:
        from obstore.store import S3Store

        return S3Store(
            bucket,
            endpoint=self._endpoint,
            region=self._region,
            access_key_id=self._access_key,
            secret_access_key=self._secret_key.get_secret_value(),
            virtual_hosted_style_request=False,
            client_options={"allow_http": self._endpoint.startswith("http://")},
            retry_config={"max_retries": 2},
        )

    def _parts(self, path: str) -> tuple[str, str]:
        bucket, _, key = path.partition("/")
        if not _is_bucket(bucket) or not key:
            raise DataflowError(f"s3a://{path} is no object's address; write bucket/key")
        return bucket, key

    def _fault(self, path: str, what: str, error: Exception) -> str:
        # The storage's own words may hold the request; its kind says enough.
        return (
            f"s3a://{path} cannot be {what} in {self._endpoint} ({type(error).__name__}); "
            "check that the bucket is there and the key pair has the right"
        )


def _is_bucket(name: str) -> bool:
    # The library aborts on what no address can hold.
    return re.fullmatch(r"[A-Za-z0-9._-]+", name) is not None


def _leads_out(path: str) -> bool:
    # The service named it, and may be any.
    return path.startswith("/") or ".." in path.split("/")


def _checked(path: str) -> str:
    if _leads_out(path):
        raise DataflowError(f"s3a://{path} leads out of the folder; write bucket/key")
    return path
