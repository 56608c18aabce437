"""The notebook of a kernel, also after it was renamed."""

import pytest

from dataflow_magic.cell.table import Listing
from dataflow_magic.session.notebook import Notebook
from tests.helpers import Scene


def test_a_renamed_notebook_is_found_in_its_folder(tmp_path):
    for name in ("a.ipynb", "other.ipynb"):
        (tmp_path / name).write_text("{}")
    heard = []
    notebook = Notebook(str(tmp_path / "a.ipynb"), lambda *names: heard.append(names))
    assert notebook.path == str(tmp_path / "a.ipynb")

    (tmp_path / "a.ipynb").rename(tmp_path / "b.ipynb")

    assert notebook.path == notebook.path == str(tmp_path / "b.ipynb")
    assert heard == [(str(tmp_path / "a.ipynb"), str(tmp_path / "b.ipynb"))]
    assert notebook.old_paths == {str(tmp_path / "a.ipynb")}


def test_a_notebook_that_was_moved_away_or_deleted_keeps_its_name(tmp_path):
    (tmp_path / "a.ipynb").write_text("{}")
    (tmp_path / "other.ipynb").write_text("{}")
    notebook = Notebook(str(tmp_path / "a.ipynb"))
    (tmp_path / "a.ipynb").unlink()

    assert notebook.path == str(tmp_path / "a.ipynb")


def test_a_notebook_that_is_saved_as_a_new_file_is_still_followed(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text("{}")
    notebook = Notebook(str(path))
    (tmp_path / "new").write_text("{}")
    (tmp_path / "new").replace(path)
    assert notebook.path == str(path)

    path.rename(tmp_path / "b.ipynb")

    assert notebook.path == str(tmp_path / "b.ipynb")


@pytest.mark.parametrize("name", ["", "/nowhere/a.ipynb"])
def test_a_name_without_a_file_stays_as_it_is(name):
    assert Notebook(name).path == name


def test_the_runs_of_a_renamed_notebook_have_its_new_name(tmp_path):
    notebook = tmp_path / "a.ipynb"
    notebook.write_text("{}")
    with Scene(tmp_path / "scene", {"JPY_SESSION_NAME": str(notebook)}) as scene:
        scene.start("daily_sales").result(60)
        notebook.rename(tmp_path / "b.ipynb")
        scene.start("daily_sales").result(60)

        for everywhere in (False, True):
            records = scene.session.select(Listing(everywhere=everywhere), None)
            assert [record.notebook for record in records] == [str(tmp_path / "b.ipynb")] * 2
