import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic import errors
from dataflow_magic.client.client import _segment, execution_body
from dataflow_magic.models.view import Progress
from dataflow_magic.models.wire import JobCondition, JobExecution
from tests.client.fakes import (
    ACCESS,
    CONDITION,
    JOB,
    RUN,
    client,
    server,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_no_pauses")]


# Requests


async def test_a_start_sends_the_request_of_the_executejob_page():
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
async def test_each_call_signs_its_own_target(call, target):
    fake = server({**RUN, **JOB, "list": [], "objects": "/x"})

    await call(client(fake))  # the fake refuses a signature over anything but the raw target

    assert fake.targets == [target]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_id_changes_which_address_is_called(text):
    if text in {".", ".."}:
        return
    url = httpx.URL(f"http://x/api/v1/jobs/{_segment(text)}/executions?page=0")

    before, inside, after = url.raw_path.decode().partition("/executions?page=0")
    assert before == f"/api/v1/jobs/{_segment(text)}"
    assert (inside, after) == ("/executions?page=0", "")
    assert url.path == f"/api/v1/jobs/{text}/executions"


@pytest.mark.parametrize("job_id", ["", ".", ".."])
async def test_an_invalid_id_is_refused_before_anything_is_sent(job_id):
    fake = server(RUN)

    with pytest.raises(errors.CellError, match="is not an id"):
        await client(fake).execute_job(job_id)

    assert fake.requests == []


async def test_an_update_sends_the_given_fields_only():
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
async def test_a_service_without_patch_gets_the_put_of_the_older_pages(refusal):
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
async def test_a_refused_update_is_not_sent_as_a_put(status, kind, error):
    fake = server(httpx.Response(status, json={"detail": "no", "errorType": kind}))

    with pytest.raises(error):
        await client(fake).update_job("J", condition=CONDITION)

    assert fake.targets == ["PATCH /api/v1/jobs/J"]


async def test_an_update_is_sent_again_after_a_lost_response():
    fake = server(httpx.ReadTimeout, httpx.Response(503), JOB)

    assert (await client(fake).update_job("J", condition=CONDITION)).name == "daily_sales"
    assert fake.targets == ["PATCH /api/v1/jobs/J"] * 3


async def test_a_new_job_is_sent_with_the_given_fields_only():
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
def test_a_body_holds_the_set_fields_in_the_page_s_order(condition, parameters, body):
    made = execution_body(condition, parameters)

    assert made == body
    assert list(made.get("jobCondition", {})) == list(body.get("jobCondition", {}))


async def test_a_slash_at_the_end_of_the_address_is_not_doubled():
    fake = server(JOB)

    await client(fake, endpoint="https://gw.example.com/").get_job("J")

    assert str(fake.requests[0].url) == "https://gw.example.com/api/v1/jobs/J"


# Responses


@pytest.mark.parametrize(
    ("content", "asked"),
    [(b"true", True), (b"", True), (b" false\n", False), (b'{"ok": 1}', True), (b"\xff", True)],
)
async def test_a_cancel_is_accepted_unless_the_service_answers_false(content, asked):
    fake = server(httpx.Response(200, content=content))

    assert await client(fake).cancel_execution("J", "R") is asked


async def test_json_is_read_with_any_content_type():
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
async def test_a_response_that_breaks_the_contract_raises_service_broken(content):
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
async def test_an_accepted_start_without_a_readable_run_has_an_unknown_outcome(content):
    fake = server(httpx.Response(202, content=content))

    with pytest.raises(errors.OutcomeUnknown, match="something that is not a JobExecution"):
        await client(fake).execute_job("J", CONDITION)

    assert len(fake.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_a_start_accepts_every_success_status(status):
    fake = server(httpx.Response(status, json=RUN))

    assert (await client(fake).execute_job("J", CONDITION)).status == "READY"


@pytest.mark.parametrize(
    ("sizes", "limit", "asked"),
    [([3], 5, 1), ([5, 5, 2], 5, 3), ([5, 0], 5, 2), ([0], 5, 1), ([5] * 30, 5, 4)],
    ids=["a short page", "full pages", "an empty page after a full one", "none", "at most four"],
)
async def test_pages_are_read_up_to_the_first_short_one(sizes, limit, asked):
    fake = server(*({"list": [RUN] * size, "page": 0, "limit": limit} for size in sizes))

    pages = [len(page.items) async for page in client(fake).pages("J", limit=limit, most=4)]

    assert pages == sizes[:asked]
    assert fake.targets == [f"GET /api/v1/jobs/J/executions?page={n}&limit={limit}" for n in range(asked)]


async def test_a_service_with_smaller_pages_is_read_to_the_end():
    fake = server(*({"list": [RUN] * size, "limit": 2} for size in (2, 2, 1)))

    assert [len(page.items) async for page in client(fake).pages("J")] == [2, 2, 1]
    assert fake.targets == [f"GET /api/v1/jobs/J/executions?page={n}&limit=1000" for n in range(3)]


async def test_at_most_twenty_pages_are_read():
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
        "no local service",
        "other keys",
        "no folder",
        "a list",
        "null",
        "HTML",
        "nesting",
    ],
)
async def test_only_a_local_service_has_an_object_folder(answer, folder):
    assert await client(server(answer)).local_objects() == folder


PROGRESS = {
    "stagesDone": 1,
    "stagesTotal": 3,
    "tasksDone": 5,
    "tasksTotal": 8,
    "tasksFailed": 2,
    "running": [{"name": "count"}, {"name": "save"}],
}


@pytest.mark.parametrize(
    ("answer", "progress"),
    [
        (httpx.Response(200, json=PROGRESS), Progress(1, 3, 5, 8, attempts_failed=2, doing="count, save")),
        (httpx.Response(404), None),
        (httpx.Response(200, json={**PROGRESS, "tasksDone": "many"}), None),
        (httpx.Response(200, text="<html>"), None),
    ],
    ids=["a local service", "no local service", "words for a number", "HTML"],
)
async def test_only_a_local_service_shows_progress(answer, progress):
    fake = server(answer)

    assert await client(fake).local_progress("J", "R") == progress
    assert fake.targets == ["GET /local/v1/jobs/J/executions/R/progress"]


# Deltas


async def deltas(fake: Any, marks: dict[str, int | None]) -> list[tuple[str, int, str | None]]:
    return [
        (new.run_id, new.mark, new.execution.status if new.execution else None)
        async for page in client(fake).deltas("J", marks)
        for new in page
    ]


async def test_news_parse_only_changed_runs_of_those_asked_for_and_have_the_ids_of_others():
    def page(status: str) -> httpx.Response:
        items = [{"jobExecutionId": name, "status": status if name == "b" else "READY"} for name in "abc"]
        return httpx.Response(200, json={"list": items})

    first = await deltas(server(page("READY")), {"a": None, "b": None})
    marks: dict[str, int | None] = {run_id: mark for run_id, mark, _ in first}

    assert [(run_id, status) for run_id, _, status in first] == [("a", "READY"), ("b", "READY"), ("c", None)]
    assert first[2] == ("c", 0, None)
    del marks["c"]
    assert [(run_id, status) for run_id, _, status in await deltas(server(page("RUNNING")), marks)] == [
        ("a", None),
        ("b", "RUNNING"),
        ("c", None),
    ]


async def test_news_are_read_up_to_the_first_short_page():
    pages = [
        httpx.Response(200, json={"list": [{"jobExecutionId": name} for name in names], "limit": 2})
        for names in ("ab", "c")
    ]
    fake = server(*pages)

    assert [run_id for run_id, _, _ in await deltas(fake, {"a": None, "c": None})] == ["a", "b", "c"]
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
async def test_unreadable_news_raise_service_broken(body):
    fake = server(*[httpx.Response(200, content=body)] * 4)

    with pytest.raises(errors.ServiceBroken, match="something that is not a"):
        await deltas(fake, {"a": None})
