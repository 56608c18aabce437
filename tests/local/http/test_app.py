"""The real client against the real service without a network, and the bytes of single requests."""

import json
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from dataflow_magic import errors
from dataflow_magic.client.client import Client
from dataflow_magic.local.engine import Engine
from dataflow_magic.local.http.app import Backend, Keys, create_app
from dataflow_magic.local.log import JsonLines
from dataflow_magic.local.options import Contract
from dataflow_magic.local.store import Store
from dataflow_magic.models.wire import Job, JobCondition, JobExecution
from dataflow_magic.signing import sign
from tests.local.scripted import Clock, ScriptedRuns, until

pytestmark = pytest.mark.anyio

ACCESS_KEY, SECRET_KEY = "AK_TEST", "SK_TEST"
BASE = "http://127.0.0.1"
NOW_MS = 1_793_520_000_900  # 2026-11-01 17:00:00.9 in Korea

CONDITION = JobCondition(nrn="nrn:PUB:IAM::1:Role/r", script_path="b/scripts/", log_path="b/logs/")
BODY = {"jobCondition": CONDITION.to_wire()}

MISSING = {
    "error": {
        "errorCode": "200",
        "message": "Authentication Failed",
        "details": "Authentication information are missing.",
    }
}
INVALID = {
    "error": {
        "errorCode": "200",
        "message": "Authentication Failed",
        "details": "Invalid authentication information.",
    }
}
NO_SUCH_URL = {"error": {"errorCode": "300", "message": "Not Found Exception", "details": "URL not found."}}


@dataclass
class World:
    """A service, its client, and control of its clock and its runs."""

    client: Client
    http: httpx.AsyncClient
    transport: httpx.ASGITransport
    runs: ScriptedRuns
    clock: Clock
    folder: Path

    async def job(self, name: str = "daily_sales", **fields: Any) -> Job:
        return await self.client.create_job(name, condition=CONDITION, **fields)

    async def start(self, job: Job, **parameters: Any) -> str:
        run = await self.client.execute_job(job.job_id, CONDITION, parameters)
        return run.job_execution_id

    async def reached(self, job: Job, run_id: str, status: str) -> JobExecution:
        for _ in range(1000):
            run = await self.client.get_execution(job.job_id, run_id)
            if run.status == status:
                return run
        raise AssertionError(f"the run stays {run.status}")

    async def send(self, method: str, target: str, content: bytes | None = None) -> httpx.Response:
        """Send one request, signed over its raw target."""
        return await self.http.request(
            method, BASE + target, content=content, headers=signed(method, target.encode())
        )

    async def post_run(self, job: Job, body: bytes) -> httpx.Response:
        return await self.send("POST", f"/api/v1/jobs/{job.job_id}/executions", body)


def signed(
    method: str,
    target: bytes,
    *,
    at_ms: int = NOW_MS,
    access_key: str = ACCESS_KEY,
    secret_key: str = SECRET_KEY,
) -> dict[str, str]:
    return {
        "x-ncp-apigw-timestamp": str(at_ms),
        "x-ncp-iam-access-key": access_key,
        "x-ncp-apigw-signature-v2": sign(method, target, at_ms, access_key, secret_key),
    }


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as world:
        yield world


@asynccontextmanager
async def a_world(
    folder: Path,
    *,
    slots: int = 8,
    contract: Contract = Contract.EXECUTE_JOB,
    most_waiting: int = 1000,
) -> AsyncIterator[World]:
    clock, runs = Clock(), ScriptedRuns()
    store = Store(folder / "state.sqlite3", clock.now)
    async with Engine(store, folder, runs, slots=slots) as engine:
        backend = Backend(store, engine, folder, clock.now, contract, most_waiting)
        app = create_app(backend, Keys(ACCESS_KEY, SECRET_KEY), clock=clock.seconds)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            Client(ACCESS_KEY, SECRET_KEY, BASE, transport=transport, now=clock.seconds) as client,
            httpx.AsyncClient(transport=transport) as http,
        ):
            yield World(client, http, transport, runs, clock, folder)


@contextmanager
def hidden(folder: Path, table: str) -> Iterator[None]:
    """Hide a table of the database inside the block."""
    with closing(sqlite3.connect(folder / "state.sqlite3")) as db:
        db.executescript(f"ALTER TABLE {table} RENAME TO hidden")
        yield
        db.executescript(f"ALTER TABLE hidden RENAME TO {table}")


async def test_a_run_starts_runs_and_ends(world):
    job = await world.job()

    run = await world.client.execute_job(job.job_id, CONDITION, {"$table_name": "test.sample_table2"})
    assert (run.status, run.parsed_parameters, run.running_time) == ("READY", [], 0)

    world.runs.start(run.job_execution_id)
    running = await world.reached(job, run.job_execution_id, "RUNNING")
    assert running.parameters == {"$table_name": "test.sample_table2"}
    assert running.end_date is None

    world.clock.advance(minutes=3)
    world.runs.complete(run.job_execution_id)
    over = await world.reached(job, run.job_execution_id, "COMPLETED")
    assert (over.is_final, over.running_time) == (True, 3)
    assert str(over.end_date) == "2026-11-01 17:03:00+09:00"


async def test_a_failed_run_has_its_reason(world):
    job = await world.job()
    run_id = await world.start(job)
    world.runs.start(run_id)
    world.runs.fail(run_id, "the script exited with code 1")

    over = await world.reached(job, run_id, "FAILED")

    assert over.status_detail == "the script exited with code 1"
    assert (await world.client.get_job(job.job_id)).last_execution_status == "FAILED"


async def test_the_request_of_the_page_gets_the_fields_of_the_page(world):
    job = await world.job()
    page = b"""{
      "jobCondition": {
        "workerType": "DEFAULT",
        "numWorker": 2,
        "timeout": 360,
        "nrn": "nrn:PUB:IAM::*******:Role/********-0496-11f0-baf6-246e96591a38",
        "scriptPath": "dataflow-2706412-****/scripts/",
        "logPath": "dataflow-2706412-****/sparkHistoryLogs/"
      },
      "parameters": {
        "$table_name": "test.sample_table2"
      }
    }"""
    target = f"/api/v1/jobs/{job.job_id}/executions"
    # As curl --data labels it: the page's example sets no content type.
    headers = {**signed("POST", target.encode()), "content-type": "application/x-www-form-urlencoded"}

    response = await world.http.post(BASE + target, content=page, headers=headers)

    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    answer = response.json()
    run_id = answer.pop("jobExecutionId")
    assert (len(run_id), run_id.isalnum()) == (12, True)
    assert answer == {
        "jobId": job.job_id,
        "jobCondition": {
            "workerType": "DEFAULT",
            "numWorker": 2,
            "timeout": 360,
            "nrn": "nrn:PUB:IAM::*******:Role/********-0496-11f0-baf6-246e96591a38",
            "scriptPath": "dataflow-2706412-****/scripts/",
            "logPath": "dataflow-2706412-****/sparkHistoryLogs/",
        },
        "status": "READY",
        "startDate": "2026-11-01T17:00:00+09:00",
        "createdDate": "2026-11-01T17:00:00+09:00",
        "runningTime": 0,
        "parsedParameters": [],
        "type": "JOB",
    }


async def test_a_run_is_the_same_alone_and_in_the_list(world):
    job = await world.job()
    run_id = await world.start(job, **{"$a": "x"})
    world.runs.start(run_id)
    await world.reached(job, run_id, "RUNNING")

    one = (await world.send("GET", f"/api/v1/jobs/{job.job_id}/executions/{run_id}")).json()
    listed = (await world.send("GET", f"/api/v1/jobs/{job.job_id}/executions")).json()

    assert listed == {"list": [one], "count": 1, "page": 0, "limit": 1000}
    assert one["jobCondition"]["consoleLogPath"] == f"b/logs/{run_id}/console.log"
    assert one["jobName"] == "daily_sales"


async def test_trigger_and_workflow_of_the_query_are_in_the_response(world):
    job = await world.job()

    run = await world.client.execute_job(
        job.job_id, CONDITION, trigger_id="TRIGGER00001", workflow_id="WORKFLOW 매출"
    )

    again = await world.client.get_execution(job.job_id, run.job_execution_id)
    assert (again.trigger_id, again.workflow_id) == ("TRIGGER00001", "WORKFLOW 매출")
    assert (run.type, again.type) == ("WORKFLOW", "WORKFLOW")


async def test_an_empty_trigger_is_none(world):
    job = await world.job()
    target = f"/api/v1/jobs/{job.job_id}/executions?triggerId=&workflowId="

    response = await world.send("POST", target, as_json(BODY))

    run = await world.client.get_execution(job.job_id, response.json()["jobExecutionId"])
    assert (run.trigger_id, run.workflow_id, run.type) == (None, None, "JOB")


async def test_a_run_gets_the_jobs_parameters_with_its_own_over_them(world):
    body = {"name": "daily", "type": "SCRIPT", "jobCondition": {"parameters": {"$a": "1", "$b": "2"}}}
    created = await world.send("POST", "/api/v1/jobs", as_json(body))
    job = await world.client.get_job(created.json()["jobId"])

    run_id = await world.start(job, **{"$a": "x"})

    await until(lambda: run_id in world.runs.begun())
    assert world.runs.specs[0].parameters == {"$a": "x", "$b": "2"}


async def test_a_timeout_of_0_is_six_hours(world):
    job = await world.job()

    run = await world.client.execute_job(job.job_id, JobCondition(timeout=0).over(CONDITION))

    await until(lambda: bool(world.runs.specs))
    assert world.runs.specs[0].timeout_seconds == 21_600
    assert run.job_condition.timeout == 0


async def test_a_signature_covers_the_raw_target(world):
    target = "/api/v1/jobs?name=%EB%A7%A4%EC%B6%9C&limit=%35&x=a+b%20c&empty="

    response = await world.send("GET", target)

    assert (response.status_code, response.json()["limit"]) == (200, 5)


async def test_an_escaped_path_is_signed_with_its_escapes(world):
    response = await world.send("GET", "/api/v1/jobs/a%20b")

    assert response.json() == {"detail": "jobId: there is no job 'a b'", "errorType": "not-found"}


@pytest.mark.parametrize(
    "absent",
    [
        {"x-ncp-apigw-timestamp", "x-ncp-iam-access-key", "x-ncp-apigw-signature-v2"},
        {"x-ncp-apigw-timestamp"},
        {"x-ncp-iam-access-key"},
        {"x-ncp-apigw-signature-v2"},
    ],
    ids=["all", "timestamp", "access key", "signature"],
)
async def test_a_missing_header_is_named_as_missing(world, absent):
    headers = {k: v for k, v in signed("GET", b"/api/v1/jobs").items() if k not in absent}

    response = await world.http.get(f"{BASE}/api/v1/jobs", headers=headers)

    assert (response.status_code, response.json()) == (401, MISSING)


async def test_an_empty_header_is_a_missing_one(world):
    headers = {**signed("GET", b"/api/v1/jobs"), "x-ncp-iam-access-key": ""}

    response = await world.http.get(f"{BASE}/api/v1/jobs", headers=headers)

    assert (response.status_code, response.json()) == (401, MISSING)


async def test_the_signature_header_of_version_1_is_refused(world):
    headers = signed("GET", b"/api/v1/jobs")
    headers["x-ncp-apigw-signature-v1"] = headers.pop("x-ncp-apigw-signature-v2")

    response = await world.http.get(f"{BASE}/api/v1/jobs", headers=headers)

    assert (response.status_code, response.json()) == (401, MISSING)


PAGE_1 = b"/api/v1/jobs?page=1"


@pytest.mark.parametrize(
    "headers",
    [
        signed("GET", PAGE_1, secret_key="SK_OTHER"),
        signed("GET", PAGE_1, access_key="AK_OTHER"),
        signed("POST", PAGE_1),
        signed("GET", b"/api/v1/jobs"),
        signed("GET", b"/api/v1/jobs?page=2"),
        signed("GET", b"http://127.0.0.1/api/v1/jobs?page=1"),
        signed("GET", PAGE_1) | {"x-ncp-apigw-timestamp": str(NOW_MS + 1)},
        signed("GET", PAGE_1) | {"x-ncp-apigw-signature-v2": "x"},
        signed("GET", PAGE_1)
        | {"x-ncp-apigw-signature-v2": signed("GET", PAGE_1)["x-ncp-apigw-signature-v2"].rstrip("=")},
        signed("GET", PAGE_1, at_ms=NOW_MS // 1000),
        signed("GET", PAGE_1, at_ms=NOW_MS * 1000),
        signed("GET", PAGE_1, at_ms=-NOW_MS),
        signed("GET", PAGE_1) | {"x-ncp-apigw-timestamp": "now"},
        signed("GET", PAGE_1) | {"x-ncp-apigw-timestamp": "9" * 5000},
        signed("GET", PAGE_1) | {"x-ncp-apigw-timestamp": f" {NOW_MS}.0"},
    ],
    ids=[
        "another secret key",
        "another access key",
        "another method",
        "without the query",
        "another query",
        "the whole URL",
        "another timestamp than the signed one",
        "no base64",
        "without its padding",
        "in seconds",
        "in microseconds",
        "before 1970",
        "a word for a timestamp",
        "a number too long to read",
        "a fraction",
    ],
)
async def test_a_wrong_signature_is_refused(world, headers):
    response = await world.http.get(BASE + PAGE_1.decode(), headers=headers)

    assert (response.status_code, response.json()) == (401, INVALID)


async def test_a_signature_of_the_decoded_path_is_refused(world):
    response = await world.http.get(f"{BASE}/api/v1/jobs/a%20b", headers=signed("GET", b"/api/v1/jobs/a b"))

    assert (response.status_code, response.json()) == (401, INVALID)


async def test_headers_that_are_not_ascii_are_a_wrong_signature(world):
    headers = [
        (b"x-ncp-apigw-timestamp", "١٢٣".encode()),
        (b"x-ncp-iam-access-key", b"\xff\xfe"),
        (b"x-ncp-apigw-signature-v2", b"\x80"),
    ]

    response = await world.http.get(f"{BASE}/api/v1/jobs", headers=headers)

    assert (response.status_code, response.json()) == (401, INVALID)


@pytest.mark.parametrize(
    ("off_ms", "status"),
    [(-300_000, 200), (300_000, 200), (-300_001, 401), (300_001, 401)],
    ids=["5 min ago", "in 5 min", "over 5 min ago", "in over 5 min"],
)
async def test_a_timestamp_up_to_five_minutes_off_is_valid(world, off_ms, status):
    headers = signed("GET", b"/api/v1/jobs", at_ms=NOW_MS + off_ms)

    response = await world.http.get(f"{BASE}/api/v1/jobs", headers=headers)

    assert response.status_code == status


async def test_the_signature_is_checked_before_anything_else(world):
    responses = [
        await world.http.get(f"{BASE}/nowhere"),
        await world.http.delete(f"{BASE}/api/v1/jobs"),
        await world.http.get(f"{BASE}/local/v1/service"),
        await world.http.get(f"{BASE}/local/v1/jobs/NOSUCHJOB000/executions/NOSUCHRUN000/progress"),
        await world.http.post(f"{BASE}/api/v1/jobs", content=b"x" * 2_000_000),
    ]

    assert [(r.status_code, r.json()) for r in responses] == [(401, MISSING)] * 5


async def test_the_client_names_the_keys_to_check(world):
    transport, now = world.transport, world.clock.seconds
    async with Client(ACCESS_KEY, "SK_OTHER", BASE, transport=transport, now=now) as stranger:
        with pytest.raises(errors.NotSignedIn, match="check the access key and the secret key"):
            await stranger.list_jobs()


async def test_the_repr_of_keys_hides_them():
    assert repr(Keys("AK_TEST", "SK_TEST")) == "Keys(...)"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/"),
        ("GET", "/api/v1"),
        ("GET", "/api/v1/job"),
        ("GET", "/api/v1/jobs/"),
        ("GET", "/api/v2/jobs"),
        ("GET", "/API/V1/JOBS"),
        ("GET", "/api/v1/jobs/x/execute"),
        ("GET", "/api/v1/jobs/a%2Fb"),
        ("GET", "/api/v1/dashboard/execution-count"),
        ("DELETE", "/api/v1/jobs"),
        ("PUT", "/api/v1/jobs/x"),
        ("GET", "/api/v1/jobs/x/executions/y/cancel"),
        ("POST", "/local/v1/service"),
    ],
)
async def test_an_unknown_address_or_method_is_the_gateways_404(world, method, target):
    response = await world.send(method, target)

    assert (response.status_code, response.json()) == (404, NO_SUCH_URL)


async def test_unknown_ids_are_the_services_404(world):
    job, other = await world.job(), await world.job()
    run_id = await world.start(other)

    answers = [
        await world.send(method, f"/api/v1/jobs/{target}", b"{}" if method == "POST" else None)
        for method, target in [
            ("GET", "NOSUCHJOB000"),
            ("GET", "NOSUCHJOB000/executions"),
            ("POST", "NOSUCHJOB000/executions"),
            ("GET", f"NOSUCHJOB000/executions/{run_id}"),
            ("GET", f"{job.job_id}/executions/NOSUCHRUN000"),
            ("POST", f"{job.job_id}/executions/NOSUCHRUN000/cancel"),
            ("GET", f"{job.job_id}/executions/{run_id}"),
            ("POST", f"{job.job_id}/executions/{run_id}/cancel"),
            ("PATCH", "NOSUCHJOB000"),
            ("DELETE", "NOSUCHJOB000"),
            ("PUT", "NOSUCHJOB000/executions"),
        ]
    ]

    assert {answer.status_code for answer in answers} == {404}
    no_job = {"detail": "jobId: there is no job 'NOSUCHJOB000'", "errorType": "not-found"}
    no_run = {
        "detail": f"executionId: job {job.job_id} has no run 'NOSUCHRUN000'",
        "errorType": "not-found",
    }
    not_its_run = {
        "detail": f"executionId: job {job.job_id} has no run '{run_id}'",
        "errorType": "not-found",
    }
    assert [answer.json() for answer in answers] == [
        *[no_job] * 4,
        *[no_run] * 2,
        *[not_its_run] * 2,
        *[no_job] * 3,
    ]


@pytest.mark.parametrize("no_id", ["x", "NOSUCHJOB0000", "NO-SUCH-JOB0", "%EB%A7%A4%EC%B6%9C"])
async def test_a_text_that_is_not_an_id_is_not_found(world, no_id):
    job = await world.job()
    with hidden(world.folder, "jobs"):
        response = await world.send("GET", f"/api/v1/jobs/{no_id}")
    assert (response.status_code, response.json()["errorType"]) == (404, "not-found")

    response = await world.send("GET", f"/api/v1/jobs/{job.job_id}/executions/{no_id}")
    assert (response.status_code, response.json()["errorType"]) == (404, "not-found")


@pytest.mark.parametrize(
    ("target", "headers"),
    [("/api/v1/jobs", {"x": "y" * 17_000}), (f"/api/v1/jobs?name={'y' * 17_000}", {})],
    ids=["headers", "address"],
)
async def test_a_head_over_16_kilobytes_is_the_gateways_413(world, target, headers):
    response = await world.http.get(BASE + target, headers={**signed("GET", target.encode()), **headers})

    assert (response.status_code, response.json()) == (
        413,
        {
            "error": {
                "errorCode": "430",
                "message": "Request Entity Too Large",
                "details": "The address and the headers are over 16384 bytes.",
            }
        },
    )


async def test_a_start_is_refused_when_too_many_runs_wait(tmp_path):
    async with a_world(tmp_path, most_waiting=2) as world:
        job = await world.job()
        ids = [await world.start(job) for _ in range(2)]

        refused = await world.post_run(job, as_json(BODY))
        assert (refused.status_code, refused.json()) == (
            429,
            {"error": {"errorCode": "400", "message": "Quota Exceeded", "details": "2 runs wait already."}},
        )

        world.runs.start(ids[0])
        await world.reached(job, ids[0], "RUNNING")
        assert (await world.post_run(job, as_json(BODY))).status_code == 200


async def test_the_client_distinguishes_an_unknown_job_from_an_unknown_address(world):
    with pytest.raises(errors.NotFound) as refused:
        await world.client.get_job("NOSUCHJOB000")

    assert (refused.value.code, refused.value.detail) == (
        "not-found",
        "jobId: there is no job 'NOSUCHJOB000'",
    )


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is not JSON in UTF-8 (JSONDecodeError: Expecting value: line 1 column 1 (char 0))"),
        (b"[]", "the body is not a JSON object"),
        (b"{}", "jobCondition: Field required"),
        (as_json({"jobCondition": {**BODY["jobCondition"], "numWorker": 1}}), "jobCondition.numWorker: "),
        (as_json({**BODY, "parameters": {"$a": ["x"]}}), "parameters.$a: should be text, "),
        (as_json({**BODY, "parameters": {"$a": "x\0"}}), "parameters.$a: holds a NUL"),
        (as_json({**BODY, "parameters": {"$a": "\ud800"}}), "the body is not JSON in UTF-8 (Unicode"),
        (as_json({**BODY, "parameters": {"\udfff": 1}}), "the body is not JSON in UTF-8 (Unicode"),
        (as_json({**BODY, "parameters": {"$a": float("nan")}}), "the body is not JSON in UTF-8 (Value"),
    ],
    ids=[
        "empty",
        "a list",
        "a field missing",
        "out of range",
        "nested",
        "NUL",
        "half a pair in a value",
        "half a pair in a name",
        "NaN",
    ],
)
async def test_an_invalid_body_is_refused_and_starts_no_run(world, body, detail):
    job = await world.job()

    response = await world.post_run(job, body)

    assert (response.status_code, response.json()["errorType"]) == (400, "bad-parameter")
    assert response.json()["detail"].startswith(detail)
    assert (await world.client.list_executions(job.job_id)).count == 0


async def test_the_client_raises_the_services_detail(world):
    job = await world.job()

    with pytest.raises(errors.BadParameter) as refused:
        await world.client.execute_job(job.job_id, JobCondition(num_worker=11).over(CONDITION))

    assert (
        str(refused.value)
        == "refused a value (400 bad-parameter: jobCondition.numWorker: Input should be less than or equal to 10)"
    )


@pytest.mark.parametrize(
    ("size", "status"), [(1 << 20, 400), ((1 << 20) + 1, 413), (2_000_000, 413)], ids=["1 MB", "over", "2 MB"]
)
async def test_a_body_over_one_megabyte_is_the_gateways_413(world, size, status):
    job = await world.job()

    response = await world.post_run(job, b"x" * size)

    assert response.status_code == status
    if status == 413:
        assert response.json() == {
            "error": {
                "errorCode": "430",
                "message": "Request Entity Too Large",
                "details": "The body is over 1048576 bytes.",
            }
        }


async def test_a_body_in_several_chunks_is_read_whole(world):
    job = await world.job()
    target = f"/api/v1/jobs/{job.job_id}/executions"

    async def pieces() -> AsyncIterator[bytes]:
        for byte in as_json(BODY):
            yield bytes([byte])

    response = await world.http.post(BASE + target, content=pieces(), headers=signed("POST", target.encode()))

    assert response.status_code == 200


async def test_parameters_in_any_script_are_returned_as_sent(world):
    job = await world.job()
    parameters = {"$이름": "매출 🚀\n'\"\\", "$n": 7, "$x": 0.5, "$b": False}
    run_id = await world.start(job, **parameters)
    world.runs.start(run_id)

    running = await world.reached(job, run_id, "RUNNING")

    assert running.parameters == parameters


async def test_a_job_is_stored_and_returned(world):
    created = await world.client.create_job(
        "daily_sales", condition=CONDITION, max_concurrent_runs=3, description="매출"
    )

    job = await world.client.get_job(created.job_id)

    assert job == created
    assert (len(job.job_id), job.job_id.isalnum()) == (12, True)
    assert (job.name, job.type, job.status, job.max_concurrent_runs) == ("daily_sales", "SCRIPT", "READY", 3)
    assert job.condition == JobCondition(num_worker=2, timeout=360).over(CONDITION)
    assert job.to_wire()["description"] == "매출"
    assert job.to_wire()["createdDate"] == "2026-11-01T17:00:00+09:00"


@pytest.mark.parametrize("contract", list(Contract))
async def test_an_update_of_a_job_is_stored_and_returned(tmp_path, contract):
    async with a_world(tmp_path, contract=contract) as world:
        job = await world.job(description="x", max_concurrent_runs=3)
        world.clock.advance(minutes=1)

        body = {"type": "SCRIPT", "name": "daily_sums", "nodes": [], "jobCondition": {"timeout": 5}}
        response = await world.send("PATCH", f"/api/v1/jobs/{job.job_id}", as_json(body))

        assert (response.status_code, response.json()) == (
            200,
            {
                **job.to_wire(),
                "name": "daily_sums",
                "nodes": [],
                "runCondition": {"numWorker": 2, "timeout": 5, **CONDITION.to_wire()},
                "updatedDate": "2026-11-01T17:01:00+09:00",
            },
        )
        assert (await world.client.get_job(job.job_id)).to_wire() == response.json()


@pytest.mark.parametrize("contract", list(Contract))
async def test_an_execution_config_changes_its_fields_and_keeps_the_others(tmp_path, contract):
    async with a_world(tmp_path, contract=contract) as world:
        job = await world.job()
        target = f"/api/v1/jobs/{job.job_id}/executions"

        response = await world.send("PUT", target, as_json({"jobCondition": {"numWorker": 5}}))

        assert response.status_code == 200
        assert response.json()["runCondition"] == {"numWorker": 5, "timeout": 360, **CONDITION.to_wire()}
        assert (await world.client.get_job(job.job_id)).condition.num_worker == 5


@pytest.mark.parametrize(
    ("method", "tail", "fields", "detail"),
    [
        ("PATCH", "", {"type": "VISUAL"}, "type: the job is a SCRIPT job, which cannot be changed"),
        ("PUT", "/executions", {}, "jobCondition: Field required"),
    ],
    ids=["update", "execution config"],
)
async def test_an_invalid_change_is_refused_and_changes_nothing(world, method, tail, fields, detail):
    job = await world.job()

    response = await world.send(method, f"/api/v1/jobs/{job.job_id}{tail}", as_json(fields))

    assert (response.status_code, response.json()) == (400, {"detail": detail, "errorType": "bad-parameter"})
    assert await world.client.get_job(job.job_id) == job


async def test_waiting_runs_start_when_their_job_gets_more_slots(world):
    job = await world.job(max_concurrent_runs=1)
    first, second = await world.start(job), await world.start(job)
    await until(lambda: world.runs.begun() == [first])

    await world.send("PATCH", f"/api/v1/jobs/{job.job_id}", b'{"type": "SCRIPT", "maxConcurrentRuns": 2}')

    await until(lambda: world.runs.begun() == [first, second])


@pytest.mark.parametrize("contract", list(Contract))
async def test_a_job_is_deleted_when_it_has_no_live_run(tmp_path, contract):
    async with a_world(tmp_path, contract=contract) as world:
        job = await world.job()
        run_id = await world.start(job)

        refused = await world.send("DELETE", f"/api/v1/jobs/{job.job_id}")
        assert (refused.status_code, refused.json()) == (
            400,
            {
                "detail": f"job {job.job_id} has a READY or RUNNING run; cancel it, or wait for its end",
                "errorType": "bad-state",
            },
        )

        await world.client.cancel_execution(job.job_id, run_id)
        await world.reached(job, run_id, "CANCELED")
        deleted = await world.send("DELETE", f"/api/v1/jobs/{job.job_id}")
        assert (deleted.status_code, deleted.content) == (200, b"true")
        assert (await world.client.list_jobs()).count == 0
        assert (await world.send("GET", f"/api/v1/jobs/{job.job_id}/executions")).status_code == 404


async def test_a_job_deleted_during_a_request_is_not_found(world):
    job = await world.job()

    async def late(body: bytes) -> AsyncIterator[bytes]:
        """Send the body after the job was deleted."""
        yield body[:1]
        if (await world.send("GET", f"/api/v1/jobs/{job.job_id}")).status_code == 200:
            await world.send("DELETE", f"/api/v1/jobs/{job.job_id}")
        yield body[1:]

    for method, tail, body in [
        ("POST", "/executions", as_json(BODY)),
        ("PATCH", "", b'{"type": "SCRIPT"}'),
    ]:
        target = f"/api/v1/jobs/{job.job_id}{tail}"
        response = await world.http.request(
            method, BASE + target, content=late(body), headers=signed(method, target.encode())
        )
        assert (response.status_code, response.json()) == (
            404,
            {"detail": f"jobId: there is no job '{job.job_id}'", "errorType": "not-found"},
        )
        job = await world.job()


async def test_by_the_newest_pages_a_start_may_have_an_empty_body(tmp_path):
    async with a_world(tmp_path, contract=Contract.OCTOBER_2026) as world:
        stored = {**CONDITION.to_wire(), "numWorker": 4, "parameters": {"$a": "1", "$b": "2"}}
        body = {"name": "daily", "type": "SCRIPT", "jobCondition": stored}
        created = await world.send("POST", "/api/v1/jobs", as_json(body))
        job = await world.client.get_job(created.json()["jobId"])

        first = (await world.post_run(job, b"")).json()
        brought = as_json({"jobCondition": {"parameters": {"$a": "x"}}, "parameters": {"$c": 3}})
        second = (await world.post_run(job, brought)).json()

        assert first["jobCondition"] == {"workerType": "DEFAULT", "timeout": 360, **stored}
        assert second["jobCondition"] == {**first["jobCondition"], "parameters": {"$a": "x"}}
        await until(lambda: len(world.runs.specs) == 2)
        assert [spec.parameters for spec in world.runs.specs] == [
            {"$a": "1", "$b": "2"},
            {"$a": "x", "$c": "3"},
        ]


async def test_by_the_newest_pages_a_field_that_neither_run_nor_job_has_is_refused(tmp_path):
    async with a_world(tmp_path, contract=Contract.OCTOBER_2026) as world:
        job = await world.client.create_job("daily", condition=JobCondition(nrn="r"))

        response = await world.post_run(job, b"{}")

        assert (response.status_code, response.json()) == (
            400,
            {
                "detail": "jobCondition.scriptPath: the job stores none; send it, or store it on the job",
                "errorType": "bad-parameter",
            },
        )
        assert (await world.send("GET", "/local/v1/service")).json()["contract"] == "2026-10"


@pytest.mark.parametrize("contract", list(Contract))
async def test_the_client_starts_runs_under_either_contract(tmp_path, contract):
    async with a_world(tmp_path, contract=contract) as world:
        job = await world.job()

        run = await world.client.execute_job(job.job_id, CONDITION, {"$a": "x"})

        assert run.job_condition == JobCondition(worker_type="DEFAULT", num_worker=2, timeout=360).over(
            CONDITION
        )


async def test_two_jobs_may_have_one_name(world):
    first, second = await world.job("daily_sales"), await world.job("daily_sales")

    assert first.job_id != second.job_id
    assert [job.job_id for job in (await world.client.list_jobs(name="daily_sales")).items] == [
        first.job_id,
        second.job_id,
    ]


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"name": "ab", "type": "SCRIPT"}, "name: String should have at least 3 characters"),
        ({"name": "1ab", "type": "SCRIPT"}, "name: String should match pattern '^[A-Za-z_][A-Za-z0-9_-]*$'"),
        ({"name": "abc"}, "type: Field required"),
        ({"name": "abc", "type": "DATAFLOW"}, "type: Input should be 'VISUAL' or 'SCRIPT'"),
        ({"name": "abc", "type": "SCRIPT", "nodes": "\ud800"}, "the body is not JSON in UTF-8 (Unicode"),
    ],
    ids=["name too short", "name begins with a digit", "no type", "type of an older page", "half a pair"],
)
async def test_an_invalid_job_is_refused_and_not_stored(world, fields, detail):
    response = await world.send("POST", "/api/v1/jobs", as_json(fields))

    assert (response.status_code, response.json()["errorType"]) == (400, "bad-parameter")
    assert response.json()["detail"].startswith(detail)
    assert (await world.client.list_jobs()).count == 0


async def test_a_name_selects_the_jobs_whose_name_contains_it(world):
    for name in ("daily_sales", "daily_delays", "weekly"):
        await world.job(name)

    page = await world.client.list_jobs(name="daily")

    assert ([job.name for job in page.items], page.count) == (["daily_sales", "daily_delays"], 2)
    assert (await world.client.list_jobs(name="monthly")).items == []


async def test_runs_are_listed_newest_first_page_by_page(world):
    job = await world.job(max_concurrent_runs=1)
    ids = [await world.start(job) for _ in range(5)]

    pages = [page async for page in world.client.pages(job.job_id, limit=2)]

    assert [[run.job_execution_id for run in page.items] for page in pages] == [
        [ids[4], ids[3]],
        [ids[2], ids[1]],
        [ids[0]],
    ]
    assert [(page.count, page.page, page.limit) for page in pages] == [(5, 0, 2), (5, 1, 2), (5, 2, 2)]


async def test_a_limit_of_0_lists_nothing_and_counts_all(world):
    await world.job()

    response = await world.send("GET", "/api/v1/jobs?limit=0")

    assert response.json() == {"list": [], "count": 1, "page": 0, "limit": 0}


async def test_a_page_beyond_the_end_is_empty(world):
    job = await world.job()

    page = await world.client.list_executions(job.job_id, page=7, limit=3)

    assert (page.items, page.count, page.page, page.limit) == ([], 0, 7, 3)


@pytest.mark.parametrize("path", ["jobs", "jobs/{job_id}/executions"])
@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("page=-1", "page: '-1' is not a whole number from 0"),
        ("limit=ten", "limit: 'ten' is not a whole number from 0"),
        ("page=", "page: '' is not a whole number from 0"),
        ("limit=99999999999999999999", "limit: '99999999999999999999' is not a whole number from 0"),
    ],
    ids=["negative", "a word", "empty", "too large"],
)
async def test_an_invalid_page_is_refused(world, path, query, detail):
    job = await world.job()

    response = await world.send("GET", f"/api/v1/{path.format(job_id=job.job_id)}?{query}")

    assert (response.status_code, response.json()) == (400, {"detail": detail, "errorType": "bad-parameter"})


async def test_runs_over_the_jobs_limit_are_ready_and_say_what_they_wait_for(world):
    job = await world.job(max_concurrent_runs=1)
    first, second = await world.start(job), await world.start(job)
    await until(lambda: first in world.runs.begun())

    waiting = await world.client.get_execution(job.job_id, second)
    assert (waiting.status, waiting.status_detail) == (
        "READY",
        "a free slot: its job runs 1 at a time (maxConcurrentRuns)",
    )
    assert (await world.client.get_execution(job.job_id, first)).status_detail == "starting Spark"

    world.clock.advance(minutes=2)
    world.runs.start(first)
    world.runs.complete(first)
    world.runs.start(second)
    running = await world.reached(job, second, "RUNNING")
    assert (running.waiting_time, running.status_detail) == (2, None)


async def test_runs_over_the_services_limit_are_ready_and_say_what_they_wait_for(tmp_path):
    async with a_world(tmp_path, slots=2) as world:
        job = await world.job()
        ids = [await world.start(job) for _ in range(3)]
        await until(lambda: world.runs.begun() == ids[:2])

        listed = (await world.client.list_executions(job.job_id)).items

        assert [run.status for run in listed] == ["READY"] * 3
        assert [run.status_detail for run in listed] == [
            "a free slot: the local service runs 2 at a time",
            "starting Spark",
            "starting Spark",
        ]


async def test_a_waiting_run_is_canceled_at_once(world):
    job = await world.job(max_concurrent_runs=1)
    first, second = await world.start(job), await world.start(job)
    await until(lambda: first in world.runs.begun())

    assert await world.client.cancel_execution(job.job_id, second) is True

    over = await world.client.get_execution(job.job_id, second)
    assert (over.status, over.status_detail) == ("CANCELED", "canceled before it started")
    assert over.end_date is not None


async def test_a_running_run_is_canceled_when_its_runner_returns(world):
    job = await world.job()
    run_id = await world.start(job)
    world.runs.start(run_id)
    await world.reached(job, run_id, "RUNNING")

    response = await world.send("POST", f"/api/v1/jobs/{job.job_id}/executions/{run_id}/cancel")

    assert (response.status_code, response.content) == (200, b"true")
    assert (await world.reached(job, run_id, "CANCELED")).status_detail == "canceled on request"


async def test_a_run_that_is_over_cannot_be_canceled(world):
    job = await world.job()
    run_id = await world.start(job)
    world.runs.fail(run_id, "no script")
    await world.reached(job, run_id, "FAILED")

    with pytest.raises(errors.BadState) as refused:
        await world.client.cancel_execution(job.job_id, run_id)

    assert (
        refused.value.detail == f"run {run_id} is over (FAILED); only a READY or RUNNING run can be canceled"
    )


NO_PROGRESS = {
    "stagesDone": 0,
    "stagesTotal": 0,
    "tasksDone": 0,
    "tasksFailed": 0,
    "tasksTotal": 0,
    "running": [],
    "isOver": False,
}


async def progress_of(world: World, job_id: str, run_id: str) -> tuple[int, Any]:
    answer = await world.send("GET", f"/local/v1/jobs/{job_id}/executions/{run_id}/progress")
    return answer.status_code, answer.json()


async def test_the_progress_of_a_run_comes_from_its_event_log(world):
    job = await world.job()
    run_id = await world.start(job)
    assert await progress_of(world, job.job_id, run_id) == (200, NO_PROGRESS)

    log = world.folder / "objects" / "b" / "logs" / run_id / "events" / "eventlog_v2_local-1"
    log.mkdir(parents=True)
    stage = '{"Stage ID":0,"Stage Attempt ID":0,"Stage Name":"count","Number of Tasks":4}'
    (log / "events_1_local-1").write_text(
        f'{{"Event":"SparkListenerStageSubmitted","Stage Info":{stage}}}\n'
        '{"Event":"SparkListenerTaskEnd","Stage ID":0,"Stage Attempt ID":0,"Task End Reason":{"Reason":"Success"}}\n'
    )
    world.runs.start(run_id)
    counts = NO_PROGRESS | {"stagesTotal": 1, "tasksDone": 1, "tasksTotal": 4}
    running = [{"stageId": 0, "name": "count", "tasksDone": 1, "tasksFailed": 0, "tasksTotal": 4}]
    assert await progress_of(world, job.job_id, run_id) == (200, counts | {"running": running})

    world.runs.complete(run_id)
    await world.reached(job, run_id, "COMPLETED")
    assert await progress_of(world, job.job_id, run_id) == (200, counts | {"isOver": True})


async def test_a_run_whose_log_path_is_too_long_has_no_progress(world):
    job = await world.job()
    condition = CONDITION.model_copy(update={"log_path": "b/" + "x/" * 510})
    run = await world.client.execute_job(job.job_id, condition, {})
    assert await progress_of(world, job.job_id, run.job_execution_id) == (200, NO_PROGRESS)

    world.runs.fail(run.job_execution_id, "no such folder")
    await world.reached(job, run.job_execution_id, "FAILED")
    assert await progress_of(world, job.job_id, run.job_execution_id) == (200, NO_PROGRESS | {"isOver": True})


async def test_the_progress_of_an_unknown_run_is_not_found(world):
    job, other = await world.job(), await world.job("other")
    run_id = await world.start(other)

    assert await progress_of(world, job.job_id, run_id) == (
        404,
        {"detail": f"executionId: job {job.job_id} has no run '{run_id}'", "errorType": "not-found"},
    )
    assert (await progress_of(world, "NOSUCHJOB000", run_id))[0] == 404


async def test_the_service_returns_the_folder_of_its_objects(world):
    job = await world.job()
    run_id = await world.start(job)
    await until(lambda: run_id in world.runs.begun())

    response = await world.send("GET", "/local/v1/service")

    assert response.json() == {
        "folder": str(world.folder),
        "objects": str(world.folder / "objects"),
        "pid": os.getpid(),
        "contract": "executejob",
        "activeRuns": 1,
    }
    assert await world.client.local_objects() == world.folder / "objects"


async def test_the_health_of_the_service_needs_no_signature(world):
    response = await world.http.get(f"{BASE}/local/v1/health")
    assert (response.status_code, response.json()) == (
        200,
        {"status": "ok", "version": version("dataflow-magic")},
    )

    with hidden(world.folder, "runs"):
        ill = await world.http.get(f"{BASE}/local/v1/health")
    assert (ill.status_code, ill.json()["error"]["details"]) == (
        503,
        "The database cannot be used: no such table: runs.",
    )


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
async def test_health_says_within_two_seconds_that_the_database_is_locked(world, lock):
    with closing(sqlite3.connect(world.folder / "state.sqlite3", isolation_level=None)) as db:
        db.execute(lock)
        with anyio.fail_after(2):
            ill = await world.http.get(f"{BASE}/local/v1/health")

    assert (ill.status_code, ill.json()["error"]["details"]) == (
        503,
        "The database cannot be used: database is locked.",
    )
    assert (await world.http.get(f"{BASE}/local/v1/health")).status_code == 200


async def test_events_are_logged_with_ids_and_nothing_private(world, caplog):
    caplog.set_level(logging.INFO, "dataflow_magic.local")
    job = await world.job("private_name", max_concurrent_runs=1)
    run_id = await world.start(job, **{"$private": "private value"})
    world.runs.start(run_id)
    await world.reached(job, run_id, "RUNNING")
    world.runs.fail(run_id, "ValueError: private words")
    await world.reached(job, run_id, "FAILED")
    other = await world.start(job)
    await world.client.cancel_execution(job.job_id, other)
    await world.reached(job, other, "CANCELED")
    await world.send("PATCH", f"/api/v1/jobs/{job.job_id}", b'{"type": "SCRIPT", "private": 1}')
    await world.send("DELETE", f"/api/v1/jobs/{job.job_id}")

    ours = [record for record in caplog.records if record.name.startswith("dataflow_magic.local")]
    lines = [json.loads(JsonLines().format(record)) for record in ours]
    seen = [(line["event"], line.get("runId"), line.get("state")) for line in lines]
    ends = seen.index(("a run has ended", other, "CANCELED"))
    if seen[ends + 1][0] == "a cancel was requested":  # a run may end before the answer to its cancel
        seen[ends : ends + 2] = reversed(seen[ends : ends + 2])
    assert seen == [
        ("a job was created", None, None),
        ("a run was accepted", run_id, None),
        ("a run's script starts", run_id, None),
        ("a run has ended", run_id, "FAILED"),
        ("a run was accepted", other, None),
        ("a cancel was requested", other, None),
        ("a run has ended", other, "CANCELED"),
        ("a job was changed", None, None),
        ("a job was deleted", None, None),
    ]
    assert {line.get("jobId") for line in lines} == {job.job_id, None}
    assert "private" not in json.dumps(lines)


async def test_an_error_of_the_service_is_the_gateways_500(world):
    job = await world.job()
    with hidden(world.folder, "jobs"):
        response = await world.send("GET", f"/api/v1/jobs/{job.job_id}")

    assert (response.status_code, response.json()) == (
        500,
        {"error": {"errorCode": "900", "message": "Unexpected Error", "details": "OperationalError"}},
    )


async def test_concurrent_starts_are_each_stored_once(world):
    job = await world.job()
    target = f"/api/v1/jobs/{job.job_id}/executions"
    ids: set[str] = set()

    async def start() -> None:
        response = await world.send("POST", target, as_json(BODY))
        ids.add(response.json()["jobExecutionId"])

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(start)

    assert len(ids) == 20
    assert {run.job_execution_id for run in (await world.client.list_executions(job.job_id)).items} == ids
