"""Writes a file whole or not at all. Imports nothing of ours."""

from __future__ import annotations

import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["remove_checksums", "write_whole"]


def write_whole(path: Path, content: BinaryIO) -> int:
    """Write what is left of a stream and return how many bytes that was; readers see the old file or the new one.

    Raises
    ------
    OSError
        The file cannot be written, and is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Spark and listings pass over names with a leading dot, should a crash leave one behind.
    part = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with part.open("xb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
            size = file.tell()
        if not path.is_dir():  # which cannot be replaced
            remove_checksums(path)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return size


def remove_checksums(path: Path) -> None:
    """Remove what Hadoop keeps beside a file it wrote; once that does not fit any more, it refuses to read the file."""
    # A name that is too long to have any raises here.
    with suppress(OSError):
        path.with_name(f".{path.name}.crc").unlink()
