import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dataflow_magic.signing import sign, verify

ACCESS, SECRET = "ACCESSKEY0000000EXAM", "SECRETKEY0000000000000000000000000EXAMPLE"
RUN, WHEN = b"/api/v1/jobs/gqigvH000000/executions", 1742459237000
JOBS, JOBS_SIGNED = b"/api/v1/jobs?page=0&limit=1000", "TH8zmLOJi4Swg5+4fGT/zJ3GrTrtQ3lRBjw36xCXlX8="


@pytest.mark.parametrize(
    ("method", "target", "timestamp_ms", "access_key", "secret_key", "signature"),
    [
        (
            "POST",
            b"/vserver/v2/createServerInstances?regionCode=KR",
            1700000000000,
            "AK_TEST",
            "SK_TEST",
            "xBcE26XFU55BMjppdPT7ZY3oDrqoOedfPyAn3Cq4lUw=",
        ),
        ("POST", RUN, WHEN, ACCESS, SECRET, "bsEqyk7T1aQLpkTkbH6BvKxB/dV4U/gGR/ZFndCR1Uc="),
        ("GET", JOBS, WHEN, ACCESS, SECRET, JOBS_SIGNED),
        (
            "GET",
            b"/api/v1/stats/executions?startDate=2025-03-19T00%3A00%3A00&endDate=2025-03-20T23%3A59%3A59",
            WHEN,
            ACCESS,
            SECRET,
            "Z4ZaAWZw3y6MtEXb7jd9lCq1pmrXuodIo3hd0W6ZLpw=",
        ),
        (
            "GET",
            b"/api/v1/stats/executions?startDate=2025-03-19T00:00:00&endDate=2025-03-20T23:59:59",
            WHEN,
            ACCESS,
            SECRET,
            "etqE974ppqpqdMYXQvj9DUGtQS7PQyJtA4PeJSy0x2I=",
        ),
    ],
    ids=["published by a third party", "no query", "a query", "escapes in the query", "colons unescaped"],
)
def test_signatures_equal_the_vectors(method, target, timestamp_ms, access_key, secret_key, signature):
    assert sign(method, target, timestamp_ms, access_key, secret_key) == signature
    assert verify(signature, method, target, timestamp_ms, access_key, secret_key)


@pytest.mark.parametrize(
    ("method", "target", "timestamp_ms", "access_key", "secret_key"),
    [
        ("GET", JOBS, WHEN // 1000, ACCESS, SECRET),
        ("GET", b"https://dataflow.apigw.ntruss.com" + JOBS, WHEN, ACCESS, SECRET),
        ("GET", b"/api/v1/jobs", WHEN, ACCESS, SECRET),
        ("GET", b"/api/v1/jobs?limit=1000&page=0", WHEN, ACCESS, SECRET),
        ("GET", JOBS + b"&", WHEN, ACCESS, SECRET),
        ("GET", JOBS[len(b"/api/v1") :], WHEN, ACCESS, SECRET),
        ("POST", JOBS, WHEN, ACCESS, SECRET),
        ("GET", JOBS, WHEN, SECRET, ACCESS),
        ("GET", JOBS, WHEN, ACCESS, base64.b64encode(SECRET.encode()).decode()),
    ],
    ids=[
        "seconds for milliseconds",
        "the full address",
        "the query left out",
        "the query sorted",
        "the query with an end",
        "the path without its prefix",
        "another method",
        "keys swapped",
        "secret encoded",
    ],
)
def test_a_signature_over_anything_else_is_refused(method, target, timestamp_ms, access_key, secret_key):
    mistaken = sign(method, target, timestamp_ms, access_key, secret_key)

    assert not verify(mistaken, "GET", JOBS, WHEN, ACCESS, SECRET)


def test_the_separator_is_a_line_feed_and_no_escape():
    # The same parts with the two characters of an escape between them.
    mistaken = sign("GET", JOBS + rb"\n" + str(WHEN).encode(), WHEN, ACCESS, SECRET)

    assert not verify(mistaken, "GET", JOBS, WHEN, ACCESS, SECRET)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        JOBS_SIGNED.rstrip("="),
        JOBS_SIGNED.replace("+", "-").replace("/", "_"),
        JOBS_SIGNED + "\n",
        JOBS_SIGNED.lower(),
        "매" + JOBS_SIGNED,
        "\ud800",
    ],
    ids=["none", "no padding", "url alphabet", "line feed", "lower case", "not ASCII", "half a character"],
)
def test_another_spelling_of_the_signature_is_refused(signature):
    assert verify(JOBS_SIGNED, "GET", JOBS, WHEN, ACCESS, SECRET)
    assert not verify(signature, "GET", JOBS, WHEN, ACCESS, SECRET)


def test_the_method_is_signed_in_upper_case():
    assert sign("get", JOBS, WHEN, ACCESS, SECRET) == JOBS_SIGNED


TARGETS = st.binary(min_size=1, max_size=40)
KEYS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=20)


@given(st.sampled_from(["GET", "POST", "PUT"]), TARGETS, st.integers(0, 10**15), KEYS, KEYS, st.data())
def test_any_changed_byte_is_refused(method, target, timestamp_ms, access_key, secret_key, data):
    signature = sign(method, target, timestamp_ms, access_key, secret_key)
    parts = [
        method.encode(),
        target,
        str(timestamp_ms).encode(),
        access_key.encode(),
        secret_key.encode(),
        signature.encode(),
    ]
    which = data.draw(st.integers(0, len(parts) - 1), label="part")
    place = data.draw(st.integers(0, len(parts[which]) - 1), label="byte")
    bits = data.draw(st.integers(1, 127), label="flipped")
    changed = bytearray(parts[which])
    changed[place] ^= bits
    # The timestamp is a number here; the case of a method does not change its signature.
    assume(which != 2 or (changed.isdigit() and not changed.startswith(b"0")))
    assume(which != 0 or changed.upper() != parts[0])
    assume(which == 1 or changed.isascii())
    parts[which] = bytes(changed)

    assert verify(signature, method, target, timestamp_ms, access_key, secret_key)
    assert not verify(
        parts[5].decode(), parts[0].decode(), parts[1], int(parts[2]), parts[3].decode(), parts[4].decode()
    )
