import keyword
from datetime import date
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.cell.line import HelpRequested, check_ranges, parse_job_ref
from dataflow_magic.cell.run import CellOptions, make_request, parse_cell
from dataflow_magic.errors import CellError
from dataflow_magic.models.request import JobRef, RunRequest
from dataflow_magic.models.wire import JobCondition


def read(line: str, body: str = "", **namespace: Any) -> CellOptions:
    return parse_cell(line, body, namespace)


def complaint(line: str, body: str = "", **namespace: Any) -> str:
    with pytest.raises(CellError) as caught:
        parse_cell(line, body, namespace)
    return str(caught.value)


def test_a_cell_with_every_option():
    line = (
        "daily_sales --workers 4 --timeout 60 --worker-type DATAFLOW --nrn nrn:x --script-path b/s/ --log-path b/l/ "
        "--trigger-id T --workflow-id W --wait --wait-timeout 1.5 --out run --dry-run --target cloud --profile dev"
    )

    assert read(line, "table = 'a'\nday = d", d=date(2026, 11, 1)) == CellOptions(
        request=RunRequest(
            job=JobRef("daily_sales"),
            condition=JobCondition(
                worker_type="DATAFLOW",
                num_worker=4,
                timeout=60,
                nrn="nrn:x",
                script_path="b/s/",
                log_path="b/l/",
            ),
            parameters={"$table": "a", "$day": "2026-11-01"},
            trigger_id="T",
            workflow_id="W",
        ),
        wait=True,
        wait_timeout=1.5,
        out="run",
        dry_run=True,
        target="cloud",
        profile="dev",
        warnings=(),
    )


def test_a_cell_with_a_job_alone_sets_no_option():
    assert read("daily_sales") == CellOptions(request=RunRequest(job=JobRef("daily_sales")))


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("j --no-wait", "wait", False),
        ("j --wait", "wait", True),
        ("j -o r", "out", "r"),
        ("--dry-run j", "dry_run", True),
        ("j --target=local", "target", "local"),
        ("j --wait-timeout 0", "wait_timeout", 0.0),
        ("j --out 매출", "out", "매출"),
    ],
)
def test_an_option_is_read_in_each_of_its_forms(line, field, value):
    assert getattr(read(line), field) == value


@pytest.mark.parametrize(
    ("line", "condition"),
    [
        ("j -w 2", {"numWorker": 2}),
        ("j -w 10", {"numWorker": 10}),
        ("j -w4", {"numWorker": 4}),
        ("j --workers=4", {"numWorker": 4}),
        ("j --timeout 0", {"timeout": 0}),
        ("j --timeout 1440", {"timeout": 1440}),
        ("j --nrn ''", {"nrn": ""}),
        ("j --log-path 'b/my logs/'", {"logPath": "b/my logs/"}),
    ],
)
def test_a_field_of_the_condition_is_read_in_each_of_its_forms(line, condition):
    assert read(line).request.condition.to_wire() == condition


def test_options_override_the_condition_of_a_pasted_request_body():
    body = '{"jobCondition": {"numWorker": 4, "timeout": 30, "spot": true}, "parameters": {"$a": 1}}'

    request = read("j --timeout 60", body).request

    assert request.condition.to_wire() == {"numWorker": 4, "timeout": 60, "spot": True}
    assert request.parameters == {"$a": 1}


def test_a_warning_of_the_block_is_passed_on():
    assert read("j", '{"a": 1}').warnings == (
        "sent as written, without the leading $ of the service's examples: a",
    )


@pytest.mark.parametrize(("line", "body"), [("--help", "not a block"), ("j -h", "")])
def test_help_is_returned_for_any_block_and_names_every_option_with_its_default(line, body):
    with pytest.raises(HelpRequested) as requested:
        parse_cell(line, body, {})

    text = str(requested.value)
    assert text.startswith("usage: %%dataflow_run JOB [options]\n")
    for word in (
        "--workers",
        "-w N",
        "2-10",
        "0-1440",
        "--wait-timeout MINUTES",
        "--dry-run",
        "--no-wait",
        "id:X",
    ):
        assert word in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "no job is given; write %%dataflow_run JOB with the name or id of a job"),
        ("id:", "no job is given; write %%dataflow_run JOB with the name or id of a job"),
        ("id:../x", "'../x' is not a job id; a job id has only letters and digits"),
        ("j --worker 4", "line 1: unknown option '--worker'; did you mean '--workers'?; see %dataflow_run --help"),
        ("j --zzz=4", "line 1: unknown option '--zzz'; see %dataflow_run --help"),
        ("j k", "line 1: unexpected word 'k'; write %%dataflow_run JOB [options]"),
        (
            "j region=seoul",
            "line 1: 'region=seoul' is on the line; parameters stand in the block below it: region = 'seoul'",
        ),
        ("j n=3 m=4", "line 1: 'n=3' is on the line; parameters stand in the block below it: n = 3"),
        ("j d=2026-11-01x", "line 1: 'd=2026-11-01x' is on the line; parameters stand in the block below it: d = '2026-11-01x'"),
        (
            "j m=each(1, 7)",
            "line 1: 'm=each(1, 7)' is on the line; parameters stand in the block below it: m = each(1, 7)",
        ),
        (
            "j --workers each(2,4)",
            "line 1: 'each(2,4)' is on the line; each(...), zipped(...) and rows(...) give values to a parameter of the block below it: "
            "month = each(1, 7)",
        ),
        ("j --workers", "line 1: argument --workers/-w: expected one argument; see %dataflow_run --help"),
        ("j --workers four", "line 1: argument --workers/-w: 'four' is not a whole number; see %dataflow_run --help"),
        ("j --workers 2.0", "line 1: argument --workers/-w: '2.0' is not a whole number; see %dataflow_run --help"),
        ("j --workers 1", "1 workers: the number is outside 2-10; --force (force=True) sends it anyway"),
        ("j -w 11", "11 workers: the number is outside 2-10; --force (force=True) sends it anyway"),
        ("j --workers -1", "-1 workers: the number is outside 2-10; --force (force=True) sends it anyway"),
        ("j --timeout 1441", "timeout 1441: the minutes are outside 0-1440; --force (force=True) sends them anyway"),
        ("j --timeout -1", "timeout -1: the minutes are outside 0-1440; --force (force=True) sends them anyway"),
        ("j --marker LOG-PATH", "line 1: argument --marker: 'LOG-PATH' is none of off, log-path, parameter; see %dataflow_run --help"),
        ("j --wait-timeout -1", "line 1: argument --wait-timeout: '-1' is not a number of minutes; see %dataflow_run --help"),
        ("j --wait-timeout nan", "line 1: argument --wait-timeout: 'nan' is not a number of minutes; see %dataflow_run --help"),
        ("j --wait-timeout inf", "line 1: argument --wait-timeout: 'inf' is not a number of minutes; see %dataflow_run --help"),
        ("j --wait-timeout soon", "line 1: argument --wait-timeout: 'soon' is not a number of minutes; see %dataflow_run --help"),
        ("j --out 2x", "line 1: argument --out/-o: '2x' is not a Python name; see %dataflow_run --help"),
        ("j --out class", "line 1: argument --out/-o: 'class' is not a Python name; see %dataflow_run --help"),
        ("j --out a.b", "line 1: argument --out/-o: 'a.b' is not a Python name; see %dataflow_run --help"),
        ("j 'x", "line 1: the line cannot be split into words: No closing quotation; see %dataflow_run --help"),
        ("$nobody", "line 1: $nobody: NameError: name 'nobody' is not defined"),
        ("{1/0}", "line 1: {1/0}: ZeroDivisionError: division by zero"),
        ("{int('x')}", "line 1: {int(x)}: NameError: name 'x' is not defined"),
        ("'{int(\"x\")}'", "line 1: {int(\"x\")}: ValueError: invalid literal for int() with base 10: 'x'"),
        ("{exit}", "line 1: {exit} is a function, which has no string form; give text, a number, a bool, a date or a path, or convert it by str(...)"),
        ("{exit()}", "line 1: {exit()}: SystemExit: "),
        ("{}", "line 1: {}: SyntaxError: invalid syntax (<string>, line 0)"),
        ("{None}", "line 1: {None} is None, which has no string form; give text, a number, a bool, a date or a path, or convert it by str(...)"),
    ],
    ids=ascii,
)  # fmt: skip
def test_a_wrong_line_is_refused_with_one_line_that_says_what_to_do(line, said):
    assert complaint(line, exit=leave) == said


def leave() -> None:
    raise SystemExit


def test_an_error_in_the_block_has_the_line_of_the_cell():
    assert complaint("j", "a = 1\nb") == (
        "line 3: this is not an assignment; each line of a parameter block is name = value"
    )


def test_force_accepts_values_outside_the_ranges():
    condition = read("j --workers 1 --timeout 9999 --force").request.condition

    assert condition.to_wire() == {"numWorker": 1, "timeout": 9999}


def test_the_ranges_are_checked_in_a_pasted_body_too():
    body = '{"jobCondition": {"numWorker": 20}, "parameters": {}}'

    assert "20 workers: the number is outside 2-10" in complaint("j", body)
    assert read("j --workers 4", body).request.condition.num_worker == 4


@given(st.integers() | st.integers(-1, 12) | st.integers(1438, 1442))
def test_exactly_the_documented_ranges_pass(number):
    passes = {
        "workers": 2 <= number <= 10,
        "timeout": 0 <= number <= 1440,
    }

    for name, field in (("workers", "num_worker"), ("timeout", "timeout")):
        condition = JobCondition.model_validate({field: number})
        if passes[name]:
            check_ranges(condition)
        else:
            with pytest.raises(CellError, match=rf"{number}\b.* outside"):
                check_ranges(condition)
        check_ranges(condition, force=True)


# Values of the notebook on the option line


@pytest.mark.parametrize(
    ("line", "job"),
    [
        ("$job", "daily_sales"),
        ("{job}", "daily_sales"),
        ("{job.upper()}", "DAILY_SALES"),
        ("'{job + \"_2\"}'", "daily_sales_2"),
        ("{2026}", "2026"),
        ("x$job", "x$job"),
        ("x{job}", "x{job}"),
        ("$job-x", "$job-x"),
        ("{job}x", "{job}x"),
    ],
    ids=[
        "a name",
        "an expression",
        "a call",
        "quoted for its blank",
        "a number",
        "not after text",
        "not in braces after text",
        "not before text",
        "not in braces before text",
    ],
)
def test_a_whole_word_is_replaced_by_its_value(line, job):
    assert read(line, job="daily_sales").request.job.text == job


def test_the_values_of_options_are_replaced_too():
    condition = read("j --workers $n --timeout {n*10} --nrn {role}", n=4, role="nrn x").request.condition

    assert condition.to_wire() == {"numWorker": 4, "timeout": 40, "nrn": "nrn x"}


def test_an_expression_split_at_its_spaces_is_refused_with_a_hint_to_quote_it():
    with pytest.raises(CellError) as refused:
        read("j --timeout {n * 10}", n=4)

    assert str(refused.value) == (
        "line 1: '{n' has no closing brace; quote an expression that contains spaces"
    )


def test_the_line_changes_nothing_in_the_notebook():
    namespace = MappingProxyType({"job": "daily"})

    options = parse_cell("{(leak:=job)}", "", namespace)

    assert options.request.job.text == "daily"


# How a job is named


@pytest.mark.parametrize(
    ("text", "ref", "may_be_id"),
    [
        ("daily_sales", JobRef("daily_sales", "any"), False),
        ("gqigvH000000", JobRef("gqigvH000000", "any"), True),
        ("gqigvH00000", JobRef("gqigvH00000", "any"), False),
        ("gqigvH00000_", JobRef("gqigvH00000_", "any"), False),
        ("id:short", JobRef("short", "id"), True),
        ("name:gqigvH000000", JobRef("gqigvH000000", "name"), False),
        ("name:id:x", JobRef("id:x", "name"), False),
        ("team:daily", JobRef("team:daily", "any"), False),
        ("매출", JobRef("매출", "any"), False),
    ],
    ids=[
        "a name",
        "twelve letters and digits",
        "eleven",
        "another character",
        "an id by its prefix",
        "a name by its prefix",
        "only the first prefix counts",
        "another prefix",
        "another script",
    ],
)
def test_a_job_is_named_by_its_name_or_its_id(text, ref, may_be_id):
    assert parse_job_ref(text) == ref
    assert ref.may_be_id is may_be_id


@pytest.mark.parametrize("text", ["id:a/b", "id:a?b", "id:..", "id:a b", "id:매출", "id:%2e"])
def test_an_id_that_would_change_the_path_of_the_request_is_refused(text):
    with pytest.raises(CellError, match="is not a job id; a job id has only letters and digits"):
        parse_job_ref(text)


# The same from Python


def test_a_request_from_python_equals_that_of_a_cell():
    made = make_request(
        "daily_sales",
        {"table": "a", "$n": 2},
        workers=4,
        timeout=60,
        worker_type="DEFAULT",
        nrn="n",
        script_path="s/",
        log_path="l/",
        trigger_id="T",
        workflow_id="W",
    )
    line = (
        "daily_sales --workers 4 --timeout 60 --worker-type DEFAULT --nrn n --script-path s/ --log-path l/ "
        "--trigger-id T --workflow-id W"
    )

    assert made == read(line, "table = 'a'\nn = 2").request


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"workers": "4"}, "workers='4' is str, not int"),
        ({"workers": 4.0}, "workers=4.0 is float, not int"),
        ({"timeout": True}, "timeout=True is bool, not int"),
        ({"nrn": 5}, "nrn=5 is int, not str"),
        ({"trigger_id": 5}, "trigger_id=5 is int, not str"),
        ({"job": 5}, "job=5 is int, not str"),
        (
            {"workers": 1},
            "1 workers: the number is outside 2-10; --force (force=True) sends it anyway",
        ),
        ({"job": ""}, "no job is given; write %%dataflow_run JOB with the name or id of a job"),
        ({"parameters": {"a": 1, "$a": 2}}, "the parameter $a is given twice"),
    ],
    ids=[
        "text",
        "float",
        "bool",
        "number for text",
        "number for an id",
        "number for a job",
        "range",
        "no job",
        "twice",
    ],
)
def test_a_request_from_python_that_cannot_be_sent_is_refused(given_, said):
    with pytest.raises(CellError) as caught:
        make_request(**{"job": "j", **given_})

    assert str(caught.value) == said


def test_a_request_from_python_may_be_forced():
    assert make_request("j", workers=99, force=True).condition.num_worker == 99


@given(st.text(), st.text(max_size=10))
def test_any_line_is_options_or_help_or_an_error(line, body):
    try:
        options = parse_cell(line, body, {})
    except HelpRequested as requested:
        assert str(requested).startswith("usage: ")  # noqa: PT017 - every outcome is right
    except CellError as error:
        assert error.line is None or error.line >= 1  # noqa: PT017
    else:
        assert options.request.job.text


@pytest.mark.parametrize(
    ("line", "notes"),
    [
        (
            "j --log-path bucket/$m/",
            ["'bucket/$m/' is sent as written: $m is replaced only where it is a whole word; write \"{f'bucket/{m}/'}\" for its value"],
        ),
        (
            "j --log-path bucket/{m}/x",
            ["'bucket/{m}/x' is sent as written: {m} is replaced only where it is a whole word; write \"{f'bucket/{m}/x'}\" for its value"],
        ),
        (
            "j_$m",
            ["'j_$m' is sent as written: $m is replaced only where it is a whole word; write \"{f'j_{m}'}\" for its value"],
        ),
        ("$m --workers {2+1} --log-path \"{f'b/{m}/'}\"", []),
        ("j --log-path b/100$/ --nrn a{b", []),
        ("j --log-path b/$1/", []),
    ],
    ids=["a name", "an expression", "in the job", "whole words", "signs alone", "no name"],
)  # fmt: skip
def test_a_name_inside_a_word_is_sent_as_written_and_noted(line, notes):
    assert list(read(line, m="x").warnings) == notes


@given(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True),
    st.sampled_from(["b/", "x-"]),
    st.sampled_from(["/", "", ".d"]),
)
def test_the_word_that_a_note_advises_has_the_value(name, before, after):
    written = f"{before}${name}{after}"
    (note,) = read(f"j --log-path {written}").warnings
    advised = note.partition("; write ")[2].removesuffix(" for its value")
    if keyword.iskeyword(name):
        return

    assert read(f"j --log-path {written}").request.condition.log_path == written
    assert read(f"j --log-path {advised}", **{name: "v1"}).request.condition.log_path == f"{before}v1{after}"


@given(st.sampled_from("\u200b\ufeff\u00a0\u2060\u00ad\u3000\u202e"), st.integers(0, 20))
def test_a_character_of_the_line_that_cannot_be_seen_is_refused_by_its_code_point(character, place):
    line = "daily_sales --workers 4"
    said = complaint(line[:place] + character + line[place:])

    assert said.startswith(f"line 1: the line contains U+{ord(character):04X} (")
    assert said.endswith("), which cannot be seen; remove it")
