"""The options of a sweep on a line and their values in Python, and the grid of a sweep made in Python."""

from typing import Any

import pandas as pd
import pytest

from dataflow_magic.cell.backfill import check_size, grid_rows, make_plan, worst_case
from dataflow_magic.cell.run import parse_cell
from dataflow_magic.cell.script import parse_script
from dataflow_magic.errors import CellError
from dataflow_magic.models.request import SweepPlan
from dataflow_magic.models.wire import JobCondition

BLOCK = "day = each(1, 2, 3)"


def plan(line: str) -> SweepPlan:
    cell = parse_cell(f"daily {line}", BLOCK, {})
    assert cell.sweep is not None
    return cell.sweep.plan


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", SweepPlan()),
        ("--max-parallel 4", SweepPlan(max_parallel=4)),
        ("--order reverse", SweepPlan(reverse=True)),
        ("--order block", SweepPlan()),
        ("--stop-on-failure", SweepPlan(stop_on_failure=1)),
        ("--stop-on-failure 3", SweepPlan(stop_on_failure=3)),
        ("--stop-on-failure --retry 2", SweepPlan(stop_on_failure=1, retry=2)),
        ("--reprocess none", SweepPlan(reprocess="none")),
        ("--reprocess failed --remote --yes", SweepPlan(reprocess="failed")),
    ],
)
def test_the_options_of_a_line_are_the_plan_of_its_sweep(line, expected):
    assert plan(line) == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--max-parallel 0", "line 1: argument --max-parallel: '0' is less than 1; see %dataflow_run --help"),
        ("--max-parallel four", "line 1: argument --max-parallel: 'four' is not a whole number; see %dataflow_run --help"),
        ("--order newest", "line 1: argument --order: 'newest' is none of block, reverse; see %dataflow_run --help"),
        ("--reprocess some", "line 1: argument --reprocess: 'some' is none of none, failed, all; see %dataflow_run --help"),
        ("--remote", "line 1: --remote asks which runs there were, for --reprocess none or failed; add one of them"),
    ],
)  # fmt: skip
def test_a_value_that_an_option_does_not_take_is_refused(line, said):
    with pytest.raises(CellError) as caught:
        plan(line)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "flag", ["--max-parallel 2", "--order reverse", "--retry 1", "--reprocess none", "--yes"]
)
def test_options_of_a_sweep_are_refused_where_the_block_makes_one_run(flag):
    with pytest.raises(CellError) as caught:
        parse_cell(f"daily {flag}", "day = 1", {})
    assert str(caught.value) == (
        f"line 1: {flag.split()[0]}: this is for a sweep, and the block makes one run; name = each(...) makes a sweep"
    )


def test_a_new_script_runs_as_a_sweep_with_a_limit_and_without_earlier_runs():
    cell = parse_script("daily --run day=each(1,2) --max-parallel 1", "print($day)", {})
    assert cell.run is not None
    assert cell.run.sweep is not None
    assert cell.run.sweep.plan == SweepPlan(max_parallel=1)

    with pytest.raises(CellError, match="unknown option '--reprocess'"):
        parse_script("daily --run day=each(1,2) --reprocess none", "print($day)", {})
    with pytest.raises(CellError, match="--max-parallel: this is for a run; add --run to start one"):
        parse_script("daily --max-parallel 1", "print(1)", {})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_parallel": 0}, "max_parallel=0 is no number of runs; give 1 or more"),
        ({"max_parallel": 1.5}, "max_parallel=1.5 is no number of runs; give 1 or more"),
        ({"stop_on_failure": -1}, "stop_on_failure=-1 is no number of runs; give 1 or more"),
        ({"retry": -1}, "retry=-1 is no number of tries; give 0 or more"),
        ({"retry": True}, "retry=True is no number of tries; give 0 or more"),
        ({"order": "newest"}, "order='newest' is none of block, reverse"),
        ({"reprocess": None}, "reprocess=None is none of none, failed, all"),
    ],
)
def test_a_value_of_python_that_an_option_does_not_take_is_refused(given, said):
    usual: dict[str, Any] = {
        "max_parallel": None, "order": "block", "stop_on_failure": None, "retry": 0, "reprocess": "all"
    }  # fmt: skip
    with pytest.raises(CellError) as caught:
        make_plan(**usual | given)
    assert str(caught.value) == said


def test_stop_on_failure_takes_true_for_the_first():
    made = make_plan(max_parallel=None, order="block", stop_on_failure=True, retry=0, reprocess="all")

    assert made == SweepPlan(stop_on_failure=1)


def test_more_than_a_hundred_runs_must_be_meant():
    condition = JobCondition(num_worker=2, timeout=60)

    check_size(100, condition, is_meant=False)
    check_size(1000, condition, is_meant=True)
    with pytest.raises(CellError) as caught:
        check_size(101, condition, is_meant=False)
    assert str(caught.value) == (
        "the sweep starts 101 runs, at most 12,120 worker-minutes (101 runs x 2 workers x 60 min); --dry-run lists them, "
        "--yes starts them"
    )


def test_the_worst_case_counts_each_retry():
    condition = JobCondition(num_worker=2, timeout=30)

    assert worst_case(4, condition, 2) == (
        "at most 720 worker-minutes (4 runs x 3 tries x 2 workers x 30 min)"
    )
    assert worst_case(4, JobCondition(), 2) == (
        "each with the job's workers until its timeout, up to 3 times"
    )


def test_the_worst_case_is_unknown_without_a_number_of_workers_or_a_timeout():
    assert worst_case(3, JobCondition(num_worker=2)) == "each with the job's workers until its timeout"
    assert (
        worst_case(3, JobCondition(num_worker=2, timeout=0))
        == "each with the job's workers until its timeout"
    )


@pytest.mark.parametrize(
    ("grid", "swept", "rows"),
    [
        ({"day": [1, 2], "table": "t"}, ("$day",), ["1 t", "2 t"]),
        ({"a": [1, 2], "b": ("x", "y")}, ("$a", "$b"), ["1 x", "1 y", "2 x", "2 y"]),
        ({"day": pd.date_range("2026-11-01", periods=2)}, ("$day",), ["2026-11-01", "2026-11-02"]),
        ({"n": (i for i in (3, 4))}, ("$n",), ["3", "4"]),
        ({"day": []}, ("$day",), []),
        ({"day": [7]}, ("$day",), ["7"]),
        ({"day": 7}, (), ["7"]),
        (pd.DataFrame({"region": ["s", "t"], "n": [1, 2]}), ("$region", "$n"), ["s 1", "t 2"]),
        ([{"a": 1, "b": 2}, {"b": 4, "a": 3}], ("$a", "$b"), ["1 2", "3 4"]),
    ],
)
def test_a_grid_makes_every_combination_of_lists_or_a_run_per_row(grid, swept, rows):
    names, made = grid_rows(grid)

    assert names == swept
    assert [" ".join(map(str, each.values())) for each in made] == rows


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"a": range(1001)}, "the grid makes more than 1,000 runs, the limit of a sweep; split it"),
        ({"a": range(40), "b": range(40)}, "the grid makes more than 1,000 runs, the limit of a sweep; split it"),
        ({"a": [None]}, "the parameter $a is None, which has no string form; give text, a number, a bool, a date or a path, or convert it by str(...)"),
        ([{"a": 1}, {"b": 1}], "the grid cannot be read: row 2 has no a"),
    ],
)  # fmt: skip
def test_a_grid_that_cannot_be_sent_is_refused(grid, said):
    with pytest.raises(CellError) as caught:
        grid_rows(grid)
    assert str(caught.value) == said
