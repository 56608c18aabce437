"""Reads objects: console logs, in a local service's folder or in the cloud's object storage. Writes nothing.

Source: Object Storage is S3-compatible at ``kr.object.ncloudstorage.com``, region ``kr-standard``, with the API's own
key pair (the vendor's Cloud Functions object-storage samples, read 2026-11).
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

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

    def _tail(self, path: str, most: int) -> bytes:
        if path.startswith("/") or ".." in path.split("/"):  # the service named it, and may be any
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
        from obstore.store import S3Store

        bucket, _, key = path.partition("/")
        if not re.fullmatch(r"[A-Za-z0-9._-]+", bucket):  # the library aborts on what no address can hold
            raise NoObject(f"no object {path!r} in {self._endpoint} (that is no bucket's name)")
        try:
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
            size = (await head_async(store, key))["size"]
            if size == 0:
                return b""
            return bytes(await get_range_async(store, key, start=max(0, size - most), end=size))
        except (BaseError, OSError, ValueError) as error:  # a missing object is a FileNotFoundError
            # The storage's own words may hold the request; its kind says enough.
            raise NoObject(f"no object {path!r} in {self._endpoint} ({type(error).__name__})") from None
