"""Bytes of a log as lines: folded, masked, cut, in bounded memory, wherever the borders of the parts are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.models.secret import Secret, masked_text
from dataflow_magic.session.logs.grep import Grep
from dataflow_magic.session.logs.lines import Lines


def as_it_is(text: str) -> str:
    return text


def all_lines(lines: Lines, *parts: bytes) -> list[str]:
    return [line for part in parts for line in lines.feed(part)] + lines.end()


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\ntwo", ["one", "two"]),
        (b"\n\n", ["", ""]),
        (b"", []),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b" 10%\r 50%\r100%\ndone\n", ["100%", "done"]),
        (b"[Stage 0:=>]\r             \rdone\n", ["done"]),
        (b"[Stage 0:=>]\r             \n", ["[Stage 0:=>]"]),
        (b"\x1b[31mred\x1b[0m\n", ["red"]),
        ("매출\n".encode(), ["매출"]),
        (b"\xff\n", ["\N{REPLACEMENT CHARACTER}"]),
        (b"\x1b]0;never ended\nnext\n", ["0;never ended", "next"]),
    ],
)
def test_bytes_become_the_lines_a_terminal_shows(content, lines):
    assert all_lines(Lines(as_it_is), content) == lines


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b" ", "매".encode(), b"50%", b"\x1b[1m"])), st.data())
def test_the_borders_of_parts_change_nothing(words, data):
    content = b"".join(words)
    border = data.draw(st.integers(0, len(content)))

    whole = all_lines(Lines(as_it_is), content)
    assert all_lines(Lines(as_it_is), content[:border], content[border:]) == whole
    assert all_lines(Lines(as_it_is), *(content[n : n + 1] for n in range(len(content)))) == whole


def test_a_line_waits_for_its_end():
    lines = Lines(as_it_is)

    assert lines.feed(b"one\nha") == ["one"]
    assert lines.feed(b"lf") == []
    assert lines.feed(b"\n") == ["half"]
    assert lines.end() == []


@pytest.mark.parametrize("part", [1 << 10, 1 << 16, 1 << 20])
def test_a_line_of_ten_megabytes_is_cut_with_a_word_and_not_kept(part):
    content = b"x" * 10_000_000 + b"\nnext\n"
    lines = Lines(as_it_is)
    found = []
    for start in range(0, len(content), part):
        found += lines.feed(content[start : start + part])
        assert len(lines._open) <= 131_072

    assert [len(line) for line in found] == [65_536 + 52, 4]
    assert found[0].endswith("xx … [9,934,464 more bytes of this line are not shown]")


def test_a_progress_bar_of_ten_megabytes_is_its_last_frame():
    lines = Lines(as_it_is)
    frames = b"".join(b"\r%7d rows" % number for number in range(800_000))

    found = [
        line for start in range(0, len(frames), 50_000) for line in lines.feed(frames[start : start + 50_000])
    ]

    assert found == []
    assert lines.feed(b"\ndone\n") == [" 799999 rows", "done"]


def test_a_frame_overwrites_a_line_that_was_too_long():
    assert all_lines(Lines(as_it_is), b"x" * 500_000, b"x" * 500_000 + b"\rdone\n") == ["done"]


def test_only_lines_that_match_as_shown_are_returned():
    lines = Lines(lambda text: text.replace("hunter2", "••••••"), Grep("^ERROR|hunter|••"))
    content = b"\x1b[31mERROR one\x1b[0m\nfine ERROR\n10%\rERROR two\nkey hunter2\n"

    assert all_lines(lines, content) == ["ERROR one", "ERROR two", "key ••••••"]


SECRET = "p@ss/word+12\\34 매출"
SPELLED = [
    SECRET,
    "p%40ss%2Fword%2B12%5C34%20%EB%A7%A4%EC%B6%9C",
    r"p@ss\/word+12\\34 \ub9e4\ucd9c",
    "cEBzcy93b3JkKzEyXDM0IOunpOy2nA==",
    "p@s\x1b[31ms/word\x1b[0m+12\\34 매출",
    "x" * 70_000 + SECRET,
    "x" * 65_530 + SECRET + "x" * 500_000,
    "x" * 131_065 + SECRET + "x" * 500_000,
    f"{SECRET} " * 20_000,
]


@pytest.mark.parametrize("spelled", SPELLED, ids=range(len(SPELLED)))
@pytest.mark.parametrize("part", [1, 3, 1000, 1 << 16])
def test_a_secret_is_masked_wherever_a_border_of_a_part_or_a_cut_is(spelled, part):
    if part < 1000 and len(spelled) > 1000:
        part *= 997
    parameters = {"$token": Secret.of(SECRET)}
    lines = Lines(lambda text: masked_text(text, parameters))
    content = f"before {spelled} after\nlast\n".encode()

    found = all_lines(lines, *(content[start : start + part] for start in range(0, len(content), part)))

    assert found[1:] == ["last"]
    assert "••••••" in found[0] or "not shown]" in found[0]
    # Not even the begin or the end of it.
    assert not re.search(r"p@s|ss/w|word|12\\34|매|매출|cEBz", found[0])
