"""Cells in a real IPython shell, against the real local service with scripted runs."""

import logging
import os
import re
import signal
import threading
from typing import Any

import pandas
import pytest
from IPython.core import oinspect
from IPython.core.completer import provisionalcompleter

from dataflow_magic import api
from dataflow_magic.cell.run import parser
from dataflow_magic.config.settings import LANGUAGES, WAITS
from dataflow_magic.errors import ConfigError, NotFound, OutcomeUnknown, RunFailed, WaitTimeout
from dataflow_magic.magics.extension import DataflowMagic, load_ipython_extension
from dataflow_magic.models.wire import JobCondition
from dataflow_magic.session.handle import Run
from dataflow_magic.session.session import Session
from dataflow_magic.session.watch import Pace
from tests.helpers import (
    ACCESS_KEY,
    CONDITION,
    SECRET_KEY,
    Notebook,
    Ran,
    Scene,
    Sent,
    at_a_port,
    eventually,
    notebook_with_magics,
    open_notebook,
)

MAGICS = {
    "line": {
        "dataflow_attach",
        "dataflow_cancel",
        "dataflow_compare",
        "dataflow_config",
        "dataflow_jobs",
        "dataflow_logs",
        "dataflow_run",
        "dataflow_runs",
        "dataflow_script",
        "dataflow_stages",
        "dataflow_status",
        "dataflow_sweeps",
        "dataflow_wait",
    },
    "cell": {"dataflow_run", "dataflow_script"},
}


# Loading and unloading


def ours(shell: Any) -> dict[str, set[str]]:
    magics = shell.magics_manager.magics
    return {kind: {name for name in magics[kind] if name.startswith("dataflow")} for kind in ("line", "cell")}


def test_loading_registers_the_magics_and_prints_nothing(tmp_path):
    with open_notebook(tmp_path) as notebook:
        ran = notebook.run("%load_ext dataflow_magic")

        assert (ran.error, ran.out, ran.err) == (None, "", "")
        assert ours(notebook.shell) == MAGICS


def test_unloading_removes_everything(tmp_path):
    with open_notebook(tmp_path) as notebook:
        notebook.run("%load_ext dataflow_magic")
        session = api.get_session()
        ran = notebook.run("%unload_ext dataflow_magic")

        assert ran.error is None
        assert ours(notebook.shell) == {"line": set(), "cell": set()}
        assert not any(isinstance(each, DataflowMagic) for each in notebook.shell.configurables)
        assert "DataflowMagic" not in notebook.shell.magics_manager.registry
        assert api.get_session() is session, "its runs are not lost"
        api.close_session()


def test_loading_twice_and_reloading_leave_one_instance_that_config_reaches(tmp_path):
    with open_notebook(tmp_path) as notebook:
        notebook.run("%load_ext dataflow_magic")
        for again in (load_ipython_extension, lambda _: notebook.run("%reload_ext dataflow_magic")):
            again(notebook.shell)
            assert ours(notebook.shell) == MAGICS
            assert sum(isinstance(each, DataflowMagic) for each in notebook.shell.configurables) == 1

        notebook.run("%config DataflowMagic.wait = 'no'")

        assert notebook.run("%config DataflowMagic.wait").value == "no"


@pytest.mark.parametrize(
    ("setting", "kept", "said"),
    [
        ("wait = 'maybe'", "auto", "expected any of ['auto', 'yes', 'no'], not the str 'maybe'"),
        ("language = 'de'", "auto", "expected any of ['auto', 'en', 'ko', 'ja'], not the str 'de'"),
        (
            "target = 'prd'",
            "",
            "DataflowMagic.target: no profile 'prd' in {file} (profiles: prod); did you mean 'prod'?",
        ),
        ("target = 'http://gw.example.com'", "", "is plain http to another machine; use https"),
        ("profile = 'local'", "", "DataflowMagic.profile: no profile 'local' in {file} (profiles: prod)"),
    ],
)
def test_a_wrong_setting_is_refused_at_once(scene, terminal, caplog, setting, kept, said):
    scene.configure_file.write_text("[prod]\n")
    terminal.run(f"%config DataflowMagic.{setting}")

    assert terminal.run(f"%config DataflowMagic.{setting.split()[0]}").value == kept
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert said.format(file=scene.configure_file) in caplog.text
    assert len(caplog.text.splitlines()) == 1


def test_a_wrong_setting_of_a_configuration_file_is_one_line(tmp_path):
    with open_notebook(tmp_path) as notebook:
        notebook.shell.config.DataflowMagic.wait = "maybe"
        ran = notebook.run("%load_ext dataflow_magic")

    assert "expected any of ['auto', 'yes', 'no'], not the str 'maybe'" in str(ran.error)
    assert "Traceback" not in ran.out + ran.err


def test_config_accepts_the_words_of_the_settings():
    assert DataflowMagic.wait.values == list(WAITS)
    assert DataflowMagic.language.values == list(LANGUAGES)


def test_config_sets_whether_cells_wait_and_their_options_override_it(scene, lab):
    lab.run("%config DataflowMagic.wait = 'yes'")

    assert lab.run("%dataflow_run daily_sales").value.status == "COMPLETED"
    scene.environment["DATAFLOW_WAIT"] = "no"
    assert lab.run("%dataflow_run daily_sales").value.status == "COMPLETED"
    assert lab.run("%dataflow_run slow --no-wait").value.status != "COMPLETED"
    lab.run("%config DataflowMagic.wait = 'auto'")
    assert lab.run("%dataflow_run slow").value.status != "COMPLETED"


def test_the_environment_turns_off_the_headless_wait(scene, headless):
    scene.environment["DATAFLOW_WAIT"] = "no"

    assert headless.run("%dataflow_run slow").value.status != "COMPLETED"


@pytest.mark.parametrize("variable", ["DATAFLOW_WAIT", "DATAFLOW_LANGUAGE"])
def test_a_wrong_variable_starts_no_run(scene, terminal, variable):
    scene.environment[variable] = "maybe"
    ran = terminal.run("%dataflow_run slow")

    assert str(ran.error).startswith(f"{variable} says 'maybe', which is none of auto, ")
    assert scene.service.starts == []


def test_the_target_of_a_cell_overrides_that_of_config(scene, terminal):
    scene.configure_file.write_text("[prod]\n")
    terminal.run("%config DataflowMagic.profile = 'prod'")

    assert "profile 'prod'" in str(terminal.run("%dataflow_run slow").error)
    assert terminal.run("%dataflow_run slow --target local").error is None


def test_cards_are_written_in_the_language_of_config_or_of_the_locale(scene, terminal):
    scene.environment["LANG"] = "ja_JP.UTF-8"
    assert "COMPLETED (完了)  daily_sales  実行 " in terminal.run("%dataflow_run daily_sales --wait").out

    terminal.run("%config DataflowMagic.language = 'ko'")
    assert "COMPLETED (완료)  daily_sales  실행 " in terminal.run("%dataflow_status @last").out


def test_dataflow_config_prints_a_table(terminal):
    terminal.run("%config DataflowMagic.language = 'ja'")
    shown = terminal.run("%dataflow_config").out.splitlines()

    assert shown[0].split() == ["setting", "value", "from", "overrides"]
    assert "language       ja" in [line[:17] for line in shown]
    assert "予期しない語 'prod'。書式: %dataflow_config" in str(terminal.run("%dataflow_config prod").error)


def test_a_run_of_an_extension_that_was_unloaded_says_so_in_one_line(scene, terminal):
    terminal.run("%dataflow_run slow -o run;")
    scene.session.close()
    ran = terminal.run("run.result()")

    assert ran.out.endswith(
        "this kernel follows the run no longer: the extension was unloaded; the run itself continues\n"
    )
    assert ran.out.count("\n") == 1


def completions(notebook: Notebook, text: str) -> list[str]:
    with provisionalcompleter():
        return [each.text for each in notebook.shell.Completer.completions(text, len(text))]


def test_the_tab_key_offers_known_names_and_sends_no_request(scene, terminal):
    terminal.run("%dataflow_jobs")
    run = terminal.run("%dataflow_run slow -o run").value
    asked = len(scene.service.sent)

    assert completions(terminal, "%%dataflow_run slo") == ["slow"]
    assert completions(terminal, "%%dataflow_run slow --dry") == ["--dry-run"]
    assert completions(terminal, "%dataflow_cancel @") == ["@last"]
    assert completions(terminal, f"%dataflow_status {run.id[:4]}") == [run.id]
    assert completions(terminal, "%dataflow_wait ") == ["@last", "run"]
    assert "print" in completions(terminal, "%%dataflow_run slow\nx = prin")
    assert completions(terminal, f"%dataflow_wait {run.key[:5]}") == [run.key]
    # Meanwhile only the watch of the run sends requests.
    assert all(sent.path.endswith(f"/executions/{run.id}") for sent in scene.service.sent[asked:])


def test_the_tab_key_offers_runs_and_parameters_of_earlier_kernels(scene, terminal):
    run = scene.start("daily_sales", {"table": "a", "day": 1})
    run.wait()
    scene.session.close()
    scene.session = scene.new_session()
    sent = len(scene.service.sent)

    assert completions(terminal, "%%dataflow_run dai") == ["daily_sales"]
    assert completions(terminal, f"%dataflow_wait {run.key[:5]}") == [run.key]
    assert completions(terminal, "%%dataflow_run daily_sales\nta") == ["table"]
    assert completions(terminal, "%%dataflow_run daily_sales\n$") == ["$day", "$table"]
    assert completions(terminal, "%%dataflow_run daily_sales\ntable = 1\n") == ["day"]
    assert len(scene.service.sent) == sent, "no service is asked"


def test_the_tab_key_offers_the_stored_parameters_of_a_job_that_was_read(scene, terminal):
    scene.service.store.add_job(
        "stored",
        "SCRIPT",
        max_concurrent_runs=None,
        condition={**CONDITION, "parameters": {"$region": "kr"}},
        extra={},
    )
    terminal.run("%dataflow_jobs --target local")

    assert completions(terminal, "%%dataflow_run stored\nre") == ["region"]


def test_the_tab_key_offers_nothing_from_a_ledger_that_cannot_be_read(scene, terminal):
    (scene.folder / "home").mkdir()
    (scene.folder / "home" / "ledger.sqlite3").write_text(
        "this is not a database, and long enough to be recognized" * 9
    )

    assert completions(terminal, "%dataflow_wait ") == ["@last"]
    assert "table" not in completions(terminal, "%%dataflow_run x\nta")


def test_a_parameter_that_resembles_an_earlier_one_is_noted_and_the_run_starts(scene, terminal):
    assert "Note" not in terminal.run("%%dataflow_run daily_sales\ntable_name = 1\nday = 2").out
    shown = terminal.run("%%dataflow_run daily_sales\ntabel_name = 1\nday = 2").out

    note = "Note: no earlier run of daily_sales has a parameter 'tabel_name'; did you mean 'table_name'?"
    assert shown.splitlines()[0] == note
    assert len(scene.service.starts) == 2
    assert "Note" not in terminal.run("%%dataflow_run daily_sales\ntabel_name = 1").out, "it was used by now"
    assert "Note" not in terminal.run("%%dataflow_run daily_sales\nregion = 1").out, (
        "a new name is no mistake"
    )
    assert "Note" not in terminal.run("%%dataflow_run slow\ntable_nam = 1").out, "that job has no runs yet"


def test_a_filter_that_resembles_a_known_word_is_noted(terminal):
    terminal.run("%dataflow_run daily_sales;")

    assert terminal.run("%dataflow_runs --job daily_sale").out.startswith(
        "Note: no run of job 'daily_sale'; did you mean 'daily_sales'?\n"
    )
    assert terminal.run("%dataflow_runs --status runing").out.startswith(
        "Note: no run in state 'RUNING'; did you mean 'RUNNING'?\n"
    )
    assert "Note" not in terminal.run("%dataflow_runs --status failed --job other").out


def documentation(notebook: Notebook, magic: str) -> str:
    """Return what ``%magic?`` shows."""
    return oinspect.getdoc(notebook.shell.find_line_magic(magic)) or ""


def test_the_documentation_of_a_magic_names_every_option(terminal):
    shown = documentation(terminal, "dataflow_run")

    assert shown.startswith("Start a run of a Data Flow job and return its live handle at once.\n")
    assert [flag for flag in parser().flags() if flag not in shown] == []
    assert "--script-path" in documentation(terminal, "dataflow_script")


def test_unloading_removes_the_completion(tmp_path):
    with open_notebook(tmp_path) as notebook:
        notebook.run("%load_ext dataflow_magic")
        notebook.run("%reload_ext dataflow_magic")
        assert len(notebook.shell.Completer.custom_matchers) == 1
        notebook.run("%unload_ext dataflow_magic")
        assert notebook.shell.Completer.custom_matchers == []


# A script


def script(scene: Scene, key: str) -> bytes:
    return (scene.service.folder / "objects" / key).read_bytes()


def changes(scene: Scene) -> list[tuple[str, Any]]:
    return [(sent.method, sent.body) for sent in scene.service.sent if sent.method != "GET"]


def test_a_cell_becomes_the_script_of_a_new_job_and_prints_how_to_run_it(scene, terminal):
    ran = terminal.run('%%dataflow_script my_job -w 4\nmonth = int("$month")\nprint("매출")\n')

    job_id = scene.service.job_id("my_job")
    assert (ran.error, ran.value) == (None, None)
    assert ran.out == (
        f"wrote 38 bytes to s3a://dataflow-sample/scripts/my_job.py; job my_job ({job_id}) created on local; "
        "run it: %dataflow_run my_job\n"
    )
    assert script(scene, "dataflow-sample/scripts/my_job.py") == (
        'month = int("$month")\nprint("매출")\n'.encode()
    )
    condition = {
        "numWorker": 4,
        "timeout": 30,
        "nrn": "nrn:PUB:IAM::0000000:Role/00000000-0000-0000-0000-000000000000",
        "scriptPath": "dataflow-sample/scripts/",
        "logPath": "dataflow-sample/sparkHistoryLogs/",
    }
    assert changes(scene) == [("POST", {"name": "my_job", "type": "SCRIPT", "jobCondition": condition})]
    assert completions(terminal, "%%dataflow_script my") == ["my_job"]


def test_a_script_is_written_only_when_it_changes(scene, terminal):
    shown = [
        terminal.run(f"%%dataflow_script daily_sales {options}\nprint({number})\n").out
        for number, options in [(1, ""), (1, ""), (2, "--timeout 45"), (2, "--timeout 45")]
    ]

    job_id = scene.service.job_id("daily_sales")
    key = "s3a://bucket/scripts/daily_sales.py"
    assert [line.partition("; run it")[0] for line in shown] == [
        f"wrote 9 bytes to {key}; job daily_sales ({job_id}) unchanged on local",
        f"{key} is unchanged (9 bytes); job daily_sales ({job_id}) unchanged on local",
        f"wrote 9 bytes to {key}; job daily_sales ({job_id}) updated on local",
        f"{key} is unchanged (9 bytes); job daily_sales ({job_id}) unchanged on local",
    ]
    assert script(scene, "bucket/scripts/daily_sales.py") == b"print(2)\n"
    assert changes(scene) == [("PATCH", {"type": "SCRIPT", "jobCondition": {**CONDITION, "timeout": 45}})]
    assert scene.service.store.jobs(name="daily_sales", page=0, limit=1)[0][0].condition["timeout"] == 45


def test_a_script_can_be_run_at_once(scene, terminal):
    ran = terminal.run("%%dataflow_script slow --run --workers 3\nprint(1)\n")

    assert isinstance(ran.value, Run)
    assert ran.value.job == "slow"
    assert scene.service.starts[0].body == {"jobCondition": {**CONDITION, "numWorker": 3}}
    assert ran.out.startswith("wrote 9 bytes to s3a://bucket/scripts/slow.py; job slow (")
    assert f"slow  run {ran.value.id}" in ran.out


def test_a_headless_cell_waits_for_the_run_of_a_new_script(headless):
    assert (
        headless.run("%%dataflow_script daily_sales --run --target local\nprint(1)\n").value.status
        == "COMPLETED"
    )
    assert isinstance(headless.run("%%dataflow_script broken --run\nprint(1)\n").error, RunFailed)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (
            "%%dataflow_script my_job\nx = (1\n",
            "UsageError: line 2: '(' was never closed; nothing was written\n",
        ),
        (
            "%%dataflow_script my_job\n!ls\n",
            "UsageError: line 2: '!ls' is IPython syntax, and a script runs without IPython; nothing was written\n",
        ),
        (
            "%dataflow_script my_job",
            "UsageError: line 1: the cell has no script; write it below %%dataflow_script JOB, or read the stored one",
        ),
        (
            "%%dataflow_script no\n1\n",
            "UsageError: no job is named 'no', and a new one cannot be: a job name has 3 to 100 letters, ",
        ),
    ],
    ids=["no Python", "a command", "no script", "a name that is none"],
)
def test_a_wrong_script_is_one_line_and_changes_nothing(scene, terminal, cell, said):
    ran = terminal.run(cell)

    assert (ran.out + ran.err).startswith(said)
    assert (ran.out + ran.err).count("\n") == 1
    assert changes(scene) == []
    assert list((scene.service.folder / "objects").iterdir()) == []


def test_a_script_that_another_program_wrote_is_kept(scene, terminal):
    path = scene.service.folder / "objects" / "bucket" / "scripts" / "daily_sales.py"
    path.parent.mkdir(parents=True)
    path.write_text("theirs")

    ran = terminal.run("%%dataflow_script daily_sales\nprint(1)\n")
    assert (
        "s3a://bucket/scripts/daily_sales.py holds another script, which this notebook" in ran.out + ran.err
    )
    assert (ran.out + ran.err).endswith("--- stored\n+++ this cell\n@@ -1 +1 @@\n-theirs\n+print(1)\n")
    assert path.read_text() == "theirs"

    assert terminal.run("%%dataflow_script daily_sales --force\nprint(1)\n").error is None
    assert path.read_text() == "print(1)\n"


def after_a_restart(scene: Scene, cell: str, **environment: str) -> Ran:
    """Run a cell in a new kernel of the same machine, whose notebook the environment may name."""
    scene.session.close()
    scene.environment.update(environment)
    scene.session = scene.new_session()
    with notebook_with_magics(scene) as notebook:
        return notebook.run(cell)


def test_a_notebook_changes_its_own_script_after_a_restart_and_another_notebook_does_not(scene):
    cell = "%%dataflow_script daily_sales\nprint({})\n"
    scene.environment["JPY_SESSION_NAME"] = "a.ipynb"
    scene.session = scene.new_session()
    with notebook_with_magics(scene) as notebook:
        notebook.run(cell.format(1))

    assert after_a_restart(scene, cell.format(2)).error is None
    assert script(scene, "bucket/scripts/daily_sales.py") == b"print(2)\n"

    ran = after_a_restart(scene, cell.format(3), JPY_SESSION_NAME="b.ipynb")
    assert "holds another script" in ran.out + ran.err
    assert script(scene, "bucket/scripts/daily_sales.py") == b"print(2)\n"


def test_the_stored_script_is_printed_and_goes_into_the_next_cell(scene, terminal):
    path = scene.service.folder / "objects" / "bucket" / "scripts" / "daily_sales.py"
    path.parent.mkdir(parents=True)
    path.write_text("if 1:\n\tprint('\x1b매출')\n")

    assert terminal.run("%dataflow_script daily_sales --show").out == "if 1:\n\tprint('␛매출')\n"
    terminal.run("%dataflow_script daily_sales --edit --target local")
    cell = terminal.shell.rl_next_input
    assert cell == "%%dataflow_script daily_sales --target local\nif 1:\n\tprint('\x1b매출')"
    assert terminal.run(cell.replace("매출", "売上")).error is None, "what was read may be changed"


def test_a_run_of_a_new_script_takes_parameters_waits_and_is_bound(scene, terminal):
    ran = terminal.run(
        '%%dataflow_script daily_sales --run month=6+1 table="a b" -o july --wait\nprint("$month")\n'
    )

    assert terminal.shell.user_ns["july"] is ran.value
    assert ran.value.status == "COMPLETED"
    assert scene.service.starts[0].body["parameters"] == {"$month": "7", "$table": "a b"}


def test_a_new_script_starts_a_sweep(terminal):
    ran = terminal.run("%%dataflow_script daily_sales --run month=each(1, 2) --wait\nprint($month)\n")

    assert [run.parameters["$month"] for run in ran.value.runs] == ["1", "2"]
    assert ran.value.is_completed


def test_a_parameter_that_cannot_be_sent_leaves_the_script_alone(scene, terminal):
    ran = terminal.run("%%dataflow_script daily_sales --run month=none\nprint(1)\n")

    assert "month: name 'none' is not defined" in ran.out + ran.err
    assert list((scene.service.folder / "objects").iterdir()) == []


def test_the_line_that_runs_a_script_names_its_target(terminal):
    ran = terminal.run("%%dataflow_script my_job --target local\nprint(1)\n")

    assert ran.out.endswith("; run it: %dataflow_run my_job --target local\n")


def test_the_help_of_a_script_lists_its_options(terminal):
    assert "--script-path PATH" in terminal.run("%dataflow_script --help").out


# A run at once


def test_a_cell_returns_a_run_at_once_and_shows_it(scene, terminal):
    ran = terminal.run("%%dataflow_run slow --workers 4\nday = '2026-11-01'\n")

    assert isinstance(ran.value, Run)
    assert ran.value.status in {"READY", "RUNNING"}
    assert scene.service.starts[0].body == {
        "jobCondition": {**CONDITION, "numWorker": 4},
        "parameters": {"$day": "2026-11-01"},
    }
    assert f"slow  run {ran.value.id}" in ran.out
    assert terminal.shell.user_ns["_"] is ran.value


def test_every_option_arrives_on_the_wire(scene, terminal):
    job_id = scene.service.job_id("daily_sales")
    terminal.run(
        f"%%dataflow_run id:{job_id} -w 3 --timeout 45 --worker-type DATAFLOW --nrn nrn:PUB:IAM::9:Role/9 "
        "--script-path 'b/my scripts/' --log-path b/logs/ --trigger-id 't&1' --workflow-id w=2\n"
        "a = 1\nb = f'{a}-x'\n"
    )

    sent = scene.service.sent[0]
    assert (sent.method, sent.path) == ("POST", f"/api/v1/jobs/{job_id}/executions")
    assert sent.query == {"triggerId": "t&1", "workflowId": "w=2"}
    assert sent.body == {
        "jobCondition": {
            "workerType": "DATAFLOW",
            "numWorker": 3,
            "timeout": 45,
            "nrn": "nrn:PUB:IAM::9:Role/9",
            "scriptPath": "b/my scripts/",
            "logPath": "b/logs/",
        },
        "parameters": {"$a": "1", "$b": "1-x"},
    }


def test_a_block_of_json_is_sent_as_written_with_a_note_on_names_without_a_dollar(scene, terminal):
    ran = terminal.run('%%dataflow_run daily_sales\n{"$a": 1, "b": true}\n')

    assert ran.out.splitlines()[0] == (
        "Note: sent as written, without the leading $ of the service's examples: b"
    )
    assert scene.service.starts[0].body["parameters"] == {"$a": 1, "b": True}


def test_the_notebooks_names_are_used_and_none_leaks_back(scene, terminal):
    terminal.run("day, job = 3, 'daily_sales'")
    terminal.run("%%dataflow_run $job --workers {day+1}\nlabel = f'day-{day}'\nday = 9\n")

    assert scene.service.starts[0].body["jobCondition"]["numWorker"] == 4
    assert scene.service.starts[0].body["parameters"] == {"$label": "day-3", "$day": "9"}
    assert terminal.shell.user_ns["day"] == 3
    assert "label" not in terminal.shell.user_ns


def test_a_magic_inside_a_function_sees_the_functions_names(terminal):
    terminal.run(
        "def go(job):\n    return get_ipython().run_line_magic('dataflow_run', '$job')\nrun = go('daily_sales');"
    )

    assert terminal.shell.user_ns["run"].job == "daily_sales"


def test_a_cell_run_twice_quickly_is_two_runs(scene, terminal):
    first, second = (terminal.run("%%dataflow_run slow\na = 1\n").value for _ in range(2))

    assert first.id != second.id
    assert len(scene.service.starts) == 2


@pytest.mark.parametrize(
    ("job", "reads_jobs"),
    [("{job}", False), ("id:{job}", False), ("name:daily_sales", True), ("daily_sales", True)],
    ids=["an id", "id:", "name:", "a name"],
)
def test_a_job_is_named_by_its_name_or_its_id(scene, terminal, job, reads_jobs):
    job_id = scene.service.job_id("daily_sales")
    ran = terminal.run(f"%dataflow_run {job.replace('{job}', job_id)}")

    assert ran.value.job == "daily_sales"
    assert ("/api/v1/jobs" in {sent.path for sent in scene.service.sent}) is reads_jobs


# Shown once


def test_a_run_is_shown_once_and_once_more_per_display(lab):
    (first,) = lab.run("%%dataflow_run slow -o run\na = 1\n").displays
    (again,) = lab.run("run").displays

    assert again.display_id != first.display_id


def test_a_run_with_a_wait_is_shown_once_and_once_more_per_display(lab):
    waited = lab.run("%%dataflow_run daily_sales --wait -o run\na = 1\n")
    assert isinstance(waited.value, Run)
    assert len({shown.display_id for shown in waited.shown}) == 1
    assert waited.shown[-1].text.startswith("COMPLETED")

    assert len(lab.run("run").displays) == 1
    assert len(lab.run("display(run, run)").displays) == 2


def test_cells_outside_the_history_show_their_runs_as_well(lab):
    lab.run("%%dataflow_run daily_sales --wait -o run\na = 1\n", store_history=False)

    assert len(lab.run("run", store_history=False).displays) == 1


def test_a_run_bound_by_assignment_is_shown_by_its_wait(lab):
    waited = lab.run("run = %dataflow_run daily_sales --wait")
    assert len({shown.display_id for shown in waited.shown}) == 1

    assert len(lab.run("run").displays) == 1


@pytest.mark.parametrize(
    "cell",
    [
        "%%dataflow_run daily_sales -o run\na = 1;\n",
        "%%dataflow_run daily_sales -o run --wait\na = 1;  # muted\n",
        '%%dataflow_run daily_sales -o run\n{"$a": 1};\n',
        "%dataflow_run daily_sales -o run;",
        "%dataflow_run daily_sales --wait -o run ;",
    ],
    ids=["cell", "waiting", "json", "line", "waiting line"],
)
def test_a_semicolon_mutes(lab, cell):
    ran = lab.run(cell)

    assert (ran.error, ran.value, ran.out, ran.shown) == (None, None, "", [])
    assert lab.shell.user_ns["run"].job == "daily_sales"


@pytest.mark.parametrize(
    "line",
    [
        "daily_sales --log-path 'b/[x/'",
        'daily_sales --log-path "it\'s/"',
        "daily_sales --log-path b/0496-11f0/",
    ],
    ids=["a bracket", "a quote", "digits"],
)
def test_an_option_line_need_not_be_python(terminal, line):
    assert terminal.run(f"%dataflow_run {line}").value.job == "daily_sales"


# Waiting


def test_a_wait_for_a_run_that_completes_returns_the_run(terminal):
    ran = terminal.run("%%dataflow_run daily_sales --wait\na = 1\n")

    assert ran.value.status == "COMPLETED"
    assert ran.error is None


def test_a_failed_run_fails_the_cell_in_one_line_without_a_traceback(terminal):
    ran = terminal.run("%%dataflow_run broken --wait\na = 1\n")

    assert isinstance(ran.error, RunFailed)
    run_id = ran.error.run.id
    assert ran.out.splitlines()[-1] == (
        f"RunFailed: run {run_id} of broken ended FAILED: ValueError: no such table: test.sales (broken.py, line 3); "
        f"%dataflow_status {run_id} shows the end of its log"
    )
    assert "extension.py" not in ran.out
    assert "run.py" not in ran.out


def test_tb_shows_a_failed_run_in_one_line(terminal):
    terminal.run("%%dataflow_run broken --wait\na = 1\n")

    assert re.fullmatch(r"RunFailed: run \w+ of broken ended FAILED: .*\n", terminal.run("%tb").out)


def test_a_failed_run_is_bound_and_the_error_names_its_log(terminal):
    ran = terminal.run("%%dataflow_run broken --wait -o run\na = 1\n")

    assert str(ran.error).endswith("; run.logs() has its log")
    assert terminal.run("print(run.logs())").out.startswith("reading\nTraceback")


def test_a_canceled_run_fails_the_cell_too(scene, terminal):
    def cancel() -> None:
        eventually(
            lambda: scene.session.runs and scene.session.runs[0].status == "RUNNING", "the run goes on"
        )
        scene.session.runs[0].cancel()

    other = threading.Thread(target=cancel)
    other.start()
    ran = terminal.run("%%dataflow_run slow --wait\na = 1\n")
    other.join(60)

    assert isinstance(ran.error, RunFailed)
    assert str(ran.error).endswith("ended CANCELED: canceled on request")


@pytest.mark.parametrize(
    "option", ["--wait --wait-timeout 0", "--wait-timeout 0"], ids=["with --wait", "alone"]
)
def test_a_wait_times_out_and_the_run_continues(scene, terminal, option):
    ran = terminal.run(f"%%dataflow_run slow {option} -o run\na = 1\n")

    assert isinstance(ran.error, WaitTimeout)
    run_id = scene.session.runs[-1].run_id
    assert ran.out.splitlines()[-1].endswith(f"wait again, or %dataflow_cancel {run_id} ends it")
    scene.service.finish.set()
    assert terminal.shell.user_ns["run"].result(60).status == "COMPLETED"


def test_no_wait_overrides_wait_timeout(terminal):
    assert terminal.run("%%dataflow_run slow --no-wait --wait-timeout 0\na = 1\n").error is None


def test_a_run_is_bound_before_the_wait_begins(scene, terminal):
    bound: list[object] = []

    def finish_once_bound() -> None:
        eventually(lambda: "run" in terminal.shell.user_ns, "bound while the cell waits")
        bound.append(terminal.shell.user_ns["run"])
        scene.service.finish.set()

    other = threading.Thread(target=finish_once_bound)
    other.start()
    terminal.run("%%dataflow_run slow --wait -o run\na = 1\n")
    other.join(60)

    assert bound == [run.handle for run in scene.session.runs]


def test_in_a_terminal_the_value_of_a_cell_that_waited_is_one_line(scene, terminal):
    out = terminal.run("%dataflow_run daily_sales --wait").out

    assert out.endswith(f"Out[1]: <Run {scene.session.runs[0].run_id} of daily_sales on local: COMPLETED>\n")


def test_an_interrupt_of_a_wait_detaches_and_cancels_nothing(scene, lab):
    main = threading.get_ident()
    sent_signal: list[bool] = []

    def interrupt(_: Sent) -> None:
        # Only once the card is there is the cell inside its wait.
        if lab.shown and not sent_signal:
            sent_signal.append(True)
            signal.pthread_kill(main, signal.SIGINT)

    scene.service.before_answer = interrupt
    ran = lab.run("%%dataflow_run slow --wait -o run\na = 1\n")
    run = lab.shell.user_ns["run"]

    assert isinstance(ran.error, KeyboardInterrupt)
    assert ran.out.splitlines()[-1] == (
        f"stopped waiting; run {run.id} continues: %dataflow_wait {run.id} waits again, "
        f"%dataflow_status {run.id} shows it, "
        f"%dataflow_cancel {run.id} cancels it"
    )
    assert "Traceback" not in ran.out
    assert not any(sent.path.endswith("/cancel") for sent in scene.service.sent)
    scene.service.finish.set()
    assert run.result(60).status == "COMPLETED"
    eventually(lambda: lab.shown[-1].text.startswith("COMPLETED"), "the card is painted on")


def test_an_interrupt_while_a_lost_start_is_reconciled_names_the_key(scene, terminal):
    scene.may_look.clear()
    scene.service.lost_requests = 1
    main = threading.get_ident()

    def interrupt() -> None:
        eventually(lambda: "run" in terminal.shell.user_ns, "the wait is about to begin")
        eventually(lambda: scene.looks, "the run is looked for")
        eventually(
            lambda: (painter := scene.session.runs[0]._painter) and painter._is_waited_on, "the cell waits"
        )
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    ran = terminal.run("%%dataflow_run slow --wait -o run\na = 1\n")
    thread.join(60)
    scene.may_look.set()

    key = scene.session.runs[0].key
    assert (
        f"run {key} continues: %dataflow_wait {key} waits again, %dataflow_status {key} shows it" in ran.out
    )


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (
            "%%dataflow_run daily_sales\na = stop()\n",
            "interrupted while the parameters were evaluated; nothing was sent\n",
        ),
        ("%dataflow_status {stop()}", "interrupted\n"),
        (
            "%dataflow_run daily_sales --workers {stop()}",
            "interrupted while the parameters were evaluated; nothing was sent\n",
        ),
    ],
    ids=["a block", "a name", "an option"],
)
def test_an_interrupt_of_the_users_own_expressions_is_one_line(scene, terminal, cell, said):
    terminal.run("def stop():\n    raise KeyboardInterrupt")
    ran = terminal.run(cell)

    assert isinstance(ran.error, KeyboardInterrupt)
    assert ran.out == said
    assert scene.service.starts == []


def test_an_interrupt_while_sending_names_the_table_of_runs(scene, terminal):
    main, caught = threading.get_ident(), threading.Event()

    def interrupt(sent: Sent) -> None:
        if sent.is_start and not caught.is_set():
            signal.pthread_kill(main, signal.SIGINT)
            caught.wait(60)

    scene.service.before_answer = interrupt
    ran = terminal.run("%%dataflow_run slow\na = 1\n")
    caught.set()

    assert (
        ran.out == "interrupted while sending the run; %dataflow_runs lists it if the service received it\n"
    )
    eventually(lambda: scene.session.runs[0].run_id, "it was sent, and is known")


def test_a_wait_for_a_run_that_was_not_started_fails(scene, terminal):
    scene.service.lost_requests = 1
    ran = terminal.run("%%dataflow_run daily_sales --wait -o run\na = 1\n")

    assert isinstance(ran.error, OutcomeUnknown)
    run = terminal.shell.user_ns["run"]
    assert re.fullmatch(
        "OutcomeUnknown: the answer to its start was lost, and no run of it is in the job's list as of [0-9:]{8} KST; "
        f"a later list that shows one corrects this; %dataflow_run --again {run.key} looks once more and starts it again",
        ran.out.splitlines()[-1],
    )
    assert run.status == "NOT_STARTED"


# Without a person at the front end


def test_a_headless_cell_waits_and_notes_the_local_service_once(headless):
    first = headless.run("%%dataflow_run daily_sales\na = 1\n")
    second = headless.run("%%dataflow_run broken\na = 1\n")

    assert first.value.status == "COMPLETED"
    assert first.out.splitlines()[0] == "No credentials found: runs go to the local service on this machine."
    assert isinstance(second.error, RunFailed)
    assert "No credentials" not in second.out
    assert [shown.text.split()[0] for shown in (first.shown[-1], second.shown[-1])] == ["COMPLETED", "FAILED"]
    assert all(shown.thread == "MainThread" for shown in headless.shown)


def test_a_headless_cell_with_no_wait_does_not_wait(headless):
    assert headless.run("%%dataflow_run slow --no-wait\na = 1\n").value.status in {"READY", "RUNNING"}


def test_a_headless_cell_with_an_explicit_target_prints_no_note(headless):
    assert "No credentials" not in headless.run("%%dataflow_run daily_sales --target local\na = 1\n").out


# What sends nothing


def test_help_is_printed_and_nothing_is_sent(scene, terminal):
    for cell in ("%dataflow_run --help", "%%dataflow_run -h\nnonsense(\n"):
        ran = terminal.run(cell)

        assert ran.value is None
        assert ran.out.startswith("usage: %%dataflow_run JOB [options]")
        assert "--wait-timeout MINUTES" in ran.out
    assert scene.service.sent == []
    assert scene.holds == []


def test_a_dry_run_prints_the_request_and_sends_nothing(scene, terminal):
    ran = terminal.run("%%dataflow_run daily_sales --dry-run --workers 3\na = 1\n")

    assert ran.value is None
    assert ran.out.startswith("# a run first looks up the job by its name: daily_sales\n")
    assert '"numWorker": 3' in ran.out
    assert '"$a": "1"' in ran.out
    assert scene.service.sent == []
    assert scene.holds == []


@pytest.mark.parametrize(
    "cell",
    [
        "%%dataflow_run\na = 1\n",
        "%%dataflow_run daily_sales --wrokers 3\na = 1\n",
        "%%dataflow_run daily_sales --workers 11\na = 1\n",
        "%%dataflow_run daily_sales other\na = 1\n",
        "%%dataflow_run daily_sales 'open\na = 1\n",
        "%%dataflow_run daily_sales\nprint(1)\n",
        "%%dataflow_run daily_sales\na = [1]\n",
        "%%dataflow_run daily_sales\na = undefined\n",
        "%%dataflow_run daily_sales\na = 1 / 0\n",
        '%%dataflow_run daily_sales\n{"a": 1,}\n',
        "%%dataflow_run id:../x\na = 1\n",
        "%%dataflow_run daily_sales -o 'not a name'\na = 1\n",
    ],
    ids=[
        "no job", "unknown option", "out of range", "two jobs", "open quote", "no assignment", "no scalar",
        "undefined name", "an expression that fails", "bad JSON", "bad id", "bad name",
    ],
)  # fmt: skip
def test_a_wrong_cell_is_one_line_and_sends_nothing(scene, terminal, cell):
    ran = terminal.run(cell)

    assert type(ran.error).__name__ == "UsageError"
    assert ran.err.startswith("UsageError: ")
    assert ran.err.count("\n") == 1
    assert ran.out == ""
    assert scene.service.sent == []
    assert scene.holds == []


def test_force_sends_values_outside_the_documented_ranges(scene, terminal):
    terminal.run("%%dataflow_run daily_sales --workers 11 --force\na = 1\n")

    assert scene.service.starts[0].body["jobCondition"]["numWorker"] == 11


def test_a_refused_start_fails_the_cell_in_one_line_and_binds_nothing(terminal):
    ran = terminal.run("%%dataflow_run daily_sale -o run\na = 1\n")

    assert isinstance(ran.error, NotFound)
    assert ran.out == (
        "NotFound: no job is named 'daily_sale'; did you mean 'daily_sales'?; %dataflow_jobs lists them\n"
    )
    assert "run" not in terminal.shell.user_ns


def test_several_jobs_of_one_name_are_one_line_with_their_ids(scene, terminal):
    ran = terminal.run("%%dataflow_run twins\na = 1\n")

    assert re.fullmatch(
        r"UsageError: 2 jobs are named 'twins'; choose one by id:... \(\w{12}, \w{12}\)\n", ran.err
    )
    assert scene.service.starts == []


# Where runs go


def test_the_target_of_a_cell_overrides_config_which_overrides_the_environment(scene, terminal):
    scene.environment["DATAFLOW_TARGET"] = "from-environment"
    scene.configure_file.write_text("[from-config]\n")
    assert "'from-environment'" in terminal.run("%dataflow_run daily_sales").out
    terminal.run("%config DataflowMagic.target = 'from-config'")
    assert "'from-config'" in terminal.run("%dataflow_run daily_sales").out
    assert "no profile 'from-profile'" in terminal.run("%dataflow_run daily_sales --profile from-profile").out
    assert "'from-cell'" in terminal.run("%dataflow_run daily_sales --target from-cell").out

    assert terminal.run("%dataflow_run daily_sales --target local").value.job == "daily_sales"


def test_the_cloud_without_credentials_never_starts_a_local_service(scene, terminal):
    ran = terminal.run("%%dataflow_run daily_sales --target cloud\na = 1\n")

    assert isinstance(ran.error, ConfigError)
    assert ran.out.startswith("ConfigError: no credentials for the cloud: set NCLOUD_ACCESS_KEY")
    assert scene.holds == []


def test_with_credentials_status_names_the_cloud_and_masks_the_key(scene, terminal):
    scene.environment |= {"NCLOUD_ACCESS_KEY": "ACCESS-KEY-1234", "NCLOUD_SECRET_KEY": "S3CR3T"}
    out = terminal.run("%dataflow_status").out

    assert out.splitlines()[0].startswith("target ")
    assert "cloud (NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY)" in out
    assert "ACCE****" in out
    assert "S3CR3T" not in out


# The other magics


def test_dataflow_runs_returns_a_table_of_the_runs_of_this_kernel(terminal):
    terminal.run("%%dataflow_run daily_sales --wait\nday = 1\n")
    terminal.run("%%dataflow_run broken --wait\nday = 2\n")
    ran = terminal.run("%dataflow_runs")
    table = ran.value

    assert table["job"].tolist() == ["broken", "daily_sales"]
    assert table["status"].tolist() == ["FAILED", "COMPLETED"]
    assert table["param.day"].tolist() == ["2", "1"]
    assert table["reason"].tolist()[0] == "ValueError: no such table: test.sales"
    assert type(table[["run_id"]]) is type(table.sort_values("ended")) is pandas.DataFrame


def test_a_terminal_shows_the_table_in_a_hundred_columns_with_the_reasons(terminal):
    terminal.run("%%dataflow_run daily_sales --wait\nday = 1\n")
    terminal.run("%%dataflow_run broken --wait\nday = 2\n")
    table = terminal.run("%dataflow_runs").value

    lines = repr(table).splitlines()
    assert [line.split()[0] for line in lines] == ["status", "FAILED", "ValueError:", "COMPLETED", "log:"]
    assert "ValueError: no such table: test.sales" in lines[2]
    assert max(map(len, lines)) <= 100
    assert repr(table.drop(columns="ran")).split()[0] == "run_id"
    assert "dfm-list" in table._repr_html_()


def test_dataflow_jobs_returns_a_table_of_the_jobs_of_a_target(terminal):
    expected = ["daily_sales", "broken", "mute", "slow", "twins", "twins", "twelvechars1"]

    assert terminal.run("%dataflow_jobs").value["name"].tolist() == expected
    assert terminal.run("%dataflow_jobs --target local").value["name"].tolist() == expected


def test_dataflow_jobs_shows_one_job_by_its_name_or_id(terminal):
    table = terminal.run("%dataflow_jobs daily_sales").value

    assert table["name"].tolist() == ["daily_sales"]
    assert terminal.run(f"%dataflow_jobs {table['job_id'][0]}").value["name"].tolist() == ["daily_sales"]
    assert str(terminal.run("%dataflow_jobs daily_sale").error) == (
        "no job is named 'daily_sale'; did you mean 'daily_sales'?; %dataflow_jobs lists them"
    )


def test_status_shows_a_run_by_the_beginning_of_its_id(terminal):
    terminal.run("%dataflow_run broken --wait -o run;")
    run = terminal.shell.user_ns["run"]
    ran = terminal.run(f"%dataflow_status {run.id[:8]}")

    assert ran.value is None
    assert ran.out.startswith(f"FAILED  broken  run {run.id}")
    assert "| ValueError: no such table: test.sales" in ran.out


@pytest.mark.parametrize("which", ["@last", "id"])
def test_cancel_asks_the_service_to_end_a_run(terminal, which):
    run = terminal.run("%dataflow_run slow").value
    ran = terminal.run(f"%dataflow_cancel {run.id if which == 'id' else which}")

    assert ran.out == f"cancel requested for run {run.id} of slow\n"
    eventually(lambda: run.status == "CANCELED", "canceled")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%dataflow_cancel", "the following arguments are required: RUN; see %dataflow_cancel --help"),
        (
            "%dataflow_cancel ''",
            "argument RUN: it is empty; give a run or @last; see %dataflow_cancel --help",
        ),
        ("%dataflow_cancel a b", "unexpected word 'b'; write %dataflow_cancel RUN [--yes]"),
        ("%dataflow_cancel --all", "the following arguments are required: RUN; see %dataflow_cancel --help"),
        (
            "%dataflow_cancel 'a",
            "the line cannot be split into words: No closing quotation; see %dataflow_cancel --help",
        ),
        ("%dataflow_cancel abc", "no run 'abc' was started here; %dataflow_runs --all lists them"),
        ("%dataflow_status a b", "unexpected word 'b'; write %dataflow_status [RUN]"),
        ("%dataflow_status abc", "no run 'abc' was started here; %dataflow_runs --all lists them"),
        (
            "%dataflow_runs all",
            "unexpected word 'all'; did you mean '--all'?; write %dataflow_runs [options]",
        ),
        (
            "%dataflow_runs --columns run_it",
            "no column 'run_it'; did you mean 'run_id'?; %dataflow_runs shows all columns",
        ),
        ("%dataflow_attach", "the following arguments are required: RUN; see %dataflow_attach --help"),
        ("%dataflow_attach @last --all", "unknown option '--all'; see %dataflow_attach --help"),
        ("%dataflow_attach abc", "no run 'abc' was started here; %dataflow_runs --all lists them"),
        ("%dataflow_jobs a b", "unexpected word 'b'; write %dataflow_jobs [JOB] [options]"),
    ],
)
def test_a_wrong_line_is_one_line_that_says_what_to_do(terminal, line, message):
    terminal.run("%dataflow_run slow;")
    ran = terminal.run(line)

    assert ran.err == f"UsageError: {message}\n"
    assert ran.out == ""


def test_the_documentation_of_the_magic_names_its_help(terminal):
    assert "%dataflow_run --help" in (terminal.shell.find_line_magic("dataflow_run").__doc__ or "")


def test_by_default_runs_go_to_the_session_of_the_process(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("NCLOUD_", "DATAFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATAFLOW_MAGIC_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with open_notebook(tmp_path) as notebook:
        notebook.run("%load_ext dataflow_magic")
        try:
            assert f"folder      {tmp_path}/data/local" in notebook.run("%dataflow_status").out
            assert len(notebook.run("%dataflow_runs").value) == 0
        finally:
            notebook.run("%unload_ext dataflow_magic")


# Secrets


def test_neither_secret_nor_signature_is_ever_shown(tmp_path, caplog):
    """Everything a cell, a traceback, a log, the history or a repr says, with requests over a real port."""
    caplog.set_level(logging.DEBUG)
    with Scene(tmp_path) as scene, at_a_port(scene.service) as address:
        scene.environment |= {
            "NCLOUD_ACCESS_KEY": ACCESS_KEY,
            "NCLOUD_SECRET_KEY": SECRET_KEY,
            "DATAFLOW_ENDPOINT": address,
        }
        scene.session = Session(
            scene.environment, scene.configure_file, NotImplemented, pace=Pace(0.01, 0.01)
        )
        shown: list[object] = []
        with notebook_with_magics(scene, stdin=False) as notebook:
            shell = notebook.shell
            for cell in (
                "%xmode Verbose",
                "%dataflow_status",
                "%%dataflow_run daily_sales --dry-run\na = 1\n",
                "%%dataflow_run daily_sales -o run\na = 1\n",
                "%%dataflow_run broken\na = 1\n",
                "%tb",
                "%%dataflow_run daily_sale\na = 1\n",
                "run, run._live.view, run.result(), run.logs(), vars(run._live)",
                "run.cancel()",
                "client = run._live._service.client\nclient, vars(client), client._sender, client._sender._http",
                "%dataflow_runs",
                "%dataflow_jobs",
                "%history",
            ):
                ran = notebook.run(cell)
                shown += [ran.out, ran.err, repr(ran.value), repr(ran.error), ran.shown]
            scene.service.clock_ahead_seconds = 3600
            shown.append(notebook.run("%%dataflow_run daily_sales\na = 1\n"))
            # A bug below the signing of the request: the traceback shows every frame and its variables.
            bug = notebook.run(
                "http = client._sender._http\ntransport, http._transport = http._transport, None\n%dataflow_jobs"
            )
            assert "Sender._send_once(self" in bug.out
            notebook.run("http._transport = transport")
            shown.append(bug)
            scene.environment["NCLOUD_SECRET_KEY"] = f"not-{SECRET_KEY}"
            shown.append(notebook.run("%%dataflow_run daily_sales\na = 1\n"))
            scene.environment["NCLOUD_SECRET_KEY"] = SECRET_KEY
            session, target = scene.session, scene.session.target()
            shown += [shell.user_ns["In"], shell.user_ns["Out"], session, target, session.runs]
        session.close()

    assert ACCESS_KEY not in "".join(str(part) for part in shown[:10]), (
        "the key is masked wherever it is shown"
    )
    text = "\n".join([*(repr(part) for part in shown), *(str(part) for part in shown), caplog.text])
    assert "RunFailed" in text
    assert "NotSignedIn" in text
    assert "no job is named" in text
    assert len(scene.service.signatures) > 10
    assert SECRET_KEY not in text
    assert [signature for signature in scene.service.signatures if signature in text] == []


# Beyond the kernel


def test_attach_shows_a_run_of_an_earlier_kernel(scene, terminal):
    run = terminal.run("%dataflow_run daily_sales").value
    run.result(60)
    scene.session.close()
    scene.session = scene.new_session()

    assert len(terminal.run("%dataflow_runs").value) == 0
    assert terminal.run("%dataflow_runs --all --columns run_id,key").value.values.tolist() == [
        [run.id, run.key]
    ]
    for word in ("@last", run.key, run.id):
        ran = terminal.run(f"%dataflow_attach {word}")
        assert ran.error is None
        assert run.id in ran.out
        assert ran.value.id == run.id
    assert terminal.run("%dataflow_runs").value["run_id"].tolist() == [run.id]


def test_attach_binds_the_run_to_a_name_and_shows_it_once(terminal):
    run = terminal.run("%dataflow_run daily_sales").value
    ran = terminal.run(f"%dataflow_attach {run.key} -o mine")

    assert terminal.shell.user_ns["mine"] is run
    assert ran.out.count(f"run {run.id}") == 1
    assert terminal.run(f"x = %dataflow_attach {run.key}").out == ""
    assert terminal.shell.user_ns["x"] is run


def test_attach_finds_a_run_of_another_machine_by_its_id(scene, terminal):
    job = scene.service.store.jobs(name="daily_sales", page=0, limit=1)[0][0]
    stranger = scene.service.store.add_run(
        job, condition=CONDITION, parameters={}, trigger_id=None, workflow_id=None
    )

    ran = terminal.run(f"%dataflow_attach {stranger.run_id} daily_sales")

    assert stranger.run_id in ran.out
    assert terminal.run("%dataflow_attach AAAA00000001").err == ""
    assert isinstance(terminal.run("%dataflow_attach AAAA00000001").error, NotFound)


def test_remote_runs_have_the_reason_that_the_service_gives(terminal):
    terminal.run("%%dataflow_run broken --wait\nday = 2\n")
    (failed,) = terminal.run("%dataflow_runs --remote broken").value.to_dict("records")

    assert (failed["reason"], failed["error_class"]) == (
        "ValueError: no such table: test.sales",
        "ValueError",
    )


def test_remote_runs_have_the_same_columns(terminal):
    for _ in range(3):
        terminal.run("%dataflow_run daily_sales").value.result(60)
    here = terminal.run("%dataflow_runs --status completed").value
    remote = terminal.run("%dataflow_runs --remote daily_sales --limit 2").value

    assert list(remote.columns) == list(here.columns)
    assert len(remote) == 2
    assert remote["run_id"].tolist() == here["run_id"].tolist()[:2]


def test_every_table_the_card_and_the_handle_have_the_same_times_and_reason(scene, terminal):
    scene.service.finish.clear()
    runs = [
        terminal.run(f"%%dataflow_run {job}\nday = 2\n").value for job in ("broken", "slow", "daily_sales")
    ]
    eventually(lambda: runs[1].status == "RUNNING", "it runs")
    runs[1].cancel()
    for run in runs:
        run.wait(60)
    remote = pandas.concat([terminal.run(f"%dataflow_runs --remote {run.job}").value for run in runs])
    tables = [terminal.run("%dataflow_runs").value, terminal.run("%dataflow_runs --all").value, remote]

    for run in runs:
        assert run.waited + run.ran == run.total
        for row in (table.set_index("run_id").loc[run.id] for table in tables):
            assert (row["waited"], row["ran"], row["total"]) == (run.waited, run.ran, run.total)
            assert row["timed_by"] == "service"
            assert (None if pandas.isna(row["reason"]) else row["reason"]) == run.reason
        card, listed = terminal.run(f"%dataflow_status {run.key}").out, repr(tables[0])
        assert f"ran {round(run.ran.total_seconds())} s  " in card
        assert f"waited {round(run.waited.total_seconds())} s, " in card
        (line,) = (line for line in listed.splitlines() if line.endswith(run.id) and "%" not in line)
        assert line.split()[-5:-1] == [
            f"{round(run.waited.total_seconds())}",
            "s",
            f"{round(run.ran.total_seconds())}",
            "s",
        ]


def test_a_run_that_this_machine_did_not_start_has_the_service_s_reason_and_times(scene, terminal):
    condition = JobCondition(nrn="nrn:1", script_path="bucket/scripts/", log_path="bucket/logs/")
    started = scene.session.ask(
        scene.local(), lambda client: client.execute_job(scene.service.job_id("broken"), condition)
    )
    run_id = started.job_execution_id
    eventually(lambda: scene.service.store.run(run_id).status == "FAILED", "it is over")

    (row,) = terminal.run("%dataflow_runs --remote broken").value.to_dict("records")
    assert (row["run_id"], row["reason"], row["timed_by"]) == (
        run_id,
        "ValueError: no such table: test.sales",
        "service",
    )
    assert row["waited"] + row["ran"] == row["total"]


def test_again_sends_the_same_request(scene, terminal):
    first = terminal.run("%%dataflow_run daily_sales --workers 4\na = 1\n").value
    again = terminal.run(f"%dataflow_run --again {first.key}").value

    assert again.id != first.id
    assert scene.service.starts[0].body == scene.service.starts[1].body
    assert again.result(60).status == "COMPLETED"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("%dataflow_run daily_sales --again @last", "JOB"),
        ("%dataflow_run --again @last --workers 3", "--workers"),
        ("%dataflow_run --again @last --dry-run", "--dry-run"),
        ("%%dataflow_run --again @last\na = 1\n", "the block"),
    ],
)
def test_again_refuses_everything_that_would_change_the_request(scene, terminal, line, what):
    terminal.run("%dataflow_run daily_sales;")
    ran = terminal.run(line)

    assert ran.err == (
        f"UsageError: line 1: --again sends the request of that run unchanged; remove {what}\n"
    )
    assert len(scene.service.starts) == 1


def test_the_help_of_the_table_lists_its_options(terminal):
    out = terminal.run("%dataflow_runs --help").out

    assert all(
        option in out
        for option in ("--all", "--remote", "--job", "--status", "--since", "--limit", "--columns")
    )
