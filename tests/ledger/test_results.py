"""Results as tables: which files count, what a text stands for, and how many rows are read."""

import io
from collections.abc import Callable

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.ledger.results import DataFile, below_one_another, data_files, read_files, with_values


def opener(**contents: bytes) -> Callable[[str], io.BufferedReader]:
    return lambda path: io.BufferedReader(io.BytesIO(contents[path]))


@pytest.mark.parametrize(
    ("name", "format", "compression"),
    [
        ("part-00000-6b.c000.snappy.parquet", "parquet", None),
        ("part-00000-6b.c000.gz.parquet", "parquet", None),
        ("part-00000-6b.c000.csv", "csv", None),
        ("part-00000-6b.c000.csv.gz", "csv", "gzip"),
        ("PART.CSV.BZ2", "csv", "bz2"),
        ("rows.json.zst", "json", "zstd"),
        ("rows.jsonl", "json", None),
        ("part-0.zlib.orc", "orc", None),
    ],
)
def test_the_end_of_a_name_says_how_a_file_is_read(name, format, compression):  # noqa: A002
    assert data_files([f"b/out/{name}"], "b/out") == [DataFile(f"b/out/{name}", format, compression)]
    # One file by its whole path.
    assert data_files([f"b/out/{name}"], f"b/out/{name}") == [DataFile(f"b/out/{name}", format, compression)]


def test_what_spark_writes_beside_the_data_is_left_out():
    names = [
        "_SUCCESS",
        "._SUCCESS.crc",
        ".part-0.csv.crc",
        "_temporary/0/part-0.csv",
        "_delta_log/0.json",
        "notes.md",
        "a.csv",
    ]

    assert [file.path for file in data_files([f"b/out/{name}" for name in names], "b/out")] == ["b/out/a.csv"]


def test_folders_of_partitions_are_columns():
    [file] = data_files(["b/out/_day=2026-11-01/who=a%20b/x=__HIVE_DEFAULT_PARTITION__/p.csv"], "b/out")

    assert file.partition == (("_day", "2026-11-01"), ("who", "a b"), ("x", None))
    assert data_files(["b/day=1/out/p.csv"], "b/day=1/out")[0].partition == ()


def test_a_format_that_is_named_is_that_of_every_file():
    assert data_files(["b/out/part-00000"], "b/out", "csv") == [DataFile("b/out/part-00000", "csv")]
    assert data_files(["b/out/part-00000"], "b/out") == []


def test_files_are_read_below_one_another_and_empty_ones_too():
    files = [
        DataFile("a", "csv", None, (("month", "1"),)),
        DataFile("b", "csv"),
        DataFile("c", "csv", None, (("month", "7"),)),
    ]

    table, is_whole = read_files(files, opener(a=b"x,y\n1,u\n2,v\n", b=b"", c=b"x,y\n3,w\n"), 10, {})

    assert table.to_dict("list") == {"x": [1, 2, 3], "y": ["u", "v", "w"], "month": [1, 1, 7]}
    assert str(table["month"].dtype) == "Int64"
    assert is_whole


@pytest.mark.parametrize(
    ("rows", "read", "is_whole"),
    [(0, 0, False), (1, 1, False), (2, 2, False), (3, 3, True), (4, 3, True), (None, 3, True)],
)
def test_rows_are_bounded_and_what_is_left_out_is_known(rows, read, is_whole):
    files = [DataFile("a", "csv"), DataFile("b", "csv")]

    table, whole = read_files(files, opener(a=b"x\n1\n2\n", b=b"x\n3\n"), rows, {})

    assert (len(table), whole) == (read, is_whole)


def test_parquet_json_and_orc_are_read_as_far_as_asked():
    pa = pytest.importorskip("pyarrow")
    from pyarrow import orc, parquet

    table = pa.table({"n": list(range(1_000)), "s": [None] * 1_000})
    packed, rows = io.BytesIO(), io.BytesIO()
    parquet.write_table(table, packed, row_group_size=100)
    orc.write_table(pa.table({"n": list(range(1_000))}), rows)
    lines = b"".join(b'{"n":%d}\n' % number for number in range(1_000))
    contents = opener(p=packed.getvalue(), o=rows.getvalue(), j=lines)

    for path, format in (("p", "parquet"), ("o", "orc"), ("j", "json")):  # noqa: A001
        for wanted in (0, 1, 150, 1_000, None):
            read, is_whole = read_files([DataFile(path, format)], contents, wanted, {})  # type: ignore[arg-type]
            assert read["n"].tolist() == list(range(1_000 if wanted is None else wanted))
            assert is_whole == (wanted in (1_000, None))
    assert read_files([DataFile("p", "parquet")], contents, 3, {"columns": ["s"]})[0].columns.tolist() == [
        "s"
    ]


def test_an_option_that_would_not_return_a_table_is_refused():
    with pytest.raises(ValueError, match="leave chunksize, iterator and typ out"):
        read_files([DataFile("a", "csv")], opener(a=b"x\n1\n"), 5, {"chunksize": 1})


# Values


@pytest.mark.parametrize(
    ("texts", "dtype", "values"),
    [
        (["1", "-20", "0", None], "Int64", [1, -20, 0, None]),
        (["1", "2.5", "-0.5", "1e3"], "Float64", [1.0, 2.5, -0.5, 1000.0]),
        (["true", "false", None], "boolean", [True, False, None]),
        (["2026-11-01", None], "datetime64[us]", [pd.Timestamp(2026, 11, 1), None]),
    ],
)
def test_texts_become_what_all_of_them_stand_for(texts, dtype, values):
    column = with_values(pd.DataFrame({"c": pd.Series(texts, dtype="string")}), ["c"])["c"]

    assert str(column.dtype) == dtype
    assert [None if pd.isna(value) else value for value in column] == values


@pytest.mark.parametrize(
    "texts",
    [
        ["007"], ["+1"], ["1", "JFK"], ["True"], ["2026-11-31"], ["20261101x"], ["2026-1-1"], [""], ["1_000"], ["nan"], ["inf"],
        ["9" * 19], ["00.5"], ["٣"], [None, None], ["••••••"], ["1", ""],
    ],
)  # fmt: skip
def test_other_texts_stay_as_they_are(texts):
    frame = pd.DataFrame({"c": pd.Series(texts, dtype="string")})

    column = with_values(frame, ["c"])["c"]

    assert str(column.dtype) == "string"
    assert column.equals(frame["c"])


@given(st.lists(st.one_of(st.none(), st.integers(1 - 10**18, 10**18 - 1)), min_size=1))
def test_whole_numbers_survive_exactly(numbers):
    texts = [None if number is None else str(number) for number in numbers]
    column = with_values(pd.DataFrame({"c": pd.Series(texts, dtype="string")}), ["c"])["c"]

    assert [None if pd.isna(value) else value for value in column] == (
        texts if set(texts) == {None} else numbers
    )


def test_tables_get_columns_of_their_own_before_the_others():
    one, other = pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [3], "month": [9]})

    table = below_one_another(
        [({"param.month": "6"}, one), ({"param.month": "7"}, other), ({"param.month": "8"}, one[:0])]
    )

    assert table.columns.tolist() == ["param.month", "x", "month"]
    assert table["param.month"].tolist() == [6, 6, 7]
    assert below_one_another([({"param.month": "6"}, one[:0])]).columns.tolist() == ["param.month"]
