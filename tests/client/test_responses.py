import json
import os
import subprocess
import sys
from email.utils import formatdate

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic import errors
from dataflow_magic.client.responses import clock_offset, clock_words, is_refusal, raise_for, vendor_error

NOON = 1_762_000_000.0
REFUSED = {
    "error": {
        "errorCode": "200",
        "message": "Authentication Failed",
        "details": "Invalid authentication information.",
    }
}
IN_SEOUL = """
import time
import httpx
from dataflow_magic.client.responses import clock_offset

answer = httpx.Response(401, headers={"date": "Thu, 01 Jan 1970 01:00:00"})
print(clock_offset(answer, 0.0, 0.0), -time.timezone)
"""
# The bodies in the vendor's documents have their tests in test_wire_files.


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
def test_a_signature_refused_for_the_clock_shows_the_difference(ahead, said):
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
    ],
    ids=["a little ahead", "a little behind"],
)
def test_a_signature_refused_with_a_right_clock_names_the_keys(headers):
    error = error_of(httpx.Response(401, json=REFUSED, headers=headers))

    assert str(error).endswith("; check the access key and the secret key")


@pytest.mark.parametrize("headers", [{"date": "soon"}, {}], ids=["no date", "no header"])
def test_a_signature_refused_by_a_service_that_shows_no_time_names_the_clock_too(headers):
    error = error_of(httpx.Response(401, json=REFUSED, headers=headers))

    assert str(error).endswith("; check the access key, the secret key and this machine's clock")


@pytest.mark.parametrize(
    ("sent", "answered", "offset"),
    [(0, 0, 0.5), (0, 4, -1.5), (-400, -300, 350.5), (3600, 3600, -3599.5)],
    ids=["the same", "a slow answer", "ours is behind", "ours is ahead"],
)
def test_the_clock_is_compared_at_the_middle_of_the_request(sent, answered, offset):
    response = httpx.Response(401, headers={"date": formatdate(NOON, usegmt=True)})

    assert clock_offset(response, NOON + sent, NOON + answered) == offset


@pytest.mark.parametrize(
    ("date", "offset"),
    [
        ("Thu, 01 Jan 1970 01:00:00 GMT", 3600.5),
        ("Thu, 01 Jan 1970 10:00:00 +0900", 3600.5),
        ("Thu, 01 Jan 1970 01:00:00 -0000", 3600.5),
        ("Thu, 01 Jan 1970 01:00:00", 3600.5),
        ("Thursday, 01-Jan-70 01:00:00 GMT", 3600.5),
        ("Thu, 01 Jan 99999999999 00:00:00 GMT", None),
        ("1970-01-01T01:00:00Z", None),
        ("3600", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_date_is_read_in_http_formats_only_and_in_utc_without_a_zone(date, offset):
    assert clock_offset(httpx.Response(401, headers={"date": date}), 0.0, 0.0) == offset


def test_the_zone_of_this_machine_does_not_change_a_date():
    done = subprocess.run(
        [sys.executable, "-c", IN_SEOUL],
        env=os.environ | {"TZ": "KST-9"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.strip() == "3600.5 32400"


def test_a_response_without_a_date_gives_no_offset():
    assert clock_offset(httpx.Response(401), NOON, NOON) is None


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (0.0, ""),
        (61.0, "this machine's clock is 61 seconds behind the service's; requests are signed with its time"),
        (-61.0, "this machine's clock is 61 seconds ahead of the service's; requests are signed with its time"),
        (3600.0, "this machine's clock is 60 minutes behind the service's; requests are signed with its time"),
        (-32400.0, "this machine's clock is 9 h 00 min ahead of the service's; requests are signed with its time"),
    ],
)  # fmt: skip
def test_the_words_about_a_wrong_clock(offset, words):
    assert clock_words(offset) == words


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://elsewhere.example.com:8443/x", "redirected to elsewhere.example.com (302), and nothing was sent there; check the target's address and the sign-in of the network"),
        ("//user:hunter2@elsewhere.example.com", "redirected to elsewhere.example.com (302), and nothing was sent there; check the target's address and the sign-in of the network"),
        ("/elsewhere", "refused (302)"),
        ("https://[x", "refused (302)"),
        ("", "refused (302)"),
    ],
    ids=["an address", "one with a password", "the same host", "no address", "nothing"],
)  # fmt: skip
def test_a_redirect_names_its_host(location, said):
    error = error_of(httpx.Response(302, headers={"location": location}))

    assert (type(error), str(error)) == (errors.RequestRejected, said)


@pytest.mark.parametrize("charset", ["hex", "rot13", "idna", "undefined", "utf-16", "no-such", "\u00b2"])
def test_a_body_in_an_unusable_encoding_is_read_as_utf_8(charset):
    headers = [(b"content-type", f"text/html; charset={charset}".encode())]

    error = error_of(
        httpx.Response(502, content="<p>매출\udcff</p>".encode(errors="surrogateescape"), headers=headers)
    )

    assert str(error) == "the service failed (502: 매출\ufffd)"


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
        ("300", 300.0),
        ("301", 300.0),
        ("999999999", 300.0),
        ("9" * 5000, 300.0),
        ("Fri, 01 Jan 2999 00:00:00 GMT", 300.0),
        ("Fri, 01 Jan 99999 00:00:00 GMT", None),
        ("", None),
    ],
    ids=["at once", "seconds", "a date", "a date gone by", "words", "negative", "a fraction", "a superscript", "the longest", "a second longer", "a life", "endless", "in 2999", "no date", "nothing"],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_a_date(status, header, seconds):
    headers = {"retry-after": header.encode(), "date": formatdate(NOON, usegmt=True).encode()}

    error = error_of(httpx.Response(status, headers=headers))

    assert isinstance(error, errors.TooManyRequests | errors.ServiceBroken)
    assert error.retry_after == seconds
    assert error.status == status


def test_a_retry_after_date_needs_the_service_s_own_date():
    error = error_of(httpx.Response(429, headers={"retry-after": formatdate(NOON, usegmt=True)}))

    assert isinstance(error, errors.TooManyRequests)
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("status", "content", "kind", "said"),
    [
        (502, b"<html><head><title>502 Bad Gateway</title></head>\n<body>nginx</body></html>", errors.ServiceBroken, "the service failed (502: 502 Bad Gateway nginx)"),
        (500, b"", errors.ServiceBroken, "the service failed (500)"),
        (404, b"", errors.NotFound, "no such address at the gateway (404)"),
        (403, b"", errors.NotAllowed, "not allowed (403); the key lacks the permission"),
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
def test_every_body_gives_a_message_of_one_line(status, content, kind, said):
    error = error_of(httpx.Response(status, content=content))

    assert type(error) is kind
    assert str(error) == said


def test_the_content_type_does_not_change_the_error():
    said = b'{"detail": "x", "errorType": "bad-state"}'

    for content_type in ("text/html", "application/json", "application/octet-stream", "x"):
        response = httpx.Response(400, content=said, headers={"content-type": content_type})
        assert vendor_error(response) == ("bad-state", "x")


def test_repeated_words_are_shown_once():
    response = httpx.Response(400, json={"error": {"errorCode": "100", "message": "No.", "details": "No"}})

    assert vendor_error(response) == ("100", "No")


def test_only_documented_refusals_leave_a_request_undone():
    statuses = range(200, 600)

    assert {status for status in statuses if is_refusal(status)} == {400, 401, 403, 404, 413}
    for code in "bad-parameter", "bad-state", "not-found":
        assert {status for status in statuses if is_refusal(status, code)} == set(range(400, 500))
    for code in "400", "410", "420":
        assert {status for status in statuses if is_refusal(status, code)} == {400, 401, 403, 404, 413, 429}
    assert not is_refusal(409, "novel")
    assert not is_refusal(429, "429")


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
def test_any_response_becomes_an_error_of_this_package(status, content, headers, now):
    response = httpx.Response(
        status, content=content, headers={name: value.encode("latin-1") for name, value in headers.items()}
    )

    error = error_of(response, now)

    assert len(str(error)) < 1000
    assert "\n" not in str(error)
