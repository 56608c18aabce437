"""The objects of a data folder as plain files: put, listed, removed. Needs no service and starts none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from dataflow_magic.errors import ConfigError
from dataflow_magic.files import remove_checksums, write_whole
from dataflow_magic.local.objects.paths import bare_path, find
from dataflow_magic.models.wire import KST

__all__ = ["STDIN", "Entry", "list_objects", "put", "remove"]

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a listing.

    Parameters
    ----------
    key
        ``bucket/key``; of a folder with a trailing slash.
    size, modified
        None for a folder.
    """

    key: str
    size: int | None = None
    modified: datetime | None = None


def put(
    objects: Path, sources: Sequence[str], destination: str, stdin: BinaryIO
) -> Iterator[tuple[str, int]]:
    """Copy files and whole folders, and yield the key and the size of each object once it is there.

    Parameters
    ----------
    sources
        Paths; ``-`` is standard input.
    destination
        ``bucket/prefix/``, or for a single file also ``bucket/key``.

    Raises
    ------
    ConfigError
        Nothing was written: a path leads out of the objects, or standard input is given no name.
    OSError
        A file cannot be read or written; those before it are there.
    """
    prefix = bare_path(destination).rstrip("/")
    is_folder = (
        destination.endswith("/") or "/" not in prefix or len(sources) > 1 or find(objects, prefix).is_dir()
    )
    planned = [pair for source in sources for pair in _plan(source, prefix, is_folder=is_folder)]
    places = [find(objects, key) for _, key in planned]
    for (source, key), place in zip(planned, places, strict=True):
        if source is None:
            yield key, write_whole(place, stdin)
        else:
            with source.open("rb") as file:
                yield key, write_whole(place, file)


def list_objects(objects: Path, path: str = "", *, recursive: bool = False) -> list[Entry]:
    """Return what is directly in a folder, or all that is below it, in order; without a path, of the buckets.

    Left out is what begins with a dot, as Spark leaves it out: Hadoop's checksums, and files that are being written.

    Raises
    ------
    ConfigError
        There is nothing of that name.
    """
    place = find(objects, path) if path else objects
    if place.is_file():
        return [_entry(objects, place)]
    if not place.is_dir():
        if not path:
            return []
        raise ConfigError(
            f"no object or folder {path!r} in {objects}; dataflow-magic local ls lists the buckets"
        )
    return list(_below(objects, place, recursive=recursive))


def remove(objects: Path, path: str, *, recursive: bool = False) -> None:
    """Remove an object, or a folder and all that is below it; of a link the link.

    Raises
    ------
    ConfigError
        It is a folder and that was not asked for, or there is nothing of that name.
    """
    place = find(objects, path)
    if place.is_dir() and not place.is_symlink():
        if not recursive:
            raise ConfigError(f"{path!r} is a folder; -r removes it with all that is below it")
        shutil.rmtree(place)
        return
    try:
        place.unlink()
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"no object {path!r} in {objects}; dataflow-magic local ls lists them") from None
    remove_checksums(place)


def _plan(source: str, prefix: str, *, is_folder: bool) -> Iterator[tuple[Path | None, str]]:
    """Yield each file to be copied and its key; no file for standard input."""
    if source == STDIN:
        if is_folder:
            raise ConfigError("what comes from standard input has no name; write bucket/key for it")
        yield None, prefix
        return
    path = Path(source)
    if not path.is_dir():
        yield path, f"{prefix}/{path.name}" if is_folder else prefix
        return
    name = path.resolve().name  # of "." too
    for place, folders, names in os.walk(path):
        folders.sort()
        for file in (Path(place, each) for each in sorted(names)):
            if file.is_file():
                yield file, f"{prefix}/{name}/{file.relative_to(path).as_posix()}"


def _below(objects: Path, folder: Path, *, recursive: bool) -> Iterator[Entry]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield _entry(objects, path)
        elif recursive and not path.is_symlink():  # a link may lead back here
            yield from _below(objects, path, recursive=True)
        else:
            yield Entry(f"{path.relative_to(objects).as_posix()}/")


def _entry(objects: Path, file: Path) -> Entry:
    found = file.stat()
    return Entry(
        file.relative_to(objects).as_posix(), found.st_size, datetime.fromtimestamp(found.st_mtime, KST)
    )
