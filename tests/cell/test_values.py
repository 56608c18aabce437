import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.cell.values import check_text, render


class Colour(Enum):
    RED = "red"
    WHEN = date(2026, 11, 1)
    NOTHING = None


class Level(IntEnum):
    HIGH = 3


class Kind(StrEnum):
    A = "a"


class Name(str):
    __slots__ = ()


SEOUL = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        ("  $x 매출\n", "  $x 매출\n"),
        (Name("x"), "x"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-(2**70), "-1180591620717411303424"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (-0.0, "-0.0"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-7"), "0.0000001"),
        (date(2026, 11, 1), "2026-11-01"),
        (datetime(2026, 11, 1, 9, 30), "2026-11-01T09:30:00"),  # noqa: DTZ001
        (datetime(2026, 11, 1, 9, 30, 0, 5, tzinfo=SEOUL), "2026-11-01T09:30:00.000005+09:00"),
        (PurePosixPath("/data/매출"), "/data/매출"),
        (Path("a") / "b", str(Path("a") / "b")),
        (Colour.RED, "red"),
        (Colour.WHEN, "2026-11-01"),
        (Level.HIGH, "3"),
        (Kind.A, "a"),
        (pd.Timestamp("2026-11-01 09:30", tz="Asia/Seoul"), "2026-11-01T09:30:00+09:00"),
        (pd.Timestamp("2026-11-01T00:00:00.123456789"), "2026-11-01T00:00:00.123456789"),
        (np.int64(-5), "-5"),
        (np.uint8(200), "200"),
        (np.bool_(True), "true"),
        (np.float64(0.1), "0.1"),
        (np.float32(0.5), "0.5"),
        (np.float32(0.1), "0.1"),
        (np.float32(1e20), "1e+20"),
        (np.float32(123456792), "123456790.0"),
        (np.float32(3.4028235e38), "3.4028235e+38"),
        (np.float16(0.1), "0.1"),
        (np.float16(65504), "65500.0"),
        (np.float16(-0.0), "-0.0"),
        (np.array(0.1, np.float32), "0.1"),
        (np.str_("x"), "x"),
        (np.array(7), "7"),
        (np.datetime64("2026-11-01"), "2026-11-01"),
        (np.datetime64("2026-11-01T09:30"), "2026-11-01T09:30:00"),
        (np.datetime64("2026-11-01T09:30", "ns"), "2026-11-01T09:30:00"),
        (np.datetime64("2026-11-01T00:00:00.123456789"), "2026-11-01T00:00:00.123456789"),
        (np.datetime64("2026-11-01T00:00:00.120", "ns"), "2026-11-01T00:00:00.120000"),
        (np.datetime64("2026-11-01T00:00:00.123456100"), "2026-11-01T00:00:00.123456100"),
        (np.datetime64("1970-01-02T00:00:00.000000000001"), "1970-01-02T00:00:00.000000000001"),
        (np.datetime64("2026-11-01T00:00", ("ns", 25)), "2026-11-01T00:00:00"),
        (np.datetime64("2026-11"), "2026-11-01"),
        (np.datetime64("20260-11-01"), "20260-11-01"),
    ],
    ids=repr,
)
def test_a_value_has_one_text(value, text):
    assert render(value) == text


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "is None, which has no string form"),
        (Colour.NOTHING, "is None, which has no string form"),
        (math.nan, "is nan, which is not a finite number"),
        (-math.inf, "is -inf, which is not a finite number"),
        (Decimal("sNaN"), "is sNaN, which is not a finite number"),
        (np.float64("nan"), "is nan, which is not a finite number"),
        (np.float32("inf"), "is inf, which is not a finite number"),
        (pd.NaT, "is a NaTType, which has no string form"),
        (pd.NA, "is a NAType, which has no string form"),
        (np.datetime64("NaT", "s"), "is NaT, which is not a date"),
        (np.datetime64("NaT", "ns"), "is NaT, which is not a date"),
        (np.timedelta64(5, "ns"), "is a timedelta64, which has no string form"),
        (np.timedelta64(5, "s"), "is a timedelta64, which has no string form"),
        (np.complex128(1j), "is a complex, which has no string form"),
        (np.bytes_(b"x"), "is a bytes, which has no string form"),
        (np.array([1]), "is a ndarray, which has no string form"),
        (b"x", "is a bytes, which has no string form"),
        ([1], "is a list, which has no string form"),
        ({"a": 1}, "is a dict, which has no string form"),
        (pd.Series([1]), "is a Series, which has no string form"),
        (time(9), "is a time, which has no string form"),
        (timedelta(1), "is a timedelta, which has no string form"),
        (Fraction(1, 3), "is a Fraction, which has no string form"),
        pytest.param(object(), "is an object, which has no string form", id="object()"),
        ("a\0b", "has text that contains a NUL character"),
        ("\ud83d", "has text that contains a lone surrogate (U+D83D), which UTF-8 cannot encode"),
        (
            Path("a\udcff"),
            "has a path that contains a lone surrogate (U+DCFF), which UTF-8 cannot encode",
        ),
    ],
    ids=ascii,
)
def test_a_value_without_a_string_form_is_refused_with_its_type(value, complaint):
    with pytest.raises(ValueError, match=r"^(is|has) ") as caught:
        render(value)

    said = str(caught.value)
    assert (
        said.replace("; give text, a number, a bool, a date or a path, or convert it by str(...)", "")
        == complaint
    )


def test_an_integer_that_python_does_not_print_is_refused():
    with pytest.raises(ValueError, match=r"^is an integer too long to print$"):
        render(10**5000)


def test_a_number_wider_than_a_python_float_is_refused():
    with pytest.raises(ValueError, match="which has no string form"):
        render(np.longdouble("0.5"))


def test_a_path_of_bytes_is_refused():
    class BytesPath:
        def __fspath__(self) -> bytes:
            return b"x"

    with pytest.raises(ValueError, match="is a BytesPath, which has no string form"):
        render(BytesPath())


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0•"))  # nor the mask of secrets


@given(TEXTS)
def test_text_is_unchanged(text):
    assert render(text) == text


@given(
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-(10**9), 10**9, places=5)
)
def test_a_number_can_be_read_back(number):
    assert type(number)(render(number)) == number


@given(st.dates() | st.datetimes(timezones=st.none() | st.just(UTC)))
def test_a_date_can_be_read_back(moment):
    assert type(moment).fromisoformat(render(moment)) == moment


@given(st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001
def test_a_moment_has_the_same_text_in_every_type(moment):
    ways: list[Any] = [np.datetime64(moment, "us"), np.datetime64(moment, "ns"), pd.Timestamp(moment)]

    assert {render(way) for way in ways} == {moment.isoformat()}


@given(st.text())
def test_text_passes_exactly_when_utf8_and_a_script_can_represent_it(text):
    try:
        text.encode()
        good = "\0" not in text and "••••••" not in text
    except UnicodeEncodeError:
        good = False

    if good:
        assert check_text(text, "x") == text
    else:
        with pytest.raises(ValueError, match=r"^x contains "):
            check_text(text, "x")


@pytest.mark.parametrize(("kind", "width"), [(np.float32, 32), (np.float16, 16)])
@given(data=st.data())
def test_a_short_float_is_sent_as_it_prints_and_read_back_as_itself(kind, width, data):
    value = kind(data.draw(st.floats(width=width, allow_nan=False, allow_infinity=False)))

    assert kind(render(value)) == value
    assert float(render(value)) == float(str(value))
    assert len(render(value)) <= len(repr(float(value)))
