"""Backfills from a cell: what would start, what an earlier run makes unnecessary, and how many are meant."""

import re
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from dataflow_magic.local.run import Outcome
from dataflow_magic.session.sweep.handle import Sweep

DAYS = 'day = each(pd.date_range("2026-11-01", periods=4))\n'


@pytest.fixture(autouse=True)
def _pandas(lab):
    lab.run("import pandas as pd")


def failing(*days: str):
    return lambda parameters: Outcome("FAILED" if parameters["$day"] in days else "COMPLETED")


def days(scene) -> list[str]:
    return [sent.body["parameters"]["$day"] for sent in scene.service.starts]


def test_a_dry_run_returns_what_would_start_and_sends_nothing(scene, lab):
    ran = lab.run(f"%%dataflow_run daily_sales --order reverse --dry-run --workers 2 --timeout 30\n{DAYS}")

    pd.testing.assert_frame_equal(
        ran.value,
        pd.DataFrame(
            {
                "day": ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"],
                "action": ["start"] * 4,
                "order": [4, 3, 2, 1],
                "why": [""] * 4,
            }
        ).astype({"day": "string", "action": "string", "order": "Int64", "why": "string"}),
    )
    assert (
        "Note: the sweep starts 4 runs, at most 240 worker-minutes (4 runs x 2 workers x 30 min)" in ran.out
    )
    assert "# the first of 4 requests of a sweep" in ran.out
    assert "2026-11-04" in ran.out
    assert scene.service.starts == []


def test_the_sweeps_of_this_machine_are_a_table(scene, lab):
    assert list(lab.run("%dataflow_sweeps").value.sweep) == []
    lab.run(f"%%dataflow_run daily_sales --max-parallel 2 --wait\n{DAYS}")
    (sweep,) = scene.session.handles
    table: Any = lab.run("%dataflow_sweeps").value

    row = table.iloc[0]
    assert (row.sweep, row.job, row.state, row.runs, row.completed, row.failed, row.unsent, row.max_parallel) == (
        sweep.key, "daily_sales", "COMPLETED", 4, 4, 0, 0, 2
    )  # fmt: skip
    assert str(table.created.dtype) == "datetime64[us, Asia/Seoul]"
    assert pd.isna(row.driver)
    assert f"<code>{sweep.key}</code>" in re.sub(' (style|class|title)="[^"]*"', "", table._repr_html_())
    assert repr(table).splitlines()[0].split() == [
        "sweep", "state", "job", "runs", "done", "failed", "live", "unsent", "limit", "created", "starts", "them"
    ]  # fmt: skip
    assert repr(table).splitlines()[-1] == f"its card: %dataflow_attach {sweep.key}"


def test_what_completed_is_left_out_and_the_rest_is_started(scene, lab):
    scene.service.outcome_of = failing("2026-11-02")
    lab.run(f"%%dataflow_run daily_sales -o first\n{DAYS}")
    first = lab.shell.user_ns["first"]
    first.wait(60)
    scene.service.outcome_of = failing()
    before = len(scene.service.starts)

    plan = lab.run(f"%%dataflow_run daily_sales --reprocess none --dry-run\n{DAYS}").value
    assert list(plan.action) == ["skip", "start", "skip", "skip"]
    assert plan.why[0] == f"run {first.runs[0].id} is COMPLETED"

    ran = lab.run(f"%%dataflow_run daily_sales --reprocess none --wait\n{DAYS}")
    assert "Note: 1 of 4 runs are left to start; --reprocess all starts all" in ran.out
    assert isinstance(ran.value, Sweep)
    assert ran.value.counts == {"COMPLETED": 1, "SKIPPED": 3}
    assert [each["$day"] for each in ran.value.skipped] == ["2026-11-01", "2026-11-03", "2026-11-04"]
    assert days(scene)[before:] == ["2026-11-02"]

    again = lab.run(f"%%dataflow_run daily_sales --reprocess none\n{DAYS}")
    assert (again.error, again.value.counts) == (None, {"SKIPPED": 4})
    assert len(days(scene)) == before + 1


def test_only_what_failed_is_started_again_on_demand(scene, lab):
    scene.service.outcome_of = failing("2026-11-02")
    lab.run(f"%%dataflow_run daily_sales -o first\n{DAYS}")
    lab.shell.user_ns["first"].wait(60)
    before = len(scene.service.starts)
    more = DAYS.replace("periods=4", "periods=6")

    ran = lab.run(f"%%dataflow_run daily_sales --reprocess failed\n{more}")
    ran.value.wait(60)
    assert days(scene)[before:] == ["2026-11-02"]
    assert ran.value.counts == {"FAILED": 1, "SKIPPED": 5}


def test_a_run_that_is_alive_is_not_started_a_second_time(scene, lab):
    lab.run(f"%%dataflow_run slow -o first\n{DAYS}")
    first = lab.shell.user_ns["first"]
    first.wait_sent()

    plan = lab.run(f"%%dataflow_run slow --reprocess none --dry-run\n{DAYS}").value
    assert list(plan.action) == ["skip"] * 4
    scene.service.finish.set()
    first.wait(60)


def test_another_script_or_other_parameters_are_other_runs(lab):
    lab.run(f"%%dataflow_run daily_sales -o first\n{DAYS}table = 'sales'\n")
    lab.shell.user_ns["first"].wait(60)

    def starts(line: str, block: str) -> int:
        plan = lab.run(f"%%dataflow_run daily_sales --reprocess none --dry-run {line}\n{block}").value
        return int((plan.action == "start").sum())

    assert starts("", f"{DAYS}table = 'sales'\n") == 0
    assert starts("", f"{DAYS}table = 'orders'\n") == 4
    assert starts("", DAYS) == 4
    assert starts("--script-path bucket/other/", f"{DAYS}table = 'sales'\n") == 4


def test_runs_that_only_the_service_knows_count_where_it_is_asked(scene, lab):
    lab.run(f"%%dataflow_run daily_sales -o first\n{DAYS}")
    lab.shell.user_ns["first"].wait(60)
    with scene.session._ledger.writing() as db:
        db.execute("DELETE FROM runs")

    def actions(line: str) -> list[str]:
        return list(
            lab.run(f"%%dataflow_run daily_sales --reprocess none --dry-run {line}\n{DAYS}").value.action
        )

    assert actions("") == ["start"] * 4
    assert actions("--remote") == ["skip"] * 4


def test_more_than_a_hundred_runs_start_only_where_so_many_are_meant(scene, lab):
    block = "n = each(range(101))\n"
    refused = lab.run(f"%%dataflow_run daily_sales --workers 2 --timeout 1\n{block}")
    assert str(refused.error) == (
        "the sweep starts 101 runs, at most 202 worker-minutes (101 runs x 2 workers x 1 min); --dry-run lists them, --yes "
        "starts them"
    )
    assert scene.service.starts == []

    meant = lab.run(f"%%dataflow_run daily_sales --yes\n{block}")
    meant.value.wait(60)
    assert len(scene.service.starts) == 101


def test_a_limit_of_the_line_holds_and_the_sweep_says_it(scene, lab):
    ran = lab.run(f"%%dataflow_run slow --max-parallel 2\n{DAYS}")
    assert ran.value.max_parallel == 2
    scene.service.finish.set()
    assert len(ran.value.result(timedelta(seconds=60).total_seconds())) == 4
