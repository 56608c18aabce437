"""What a line of %dataflow_wait asks for."""

import pytest

from dataflow_magic.cell.line import HelpRequested
from dataflow_magic.cell.wait import Wait, parse_wait
from dataflow_magic.errors import CellError


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("", Wait()),
        ("@last", Wait(("@last",))),
        ("a b --timeout 1.5", Wait(("a", "b"), 1.5)),
        ("--any a", Wait(("a",), None, True)),
    ],
)
def test_a_line_is_read(line, asked):
    assert parse_wait(line, {}) == asked


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--timout 1", "unknown option '--timout'; did you mean '--timeout'?; see %dataflow_wait --help"),
        (
            "--timeout soon",
            "argument --timeout: 'soon' is not a number of minutes; see %dataflow_wait --help",
        ),
        ('"a', "the line cannot be split into words: No closing quotation; see %dataflow_wait --help"),
    ],
)
def test_a_wrong_line_is_refused_with_one_line_that_says_what_to_do(line, said):
    with pytest.raises(CellError) as caught:
        parse_wait(line, {})

    assert str(caught.value) == said


def test_help_is_returned_for_any_line():
    with pytest.raises(HelpRequested, match=r"^usage: %dataflow_wait \[RUN \.\.\.\] \[options\]"):
        parse_wait("a --any --help", {})
