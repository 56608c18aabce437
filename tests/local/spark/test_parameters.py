"""Parameters reach a script exactly, and no value adds code to it."""

import linecache
import shlex
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.local.spark.parameters import ScriptProblem, fill_script


def run(text: str, parameters: dict[str, str]) -> dict[str, Any]:
    """Return the names that a script defines, run with parameters."""
    filled = fill_script(text, parameters, path="work/daily.py")
    assert filled.code is not None
    namespace: dict[str, Any] = {}
    exec(filled.code, namespace)  # noqa: S102
    return namespace


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30) | st.sampled_from(
    [
        "'", '"', "\'\'\'", '"""', "\\", "\\'", "\n", "\r\n", "{x}", "{{", "}", "$value", "$other", "\\N{DASH}", "%s",
        "'); open('/dev/null').fail  #", '"+__import__("os").name+"', "\u2028", "_parameter_0_", "#", "true", "-1",
    ]
)  # fmt: skip

IN_A_STRING = [
    "got = '<$value>'",
    'got = "<$value>"',
    "got = '''<$value>'''",
    'got = """<$value>"""',
    "got = r'<$value>'",
    'got = R"<$value>"',
    "got = u'<$value>'",
    "got = f'<$value>'",
    "got = rf'<$value>'",
    "got = f'{1}<$value>'[1:]",
    "got = f'{\"<$value>\"}'",
    'got = f\'{dict(a="<$value>")["a"]}\'',
    "got = f'{\"<$value>\":>1}'",
    "got = b'<$value>'.decode()",
    "got = rb'<$value>'.decode()",
    "got = '<' '$value' '>'",
    "got = ('<'\n       '$value>')",
    "def f(x='<$value>'):\n    return x\ngot = f()",
    "def f():\n    '<$value>'\ngot = f.__doc__",
    "got = {'<$value>': 1}.popitem()[0]",
    "match '<$value>':\n    case '<$value>' as got:\n        pass",
]


@pytest.mark.parametrize("text", IN_A_STRING)
@given(value=TEXTS)
def test_every_kind_of_string_gets_the_exact_value(text, value):
    assert run(text, {"$value": value})["got"] == f"<{value}>"


@given(value=TEXTS)
def test_outside_a_string_a_value_is_a_literal_and_never_code(value):
    got = run("got = [$value]", {"$value": value})["got"]

    assert len(got) == 1
    assert got[0] == value or str(got[0]).lower() == value.lower() or float(got[0]) == float(value)


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        ("3", 3),
        ("-3", -3),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("007", "007"),
        ("1_000", "1_000"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("2026-11-01", "2026-11-01"),
        ("test.table", "test.table"),
        ("[1, 2]", "[1, 2]"),
        ("None", "None"),
        ("", ""),
        ("\u0663", "\u0663"),
    ],
)
def test_outside_a_string_numbers_and_bools_have_their_type(value, literal):
    got = run("got = $value", {"$value": value})["got"]

    assert (got, type(got)) == (literal, type(literal))


def test_a_negative_number_keeps_its_sign_beside_operators():
    assert run("got = 2 - $value ** 2", {"$value": "-3"})["got"] == -7


@pytest.mark.parametrize(
    ("text", "parameters", "got"),
    [
        ("got = '$table'", {"table": "a.b"}, "a.b"),
        ("got = '$table_name $table'", {"$table": "x"}, "$table_name x"),
        ("got = '$table_name $table'", {"$table": "x", "$table_name": "y"}, "y x"),
        ("got = '$Table $table1 $table'", {"$table": "x"}, "$Table $table1 x"),
        ("got = '$table.csv/$table-1$table'", {"$table": "x"}, "x.csv/x-1x"),
        ("got = '$run-date $run'", {"$run": "r", "$run-date": "d"}, "d r"),
        ("got = 'US$ $$table $1 ${table}'", {"$table": "x"}, "US$ $x $1 ${table}"),
        ("got = '$a $b'", {"$a": "$b", "$b": "$a"}, "$b $a"),
        ("got = '$매출 $매출표'", {"$매출": "x"}, "x $매출표"),
    ],
    ids=[
        "name without a dollar sign",
        "longer word stays",
        "longer word is a parameter too",
        "case and digits matter",
        "boundaries",
        "a name with a dash",
        "other dollar signs stay",
        "one pass",
        "any script",
    ],
)
def test_a_name_ends_where_no_word_character_follows(text, parameters, got):
    assert run(text, parameters)["got"] == got


def test_a_parameter_that_the_text_does_not_use_becomes_an_argument():
    filled = fill_script("got = '$a'", {"$b": "2", "$a": "1", "c": "x y"}, path="daily.py")

    assert filled.arguments == ("--b=2", "--c=x y")


def test_a_name_in_a_comment_stays_and_its_parameter_becomes_an_argument():
    filled = fill_script("# usage: $a\ngot = 1\n", {"$a": "1\nraise SystemExit"}, path="daily.py")

    assert (filled.code, filled.arguments) == (None, ("--a=1\nraise SystemExit",))


def test_a_name_may_be_in_a_comment_and_in_code():
    filled = fill_script("# usage: $a\ngot = '$a'  # $a, once more\n", {"$a": "1"}, path="daily.py")

    assert filled.code is not None
    assert filled.arguments == ()
    assert run("# usage: $a\ngot = '$a'  # $a, once more\n", {"$a": "1"})["got"] == "1"


def test_a_script_may_use_two_hundred_parameters():
    values = {f"p{number}": f"value {number}" for number in range(200)}
    text = "got = [" + ", ".join(f"'$p{number}', $p{number}" for number in range(200)) + "]\n"

    assert run(text, values)["got"] == [value for value in values.values() for _ in range(2)]


def test_a_name_of_the_script_is_never_replaced():
    assert run("_parameter_0_ = 'own'\ngot = _parameter_0_ + '$a'", {"$a": "1"})["got"] == "own1"


@pytest.mark.parametrize(
    "text",
    [
        "got = '$a'" + ".strip()" * 300,
        "got = '$a'" + " + ''" * 300,
        "if '$a' == '': pass\n" + "elif 0: pass\n" * 300,
    ],
    ids=["chained calls", "sum", "elif"],
)
def test_a_script_may_chain_hundreds_of_calls(text):
    assert run(text, {"$a": "1"}).get("got", "1") == "1"


@pytest.mark.parametrize("deep", ["-" * 100_000 + "1", "+".join(["1"] * 10_000)], ids=["parser", "tree"])
def test_code_that_is_nested_too_deeply_is_refused(deep):
    with pytest.raises(ScriptProblem) as caught:
        fill_script(f"x = '$name'\ny = {deep}\n", {"$name": "x"}, path="work/daily.py")

    assert str(caught.value) == "daily.py is nested too deeply for parameters: split its longest expression"


@pytest.mark.parametrize(
    "statement",
    [
        "col_$name = 1",
        "$name = 1",
        "$name += 1",
        "for $name in (): pass",
        "f($name=1)",
        "x.$name",
        "import $name",
        "def $name(): pass",
        "def f($name): pass",
        "global $name",
        "del $name",
        "with open('x') as $name: pass",
        "lambda $name: 1",
    ],
)
def test_a_name_that_no_value_can_replace_is_refused_with_its_line(statement):
    with pytest.raises(ScriptProblem) as caught:
        fill_script(f"import os\n\n{statement}\n", {"$name": "x"}, path="work/daily.py")

    assert str(caught.value) == (
        'daily.py, line 3: no value can replace $name here; write it alone, or inside quotes as "...$name..."'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = '$name'\nif True\n    pass\n", "daily.py, line 2: expected ':'"),
        ("x = 3$name\n", "daily.py, line 1: invalid decimal literal"),
        ("x = '$name'\nreturn\n", "daily.py, line 2: 'return' outside function"),
    ],
)
def test_a_syntax_error_names_its_line(text, message):
    with pytest.raises(ScriptProblem) as caught:
        fill_script(text, {"$name": "x"}, path="work/daily.py")

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"$": "x"}, "the parameter '$' has no name: write $name"),
        ({"$a": "1", "a": "2"}, "the parameter a is given twice, with $ and without: keep one"),
        (
            {"$a": "x\0"},
            "the parameter 'a' holds a character that no script can receive (NUL or a lone surrogate)",
        ),
        (
            {"$a": "\ud83d"},
            "the parameter 'a' holds a character that no script can receive (NUL or a lone surrogate)",
        ),
    ],
    ids=["no name", "twice", "NUL", "lone surrogate"],
)
def test_a_parameter_no_script_can_receive_is_refused(parameters, message):
    with pytest.raises(ScriptProblem) as caught:
        fill_script("", parameters, path="daily.py")

    assert str(caught.value) == message


def test_a_traceback_quotes_the_line_as_its_author_wrote_it(tmp_path):
    path = tmp_path / "daily.py"
    text = "x = 1\ny = 1 / (len('$name') - 6)\n"
    path.write_text(text)
    filled = fill_script(text, {"$name": "secret"}, path=str(path))
    assert filled.code is not None
    linecache.checkcache()

    with pytest.raises(ZeroDivisionError) as caught:
        exec(filled.code, {})  # noqa: S102

    shown = "".join(traceback.format_exception(caught.value)).splitlines()
    assert shown[-3:] == [
        f'  File "{path}", line 2, in <module>',
        "    y = 1 / (len('$name') - 6)",
        "ZeroDivisionError: division by zero",
    ]


# Positional arguments


@given(words=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_the_words_of_argv_are_the_first_arguments(words):
    filled = fill_script(
        "print('$day')", {"$note": "n", "$argv": shlex.join(words), "$day": "1"}, path="daily.py"
    )

    assert filled.arguments == (*words, "--note=n")


@given(words=st.lists(st.text("ab '\"\\$\n", min_size=1), min_size=1))
def test_a_script_may_split_argv_itself_so_that_it_runs_anywhere(words):
    text = """
import shlex
import sys

sys = type(sys)("sys")
sys.argv = ["daily.py", "unchanged"]
if not (words := "$argv").startswith("$"):
    sys.argv[1:] = shlex.split(words)
got = sys.argv[1:]
"""
    filled = fill_script(text, {"$argv": shlex.join(words)}, path="daily.py")
    plain: dict[str, Any] = {}
    exec(compile(text, "daily.py", "exec"), plain)  # noqa: S102
    given: dict[str, Any] = {}
    assert filled.code is not None
    exec(filled.code, given)  # noqa: S102

    assert filled.arguments == ()
    assert given["got"] == words
    assert plain["got"] == ["unchanged"]


def test_an_argv_with_open_quotes_is_refused():
    with pytest.raises(ScriptProblem) as caught:
        fill_script("", {"$argv": "a 'b"}, path="daily.py")

    assert (
        str(caught.value)
        == "the parameter argv cannot be split into words (No closing quotation): check its quotes"
    )
