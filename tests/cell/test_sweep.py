"""A parameter block with each or zipped: which runs it makes, in which order, and which blocks are refused."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dataflow_magic.cell.block import Block, parse_block
from dataflow_magic.cell.run import CellOptions, parse_cell
from dataflow_magic.errors import CellError
from dataflow_magic.models.request import JobRef, RunRequest, SweepRequest


def rows(text: str, **namespace: Any) -> list[str]:
    """Return the values of each run, in order, as one string."""
    return [" ".join(map(str, each.values())) for each in parse_block(text, namespace).combinations]


def complaint(text: str, **namespace: Any) -> str:
    with pytest.raises(CellError) as caught:
        parse_block(text, namespace)
    return str(caught.value)


def test_each_makes_one_run_per_value():
    assert parse_block("table = 't'\nmonth = each(1, 7)", {}) == Block(
        {"$table": "t", "$month": "1"},
        swept=("$month",),
        combinations=({"$table": "t", "$month": "1"}, {"$table": "t", "$month": "7"}),
    )


def test_a_block_without_each_and_zipped_makes_no_sweep():
    block = parse_block("month = 7", {})

    assert (block.swept, block.combinations) == ((), ())


def test_one_value_makes_a_sweep_of_one():
    assert parse_block("month = each(7)", {}) == Block(
        {"$month": "7"}, swept=("$month",), combinations=({"$month": "7"},)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = each([1, 2])", ["1", "2"]),
        ("a = each(range(3))", ["0", "1", "2"]),
        ("a = each(*range(2), 9)", ["0", "1", "9"]),
        ("a = each(n * n for n in (2, 3))", ["4", "9"]),
        ("a = each('JFK')", ["JFK"]),
        ("a = each('JFK', 'EWR')", ["JFK", "EWR"]),
        ("a = each(1.5)", ["1.5"]),
        ("a = each(frame.origin)", ["JFK", "EWR"]),
        ("a = each(frame.origin.unique())", ["JFK", "EWR"]),
        ("a = each(np.arange(2))", ["0", "1"]),
        ("a = each(np.int64(3))", ["3"]),
        ("a = each(days)", ["2026-11-01", "2026-11-02"]),
        ("a = each(days.to_series())", ["2026-11-01", "2026-11-02"]),
        ("a = each(days.values)", ["2026-11-01", "2026-11-02"]),
        ("a = each(days.values.astype('datetime64[s]'))", ["2026-11-01", "2026-11-02"]),
        (
            "a = each(np.arange('2026-11-01', '2026-11-03', dtype='datetime64[D]'))",
            ["2026-11-01", "2026-11-02"],
        ),
        ("a = each(days + pd.Timedelta(hours=6))", ["2026-11-01T06:00:00", "2026-11-02T06:00:00"]),
        (
            "a = each(days.tz_localize('Asia/Seoul'))",
            ["2026-11-01T00:00:00+09:00", "2026-11-02T00:00:00+09:00"],
        ),
        ("a = each(days.to_period('M').unique().astype(str))", ["2026-11"]),
        ("a = each(days[:0])", []),
        ("a = each(1, 1)", ["1", "1"]),
        ("$a = each(1, 2)", ["1", "2"]),
        ("a = (each(\n  1,\n  2,\n))  # both", ["1", "2"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_takes_values_or_one_iterable_of_values(text, expected):
    frame = pd.DataFrame({"origin": ["JFK", "EWR"]})
    assert rows(text, frame=frame, np=np, pd=pd, days=pd.date_range("2026-11-01", periods=2)) == expected


def test_several_each_make_the_product_and_the_last_varies_fastest():
    assert rows("a = each(1, 2)\nb = 'x'\nc = each('p', 'q')") == ["1 x p", "1 x q", "2 x p", "2 x q"]


def test_zipped_pairs_values():
    block = parse_block("a, b = zipped([1, 7], ['JFK', 'EWR'])\nc = each(True, False)", {})

    assert block.swept == ("$a", "$b", "$c")
    assert [" ".join(map(str, each.values())) for each in block.combinations] == [
        "1 JFK true",
        "1 JFK false",
        "7 EWR true",
        "7 EWR false",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("region, day = rows(frame)", ["seoul 2026-11-01", "tokyo 2026-11-02"]),
        ("day, region = rows(frame)", ["2026-11-01 seoul", "2026-11-02 tokyo"]),
        ("region, amount = rows(frame[frame.amount > 1])", ["tokyo 2"]),
        ("amount = rows(frame)", ["1", "2"]),
        ("region, day = rows(frame[:0])", []),
        ("a, b = rows([(1, 'x'), [2, 'y']])", ["1 x", "2 y"]),
        ("a = rows(['xy', 3])", ["xy", "3"]),
        ("b, a = rows([{'a': 1, 'b': 'x', 'c': 0}])", ["x 1"]),
        ("a, b = rows(frame[['amount', 'region']].itertuples(index=False))", ["1 seoul", "2 tokyo"]),
        ("region, day = rows(frame)\npath = f'{region}/{day}'", ["seoul 2026-11-01 seoul/2026-11-01", "tokyo 2026-11-02 tokyo/2026-11-02"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_rows_takes_the_columns_of_a_table_by_name_and_other_rows_in_order(text, expected):
    frame = pd.DataFrame(
        {"region": ["seoul", "tokyo"], "day": pd.to_datetime(["2026-11-01", "2026-11-02"]), "amount": [1, 2]}
    )
    assert rows(text, frame=frame) == expected


def test_a_later_line_that_uses_a_swept_name_has_one_value_per_run():
    text = "month = each(1, 7)\npath = f'out/{month}'\ndeep = path + '/x'\ndays = each(month, month + 1)"

    assert rows(text) == ["1 out/1 out/1/x 1", "1 out/1 out/1/x 2", "7 out/7 out/7/x 7", "7 out/7 out/7/x 8"]
    assert parse_block(text, {}).swept == ("$month", "$days")


def test_a_line_that_uses_no_swept_name_is_evaluated_once():
    calls: list[int] = []

    def batch() -> int:
        calls.append(1)
        return len(calls)

    once = (n for n in (8, 9))

    assert rows("a = each(1, 2)\nb = batch()\nc = each(once)", batch=batch, once=once) == [
        "1 1 8",
        "1 1 9",
        "2 1 8",
        "2 1 9",
    ]


@pytest.mark.parametrize(
    ("text", "swept"),
    [
        ("a = 1\nb = each([])\nc = b + 1\nd = each(1, 2)", ("$b", "$d")),
        ("a, b = zipped([], [])", ("$a", "$b")),
        ("a = each(x for x in [])", ("$a",)),
    ],
)
def test_values_that_are_none_left_make_a_sweep_without_runs(text, swept):
    block = parse_block(text, {})

    assert (block.swept, block.combinations, block.parameters) == (swept, (), {})


def test_each_and_zipped_keep_their_meaning_where_the_notebook_has_these_names():
    namespace = {"each": 3, "zipped": print}

    assert rows("a = each(1, 2)\nb = each", **namespace) == ["1 3", "2 3"]
    assert rows("each = 5\na = each(1, 2)", **namespace) == ["5 1", "5 2"]
    assert namespace == {"each": 3, "zipped": print}


def test_each_is_not_a_name_outside_a_call():
    assert complaint("a = each") == "line 2: a: name 'each' is not defined"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = each()", "line 2: a has nothing in each(); give values, or a list of them, which may be empty"),
        ("a = each(x=1)", "line 2: a passes x=1; each(...), zipped(...) and rows(...) take no keyword arguments"),
        ("a = each(1, None)", "line 2: a is None, which has no string form; give text, a number, a bool, a date or a path, or convert it by str(...)"),
        ("a = each({'x': 1})", "line 2: a has its values in a dict; give a list"),
        ("a = each(frame)", "line 2: a has a whole table; rows(...) takes its rows, and each(...) one column"),
        ("a = each(broken())", "line 2: a has values that cannot be read: ZeroDivisionError: division by zero"),
        ("a = each(1 / 0)", "line 2: a: ZeroDivisionError: division by zero"),
        ("a = str(each(1, 2))", "line 2: each(...) is part of an expression; assign it on a line of its own, name = each(...), and use the name"),
        ("a = 1\nb = each(each(1), 2)", "line 3: each(...) is part of an expression; assign it on a line of its own, name = each(...), and use the name"),
        ("a = [zipped([1])]", "line 2: zipped(...) is part of an expression; assign it on a line of its own, name = zipped(...), and use the name"),
        ("a, b = each(1, 2)", "line 2: '(a, b)' is not a plain name; each line is name = value; use zipped(...) or rows(...) for several names"),
        ("a = b = each(1, 2)", "line 2: a = b = value assigns two names; write one name per line"),
        ("a, b = [1, 2]", "line 2: '(a, b)' is not a plain name; each line is name = value"),
        ("a, b = zipped([1, 2], [3])", "line 2: a, b have lists of different lengths (2, 1); zipped(...) pairs equal lengths"),
        ("a, b = zipped([1, 2])", "line 2: a, b cannot take 1 lists for 2 names; zipped(...) needs one list per name: a, b = zipped([1, 2], [3, 4])"),
        ("a = zipped([1], [2])", "line 2: a cannot take 2 lists for 1 names; zipped(...) needs one list per name: a, b = zipped([1, 2], [3, 4])"),
        ("a, b = rows(frame)", "line 2: a, b cannot be read: the table has no column 'b' (it has a); rename a column or the name"),
        ("a = rows(pd.DataFrame([[1, 2]], columns=['a', 'a']))", "line 2: a cannot be read: the table has 2 columns 'a' (it has a, a); rename a column or the name"),
        ("a, b = rows([(1, 2), (3,)])", "line 2: a, b cannot be read: the length of row 2 is 1, the number of names 2"),
        ("a, b = rows([{'a': 1}])", "line 2: a, b cannot be read: row 1 has no b"),
        ("a, b = rows(['xy'])", "line 2: a, b cannot be read: the length of row 1 is 1, the number of names 2"),
        ("a, b = rows([1], [2])", "line 2: a, b cannot take 2 tables; rows(...) needs one: region, day = rows(frame)"),
        ("a = each(pd.to_datetime(['2026-11-01', None]))", "line 2: a is a NaTType, which has no string form; give text, a number, a bool, a date or a path, or convert it by str(...)"),
        ("a, *b = zipped([1], [2])", "line 2: '*b' is not a plain name; each line is name = value"),
        ("a, a = zipped([1], [2])", "line 2: a is assigned twice; each parameter has one value"),
        ("a = each(1, 2)\na = 3", "line 3: a is assigned twice; each parameter has one value"),
        ("a = each(1, 0)\nb = 1 / a", "line 3: b (where a is 0): ZeroDivisionError: division by zero"),
        ("a = each(1, 0)\nb = [a]", 'line 3: b (where a is 1) is a list, and a run takes one value; write each(...) around it for a run per item, or ",".join(...) for one text'),
        ("a = each(range(1001))", "line 2: the values of a make more than 1,000 runs, the limit of a cell; split the sweep"),
        ("a = each(range(32))\nb = each(range(32))", "line 3: the values of b make more than 1,000 runs, the limit of a cell; split the sweep"),
        ("a = each(forever())", "line 2: the values of a make more than 1,000 runs, the limit of a cell; split the sweep"),
        ("a += each(1, 2)", "line 2: this is an augmented assignment; each line of a parameter block is name = value"),
    ],
    ids=lambda value: ascii(value)[:32],
)  # fmt: skip
def test_a_wrong_sweep_is_refused_with_the_line_of_the_cell(text, said):
    def broken() -> Iterator[int]:
        yield int(1 / 0)

    def forever() -> Iterator[int]:
        while True:
            yield 1

    frame = pd.DataFrame({"a": ["JFK"]})
    assert complaint(text, broken=broken, forever=forever, frame=frame, pd=pd) == said


def test_a_thousand_runs_are_accepted():
    assert len(rows("a = each(range(40))\nb = each(range(25))")) == 1000


def test_a_json_block_makes_no_sweep():
    assert parse_block('{"$a": "each(1, 2)"}', {}) == Block({"$a": "each(1, 2)"})


def test_a_cell_with_a_sweep_has_every_request():
    job = JobRef("daily")

    assert parse_cell("daily", "day = each(d)", {"d": [date(2026, 11, 1), date(2026, 11, 2)]}) == CellOptions(
        request=RunRequest(job, parameters={"$day": "2026-11-01"}),
        sweep=SweepRequest(
            ("$day",),
            (
                RunRequest(job, parameters={"$day": "2026-11-01"}),
                RunRequest(job, parameters={"$day": "2026-11-02"}),
            ),
        ),
    )


def test_force_does_not_lift_the_limit():
    with pytest.raises(CellError, match="more than 1,000 runs"):
        parse_cell("daily --force", "a = each(range(1001))", {})
