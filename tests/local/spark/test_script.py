import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.local.spark.script import (
    Rendered,
    ScriptProblem,
    find_script,
    object_path,
    render,
    stage_script,
)


def put(objects: Path, *keys: str) -> None:
    for key in keys:
        path = objects / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def test_a_script_path_that_ends_in_py_is_that_object(tmp_path):
    put(tmp_path, "scripts/a/daily.py", "scripts/a/other.py")

    assert find_script(tmp_path, "scripts/a/daily.py", "other") == tmp_path / "scripts/a/daily.py"


@pytest.mark.parametrize("script_path", ["scripts/a/", "scripts/a"])
def test_in_a_folder_the_script_named_like_the_job_runs(tmp_path, script_path):
    put(tmp_path, "scripts/a/daily_sales.py", "scripts/a/other.py")

    assert find_script(tmp_path, script_path, "daily_sales") == tmp_path / "scripts/a/daily_sales.py"


def test_a_folder_may_be_a_whole_bucket(tmp_path):
    put(tmp_path, "scripts/daily.py")

    assert find_script(tmp_path, "scripts/", "daily") == tmp_path / "scripts/daily.py"


def test_the_only_script_of_a_folder_runs_whatever_its_name(tmp_path):
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
            "let scriptPath name the one to run",
        ),
    ],
    ids=["missing", "no bucket", "empty folder", "ambiguous"],
)
def test_a_script_that_cannot_be_found_is_explained_in_one_line(tmp_path, script_path, message):
    put(tmp_path, "scripts/none/readme.md", *(f"scripts/many/p{n}.py" for n in range(7)))

    with pytest.raises(ScriptProblem) as caught:
        find_script(tmp_path, script_path, "daily")

    assert str(caught.value) == message


def test_a_job_name_cannot_lead_out_of_the_folder(tmp_path):
    put(tmp_path, "scripts/secret.py", "scripts/a/one.py", "scripts/a/two.py")

    with pytest.raises(ScriptProblem, match="several scripts"):
        find_script(tmp_path, "scripts/a/", "../secret")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd.py",
        "..",
        "scripts/../../x.py",
        "scripts/./x.py",
        "scripts//x.py",
        "scripts/a//",
        "scripts\\..\\x.py",
        "scripts/x\0.py",
        "scripts/\ud800.py",
        "s3a://scripts/x.py",
        "scripts/" + "x" * 300,
        "scripts/" + "x/" * 600,
    ],
    ids=ascii,
)
def test_a_path_that_is_no_object_key_is_refused(tmp_path, key):
    with pytest.raises(ScriptProblem, match="is not a path in object storage: write bucket/key"):
        object_path(tmp_path, key)


@given(st.text(st.sampled_from("./\\ a\0매"), max_size=12))
def test_an_object_path_never_leaves_the_folder(key):
    objects = Path("/objects")

    try:
        path = object_path(objects, key)
    except ScriptProblem:
        return

    assert objects in path.parents
    assert ".." not in path.parts


@pytest.mark.parametrize(
    ("text", "parameters", "expected"),
    [
        ("read('$table')", {"$table": "a.b"}, Rendered("read('a.b')", ())),
        ("read('$table')", {"table": "a.b"}, Rendered("read('a.b')", ())),
        ("$table_name $table", {"$table": "x"}, Rendered("$table_name x", ())),
        ("$table_name $table", {"$table": "x", "$table_name": "y"}, Rendered("y x", ())),
        ("$Table $table1", {"$table": "x"}, Rendered("$Table $table1", ("--table=x",))),
        ("$table.csv/$table-1$table", {"$table": "x"}, Rendered("x.csv/x-1x", ())),
        ("$run-date $run", {"$run": "r", "$run-date": "d"}, Rendered("d r", ())),
        ("US$ $$table $1 ${table}", {"$table": "x"}, Rendered("US$ $x $1 ${table}", ())),
        ("$a $b", {"$a": "$b", "$b": "$a"}, Rendered("$b $a", ())),
        ("$a", {"$a": r"\1 \g<0> \n"}, Rendered(r"\1 \g<0> \n", ())),
        ("$매출 $매출표", {"$매출": "x"}, Rendered("x $매출표", ())),
        ("nothing", {"$b": "2", "$a": "", "c": "x y"}, Rendered("nothing", ("--b=2", "--a=", "--c=x y"))),
        ("$a", {"$b": "2", "$a": "1", "$c": "3"}, Rendered("1", ("--b=2", "--c=3"))),
        ("$a", {}, Rendered("$a", ())),
    ],
    ids=[
        "replaced",
        "name without its sign",
        "longer word left alone",
        "longer word known too",
        "case and digits count",
        "boundaries",
        "a name with a dash",
        "other dollars left alone",
        "one pass",
        "no escapes in values",
        "any script",
        "arguments in given order",
        "both ways",
        "no parameters",
    ],
)
def test_parameters_reach_the_script(text, parameters, expected):
    assert render(text, parameters) == expected


NAMES = st.from_regex(r"[\w-]{1,4}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
PARAMETERS = st.dictionaries(NAMES.map("${}".format), TEXTS, max_size=4)


@given(TEXTS, PARAMETERS)
def test_a_text_that_names_no_parameter_stays_and_all_become_arguments(text, parameters):
    text = text.replace("$", "")

    rendered = render(text, parameters)

    assert rendered == Rendered(text, tuple(f"--{name[1:]}={value}" for name, value in parameters.items()))


@given(st.lists(st.tuples(TEXTS, NAMES)), PARAMETERS)
def test_each_parameter_is_either_in_the_text_or_an_argument(pieces, parameters):
    text = "".join(f"{piece} ${name} " for piece, name in pieces)
    marked = {name: f"<{number}>" for number, name in enumerate(parameters)}

    rendered = render(text.replace("<", ""), marked)

    arguments = {f"${argument[2:].rpartition('=')[0]}" for argument in rendered.arguments}
    replaced = {name for name, mark in marked.items() if mark in rendered.text}
    assert arguments | replaced == set(marked)
    assert not arguments & replaced


@given(st.lists(st.tuples(TEXTS, NAMES)), st.dictionaries(NAMES, TEXTS))
def test_values_go_in_verbatim_and_nothing_else_changes(pieces, values):
    pieces = [(piece.replace("$", ""), name) for piece, name in pieces]
    values = {name: value for name, value in values.items() if re.fullmatch(r"\w+", name)}
    pieces = [(piece, name) for piece, name in pieces if re.fullmatch(r"\w+", name)]
    text = "".join(f"{piece} ${name} " for piece, name in pieces)

    rendered = render(text, values)

    assert rendered.text == "".join(f"{piece} {values.get(name, '$' + name)} " for piece, name in pieces)


@given(TEXTS, st.lists(NAMES, unique=True))
def test_a_name_rendered_as_itself_changes_nothing(text, names):
    assert render(text, {f"${name}": f"${name}" for name in names}).text == text


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"$": "x"}, "the parameter '$' has no name: write $name"),
        ({"$a": "1", "a": "2"}, "the parameter a is given twice, with $ and without: keep one"),
        (
            {"$a": "x\0"},
            "the parameter 'a' holds a character no script can receive (NUL or half a pair)",
        ),
        (
            {"$a": "\ud83d"},
            "the parameter 'a' holds a character no script can receive (NUL or half a pair)",
        ),
    ],
    ids=["no name", "twice", "NUL", "lone surrogate"],
)
def test_a_parameter_no_script_can_receive_is_refused(parameters, message):
    with pytest.raises(ScriptProblem) as caught:
        render("", parameters)

    assert str(caught.value) == message


def test_the_staged_copy_keeps_the_name_and_the_line_ends(tmp_path):
    script = tmp_path / "daily.py"
    script.write_bytes("table = '$table'\r\nprint(table)  # 매출\r\n".encode())
    (tmp_path / "work").mkdir()

    staged = stage_script(script, {"$table": "test.표", "$day": "2026-11-01"}, tmp_path / "work")

    assert staged.path == tmp_path / "work" / "daily.py"
    assert staged.path.read_bytes() == "table = 'test.표'\r\nprint(table)  # 매출\r\n".encode()
    assert staged.arguments == ("--day=2026-11-01",)


def test_a_script_keeps_the_encoding_it_declares(tmp_path):
    script = tmp_path / "daily.py"
    script.write_bytes("# coding: euc-kr\nprint('$day 매출')\n".encode("euc-kr"))
    (tmp_path / "work").mkdir()

    staged = stage_script(script, {"$day": "오늘"}, tmp_path / "work")

    assert staged.path.read_bytes() == "# coding: euc-kr\nprint('오늘 매출')\n".encode("euc-kr")


def test_a_value_the_declared_encoding_cannot_hold_is_refused(tmp_path):
    script = tmp_path / "daily.py"
    script.write_bytes(b"# coding: euc-kr\nprint('$day')\n")
    (tmp_path / "work").mkdir()

    with pytest.raises(ScriptProblem) as caught:
        stage_script(script, {"$day": "🌞"}, tmp_path / "work")

    assert str(caught.value) == (
        "a parameter holds text that daily.py, declared as euc-kr, cannot: save the script as UTF-8"
    )


def test_a_script_that_is_no_text_is_refused(tmp_path):
    script = tmp_path / "daily.py"
    script.write_bytes(b"\n\nprint('\xb8\xc5')\n")

    with pytest.raises(ScriptProblem, match=r"^daily\.py cannot be read as text .* save it as UTF-8$"):
        stage_script(script, {}, tmp_path)
