import asyncio
import json
import logging
import traceback
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dataflow_magic import errors
from dataflow_magic.client import Client, SignedAuth
from dataflow_magic.client.client import _segment, _worth_repeating, as_curl, execution_body
from dataflow_magic.models.wire import JobCondition, JobExecution
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


# What is sent


async def test_a_run_is_started_by_the_request_of_the_page():
    fake = server(RUN)

    started = await client(fake).execute_job(
        "gqigvH000000",
        JobCondition(num_worker=2, nrn="매출"),
        {"$table_name": "test.sample_table2", "$n": 3},
        trigger_id="T",
        workflow_id="W",
    )

    [request] = fake.requests
    assert fake.targets == ["POST /api/v1/jobs/gqigvH000000/executions?triggerId=T&workflowId=W"]
    assert (
        request.content
        == (
            '{"jobCondition":{"numWorker":2,"nrn":"매출"},'
            '"parameters":{"$table_name":"test.sample_table2","$n":3}}'
        ).encode()
    )
    assert request.url.host == "dataflow.apigw.ntruss.com"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-ncp-apigw-timestamp"] == "1742459237000"
    assert request.headers["x-ncp-iam-access-key"] == ACCESS
    assert started == JobExecution(job_execution_id="p4Y5Pk000000", job_id="gqigvH000000", status="READY")


@pytest.mark.parametrize(
    ("call", "target"),
    [
        (lambda c: c.execute_job("J"), "POST /api/v1/jobs/J/executions"),
        (lambda c: c.execute_job("J", workflow_id="W"), "POST /api/v1/jobs/J/executions?workflowId=W"),
        (
            lambda c: c.execute_job("J", trigger_id="a b&c=1"),
            "POST /api/v1/jobs/J/executions?triggerId=a+b%26c%3D1",
        ),
        (lambda c: c.get_execution("J", "R"), "GET /api/v1/jobs/J/executions/R"),
        (lambda c: c.list_executions("J"), "GET /api/v1/jobs/J/executions?page=0&limit=1000"),
        (lambda c: c.list_executions("J", page=2, limit=5), "GET /api/v1/jobs/J/executions?page=2&limit=5"),
        (lambda c: c.cancel_execution("J", "R"), "POST /api/v1/jobs/J/executions/R/cancel"),
        (lambda c: c.get_job("J"), "GET /api/v1/jobs/J"),
        (lambda c: c.list_jobs(), "GET /api/v1/jobs?page=0&limit=1000"),
        (lambda c: c.list_jobs(name="일:*~ x"), "GET /api/v1/jobs?name=%EC%9D%BC%3A%2A~+x&page=0&limit=1000"),
        (lambda c: c.create_job("daily"), "POST /api/v1/jobs"),
        (lambda c: c.update_job("J", condition=CONDITION), "PATCH /api/v1/jobs/J"),
        (lambda c: c.local_objects(), "GET /local/v1/service"),
        (lambda c: c.get_job("a/b?c#d e%2F"), "GET /api/v1/jobs/a%2Fb%3Fc%23d%20e%252F"),
        (lambda c: c.get_execution("../x", "매"), "GET /api/v1/jobs/..%2Fx/executions/%EB%A7%A4"),
    ],
    ids=[
        "run",
        "run of a workflow",
        "run with a strange id in the query",
        "one run",
        "runs",
        "a page of runs",
        "cancel",
        "one job",
        "jobs",
        "jobs by a strange name",
        "new job",
        "changed job",
        "the local service",
        "strange job id",
        "strange ids",
    ],
)
async def test_each_call_has_its_address_and_is_signed_over_it(call, target):
    fake = server({**RUN, **JOB, "list": [], "objects": "/x"})

    await call(client(fake))  # the fake refuses a signature over anything but the raw target

    assert fake.targets == [target]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_id_can_change_which_address_is_called(text):
    if text in {".", ".."}:
        return
    url = httpx.URL(f"http://x/api/v1/jobs/{_segment(text)}/executions?page=0")

    before, inside, after = url.raw_path.decode().partition("/executions?page=0")
    assert before == f"/api/v1/jobs/{_segment(text)}"
    assert (inside, after) == ("/executions?page=0", "")
    assert url.path == f"/api/v1/jobs/{text}/executions"


@pytest.mark.parametrize("job_id", ["", ".", ".."])
async def test_an_id_that_is_none_is_refused_before_anything_is_sent(job_id):
    fake = server(RUN)

    with pytest.raises(errors.CellError, match="is not an id"):
        await client(fake).execute_job(job_id)

    assert fake.requests == []


async def test_a_job_is_changed_by_what_was_given():
    fake = server(JOB)

    job = await client(fake).update_job(
        "gqigvH000000", type="SCRIPT", condition=JobCondition(num_worker=2, nrn=None)
    )

    assert json.loads(fake.requests[0].content) == {"type": "SCRIPT", "jobCondition": {"numWorker": 2}}
    assert job.name == "daily_sales"


UNKNOWN_ADDRESS = {
    "error": {"errorCode": "300", "message": "Not Found Exception", "details": "URL not found."}
}


@pytest.mark.parametrize(
    "refusal",
    [httpx.Response(404, json=UNKNOWN_ADDRESS), httpx.Response(405), httpx.Response(404)],
    ids=["an address the gateway does not know", "no such method", "no words"],
)
async def test_a_service_of_older_pages_is_asked_to_change_a_job_in_its_own_way(refusal):
    fake = server(refusal, JOB)

    job = await client(fake).update_job("J", condition=CONDITION)

    assert fake.targets == ["PATCH /api/v1/jobs/J", "PUT /api/v1/jobs/J/executions"]
    assert json.loads(fake.requests[1].content) == {
        "jobCondition": {"nrn": "n", "scriptPath": "b/s/", "logPath": "b/l/"}
    }
    assert job.name == "daily_sales"


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (404, "not-found", errors.NotFound),
        (400, "bad-parameter", errors.BadParameter),
        (403, "x", errors.NotAllowed),
    ],
)
async def test_a_change_the_service_refuses_is_not_asked_for_in_another_way(status, kind, error):
    fake = server(httpx.Response(status, json={"detail": "no", "errorType": kind}))

    with pytest.raises(error):
        await client(fake).update_job("J", condition=CONDITION)

    assert fake.targets == ["PATCH /api/v1/jobs/J"]


async def test_a_change_is_asked_for_again_where_no_answer_came():
    fake = server(httpx.ReadTimeout, httpx.Response(503), JOB)

    assert (await client(fake).update_job("J", condition=CONDITION)).name == "daily_sales"
    assert fake.targets == ["PATCH /api/v1/jobs/J"] * 3


async def test_a_new_job_is_sent_with_what_was_given_of_it():
    fake = server(JOB)

    job = await client(fake).create_job(
        "daily_sales", condition=JobCondition(num_worker=2, nrn=None), max_concurrent_runs=3, nodes=[]
    )

    assert json.loads(fake.requests[0].content) == {
        "name": "daily_sales",
        "type": "SCRIPT",
        "nodes": [],
        "maxConcurrentRuns": 3,
        "jobCondition": {"numWorker": 2},
    }
    assert job.name == "daily_sales"


@pytest.mark.parametrize(
    ("condition", "parameters", "body"),
    [
        (None, None, {}),
        (JobCondition(), {}, {"jobCondition": {}}),
        (
            JobCondition(nrn=None, timeout=0),
            {"$a": ""},
            {"jobCondition": {"timeout": 0}, "parameters": {"$a": ""}},
        ),
        (
            JobCondition.model_validate(
                {"zone": None, "spot": True, "logPath": "l", "workerType": "DEFAULT"}
            ),
            None,
            {"jobCondition": {"workerType": "DEFAULT", "logPath": "l", "spot": True}},
        ),
    ],
    ids=["nothing", "nothing in it", "what is None", "what is unknown"],
)
def test_a_body_holds_what_was_set_in_the_page_s_order(condition, parameters, body):
    made = execution_body(condition, parameters)

    assert made == body
    assert list(made.get("jobCondition", {})) == list(body.get("jobCondition", {}))


async def test_a_slash_at_the_end_of_the_address_is_not_doubled():
    fake = server(JOB)

    await client(fake, endpoint="https://gw.example.com/").get_job("J")

    assert str(fake.requests[0].url) == "https://gw.example.com/api/v1/jobs/J"


# What is read


@pytest.mark.parametrize(
    ("content", "asked"),
    [(b"true", True), (b"", True), (b" false\n", False), (b'{"ok": 1}', True), (b"\xff", True)],
)
async def test_a_cancel_is_taken_as_asked_unless_the_answer_says_no(content, asked):
    fake = server(httpx.Response(200, content=content))

    assert await client(fake).cancel_execution("J", "R") is asked


async def test_json_is_read_whatever_its_content_type():
    fake = server(httpx.Response(200, text=json.dumps(JOB), headers={"content-type": "text/plain"}))

    assert (await client(fake).get_job("J")).name == "daily_sales"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>ok</html>",
        b"null",
        b"[]",
        b"{}",
        b'{"jobId": 5}',
        b"\xff",
        b"{" * 5,
        b'{"jobId": "gqi',
        b"[" * 100_000,
    ],
    ids=[
        "empty",
        "HTML",
        "null",
        "a list",
        "no id",
        "a number for an id",
        "not text",
        "broken",
        "cut off",
        "nesting without end",
    ],
)
async def test_an_answer_outside_the_contract_is_the_service_s_fault(content):
    fake = server(httpx.Response(200, content=content))

    with pytest.raises(errors.ServiceBroken) as caught:
        await client(fake).get_job("J")

    assert str(caught.value).startswith("the service answered 200 with something that is not a Job (")
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>ok</html>", b"{}", b'{"jobExecutionId": "p4Y', b"\xff", b"[" * 100_000],
    ids=["empty", "HTML", "no id", "cut off", "not text", "nesting without end"],
)
async def test_a_start_that_was_taken_but_not_told_is_of_unknown_outcome(content):
    fake = server(httpx.Response(202, content=content))

    with pytest.raises(errors.OutcomeUnknown, match="something that is not a JobExecution"):
        await client(fake).execute_job("J", CONDITION)

    assert len(fake.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_any_success_of_a_start_is_one(status):
    fake = server(httpx.Response(status, json=RUN))

    assert (await client(fake).execute_job("J", CONDITION)).status == "READY"


@pytest.mark.parametrize(
    ("sizes", "limit", "asked"),
    [([3], 5, 1), ([5, 5, 2], 5, 3), ([5, 0], 5, 2), ([0], 5, 1), ([5] * 30, 5, 4)],
    ids=["a short page", "full pages", "an empty page after a full one", "none", "no more than asked for"],
)
async def test_pages_are_read_until_one_is_not_full(sizes, limit, asked):
    fake = server(*({"list": [RUN] * size, "page": 0, "limit": limit} for size in sizes))

    pages = [len(page.items) async for page in client(fake).pages("J", limit=limit, most=4)]

    assert pages == sizes[:asked]
    assert fake.targets == [f"GET /api/v1/jobs/J/executions?page={n}&limit={limit}" for n in range(asked)]


async def test_a_service_with_smaller_pages_is_read_to_the_end():
    fake = server(*({"list": [RUN] * size, "limit": 2} for size in (2, 2, 1)))

    assert [len(page.items) async for page in client(fake).pages("J")] == [2, 2, 1]
    assert fake.targets == [f"GET /api/v1/jobs/J/executions?page={n}&limit=1000" for n in range(3)]


async def test_a_service_whose_pages_never_end_is_left_after_twenty():
    fake = server({"list": [RUN], "limit": 1})

    assert len([page async for page in client(fake).pages("J")]) == 20


@pytest.mark.parametrize(
    ("answer", "folder"),
    [
        (httpx.Response(200, json={"objects": "/data/objects"}), Path("/data/objects")),
        (httpx.Response(404), None),
        (httpx.Response(401), None),
        (httpx.Response(200, json={}), None),
        (httpx.Response(200, json=[]), None),
        (httpx.Response(200, json={"objects": None}), None),
        (httpx.Response(200, text="<html>"), None),
        (httpx.Response(200, text="[" * 100_000), None),
    ],
    ids=[
        "a local service",
        "a stranger",
        "one with other keys",
        "no folder",
        "a list",
        "null",
        "HTML",
        "nesting",
    ],
)
async def test_only_a_local_service_has_a_folder_of_objects(answer, folder):
    assert await client(server(answer)).local_objects() == folder


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "call", [lambda c: c.get_job("J"), lambda c: c.execute_job("J", CONDITION)], ids=["read", "start"]
)
async def test_a_redirect_is_refused_by_name_and_not_followed(call, status):
    fake = server(httpx.Response(status, headers={"location": "https://elsewhere.example.com/x?y"}))

    with pytest.raises(errors.RequestRejected) as caught:
        await call(client(fake))

    assert str(caught.value) == (
        f"redirected to elsewhere.example.com ({status}), where nothing was sent; "
        "check the target's address and the network's sign-in"
    )
    assert len(fake.requests) == 1


@pytest.mark.parametrize("location", ["https://x:port/", "javascript:alert(1)"])
async def test_a_redirect_to_what_is_no_address_leaves_a_start_of_unknown_outcome(location):
    fake = server(httpx.Response(307, headers={"location": location}))

    with pytest.raises(errors.OutcomeUnknown, match="RemoteProtocolError"):
        await client(fake).execute_job("J", CONDITION)

    assert len(fake.requests) == 1


async def test_each_wait_of_a_request_has_an_end():
    fake = server(JOB, JOB)

    await client(fake).get_job("J")
    await client(fake, timeout=5.0).get_job("J")

    usual, own = (request.extensions["timeout"] for request in fake.requests)
    assert usual == {"connect": 10.0, "read": 30.0, "write": 30.0, "pool": 10.0}
    assert own == {"connect": 10.0, "read": 5.0, "write": 5.0, "pool": 10.0}


# Trying again


@pytest.mark.parametrize(
    "trouble",
    [BUSY, DOWN, httpx.Response(500), httpx.Response(502, text="<html>"), httpx.ConnectError, httpx.ReadTimeout,
     httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectTimeout],
    ids=["429", "503", "500", "HTML 502", "refused", "timeout", "reset", "hung up", "no connection"],
)  # fmt: skip
@pytest.mark.parametrize(
    "call", [lambda c: c.get_job("J"), lambda c: c.cancel_execution("J", "R")], ids=["read", "cancel"]
)
async def test_what_may_be_asked_twice_is_tried_again(call, trouble):
    fake = server(trouble, trouble, trouble, JOB)

    assert await call(client(fake))

    assert len(fake.requests) == 4


async def test_each_attempt_is_signed_anew():
    fake = server(BUSY, DOWN, JOB)
    seconds = count(NOW)

    await client(fake, now=lambda: next(seconds)).get_job("J")

    sent = [request.headers["x-ncp-apigw-timestamp"] for request in fake.requests]
    signatures = {request.headers["x-ncp-apigw-signature-v2"] for request in fake.requests}
    # Each attempt reads the clock before and after it, and once more for its error.
    assert sent == ["1742459237000", "1742459240000", "1742459243000"]
    assert len(signatures) == 3


@pytest.mark.parametrize(
    ("trouble", "kind", "said"),
    [
        (BUSY, errors.TooManyRequests, "too many requests (429)"),
        (DOWN, errors.ServiceBroken, "the service failed (503)"),
        (
            httpx.ConnectError,
            errors.Unreachable,
            "no answer from https://dataflow.apigw.ntruss.com (ConnectError: the network is scripted); "
            "check that it is up and the network too",
        ),
        (
            httpx.ProxyError,
            errors.Unreachable,
            "no answer from https://dataflow.apigw.ntruss.com (ProxyError: the network is scripted); the proxy "
            "refused; check HTTPS_PROXY and NO_PROXY, and what the proxy lets through",
        ),
        (
            httpx.DecodingError,
            errors.Unreachable,
            "no answer from https://dataflow.apigw.ntruss.com (DecodingError: the network is scripted); "
            "check that it is up and the network too",
        ),
    ],
    ids=["busy", "down", "refused", "proxy", "garbled"],
)
async def test_what_stays_in_trouble_is_given_up_after_four_attempts(trouble, kind, said):
    fake = server(trouble)

    with pytest.raises(kind) as caught:
        await client(fake).get_job("J")

    assert (type(caught.value), str(caught.value)) == (kind, said)
    assert len(fake.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
async def test_a_refusal_is_not_tried_again(status):
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
async def test_a_start_that_certainly_did_not_arrive_is_tried_again(start, trouble):
    fake = server(trouble, trouble, {**RUN, **JOB})

    await start(client(fake))

    assert len(fake.requests) == 3


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
async def test_a_start_whose_answer_is_lost_is_sent_once(start, trouble, said):
    fake = server(trouble, RUN)

    with pytest.raises(errors.OutcomeUnknown) as caught:
        await start(client(fake))

    assert str(caught.value) == (
        f"the request went to https://dataflow.apigw.ntruss.com and its answer was lost ({said}): it may or may "
        "not have been carried out. It is not sent again by itself; look at the job's runs before you do."
    )
    assert len(fake.requests) == 1


async def test_a_start_tried_again_after_a_refusal_stops_where_its_answer_is_lost():
    fake = server(httpx.ConnectError, httpx.ReadTimeout, RUN)

    with pytest.raises(errors.OutcomeUnknown):
        await client(fake).execute_job("J", CONDITION)

    assert len(fake.requests) == 2


async def test_a_start_that_never_arrives_is_told_as_such():
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
    ids=["told how long", "told at once", "not told", "told all the time there is", "told too long", "down, told", "down", "no way", "unknown", "refused", "a bug"],
)  # fmt: skip
def test_the_pause_is_what_the_service_asked_for(error, again):
    said = _worth_repeating(error)

    assert (said, type(said)) == (again, type(again))


async def test_a_pause_that_was_asked_for_is_kept():
    fake = server(httpx.Response(429, headers={"retry-after": "0"}), JOB)

    stamina.set_testing(False)  # in earnest: a second's pause would be taken if the header were not read
    async with asyncio.timeout(10):
        await client(fake).get_job("J")

    assert len(fake.requests) == 2


async def test_a_wait_longer_than_a_call_may_take_is_left_to_the_caller():
    fake = server(httpx.Response(429, headers={"retry-after": "600"}))

    with pytest.raises(errors.TooManyRequests) as caught:
        await client(fake).get_job("J")

    assert caught.value.retry_after == 600.0
    assert len(fake.requests) == 1


# On a real port


async def test_a_port_nobody_listens_on_is_unreachable():
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


# Proxies, certificates and broken transfers on real ports are in test_client_network.


# Secrets


async def test_the_secret_is_in_no_log_however_chatty(caplog):
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


async def test_retries_print_nothing_where_nobody_set_up_logging():
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
async def test_the_secret_is_in_no_error_nor_in_what_led_to_it(trouble):
    with pytest.raises(errors.ServiceError) as caught:
        await client(server(trouble)).execute_job("J", CONDITION)

    chain: list[BaseException] = []
    link: BaseException | None = caught.value
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert SECRET not in told
    assert SECRET not in " ".join(f"{error!r} {error} {vars(error)}" for error in chain)


async def test_the_secret_is_in_no_text_of_a_client():
    made = client(server(JOB))
    auth = SignedAuth(ACCESS, SecretStr(SECRET))

    assert repr(made) == "Client('https://dataflow.apigw.ntruss.com')"
    assert SECRET not in f"{made} {vars(made)} {auth!r} {vars(auth)}"


def test_a_request_is_shown_as_curl_without_anything_to_steal():
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


def test_a_request_without_a_query_is_shown_without_one():
    shown = as_curl("http://127.0.0.1:1", "/jobs/J/executions", {}, {"triggerId": None}, "")

    assert shown.startswith("curl --request POST http://127.0.0.1:1/api/v1/jobs/J/executions \\\n")


# What is new of many runs


async def news(fake: Any, marks: dict[str, int | None]) -> list[tuple[str, int, str | None]]:
    return [
        (told.run_id, told.mark, told.execution.status if told.execution else None)
        async for page in client(fake).news("J", marks)
        for told in page
    ]


async def test_only_what_changed_of_the_runs_asked_for_is_read():
    def page(status: str) -> httpx.Response:
        items = [{"jobExecutionId": name, "status": status if name == "b" else "READY"} for name in "abc"]
        return httpx.Response(200, json={"list": items})

    first = await news(server(page("READY")), {"a": None, "b": None})
    marks: dict[str, int | None] = {run_id: mark for run_id, mark, _ in first}

    assert [(run_id, status) for run_id, _, status in first] == [("a", "READY"), ("b", "READY")]
    assert [(run_id, status) for run_id, _, status in await news(server(page("RUNNING")), marks)] == [
        ("a", None),
        ("b", "RUNNING"),
    ]


async def test_news_are_read_page_by_page_until_one_is_short():
    pages = [
        httpx.Response(200, json={"list": [{"jobExecutionId": name} for name in names], "limit": 2})
        for names in ("ab", "c")
    ]
    fake = server(*pages)

    assert [run_id for run_id, _, _ in await news(fake, {"a": None, "c": None})] == ["a", "c"]
    assert [request.url.params["page"] for request in fake.requests] == ["0", "1"]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"list": 1}',
        b"{",
        b'{"list": [{"jobExecutionId": "a", "numWorker": 1, "endDate": "no date"}]}',
    ],
    ids=["no object", "no list", "half", "no date"],
)
async def test_news_that_cannot_be_read_are_the_service_s_fault(body):
    fake = server(*[httpx.Response(200, content=body)] * 4)

    with pytest.raises(errors.ServiceBroken, match="something that is not a"):
        await news(fake, {"a": None})
