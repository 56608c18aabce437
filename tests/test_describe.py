"""Text of --dry-run, %dataflow_status and %dataflow_config, which send and start nothing and contain no secret."""

import os
import re
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dataflow_magic.cell.run import make_request
from dataflow_magic.config.settings import Target
from dataflow_magic.describe import describe, describe_settings, dry_run
from dataflow_magic.files import try_lock
from dataflow_magic.local.folder import Address, DataFolder

SECRET = "s3cr3t-0f-th3-cl0ud"
CLOUD = Target(
    "cloud",
    "cloud",
    "https://dataflow.test",
    "ACCESS-KEY-1234",
    SecretStr(SECRET),
    "NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY",
)
LOCAL = Target("local", "local", "", "", SecretStr(""), "no credentials found")


@pytest.fixture
def environment(tmp_path):
    return {
        "DATAFLOW_MAGIC_HOME": str(tmp_path / "home"),
        "PATH": "",
        "DATAFLOW_JAVA": str(tmp_path / "no-java"),
    }


@pytest.fixture
def served(environment):
    """A data folder as a running service leaves it: locked, with its address in it."""
    folder = DataFolder((Path(environment["DATAFLOW_MAGIC_HOME"]) / "local").resolve())
    folder.make()
    lock = try_lock(folder.service_lock)
    folder.write_address(Address("http://127.0.0.1:7001", "local-0123456789", SECRET, 4711))
    yield folder
    os.close(lock or 0)


def facts(text: str) -> dict[str, str]:
    return {line[:12].strip(): line[12:].strip() for line in text.splitlines()}


def test_the_cloud_is_described_with_its_source_and_its_masked_key(environment):
    assert describe(CLOUD, environment) == (
        "target      cloud (NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY)\n"
        "endpoint    https://dataflow.test\n"
        "access key  ACCE****"
    )


def test_further_facts_are_listed_unless_they_are_empty(environment):
    more = {
        "clock": "",
        "held": "too many requests (429); the service asks for no request before 12:00:30 KST",
    }

    assert facts(describe(CLOUD, environment, more)) == facts(describe(CLOUD, environment)) | {
        "held": more["held"]
    }


def test_a_local_service_that_does_not_run_is_described_and_not_started(environment):
    text = facts(describe(LOCAL, environment))

    assert text["target"] == "local (no credentials found)"
    assert text["endpoint"] == "none until the service starts"
    assert text["access key"] == "created when the service starts"
    assert text["service"] == "starts with the first run"
    assert text["folder"] == f"{Path(environment['DATAFLOW_MAGIC_HOME']).resolve()}/local"
    assert not Path(environment["DATAFLOW_MAGIC_HOME"]).exists()


def test_a_running_local_service_is_described_with_its_process(environment, served):
    text = facts(describe(LOCAL, environment))

    assert text["endpoint"] == "http://127.0.0.1:7001"
    assert text["access key"] == "loca****"
    assert text["service"] == "running, process 4711"
    assert text["folder"] == str(served.path)


class WithoutUvicorn:
    """Finds every module but one, as in an environment without the extra."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return None if name == "uvicorn" else PathFinder.find_spec(name, path, target)


def test_a_missing_extra_is_described_with_the_command_that_installs_it(environment):
    finders, loaded = sys.meta_path[:], sys.modules.pop("uvicorn", None)
    sys.meta_path[:] = [WithoutUvicorn]
    try:
        text = facts(describe(LOCAL, environment))
    finally:
        sys.meta_path[:] = finders
        if loaded:
            sys.modules["uvicorn"] = loaded

    assert text["service"] == 'the local service needs uvicorn: pip install "dataflow-magic[local]"'


def test_a_missing_java_is_named_as_the_java(environment):
    assert "no-java" in facts(describe(LOCAL, environment))["java"]


def test_the_java_is_described_with_its_version_and_source(environment):
    text = facts(describe(LOCAL, {**environment, "DATAFLOW_JAVA": "wheel"}))

    assert re.fullmatch(r"\d+ from DATAFLOW_JAVA", text["java"])


def test_a_dry_run_is_the_request_as_curl_with_placeholders_for_the_signature():
    whole = make_request(
        "id:job000000001",
        {"table": "it's"},
        workers=4,
        nrn="nrn:1",
        script_path="b/s/",
        log_path="b/l/",
        trigger_id="t 1",
    )

    assert dry_run(whole, CLOUD, {}) == (
        "curl --request POST 'https://dataflow.test/api/v1/jobs/job000000001/executions?triggerId=t+1' \\\n"
        "  --header 'x-ncp-apigw-timestamp: <milliseconds since 1970>' \\\n"
        "  --header 'x-ncp-iam-access-key: ACCE****' \\\n"
        "  --header 'x-ncp-apigw-signature-v2: <redacted>' \\\n"
        "  --header 'content-type: application/json' \\\n"
        "  --data '{\n"
        '  "jobCondition": {\n'
        '    "numWorker": 4,\n'
        '    "nrn": "nrn:1",\n'
        '    "scriptPath": "b/s/",\n'
        '    "logPath": "b/l/"\n'
        "  },\n"
        '  "parameters": {\n'
        """    "$table": "it'"'"'s"\n"""
        "  }\n"
        "}'"
    )


@pytest.mark.parametrize(
    ("job", "notes"),
    [
        (
            "daily sales",
            [
                "# a run first looks up the job by its name: daily sales",
                "# a run first reads the job's stored condition; these fields override it",
            ],
        ),
        ("job000000001", ["# a run first reads the job's stored condition; these fields override it"]),
    ],
    ids=["a name", "an id"],
)
def test_a_dry_run_names_what_a_run_reads_first(job, notes):
    lines = dry_run(make_request(job), CLOUD, {}).splitlines()

    assert [line for line in lines if line.startswith("#")] == notes


READ = "# a run first reads the job's stored condition; these fields override it"
KEY = "# KEY stands for the run's key, which is new for each start"
DEEPER = "# the job's log path gets the last folder dataflow-run-KEY/"


@pytest.mark.parametrize(
    ("request_", "notes", "sent"),
    [
        (make_request("id:j", marker="parameter"), [READ, KEY], '"$dataflow_run": "dataflow-run-KEY"'),
        (make_request("id:j", marker="log-path"), [READ, KEY, DEEPER], '"jobCondition": {}'),
        (
            make_request("id:j", log_path="b/l/", marker="log-path"),
            [READ, KEY],
            '"logPath": "b/l/dataflow-run-KEY/"',
        ),
    ],
)
def test_a_dry_run_shows_where_the_marker_will_be(request_, notes, sent):
    text = dry_run(request_, CLOUD, {})

    assert [line for line in text.splitlines() if line.startswith("#")] == notes
    assert sent in text


def test_a_name_is_escaped_in_the_address():
    assert "/jobs/a%2F..%2Fb/executions" in dry_run(make_request("a/../b"), CLOUD, {})


def test_a_dry_run_for_a_local_service_that_does_not_run_has_a_placeholder_for_its_port(environment):
    text = dry_run(make_request("daily"), LOCAL, environment)

    assert "http://127.0.0.1:PORT/api/v1/jobs/daily/executions" in text
    assert "x-ncp-iam-access-key: ****'" in text


def test_no_text_contains_the_secret(environment, served):
    request = make_request("daily", {"a": 1})

    for target in (CLOUD, LOCAL):
        assert SECRET not in describe(target, environment)
        assert SECRET not in dry_run(request, target, environment)
    assert served.read_address() is not None


# Settings

NOTHING_SET = {"target": "", "profile": "", "wait": "auto", "marker": "", "language": "auto"}


def rows(text: str) -> list[list[str]]:
    return [re.split(r"  +", line) for line in text.splitlines()]


def test_settings_without_a_value_have_their_defaults(tmp_path):
    text = describe_settings(NOTHING_SET, {"DATAFLOW_MAGIC_HOME": str(tmp_path)}, tmp_path / "configure")

    assert rows(text) == [
        ["setting", "value", "from", "overrides"],
        ["target", "local", "default (no credentials found)"],
        ["access key", "created when the service starts", "default"],
        ["wait", "auto: under nbclient, papermill and nbconvert", "default"],
        ["marker", "off", "default"],
        ["language", "en", "default"],
        ["ledger", str(tmp_path / "ledger.sqlite3"), "DATAFLOW_MAGIC_HOME"],
        ["local service", str(tmp_path / "local"), "DATAFLOW_MAGIC_HOME"],
    ]


def test_each_setting_names_its_source_and_what_it_overrides(tmp_path):
    file = tmp_path / "configure"
    file.write_text(
        "".join(
            f"[{name}]\nncloud_access_key_id = {name}-KEY-1\nncloud_secret_access_key = {SECRET}\n"
            for name in ("DEFAULT", "prod")
        )
    )
    config = NOTHING_SET | {"profile": "prod", "wait": "yes", "marker": "daily=off"}
    environment = {
        "DATAFLOW_MAGIC_HOME": str(tmp_path),
        "DATAFLOW_TARGET": "https://user:password@host",
        "DATAFLOW_WAIT": "no",
        "DATAFLOW_MARKER": "log-path",
        "LANG": "ko_KR.UTF-8",
        "NCLOUD_ACCESS_KEY": "ENVIRONMENT-KEY",
        "NCLOUD_SECRET_KEY": SECRET,
    }
    text = describe_settings(config, environment, file)

    others = f"NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY, profile 'DEFAULT' of {file}"
    assert rows(text)[1:7] == [
        ["target", "prod", "%config", "DATAFLOW_TARGET '••••••'"],
        ["endpoint", "https://dataflow.apigw.ntruss.com", "default"],
        ["access key", "prod****", f"profile 'prod' of {file}", others],
        ["secret key", "••••••", f"profile 'prod' of {file}", others],
        ["wait", "yes", "%config", "DATAFLOW_WAIT 'no'"],
        ["marker", "daily=off", "%config", "DATAFLOW_MARKER 'log-path'"],
    ]
    assert rows(text)[7] == ["language", "ko", "LANG"]
    assert SECRET not in text
    assert "password" not in text


def test_a_wrong_setting_is_shown_with_its_error(tmp_path):
    environment = {"DATAFLOW_TARGET": "dev", "DATAFLOW_WAIT": "maybe", "DATAFLOW_MARKER": "@x=on"}
    text = rows(describe_settings(NOTHING_SET, environment, tmp_path / "configure"))

    assert text[1][1:] == [
        f"none: no profile 'dev' in {tmp_path / 'configure'} (profiles: none)",
        "DATAFLOW_TARGET",
    ]
    assert text[2][1:] == [
        "none: DATAFLOW_WAIT says 'maybe', which is none of auto, yes, no",
        "DATAFLOW_WAIT",
    ]
    assert text[3][1:] == [
        "none: DATAFLOW_MARKER says 'on', which is none of off, log-path, parameter",
        "DATAFLOW_MARKER",
    ]
