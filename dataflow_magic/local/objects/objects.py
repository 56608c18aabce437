"""Puts, lists and removes objects of a data folder, which are plain files. Needs no service and starts none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from dataflow_magic.errors import ConfigError
from dataflow_magic.files import is_inside, remove_checksums, write_whole
from dataflow_magic.local.objects.paths import bare_path, find, find_entry
from dataflow_magic.models.wire import KST

__all__ = ["STDIN", "Entry", "list_objects", "put", "remove"]

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing.

    Parameters
    ----------
    key
        ``bucket/key``, with a trailing slash for a folder.
    size, modified
        None for a folder.
    """

    key: str
    size: int | None = None
    modified: datetime | None = None


def put(
    objects: Path, sources: Sequence[str], destination: str, stdin: BinaryIO
) -> Iterator[tuple[str, int]]:
    """Copy files and whole folders; yield the key and the size in bytes of each object after it is written.

    Parameters
    ----------
    sources
        Paths of files and folders; ``-`` is standard input.
    destination
        ``bucket/prefix/``; for a single file also ``bucket/key``.

    Raises
    ------
    ConfigError
        A path leads out of the objects, or standard input has no name. Nothing was written.
    OSError
        A file cannot be read or written; the objects before it are written.
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
    """Return the entries of a folder in order, or of everything below it; without a path, the buckets.

    Names with a leading dot are left out, as Spark does: Hadoop's checksums, and parts of files being written.

    Raises
    ------
    ConfigError
        No object or folder has the path.
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
    """Remove an object, or with `recursive` a folder and its content; of a symbolic link only the link.

    Raises
    ------
    ConfigError
        The path is a folder and `recursive` is False, or no object or folder has the path.
    """
    place = find_entry(objects, path)
    if place.is_dir() and not place.is_symlink():
        if not recursive:
            raise ConfigError(f"{path!r} is a folder; -r removes it with its content")
        shutil.rmtree(place)
        return
    try:
        place.unlink()
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"no object {path!r} in {objects}; dataflow-magic local ls lists them") from None
    remove_checksums(place)


def _plan(source: str, prefix: str, *, is_folder: bool) -> Iterator[tuple[Path | None, str]]:
    """Yield each file to copy, None for standard input, with its key."""
    if source == STDIN:
        if is_folder:
            raise ConfigError("standard input has no name; write bucket/key as the destination")
        yield None, prefix
        return
    path = Path(source)
    if not path.is_dir():
        yield path, f"{prefix}/{path.name}" if is_folder else prefix
        return
    name = path.resolve().name  # "." has one only when resolved
    for place, folders, names in os.walk(path):
        folders.sort()
        for file in (Path(place, each) for each in sorted(names)):
            if file.is_file():
                yield file, f"{prefix}/{name}/{file.relative_to(path).as_posix()}"


def _below(objects: Path, folder: Path, *, recursive: bool) -> Iterator[Entry]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_symlink() and not is_inside(objects, path):  # a name that leads nowhere here
            yield Entry(path.relative_to(objects).as_posix())
        elif path.is_file():
            yield _entry(objects, path)
        elif recursive and not path.is_symlink():  # a link may lead to a folder above
            yield from _below(objects, path, recursive=True)
        else:
            yield Entry(f"{path.relative_to(objects).as_posix()}/")


def _entry(objects: Path, file: Path) -> Entry:
    found = file.stat()
    return Entry(
        file.relative_to(objects).as_posix(), found.st_size, datetime.fromtimestamp(found.st_mtime, KST)
    )
