import pytest

from dataflow_magic.cell.line import HelpRequested
from dataflow_magic.cell.run import CellOptions
from dataflow_magic.cell.script import LOCAL_DEFAULTS, ScriptCell, object_key, parse_script
from dataflow_magic.errors import CellError
from dataflow_magic.local.objects.samples import sample_jobs
from dataflow_magic.models.request import JobRef, RunRequest, ScriptRequest, SweepRequest
from dataflow_magic.models.wire import JobCondition


def parse(line: str, body: str = "print(1)\n", **namespace: object) -> ScriptRequest:
    written = parse_script(line, body, namespace).write
    assert written
    return written


def run_of(line: str, **namespace: object) -> CellOptions:
    run = parse_script(line, "print(1)\n", namespace).run
    assert run
    return run


def refusal(line: str, body: str = "print(1)\n") -> str:
    with pytest.raises(CellError) as refused:
        parse_script(line, body, {})
    return str(refused.value)


def test_a_cell_is_a_job_a_script_and_a_job_condition():
    condition = JobCondition(
        num_worker=4,
        timeout=60,
        worker_type="DATAFLOW",
        nrn="nrn:1",
        script_path="b/scripts/",
        log_path="b/logs/",
    )
    line = (
        "my_job -w 4 --timeout 60 --worker-type DATAFLOW --nrn nrn:1 --script-path b/scripts/ --log-path b/logs/ "
        "--target local --profile dev --run --force"
    )
    assert parse_script(line, "print(1)\n", {}) == ScriptCell(
        JobRef("my_job"),
        ScriptRequest(JobRef("my_job"), b"print(1)\n", condition, force=True),
        run=CellOptions(RunRequest(JobRef("my_job")), target="local", profile="dev"),
        target="local",
        profile="dev",
    )
    assert parse("id:abc") == ScriptRequest(JobRef("abc", "id"), b"print(1)\n", JobCondition())


def test_a_run_of_the_script_has_the_parameters_and_options_of_the_line():
    run = run_of('my_job --run month=n+6 origin="J F K" -o july --wait-timeout 5 --marker parameter', n=1)

    assert run == CellOptions(
        RunRequest(JobRef("my_job"), parameters={"$month": "7", "$origin": "J F K"}),
        wait_timeout=5.0,
        out="july",
        marker="parameter",
    )


def test_the_words_of_a_sweep_start_one_run_per_combination():
    job = JobRef("my_job")
    run = run_of('my_job origin=each("JFK", "EWR") year,month=zipped([2024, 2025], [1, 2]) --run')

    assert run.sweep == SweepRequest(
        ("$origin", "$year", "$month"),
        tuple(
            RunRequest(job, parameters={"$origin": origin, "$year": year, "$month": month})
            for origin in ("JFK", "EWR")
            for year, month in (("2024", "1"), ("2025", "2"))
        ),
    )


def test_a_parameter_of_the_line_is_python_with_blanks_in_strings_and_brackets():
    run = run_of(r"""job --run a='x y' b=max(1, 2) $c=[10, 20][1] d="\"  \"" e=f"{a}!" """)

    assert run.request.parameters == {"$a": "x y", "$b": "2", "$c": "20", "$d": '"  "', "$e": "x y!"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("job month=7", "line 1: month=7: this is for a run; add --run to start one"),
        ("job -o run", "line 1: --out: this is for a run; add --run to start one"),
        ("job --wait x=1", "line 1: --wait, x=1: this is for a run; add --run to start one"),
        ("job --run month = 7", "line 1: unexpected word 'month'; write %%dataflow_script JOB [options] [--run [NAME=EXPRESSION ...]]"),
        ("job --run origin=JFK", "line 1: origin: name 'JFK' is not defined"),
        ("job --run a=1 a=2", "line 1: a is assigned twice; each parameter has one value"),
        ("job --run a=", "line 1: "),
    ],
)  # fmt: skip
def test_a_parameter_that_cannot_be_sent_is_refused_before_the_script_is_written(line, said):
    assert refusal(line).startswith(said)


@pytest.mark.parametrize("reading", ["show", "edit"])
def test_the_stored_script_is_read_by_a_line_without_a_cell(reading):
    cell = parse_script(f"id:abc --{reading} --target local", "", {})

    assert cell == ScriptCell(JobRef("abc", "id"), reading=reading, target="local")


@pytest.mark.parametrize(
    ("line", "body", "said"),
    [
        ("job --show", "print(1)\n", "line 1: --show only reads the stored script; remove the cell below"),
        ("job --edit --run a=1 -w 3", "", "line 1: --edit only reads the stored script; remove --workers, --run, a=1"),
    ],
)  # fmt: skip
def test_a_line_that_reads_a_script_writes_none(line, body, said):
    assert refusal(line, body) == said


def test_a_word_of_the_line_may_be_an_expression():
    assert parse("$job -w {n+1}", job="my_job", n=2).condition == JobCondition(num_worker=3)


@pytest.mark.parametrize(
    ("body", "content"),
    [
        ("print(1)", b"print(1)\n"),
        ("print(1)\n\n\n", b"print(1)\n"),
        ("\n  # 매출\nx = 1;", "\n  # 매출\nx = 1;\n".encode()),
        ('t = """a\n  b\t\n\n"""\n', b't = """a\n  b\t\n\n"""\n'),
        ("x = 1\r\ny = 2\r\n", b"x = 1\r\ny = 2\n"),
        ('month = int("$month")\ntable = $table\n', b'month = int("$month")\ntable = $table\n'),
        ("x = '\\d'\n", b"x = '\\d'\n"),
        ("# -*- coding: utf-8 -*-\n", b"# -*- coding: utf-8 -*-\n"),
    ],
    ids=[
        "without an end", "with many ends", "wide characters and a semicolon", "text over several lines",
        "the line ends of Windows", "parameters", "what Python warns of", "UTF-8 said to be",
    ],
)  # fmt: skip
def test_the_script_is_the_cell_byte_for_byte_with_one_newline_at_the_end(body, content):
    assert parse("job", body).content == content


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("x = 1\ny = (2\n", "line 3: '(' was never closed; nothing was written"),
        ("x = 1\n\nif x:\nprint(x)\n", "line 5: expected an indented block after 'if' statement on line 3; nothing was written"),
        ("await f()\n", "line 2: 'await' outside function; nothing was written"),
        ("return 1\n", "line 2: 'return' outside function; nothing was written"),
        ("x = 1\n%matplotlib inline\n", "line 3: '%matplotlib inline' is IPython syntax, and a script runs without IPython; nothing was written"),
        ("!ls\n", "line 2: '!ls' is IPython syntax, and a script runs without IPython; nothing was written"),
        ("files = !ls\n", "line 2: 'files = !ls' is IPython syntax, and a script runs without IPython; nothing was written"),
        ("t = %time 1\n", "line 2: 't = %time 1' is IPython syntax, and a script runs without IPython; nothing was written"),
        ("import os\nos?\n", "line 3: 'os?' is IPython syntax, and a script runs without IPython; nothing was written"),
        ("%%bash\nls\n", "line 2: '%%bash' is IPython syntax, and a script runs without IPython; nothing was written"),
        ("# -*- coding: euc-kr -*-\n", "line 2: the script declares the encoding euc-kr, but is stored as UTF-8; remove the declaration"),
        ("# -*- coding: none -*-\n", "line 2: unknown encoding: none; nothing was written"),
        ("x = 1\ny = '\ud800'\n", "line 3: '\\ud800' is a lone surrogate, which UTF-8 cannot encode"),
        ("  \n\t\n", "line 1: the cell has no script; write it below %%dataflow_script JOB, or read the stored one with %dataflow_script JOB --show"),
        ("", "line 1: the cell has no script; write it below %%dataflow_script JOB, or read the stored one with %dataflow_script JOB --show"),
    ],
    ids=[
        "not closed", "not indented", "await", "return", "a magic", "a command", "a command's output", "a magic's value",
        "a question", "a cell magic", "another encoding", "no encoding", "half a character", "blanks", "nothing",
    ],
)  # fmt: skip
def test_a_script_that_does_not_compile_is_refused_with_the_line_of_the_cell(body, said):
    assert refusal("job", body) == said


@pytest.mark.parametrize("body", ["x = '\0'\n", "-" * 200_000 + "1\n"], ids=["a NUL", "nested too deep"])
def test_a_script_that_python_cannot_parse_at_all_is_refused(body):
    refused = refusal("job", body)

    assert refused.endswith("; nothing was written")
    assert len(refused) < 200


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "line 1: no job is given; write %%dataflow_script JOB"),
        ("--run", "line 1: no job is given; write %%dataflow_script JOB"),
        ("job other", "line 1: unexpected word 'other'; write %%dataflow_script JOB [options] [--run [NAME=EXPRESSION ...]]"),
        ("job --scriptpath b/", "line 1: unknown option '--scriptpath'; did you mean '--script-path'?; see %dataflow_script --help"),
        ("job -w 99", "99 workers: the number is outside 2-10; --force (force=True) sends it anyway"),
        ("job --nrn 'a", "line 1: the line cannot be split into words: No closing quotation; see %dataflow_script --help"),
        (
            "job --script-path s3a://b/scripts/",
            "'s3a://b/scripts/' is not a path in object storage: write bucket/prefix/, without a scheme, .. or a leading slash",
        ),
        (
            "job --log-path b/../logs/",
            "'b/../logs/' is not a path in object storage: write bucket/prefix/, without a scheme, .. or a leading slash",
        ),
        (
            "job --script-path main.py",
            "'main.py' is not a path in object storage: write bucket/prefix/, without a scheme, .. or a leading slash",
        ),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_refused(line, said):
    assert refusal(line) == said


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("b/scripts/", "b/scripts/my_job.py"),
        ("b/scripts", "b/scripts/my_job.py"),
        ("b", "b/my_job.py"),
        ("b/scripts/main.py", "b/scripts/main.py"),
    ],
)
def test_a_script_has_the_key_of_its_path_or_of_its_job_name(path, key):
    assert object_key(path, "my_job") == key


@pytest.mark.parametrize("path", ["", "/b/s/", "b//s/", "b/./s.py", "s3://b/s/", "s.py"])
def test_a_stored_path_outside_object_storage_is_refused(path):
    with pytest.raises(CellError, match="is not a path in object storage"):
        object_key(path, "my_job")


@pytest.mark.parametrize(("line", "body"), [("--help", ""), ("job -h", "!")])
def test_help_lists_every_option_and_reads_no_script(line, body):
    with pytest.raises(HelpRequested) as requested:
        parse_script(line, body, {})

    text = str(requested.value)
    assert text.startswith("usage: %%dataflow_script JOB [options] [--run [NAME=EXPRESSION ...]]\n")
    for option in (
        "--workers", "--timeout", "--worker-type", "--nrn", "--script-path", "--log-path", "--run", "--out", "--wait", "--wait-timeout", "--marker", "--show", "--edit", "--target", "--profile",
        "--force", "--help",
    ):  # fmt: skip
        assert option in text


def test_a_new_job_of_a_local_service_has_the_condition_of_its_samples():
    assert {str(job["jobCondition"]) for job in sample_jobs()} == {str(LOCAL_DEFAULTS.to_wire())}
