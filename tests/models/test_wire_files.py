"""Golden bodies: each file of ``tests/wire/`` holds one body as a service sends it, its kind and its source."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic import errors
from dataflow_magic.client.client import Client
from dataflow_magic.client.responses import raise_for
from dataflow_magic.local.http.requests import PageExecution, read
from dataflow_magic.local.http.responses import started_response
from dataflow_magic.local.store import StoredRun
from dataflow_magic.models.wire import KST, Job, JobCondition, JobExecution, Page, WireModel

FILES = {
    file.stem: json.loads(file.read_text()) for file in sorted(Path(__file__).parents[1].glob("wire/*.json"))
}
MODELS: dict[str, type[WireModel]] = {
    "Job": Job,
    "JobExecution": JobExecution,
    "Page[Job]": Page[Job],
    "Page[JobExecution]": Page[JobExecution],
}
READABLE = [name for name, file in FILES.items() if file["kind"] in MODELS]
ERRORS = [name for name, file in FILES.items() if file["kind"] == "error"]


def body(name: str) -> Any:
    return FILES[name]["body"]


def run(name: str) -> JobExecution:
    return JobExecution.model_validate(body(name))


# Dates whose text changes though the instant does not: UTC is written as Z, and a missing zone as +09:00.
WRITTEN_DIFFERENTLY = {
    "execution-date-without-a-zone": {
        "createdDate": "2025-03-20T17:27:17+09:00",
        "startDate": "2025-03-20T08:27:17Z",
    }
}
# A job answer of the newest pages says jobCondition; it is written as runCondition, the name of the older ones.
RENAMED = {"job-2026": ("jobCondition", "runCondition")}


@pytest.mark.parametrize("name", READABLE)
def test_a_body_is_written_as_it_was_read(name):
    model = MODELS[FILES[name]["kind"]].model_validate(body(name))

    expected = {**body(name), **WRITTEN_DIFFERENTLY.get(name, {})}
    if name in RENAMED:
        old, new = RENAMED[name]
        expected[new] = expected.pop(old)
    assert model.to_wire() == expected


@pytest.mark.parametrize("name", READABLE)
def test_a_written_body_reads_as_the_same_value(name):
    model = MODELS[FILES[name]["kind"]]
    first = model.model_validate(body(name))

    assert model.model_validate(json.loads(json.dumps(first.to_wire()))) == first


def test_every_file_has_a_source_and_a_use():
    assert {*READABLE, *ERRORS, "execute-job.request"} == set(FILES)
    assert [name for name, file in FILES.items() if not file["source"]] == []


@pytest.mark.anyio
async def test_execute_job_sends_the_bytes_of_the_page_and_reads_its_answer():
    sent: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.read())
        return httpx.Response(200, json=body("execute-job.response"))

    condition = JobCondition(
        worker_type="DEFAULT",
        num_worker=2,
        timeout=360,
        nrn="nrn:PUB:IAM::*******:Role/********-0496-11f0-baf6-246e96591a38",
        script_path="dataflow-2706412-****/scripts/",
        log_path="dataflow-2706412-****/sparkHistoryLogs/",
    )
    async with Client("access", "secret", transport=httpx.MockTransport(answer)) as client:
        started = await client.execute_job("gqigvH", condition, {"$table_name": "test.sample_table2"})

    # The page's example without its line breaks; every name and value is in the page's order.
    assert sent == [json.dumps(body("execute-job.request"), separators=(",", ":")).encode()]
    assert started == JobExecution(
        job_execution_id="p4Y5Pk******",
        job_id="gqigvH******",
        job_condition=condition,
        status="READY",
        start_date=datetime(2025, 3, 20, 17, 27, 17, tzinfo=KST),
        created_date=datetime(2025, 3, 20, 17, 27, 17, tzinfo=KST),
        running_time=0,
        parsed_parameters=[],
        type="JOB",
    )
    assert not started.is_final


def test_the_local_service_reads_the_page_s_request_and_gives_the_page_s_answer():
    execution = read(PageExecution, json.dumps(body("execute-job.request")).encode())
    parameters = dict(execution.parameters)
    stored = StoredRun(
        run_id="p4Y5Pk******",
        job_id="gqigvH******",
        job_name="daily_sales",
        condition=execution.jobCondition.model_dump(),
        parameters=parameters,
        trigger_id=None,
        workflow_id=None,
        status="READY",
        detail="",
        created=datetime(2025, 3, 20, 17, 27, 17, tzinfo=KST),
        started=None,
        ended=None,
        max_concurrent_runs=None,
    )

    assert parameters == {"$table_name": "test.sample_table2"}
    assert started_response(stored) == body("execute-job.response")
    assert list(started_response(stored)) == list(body("execute-job.response"))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("missing", {}),
        ("null", {}),
        ("empty-list", {}),
        ("list-of-objects", {"$table_name": "test.sample_table2", "$run_date": "2026-11-01"}),
        ("object", {"$table_name": "test.sample_table2", "$run_date": "2026-11-01"}),
    ],
)
def test_each_form_of_parsed_parameters_is_one_mapping(name, parameters):
    assert run(f"execution-parsed-parameters-{name}").parameters == parameters


@pytest.mark.parametrize(
    ("name", "over"),
    [
        ("execute-job.response", False),
        ("execution-with-console-log", True),
        ("execution-unknown-status", False),
        ("execution-unknown-status-ended", True),
    ],
)
def test_a_run_is_over_when_its_state_or_its_end_says_so(name, over):
    assert run(name).is_final is over


def test_a_run_has_the_path_of_its_console_log():
    condition = run("execution-with-console-log").job_condition

    assert condition is not None
    assert condition.model_extra == {"consoleLogPath": "dataflow-2706412-****/consoleLogs/p4Y5Pk/"}


def test_both_kinds_of_job_have_their_condition():
    jobs = [Job.model_validate(body(name)) for name in ("job-2025", "job-2026")]

    assert [job.condition.log_path for job in jobs] == ["dataflow-2706412-****/sparkHistoryLogs/"] * 2
    assert [job.condition.worker_type for job in jobs] == ["DEFAULT", None]
    assert [job.type for job in jobs] == ["DATAFLOW", "SCRIPT"]


def test_a_page_holds_its_items_in_order():
    page = Page[JobExecution].model_validate(body("executions"))

    assert [execution.job_execution_id for execution in page.items] == ["p4Y5Pk******", "mY3275******"]
    assert [execution.status for execution in page.items] == ["FAILED", "READY"]


EXPECTED = {
    "error-gateway-endpoint-error": (errors.ServiceBroken, "the service failed (503: Endpoint Error)"),
    "error-gateway-endpoint-timeout": (errors.ServiceBroken, "the service failed (504: Endpoint Timeout)"),
    "error-gateway-headers-missing": (
        errors.NotSignedIn,
        "signature refused (401: Authentication Failed. Authentication information are missing); "
        "check the access key, the secret key and this machine's clock",
    ),
    "error-gateway-no-subscription": (
        errors.NotAllowed,
        "not allowed (401: Permission Denied. A subscription to the API is required); "
        "the key lacks the permission",
    ),
    "error-gateway-number-for-a-code": (
        errors.NotAllowed,
        "not allowed (401: Permission Denied. A subscription to the API is required); "
        "the key lacks the permission",
    ),
    "error-gateway-protocol": (
        errors.RequestRejected,
        "refused (400: Bad Request Exception. HTTPS is required)",
    ),
    "error-gateway-quota": (errors.TooManyRequests, "too many requests (429: Quota Exceeded)"),
    "error-gateway-rate": (errors.TooManyRequests, "too many requests (429: Rate Limited)"),
    "error-gateway-signature-refused": (
        errors.NotSignedIn,
        "signature refused (401: Authentication Failed. Invalid authentication information); "
        "check the access key, the secret key and this machine's clock",
    ),
    "error-gateway-throttled": (errors.TooManyRequests, "too many requests (429: Throttle Limited)"),
    "error-gateway-too-large": (errors.RequestRejected, "refused (413: Request Entity Too Large)"),
    "error-gateway-unexpected": (errors.ServiceBroken, "the service failed (500: Unexpected Error)"),
    "error-gateway-unknown-address": (
        errors.NotFound,
        "no such address at the gateway (404: Not Found Exception. URL not found)",
    ),
    "error-other-response-error": (errors.RequestRejected, "refused (400: Authentication limited)"),
    "error-other-spring": (
        errors.NotAllowed,
        "not allowed (403: Forbidden. Access Denied); the key lacks the permission",
    ),
    "error-other-top-level": (errors.RequestRejected, "refused (400: jobId is required)"),
    "error-service-bad-parameter": (
        errors.BadParameter,
        "refused a value (400 bad-parameter: jobCondition.numWorker: must be between 2 and 10)",
    ),
    "error-service-bad-state": (
        errors.BadState,
        "not possible now (400 bad-state: the job is being edited)",
    ),
    "error-service-not-found": (errors.NotFound, "not found (404: job gqigvH****** does not exist)"),
}
CODES = {
    "error-gateway-headers-missing": "200",
    "error-gateway-number-for-a-code": "210",
    "error-gateway-throttled": "410",
    "error-other-response-error": "800",
    "error-other-top-level": "1000",
    "error-service-not-found": "not-found",
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain;charset=UTF-8"])
def test_an_error_s_body_says_who_has_to_act(name, content_type):
    kind, message = EXPECTED[name]
    content = json.dumps(body(name)).encode()
    response = httpx.Response(FILES[name]["status"], content=content, headers={"content-type": content_type})

    with pytest.raises(errors.ServiceError) as caught:
        raise_for(response, now=0.0)

    assert type(caught.value) is kind
    assert str(caught.value) == message


@pytest.mark.parametrize("name", CODES)
def test_a_refusal_keeps_the_vendor_s_code_as_text(name):
    with pytest.raises(errors.RequestRejected) as caught:
        raise_for(httpx.Response(FILES[name]["status"], json=body(name)), now=0.0)

    assert caught.value.code == CODES[name]
    assert caught.value.status == FILES[name]["status"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
UNKNOWN = st.dictionaries(st.from_regex(r"zz[A-Za-z]{1,6}", fullmatch=True), JSON, max_size=3)


@given(
    st.sampled_from([name for name in READABLE if FILES[name]["kind"] == "JobExecution"]), UNKNOWN, UNKNOWN
)
def test_unknown_fields_of_a_service_are_kept(name, more, more_condition):
    wire = {**body(name), **more}
    if wire.get("jobCondition"):
        wire["jobCondition"] = {**wire["jobCondition"], **more_condition}

    written = JobExecution.model_validate(wire).to_wire()

    assert written == {**wire, **WRITTEN_DIFFERENTLY.get(name, {})}
