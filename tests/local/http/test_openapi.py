"""The published document, and a service that gets requests the document allows and requests it does not."""

import json
import re
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance

from dataflow_magic.files import InvalidKey, object_path
from dataflow_magic.local.http.app import RUN, operations
from dataflow_magic.local.http.openapi import document
from dataflow_magic.local.http.requests import PATH
from dataflow_magic.local.options import Contract
from dataflow_magic.models.wire import RunState
from dataflow_magic.signing import sign
from tests.helpers import ACCESS_KEY, CONDITION, SECRET_KEY, ScriptedService, at_a_port

OPERATIONS = [
    pytest.param(contract, each.method, each.path, id=f"{contract} {each.name}")
    for contract in Contract
    for each in operations(contract)
]


# A run that is over cannot be canceled; no schema can say so.
LEFT_OUT = {f"{RUN}/cancel": [positive_data_acceptance]}


class Signed(requests.auth.AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        now = int(time.time() * 1000)
        assert request.method
        request.headers["x-ncp-apigw-timestamp"] = str(now)
        request.headers["x-ncp-iam-access-key"] = ACCESS_KEY
        request.headers["x-ncp-apigw-signature-v2"] = sign(
            request.method, request.path_url.encode(), now, ACCESS_KEY, SECRET_KEY
        )
        return request


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[dict[Contract, tuple[ScriptedService, str, Any]]]:
    """A service per contract, its URL, and its document."""
    first = ScriptedService(tmp_path_factory.mktemp("first"), Contract.EXECUTE_JOB)
    second = ScriptedService(tmp_path_factory.mktemp("second"), Contract.OCTOBER_2026)
    with at_a_port(first) as one, at_a_port(second) as other:
        yield {
            service.contract: (
                service,
                address,
                schemathesis.openapi.from_url(address + "/local/v1/openapi.json"),
            )
            for service, address in [(first, one), (second, other)]
        }


@pytest.mark.parametrize(("contract", "method", "path"), OPERATIONS)
def test_every_request_gets_a_response_that_the_document_describes(services, contract, method, path):
    service, address, schema = services[contract]
    job = service.store.add_job("asked", "SCRIPT", max_concurrent_runs=None, condition=CONDITION, extra={})
    run = service.store.add_run(
        job, condition=CONDITION, parameters={"$a": 1}, trigger_id="T", workflow_id=None
    )
    service.store.move(run.run_id, RunState.FAILED, "no such table")
    known = {"jobId": job.job_id, "executionId": run.run_id}

    @settings(max_examples=10, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=schema[path][method].as_strategy(), is_known=st.booleans())
    def ask(case: Any, is_known: bool) -> None:
        if is_known:
            case.path_parameters.update({name: known[name] for name in case.path_parameters})
        # Two rules no schema can say: a job keeps its type, and a visual job stores no parameters.
        if isinstance(case.body, dict) and case.body.get("type") == "VISUAL":
            case.body["type"] = "SCRIPT"
        case.call_and_validate(auth=Signed(), excluded_checks=LEFT_OUT.get(path, []))

    ask()
    requests.delete(f"{address}/local/v1/faults", auth=Signed(), timeout=20)  # those the requests set


@pytest.mark.parametrize("contract", list(Contract))
def test_the_document_has_the_routes_and_which_need_a_signature(services, contract):
    _, address, _ = services[contract]
    described = requests.get(f"{address}/local/v1/openapi.json", timeout=20).json()

    title = f"Data Flow, local service ({contract})"
    assert described == json.loads(
        json.dumps(document(operations(contract), title, version("dataflow-magic")))
    )
    for path, methods in described["paths"].items():
        url = address + path.format(jobId="NOSUCHJOB000", executionId="NOSUCHRUN000")
        for method in ("get", "post", "put", "patch", "delete"):
            answer = requests.request(method, url, auth=Signed(), timeout=20)
            is_nowhere = answer.status_code == 404 and "error" in answer.json()
            assert is_nowhere == (method not in methods)
            if method in methods:
                unsigned = requests.request(method, url, timeout=20)
                assert unsigned.status_code == (200 if methods[method].get("security") == [] else 401)


@given(path=st.from_regex(PATH) | st.text("ab./\\\0é", max_size=12))
def test_the_pattern_of_paths_in_the_document_is_the_services_rule(path):
    try:
        object_path(Path(), path)
    except InvalidKey:
        allowed = False
    else:
        allowed = True

    assert (re.fullmatch(PATH, path) is not None) == allowed
