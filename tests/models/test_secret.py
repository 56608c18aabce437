"""Secrets: what stands for them, and texts and snapshots of a service without them."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.models.secret import Secret, masked, masked_text
from dataflow_magic.models.wire import JobExecution

TOKEN = Secret.of("s3cr3t/tok\"en'é")
UNKNOWN = Secret("made-in-another-process")


def snapshot(**fields) -> JobExecution:
    return JobExecution.model_validate({"jobExecutionId": "mY3275GiRXkm", "status": "RUNNING", **fields})


def test_a_secret_shows_neither_its_value_nor_its_length():
    secrets = [Secret.of("x"), Secret.of("x" * 99)]

    assert {repr(each) for each in secrets} | {str(each) for each in secrets} == {"••••••"}
    assert f"{secrets[0]}" == "••••••"


def test_a_pickled_secret_is_its_mark():
    assert b"pickled-value" not in pickle.dumps(Secret.of("pickled-value"))


def test_only_equal_values_are_equal_secrets():
    assert Secret.of("one value") == Secret.of("one value")
    assert Secret.of("one value") != Secret.of("another")
    assert Secret.of("one value") != UNKNOWN


def test_a_value_is_known_only_to_the_process_that_was_given_it():
    assert TOKEN.reveal() == "s3cr3t/tok\"en'é"
    assert UNKNOWN.reveal() is None


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("no table s3cr3t/tok\"en'é, sir", "no table ••••••, sir"),
        (json.dumps({"detail": "s3cr3t/tok\"en'é"}), '{"detail": "••••••"}'),
        (json.dumps({"detail": "s3cr3t/tok\"en'é"}, ensure_ascii=False), '{"detail": "••••••"}'),
        (f"KeyError: {TOKEN.reveal()!r}", "KeyError: '••••••'"),
        ("https://x/?t=s3cr3t%2Ftok%22en%27%C3%A9&u=1", "https://x/?t=••••••&u=1"),
    ],
    ids=["plain", "JSON in ASCII", "JSON", "a Python message", "an address"],
)
def test_a_value_is_masked_in_each_spelling(text, hidden):
    assert masked_text(text, {"$token": TOKEN}) == hidden


def test_each_line_of_a_key_is_masked():
    key = Secret.of("-----BEGIN-----\nMIIEvQIBADAN\n  d0wN\n")

    assert masked_text("log: MIIEvQIBADAN\nlog: d0wN", {"$key": key}) == "log: ••••••\nlog: ••••••"


def test_of_a_value_that_contains_another_nothing_is_left():
    parameters = {"$a": Secret.of("abcd"), "$b": Secret.of("abcdefgh")}

    assert masked_text("abcdefgh abcd", parameters) == "•••••• ••••••"


def test_a_short_value_is_masked_by_its_name_and_not_in_prose():
    parameters = {"$pin": Secret.of("12")}
    execution = snapshot(parsedParameters={"$pin": "12", "$day": "12"}, statusDetail="12 rows")

    assert masked(execution, parameters).parsed_parameters == {"$pin": "••••••", "$day": "12"}
    assert masked(execution, parameters).status_detail == "12 rows"


@pytest.mark.parametrize(
    ("listed", "hidden"),
    [
        ({"$token": "x9"}, {"$token": "••••••"}),
        ({"token": "x9"}, {"token": "••••••"}),
        ([{"$token": "x9"}, {"$day": "1"}], [{"$token": "••••••"}, {"$day": "1"}]),
        ([{"name": "$token", "value": "x9"}], [{"name": "$token", "value": "••••••"}]),
        ([], []),
        (None, None),
    ],
    ids=[
        "an object",
        "without its $",
        "a list of objects",
        "a list of names with values",
        "an empty list",
        "null",
    ],
)
def test_a_service_s_value_of_a_secret_is_masked_by_its_name(listed, hidden):
    execution = masked(snapshot(parsedParameters=listed), {"$token": UNKNOWN})

    assert execution.parsed_parameters == hidden


def test_unknown_fields_are_masked_too():
    execution = masked(
        snapshot(
            parameters={"$token": "a b c d"},
            jobCondition={"parameters": {"token": "a b c d"}},
            note="of a b c d",
        ),
        {"$token": Secret.of("a b c d")},
    )

    assert execution.to_wire() == {
        "jobExecutionId": "mY3275GiRXkm",
        "status": "RUNNING",
        "parameters": {"$token": "••••••"},
        "jobCondition": {"parameters": {"token": "••••••"}},
        "note": "of ••••••",
    }


def test_the_value_of_an_unknown_secret_is_learned_from_the_service():
    secret = Secret("of-a-kernel-that-is-gone")
    masked(snapshot(parsedParameters={"$token": "learned-value"}), {"$token": secret})

    assert masked_text("bad learned-value", {"$token": secret}) == "bad ••••••"
    assert secret.reveal() is None, "a service may spell a value differently"


def test_ids_and_states_are_not_masked():
    execution = snapshot(jobId="RUNNING1")

    assert masked(execution, {"$status": Secret.of("RUNNING"), "$jobId": Secret.of("RUNNING1")}) == execution


@given(st.text(min_size=4), st.text(), st.text())
def test_a_masked_text_contains_no_secret(value, before, after):
    hidden = masked_text(before + value + after, {"$x": Secret.of(value)})

    assert value not in hidden.replace("••••••", "\0") or value.strip() == "" or len(value.strip()) < 4
