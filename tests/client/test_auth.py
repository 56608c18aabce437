import asyncio
import os
from email.utils import formatdate

import httpx
import pytest
from pydantic import SecretStr

from dataflow_magic import errors
from dataflow_magic.client import Client, SignedAuth
from dataflow_magic.models.attempt import ServiceClock
from tests.client.fakes import ACCESS, CONDITION, DOWN, JOB, NOW, RUN, SECRET, client, server

THIS_PROCESS = f"process {os.getpid()}"

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_no_pauses")]


async def test_the_signature_matches_a_vector_computed_by_hand():
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json=RUN)

    secret = "SECRETKEY0000000000000000000000000EXAMPLE"
    async with Client(ACCESS, secret, transport=httpx.MockTransport(answer), now=lambda: NOW) as signed:
        await signed.execute_job("gqigvH000000", CONDITION)

    signature = sent[0].headers["x-ncp-apigw-signature-v2"]
    assert signature == "bsEqyk7T1aQLpkTkbH6BvKxB/dV4U/gGR/ZFndCR1Uc="


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("hunter2\n", "a blank"),
        ("hun ter2", "a blank"),
        ("hun\tter2", "a blank"),
        ("hunter2\u3000", "a blank"),
        ("'hunter2'", "a quotation mark"),
        ("“hunter2”", "a quotation mark"),
        ("hunter2\u200b", "a character that no key has"),
        ("hunter2\udcff", "a character that no key has"),
        ("매hunter2", "a character that no key has"),
        ("hunter2\0", "a character that no key has"),
    ],
    ids=ascii,
)
def test_a_key_that_no_header_can_carry_is_refused_without_quoting_it(key, fault):
    with pytest.raises(errors.ConfigError) as in_access:
        Client(key, SECRET)
    with pytest.raises(errors.ConfigError) as in_secret:
        Client(ACCESS, key)

    assert str(in_access.value) == f"the access key holds {fault}; copy the key again without it"
    assert str(in_secret.value) == f"the secret key holds {fault}; copy the key again without it"


# Clock


async def test_a_refusal_with_the_corrected_clock_names_the_keys():
    refusal = httpx.Response(
        401,
        json={"error": {"errorCode": "200", "message": "Authentication Failed", "details": ""}},
        headers={"date": formatdate(NOW, usegmt=True)},
    )

    fake = server(refusal, refusal)
    with pytest.raises(errors.NotSignedIn) as caught:
        await client(fake, now=lambda: NOW + 3600).get_job("J")

    # The second refusal came with the service's time, so the clock was not the cause.
    assert len(fake.requests) == 2
    assert str(caught.value) == (
        "signature refused (401: Authentication Failed); check the access key and the secret key"
    )


def refused_at(seconds: float) -> httpx.Response:
    return httpx.Response(
        401,
        json={"error": {"errorCode": "200", "message": "Authentication Failed", "details": ""}},
        headers={"date": formatdate(seconds, usegmt=True)},
    )


def stamps(fake) -> list[float]:
    return [int(request.headers["x-ncp-apigw-timestamp"]) / 1000 for request in fake.requests]


@pytest.mark.parametrize("ahead", [-3600, 3600], ids=["ours is behind", "ours is ahead"])
async def test_a_request_refused_for_its_clock_is_signed_again_with_the_service_s_time(ahead):
    fake = server(refused_at(NOW), JOB, JOB)
    ours = client(fake, now=lambda: NOW + ahead)

    await ours.get_job("J")
    await ours.get_job("J")

    # The header has whole seconds, so half a second is added.
    assert stamps(fake) == [NOW + ahead, NOW + 0.5, NOW + 0.5]
    assert ours.clock_offset == 0.5 - ahead


async def test_a_start_refused_for_its_clock_is_sent_again():
    fake = server(refused_at(NOW), RUN)

    run = await client(fake, now=lambda: NOW + 3600).execute_job("J")

    assert run.job_execution_id
    assert len(fake.requests) == 2


async def test_each_of_two_requests_refused_at_once_for_the_clock_is_signed_again():
    refused, both = [], asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        if abs(int(request.headers["x-ncp-apigw-timestamp"]) / 1000 - NOW) < 300:
            return httpx.Response(200, json=JOB)
        refused.append(request)
        if len(refused) == 2:
            both.set()
        await both.wait()
        return refused_at(NOW)

    transport = httpx.MockTransport(answer)
    async with Client(ACCESS, SECRET, transport=transport, now=lambda: NOW + 3600) as ours:
        jobs = await asyncio.gather(ours.get_job("J"), ours.get_job("J"))

    assert [job.name for job in jobs] == ["daily_sales", "daily_sales"]


async def test_the_clock_is_measured_at_the_middle_of_the_request():
    fake = server(refused_at(NOW), JOB)
    seconds = iter([NOW - 400, NOW - 300, NOW, NOW])
    ours = client(fake, now=lambda: next(seconds), steady=lambda: 0.0)

    await ours.get_job("J")

    assert ours.clock_offset == 350.5


async def test_a_clock_that_was_set_meanwhile_is_measured_again():
    fake = server(refused_at(NOW), JOB, refused_at(NOW), JOB)
    clock = [NOW + 3600.0]
    ours = client(fake, now=lambda: clock[0])
    await ours.get_job("J")
    clock[0] = NOW

    await ours.get_job("J")

    assert ours.clock_offset == 0
    assert stamps(fake)[-1] == NOW


async def test_the_newest_response_with_a_date_gives_the_service_s_time():
    fake = server(
        httpx.Response(200, json=JOB, headers={"date": formatdate(NOW - 240, usegmt=True)}),
        httpx.Response(200, json=JOB),
        httpx.Response(200, json=JOB, headers={"date": formatdate(NOW - 9999, usegmt=True), "age": "9759"}),
    )
    ours = client(fake, now=lambda: NOW, steady=lambda: 77.0)

    assert ours.service_time(77.0) == NOW - 300, "the earliest time at which signatures are accepted"
    assert ours.service_time(70.0) == NOW - 307
    for _ in range(3):
        await ours.get_job("J")
        # The header has whole seconds: the time is the middle of one, and the earliest is half of one before.
        assert ours.service_time(77.0) == NOW - 240
        assert ours.service_clock == ServiceClock(
            round((NOW - 239.5) * 1e6), 77_000_000, THIS_PROCESS, 500_000
        )
    assert ours.clock_offset == 0


async def test_the_service_s_time_is_told_by_the_steady_clock_whatever_this_clock_is_set_to():
    fake = server(httpx.Response(200, json=JOB, headers={"date": formatdate(NOW, usegmt=True)}))
    wall, steady = [NOW], [50.0]
    ours = client(fake, now=lambda: wall[0], steady=lambda: steady[0])
    await ours.get_job("J")

    wall[0], steady[0] = NOW - 7000, 1050.0
    # Half a second of the header, and a hundred parts per million of the 1000 that passed.
    assert ours.service_time(1050.0) == pytest.approx(NOW + 1000.5 - 0.5 - 0.1)


async def test_a_client_starts_with_the_offset_of_an_earlier_one():
    fake = server(JOB)
    ours = client(fake, clock_offset=-3600.0)

    await ours.get_job("J")

    assert ours.clock_offset == -3600.0
    assert stamps(fake) == [NOW - 3600]


async def test_a_clock_is_corrected_only_after_a_refusal():
    fake = server(httpx.Response(200, json=JOB, headers={"date": formatdate(NOW + 3600, usegmt=True)}))
    ours = client(fake)

    await ours.get_job("J")

    assert ours.clock_offset == 0.0


async def test_a_call_is_signed_again_for_its_clock_only_once():
    fake = server(refused_at(NOW + 1000), DOWN, refused_at(NOW + 2000), JOB)
    ours = client(fake)

    with pytest.raises(errors.NotSignedIn):
        await ours.get_job("J")
    await ours.get_job("J")

    assert stamps(fake) == [NOW, NOW + 1000.5, NOW + 1000.5, NOW + 2000.5]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_read_is_retried_after_the_correction(status):
    fake = server(refused_at(NOW + 1000), httpx.Response(status), JOB)

    await client(fake).get_job("J")

    assert stamps(fake) == [NOW, NOW + 1000.5, NOW + 1000.5]


async def test_a_lost_response_after_the_correction_leaves_the_outcome_of_a_start_unknown():
    fake = server(refused_at(NOW + 1000), httpx.ReadTimeout, RUN)

    with pytest.raises(errors.OutcomeUnknown):
        await client(fake).execute_job("J", CONDITION)

    assert len(fake.requests) == 2


@pytest.mark.parametrize(
    "date",
    [None, "yesterday", formatdate(NOW + 59, usegmt=True), formatdate(NOW - 60, usegmt=True)],
    ids=["no date", "words", "a minute ahead", "a minute behind"],
)
async def test_a_refusal_that_shows_no_wrong_clock_is_final(date):
    refusal = httpx.Response(401, headers={"date": date} if date else {})
    fake = server(refusal)

    ours = client(fake, now=lambda: NOW)
    with pytest.raises(errors.NotSignedIn, match="check the access key"):
        await ours.get_job("J")

    assert len(fake.requests) == 1
    assert ours.clock_offset == 0.0


def test_the_clock_of_a_plain_httpx_client_is_corrected():
    fake = server(refused_at(NOW), JOB)
    auth = SignedAuth(ACCESS, SecretStr(SECRET), now=lambda: NOW - 3600)

    with httpx.Client(auth=auth, transport=httpx.MockTransport(fake)) as plain:
        assert plain.post("http://127.0.0.1:1/api/v1/jobs", json={"name": "daily"}).status_code == 200

    assert stamps(fake) == [NOW - 3600, NOW + 0.5]
    assert [request.content for request in fake.requests] == [b'{"name":"daily"}'] * 2
    assert auth.clock_offset == 3600.5
