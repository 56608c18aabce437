"""What runs wrote, as DataFrames: files of Parquet, CSV, JSON or ORC, and texts as the values they stand for. Opens no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from typing import Any, Final, Literal, get_args
from urllib.parse import unquote

import pandas as pd

__all__ = ["FORMATS", "DataFile", "Format", "below_one_another", "data_files", "read_files", "with_values"]

Format = Literal["parquet", "csv", "json", "orc"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

_ENDINGS: Final[dict[str, Format]] = {
    "parquet": "parquet",
    "csv": "csv",
    "tsv": "csv",
    "json": "json",
    "jsonl": "json",
    "ndjson": "json",
    "orc": "orc",
}
_CODECS: Final = {"gz": "gzip", "gzip": "gzip", "bz2": "bz2", "zst": "zstd", "xz": "xz"}
"""Ending -> pandas' name of a compression, for formats that are packed whole."""
NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"
"""A missing value in the name of a partition's folder, as Spark writes it."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a result.

    Parameters
    ----------
    path
        ``bucket/key``.
    format
        By the end of its name.
    compression
        pandas' name; None where the format has its own, or it is not packed.
    partition
        Column -> value, from the folders between the result and the file: ``month=7``; None for a missing value.
    """

    path: str
    format: Format
    compression: str | None = None
    partition: tuple[tuple[str, str | None], ...] = ()


def data_files(names: Iterable[str], folder: str, format: Format | None = None) -> list[DataFile]:  # noqa: A002
    """Return the files of a result among the names of objects below its folder, in the order of their names.

    Left out is what Spark writes beside the data: names that begin with ``_`` or ``.``, and all below such a folder.

    Parameters
    ----------
    names
        ``bucket/key``.
    folder
        ``bucket/prefix`` without a slash at its end, or the whole path of one file.
    format
        Of all files, whatever their names.
    """
    found = []
    for name in sorted(names):
        below = name.removeprefix(folder).removeprefix("/")
        folders, file = below.split("/")[:-1], name.rpartition("/")[2]
        if any(part[:1] in ("_", ".") and "=" not in part for part in (*folders, file)):
            continue
        ends = file.lower().split(".")[1:]
        codec = _CODECS.get(ends[-1]) if ends else None
        kind = format or next((_ENDINGS[end] for end in reversed(ends) if end in _ENDINGS), None)
        if kind is not None:
            partition = tuple(_column_of(part) for part in folders if "=" in part)
            found.append(DataFile(name, kind, codec if kind in ("csv", "json") else None, partition))
    return found


def _column_of(folder: str) -> tuple[str, str | None]:
    name, _, value = folder.partition("=")
    return unquote(name), None if value == NO_VALUE else unquote(value)


def read_files(
    files: Sequence[DataFile],
    open_file: Callable[[str], BufferedReader],
    rows: int | None,
    options: Mapping[str, Any],
) -> tuple[pd.DataFrame, bool]:
    """Return the rows of files below one another, and whether these are all.

    Parameters
    ----------
    open_file
        Opens an object by its path, to be read anywhere.
    rows
        How many at most; None reads all.
    options
        Further arguments of pandas' reader of the format, or of ``iter_batches`` of Arrow's for Parquet.

    Raises
    ------
    ValueError
        A file is not of its format, or an option is unknown.
    """
    frames: list[pd.DataFrame] = []
    left = rows
    is_whole = True
    for file in files:
        if left == 0 and frames:  # the first file has the columns, also of no rows
            is_whole = False
            break
        with open_file(file.path) as stream:
            # One more than asked for shows whether these are all.
            frame = _READERS[file.format](stream, file, None if left is None else left + 1, options)
        if left is not None:
            is_whole = is_whole and len(frame) <= left
            frame = frame.iloc[:left]
            left -= len(frame)
        for name, value in file.partition:
            frame[name] = pd.Series([value] * len(frame), index=frame.index, dtype="string")
        frames.append(frame)
    if not frames:
        return pd.DataFrame(), is_whole
    table = pd.concat(frames, ignore_index=True)
    columns = list(dict.fromkeys(name for file in files for name, _ in file.partition))
    return with_values(table, columns), is_whole


def below_one_another(tables: Sequence[tuple[Mapping[str, str], pd.DataFrame]]) -> pd.DataFrame:
    """Return tables as one, each with columns of its own before the others, which have one text for all of its rows."""
    extended = []
    for columns, table in tables:
        own = {
            name: pd.Series([text] * len(table), index=table.index, dtype="string")
            for name, text in columns.items()
        }
        # A table without rows has dtypes that say nothing.
        if len(table):
            extended.append(pd.concat([pd.DataFrame(own, index=table.index), table], axis="columns"))
    names = list(dict.fromkeys(name for columns, _ in tables for name in columns))
    return (
        with_values(pd.concat(extended, ignore_index=True), names)
        if extended
        else pd.DataFrame(columns=names)
    )


def _parquet(
    stream: BufferedReader, _: DataFile, rows: int | None, options: Mapping[str, Any]
) -> pd.DataFrame:
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(stream) as file:
        batches, left = [], rows
        for batch in file.iter_batches(**options):
            batches.append(batch if left is None else batch.slice(0, left))
            left = left and left - len(batches[-1])
            if left == 0:
                break
        schema = batches[0].schema if batches else file.schema_arrow
        table: pd.DataFrame = pa.Table.from_batches(batches, schema=schema).to_pandas()
        return table


def _orc(stream: BufferedReader, _: DataFile, rows: int | None, options: Mapping[str, Any]) -> pd.DataFrame:
    from pyarrow import orc

    table = orc.ORCFile(stream).read(**options)
    frame: pd.DataFrame = (table if rows is None else table.slice(0, rows)).to_pandas()
    return frame


def _csv(
    stream: BufferedReader, file: DataFile, rows: int | None, options: Mapping[str, Any]
) -> pd.DataFrame:
    try:
        return _whole_table(
            pd.read_csv(stream, **({"nrows": rows, "compression": file.compression} | dict(options)))
        )
    except pd.errors.EmptyDataError:  # a partition without rows and without a header
        return pd.DataFrame()


def _json(
    stream: BufferedReader, file: DataFile, rows: int | None, options: Mapping[str, Any]
) -> pd.DataFrame:
    asked = {"lines": True, "compression": file.compression} | dict(options)
    if asked["lines"]:
        asked["nrows"] = rows
    return _whole_table(pd.read_json(stream, **asked))


def _whole_table(read: object) -> pd.DataFrame:
    if not isinstance(read, pd.DataFrame):
        raise ValueError("a table is read whole; leave chunksize, iterator and typ out")  # noqa: TRY004 - of the options
    return read


_READERS: Final[dict[Format, Callable[..., pd.DataFrame]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "json": _json,
    "orc": _orc,
}


def with_values(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Return the table with columns of text as what they stand for, where every text of a column does.

    ======================  ================
    all texts of a column   dtype
    ======================  ================
    ``true``, ``false``     boolean
    whole numbers           Int64
    numbers                 Float64
    ``2026-11-01``          datetime64[us]
    others                  as before
    ======================  ================

    A number with a sign ``+``, with zeros before it, or too large for 64 bits is no number but a text, such as a code.
    """
    changed = {}
    for column in columns:
        # Few texts of a column differ, and it may have a hundred thousand rows.
        codes, texts = pd.factorize(frame[column].astype("object"))
        for read, dtype in _VALUES:
            values = [read(text) if isinstance(text, str) else None for text in texts]
            if values and None not in values:
                changed[column] = pd.Series(
                    pd.array([*values, pd.NA], dtype=dtype).take(codes), index=frame.index
                )
                break
    return frame.assign(**changed)


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text)


def _whole(text: str) -> int | None:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (digits[0] == "0" and text != "0"):
        return None
    return int(text) if len(digits) < 19 else None


def _number(text: str) -> float | None:
    digits = text.removeprefix("-")
    if digits.isdigit():
        return None if (whole := _whole(text)) is None else float(whole)
    if not digits[:1].isdigit() or not digits.isascii() or (digits[0] == "0" and digits[1:2].isdigit()):
        return None
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def _day(text: str) -> datetime | None:
    if len(text) != 10:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return None


_VALUES: Final[tuple[tuple[Callable[[str], Any], Any], ...]] = (
    (_boolean, "boolean"),
    (_whole, "Int64"),
    (_number, "Float64"),
    (_day, "datetime64[us]"),
)
