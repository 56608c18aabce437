import pytest

from dataflow_magic.complete import complete

JOBS = ["slow_count", "daily_sales", "daily_delays"]
RUNS = ["p4Y5PkAAAAAA", "mY3275GiRXkm"]


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
        ("%%dataflow_run daily_sales --target ", ["cloud", "local"]),
        ("%%dataflow_run daily_sales --target l", ["local"]),
        ("%%dataflow_run daily_sales ", []),
        ("%%dataflow_script sl", ["slow_count"]),
        ("%%dataflow_script slow_count --r", ["--run"]),
        ("%%dataflow_script slow_count --target ", ["cloud", "local"]),
        ("%dataflow_cancel ", ["@last", "p4Y5PkAAAAAA", "mY3275GiRXkm"]),
        ("%dataflow_cancel @", ["@last"]),
        ("%dataflow_status p4", ["p4Y5PkAAAAAA"]),
        ("%dataflow_runs ", None),
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
        "a magic without arguments",
        "another magic",
        "other code",
    ],
)
def test_a_line_of_ours_is_completed(line, offered):
    assert complete(line, jobs=JOBS, runs=RUNS) == offered
