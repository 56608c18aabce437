"""``%dataflow_compare``: what differs between two runs of the local service with scripted runs."""

import pandas as pd
import pytest

from tests.helpers import Notebook, eventually

MONTHS = "%%dataflow_run {job} -o {name}\nmonth = {month}\n"


@pytest.fixture
def two(lab):
    """Return a notebook with a completed run ``june`` and a failed run ``july`` of other jobs."""
    lab.run(MONTHS.format(job="daily_sales", name="june", month=6))
    lab.run(MONTHS.format(job="broken", name="july", month=7))
    eventually(lambda: all(lab.shell.user_ns[name].is_done for name in ("june", "july")), "they ended")
    return lab


def value(notebook: Notebook, line: str) -> pd.DataFrame:
    assert notebook.run(f"found = {line}").error is None
    frame = notebook.shell.user_ns["found"]
    assert isinstance(frame, pd.DataFrame)
    return frame


def test_the_value_is_a_table_of_facts_those_that_differ_first(two):
    frame = value(two, "%dataflow_compare june $july")

    assert dict(frame.dtypes.astype(str)) == {
        "part": "string",
        "name": "string",
        "first": "object",
        "second": "object",
        "differs": "boolean",
        "ratio": "Float64",
    }
    shown = frame[frame["differs"].fillna(False)][["part", "name", "first", "second"]].values.tolist()
    assert shown == [
        ["parameter", "month", "6", "7"],
        ["condition", "job", "daily_sales", "broken"],
        ["outcome", "status", "COMPLETED", "FAILED"],
        ["outcome", "error_class", None, "ValueError"],
        ["outcome", "reason", None, "ValueError: no such table: test.sales"],
        ["outcome", "own_line", None, 'broken.py, line 3: raise ValueError("no such table: test.sales")'],
    ]


def test_a_terminal_shows_what_differs(two):
    shown = repr(two.run("%dataflow_compare june july").value)

    june, july = (two.shell.user_ns[name].id for name in ("june", "july"))
    assert f"{june}  {july}" in shown
    assert "parameter  month" in shown
    assert "not known whether it differs: script" in shown


def test_scripts_that_the_service_kept_are_compared(two, scene):
    logs = scene.service.folder / "objects" / "bucket" / "logs"
    for name, text in (("june", "load()\nadd()\n"), ("july", "load()\nsubtract()\n")):
        folder = logs / two.shell.user_ns[name].id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "script.py").write_text(text)

    frame = value(two, "%dataflow_compare june july")

    script = frame[frame["part"] == "script"]
    assert script[["name", "first", "second"]].values.tolist() == [["line 2", "add()", "subtract()"]]


def test_a_run_of_an_earlier_kernel_is_compared(two, scene):
    june, july = (two.shell.user_ns[name].id for name in ("june", "july"))
    scene.session.close()
    scene.session = scene.new_session()

    comparison = scene.session.compare([june, july])

    assert (comparison.first, comparison.second) == (june, july)
    assert comparison.facts[0][:4] == ("parameter", "month", "6", "7")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("june", "the following arguments are required: RUN"),
        ("june june", "both are run {june}; name another one"),
        ("june nothing", "no run 'nothing' was started here"),
        ("june ''", "it is empty; give a run or @last"),
        ("june july june", "unexpected word 'june'; write %dataflow_compare RUN RUN"),
    ],
)
def test_what_cannot_be_compared_is_said(two, line, message):
    ran = two.run(f"%dataflow_compare {line}")

    assert message.format(june=two.shell.user_ns["june"].id) in str(ran.error or ran.out)


def test_a_sweep_names_its_runs(two):
    two.run("%%dataflow_run daily_sales -o both\nmonth = each(1, 2)\n")
    both = two.shell.user_ns["both"]
    eventually(lambda: both.is_over, "it ended")

    ran = two.run("%dataflow_compare both june")

    assert (
        f"{both.key} is a sweep; name two runs, such as of its own: {both.runs[0].id}, {both.runs[1].id}"
        in str(ran.error)
    )
