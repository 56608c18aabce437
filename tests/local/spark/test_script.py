import marshal
from pathlib import Path

import pytest

from dataflow_magic.local.spark.script import (
    ScriptProblem,
    StagedScript,
    find_script,
    link_neighbours,
    python_files,
    stage_script,
)


def put(objects: Path, *keys: str) -> None:
    for key in keys:
        path = objects / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def test_a_script_path_that_ends_in_py_names_the_object(tmp_path):
    put(tmp_path, "scripts/a/daily.py", "scripts/a/other.py")

    assert find_script(tmp_path, "scripts/a/daily.py", "other") == tmp_path / "scripts/a/daily.py"


@pytest.mark.parametrize("script_path", ["scripts/a/", "scripts/a"])
def test_the_script_with_the_jobs_name_is_found_in_a_folder(tmp_path, script_path):
    put(tmp_path, "scripts/a/daily_sales.py", "scripts/a/other.py")

    assert find_script(tmp_path, script_path, "daily_sales") == tmp_path / "scripts/a/daily_sales.py"


def test_a_folder_may_be_a_whole_bucket(tmp_path):
    put(tmp_path, "scripts/daily.py")

    assert find_script(tmp_path, "scripts/", "daily") == tmp_path / "scripts/daily.py"


def test_the_only_script_of_a_folder_is_found_under_any_name(tmp_path):
    put(tmp_path, "scripts/a/main.py", "scripts/a/notes.txt", "scripts/a/._main.py", "scripts/a/deeper/x.py")

    assert find_script(tmp_path, "scripts/a/", "daily") == tmp_path / "scripts/a/main.py"


@pytest.mark.parametrize(
    ("script_path", "message"),
    [
        ("scripts/b.py", "no script at scripts/b.py: upload it, or correct scriptPath"),
        ("nowhere/b.py", "no script at nowhere/b.py: upload it, or correct scriptPath"),
        ("scripts/none/", "no script in scripts/none/: upload daily.py there, or correct scriptPath"),
        (
            "scripts/many/",
            "several scripts in scripts/many/ (p0.py, p1.py, p2.py, p3.py, p4.py, ...) and none is daily.py: "
            "set scriptPath to the one to run",
        ),
    ],
    ids=["missing", "no bucket", "empty folder", "ambiguous"],
)
def test_a_missing_script_is_reported_in_one_line(tmp_path, script_path, message):
    put(tmp_path, "scripts/none/readme.md", *(f"scripts/many/p{n}.py" for n in range(7)))

    with pytest.raises(ScriptProblem) as caught:
        find_script(tmp_path, script_path, "daily")

    assert str(caught.value) == message


def test_a_job_name_cannot_lead_out_of_the_folder(tmp_path):
    put(tmp_path, "scripts/secret.py", "scripts/a/one.py", "scripts/a/two.py")

    with pytest.raises(ScriptProblem, match="several scripts"):
        find_script(tmp_path, "scripts/a/", "../secret")


def test_the_staged_copy_equals_the_script_and_its_code_has_the_values(tmp_path):
    content = "table = '$table'\r\nprint(table)  # 매출\r\n".encode()
    (tmp_path / "daily.py").write_bytes(content)
    folder = tmp_path / "work" / "script"
    folder.mkdir(parents=True)

    staged = stage_script(tmp_path / "daily.py", {"$table": "test.표", "$day": "2026-11-01"}, folder)

    assert staged.path == folder / "daily.py"
    assert staged.path.read_bytes() == content
    assert staged.arguments == ("--day=2026-11-01",)
    assert staged.code == tmp_path / "work" / "code"
    namespace: dict[str, object] = {}
    assert staged.code is not None
    exec(marshal.loads(staged.code.read_bytes()), namespace)  # noqa: S102, S302
    assert namespace["table"] == "test.표"


def test_a_script_without_parameters_runs_unchanged(tmp_path):
    (tmp_path / "daily.py").write_text("import sys  # $day\n")
    (tmp_path / "script").mkdir()

    staged = stage_script(tmp_path / "daily.py", {"$day": "2026-11-01"}, tmp_path / "script")

    assert staged == StagedScript(tmp_path / "script" / "daily.py", ("--day=2026-11-01",))


def test_a_value_may_hold_characters_that_the_scripts_encoding_lacks(tmp_path):
    (tmp_path / "daily.py").write_bytes("# coding: euc-kr\nday = '$day 매출'\n".encode("euc-kr"))
    (tmp_path / "script").mkdir()

    staged = stage_script(tmp_path / "daily.py", {"$day": "🌞"}, tmp_path / "script")

    assert staged.code is not None
    namespace: dict[str, object] = {}
    exec(marshal.loads(staged.code.read_bytes()), namespace)  # noqa: S102, S302
    assert namespace["day"] == "🌞 매출"


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"\xef\xbb\xbfgot = '$day'\n", "1"),
        (b"got = '''a\r\n$day\r\n'''\r\n", "a\n1\n"),
        (b"got = '''a\r$day'''\r", "a\n1"),
    ],
    ids=["byte order mark", "CRLF", "CR"],
)
def test_a_script_with_parameters_is_read_as_python_reads_it(tmp_path, content, got):
    (tmp_path / "daily.py").write_bytes(content)
    (tmp_path / "script").mkdir()

    staged = stage_script(tmp_path / "daily.py", {"$day": "1"}, tmp_path / "script")

    assert staged.code is not None
    filled: dict[str, object] = {}
    plain: dict[str, object] = {}
    exec(marshal.loads(staged.code.read_bytes()), filled)  # noqa: S102, S302
    exec(compile(content, "daily.py", "exec"), plain)  # noqa: S102
    assert filled["got"] == got
    assert plain["got"] == got.replace("1", "$day")


def test_a_script_that_is_not_text_is_refused(tmp_path):
    script = tmp_path / "daily.py"
    script.write_bytes(b"\n\nprint('\xb8\xc5')\n")

    with pytest.raises(ScriptProblem, match=r"^daily\.py cannot be read as text .* save it as UTF-8$"):
        stage_script(script, {}, tmp_path)


# What lies beside the script


def test_a_script_has_its_neighbours_beside_its_copy_and_python_writes_nothing_among_the_objects(tmp_path):
    objects = tmp_path / "objects"
    put(
        objects,
        "jobs/daily.py",
        "jobs/helper.py",
        "jobs/settings.json",
        "jobs/shop/__init__.py",
        "jobs/shop/prices/won.py",
        "jobs/shop/rates.csv",
        "jobs/rows/part-0.csv",
        "jobs/random.py",
        "jobs/json/__init__.py",
        "jobs/.hidden.py",
        "jobs/__pycache__/helper.pyc",
        "jobs/shop/__pycache__/won.pyc",
    )
    (tmp_path / "secret.py").write_text("")
    (objects / "jobs" / "secret.py").symlink_to(tmp_path / "secret.py")
    folder = tmp_path / "script"
    folder.mkdir()
    (folder / "daily.py").write_text("the copy")

    link_neighbours(objects / "jobs" / "daily.py", objects, folder)

    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink()) == [
        "helper.py",
        "rows",
        "settings.json",
        "shop/__init__.py",
        "shop/prices/won.py",
        "shop/rates.csv",
    ]
    assert (folder / "daily.py").read_text() == "the copy"
    assert (folder / "rows" / "part-0.csv").is_file()


def test_a_script_in_a_folder_with_too_many_files_is_refused(tmp_path):
    put(tmp_path, "jobs/daily.py", *(f"jobs/{number}.csv" for number in range(4)))
    (tmp_path / "script").mkdir()

    with pytest.raises(
        ScriptProblem, match=r"^more than 3 files lie beside daily\.py: give the script a folder"
    ):
        link_neighbours(tmp_path / "jobs" / "daily.py", tmp_path, tmp_path / "script", most=3)


def test_the_files_of_a_script_are_objects_or_local_files(tmp_path):
    objects = tmp_path / "objects"
    put(objects, "libs/a.zip", "libs/b c.py")
    put(tmp_path, "d e.egg")

    found = python_files(
        f"s3a://libs/a.zip, libs/b c.py,{(tmp_path / 'd e.egg').as_uri()},,{tmp_path}/d e.egg", objects
    )

    assert found == [
        objects / "libs" / "a.zip",
        objects / "libs" / "b c.py",
        tmp_path / "d e.egg",
        tmp_path / "d e.egg",
    ]
    assert python_files("", objects) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "s3a://libs/none.zip",
            "no file at s3a://libs/none.zip, which spark.submit.pyFiles names: upload it, or correct the path",
        ),
        ("../a.zip", "no file at ../a.zip, which spark.submit.pyFiles names: upload it, or correct the path"),
        ("libs/a.tar", "spark.submit.pyFiles names libs/a.tar: Python imports .py, .zip and .egg files"),
    ],
)
def test_a_file_that_python_cannot_import_is_refused_by_name(tmp_path, value, message):
    put(tmp_path, "libs/a.tar")

    with pytest.raises(ScriptProblem) as caught:
        python_files(value, tmp_path)

    assert str(caught.value) == message
