"""One way to name a run: each name of a run or a sweep means it, in every magic; a name that nothing has is one message."""

import pytest

from dataflow_magic.errors import NoSuchRun
from dataflow_magic.session.sweep.handle import Sweep
from tests.helpers import eventually

BLOCK = "month = each(1, 7)\n"


@pytest.fixture
def named(terminal):
    """A notebook in which ``sl`` is a sweep of active runs and ``one`` an active run."""
    terminal.run(f"%%dataflow_run slow -o sl\n{BLOCK};")
    terminal.run("%dataflow_run slow -o one;")
    terminal.shell.user_ns["sl"].wait_sent()
    return terminal


def test_a_sweep_is_found_by_each_of_its_names(scene, named):
    sweep = named.shell.user_ns["sl"]
    find = scene.session.find

    assert isinstance(sweep, Sweep)
    assert find(sweep) is sweep
    assert find(sweep.key) is sweep
    assert find(sweep.key[:7]) is sweep
    assert find("sl", named.shell.user_ns) is sweep
    assert find("@last").handle is named.shell.user_ns["one"]


def test_the_last_start_is_the_sweep_where_the_last_cell_started_one(scene, terminal):
    sweep = terminal.run(f"%%dataflow_run slow\n{BLOCK}").value

    assert scene.session.find("@last") is sweep


@pytest.mark.parametrize("word", ["sl", "$sl", "{sl}", "{[sl][0]}", "key", "one", "$one", "{one.key}"])
@pytest.mark.parametrize("magic", ["status", "cancel", "attach", "wait"])
def test_every_magic_takes_every_name(scene, named, magic, word):
    handle = named.shell.user_ns["one" if "one" in word else "sl"]
    if magic == "wait":
        scene.service.finish.set()
    ran = named.run(f"%dataflow_{magic} {handle.key if word == 'key' else word}")

    assert ran.error is None
    if magic == "cancel":
        handle.wait(60)
        states = handle.counts if isinstance(handle, Sweep) else {handle.status: 2}
        assert states == {"CANCELED": 2}
        name = f"the runs of sweep {handle.key}" if isinstance(handle, Sweep) else f"run {handle.id}"
        assert ran.out.endswith(f"cancel requested for {name} of slow\n")
    else:
        assert "of 2 runs over" in ran.out if isinstance(handle, Sweep) else handle.id in ran.out


def test_a_cancel_of_a_sweep_that_is_over_says_so(terminal):
    sweep = terminal.run(f"%%dataflow_run daily_sales --wait -o sl\n{BLOCK}").value
    ran = terminal.run("%dataflow_cancel sl")

    assert str(ran.error) == f"sweep {sweep.key} is over; there is nothing to cancel"


def test_a_function_sees_its_own_variable(named):
    named.run("def end(mine):\n    %dataflow_cancel mine\n")

    assert named.run("end(one)").out.startswith("cancel requested for run ")


def test_again_starts_every_run_of_a_sweep_once_more(scene, named):
    again = named.run("%dataflow_run --again sl").value
    again.wait_sent()

    assert isinstance(again, Sweep)
    assert [run.parameters for run in again.runs] == [{"$month": "1"}, {"$month": "7"}]
    assert again.key != named.shell.user_ns["sl"].key
    assert len(scene.service.starts) == 5


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("numbers = [1, 2]\n%dataflow_wait numbers", "the variable numbers holds list, not a run or a sweep"),
        (
            "name = one.id\n%dataflow_status name",
            "no run 'name' was started here; write $name for the text that the variable holds",
        ),
        ("%dataflow_cancel $nothing", "$nothing: NameError: name 'nothing' is not defined"),
        ("%dataflow_cancel {1", "'{1' has no closing brace; quote an expression that contains spaces"),
        (
            "%dataflow_cancel onee",
            "no run 'onee' was started here; the nearest: one (slow RUNNING); %dataflow_runs --all lists them",
        ),
    ],
    ids=["a list", "an id in a variable", "no such variable", "a brace", "nearly a variable"],
)
def test_a_name_that_means_no_run_says_so_in_one_line(named, cell, said):
    eventually(lambda: named.shell.user_ns["one"].status == "RUNNING", "the run is active")
    ran = named.run(cell)

    assert str(ran.error) == said


def test_an_id_with_a_mistake_names_the_nearest_runs_of_this_machine(scene, terminal):
    run = terminal.run("%dataflow_run daily_sales").value
    run.wait(60)
    name, key = run.id, run.key
    scene.session.close()
    scene.session = scene.new_session()

    assert str(terminal.run(f"%dataflow_status {name[:-2]}x{name[-1]}x").error) == (
        f"no run '{name[:-2]}x{name[-1]}x' was started here; the nearest: {name} (daily_sales COMPLETED); "
        "%dataflow_runs --all lists them"
    )
    with pytest.raises(NoSuchRun, match=rf"the nearest: {key} \(daily_sales COMPLETED\)"):
        scene.session.find(key[:-1] + "_")


def test_a_wait_without_a_name_waits_for_the_unsent_runs_of_a_sweep(scene, terminal):
    terminal.run("%dataflow_run daily_sales;")
    sweep = terminal.run("%%dataflow_run daily_sales\nmonth = each(range(1, 13))\n").value
    ran = terminal.run("%dataflow_wait")

    assert ran.error is None
    assert sweep.counts == {"COMPLETED": 12}
    assert scene.session.runs[0].status == "COMPLETED"


def test_waits_that_contradict_each_other_start_nothing(scene, terminal):
    ran = terminal.run("%dataflow_run daily_sales --wait --no-wait")

    assert str(ran.error) == (
        "line 1: --wait and --no-wait contradict each other; keep one; see %dataflow_run --help"
    )
    assert scene.service.starts == []


@pytest.mark.parametrize(
    "magic", ["run", "script", "runs", "attach", "jobs", "wait", "status", "config", "cancel"]
)
def test_each_magic_has_its_help(terminal, magic):
    ran = terminal.run(f"%dataflow_{magic} --help")

    assert ran.error is None
    assert ran.out.startswith("usage: %")
    assert ran.value is None
