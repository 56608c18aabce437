import json
from email.utils import formatdate

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic import errors
from dataflow_magic.answers import raise_for, vendor_error

NOON = 1_762_000_000.0
REFUSED = {
    "error": {
        "errorCode": "200",
        "message": "Authentication Failed",
        "details": "Invalid authentication information.",
    }
}
# The golden bodies, and what each means, are in test_wire.


def error_of(response: httpx.Response, now: float = NOON) -> errors.ServiceError:
    with pytest.raises(errors.ServiceError) as caught:
        raise_for(response, now)
    return caught.value


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (3600, "this machine's clock is 60 minutes ahead of the service's, and five minutes are allowed; set the clock"),
        (-3600, "this machine's clock is 60 minutes behind the service's, and five minutes are allowed; set the clock"),
        (301, "this machine's clock is 5 minutes ahead of the service's, and five minutes are allowed; set the clock"),
        (7200, "this machine's clock is 2 h 00 min ahead of the service's, and five minutes are allowed; set the clock"),
        (9 * 3600, "this machine's clock is 9 h 00 min ahead of the service's, and five minutes are allowed; set the clock"),
        (-7500, "this machine's clock is 2 h 05 min behind the service's, and five minutes are allowed; set the clock"),
    ],
)  # fmt: skip
def test_a_refused_signature_of_a_wrong_clock_says_by_how_much(ahead, said):
    response = httpx.Response(401, json=REFUSED, headers={"date": formatdate(NOON, usegmt=True)})

    error = error_of(response, NOON + ahead)

    assert isinstance(error, errors.NotSignedIn)
    assert str(error) == (
        f"signature refused (401: Authentication Failed. Invalid authentication information): {said}"
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"date": formatdate(NOON - 299, usegmt=True)},
        {"date": formatdate(NOON + 300, usegmt=True)},
        {"date": "soon"},
        {},
    ],
    ids=["a little ahead", "a little behind", "no date", "no header"],
)
def test_a_refused_signature_of_a_right_clock_points_at_the_keys(headers):
    error = error_of(httpx.Response(401, json=REFUSED, headers=headers))

    assert str(error).endswith("; check the access key and the secret key")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (formatdate(NOON + 30, usegmt=True), 30.0),
        (formatdate(NOON - 30, usegmt=True), 0.0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("\u00b2", None),
        ("9" * 400, None),
        ("", None),
    ],
    ids=["at once", "seconds", "a date", "a date gone by", "words", "negative", "a fraction", "a superscript", "endless", "nothing"],
)  # fmt: skip
def test_how_long_to_wait_is_taken_from_the_service(status, header, seconds):
    headers = {"retry-after": header.encode(), "date": formatdate(NOON, usegmt=True).encode()}

    error = error_of(httpx.Response(status, headers=headers))

    assert isinstance(error, errors.TooManyRequests | errors.ServiceBroken)
    assert error.retry_after == seconds
    assert error.status == status


def test_a_date_to_wait_for_means_nothing_without_the_service_s_own():
    error = error_of(httpx.Response(429, headers={"retry-after": formatdate(NOON, usegmt=True)}))

    assert isinstance(error, errors.TooManyRequests)
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("status", "content", "kind", "said"),
    [
        (502, b"<html><head><title>502 Bad Gateway</title></head>\n<body>nginx</body></html>", errors.ServiceBroken, "the service failed (502: 502 Bad Gateway nginx)"),
        (500, b"", errors.ServiceBroken, "the service failed (500)"),
        (404, b"", errors.NotFound, "no such address at the gateway (404)"),
        (403, b"", errors.NotAllowed, "not allowed (403); the key has no right to do this"),
        (418, b"I'm a\n teapot", errors.RequestRejected, "refused (418: I'm a teapot)"),
        (302, b"", errors.RequestRejected, "refused (302)"),
        (400, b"null", errors.RequestRejected, "refused (400: None)"),
        (400, b'"bad"', errors.RequestRejected, "refused (400: bad)"),
        (400, b"[1]", errors.RequestRejected, "refused (400: [1])"),
        (400, b"{}", errors.RequestRejected, "refused (400)"),
        (400, b"\xff\xfe", errors.RequestRejected, "refused (400: \ufffd\ufffd)"),
        (400, b'{"error": {"errorCode": null}}', errors.RequestRejected, "refused (400)"),
        (400, b'{"error": {"errorCode": 100, "message": {"ko": "x"}}}', errors.RequestRejected, "refused (400: {'ko': 'x'})"),
        (400, b'{"detail": "two\\n lines", "errorType": "bad-parameter"}', errors.BadParameter, "refused a value (400 bad-parameter: two lines)"),
        (409, b'{"detail": "is running", "errorType": "bad-state"}', errors.BadState, "not possible now (409 bad-state: is running)"),
        (400, b'{"detail": "x", "errorType": "novel"}', errors.RequestRejected, "refused (400: x)"),
        (404, b'{"detail": "x", "errorType": "novel"}', errors.NotFound, "not found (404: x)"),
        (400, b"[" * 100_000, errors.RequestRejected, f"refused (400: {'[' * 200})"),
        (400, json.dumps({"detail": "x" * 5000, "errorType": "e"}).encode(), errors.RequestRejected, f"refused (400: {'x' * 200})"),
    ],
    ids=[
        "HTML",
        "an empty failure",
        "an empty 404",
        "an empty 403",
        "plain text",
        "a redirect",
        "null",
        "a string",
        "a list",
        "an empty object",
        "not text",
        "a null for a code",
        "an object for words",
        "words of two lines",
        "a state by another status",
        "an unknown kind",
        "an unknown kind not found",
        "nesting without end",
        "words without end",
    ],
)  # fmt: skip
def test_whatever_comes_is_one_line(status, content, kind, said):
    error = error_of(httpx.Response(status, content=content))

    assert type(error) is kind
    assert str(error) == said


def test_the_body_decides_and_not_its_content_type():
    said = b'{"detail": "x", "errorType": "bad-state"}'

    for content_type in ("text/html", "application/json", "application/octet-stream", "x"):
        response = httpx.Response(400, content=said, headers={"content-type": content_type})
        assert vendor_error(response) == ("bad-state", "x")


def test_words_said_twice_are_told_once():
    response = httpx.Response(400, json={"error": {"errorCode": "100", "message": "No.", "details": "No"}})

    assert vendor_error(response) == ("100", "No")


@given(
    st.sampled_from([300, 301, 400, 401, 403, 404, 409, 413, 429, 500, 503]),
    st.binary(max_size=60) | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["error", "errorCode", "message", "details", "detail", "errorType", "responseError", "returnCode"]),
            inner,
            max_size=3,
        ),
    ).map(lambda body: json.dumps(body).encode()),
    st.dictionaries(st.sampled_from(["retry-after", "date", "content-type"]), st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30)),
    st.floats(0, 1e11),
)  # fmt: skip
def test_any_answer_is_an_error_of_this_package(status, content, headers, now):
    response = httpx.Response(
        status, content=content, headers={name: value.encode("latin-1") for name, value in headers.items()}
    )

    error = error_of(response, now)

    assert len(str(error)) < 1000
    assert "\n" not in str(error)
