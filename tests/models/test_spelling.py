"""Spellings of a secret by encoders: none of them is left in a masked text."""

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow_magic.models.secret import Secret, masked_text
from dataflow_magic.models.spelling import in_every_spelling

ENCODERS: list[Callable[[str], str]] = [
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", r"\/"),
    lambda text: repr(text)[1:-1],
    html.escape,
    quote,
    lambda text: quote(text, safe=""),
]
CHARACTERS = st.one_of(st.sampled_from("ab1\"'\\/&<>%;#+ \n\t\0é매😀"), st.characters(codec="utf-8"))
VALUES = st.text(CHARACTERS, min_size=4, max_size=24).filter(lambda text: "•" not in text)
CHAINS = st.lists(st.sampled_from(ENCODERS), max_size=3)


def encoded(text: str, chain: list[Callable[[str], str]]) -> str:
    for encode in chain:
        text = encode(text)
    return text


def masked(text: str, value: str) -> str:
    return masked_text(text, {"$token": Secret.of(value)})


@settings(max_examples=300, deadline=None)
@given(VALUES, CHAINS, st.text(max_size=8), st.text(max_size=8))
def test_no_chain_of_encoders_leaves_a_value_in_a_text(value, chain, before, after):
    spelled = encoded(value, chain)

    hidden = masked(before + spelled + after, value)

    assert "••••••" in hidden
    # A value inside the text around it is no part of what was masked.
    assert value not in hidden
    assert spelled not in hidden


@given(st.text(CHARACTERS, max_size=40), CHAINS)
def test_a_text_without_the_secret_is_unchanged(text, chain):
    spelled = encoded(text, chain)

    assert masked(spelled, 'zQ7"\\매😀') == spelled


@pytest.mark.parametrize(
    "spelled",
    [
        r"a\u0022\u005c\u00E9b", r"a\u0022\\\u00e9b", r"a\\u0022\\\\\\u00E9b", r"a\x22\\\xe9b", r"a\"\\\U000000e9b",
        r"a\"\\\u{e9}b", r"a\"\\\xc3\xa9b", "a%22%5c%c3%a9b", "a%2522%255C%25C3%25A9b", "a&quot;&#92;&eacute;b",
        "a&#34;\\&#xE9;b", "a&amp;quot;\\&amp;amp;#233;b", r"\u0061%22\\&#233;&#x62;", "a%26quot%3B%5C%C3%A9b",
    ],
)  # fmt: skip
def test_a_value_is_masked_in_each_way_to_escape_it(spelled):
    assert masked(f"<{spelled}>", 'a"\\éb') == "<••••••>"


@pytest.mark.parametrize("rounds", range(8))
@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_inside_json_is_masked_at_any_depth_and_stays_json(rounds, ascii_only):
    text = '"he said \\"매출😀\\" twice"'
    value = json.loads(text)
    for _ in range(rounds):
        text = json.dumps({"detail": text}, ensure_ascii=ascii_only)

    hidden = masked(text, value)

    assert hidden.count("••••••") == 1
    for _ in range(rounds):
        hidden = json.loads(hidden)["detail"]
    assert hidden == '"••••••"'


def test_a_form_is_masked():
    assert masked(quote_plus("a b&c"), "a b&c") == "••••••"


@pytest.mark.parametrize("user", ["", "u", "us", "user"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_value_inside_base64_is_masked_up_to_its_ends(user, encode):
    value = 'p??>>ss"word~é'
    spelled = encode(f"{user}:{value}!".encode()).decode()

    hidden = masked(f"Basic {spelled}", value)

    start, _, end = hidden.removeprefix("Basic ").partition("••••••")
    assert len(start) <= (len(user) + 1) * 4 // 3 + 1
    assert len(end) <= 6


@pytest.mark.parametrize("unit", ["\\", "%5C", "%255C", "%25", "&amp;", '"', "\\u0022", "a", "&#34;"])
@pytest.mark.parametrize("value", ['"quoted"', "\\\\abcd", "%25%25%25", "&amp;&amp;", "매출매출"])
def test_a_long_text_takes_linear_time(unit, value):
    text = unit * ((1 << 18) // len(unit))
    started = time.process_time()

    masked(text, value)

    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("text", "part"),
    [("hunter2", "hunter2"), ("p@ss/word+1", "word"), ("a\\b-cd", "cd"), ("매출-2", "2"), ("!?", "")],
)
def test_letters_and_digits_are_in_every_spelling_of_a_text(text, part):
    assert in_every_spelling(text) == part
