from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.ledger.ledger import LETTERS, new_key
from dataflow_magic.models.marker import (
    MARKERS,
    Marker,
    carries_marker,
    log_path_of,
    marked,
    marker_of,
    marker_problem,
    unmarked,
)
from dataflow_magic.models.request import JobRef, RunRequest
from dataflow_magic.models.secret import Secret
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import JobCondition, JobExecution
from tests.views import run_view

START = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
keys = st.text(LETTERS, min_size=8, max_size=8)
folders = st.text("abcXYZ019-_. ", min_size=1, max_size=12).map(str.strip).filter(bool)
paths = st.builds(
    lambda scheme, parts, slashes: scheme + "/".join(parts) + slashes,
    st.sampled_from(["", "", "/", "s3a://", "s3://", "s3n://"]),
    st.lists(folders, min_size=1, max_size=4),
    st.sampled_from(["", "/", "//", " "]),
)
nothing = st.sampled_from([None, "", " ", "/", "//", "s3a://", "s3://", " s3a:/// "])
parameters = st.dictionaries(st.sampled_from(["$a", "$b", "table"]), st.text(max_size=5) | st.integers())
markers = st.sampled_from(MARKERS)


def request(marker: Marker, log_path: str | None = "bucket/logs/", **more: object) -> RunRequest:
    condition = JobCondition() if log_path is None else JobCondition(log_path=log_path)
    return RunRequest(JobRef("daily"), condition, marker=marker, **more)  # type: ignore[arg-type]


def start(marker: Marker, key: str, **more: object) -> RunView:
    return replace(run_view(START, key=key), request=request(marker, **more))  # type: ignore[arg-type]


def answer(log_path: str | None = None, parsed: object = None) -> JobExecution:
    return JobExecution(
        job_execution_id="r", job_condition=JobCondition(log_path=log_path), parsed_parameters=parsed
    )


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("bucket/logs/", "bucket/logs/dataflow-run-abcdefgh/"),
        ("bucket/logs", "bucket/logs/dataflow-run-abcdefgh/"),
        ("bucket", "bucket/dataflow-run-abcdefgh/"),
        ("bucket/a/b//", "bucket/a/b/dataflow-run-abcdefgh/"),
        ("s3a://bucket/logs/", "s3a://bucket/logs/dataflow-run-abcdefgh/"),
        (" bucket/my logs/ ", "bucket/my logs/dataflow-run-abcdefgh/"),
        ("bucket/logs/dataflow-run-zzzzzzzz/", "bucket/logs/dataflow-run-abcdefgh/"),
        ("dataflow-run-zzzzzzzz/", "dataflow-run-zzzzzzzz/dataflow-run-abcdefgh/"),
        ("s3a://dataflow-run-zzzzzzzz", "s3a://dataflow-run-zzzzzzzz/dataflow-run-abcdefgh/"),
    ],
)
def test_the_marker_log_path_is_the_last_folder_of_the_log_path(asked, sent):
    assert marked(request("log-path", asked), "abcdefgh").condition.log_path == sent
    assert log_path_of(asked, "abcdefgh", "log-path") == sent


def test_the_marker_parameter_is_one_more_parameter():
    asked = request("parameter", parameters={"$table": "t"})

    assert marked(asked, "abcdefgh") == replace(
        asked, parameters={"$table": "t", "$dataflow_run": "dataflow-run-abcdefgh"}
    )
    assert asked.parameters == {"$table": "t"}, "the request as asked stays"


@given(nothing | paths, parameters, keys)
def test_without_a_marker_a_request_is_sent_as_asked(path, values, key):
    asked = request("off", path, parameters=values)

    assert marked(asked, key) is asked
    assert marker_problem(asked) == ""


@given(markers, paths, parameters, keys)
def test_a_marker_changes_nothing_else(marker, path, values, key):
    asked = request(marker, path, parameters=values)
    sent = marked(asked, key)

    assert replace(sent, condition=asked.condition, parameters=values) == asked
    assert sent.condition.model_copy(update={"log_path": path}) == asked.condition
    assert {name: value for name, value in sent.parameters.items() if name != "$dataflow_run"} == values


@given(st.sampled_from(["log-path", "parameter"]), paths, parameters, keys, keys)
def test_a_start_again_carries_the_marker_of_its_own_key_alone(marker, path, values, old, new):
    asked = request(marker, path, parameters=values)

    again = marked(unmarked(marked(asked, old)), new)

    assert again == marked(asked, new)
    assert old == new or marker_of(old) not in str(again)


@given(paths, keys, keys)
def test_the_log_path_of_a_run_that_is_written_on_the_line_gets_no_second_marker(path, old, new):
    shown = marked(request("log-path", path), old).condition.log_path

    assert marked(request("log-path", shown), new) == marked(request("log-path", path), new)


@given(paths, parameters)
def test_a_listed_run_without_a_marker_is_started_again_as_it_is(path, values):
    listed = request("off", path, parameters=values)
    condition = JobCondition.model_validate(
        listed.condition.to_wire() | {"consoleLogPath": "bucket/r/console.log"}
    )

    assert unmarked(listed) == listed
    assert unmarked(replace(listed, condition=condition)) == listed


@given(st.sampled_from(["log-path", "parameter"]), paths, parameters, keys)
def test_a_run_that_echoes_its_request_carries_its_marker(marker, path, values, key):
    view = start(marker, key, log_path=path, parameters=values)
    sent = view.sent

    assert carries_marker(view, answer(sent.condition.log_path, dict(sent.parameters)))
    assert carries_marker(view, answer(f"/{sent.condition.log_path}/", [dict(sent.parameters)]))
    bare = {name.removeprefix("$"): value for name, value in sent.parameters.items()}
    assert carries_marker(view, answer((sent.condition.log_path or "").removeprefix("s3a://"), bare))


@given(markers, paths, parameters, keys, keys)
def test_a_run_of_another_key_or_without_a_marker_never_carries_it(marker, path, values, ours, theirs):
    view = start(marker, ours, log_path=path, parameters=values)
    other = marked(view.request, theirs)

    assert not carries_marker(view, answer(path, values))
    assert carries_marker(view, answer(other.condition.log_path, dict(other.parameters))) == (
        ours == theirs and marker != "off"
    )


@pytest.mark.parametrize(
    ("marker", "listed"),
    [
        ("log-path", JobExecution(job_execution_id="r")),
        ("log-path", answer(None)),
        ("log-path", answer("bucket/logs/dataflow-run-abcdefgh/deeper/")),
        ("log-path", answer("bucket/logs/DATAFLOW-RUN-ABCDEFGH/")),
        ("log-path", answer("bucket/logs/x-dataflow-run-abcdefgh/")),
        ("log-path", answer("bucket/logs/", {"$dataflow_run": "dataflow-run-abcdefgh"})),
        ("parameter", answer("bucket/logs/dataflow-run-abcdefgh/")),
        ("parameter", answer(None, {"$dataflow_run": " dataflow-run-abcdefgh"})),
        ("parameter", answer(None, {"$DATAFLOW_RUN": "dataflow-run-abcdefgh"})),
        ("parameter", answer(None, {"$other": "dataflow-run-abcdefgh"})),
        ("off", answer("dataflow-run-abcdefgh", {"$dataflow_run": "dataflow-run-abcdefgh"})),
    ],
)
def test_a_marker_counts_only_where_it_was_sent_and_as_it_was_sent(marker, listed):
    assert not carries_marker(start(marker, "abcdefgh"), listed)


@given(nothing)
def test_a_log_path_without_a_folder_cannot_carry_a_marker(path):
    asked = request("log-path", path)

    assert marker_problem(asked) == (
        "the marker log-path is a folder of the log path, and neither the line nor the job has one; "
        "add --log-path PATH, or --marker off"
    )
    assert marked(asked, "abcdefgh") is asked


@pytest.mark.parametrize("name", ["$dataflow_run", "dataflow_run"])
def test_a_parameter_with_the_name_of_the_marker_is_refused_where_the_marker_is_a_parameter(name):
    asked = request("parameter", parameters={name: "mine"})

    assert marker_problem(asked) == (
        f"the parameter {name} is the name of the marker; rename the parameter, or choose --marker log-path"
    )
    assert marked(asked, "abcdefgh") is asked
    assert marker_problem(replace(asked, marker="log-path")) == ""


@given(markers, paths, st.text(min_size=4).filter(lambda value: value not in "dataflow-run-$_"))
def test_no_marker_holds_a_secret(marker, path, value):
    key = new_key()
    secret = Secret.of(value)
    sent = marked(request(marker, path, parameters={"$token": secret}), key)

    assert sent.parameters["$token"] is secret
    assert marker_of(key) == f"dataflow-run-{key}", "made of the random key alone"
    assert value in path or value in key or value not in (sent.condition.log_path or "")


def test_the_view_shows_what_was_sent_and_keeps_what_was_asked():
    view = start("log-path", "abcdefgh", parameters={"$a": 1})

    assert view.condition.log_path == "bucket/logs/dataflow-run-abcdefgh/"
    assert view.request.condition.log_path == "bucket/logs/"
    assert start("parameter", "abcdefgh").parameters == {"$dataflow_run": "dataflow-run-abcdefgh"}
    assert get_args(Marker) == ("off", "log-path", "parameter") == MARKERS
