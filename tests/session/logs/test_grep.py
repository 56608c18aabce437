"""The regular expression of a search: what it finds, what it refuses, and how long it takes."""

from __future__ import annotations

import time

import pytest

from dataflow_magic.errors import CellError
from dataflow_magic.session.logs.grep import Grep


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("ERROR", "one\nan ERROR here\nERROR", ["an ERROR here", "ERROR"]),
        ("^two", "one two\ntwo three", ["two three"]),
        ("one$", "one two\ntwo one", ["two one"]),
        ("^$", "one\n\ntwo", [""]),
        ("(?i)error|warn", "Error\nnothing\nWARN", ["Error", "WARN"]),
        (r"one\s*two", "one\ntwo\none two", ["one two"]),
        ("[^x]*two", "one\ntwo", ["two"]),
        (r"\bone", "a one\nnone\none", ["a one", "one"]),
        ("매출", "어제 매출 1\n오늘", ["어제 매출 1"]),
        ("one", "one one one", ["one one one"]),
        ("", "one\n\ntwo", ["one", "", "two"]),
        ("none", "one\ntwo", []),
    ],
)
def test_lines_that_match_somewhere_are_found(pattern, text, found):
    assert Grep(pattern).lines(text) == found


@pytest.mark.parametrize(
    ("pattern", "place", "why"),
    [
        ("a(b", 2, r"missing \), unterminated subpattern"),
        ("a**", 3, "multiple repeat"),
        ("매(출", 2, r"missing \), unterminated subpattern"),
        ("x[z-a]", 3, "bad character range z-a"),
        ("x{1001}", 2, r"invalid repetition size \{1001\}"),
        (r"ab(?=c)", 3, "lookaround and backreferences are not supported"),
        (r"(a)\1", 4, "lookaround and backreferences are not supported"),
        (r"end\Z", 4, r"write \^ and \$ for the ends of a line"),
        ("x\ud800", 2, "half of a surrogate pair"),
        ("((a{100}){100}){100}", 4, r"invalid repetition size \{100\}"),
    ],
    ids=ascii,
)
def test_an_invalid_expression_is_refused_with_its_place(pattern, place, why):
    with pytest.raises(
        CellError, match=rf"^the regular expression .* is not valid at character {place}: {why}"
    ):
        Grep(pattern)


def test_an_expression_of_more_than_a_thousand_characters_is_refused():
    Grep("x" * 1000)
    with pytest.raises(CellError, match=r"has 1,001 characters; the limit is 1,000"):
        Grep("x" * 1001)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)*b$", "(.*)*x", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_an_expression_that_backtracks_for_ever_in_other_engines_takes_no_time(pattern):
    text = "\n".join(["a" * 60_000 + "!"] * 10)
    begin = time.process_time()

    Grep(pattern).lines(text)

    assert time.process_time() - begin < 10  # Python's engine takes longer than the universe has existed
