"""`Run.table` and `Sweep.table`: what runs wrote to object storage, read by the local service's folder."""

import json
import warnings
from pathlib import Path

import pytest

from dataflow_magic.errors import CellError, DataflowError
from tests.helpers import Notebook, Scene, eventually


def write(scene: Scene, path: str, content: bytes) -> None:
    file: Path = scene.service.folder / "objects" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def log_writes(scene: Scene, run_id: str, *paths: str) -> None:
    """Write the event log of a run whose queries wrote to these paths, in Spark 4's words."""
    name = "Execute InsertIntoHadoopFsRelationCommand"
    start = {
        "Event": "SparkListenerApplicationStart",
        "App Name": "x",
        "App ID": "local-1",
        "Timestamp": 1,
        "User": "u",
    }
    queries = [
        {
            "Event": "org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart",
            "executionId": number,
            "sparkPlanInfo": {
                "nodeName": name,
                "simpleString": f"{name} {path}, false, CSV, [path={path}], Overwrite, [day, n]",
                "children": [],
                "metadata": {},
                "metrics": [],
            },
        }
        for number, path in enumerate(paths)
    ]
    lines = [json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in (start, *queries)]
    scene.service.write_events(run_id, *lines)


@pytest.fixture
def run(lab: Notebook):
    lab.run("%%dataflow_run daily_sales -o run\nmonth = 7\nwho = 'a/b'\n")
    run = lab.shell.user_ns["run"]
    eventually(lambda: run.is_done, "it ended")
    return run


def test_a_path_is_read_whole(scene, run):
    write(scene, "bucket/out/part-00000.csv", b"day,n\n1,10\n")
    write(scene, "bucket/out/part-00001.csv", b"day,n\n2,20\n")
    write(scene, "bucket/out/_SUCCESS", b"")

    for path in ("s3a://bucket/out", "s3a://bucket/out/", "bucket/out"):
        assert run.table(path).to_dict("list") == {"day": [1, 2], "n": [10, 20]}
    assert run.table("s3a://bucket/out/part-00001.csv").to_dict("list") == {"day": [2], "n": [20]}


def test_parameters_of_the_run_are_put_into_the_path(scene, run):
    write(scene, "bucket/out/month=7/part-0.json", b'{"n":1}\n')

    assert run.table("s3a://bucket/out/month=$month")["n"].tolist() == [1]
    assert run.table("s3a://bucket/out/month=${month}/")["n"].tolist() == [1]
    assert run.table("s3a://bucket/out").to_dict("list") == {"n": [1], "month": [7]}


def test_without_a_path_that_of_the_event_log_is_read(scene, run):
    write(scene, "bucket/seoul, 1/part-0.csv", b"n\n1\n")
    log_writes(scene, run.id, "s3a://bucket/seoul, 1", "file:/tmp/else")

    assert run.table()["n"].tolist() == [1]


def test_of_several_paths_one_is_to_be_named(scene, run):
    log_writes(scene, run.id, "s3a://bucket/a", "s3a://bucket/b", "s3a://bucket/a")

    with pytest.raises(CellError, match="wrote to 2 paths; name one: s3a://bucket/a, s3a://bucket/b"):
        run.table()


def test_more_rows_than_asked_for_are_a_warning(scene, run):
    write(scene, "bucket/out/part-0.csv", b"n\n1\n2\n3\n")

    with pytest.warns(UserWarning, match="the first 2 rows of s3a://bucket/out; rows=None reads all"):
        assert len(run.table("s3a://bucket/out", rows=2)) == 2
    with pytest.warns(UserWarning, match="first 1 rows") as seen:
        run.table("s3a://bucket/out", rows=1)
    assert seen[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        assert len(run.table("s3a://bucket/out", rows=3)) == 3
        assert len(run.table("s3a://bucket/out", rows=None)) == 3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            {"path": "s3a://bucket/none"},
            DataflowError,
            "there is no object at s3a://bucket/none; check the path",
        ),
        (
            {"path": "s3a://bucket/text"},
            DataflowError,
            "no file of data that is read here, but a.txt; format=",
        ),
        ({"path": "s3a://bucket/bad"}, DataflowError, "s3a://bucket/bad was not read as parquet: "),
        (
            {"path": "s3a://bucket/$day"},
            CellError,
            "the run has no parameter day, which the path s3a://bucket/\\$day names",
        ),
        ({"path": "https://bucket/x"}, CellError, "'https://bucket/x' is no path in object storage"),
        ({"path": ""}, CellError, "'' is no path in object storage"),
        (
            {"path": "s3a://bucket/text", "format": "xml"},
            CellError,
            "format='xml' is not read; give one of parquet",
        ),
        ({"path": "s3a://bucket/text", "rows": -1}, CellError, "rows=-1 is no number of rows"),
        (
            {"path": "s3a://bucket/text", "format": "csv", "nothing": 1},
            DataflowError,
            "was not read as csv: .*nothing",
        ),
        ({}, DataflowError, "no event log of run"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(scene, run, call, error, message):
    write(scene, "bucket/text/a.txt", b"hello\n")
    write(scene, "bucket/bad/a.parquet", b"no parquet")

    with pytest.raises(error, match=message) as found:
        run.table(**call)
    assert "\n" not in str(found.value)


def test_more_files_than_are_listed_are_an_error_and_no_part_of_the_result(scene, run):
    folder = scene.service.folder / "objects" / "bucket" / "many"
    folder.mkdir(parents=True)
    for number in range(10_001):
        (folder / f"part-{number:05}.csv").touch()

    with pytest.raises(
        DataflowError, match="s3a://bucket/many has more than 10,000 files; name a folder further down"
    ):
        run.table("s3a://bucket/many", rows=1)


def test_a_secret_names_no_path(lab):
    lab.shell.user_ns["given"] = "hidden-1"
    lab.run("%%dataflow_run daily_sales -o run\ntoken = secret(given)\n")
    run = lab.shell.user_ns["run"]
    eventually(lambda: run.is_done, "it ended")

    with pytest.raises(CellError, match="the parameter token is secret") as found:
        run.table("s3a://bucket/$token")
    assert "hidden-1" not in str(found.value)


def test_the_results_of_a_sweep_lie_below_one_another(scene, lab):
    for day in ("2026-11-01", "2026-11-02"):
        write(scene, f"bucket/days/{day}/part-0.csv", f"n\n{day[-1]}\n".encode())
    lab.run("%%dataflow_run daily_sales -o days\nday = each('2026-11-01', '2026-11-02')\n")
    days = lab.shell.user_ns["days"]
    eventually(lambda: days.is_over, "it ended")

    table = days.table("s3a://bucket/days/$day")

    assert table.columns.tolist() == ["param.day", "n"]
    assert [f"{day:%Y-%m-%d}" for day in table["param.day"]] == ["2026-11-01", "2026-11-02"]
    assert table["n"].tolist() == [1, 2]
    with pytest.warns(UserWarning, match="the first 1 rows of all results"):
        assert len(days.table("s3a://bucket/days/$day", rows=1)) == 1


def test_a_sweep_without_a_completed_run_has_no_result(lab):
    lab.run("%%dataflow_run broken -o days\nday = each(1, 2)\n")
    days = lab.shell.user_ns["days"]
    eventually(lambda: days.is_over, "it ended")

    with pytest.raises(CellError, match=f"no run of sweep {days.key} has completed"):
        days.table("s3a://bucket/days")


def test_parameters_of_the_table_of_runs_become_values(lab):
    lab.run("%%dataflow_run daily_sales -o a\nmonth = 7\nday = '2026-11-01'\nhot = True\nwho = 'x'\n")
    frame = lab.run("%dataflow_runs").value

    typed = frame.convert_parameters()

    kinds = {name: str(typed[f"param.{name}"].dtype) for name in ("month", "day", "hot", "who")}
    assert kinds == {"month": "Int64", "day": "datetime64[us]", "hot": "boolean", "who": "string"}
    assert frame["param.month"].tolist() == ["7"]
