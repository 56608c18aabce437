"""Requested faults: which strike, and what the real client gets."""

import json
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import stamina

from dataflow_magic import errors
from dataflow_magic.client.client import Client
from dataflow_magic.local.http.faults import FaultPlan, Faults
from dataflow_magic.local.http.requests import read
from dataflow_magic.local.run import Refusal
from tests.local.http.test_app import BASE, CONDITION, World, a_world, as_json, signed
from tests.local.test_server import folder as folder
from tests.local.test_server import running
from tests.local.test_server import signed as signed_now

pytestmark = pytest.mark.anyio

RUN = "/api/v1/jobs/JOB000000001/executions/RUN000000001"
RUNS = "/api/v1/jobs/JOB000000001/executions"


def faults(*wanted: dict[str, Any], seed: int = 0) -> Faults:
    plan = read(FaultPlan, json.dumps({"seed": seed, "faults": wanted}).encode())
    found = Faults()
    found.set(plan.faults, plan.seed)
    return found


def statuses(of: Faults, requests: list[tuple[str, str]]) -> list[int | None]:
    return [of.strike(*request).status for request in requests]


def struck(of: Faults) -> list[int]:
    return [fault["struck"] for fault in of.report()["faults"]]


def test_no_fault_strikes_at_first():
    none = Faults()

    assert none.strike("GET", RUNS) == Faults().strike("POST", RUNS)
    assert none.skew_seconds("GET", RUNS) == 0
    assert none.report() == {"seed": 0, "faults": []}


def test_a_fault_strikes_every_request_by_default():
    some = faults({"kind": "error", "status": 503})

    assert statuses(some, [("GET", RUN), ("POST", RUNS)]) == [503, 503]
    assert struck(some) == [2]


def test_a_fault_strikes_up_to_its_times():
    some = faults({"kind": "error", "status": 500, "times": 2})

    assert statuses(some, [("GET", RUN)] * 4) == [500, 500, None, None]
    assert struck(some) == [2]


def test_a_fault_strikes_its_method_and_path():
    some = faults(
        {"kind": "error", "status": 500, "method": "POST"},
        {"kind": "error", "status": 503, "path": "/api/v1/jobs/*/executions"},
    )

    assert statuses(some, [("GET", RUN), ("POST", "/api/v1/jobs"), ("GET", RUNS), ("POST", RUNS)]) == [
        None,
        500,
        503,
        503,  # of several faults with the same effect the last wins
    ]
    assert struck(some) == [2, 2]


def test_the_same_seed_and_requests_give_the_same_faults():
    wanted = {"kind": "error", "status": 503, "probability": 0.5}
    requests = [("GET", RUN)] * 200

    first = statuses(faults(wanted, seed=7), requests)

    assert first == statuses(faults(wanted, seed=7), requests)
    assert first != statuses(faults(wanted, seed=8), requests)
    assert 70 < first.count(503) < 130


def test_other_requests_do_not_change_a_faults_random_sequence():
    wanted = {"kind": "error", "status": 503, "probability": 0.5, "method": "POST"}
    alone = faults(wanted)
    among_others = faults(wanted, {"kind": "latency", "seconds": 1, "probability": 0.5})

    expected = statuses(alone, [("POST", RUNS)] * 50)
    assert [statuses(among_others, [("GET", RUN), ("POST", RUNS)])[1] for _ in range(50)] == expected


@pytest.mark.parametrize(
    ("kind", "requests"),
    [
        ("slow-ready", [("GET", RUN), ("GET", RUNS)]),
        ("list-lag", [("GET", RUNS)]),
    ],
)
def test_a_fault_of_runs_strikes_only_responses_with_runs(kind, requests):
    some = faults({"kind": kind, "seconds": 1})
    for request in [("GET", RUN), ("GET", RUNS), ("POST", RUNS), ("PUT", RUNS), ("GET", "/api/v1/jobs")]:
        some.strike(*request)

    assert struck(some) == [len(requests)]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "faults: Field required"),
        ({"faults": {}}, "faults: Input should be a valid list"),
        ({"faults": [], "sed": 1}, "sed: Extra inputs are not permitted"),
        ({"faults": [], "seed": "x"}, "seed: Input should be a valid integer"),
        ({"faults": [{}]}, "faults.0: Unable to extract tag using discriminator 'kind'"),
        (
            {"faults": [{"kind": "lost-reply", "probability": 1.5}]},
            "faults.0.lost-reply.probability: Input should be less than or equal to 1",
        ),
        ({"faults": [{"kind": "latency"}]}, "faults.0.latency.seconds: Field required"),
        (
            {"faults": [{"kind": "latency", "seconds": 1, "often": 3}]},
            "faults.0.latency.often: Extra inputs are not permitted",
        ),
        (
            {"faults": [{"kind": "error", "status": 418}]},
            "faults.0.error.status: Input should be 429, 500, 503 or 504",
        ),
        (
            {"faults": [{"kind": "list-lag", "seconds": -1}]},
            "faults.0.list-lag.seconds: Input should be greater than or equal to 0",
        ),
        (
            {"faults": [{"kind": "lost-reply", "times": 0}]},
            "faults.0.lost-reply.times: Input should be greater than or equal to 1",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_invalid_fault_is_refused_by_its_field(body, detail):
    with pytest.raises(Refusal) as refused:
        read(FaultPlan, as_json(body))

    assert refused.value.kind == "bad-parameter"
    assert refused.value.detail == detail


# What the client gets


@pytest.fixture
async def world(tmp_path):
    stamina.set_testing(True, attempts=3, cap=True)
    async with a_world(tmp_path) as world:
        yield world
    stamina.set_testing(False)


async def set_faults(world: World, *wanted: dict[str, Any]) -> None:
    response = await world.send("PUT", "/local/v1/faults", as_json({"faults": wanted}))
    assert response.status_code == 200, response.text


async def reported(world: World) -> Any:
    return (await world.send("GET", "/local/v1/faults")).json()


async def test_faults_are_set_returned_and_cleared(world):
    wanted = {"seed": 3, "faults": [{"kind": "error", "status": 503, "retryAfter": 0, "times": 1}]}

    put = await world.send("PUT", "/local/v1/faults", as_json(wanted))
    assert (put.status_code, put.json()) == (
        200,
        {
            "seed": 3,
            "faults": [
                {
                    "kind": "error",
                    "status": 503,
                    "retryAfter": 0,
                    "times": 1,
                    "probability": 1.0,
                    "struck": 0,
                }
            ],
        },
    )

    await world.client.list_jobs()  # the client retries
    assert [fault["struck"] for fault in (await reported(world))["faults"]] == [1]

    cleared = await world.send("DELETE", "/local/v1/faults")
    assert cleared.json() is True
    assert await reported(world) == {"seed": 0, "faults": []}


async def test_a_refused_fault_changes_no_other(world):
    await set_faults(world, {"kind": "lost-reply", "times": 1})

    refused = await world.send("PUT", "/local/v1/faults", b'{"faults": [{"kind": "quake"}]}')

    assert (refused.status_code, refused.json()["errorType"]) == (400, "bad-parameter")
    assert [fault["kind"] for fault in (await reported(world))["faults"]] == ["lost-reply"]


async def test_setting_faults_needs_a_signature(world):
    response = await world.http.put(f"{BASE}/local/v1/faults", content=b'{"faults": []}')

    assert response.status_code == 401


async def test_no_fault_strikes_the_local_services_own_api(world):
    await set_faults(world, {"kind": "error", "status": 500}, {"kind": "clock-skew", "seconds": 1000})

    assert (await world.send("GET", "/local/v1/service")).status_code == 200


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ({"status": 429}, "400", "Quota Exceeded"),
        ({"status": 500}, "900", "Unexpected Error"),
        ({"status": 503}, "500", "Endpoint Error"),
        ({"status": 504}, "510", "Endpoint Timeout"),
    ],
)
async def test_an_error_is_the_gateways_and_the_request_is_not_handled(world, fault, code, message):
    await set_faults(world, {"kind": "error", **fault})

    response = await world.send("POST", "/api/v1/jobs", b'{"name": "abc", "type": "SCRIPT"}')
    assert (response.status_code, "retry-after" in response.headers) == (fault["status"], False)
    assert response.json() == {
        "error": {"errorCode": code, "message": message, "details": "A requested fault."}
    }

    await set_faults(world)
    assert (await world.client.list_jobs()).count == 0


async def test_the_client_gets_a_quota_error_with_retry_after(world):
    job = await world.job()
    await set_faults(world, {"kind": "error", "status": 429, "retryAfter": 5})

    with pytest.raises(errors.TooManyRequests) as refused:
        await world.client.execute_job(job.job_id, CONDITION)

    assert refused.value.retry_after == 5
    assert [fault["struck"] for fault in (await reported(world))["faults"]] == [3]


async def test_a_start_that_a_failing_gateway_answered_has_an_unknown_outcome(world):
    job = await world.job()
    await set_faults(world, {"kind": "error", "status": 503, "method": "POST"})

    with pytest.raises(errors.OutcomeUnknown):
        await world.client.execute_job(job.job_id, CONDITION)


@pytest.mark.parametrize("seconds", [600, -600], ids=["ahead", "behind"])
async def test_the_client_signs_by_the_gateways_wrong_clock(world, seconds):
    await set_faults(world, {"kind": "clock-skew", "seconds": seconds})

    unaware = await world.send("GET", "/api/v1/jobs")
    assert unaware.status_code == 401

    await world.client.list_jobs()
    assert world.client.clock_offset == pytest.approx(seconds, abs=2)


async def test_latency_delays_the_handling_of_a_request(world):
    await set_faults(world, {"kind": "latency", "seconds": 0.1})
    before = time.monotonic()

    await world.client.list_jobs()

    assert time.monotonic() - before >= 0.1


async def test_a_run_is_ready_in_responses_until_it_is_old_enough(world):
    job = await world.job()
    run_id = await world.start(job, **{"$a": "x"})
    world.runs.start(run_id)
    world.runs.fail(run_id, "no such table")
    await world.reached(job, run_id, "FAILED")
    await set_faults(world, {"kind": "slow-ready", "seconds": 60})

    early = await world.client.get_execution(job.job_id, run_id)
    listed = (await world.client.list_executions(job.job_id)).items
    assert (early.status, early.end_date, early.status_detail, early.parameters) == ("READY", None, None, {})
    assert listed == [early]

    world.clock.advance(seconds=60)
    late = await world.client.get_execution(job.job_id, run_id)
    assert (late.status, late.status_detail, late.parameters) == ("FAILED", "no such table", {"$a": "x"})


async def test_a_live_run_has_an_unknown_state_in_responses(world):
    job = await world.job()
    run_id = await world.start(job)
    await set_faults(world, {"kind": "unknown-state", "state": "PAUSED"})

    live = await world.client.get_execution(job.job_id, run_id)
    assert (live.status, live.is_final) == ("PAUSED", False)

    world.runs.start(run_id)
    world.runs.complete(run_id)
    await world.reached(job, run_id, "COMPLETED")


@pytest.mark.parametrize(
    ("form", "as_sent", "parameters"),
    [
        ("[]", [], {}),
        ("[{}]", [{}], {}),
        ("{}", {}, {}),
        ("null", None, {}),
        ("filled", {"$a": "x"}, {"$a": "x"}),
    ],
)
async def test_parsed_parameters_have_each_form(world, form, as_sent, parameters):
    job = await world.job()
    await set_faults(world, {"kind": "parsed-parameters", "form": form})

    started = await world.client.execute_job(job.job_id, CONDITION, {"$a": "x"})
    again = await world.client.get_execution(job.job_id, started.job_execution_id)
    listed = (await world.client.list_executions(job.job_id)).items

    for run in (started, again, *listed):
        assert (run.parsed_parameters, run.parameters) == (as_sent, parameters)


async def test_a_lagging_list_has_full_pages(world):
    job = await world.job()
    old = [await world.start(job) for _ in range(3)]
    world.clock.advance(seconds=10)
    young = await world.start(job)
    await set_faults(world, {"kind": "list-lag", "seconds": 10})

    pages = [page async for page in world.client.pages(job.job_id, limit=2)]
    assert [[run.job_execution_id for run in page.items] for page in pages] == [[old[2], old[1]], [old[0]]]
    assert {page.count for page in pages} == {3}
    assert (await world.client.get_execution(job.job_id, young)).job_execution_id == young

    world.clock.moment += timedelta(seconds=10)
    assert (await world.client.list_executions(job.job_id)).count == 4


async def test_a_lost_response_is_an_error_to_a_direct_caller_of_the_application(world):
    await set_faults(world, {"kind": "lost-reply"})
    transport = httpx.ASGITransport(world.transport.app)
    async with httpx.AsyncClient(transport=transport) as http:
        with pytest.raises(ConnectionResetError, match="the response is lost: a requested fault"):
            await http.post(
                f"{BASE}/api/v1/jobs",
                content=b'{"name": "abc", "type": "SCRIPT"}',
                headers=signed("POST", b"/api/v1/jobs"),
            )

    await set_faults(world)
    assert (await world.client.list_jobs()).count == 1


@pytest.fixture
def endpoint(folder) -> Iterator[str]:
    """A service process."""
    with running(folder) as service:
        yield service.endpoint
        assert service.end(signal.SIGTERM) == (0, "served\n")


async def test_a_request_with_a_lost_response_is_handled_and_its_connection_closed(endpoint):
    async with Client("AK_TEST", "SK_TEST", endpoint) as client:
        job = (await client.list_jobs(name="slow_count")).items[0]
        lost = {"kind": "lost-reply", "times": 1}
        wanted = {"faults": [{**lost, "method": "POST"}, {**lost, "path": "/api/v1/jobs"}]}
        async with httpx.AsyncClient(trust_env=False) as http:
            headers = signed_now("PUT", "/local/v1/faults")
            put = await http.put(f"{endpoint}/local/v1/faults", json=wanted, headers=headers)
        assert put.status_code == 200

        with pytest.raises(errors.OutcomeUnknown):
            await client.execute_job(job.job_id, job.condition)

        assert (await client.list_executions(job.job_id)).count == 1
        assert (await client.list_jobs()).count == 2  # the client retries
        assert (await client.execute_job(job.job_id, job.condition)).status == "READY"
