import asyncio
import contextlib
import logging
import traceback
from email.utils import formatdate
from itertools import count

import httpx
import pytest
import stamina
from pydantic import SecretStr

from dataflow_magic import errors
from dataflow_magic.client import Client, SignedAuth
from dataflow_magic.client.sending import _retry_after, as_curl
from dataflow_magic.models.attempt import Attempt
from tests.client.fakes import (
    ACCESS,
    BUSY,
    CONDITION,
    DOWN,
    JOB,
    NOW,
    RUN,
    SECRET,
    client,
    http_answer,
    listening,
    server,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_no_pauses")]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("call", "kind", "begin", "end"),
    [
        (lambda c: c.get_job("J"), errors.RequestRejected, "", ""),
        (
            lambda c: c.execute_job("J", CONDITION),
            errors.OutcomeUnknown,
            "the response from https://dataflow.apigw.ntruss.com was lost (",
            "): the service may or may not have carried out the request. It is not sent again automatically; "
            "check the job's runs before you send it again.",
        ),
    ],
    ids=["read", "start"],
)
async def test_a_redirect_is_not_followed(call, kind, begin, end, status):
    fake = server(httpx.Response(status, headers={"location": "https://elsewhere.example.com/x?y"}))

    with pytest.raises(kind) as caught:
        await call(client(fake))

    assert str(caught.value) == (
        f"{begin}redirected to elsewhere.example.com ({status}), and nothing was sent there; "
        f"check the target's address and the sign-in of the network{end}"
    )
    assert len(fake.requests) == 1


GARBAGE = {
    "nothing": b"",
    "HTML": b"<html>oh",
    "another object": b'{"a": 1}',
    "a list": b"[]",
    "half a JSON": b'{"jobExecutionId": "p4Y5P',
    "no id": b'{"jobExecutionId": ""}',
    "an id of no address": b'{"jobExecutionId": ".."}',
    "not packed": b"\x1f\x8b\x00",
    "an unknown code": b'{"detail": "x", "errorType": "novel"}',
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
async def test_a_start_with_garbage_for_a_response_is_certainly_refused_by_five_statuses_alone(content):
    ended: dict[int, type[Exception]] = {}
    # Each status once over all kinds of garbage; with each kind those that refuse.
    drawn = range(200 + list(GARBAGE.values()).index(content), 600, len(GARBAGE))
    for status in {*drawn, 400, 401, 403, 404, 413}:
        fake = server(httpx.Response(status, content=content))
        with pytest.raises(errors.ServiceError) as caught:
            await client(fake).execute_job("J", CONDITION)
        ended[status] = caught.type
        assert len(fake.requests) == 1

    refused = {status: kind for status, kind in ended.items() if kind is not errors.OutcomeUnknown}
    assert refused == {
        400: errors.RequestRejected,
        401: errors.NotSignedIn,
        403: errors.NotAllowed,
        404: errors.NotFound,
        413: errors.RequestRejected,
    }


async def test_a_refusal_in_the_service_s_own_words_is_certain_with_any_4xx():
    fake = server(httpx.Response(409, json={"detail": "is running", "errorType": "bad-state"}))

    with pytest.raises(errors.BadState):
        await client(fake).execute_job("J", CONDITION)


@pytest.mark.parametrize("location", ["https://x:port/", "javascript:alert(1)"])
async def test_a_redirect_to_an_invalid_address_leaves_the_outcome_of_a_start_unknown(location):
    fake = server(httpx.Response(307, headers={"location": location}))

    with pytest.raises(errors.OutcomeUnknown, match="RemoteProtocolError"):
        await client(fake).execute_job("J", CONDITION)

    assert len(fake.requests) == 1


async def test_every_phase_of_a_request_has_a_timeout():
    fake = server(JOB, JOB)

    await client(fake).get_job("J")
    await client(fake, timeout=5.0).get_job("J")

    usual, own = (request.extensions["timeout"] for request in fake.requests)
    assert usual == {"connect": 10.0, "read": 30.0, "write": 30.0, "pool": 10.0}
    assert own == {"connect": 10.0, "read": 5.0, "write": 5.0, "pool": 10.0}


# Retries


@pytest.mark.parametrize(
    "trouble",
    [BUSY, DOWN, httpx.Response(500), httpx.Response(502, text="<html>"), httpx.ConnectError, httpx.ReadTimeout,
     httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectTimeout],
    ids=["429", "503", "500", "HTML 502", "refused", "timeout", "reset", "hung up", "no connection"],
)  # fmt: skip
@pytest.mark.parametrize(
    "call", [lambda c: c.get_job("J"), lambda c: c.cancel_execution("J", "R")], ids=["read", "cancel"]
)
async def test_a_repeatable_request_is_retried_after_any_failure(call, trouble):
    fake = server(trouble, trouble, trouble, JOB)

    assert await call(client(fake))

    assert len(fake.requests) == 4


async def test_each_attempt_has_its_own_signature():
    fake = server(BUSY, DOWN, JOB)
    seconds = count(NOW)

    await client(fake, now=lambda: next(seconds), steady=lambda: 0.0).get_job("J")

    sent = [request.headers["x-ncp-apigw-timestamp"] for request in fake.requests]
    signatures = {request.headers["x-ncp-apigw-signature-v2"] for request in fake.requests}
    # Each attempt reads the clock before and after it, and once more for its error.
    assert sent == ["1742459237000", "1742459240000", "1742459243000"]
    assert len(signatures) == 3


@pytest.mark.parametrize(
    ("trouble", "kind", "said"),
    [
        (BUSY, errors.TooManyRequests, "too many requests (429: Rate Limited)"),
        (DOWN, errors.ServiceBroken, "the service failed (503)"),
        (
            httpx.ConnectError,
            errors.Unreachable,
            "no answer from https://dataflow.apigw.ntruss.com (ConnectError: the network is scripted); "
            "check that the service is running and the network reaches it",
        ),
        (
            httpx.ProxyError,
            errors.Unreachable,
            "no answer from https://dataflow.apigw.ntruss.com (ProxyError: the network is scripted); the proxy "
            "refused; check HTTPS_PROXY and NO_PROXY, and what the proxy allows",
        ),
        (
            httpx.DecodingError,
            errors.Unreachable,
            "no answer from https://dataflow.apigw.ntruss.com (DecodingError: the network is scripted); "
            "check that the service is running and the network reaches it",
        ),
    ],
    ids=["busy", "down", "refused", "proxy", "garbled"],
)
async def test_a_call_raises_after_four_attempts(trouble, kind, said):
    fake = server(trouble)

    with pytest.raises(kind) as caught:
        await client(fake).get_job("J")

    assert (type(caught.value), str(caught.value)) == (kind, said)
    assert len(fake.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
async def test_a_refusal_is_not_retried(status):
    fake = server(httpx.Response(status))

    with pytest.raises(errors.RequestRejected):
        await client(fake).get_job("J")

    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    "trouble", [BUSY, httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError]
)
@pytest.mark.parametrize(
    "start", [lambda c: c.execute_job("J", CONDITION), lambda c: c.create_job("daily")], ids=["run", "job"]
)
async def test_a_start_that_did_not_arrive_is_retried(start, trouble):
    fake = server(trouble, trouble, {**RUN, **JOB})

    await start(client(fake))

    assert len(fake.requests) == 3


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>slow down", b'{"error":{"errorCode":"429"}}'],
    ids=["empty", "HTML", "an unknown code"],
)
async def test_a_429_that_is_not_the_gateway_s_leaves_the_outcome_of_a_start_unknown(body):
    fake = server(httpx.Response(429, content=body, headers={"retry-after": "0"}), RUN)

    with pytest.raises(errors.OutcomeUnknown, match="too many requests"):
        await client(fake).execute_job("J", CONDITION)

    assert len(fake.requests) == 1, "it is not sent again"


# Attempts


class Log:
    """Keeps the attempts as they were written and noted."""

    def __init__(self, refuses: int = 0) -> None:
        self.refuses = refuses
        self.events: list[tuple[str, int, str]] = []
        self.attempts: dict[int, Attempt] = {}

    async def write(self, attempt: Attempt) -> None:
        self.events.append(("write", attempt.number, attempt.outcome))
        if attempt.number == self.refuses:
            raise errors.ConfigError("no space left")
        self.attempts[attempt.number] = attempt

    def note(self, attempt: Attempt) -> None:
        self.events.append(("note", attempt.number, attempt.outcome))
        self.attempts[attempt.number] = attempt


UNSIGNED = httpx.Response(
    401, headers={"date": formatdate(NOW + 3600, usegmt=True)}, json={"error": {"errorCode": "200"}}
)


@pytest.mark.parametrize(
    ("answers", "outcomes"),
    [
        ([RUN], ["answered"]),
        ([httpx.ReadTimeout], ["lost"]),
        ([httpx.Response(503)], ["lost"]),
        ([httpx.Response(200, content=b"<html>")], ["answered"]),
        ([httpx.Response(429)], ["lost"]),
        ([BUSY, httpx.ConnectError, RUN], ["unsent", "unsent", "answered"]),
        ([UNSIGNED, RUN], ["unsent", "answered"]),
        ([UNSIGNED, httpx.ReadError], ["unsent", "lost"]),
        ([httpx.Response(400)], ["unsent"]),
    ],
    ids=[
        "answered", "timed out", "broken", "answered with garbage", "a 429 of a proxy", "sent again", "signed again",
        "lost after it was signed again", "refused",
    ],
)  # fmt: skip
async def test_each_attempt_is_written_before_it_is_sent_and_noted_when_it_ended(answers, outcomes):
    log, fake = Log(), server(*answers)

    with contextlib.suppress(errors.DataflowError):
        await client(fake).execute_job("J", CONDITION, attempts=log)

    assert [attempt.outcome for attempt in log.attempts.values()] == outcomes
    assert [number for event, number, _ in log.events if event == "write"] == list(
        range(1, len(outcomes) + 1)
    )
    stamps = [int(request.headers["x-ncp-apigw-timestamp"]) for request in fake.requests]
    assert [attempt.signed_ms for attempt in log.attempts.values()] == stamps


async def test_an_attempt_has_what_was_signed_and_measured():
    fake = server(UNSIGNED, httpx.ReadTimeout)
    log, steady = Log(), count(100)

    with pytest.raises(errors.OutcomeUnknown):
        await client(fake, now=lambda: NOW, steady=lambda: float(next(steady))).execute_job(
            "J", CONDITION, attempts=log
        )

    first, second = log.attempts.values()
    assert (first.signed_ms, first.sent_us) == (round(NOW * 1e3), round(NOW * 1e6))
    assert (first.sent_steady_us, first.offset_us, first.ended_us) == (100_000_000, None, round(NOW * 1e6))
    assert (second.signed_ms, second.sent_us) == (round((NOW + 3600.5) * 1e3), round(NOW * 1e6))
    # Read half a second after the request was sent, of which one took a second; a hundred parts per million for the rest.
    assert second.offset_us == pytest.approx(3_602_000_000, abs=1_500_000)
    assert second.uncertainty_us == pytest.approx(1_000_000, abs=1_000)
    assert second.ended_steady_us is not None
    assert second.ended_steady_us > second.sent_steady_us


async def test_an_attempt_that_cannot_be_written_is_not_sent():
    fake, log = server(BUSY, RUN), Log(refuses=2)

    with pytest.raises(errors.ConfigError, match="no space left"):
        await client(fake).execute_job("J", CONDITION, attempts=log)

    assert len(fake.requests) == 1
    assert [attempt.outcome for attempt in log.attempts.values()] == ["unsent"]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (httpx.ReadTimeout, "ReadTimeout"),
        (httpx.WriteTimeout, "WriteTimeout"),
        (httpx.ReadError, "ReadError"),
        (httpx.WriteError, "WriteError"),
        (httpx.RemoteProtocolError, "RemoteProtocolError"),
        (httpx.DecodingError, "DecodingError"),
        (httpx.Response(500), "the service failed (500)"),
        (httpx.Response(502, text="<html>x</html>"), "the service failed (502: x)"),
        (httpx.Response(503), "the service failed (503)"),
        (httpx.Response(504), "the service failed (504)"),
    ],
    ids=[
        "read timeout",
        "write timeout",
        "reset",
        "broken pipe",
        "hung up",
        "garbled",
        "500",
        "502",
        "503",
        "504",
    ],
)
@pytest.mark.parametrize(
    "start", [lambda c: c.execute_job("J", CONDITION), lambda c: c.create_job("daily")], ids=["run", "job"]
)
async def test_a_start_with_a_lost_response_is_sent_once(start, trouble, said):
    fake = server(trouble, RUN)

    with pytest.raises(errors.OutcomeUnknown) as caught:
        await start(client(fake))

    assert str(caught.value) == (
        f"the response from https://dataflow.apigw.ntruss.com was lost ({said}): the service may or may not have "
        "carried out the request. It is not sent again automatically; check the job's runs before you send it again."
    )
    assert len(fake.requests) == 1


async def test_a_retried_start_is_not_sent_again_after_a_lost_response():
    fake = server(httpx.ConnectError, httpx.ReadTimeout, RUN)

    with pytest.raises(errors.OutcomeUnknown):
        await client(fake).execute_job("J", CONDITION)

    assert len(fake.requests) == 2


async def test_a_start_that_never_arrives_raises_unreachable():
    fake = server(httpx.ConnectError)

    with pytest.raises(errors.Unreachable):
        await client(fake).execute_job("J", CONDITION)

    assert len(fake.requests) == 4


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (errors.TooManyRequests("", status=429, retry_after=7.0), 7.0),
        (errors.TooManyRequests("", status=429, retry_after=0.0), 0.0),
        (errors.TooManyRequests("", status=429), True),
        (errors.TooManyRequests("", status=429, retry_after=15.0), 15.0),
        (errors.TooManyRequests("", status=429, retry_after=16.0), False),
        (errors.ServiceBroken("", status=503, retry_after=2.0), 2.0),
        (errors.ServiceBroken("", status=503), True),
        (errors.Unreachable(), True),
        (errors.OutcomeUnknown(), False),
        (errors.NotFound("", status=404), False),
        (ValueError(), False),
    ],
    ids=["7 seconds", "at once", "no time", "the longest", "too long", "down for 2 seconds", "down", "unreachable", "unknown", "refused", "a bug"],
)  # fmt: skip
def test_the_pause_is_the_retry_after_of_the_service(error, again):
    said = _retry_after(error)

    assert (said, type(said)) == (again, type(again))


async def test_a_retry_after_of_zero_causes_no_pause():
    fake = server(httpx.Response(429, headers={"retry-after": "0"}), JOB)

    stamina.set_testing(False)  # with real pauses: without the header the first one lasts a second
    async with asyncio.timeout(10):
        await client(fake).get_job("J")

    assert len(fake.requests) == 2


async def test_a_retry_after_beyond_the_time_of_a_call_is_left_to_the_caller():
    fake = server(httpx.Response(429, headers={"retry-after": "600"}))

    with pytest.raises(errors.TooManyRequests) as caught:
        await client(fake).get_job("J")

    assert caught.value.retry_after == 300.0
    assert len(fake.requests) == 1


# Real ports


async def test_a_closed_port_is_unreachable():
    async with listening(lambda _: None) as (address, heads):
        pass

    async with Client(ACCESS, SECRET, address) as real:
        with pytest.raises(errors.Unreachable, match="ConnectError"):
            await real.execute_job("J", CONDITION)

    assert heads == []


async def test_a_service_that_hangs_up_leaves_the_outcome_unknown():
    async with listening(lambda _: None) as (address, heads), Client(ACCESS, SECRET, address) as real:
        with pytest.raises(errors.OutcomeUnknown):
            await real.execute_job("J", CONDITION)

    assert len(heads) == 1


# Secrets


async def test_no_log_record_holds_the_secret(caplog):
    caplog.set_level(logging.DEBUG)

    async with (
        listening(lambda _: http_answer(JOB)) as (address, heads),
        Client(ACCESS, SECRET, address) as real,
    ):
        await real.get_job("J")
        await real.create_job("daily")
    await client(server(BUSY, httpx.ConnectError, JOB)).get_job("J")

    said = "\n".join(f"{record.name} {record.getMessage()} {vars(record)}" for record in caplog.records)
    assert len(heads) == 2
    assert "httpcore" in said
    assert "httpx" in said
    assert "stamina.retry_scheduled" in said
    assert SECRET not in said


async def test_retries_print_nothing_without_logging_handlers():
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("stamina").handlers)


@pytest.mark.parametrize(
    "trouble",
    [
        BUSY,
        DOWN,
        httpx.Response(401, json={"error": {"errorCode": "200"}}),
        httpx.Response(200, text="x"),
        httpx.ConnectError,
        httpx.ReadTimeout,
    ],
    ids=["429", "503", "401", "garbage", "refused", "timeout"],
)
async def test_no_error_in_the_chain_holds_the_secret(trouble):
    with pytest.raises(errors.ServiceError) as caught:
        await client(server(trouble)).execute_job("J", CONDITION)

    chain: list[BaseException] = []
    link: BaseException | None = caught.value
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert SECRET not in shown
    assert SECRET not in " ".join(f"{error!r} {error} {vars(error)}" for error in chain)


async def test_no_text_of_a_client_holds_the_secret():
    made = client(server(JOB))
    auth = SignedAuth(ACCESS, SecretStr(SECRET))

    assert repr(made) == "Client('https://dataflow.apigw.ntruss.com')"
    assert SECRET not in f"{made} {vars(made)} {vars(made._sender)} {auth!r} {vars(auth)}"


def test_a_curl_command_shows_no_credentials():
    shown = as_curl(
        "https://gw.example.com",
        "/jobs/J/executions",
        {"parameters": {"$a": "it's 매출"}},
        {"triggerId": None, "workflowId": "W 1"},
        ACCESS,
    )

    assert shown == (
        "curl --request POST 'https://gw.example.com/api/v1/jobs/J/executions?workflowId=W+1' \\\n"
        "  --header 'x-ncp-apigw-timestamp: <milliseconds since 1970>' \\\n"
        "  --header 'x-ncp-iam-access-key: ACCE****' \\\n"
        "  --header 'x-ncp-apigw-signature-v2: <redacted>' \\\n"
        "  --header 'content-type: application/json' \\\n"
        "  --data '{\n"
        '  "parameters": {\n'
        '    "$a": "it\'"\'"\'s 매출"\n'
        "  }\n"
        "}'"
    )


def test_a_curl_command_without_a_query_has_no_question_mark():
    shown = as_curl("http://127.0.0.1:1", "/jobs/J/executions", {}, {"triggerId": None}, "")

    assert shown.startswith("curl --request POST http://127.0.0.1:1/api/v1/jobs/J/executions \\\n")
