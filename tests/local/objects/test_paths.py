from pathlib import Path

import pytest

from dataflow_magic.local.objects.paths import bare_path, console_log_key, event_log_key, find, jvm_log_key


@pytest.mark.parametrize(
    ("path", "bare"),
    [
        ("s3a://bucket/key", "bucket/key"),
        ("s3://bucket/key", "bucket/key"),
        ("s3n://bucket/key", "bucket/key"),
        ("bucket/key", "bucket/key"),
        ("bucket/s3a://key", "bucket/s3a://key"),
        ("https://bucket/key", "https://bucket/key"),
    ],
)
def test_a_path_may_have_a_scheme_of_s3(path, bare):
    assert bare_path(path) == bare


def test_an_object_lies_in_the_folder_of_its_bucket():
    assert find(Path("/objects"), "s3a://bucket/a/b.csv") == Path("/objects/bucket/a/b.csv")


@pytest.mark.parametrize("log_path", ["logs/runs/", "logs/runs"])
def test_a_runs_logs_lie_in_its_own_folder_below_the_log_path(log_path):
    assert console_log_key(log_path, "r1") == "logs/runs/r1/console.log"
    assert jvm_log_key(log_path, "r1") == "logs/runs/r1/jvm.log"
    assert event_log_key(log_path, "r1") == "logs/runs/r1/events/"
