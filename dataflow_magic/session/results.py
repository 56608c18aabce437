"""Reads what runs wrote to object storage, as DataFrames. Knows no card. Never read on the loop: parsing blocks."""

from __future__ import annotations

import concurrent.futures
import io
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol
from warnings import warn as _warn

from dataflow_magic import errors
from dataflow_magic.client.objects import NoObject, RangedObjects
from dataflow_magic.models.marker import bare
from dataflow_magic.models.secret import Parameter, Secret
from dataflow_magic.models.view import RunView

if TYPE_CHECKING:
    import pandas as pd

    from dataflow_magic.ledger.results import Format

__all__ = ["MOST_ROWS", "read_result", "read_results"]

MOST_ROWS: Final = 100_000
"""Rows of a table that asks for no number."""
MOST_FILES: Final = 10_000
BUFFER_BYTES: Final = 1 << 20
SHOWN: Final = 5
warn: Final = partial(_warn, stacklevel=3)
"""Warns the line that called `Run.table` or `Sweep.table`."""
_OBJECT: Final = re.compile(r"s3[an]?://.+")
_NAME: Final = re.compile(r"\$(\w+)|\$\{(\w+)\}")


class Source(Protocol):
    """A run, as far as its results are concerned."""

    @property
    def view(self) -> RunView:
        """All that is known now."""

    async def objects(self) -> RangedObjects:
        """Return the storage of the run's service."""

    async def outputs(self) -> Sequence[str]:
        """Return the paths that the run wrote to, by its event log."""

    def in_words(self, text: str) -> str:
        """Return a message in the language of the cards."""

    def submit(self, coroutine: Coroutine[Any, Any, Any], /) -> concurrent.futures.Future[Any]:
        """Run a coroutine on the loop, from any thread."""


class _Remote(io.RawIOBase):
    """An object as a file that is read anywhere, by ranges."""

    def __init__(self, part: Callable[[int, int], bytes], size: int) -> None:
        self._part = part
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(
            0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        )
        return self._place

    def readinto(self, buffer: Any) -> int:
        content = (
            self._part(self._place, min(self._size, self._place + len(buffer)))
            if self._place < self._size
            else b""
        )
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)


def read_result(
    run: Source,
    path: str | None,
    rows: int | None,
    format: Format | None,  # noqa: A002
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """Return what a run wrote to a path; see `Run.table`."""
    table, is_whole, place = _read(run, path, rows, format, options)
    if not is_whole:
        warn(run.in_words(f"the first {rows:,} rows of {place}; rows=None reads all"))
    return table


def read_results(
    runs: Sequence[Source],
    swept: Sequence[str],
    path: str | None,
    rows: int | None,
    format: Format | None,  # noqa: A002
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """Return what runs wrote, below one another, with a column for each swept parameter; see `Sweep.table`."""
    from dataflow_magic.ledger.results import below_one_another

    tables = []
    left, is_whole = rows, True
    for run in runs:
        table, is_all, _ = _read(run, path, left, format, options)
        is_whole = is_whole and is_all
        left = None if left is None else left - len(table)
        columns = {f"param.{name.removeprefix('$')}": _text(run.view.parameters[name]) for name in swept}
        tables.append((columns, table))
    if not is_whole:
        warn(runs[0].in_words(f"the first {rows:,} rows of all results; rows=None reads all"))
    return below_one_another(tables)


def _read(
    run: Source,
    path: str | None,
    rows: int | None,
    format: Format | None,  # noqa: A002
    options: Mapping[str, Any],
) -> tuple[pd.DataFrame, bool, str]:
    from dataflow_magic.ledger.results import FORMATS, data_files, read_files

    if rows is not None and rows < 0:
        raise errors.CellError(f"rows={rows} is no number of rows; give 0 or more, or None for all")
    if format is not None and format not in FORMATS:
        raise errors.CellError(f"format={format!r} is not read; give one of {', '.join(FORMATS)}")
    place = _one_output(run) if path is None else _filled(path, run.view)
    folder = bare(place)
    objects = run.submit(run.objects()).result()
    names = run.submit(_names(objects, folder)).result()
    if len(names) > MOST_FILES:
        raise errors.DataflowError(f"{place} has more than {MOST_FILES:,} files; name a folder further down")
    files = data_files(names, folder, format)
    if not files:
        raise errors.DataflowError(_nothing(place, folder, names))

    def open_file(name: str) -> io.BufferedReader:
        size = run.submit(objects.size(name)).result()
        remote = _Remote(lambda start, stop: run.submit(objects.part(name, start, stop)).result(), size)
        return io.BufferedReader(remote, BUFFER_BYTES)

    try:
        table, is_whole = read_files(files, open_file, rows, options)
    except ImportError:
        raise errors.DataflowError(
            f"{place} is {files[0].format}, which needs pyarrow; pip install pyarrow"
        ) from None
    except NoObject as error:
        raise errors.DataflowError(f"{place} was not read: {error}; it was removed meanwhile") from None
    except (ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise errors.DataflowError(
            f"{place} was not read as {files[0].format}: {reason}; format= names another format, further arguments go to pandas"
        ) from None
    return table, is_whole, place


async def _names(objects: RangedObjects, folder: str) -> list[str]:
    try:
        await objects.size(folder)
    except NoObject:
        names: list[str] = await objects.names(folder, MOST_FILES + 1)
        return names
    return [folder]


def _one_output(run: Source) -> str:
    """Return the only path that a run wrote to."""
    view = run.view
    name = view.run_id or view.key
    if not view.is_final:
        raise errors.CellError(
            f"run {name} is still active ({view.status}); wait for its end, or name the path"
        )
    written: Sequence[str] = run.submit(run.outputs()).result()
    outputs = [path for path in written if _OBJECT.fullmatch(path)]
    if len(outputs) == 1:
        return outputs[0]
    if outputs:
        more = ", ..." if len(outputs) > SHOWN else ""
        raise errors.CellError(
            f"run {name} wrote to {len(outputs)} paths; name one: {', '.join(outputs[:SHOWN])}{more}"
        )
    raise errors.CellError(
        f"the event log of run {name} names no path that it wrote to; name one, such as s3a://bucket/folder"
    )


def _filled(path: str, view: RunView) -> str:
    """Return a path with ``$name`` as the run's parameter of that name."""
    known = {name.removeprefix("$"): value for name, value in view.parameters.items()}

    def value_of(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        value = known.get(name)
        if value is None:
            raise errors.CellError(
                f"the run has no parameter {name}, which the path {path} names; write $$ for a dollar sign"
            )
        if isinstance(value, Secret):
            raise errors.CellError(f"the parameter {name} is secret, so the path {path} cannot name it")
        return _text(value)

    filled = "$".join(_NAME.sub(value_of, part) for part in path.split("$$"))
    if not bare(filled) or ("://" in filled and not _OBJECT.fullmatch(filled)):
        raise errors.CellError(f"{path!r} is no path in object storage; give one such as s3a://bucket/folder")
    return filled


def _text(value: Parameter) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _nothing(place: str, folder: str, names: Sequence[str]) -> str:
    if not names:
        return f"there is no object at {place}; check the path, and whether the run wrote it"
    shown = ", ".join(name.removeprefix(folder).lstrip("/") for name in names[:SHOWN])
    return (
        f"{place} has no file of data that is read here, but {shown}; format= names the format of all files"
    )
