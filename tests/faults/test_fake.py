"""The fake service shares no code with the package's own, and does what its rules say."""

import json
import subprocess
import sys
from email.utils import formatdate
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults.fake import ACCESS_KEY, CONDITION, FakeService, Rules, signature

NOW = 1_800_000_000.0
CREATED = "2027-01-15T17:00:00+09:00"


def asked(
    service: FakeService, method: str, target: str, body: object = None, source: str = ""
) -> tuple[int, Any]:
    stamp = str(int(service.clock() * 1000))
    headers = (
        f"\r\nx-ncp-apigw-timestamp: {stamp}\r\nx-ncp-iam-access-key: {ACCESS_KEY}\r\n"
        f"x-ncp-apigw-signature-v2: {signature(method.encode(), target.encode(), stamp)}\r\n"
    )
    answer = service.answer(method, target, headers.encode(), json.dumps(body).encode(), source)
    head, _, content = answer.partition(b"\r\n\r\n")
    assert (b"date: " + formatdate(service.clock(), usegmt=True).encode() in head) == service.rules.shows_date
    return int(head.split()[1]), json.loads(content)


def a_service(rules: Rules) -> tuple[FakeService, str]:
    service = FakeService(Random(0), lambda: NOW, rules)  # noqa: S311
    return service, f"/api/v1/jobs/{service.new_job('daily')}/executions"


def test_the_schedules_import_nothing_of_the_local_service_and_no_signing_of_the_package_in_the_fake():
    program = (
        "import sys, tests.faults.fake as fake\n"
        "assert not [name for name in sys.modules if name.startswith('dataflow_magic')]\n"
        "import tests.faults.schedules\n"
        "print([name for name in sys.modules if name.startswith('dataflow_magic.local')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_start_is_recorded_with_who_sent_it_and_is_listed():
    service, runs = a_service(Rules())
    body = {"jobCondition": CONDITION, "parameters": {"$a": 1}}

    status, answered = asked(service, "POST", f"{runs}?triggerId=t1", body, source="key1")
    _, page = asked(service, "GET", f"{runs}?page=0&limit=10")

    (run,) = service.runs
    assert (status, run.source, run.query) == (200, "key1", {"triggerId": "t1"})
    shown = {
        "jobExecutionId": run.run_id,
        "jobId": run.job_id,
        "status": "READY",
        "createdDate": CREATED,
        "startDate": CREATED,
        "runningTime": 0,
        "jobCondition": CONDITION,
        "type": "JOB",
        "triggerId": "t1",
        "parsedParameters": {"$a": 1},
    }
    assert answered == shown
    assert page == {"list": [shown], "page": 0, "limit": 10, "count": 1}


@pytest.mark.parametrize("ahead", [-301, 301])
def test_a_signature_counts_for_five_minutes_by_the_services_clock(ahead):
    service, runs = a_service(Rules())
    stamp = str(int((NOW + ahead) * 1000))
    headers = f"\r\nx-ncp-apigw-timestamp: {stamp}\r\nx-ncp-iam-access-key: {ACCESS_KEY}\r\n"
    headers += f"x-ncp-apigw-signature-v2: {signature(b'POST', runs.encode(), stamp)}\r\n"

    assert service.answer("POST", runs, headers.encode(), b"{}", "key1").startswith(b"HTTP/1.1 401 ")
    service.ahead_seconds = ahead
    assert service.answer("POST", runs, headers.encode(), b"{}", "key1").startswith(b"HTTP/1.1 400 "), (
        "no condition"
    )


def test_the_signature_is_that_of_a_known_vector():
    target = b"/vserver/v2/createServerInstances?regionCode=KR"

    made = signature(b"POST", target, "1700000000000", "AK_TEST", "SK_TEST")

    assert made == "xBcE26XFU55BMjppdPT7ZY3oDrqoOedfPyAn3Cq4lUw="


def test_pages_are_capped_with_and_without_an_echo_of_the_cap():
    for rules, limit in (
        (Rules(page_cap=2, count="missing", echo_limit="cap"), 2),
        (Rules(page_cap=2, count="missing", echo_limit="asked"), 1000),
        (Rules(page_cap=2, count="missing", echo_limit="none"), None),
    ):
        service, runs = a_service(rules)
        ids = [service.add_run(runs.split("/")[4], "key1", CONDITION, {}).run_id for _ in range(3)]

        pages = [asked(service, "GET", f"{runs}?page={number}&limit=1000")[1] for number in range(3)]

        assert [[item["jobExecutionId"] for item in page["list"]] for page in pages] == [
            [ids[2], ids[1]],
            [ids[0]],
            [],
        ]
        assert all(page.get("limit") == limit and "count" not in page for page in pages)


@pytest.mark.parametrize(
    ("rules", "shown"),
    [
        (Rules(parameters="objects", names="bare"), [{"a": "1"}, {"b": 2}]),
        (Rules(numbers="text"), {"$a": "1", "$b": "2"}),
        (Rules(numbers="number"), {"$a": 1, "$b": 2}),
        (Rules(parameters="empty"), []),
        (Rules(parameters="null"), None),
        (Rules(parameters_when="running"), []),
        (Rules(parameters_when="running", ready_seconds=0), {"$a": "1", "$b": 2}),
    ],
)
def test_a_run_shows_its_parameters_by_the_rules(rules, shown):
    service, runs = a_service(rules)
    service.add_run(runs.split("/")[4], "key1", CONDITION, {"$a": "1", "$b": 2})

    _, page = asked(service, "GET", f"{runs}?page=0&limit=10")

    assert page["list"][0]["parsedParameters"] == shown


def test_a_list_lags_and_hides_what_the_rules_hide():
    service, runs = a_service(Rules(shows_type=False, shows_trigger=False, shows_date=False, slash="none"))
    service.add_run(runs.split("/")[4], "trigger", CONDITION, {}, {"triggerId": "t1"}, type="WORKFLOW")
    service.lag_seconds = 1.0
    assert asked(service, "GET", f"{runs}?page=0&limit=10")[1]["list"] == []

    service.lag_seconds = 0.0
    (item,) = asked(service, "GET", f"{runs}?page=0&limit=10")[1]["list"]

    assert "type" not in item
    assert "triggerId" not in item
    assert item["jobCondition"]["logPath"] == "bucket/logs"
