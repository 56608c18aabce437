"""What the Tab key offers on a line of a magic and in a parameter block."""

from collections.abc import Mapping

import pytest

from dataflow_magic.cell.completion import complete, complete_block
from dataflow_magic.cell.parsers import MAGICS


class Known:
    def job_names(self) -> list[str]:
        return ["slow_count", "daily_sales", "daily_delays", "slow_count"]

    def run_names(self, beginning: str, _variables: Mapping[str, object]) -> dict[str, str]:
        runs = {"p4Y5PkAAAAAA": "slow RUNNING", "k2345678": "slow SUBMITTING", "mY3275GiRXkm": "daily FAILED"}
        return {name: what for name, what in runs.items() if name.startswith(beginning)}

    def profile_names(self) -> list[str]:
        return ["DEFAULT", "prod"]

    def parameter_names(self, job: str) -> list[str]:
        return {"daily_delays": ["month", "origin", "not-a-name"]}.get(job, [])


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("%%dataflow_run ", ["daily_delays", "daily_sales", "slow_count"]),
        ("%%dataflow_run dai", ["daily_delays", "daily_sales"]),
        ("run = %dataflow_run dai", None),
        ("%dataflow_run slow", ["slow_count"]),
        (
            "%%dataflow_run daily_sales --w",
            ["--workers", "--worker-type", "--workflow-id", "--wait", "--wait-timeout"],
        ),
        ("%%dataflow_run daily_sales --workers 3 --work", ["--worker-type", "--workflow-id"]),
        ("%%dataflow_run daily_sales --target ", ["cloud", "local", "DEFAULT", "prod"]),
        ("%%dataflow_run daily_sales --target l", ["local"]),
        ("%%dataflow_run daily_sales ", []),
        ("%%dataflow_script sl", ["slow_count"]),
        ("%%dataflow_script slow_count --r", ["--run", "--retry"]),
        ("%%dataflow_script slow_count --target ", ["cloud", "local", "DEFAULT", "prod"]),
        ("%dataflow_cancel ", ["@last", "p4Y5PkAAAAAA", "k2345678", "mY3275GiRXkm"]),
        ("%dataflow_cancel @", ["@last"]),
        ("%dataflow_status p4", ["p4Y5PkAAAAAA"]),
        ("%dataflow_runs ", []),
        ("%dataflow_runs --al", ["--all"]),
        ("%dataflow_runs --all --job sl", ["slow_count"]),
        ("%dataflow_runs --remote daily_s", ["daily_sales"]),
        ("%dataflow_runs --status C", ["COMPLETED", "CANCELED"]),
        ("%dataflow_run daily_sales --profile p", ["prod"]),
        ("%dataflow_run --again k", ["k2345678"]),
        ("%dataflow_run daily_sales --worker-type D", ["DEFAULT", "DATAFLOW"]),
        ("%%dataflow_run daily_sales --marker ", ["off", "log-path", "parameter"]),
        ("%%dataflow_run daily_sales --order ", ["block", "reverse"]),
        ("%%dataflow_run daily_sales --reprocess ", ["none", "failed", "all"]),
        ("%dataflow_run --workers 3 daily_s", ["daily_sales"]),
        ("%dataflow_run daily_sales --out c", []),
        ("%dataflow_wait k", ["k2345678"]),
        ("%dataflow_wait @last p", ["p4Y5PkAAAAAA"]),
        ("%dataflow_wait @last --", ["--help", "--timeout", "--any"]),
        ("%dataflow_wait --timeout 3 @", ["@last"]),
        ("%dataflow_wait --timeout ", []),
        ("%dataflow_attach m", ["mY3275GiRXkm"]),
        ("%dataflow_attach mY3275GiRXkm slow", ["slow_count"]),
        ("%dataflow_jobs --target p", ["prod"]),
        ("%dataflow_jobs s", ["slow_count"]),
        ("%dataflow_config ", []),
        ("%%dataflow_runner ", None),
        ("print(", None),
    ],
    ids=[
        "jobs, by name",
        "jobs that begin so",
        "not after other code",
        "the line form",
        "options",
        "options not given yet",
        "targets",
        "targets that begin so",
        "nothing where anything may stand",
        "jobs of a script",
        "options of a script",
        "targets of a script",
        "runs, the newest by its other name",
        "the newest",
        "runs that begin so",
        "nothing where only options may stand",
        "options of the table",
        "a job of the table",
        "a job of the service",
        "states",
        "profiles",
        "a run to start again",
        "kinds of workers",
        "places of the marker",
        "orders of a sweep",
        "what a sweep starts again",
        "a job behind an option with its value",
        "nothing for a new name",
        "keys",
        "further runs",
        "options of the wait",
        "a run behind an option with its value",
        "nothing for a number",
        "runs to attach to",
        "a job behind a run",
        "targets of the jobs",
        "a job to show",
        "a magic without arguments",
        "another magic",
        "other code",
    ],
)
def test_a_line_of_a_magic_is_completed(line, offered):
    completed = complete(line, Known(), {})

    assert (completed if completed is None else list(completed)) == offered


@pytest.mark.parametrize(
    ("above", "line", "below", "offered"),
    [
        (["%%dataflow_run daily_delays --workers 3"], "", [], ["month", "origin"]),
        (["%%dataflow_run daily_delays"], "mo", [], ["month"]),
        (["%%dataflow_run name:daily_delays"], "$mo", [], ["$month"]),
        (["%%dataflow_run daily_delays", "month = 1"], "", [], ["origin"]),
        (["%%dataflow_run daily_delays"], "", ["$origin = 2"], ["month"]),
        (["%%dataflow_run daily_delays"], "month = o", [], None),
        (["%%dataflow_run daily_delays", "{"], "mo", [], None),
        (["%%dataflow_run other"], "mo", [], []),
        (["%%dataflow_script daily_delays"], "mo", [], None),
        (["x = 1"], "mo", [], None),
    ],
    ids=[
        "all",
        "those that begin so",
        "with their $",
        "not those above",
        "not those below",
        "nothing in an expression",
        "nothing in JSON",
        "nothing of an unknown job",
        "nothing in a script",
        "nothing elsewhere",
    ],
)
def test_names_of_parameters_are_offered_where_a_name_may_stand(above, line, below, offered):
    completed = complete_block(above, line, below, Known())

    assert (completed if completed is None else list(completed)) == offered


def test_a_run_is_offered_with_its_job_and_state():
    assert complete("%dataflow_wait p", Known(), {}) == {"p4Y5PkAAAAAA": "slow RUNNING"}
    assert complete("%dataflow_wait @", Known(), {}) == {"@last": "the newest start"}


def test_every_option_but_the_switches_takes_a_value():
    parsers = [parser() for parser in MAGICS.values()]

    assert {flag for parser in parsers for flag in parser.flags() if not parser.takes_value(flag)} == {
        "--all", "--any", "--dry-run", "--edit", "--follow", "--force", "--help", "--no-wait", "--remote",
        "--run", "--show", "--stderr", "--stop-on-failure", "--wait", "--yes",
    }  # fmt: skip
    assert MAGICS["run"]().takes_value("-o")
