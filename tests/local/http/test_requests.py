import json
from dataclasses import replace
from typing import Any

import pytest

from dataflow_magic.local.http.requests import (
    ExecutionConfig,
    JobCreation,
    JobUpdate,
    PageExecution,
    SettingsExecution,
    read,
    read_paging,
)
from dataflow_magic.local.run import Refusal
from dataflow_magic.local.store import StoredJob
from tests.local.http.stored import JOB, PAGE_RESPONSE, REQUIRED

PAGE_REQUEST = b"""{
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
"""As printed on the executeJob page."""


NO_PATH = "is not a path in object storage: write bucket/key, without a scheme, .. or a leading slash"


def read_execution(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    execution = read(PageExecution, body)
    return execution.condition(JOB), dict(execution.parameters)


def read_execution_over(body: bytes, job: StoredJob) -> tuple[dict[str, Any], dict[str, Any]]:
    execution = read(SettingsExecution, body)
    return execution.condition(job), dict(execution.parameters)


def read_job(body: bytes) -> dict[str, Any]:
    return read(JobCreation, body).fields()


def read_job_update(body: bytes, job: StoredJob) -> dict[str, Any]:
    return read(JobUpdate, body).changes(job)


def read_execution_config(body: bytes, job: StoredJob) -> dict[str, Any]:
    return read(ExecutionConfig, body).changes(job)


def execution(parameters: Any = None, **condition: Any) -> bytes:
    body = {"jobCondition": {**REQUIRED, **condition}}
    return json.dumps(body if parameters is None else {**body, "parameters": parameters}).encode()


def without(field: str) -> bytes:
    return json.dumps({"jobCondition": {k: v for k, v in REQUIRED.items() if k != field}}).encode()


def job(**fields: Any) -> bytes:
    return json.dumps({"name": "daily_sales", "type": "SCRIPT", **fields}).encode()


def test_the_pages_request_is_read():
    assert read_execution(PAGE_REQUEST) == (
        PAGE_RESPONSE["jobCondition"],
        {"$table_name": "test.sample_table2"},
    )


def test_optional_fields_have_the_pages_defaults():
    assert read_execution(execution()) == (
        {"workerType": "DEFAULT", "numWorker": 2, "timeout": 360, **REQUIRED},
        {},
    )


def test_fields_the_page_does_not_have_are_ignored():
    body = json.dumps({"jobCondition": {**REQUIRED, "gpu": 1}, "comment": "x"}).encode()

    condition, parameters = read_execution(body)

    assert "gpu" not in condition
    assert parameters == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workerType", "DEFAULT"),
        ("workerType", "DATAFLOW"),
        ("numWorker", 2),
        ("numWorker", 10),
        ("numWorker", 4.0),
        ("timeout", 0),
        ("timeout", 1440),
        ("scriptPath", "bucket/scripts/daily.py"),
        ("scriptPath", "bucket"),
        ("logPath", "버킷/로그"),
    ],
)
def test_the_whole_documented_range_is_valid(field, value):
    condition, _ = read_execution(execution(**{field: value}))

    assert condition[field] == value


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{}", "jobCondition: Field required"),
        (b'{"jobCondition": null}', "jobCondition: Input should be an object"),
        (b'{"jobCondition": []}', "jobCondition: Input should be an object"),
        (without("nrn"), "jobCondition.nrn: Field required"),
        (without("scriptPath"), "jobCondition.scriptPath: Field required"),
        (without("logPath"), "jobCondition.logPath: Field required"),
        (execution(workerType="GPU"), "jobCondition.workerType: Input should be 'DEFAULT' or 'DATAFLOW'"),
        (execution(workerType=None), "jobCondition.workerType: Input should be 'DEFAULT' or 'DATAFLOW'"),
        (
            execution(numWorker=1),
            "jobCondition.numWorker: Input should be greater than or equal to 2",
        ),
        (
            execution(numWorker=11),
            "jobCondition.numWorker: Input should be less than or equal to 10",
        ),
        (execution(numWorker="4"), "jobCondition.numWorker: Input should be a valid integer"),
        (execution(numWorker=4.5), "jobCondition.numWorker: Input should be a valid integer"),
        (execution(numWorker=True), "jobCondition.numWorker: Input should be a valid integer"),
        (execution(numWorker=None), "jobCondition.numWorker: Input should be a valid integer"),
        (execution(timeout=-1), "jobCondition.timeout: Input should be greater than or equal to 0"),
        (execution(timeout=1441), "jobCondition.timeout: Input should be less than or equal to 1440"),
        (execution(timeout=10**30), "jobCondition.timeout: Input should be less than or equal to 1440"),
        (execution(timeout="60"), "jobCondition.timeout: Input should be a valid integer"),
        (execution(nrn=""), "jobCondition.nrn: String should have at least 1 character"),
        (execution(nrn=7), "jobCondition.nrn: Input should be a valid string"),
        (execution(nrn="a\0b"), "jobCondition.nrn: holds a NUL"),
        (execution(scriptPath=None), "jobCondition.scriptPath: Input should be a valid string"),
        (execution(scriptPath=""), f"jobCondition.scriptPath: '' {NO_PATH}"),
        (execution(scriptPath="/etc/passwd"), f"jobCondition.scriptPath: '/etc/passwd' {NO_PATH}"),
        (execution(scriptPath="b/../../etc"), f"jobCondition.scriptPath: 'b/../../etc' {NO_PATH}"),
        (execution(logPath="s3a://b/logs/"), f"jobCondition.logPath: 's3a://b/logs/' {NO_PATH}"),
        (execution(logPath="b//logs/"), f"jobCondition.logPath: 'b//logs/' {NO_PATH}"),
        (execution(logPath="b/logs//"), f"jobCondition.logPath: 'b/logs//' {NO_PATH}"),
        (execution(logPath="b\\logs"), f"jobCondition.logPath: 'b\\\\logs' {NO_PATH}"),
        (execution(logPath="b/l\0gs"), f"jobCondition.logPath: 'b/l\\x00gs' {NO_PATH}"),
        (execution([]), "parameters: Input should be an object"),
        (execution("$a=1"), "parameters: Input should be an object"),
        (execution({"$a": {"b": 1}}), "parameters.$a: should be text, a number, true or false"),
        (execution({"$a": ["b"]}), "parameters.$a: should be text, a number, true or false"),
        (execution({"$a": None}), "parameters.$a: should be text, a number, true or false"),
        (execution({"$a": "x\0"}), "parameters.$a: holds a NUL"),
        (execution({"$a\0": "x"}), "parameters.$a\0: holds a NUL"),
        (execution({"": "x"}), "parameters.: String should have at least 1 character"),
        (
            PAGE_REQUEST.replace(b'{\n    "$table_name": "test.sample_table2"\n  }', b"null"),
            "parameters: Input should be an object",
        ),
        (PAGE_REQUEST.replace(b"2,", b"2.5,"), "jobCondition.numWorker: Input should be a valid integer"),
    ],
    ids=[
        "no condition",
        "condition is null",
        "condition is a list",
        "no nrn",
        "no scriptPath",
        "no logPath",
        "workerType unknown",
        "workerType null",
        "numWorker too small",
        "numWorker too large",
        "numWorker a text",
        "numWorker a fraction",
        "numWorker a truth value",
        "numWorker null",
        "timeout too small",
        "timeout too large",
        "timeout far too large",
        "timeout a text",
        "nrn empty",
        "nrn a number",
        "nrn with a NUL",
        "scriptPath null",
        "scriptPath empty",
        "scriptPath absolute",
        "scriptPath climbs out",
        "logPath with a scheme",
        "logPath with a gap",
        "logPath with two last slashes",
        "logPath with a backslash",
        "logPath with a NUL",
        "parameters a list",
        "parameters a text",
        "parameter an object",
        "parameter a list",
        "parameter null",
        "parameter with a NUL",
        "name with a NUL",
        "name empty",
        "parameters null",
        "the page's with a fraction",
    ],
)
def test_an_invalid_value_is_refused_by_its_field(body, detail):
    with pytest.raises(Refusal) as refused:
        read_execution(body)

    assert refused.value.kind == "bad-parameter"
    assert str(refused.value) == refused.value.detail
    assert refused.value.detail == detail


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is not JSON in UTF-8 (JSONDecodeError: Expecting value: line 1 column 1 (char 0))"),
        (b"a=1&b=2", "the body is not JSON in UTF-8 (JSONDecodeError: "),
        (b'{"a": 1', "the body is not JSON in UTF-8 (JSONDecodeError: "),
        (b'{"a": "\xff"}', "the body is not JSON in UTF-8 (UnicodeDecodeError: "),
        (b'\xff\xfe{\x00}\x00"', "the body is not JSON in UTF-8 (UnicodeDecodeError: "),
        (b"[]", "the body is not a JSON object"),
        (b'"text"', "the body is not a JSON object"),
        (b"null", "the body is not a JSON object"),
        (b'{"a": "\\ud800"}', "the body is not JSON in UTF-8 (UnicodeEncodeError: "),
        (b'{"\\udfff": 1}', "the body is not JSON in UTF-8 (UnicodeEncodeError: "),
        (b'{"a": NaN}', "the body is not JSON in UTF-8 (ValueError: NaN is not JSON)"),
        (b'{"a": -Infinity}', "the body is not JSON in UTF-8 (ValueError: -Infinity is not JSON)"),
        (b'{"a": 1e999}', "the body is not JSON in UTF-8 (ValueError: a number is out of range)"),
        (b'{"a": ' + b"9" * 5000 + b"}", "the body is not JSON in UTF-8 (ValueError: "),
        (b'{"a": ' + b"[" * 100_000, "the body is not JSON in UTF-8 (RecursionError: "),
    ],
    ids=[
        "empty",
        "a form",
        "cut off",
        "not UTF-8",
        "UTF-16",
        "a list",
        "a text",
        "null",
        "half a pair in a value",
        "half a pair in a name",
        "NaN",
        "infinity",
        "a number beyond floats",
        "a number too long to read",
        "too deep",
    ],
)
@pytest.mark.parametrize("reader", [read_execution, read_job])
def test_a_body_that_is_not_a_json_object_is_refused(reader, body, detail):
    with pytest.raises(Refusal) as refused:
        reader(body)

    assert refused.value.kind == "bad-parameter"
    assert refused.value.detail.startswith(detail)
    assert len(refused.value.detail) < 250


def test_parameters_keep_their_json_types():
    _, parameters = read_execution(execution({"$a": "x", "$b": 1, "$c": 1.5, "$d": True, "$e": "", "f": "y"}))

    assert parameters == {"$a": "x", "$b": 1, "$c": 1.5, "$d": True, "$e": "", "f": "y"}
    assert parameters["$d"] is True


def test_a_job_needs_a_name_and_a_type_and_gets_the_defaults():
    assert read_job(job()) == {
        "name": "daily_sales",
        "type": "SCRIPT",
        "max_concurrent_runs": None,
        "condition": {"numWorker": 2, "timeout": 360},
        "extra": {},
    }


def test_a_job_keeps_all_fields_of_its_body():
    body = job(
        maxConcurrentRuns=3,
        nodes=[{"id": "1"}],
        description="매출",
        jobCondition={**REQUIRED, "numWorker": 4, "timeout": 5, "parameters": {"$a": ""}},
    )

    assert read_job(body) == {
        "name": "daily_sales",
        "type": "SCRIPT",
        "max_concurrent_runs": 3,
        "condition": {**REQUIRED, "numWorker": 4, "timeout": 5, "parameters": {"$a": ""}},
        "extra": {"nodes": [{"id": "1"}], "description": "매출"},
    }


@pytest.mark.parametrize("name", ["abc", "_a1", "A-b_c9", "a" * 100])
def test_a_name_that_follows_the_rule_is_valid(name):
    assert read_job(job(name=name))["name"] == name


PATTERN = "name: String should match pattern '^[A-Za-z_][A-Za-z0-9_-]*$'"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{}", "name: Field required"),
        (b'{"name": "daily_sales"}', "type: Field required"),
        (job(name=None), "name: Input should be a valid string"),
        (job(name="ab"), "name: String should have at least 3 characters"),
        (job(name="a" * 101), "name: String should have at most 100 characters"),
        (job(name="1abc"), PATTERN),
        (job(name="-abc"), PATTERN),
        (job(name="a b c"), PATTERN),
        (job(name="매출매출"), PATTERN),
        (job(name="abc\n"), PATTERN),
        (job(type="DATAFLOW"), "type: Input should be 'VISUAL' or 'SCRIPT'"),
        (job(maxConcurrentRuns=0), "maxConcurrentRuns: Input should be greater than or equal to 1"),
        (job(maxConcurrentRuns=10**30), "maxConcurrentRuns: Input should be less than or equal to 1000"),
        (job(maxConcurrentRuns="2"), "maxConcurrentRuns: Input should be a valid integer"),
        (
            job(jobCondition={"numWorker": 1}),
            "jobCondition.numWorker: Input should be greater than or equal to 2",
        ),
        (
            job(jobCondition={"timeout": 0}),
            "jobCondition.timeout: Input should be greater than or equal to 1",
        ),
        (job(jobCondition={"scriptPath": ".."}), f"jobCondition.scriptPath: '..' {NO_PATH}"),
        (job(jobCondition={"nrn": ""}), "jobCondition.nrn: String should have at least 1 character"),
        (
            job(jobCondition={"parameters": {"$a": 1}}),
            "jobCondition.parameters.$a: Input should be a valid string",
        ),
        (job(jobCondition={"parameters": {"$a": "\0"}}), "jobCondition.parameters.$a: holds a NUL"),
        (
            job(type="VISUAL", jobCondition={"parameters": {}}),
            "jobCondition.parameters: only a SCRIPT job stores parameters",
        ),
    ],
    ids=[
        "nothing",
        "no type",
        "name null",
        "name too short",
        "name too long",
        "name begins with a digit",
        "name begins with a dash",
        "name with a blank",
        "name not ASCII",
        "name with a line end",
        "type of an older page",
        "no runs at once",
        "too many runs at once",
        "runs at once a text",
        "numWorker too small",
        "timeout too small",
        "scriptPath climbs out",
        "nrn empty",
        "parameter a number",
        "parameter with a NUL",
        "parameters of a visual job",
    ],
)
def test_an_invalid_job_is_refused_by_its_field(body, detail):
    with pytest.raises(Refusal) as refused:
        read_job(body)

    assert refused.value.kind == "bad-parameter"
    assert refused.value.detail == detail


FULL = replace(JOB, condition={**REQUIRED, "numWorker": 4, "timeout": 60, "parameters": {"$a": "1"}})


@pytest.mark.parametrize("body", [b"{}", b'{"jobCondition": {"nrn": null}}'])
def test_by_the_newest_pages_a_run_without_fields_has_its_jobs_condition(body):
    condition, parameters = read_execution_over(body, FULL)

    assert (condition, parameters) == (
        {"workerType": "DEFAULT", "numWorker": 4, "timeout": 60, **REQUIRED, "parameters": {"$a": "1"}},
        {},
    )
    assert list(condition) == [
        *PAGE_RESPONSE["jobCondition"],  # type: ignore[misc]
        "parameters",
    ]


def test_by_the_newest_pages_a_run_replaces_its_jobs_fields_one_by_one():
    body = {
        "jobCondition": {"workerType": "DATAFLOW", "numWorker": 8, "parameters": {"$b": "2"}},
        "parameters": {"$c": 3},
    }

    assert read_execution_over(json.dumps(body).encode(), FULL) == (
        {"workerType": "DATAFLOW", "numWorker": 8, "timeout": 60, **REQUIRED, "parameters": {"$b": "2"}},
        {"$c": 3},
    )


@pytest.mark.parametrize("field", ["nrn", "scriptPath", "logPath"])
def test_by_the_newest_pages_a_field_that_neither_run_nor_job_has_is_refused(field):
    with pytest.raises(Refusal) as refused:
        read_execution_over(without(field), JOB)

    assert refused.value.kind == "bad-parameter"
    assert (
        refused.value.detail == f"jobCondition.{field}: the job stores none; send it, or store it on the job"
    )


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (execution(timeout=0), "jobCondition.timeout: Input should be greater than or equal to 1"),
        (execution(timeout=1441), "jobCondition.timeout: Input should be less than or equal to 1440"),
        (execution({"$a": None}), "parameters.$a: should be text, a number, true or false"),
        (execution(scriptPath="/x"), f"jobCondition.scriptPath: '/x' {NO_PATH}"),
        (b'{"jobCondition": null}', "jobCondition: Input should be an object"),
        (b"[]", "the body is not a JSON object"),
    ],
    ids=["timeout 0", "timeout too large", "parameter null", "absolute path", "condition null", "a list"],
)
def test_by_the_newest_pages_an_invalid_value_is_refused(body, detail):
    with pytest.raises(Refusal) as refused:
        read_execution_over(body, FULL)

    assert refused.value.detail == detail


def test_the_condition_of_a_visual_jobs_run_has_no_parameters():
    with pytest.raises(Refusal) as refused:
        read_execution_over(b'{"jobCondition": {"parameters": {}}}', replace(FULL, type="VISUAL"))

    assert refused.value.detail == "jobCondition.parameters: only a SCRIPT job stores parameters"


def test_an_update_changes_its_fields_and_no_others():
    assert read_job_update(b'{"type": "SCRIPT"}', JOB) == {
        "name": None,
        "max_concurrent_runs": None,
        "condition": {},
        "extra": {},
    }
    assert read_job_update(
        job(maxConcurrentRuns=3, nodes=[], jobCondition={"timeout": 5, "nrn": None}), JOB
    ) == {
        "name": "daily_sales",
        "max_concurrent_runs": 3,
        "condition": {"timeout": 5},
        "extra": {"nodes": []},
    }


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{}", "type: Field required"),
        (b'{"type": "VISUAL"}', "type: the job is a SCRIPT job, which cannot be changed"),
        (job(name="1abc"), PATTERN),
        (job(maxConcurrentRuns=0), "maxConcurrentRuns: Input should be greater than or equal to 1"),
        (
            job(jobCondition={"timeout": 0}),
            "jobCondition.timeout: Input should be greater than or equal to 1",
        ),
    ],
    ids=["no type", "another type", "an invalid name", "maxConcurrentRuns 0", "timeout 0"],
)
def test_an_invalid_update_is_refused_by_its_field(body, detail):
    with pytest.raises(Refusal) as refused:
        read_job_update(body, JOB)

    assert refused.value.detail == detail


def test_an_execution_config_changes_its_fields():
    assert read_execution_config(execution(numWorker=3), JOB) == {"condition": {**REQUIRED, "numWorker": 3}}
    assert read_execution_config(b'{"jobCondition": {}}', JOB) == {"condition": {}}


def test_an_execution_config_needs_a_condition():
    with pytest.raises(Refusal) as refused:
        read_execution_config(b"{}", JOB)

    assert refused.value.detail == "jobCondition: Field required"


@pytest.mark.parametrize(
    ("query", "paging"),
    [
        ({}, (0, 1000)),
        ({"page": "2", "limit": "50"}, (2, 50)),
        ({"limit": "0"}, (0, 0)),
        ({"page": "999999999", "limit": "1000"}, (999_999_999, 1000)),
    ],
    ids=["defaults", "as given", "limit 0", "the largest"],
)
def test_paging_is_whole_numbers_from_0(query, paging):
    assert read_paging(query) == paging


@pytest.mark.parametrize("text", ["-1", "", "1.0", "ten", " 1", "1\n", "+1", "٣", "1e3", "9999999999"])
@pytest.mark.parametrize("name", ["page", "limit"])
def test_an_invalid_page_or_limit_is_refused(name, text):
    with pytest.raises(Refusal) as refused:
        read_paging({name: text})

    assert refused.value.kind == "bad-parameter"
    assert refused.value.detail == f"{name}: {text!r} is not a whole number from 0"


def test_a_limit_over_a_thousand_is_refused():
    with pytest.raises(Refusal) as refused:
        read_paging({"limit": "1001"})

    assert refused.value.kind == "bad-parameter"
    assert refused.value.detail == "limit: 1001 is over 1000; ask page by page"
