"""``%dataflow_stages``: drawn in a notebook, kept up to date, a table in a terminal."""

import pandas as pd
import pytest

from dataflow_magic.errors import CellError
from dataflow_magic.magics.stages import show_stages
from tests.helpers import PATIENCE, Scene, eventually, open_notebook
from tests.reasons.stages.test_fold import completed, line, submitted
from tests.session.test_stages import LOG, running, write_log


def ended(scene: Scene) -> str:
    run = scene.start("daily_sales")
    run.wait(PATIENCE)
    write_log(scene, run.run_id or "", LOG)
    return run.run_id or ""


def test_a_notebook_shows_a_drawing_and_the_same_as_text(scene):
    with open_notebook(scene.folder, stdin=True) as notebook:
        ended(scene)
        show_stages(scene.session.runs[0], notebook.shell, None, lambda: "en")

        assert "<svg" in notebook.shown[-1].data["text/html"]
        assert "skewed on `origin`?" in notebook.shown[-1].text


def test_the_stages_are_bound_to_a_name(scene):
    with open_notebook(scene.folder, stdin=True) as notebook:
        ended(scene)
        show_stages(scene.session.runs[0], notebook.shell, "table", lambda: "en")
        table = notebook.shell.user_ns["table"]

    assert isinstance(table, pd.DataFrame)
    assert len(table) == 8


def test_the_drawing_of_a_live_run_is_brought_up_to_date_until_its_end(scene):
    with open_notebook(scene.folder, stdin=True) as notebook:
        run = running(scene)
        file = write_log(scene, run.run_id, submitted(0, 0) + b"\n")
        show_stages(run, notebook.shell, None, lambda: "en")
        first = notebook.shown[-1]
        with file.open("ab") as log:
            log.write(completed(0, 9_000) + b"\n" + line("ApplicationEnd", Timestamp=9_000) + b"\n")
        scene.service.finish.set()
        eventually(lambda: "9.0 s" in notebook.shown[-1].text, "the end is drawn")

        assert "stage 0: count" in first.text
        assert notebook.shown[-1].is_update
        assert notebook.shown[-1].display_id == first.display_id


def test_a_sweep_has_no_stages_of_its_own(lab):
    lab.run("%%dataflow_run daily_sales -o months\nmonth = each(1, 2)\n")
    error = lab.run("%dataflow_stages months").error

    assert "is a sweep, which has no stages of its own; name one of its runs: " in str(error)
    assert isinstance(error, CellError) or error is not None


def test_a_run_without_an_event_log_fails_the_cell_with_where_was_looked(lab):
    lab.run("%%dataflow_run daily_sales -o june --wait\nmonth = 6\n")
    error = lab.run("%dataflow_stages june").error

    assert "looked below s3a://bucket/logs/" in str(error)


@pytest.mark.parametrize("line", ["%dataflow_stages", "%dataflow_stages a b"])
def test_a_line_without_one_run_is_refused(lab, line):
    assert lab.run(line).error is not None or "usage" in lab.run(line).stderr
