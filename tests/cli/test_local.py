"""What the actions of ``dataflow-magic local`` do to a data folder and its service, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dataflow_magic.cli.local import _run_options
from dataflow_magic.cli.main import _parser, main
from dataflow_magic.local.folder import Address, DataFolder
from dataflow_magic.local.launch import attach
from dataflow_magic.local.options import Options
from dataflow_magic.local.store import Store
from dataflow_magic.models.wire import KST, RunState
from tests.local.scripted import end_service, is_served

COMMAND = Path(sys.executable).with_name("dataflow-magic")


@pytest.fixture
def folder(tmp_path):
    folder = DataFolder(tmp_path / "local")
    yield folder
    end_service(folder)


@pytest.fixture
def left(folder):
    """The folder of a service that was killed while one run was RUNNING and two were READY."""
    folder.make()
    folder.service_lock.touch()
    store = Store(folder.database, lambda: datetime(2026, 11, 1, tzinfo=KST))
    job = store.add_job("daily", "SCRIPT", max_concurrent_runs=None, condition={}, extra={})
    for state in (RunState.RUNNING, None, None):
        run = store.add_run(job, condition={}, parameters={}, trigger_id=None, workflow_id=None)
        if state:
            store.move(run.run_id, state)
    (folder.objects / "bucket").mkdir()
    (folder.objects / "bucket" / "a.csv").write_bytes(bytes(2_000_000))
    return folder


@contextmanager
def served(folder: DataFolder) -> Iterator[Address]:
    address, hold = attach(folder)
    try:
        yield address
    finally:
        os.close(hold)


def local(action: str, folder: DataFolder, *options: str) -> int:
    return main(["local", action, "--data", str(folder.path), *options])


def fact(printed: str, name: str) -> str:
    found = re.search(rf"^{name} +(.+)$", printed, re.MULTILINE)
    assert found, printed
    return found[1]


# Status


def test_the_status_of_a_missing_folder_is_code_3_and_creates_nothing(folder, capsys):
    assert local("status", folder) == 3

    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()] == ["service", "java", "folder", "runs", "disk"]
    assert fact(printed, "service") == "not running"
    assert fact(printed, "folder") == str(folder.path)
    assert fact(printed, "runs") == "0 running, 0 waiting, 0 in all"
    assert fact(printed, "disk") == "0 bytes in 0 files"
    assert not folder.path.exists()


def test_the_status_of_a_folder_without_a_service_shows_its_runs_and_size(left, capsys):
    left.write_address(Address("http://127.0.0.1:1", "a", "b", 999_999_999))

    assert local("status", left) == 3

    printed = capsys.readouterr().out
    assert fact(printed, "service") == "not running"
    assert fact(printed, "runs") == "1 running, 2 waiting, 3 in all"
    assert re.fullmatch(r"2\.\d MB in \d files", fact(printed, "disk"))


def test_the_status_reports_a_database_that_cannot_be_read(left, capsys):
    left.database.write_text("mine")
    local("status", left)

    assert fact(capsys.readouterr().out, "runs") == "unknown, state.sqlite3 cannot be read"


def test_a_service_without_an_address_is_starting_or_ending(left, capsys):
    lock = left.own()
    code = local("status", left)
    os.close(lock)

    assert (code, fact(capsys.readouterr().out, "service")) == (3, "starting or ending")


def test_the_status_of_a_running_service_is_code_0_and_shows_no_key(folder, capsys):
    with served(folder) as address:
        assert local("status", folder) == 0

    printed = capsys.readouterr().out
    found = re.fullmatch(r"running at (.+), process (\d+), since (.+) KST", fact(printed, "service"))
    assert found
    assert (found[1], int(found[2])) == (address.endpoint, address.pid)
    since = datetime.strptime(found[3], "%Y-%m-%d %H:%M:%S").replace(tzinfo=KST)
    assert timedelta() <= datetime.now(KST) - since < timedelta(minutes=1)
    assert fact(printed, "java") == address.java
    assert address.secret_key not in printed
    assert address.access_key not in printed


def test_the_folder_may_be_given_before_the_action_and_defaults_to_the_users(
    left, tmp_path, capsys, monkeypatch
):
    assert main(["local", "--data", str(left.path), "status"]) == 3
    assert fact(capsys.readouterr().out, "folder") == str(left.path)

    monkeypatch.setenv("DATAFLOW_MAGIC_HOME", str(tmp_path / "home"))
    assert main(["local", "status"]) == 3
    assert fact(capsys.readouterr().out, "folder") == str(tmp_path / "home" / "local")


# Stop


def test_stop_without_a_service_says_so(left, capsys):
    assert local("stop", left, "--wait") == 0
    assert capsys.readouterr().out == f"no local service runs in {left.path}\n"


def test_stop_ends_the_service(folder, capsys):
    with served(folder) as address:
        assert local("stop", folder) == 0

        assert not is_served(folder)
        assert capsys.readouterr().out == (
            f"stopped the service at {address.endpoint}, process {address.pid}\n"
        )


def test_a_wait_for_runs_that_times_out_leaves_the_service(folder, capsys):
    with served(folder) as address:
        # Written past the service, which therefore never starts them.
        store = Store(folder.database, lambda: datetime.now(KST))
        job = store.jobs(name="slow_count", page=0, limit=1)[0][0]
        for _ in range(2):
            store.add_run(job, condition={}, parameters={}, trigger_id=None, workflow_id=None)

        assert local("stop", folder, "--wait", "--timeout", "0.1") == 3
        said = capsys.readouterr()
        assert said.out == "waiting until no run is READY or RUNNING, 0.1 s at most\n"
        assert said.err == (
            "dataflow-magic: 2 runs READY or RUNNING after 0.1 s, so the service was not stopped; "
            "give a longer --timeout, or leave out --wait to end the runs with the service\n"
        )
        assert is_served(folder)

        run = store.runs_in(RunState.READY)[0]
        store.move(run.run_id, RunState.RUNNING)
        assert local("stop", folder) == 0
        assert capsys.readouterr().out == (
            f"stopped the service at {address.endpoint}, process {address.pid}; "
            "1 RUNNING run ended FAILED; 1 READY run will start with the next service\n"
        )


# Reset


def test_a_reset_lists_what_it_deleted(left, capsys):
    assert local("reset", left, "--yes") == 0

    assert re.fullmatch(
        rf"deleted 1 job, 3 runs and 1 object \(2\.\d MB\) of {left.path}\n", capsys.readouterr().out
    )
    assert sorted(path.name for path in left.path.rglob("*")) == ["objects", "service.lock"]


def test_a_reset_deletes_a_database_that_cannot_be_read(left, capsys):
    left.database.write_text("mine")

    assert local("reset", left, "--yes") == 0
    assert capsys.readouterr().out.startswith("deleted all jobs, all runs and 1 object (2.0 MB) of ")


def test_a_reset_without_a_terminal_deletes_nothing(left, capsys):
    assert local("reset", left) == 3

    assert re.fullmatch(
        r"dataflow-magic: standard input is no terminal, so nothing was deleted; "
        r"--yes deletes 1 job, 3 runs and 1 object \(2\.\d MB\) of .+ without asking\n",
        capsys.readouterr().err,
    )
    assert (left.objects / "bucket" / "a.csv").exists()


@pytest.mark.parametrize(
    ("answer", "code", "last"),
    [
        ("y", 0, "deleted 1 job, "),
        ("YES", 0, "deleted 1 job, "),
        ("", 1, "nothing was deleted"),
        ("no", 1, "nothing was deleted"),
        ("\x04", 1, "\nnothing was deleted"),
    ],
)
def test_a_reset_asks_at_a_terminal(left, answer, code, last):
    ours, theirs = os.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        ended = subprocess.run(
            [COMMAND, "local", "reset", "--data", left.path],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=30,
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert ended.returncode == code
    assert re.match(r"Delete 1 job, 3 runs and 1 object \(2\.\d MB\) of .+\? \[y/N\] ", ended.stdout)
    assert ended.stdout.split("? [y/N] ")[1].startswith(last)
    assert (left.objects / "bucket").exists() is (code == 1)


def test_a_served_folder_is_reset_only_once_its_service_is_stopped(folder, capsys):
    with served(folder) as address:
        assert local("reset", folder, "--yes") == 3
        assert capsys.readouterr().err == (
            f"dataflow-magic: a local service serves {folder.path}; add --stop to stop it first\n"
        )
        assert is_served(folder)

        assert local("reset", folder, "--yes", "--stop") == 0
        stopped, deleted = capsys.readouterr().out.splitlines()
        assert stopped == f"stopped the service at {address.endpoint}, process {address.pid}"
        assert deleted.startswith("deleted 2 jobs, 0 runs and 6 objects (")
        assert not is_served(folder)


def test_a_reset_refuses_a_folder_that_no_service_made(tmp_path, capsys):
    (tmp_path / "objects").mkdir()

    assert main(["local", "reset", "--yes", "--data", str(tmp_path)]) == 3
    assert capsys.readouterr().err == (
        f"dataflow-magic: {tmp_path} is not the data folder of a local service "
        "(no service.lock as a service makes it); nothing was deleted\n"
    )


@pytest.mark.parametrize(
    "options",
    [
        ["stop", "--timeout", "-1"],
        ["stop", "--timeout", "soon"],
        ["stop", "--timeout", "inf"],
        ["reset", "all"],
    ],
    ids=["a negative time", "no time", "for ever", "stray word"],
)
def test_a_usage_error_is_code_2(options, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["local", *options])

    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: dataflow-magic ")


# Objects


def test_files_are_put_listed_and_removed_without_a_service(folder, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_bytes(bytes(1500))
    os.utime(tmp_path / "in" / "a.csv")

    assert local("put", folder, str(tmp_path / "in"), "s3a://bucket/tables/") == 0
    assert capsys.readouterr().out == "s3a://bucket/tables/in/a.csv  1.5 kB\n"

    assert local("ls", folder) == 0
    assert capsys.readouterr().out.split() == ["bucket/"]
    assert local("ls", folder, "-r", "bucket") == 0
    assert re.fullmatch(
        r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d          1500  bucket/tables/in/a.csv\n", capsys.readouterr().out
    )

    assert local("rm", folder, "bucket/tables/in/a.csv") == 0
    assert local("ls", folder, "bucket/tables/in/a.csv") == 3
    assert capsys.readouterr().err.startswith(
        "dataflow-magic: no object or folder 'bucket/tables/in/a.csv' in "
    )


def test_standard_input_is_put_byte_for_byte(folder):
    ended = subprocess.run(
        [COMMAND, "local", "put", "--data", folder.path, "-", "bucket/x.csv"],
        input=b"a\r\n\xff",
        capture_output=True,
        timeout=30,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"s3a://bucket/x.csv  4 bytes\n", b"")
    assert (folder.objects / "bucket" / "x.csv").read_bytes() == b"a\r\n\xff"


def test_a_file_that_cannot_be_read_is_one_line_and_code_3(folder, capsys):
    assert local("put", folder, "/none/a.csv", "bucket/") == 3
    assert capsys.readouterr().err == "dataflow-magic: [Errno 2] No such file or directory: '/none/a.csv'\n"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--conf", "x=1"], "--conf 'x' is not a Spark setting; write spark.name=value"),
        (["--memory", "plenty"], "--memory plenty is not an amount of memory; write it like 2g or 800m"),
    ],
)
def test_a_wrong_setting_is_refused_before_the_service_starts(folder, capsys, options, complaint):
    assert main(["local", "--data", str(folder.path), *options]) == 3

    assert capsys.readouterr().err == f"dataflow-magic: {complaint}\n"
    assert not folder.path.exists()


def test_jars_of_the_command_line_join_those_of_the_environment(monkeypatch, tmp_path):
    jars = [tmp_path / f"{name}.jar" for name in "abc"]
    for jar in jars:
        with zipfile.ZipFile(jar, "w") as archive:
            archive.writestr("x", "")
    monkeypatch.setenv("DATAFLOW_LOCAL_JARS", str(jars[0]))
    given = _parser().parse_args(["local", "--jars", f"{jars[1]},{jars[2]}", "--jars", str(jars[0])])

    assert _run_options(given).jars == tuple(jars)


def test_the_command_line_overrides_the_environment(monkeypatch):
    for name, value in (
        ("WARM", "on"),
        ("MEMORY", "1g"),
        ("MASTER", "yarn"),
        ("CONF", "spark.a=1 spark.b=1"),
    ):
        monkeypatch.setenv(f"DATAFLOW_LOCAL_{name}", value)
    given = _parser().parse_args(
        [
            "local",
            "--no-warm",
            "--no-reuse",
            "--memory",
            "2g",
            "--master",
            "spark://h:1",
            "--conf",
            "spark.b=2",
        ]
    )

    assert _run_options(given) == Options(
        warm=False, reuse=False, memory="2g", master="spark://h:1", conf={"spark.a": "1", "spark.b": "2"}
    )
    assert _run_options(_parser().parse_args(["local"])) == Options(
        warm=True, memory="1g", master="yarn", conf={"spark.a": "1", "spark.b": "1"}
    )


def test_a_listing_prints_no_control_character(folder, tmp_path, capsys):
    name = "a\x1b[2J\rb\n\u202e.csv"
    (tmp_path / name).write_text("x")

    assert local("put", folder, str(tmp_path / name), "bucket/") == 0
    assert local("ls", folder, "bucket") == 0

    shown = capsys.readouterr().out
    assert "bucket/a␛[2J␍b␊�.csv" in shown
    assert not {"\x1b", "\r", "\u202e"} & set(shown)
