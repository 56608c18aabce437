"""Atomic writes, removals, locks that end with their process, and the rule of object names. Imports nothing of this package."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

__all__ = [
    "InvalidKey",
    "check_key",
    "create_private",
    "is_inside",
    "is_locked",
    "new_file",
    "object_path",
    "remove_checksums",
    "remove_folder",
    "try_lock",
    "write_whole",
]

LONGEST_KEY = 1024
"""Bytes; the limit of S3, which keeps a path below that of every file system."""
LONGEST_SEGMENT = 255
"""Bytes; a file name on every common file system."""

REMOVALS = 20
REMOVAL_SECONDS = 0.1


class InvalidKey(ValueError):
    """No object can have the key; the message says what a key is."""


def object_path(objects: Path, key: str) -> Path:
    """Return where the object or folder ``bucket/key`` lies below `objects`; it need not exist.

    Symbolic links may lead from one place below `objects` to another.

    Raises
    ------
    InvalidKey
        The key has a scheme or would leave `objects` (``..``, a leading slash, symbolic links), or no file can have its
        name.
    """
    check_key(key)
    path = objects / key
    if not is_inside(objects, path):
        raise InvalidKey(
            f"{key!r} leads out of {objects} by a symbolic link: remove the link or copy its target"
        )
    return path


def check_key(key: str) -> None:
    """Check the form of ``bucket/key``.

    Raises
    ------
    InvalidKey
        The key has a scheme, ``..`` or a leading slash, or no file can have its name.
    """
    segments = key.removesuffix("/").split("/")
    if len(_encoded(key)) > LONGEST_KEY or not all(map(_is_file_name, segments)):
        raise InvalidKey(
            f"{key!r} is not a path in object storage: write bucket/key, without a scheme, .. or a leading slash"
        )


def is_inside(folder: Path, path: Path) -> bool:
    """Return whether a path stays below a folder when its symbolic links are followed; it need not exist.

    A link made between this check and the use of the path is not noticed: it takes a process that may write below `folder`.
    """
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def write_whole(path: Path, content: BinaryIO) -> int:
    """Write the rest of a stream to a file and return the number of bytes; readers see the old file or the new one.

    Raises
    ------
    OSError
        The file cannot be written; the old one is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # After a crash, Spark and listings ignore the part for its leading dot.
    part = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with os.fdopen(
            os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
        ) as file:
            shutil.copyfileobj(content, file, 1 << 20)
            size = file.tell()
        if not path.is_dir():  # a folder is not replaced
            remove_checksums(path)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return size


@contextmanager
def new_file(path: Path, *, grows: bool = False) -> Iterator[TextIO]:
    """Give a new text file to write to; one that exists is never replaced.

    Parameters
    ----------
    grows
        Readers see what is written at once, and what was written stays after an error. Otherwise they see the whole file
        after the block, and none after an error.

    Raises
    ------
    FileExistsError
        The file exists: before the block, or made by another process meanwhile.
    OSError
        It cannot be written.
    """
    if grows:
        with path.open("x", encoding="utf-8") as file:
            yield file
        return
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    part = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with part.open("x", encoding="utf-8") as file:
            yield file
        _name_new(part, path)
    finally:
        part.unlink(missing_ok=True)


def _name_new(part: Path, path: Path) -> None:
    try:
        path.hardlink_to(part)  # unlike a rename, it replaces nothing
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise
        part.rename(path)


def create_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, at no moment anyone else; readers see the old file or the new one."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def remove_checksums(path: Path) -> None:
    """Remove the checksum that Hadoop keeps beside a file: Hadoop refuses to read a file that differs from it."""
    # The name of the checksum may be too long to exist.
    with suppress(OSError):
        path.with_name(f".{path.name}.crc").unlink()


def remove_folder(folder: Path) -> None:
    """Remove a folder and its content; give up after two seconds.

    A process that is ending may still write a file, and a folder that gets one meanwhile is not removed by one try.
    """
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(REMOVAL_SECONDS)


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Take the lock of a file and return its descriptor; None where another process holds it.

    The lock lasts as long as the descriptor is open: the system releases it when the process ends in any way. Programs that
    this process starts do not inherit the descriptor.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_locked(path: Path) -> bool:
    """Return whether a process holds the exclusive lock of a file; the file need not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_file_name(segment: str) -> bool:
    is_reserved = segment in {".", ".."} or "\\" in segment or "\0" in segment
    return not is_reserved and 0 < len(_encoded(segment)) <= LONGEST_SEGMENT


def _encoded(text: str) -> bytes:
    """Return text as file names hold it; empty when it holds half of a surrogate pair."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return b""
