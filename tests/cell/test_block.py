import json
import keyword
import re
import unicodedata
from datetime import date
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataflow_magic.cell.block import Block, parse_block, parse_mapping
from dataflow_magic.errors import CellError
from dataflow_magic.models.wire import JobCondition


def parameters(text: str, **namespace: Any) -> dict[str, Any]:
    return dict(parse_block(text, namespace).parameters)


def complaint(text: str, **namespace: Any) -> str:
    with pytest.raises(CellError) as caught:
        parse_block(text, namespace)
    assert str(caught.value).startswith(f"line {caught.value.line}: ")
    return str(caught.value)


# Assignments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("\n  \n# nothing\n", {}),
        ("table = 'test.sales'", {"$table": "test.sales"}),
        ("a = 1\nb = 2.5\nc = True\n", {"$a": "1", "$b": "2.5", "$c": "true"}),
        ("b = 1; a = 2", {"$b": "1", "$a": "2"}),
        ("day = date(2026, 11, 1)", {"$day": "2026-11-01"}),
        ("table = f'test.{name}'", {"$table": "test.sales"}),
        ("a = 2\nb = a * 3", {"$a": "2", "$b": "6"}),
        ("day = 1\nday_ = f'{day}!'", {"$day": "1", "$day_": "1!"}),
        ("sql = '''select 1\n  from x'''\nb = 2", {"$sql": "select 1\n  from x", "$b": "2"}),
        ("total = sum(\n    n for n in (1, 2)\n)", {"$total": "3"}),
        ("매출 = '매출'", {"$매출": "매출"}),
        ("a = 1\r\nb = 2\r\n", {"$a": "1", "$b": "2"}),
        ("a = 1\rb = 2\r", {"$a": "1", "$b": "2"}),
        ("a = 1;", {"$a": "1"}),
    ],
    ids=[
        "empty",
        "blank lines and a comment",
        "text",
        "kinds",
        "two on a line",
        "a name of the notebook",
        "an f-string",
        "a later line sees an earlier one",
        "an earlier one, as it was before it became text",
        "text of several lines",
        "an expression of several lines",
        "names in other scripts",
        "lines as Windows ends them",
        "lines as old Macs ended them",
        "the semicolon that mutes a cell",
    ],
)
def test_each_assignment_is_a_parameter(text, expected):
    assert parameters(text, date=date, name="sales") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$table = 1", {"$table": "1"}),
        ("$a = 1\n$b = 2", {"$a": "1", "$b": "2"}),
        ("$a = 1; $b = 2;$c = 3", {"$a": "1", "$b": "2", "$c": "3"}),
        ("# $c\n\n$a = 1 # $b\n\n# x\n$b = 2", {"$a": "1", "$b": "2"}),
        ("매출 = '😀'; $b = 2", {"$매출": "😀", "$b": "2"}),
        ("a = '$b = 1'\n$c = \"$d\"", {"$a": "$b = 1", "$c": "$d"}),
        ("a = '''\n$b = 1\n'''\n$c = 2", {"$a": "\n$b = 1\n", "$c": "2"}),
        ("a = f'{1};$b'\n$c = f'${2}'", {"$a": "1;$b", "$c": "$2"}),
        ("a = f'{1:$>3}'; $b = f'''{\n2}\n$'''", {"$a": "$$1", "$b": "2\n$"}),
        (
            "a = 'x\u2028$y'\n$b = 'x\x0c\x1c\x85'\n$c = 1",
            {"$a": "x\u2028$y", "$b": "x\x0c\x1c\x85", "$c": "1"},
        ),
        ("a = '\\\n$x'\n$b = \\\n  2", {"$a": "$x", "$b": "2"}),
        ("a = (\n  '$x',\n  # $y\n)[0]\n$b = 1", {"$a": "$x", "$b": "1"}),
        ("\x0c$a = 1", {"$a": "1"}),
        ("a = r'\\$'\r\n$b = 2\r\n", {"$a": "\\$", "$b": "2"}),
    ],
    ids=[
        "one",
        "on every line",
        "after a semicolon",
        "after comments and blank lines",
        "after wide characters",
        "not in a string",
        "not in a long string",
        "not in an f-string",
        "not as a fill character",
        "not after what only looks like a line's end",
        "not on a continued line",
        "not in brackets",
        "after a form feed",
        "with lines as Windows ends them",
    ],
)
def test_a_dollar_is_dropped_only_at_the_beginning_of_a_statement(text, expected):
    assert parameters(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = b = 1", "line 2: a = b = value assigns two names; write one name per line"),
        ("a, b = 1, 2", "line 2: '(a, b)' is not a plain name; each line is name = value"),
        ("a.b = 1", "line 2: 'a.b' is not a plain name; each line is name = value"),
        ("a['x'] = 1", 'line 2: "a[\'x\']" is not a plain name; each line is name = value'),
        ("a += 1", "line 2: this is an augmented assignment; each line of a parameter block is name = value"),
        ("a: int = 1", "line 2: this is an annotated assignment; each line of a parameter block is name = value"),
        ("\nprint(1)", "line 3: this is not an assignment; each line of a parameter block is name = value"),
        ("import os", "line 2: this is not an assignment; each line of a parameter block is name = value"),
        ("if True:\n  a = 1", "line 2: this is not an assignment; each line of a parameter block is name = value"),
        ("a = 1\n\na = 2", "line 4: a is assigned twice; each parameter has one value"),
        ("a = 1\n$a = 2", "line 3: a is assigned twice; each parameter has one value"),
        ("x = 1\n!ls", "line 3: '!ls' is a command; a parameter block takes only assignments, name = value"),
        ("%time", "line 2: '%time' is a command; a parameter block takes only assignments, name = value"),
        ("run-date = 1", "line 2: 'run-date' is not a Python name; write the block as JSON to use this name"),
        ("$run-date = 1", "line 2: '$run-date' is not a Python name; write the block as JSON to use this name"),
        ("2x = 1", "line 2: '2x' is not a Python name; write the block as JSON to use this name"),
        ("a = 1\nfrom = 1", "line 3: 'from' is a Python keyword; write the block as JSON to use this name"),
        ("None = 1", "line 2: 'None' is a Python keyword; write the block as JSON to use this name"),
        ("a = None", "line 2: a is None, which has no string form; give text, a number, a bool, a date or a path, or convert it by str(...)"),
        ("a = 1\nb = [1]", 'line 3: b is a list, and a run takes one value; write each(...) around it for a run per item, or ",".join(...) for one text'),
        ("a = 'x\\ud800'", "line 2: a has text that contains a lone surrogate (U+D800), which UTF-8 cannot encode"),
        ("a = 'x\\0'", "line 2: a has text that contains a NUL character"),
        ("a = 1 / 0", "line 2: a: ZeroDivisionError: division by zero"),
        ("a = 1\nb = tabel", "line 3: b: name 'tabel' is not defined; did you mean 'table'?"),
        ("b = zzz", "line 2: b: name 'zzz' is not defined"),
        ("b = b", "line 2: b: name 'b' is not defined"),
        ("b = exit(3)", "line 2: b: SystemExit: 3"),
        ("b = await x", "line 2: b: SyntaxError: 'await' outside function (<parameter block>, line 1)"),
    ],
    ids=lambda value: ascii(value)[:24] if "\n" not in value else ascii(value),
)  # fmt: skip
def test_any_other_statement_is_refused_with_the_line_of_the_cell(text, said):
    assert complaint(text, table=1, exit=_exit) == said


def _exit(code: int) -> None:
    raise SystemExit(code)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = (2\n", 3),
        ("a = 1\nb = 'x\nc = 1", 3),
        ("a = '''x", 2),
        ("a = 1\n  b = 2", 3),
        ("a = $x", 2),
        ("a = 1\nb = f(\n$c)", 4),
        ("$$a = 1", 2),
        ("$", 2),
        ("$ a = 1", 2),
        ("$1 = 1", 2),
        ("a = 1\n$ = 2", 3),
        ("a = 'x\u2028y'\nb =", 3),
        ("a b = 1", 2),
        ("\x00", 2),
        ("a = 1\n\x00", None),
        ("'\ud800'", 2),
        ("a = " + "(" * 300 + ")" * 300, 2),
        ("a = " + "-" * 100_000 + "1", None),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_a_block_that_python_cannot_parse_is_one_line_with_a_line_number(text, line):
    with pytest.raises(CellError) as caught:
        parse_block(text, {"f": str})

    assert caught.value.line is not None
    assert line in {caught.value.line, None}
    assert "\n" not in str(caught.value)[:100]


def test_lines_are_counted_from_the_first_line_of_the_block():
    with pytest.raises(CellError) as caught:
        parse_block("a = 1\nb = c", {}, first_line=10)
    with pytest.raises(CellError) as caught_in_json:
        parse_block('{\n"a": null}', {}, first_line=10)

    assert (caught.value.line, caught_in_json.value.line) == (11, 11)


def test_an_interrupt_of_an_expression_is_raised():
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parse_block("a = f()", {"f": interrupted})


@pytest.mark.parametrize(
    "text",
    [
        "a = (leak := 1)",
        "a = str([leak := n for n in (1, 2)])",
        "a = (lambda leak: leak)(1)",
        "a = [leak for leak in (1,)][0]",
        "a = exec('leak = 1') or 1",
        "a = globals().update(leak=1) or 1",
        "a = 1\nkept = 2",
    ],
    ids=[
        "walrus",
        "walrus in a comprehension",
        "lambda",
        "comprehension",
        "exec",
        "globals",
        "the parameters",
    ],
)
def test_nothing_leaks_into_the_notebook(text):
    namespace = {"kept": [1]}

    parse_block(text, namespace)

    assert namespace == {"kept": [1]}
    parse_block(text, MappingProxyType(namespace))


def test_no_later_line_sees_the_name_of_a_walrus():
    assert "name 'n' is not defined" in complaint("a = (n := 1)\nb = n")


def test_a_function_of_the_notebook_keeps_its_own_names():
    namespace: dict[str, Any] = {"x": 1}
    exec("def f(): return x", namespace)  # noqa: S102 - as a cell of the notebook would

    assert parse_block("x = 2\na = f()", namespace).parameters == {"$x": "2", "$a": "1"}


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name) and name != "__debug__" and name != "__builtins__"
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0•"), max_size=20)


@given(st.dictionaries(NAMES, TEXTS, max_size=4), st.sampled_from(["", "$"]), st.sampled_from(["\n", "; "]))
@example({"a": "x\u2028$y", "b": "\x85"}, "$", "\n")
@example({"a": "\r$b = 1\r\n"}, "$", "; ")
def test_any_text_survives_as_an_assignment_with_or_without_a_dollar(values, sign, end):
    block = end.join(f"{sign}{name} = {text!r}" for name, text in values.items())

    assert parameters(block) == {f"${name}": text for name, text in values.items()}


# JSON


def test_json_is_sent_as_written():
    text = '{\n  "$table": "매출 $x",\n  "$n": 3,\n  "$f": 0.5,\n  "$on": true,\n  "$run-date": ""\n}'

    assert parse_block(text, {}) == Block(
        {"$table": "매출 $x", "$n": 3, "$f": 0.5, "$on": True, "$run-date": ""}, JobCondition(), ()
    )


def test_a_json_name_without_a_dollar_is_sent_with_a_warning():
    block = parse_block('\n {"a": 1, "$b": 2, "c": 3}', {})

    assert block.parameters == {"a": 1, "$b": 2, "c": 3}
    assert block.warnings == ("sent as written, without the leading $ of the service's examples: a, c",)


def test_a_whole_request_body_is_read():
    text = '{"jobCondition": {"numWorker": 4, "nrn": "n", "spot": [1, {"a": 1}, {"a": 2}]}, "parameters": {"$a": "1"}}'

    block = parse_block(text, {})

    assert block.parameters == {"$a": "1"}
    assert block.condition.to_wire() == {"numWorker": 4, "nrn": "n", "spot": [1, {"a": 1}, {"a": 2}]}
    assert block.warnings == ()


@pytest.mark.parametrize("text", ["{}", '{"parameters": {}}', '{"jobCondition": {}}', " \n{ }\n"])
def test_json_may_be_empty(text):
    assert parse_block(text, {}) == Block({}, JobCondition(), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n"a": null}', 'line 3: "a" is null; a parameter is text, a number, true or false'),
        ('{\n\n"a": [1]}', 'line 4: "a" is a list; a parameter is text, a number, true or false; for a run per value write the block as assignments, a = each(...)'),
        ('{"a": {"b": 1}}', 'line 2: "a" is an object; a parameter is text, a number, true or false'),
        (
            '{"jobCondition": {"nrn": "\\"timeout\\": 1",\n"timeout": 1},\n"parameters": {\n"timeout": null}}',
            'line 5: "timeout" is null; a parameter is text, a number, true or false',
        ),
        (
            '{"jobCondition": {\n"numWorkers": 4}}',
            "line 3: the job condition has no field 'numWorkers'; did you mean 'numWorker'?",
        ),
        (
            '{"jobCondition": {"Timeout": 4}}',
            "line 2: the job condition has no field 'Timeout'; did you mean 'timeout'?",
        ),
        (
            '{"jobConditions": {"timeout": 4}, "parameters": {}}',
            "line 2: \"jobConditions\" is an object; a parameter is text, a number, true or false; did you mean 'jobCondition'?",
        ),
        (
            '{"jobCondition": {"timeout": 4}, "$day": 1}',
            'line 2: "jobCondition" is an object; a parameter is text, a number, true or false; a whole request body has only '
            '"jobCondition" and "parameters"',
        ),
        (
            '{\n"$month": each(1, 7)}',
            "line 3: each(...) has no meaning in JSON; write the block as assignments, name = each(...)",
        ),
        ('{"x": "\\"a\\" : 1",\n"a": 1,\n"a": 2}', 'line 4: "a" is given twice; each parameter has one value'),
        ('{"a": 1,\n"\\u0061": 2}', 'line 3: "a" is given twice; each parameter has one value'),
        ('{"parameters": {"a": 1,\n"a": 1}}', 'line 3: "a" is given twice; each parameter has one value'),
        ('{"a": "NaN",\n"b": NaN}', "line 3: NaN is not a finite number"),
        ('{"a": -Infinity}', "line 2: -Infinity is not a finite number"),
        ('{"a": 1,\n"b": 1e999}', "line 3: 1e999 is not a finite number"),
        ('{"jobCondition": {"x": [NaN]}}', "line 2: NaN is not a finite number"),
        ('{"a":\n"x\\ud800"}', 'line 3: "x\\ud800" is text that contains a lone surrogate (U+D800), which UTF-8 cannot encode'),
        ('{"a\\u0000": 1}', 'line 2: "a\\u0000" is text that contains a NUL character'),
        ('{"jobCondition": {"x": "\\udfff"}}', 'line 2: "\\udfff" is text that contains a lone surrogate (U+DFFF), which UTF-8 cannot encode'),
        ('{"jobCondition": [],\n"parameters": {}}', 'line 2: "jobCondition" must be a JSON object in a request body'),
        ('{"jobCondition": {},\n"parameters": 1}', 'line 3: "parameters" must be a JSON object in a request body'),
        ('{"jobCondition": {"nrn": "timeout",\n"timeout": "x"}}', "line 3: jobCondition.timeout: Input should be a valid integer"),
        ('{"jobCondition": {\n"numWorker": 2.5}}', "line 3: jobCondition.numWorker: Input should be a valid integer"),
        ('{"a": 1,}', "line 2: the block is not valid JSON: "),
        ("{'a': 1}", "line 2: the block is not valid JSON: Expecting property name enclosed in double quotes (column 2)"),
        ('{"a": 1}\nb', "line 3: the block is not valid JSON: Extra data (column 1)"),
        ('{"a": "x\n"}', "line 2: the block is not valid JSON: Invalid control character at (column 9)"),
        ("{", "line 2: the block is not valid JSON: "),
        ('{"a": ' + "1" * 5000 + "}", "line 2: the block cannot be read as JSON ("),
        ('{"a":' * 100_000, "line 2: the block cannot be read as JSON ("),
    ],
    ids=[
        "null",
        "list",
        "object",
        "the same name elsewhere",
        "a field that is nearly one",
        "a field in other capitals",
        "a part of the body that is nearly one",
        "a parameter beside the parts of the body",
        "a sweep",
        "twice",
        "twice, once escaped",
        "twice in the whole body",
        "NaN",
        "infinity",
        "too large",
        "NaN deep inside",
        "half a character",
        "NUL in a name",
        "half a character in the condition",
        "the condition a list",
        "the parameters a number",
        "a number as text",
        "half a worker",
        "a comma too many",
        "single quotes",
        "something after it",
        "a line's end in text",
        "unfinished",
        "an integer without end",
        "nesting without end",
    ],
)  # fmt: skip
def test_json_that_no_request_can_carry_is_refused_with_the_line_of_the_cell(text, said):
    assert complaint(text).startswith(said)


def test_other_keys_beside_parameters_make_a_map_of_parameters():
    assert parse_block('{"parameters": "x", "$a": 1}', {}).parameters == {"parameters": "x", "$a": 1}


SCALARS = (
    TEXTS | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
)
SEEN = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Zs"]) | st.just(" "), max_size=20
)
KEYS = SEEN.filter(lambda key: key not in {"jobCondition", "parameters"})


@given(st.dictionaries(KEYS, SCALARS), st.booleans(), st.sampled_from([None, 2]))
def test_any_json_map_is_read_unchanged(values, escape, indent):
    text = json.dumps(values, ensure_ascii=escape, indent=indent)

    assert parse_block(text, {}).parameters == values
    assert parse_block(json.dumps({"parameters": values}), {}).parameters == values


@given(st.text())
def test_any_text_is_a_block_or_an_error_in_one_of_its_lines(text):
    last = 3 + text.count("\n") + text.count("\r")
    try:
        said = len(parse_block(text, {}).parameters), 2
    except CellError as error:
        said = 0, error.line or 0

    assert said[0] <= text.count("=") + text.count(":")
    assert 2 <= said[1] <= last


# Parameters from Python


def test_a_mapping_is_sent_as_assignments_are():
    given_ = {"table": "test.sales", "$day": date(2026, 11, 1), "run-date": 1, "매출": True}

    assert parse_mapping(given_) == {
        "$table": "test.sales",
        "$day": "2026-11-01",
        "$run-date": "1",
        "$매출": "true",
    }


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({1: "x"}, "a parameter name must be text, not 1"),
        ({"": "x"}, "a parameter name must be text, not ''"),
        ({"$": "x"}, "a parameter name must be text, not '$'"),
        ({"a": 1, "$a": 1}, "the parameter $a is given twice"),
        ({"a": None}, "the parameter $a is None, which has no string form; give text, a number, a bool, a date or a path, or convert it by str(...)"),
        ({"a\0": 1}, "the parameter '$a\\x00' has a name that contains a NUL character"),
        ({"\ud800": 1}, "the parameter '$\\ud800' has a name that contains a lone surrogate (U+D800), which UTF-8 cannot encode"),
    ],
    ids=["a number", "nothing", "only the sign", "twice", "no text form", "NUL", "half a character"],
)  # fmt: skip
def test_the_error_of_a_mapping_names_the_parameter(given_, said):
    with pytest.raises(CellError) as caught:
        parse_mapping(given_)

    assert (str(caught.value), caught.value.line) == (said, None)


@given(st.dictionaries(NAMES, TEXTS | st.booleans() | st.integers() | st.dates()))
def test_a_mapping_and_a_block_have_the_same_parameters(values):
    block = "\n".join(f"{name} = v['{name}']" for name in values if name != "v")

    assert parse_block(block, {"v": values}).parameters == parse_mapping(
        {name: value for name, value in values.items() if name != "v"}
    )


@given(st.dictionaries(NAMES, TEXTS))
def test_reading_a_mapping_again_changes_nothing(values):
    once = parse_mapping(values)

    assert parse_mapping(once) == once


# Spellings

INVISIBLE = [
    chr(code)
    for code in range(0x80, 0x3001)
    if unicodedata.category(chr(code)) in {"Cf", "Zl", "Zp", "Zs"} and code not in {0x2028, 0x2029}
]
COMMENTS = st.lists(
    st.sampled_from(["# a comment {", "// and = more", "", "   ", "  # indented", "# it's"]), max_size=4
)


@given(COMMENTS, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", "\ufeff"]))
def test_json_below_comments_and_blank_lines_is_json_with_its_own_line_numbers(comments, end, mark):
    above = mark + "".join(line + end for line in comments)

    assert parse_block(above + '{"$a": 1}', {}).parameters == {"$a": 1}
    assert complaint(above + '{"$a": 1,' + end + '"$a": 2}') == (
        f'line {len(comments) + 3}: "$a" is given twice; each parameter has one value'
    )


@given(
    st.dictionaries(NAMES, TEXTS, min_size=1, max_size=4),
    st.sampled_from(["  ", "    ", "\t", " "]),
    st.lists(st.sampled_from(["", "# a comment", "      # another"]), max_size=3),
    st.sampled_from(["", "$"]),
)
def test_a_block_whose_lines_are_indented_alike_is_the_block_without_the_indentation(
    values, indentation, above, sign
):
    lines = [f"{indentation}{sign}{name} = {text!r}" for name, text in values.items()]

    assert parameters("\n".join([*above, *lines])) == {f"${name}": text for name, text in values.items()}


def test_text_over_several_lines_keeps_its_own_blanks_in_an_indented_block():
    assert parameters('  a = """x\n    y\nz"""\n  b = 1') == {"$a": "x\n    y\nz", "$b": "1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "  a = 1\nb = 2",
            "line 3: this line is indented less than the first one; indent all lines alike",
        ),
        ("  a = 1\n    b = 2", "line 3: 'b = 2' is not a valid assignment (unexpected indent)"),
        ("a = 1\n  b = 2", "line 3: 'b = 2' is not a valid assignment (unexpected indent)"),
        ("  a = 1\n  b = (", "line 3: 'b = (' is not a valid assignment ('(' was never closed)"),
        ("\n  a = 1\n  a = 2", "line 4: a is assigned twice; each parameter has one value"),
        ("  a = 1 / 0", "line 2: a: ZeroDivisionError: division by zero"),
    ],
)
def test_a_block_indented_otherwise_is_refused_with_its_line(text, said):
    assert complaint(text) == said


@given(st.sampled_from(INVISIBLE), st.integers(0, 7))
def test_a_character_that_cannot_be_seen_is_refused_by_its_code_point_or_changes_nothing(character, place):
    text = "day1 = 7"
    block = text[:place] + character + text[place:]
    code = f"U+{ord(character):04X}"
    try:
        sent = parameters(block)
    except CellError as error:
        assert code in str(error)  # noqa: PT017
        assert str(error).startswith("line 2: ")  # noqa: PT017
    else:
        assert sent == {"$day1": "7"}
    key = "$day"[:place] + character + "$day"[place:]
    assert code in complaint(f'{{"{key}": 7}}')
    assert parse_block(
        f'{{"{key.replace(character, chr(92) + f"u{ord(character):04x}")}": 7}}', {}
    ).parameters == {key: 7}
    with pytest.raises(CellError, match=re.escape(code)):
        parse_mapping({key: 7})


NORMALISED = st.sampled_from(
    [
        "\ufb01le",
        "\u2115",
        "\u1112\u1161\u11ab",
        "cafe\u0301",
        "\uff44ay",
        "\u2119rice",
        "d\u2090y",
        "\u017fize",
        "x\u00aa",
    ]
)


@given(
    NORMALISED, st.sampled_from(["{name} = 7", "${name} = 7", "  {name} = 7", "a = 1; {name} = each(1, 2)"])
)
def test_a_name_that_python_reads_as_another_is_refused_with_both(name, form):
    read = unicodedata.normalize("NFKC", name)
    said = complaint(form.format(name=name))

    assert said.startswith(f"line 2: Python reads the name {name!r} as {read!r} because of U+")
    assert said.endswith(f"; write {read}, or write the block as JSON to use this name")
    assert parse_block(f'{{"${name}": 7}}', {}).parameters == {f"${name}": 7}
    assert parameters(f"{read} = 7") == {f"${read}": "7"}


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (
            "day = each(1, 1)",
            "1 run of the sweep repeats the parameters of an earlier one (the first: day=1)",
        ),
        (
            "day = each(1, '1', 2, 1.0, 2)",
            "2 runs of the sweep repeat the parameters of an earlier one (the first: day=1)",
        ),
        (
            "a, b = zipped([1, 2, 1], [3, 4, 3])",
            "1 run of the sweep repeats the parameters of an earlier one (the first: a=1, b=3)",
        ),
        (
            "a = each(1, 2)\nb = each(3, 3)",
            "2 runs of the sweep repeat the parameters of an earlier one (the first: a=1, b=3)",
        ),
        (
            "a = each(secret(t), secret(t))",
            "1 run of the sweep repeats the parameters of an earlier one (the first: a=••••••)",
        ),
        ("a = each(1, 2)", None),
        ("a = 1\nb = 1", None),
        ("a, b = zipped([1, 1], [1, 2])", None),
    ],
)
def test_equal_runs_of_a_sweep_are_noted_and_sent(block, said):
    read = parse_block(block, {"t": "hunter2"})

    assert read.warnings == ((f"{said}; all are started",) if said else ())


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_a_sweep_notes_as_many_repeats_as_it_has(values):
    read = parse_block(f"a = each({', '.join(map(str, values))})", {})
    repeats = len(values) - len(set(values))

    assert len(read.combinations) == len(values)
    assert [int(warning.split()[0]) for warning in read.warnings] == [repeats] * bool(repeats)
