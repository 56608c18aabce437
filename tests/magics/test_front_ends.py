"""A run in every front end without a browser: its card in files, pages and plain text. No Spark."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nh3
import pytest
from nbconvert import HTMLExporter, PythonExporter

from tests.browser.lab import write_notebook
from tests.helpers import ScriptedService, at_a_port
from tests.kernel import kernel_environment, open_kernel

LOAD = "%load_ext dataflow_magic"
FINE = "%%dataflow_run daily_sales\nday = 1"
BROKEN = "%%dataflow_run broken --workers 4\ntable_name = 'test.sales & <more>'\nday = 7"
REASON = "ValueError: no such table: test.sales"
HEAD = ("FAILED", "broken", "127.0.0.1")
WHY = (
    REASON,
    "reading",
    "Traceback (most recent call last):",
    'File "broken.py", line 3, in <module>',
    REASON,
)
SENT = ("table_name", "test.sales & <more>", "day", "7")
"""What the card of the broken run says: its head, then why it failed, and what was sent with it, each in order."""

GITHUB_ATTRIBUTES = {"*": {"align", "dir", "lang", "rowspan", "colspan", "scope", "title"}, "a": {"href"}}
GITHUB_TAGS = set(
    """
    h1 h2 h3 h4 h5 h6 br b i strong em a pre code tt div ins del sup sub p ol ul table thead tbody tfoot blockquote dl dt
    dd kbd q samp var hr ruby rt rp li tr td th s strike summary details caption figure figcaption abbr bdo cite dfn mark
    small span time wbr
    """.split()  # noqa: SIM905  a list of quoted words is harder to read
)
"""What passes at GitHub as far as it is published, in html-pipeline: no class, no style; any other element goes and
leaves its text. That the text of a style sheet goes as well is seen at any DataFrame there."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of kernels whose runs end as their job's name says."""
    folder = tmp_path_factory.mktemp("front-ends")
    with at_a_port(ScriptedService(folder / "service")) as address:
        yield kernel_environment(folder, address)


@pytest.fixture(scope="module")
def executed(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What papermill leaves of a notebook whose last cell fails: its exit code, what it says and the file."""
    folder = tmp_path_factory.mktemp("papermill")
    write_notebook(folder / "some.ipynb", LOAD, FINE, BROKEN, "print('never')")
    ended = subprocess.run(
        [sys.executable, "-m", "papermill", "--no-progress-bar", "some.ipynb", "out.ipynb"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return {"code": ended.returncode, "said": ended.stderr, "path": folder / "out.ipynb"}


@pytest.fixture(scope="module")
def saved(executed: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of that file, without what papermill adds on its own."""
    cells = json.loads(executed["path"].read_text())["cells"]
    return [cell for cell in cells if "papermill-error-cell-tag" not in cell["metadata"].get("tags", ())]


def make_script(notebook: Path) -> None:
    exporter: Any = PythonExporter()  # type: ignore[no-untyped-call]
    notebook.with_suffix(".py").write_text(exporter.from_filename(str(notebook))[0])


def card_of(cell: dict[str, Any], mime: str = "text/html") -> str:
    data = next(output["data"] for output in cell["outputs"] if output["output_type"] == "display_data")
    return "".join(data[mime])


def test_papermill_stops_at_the_failed_run_with_its_reason_in_one_line(executed, saved):
    (error,) = (output for output in saved[2]["outputs"] if output["output_type"] == "error")

    assert executed["code"] == 1
    assert error["ename"] == "RunFailed"
    assert REASON in error["evalue"]
    assert "\n" not in error["evalue"]
    assert saved[3]["outputs"] == []


@pytest.mark.parametrize(
    ("cells", "code", "said"),
    [
        ((FINE, "print('after')"), 0, ["COMPLETED  daily_sales  run", "after"]),
        (
            ("%%dataflow_run daily_sales\nday = each(1, 2)", "print('after')"),
            0,
            ["COMPLETED  daily_sales  2 of 2 runs over", "after"],
        ),
        ((BROKEN, "print('never')"), 1, ["FAILED  broken  run", "RunFailed: run", REASON]),
        (("%dataflow_status nosuch", "print('never')"), 1, ["NoSuchRun: no run 'nosuch' was started here"]),
        (("%dataflow_run slow --no-wait", "print('after')"), 0, ["after"]),
    ],
)
def test_a_script_that_nbconvert_made_waits_prints_and_ends_as_its_runs_do(
    environment, tmp_path, cells, code, said
):
    write_notebook(tmp_path / "some.ipynb", LOAD, *cells)
    make_script(tmp_path / "some.ipynb")
    ended = subprocess.run(
        [sys.executable, "-m", "IPython", "some.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode == code, ended.stdout + ended.stderr
    assert_shown_in_order(ended.stdout, tuple(said))
    assert "never" not in ended.stdout
    assert "Traceback" not in re.sub(r"(?m)^  \| .*", "", ended.stdout) + ended.stderr


def test_an_interrupted_script_ends_with_one_line_and_code_130(environment, tmp_path):
    write_notebook(tmp_path / "some.ipynb", LOAD, "%dataflow_run slow", "print('never')")
    make_script(tmp_path / "some.ipynb")
    with subprocess.Popen(
        [sys.executable, "-m", "IPython", "some.py"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        shown = ""
        while "RUNNING" not in shown and (line := process.stdout.readline()):
            shown += line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert re.fullmatch(r"stopped waiting; run \w+ continues: %dataflow_wait .*\n", err)
    assert "never" not in out


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            "%%dataflow_run daily_sales --wrokers 3\nday = 1",
            "line 1: unknown option '--wrokers'; did you mean '--workers'?; see %dataflow_run --help",
        ),
        (
            "%%dataflow_run daily_sales\nday = [1]",
            "line 2: day is a list, and a run takes one value; write each(...) around it for a run per item, or "
            '",".join(...) for one text',
        ),
        ("%dataflow_status nosuch", "no run 'nosuch' was started here; %dataflow_runs --all lists them"),
        (
            "%%dataflow_script daily_sales\nprint(",
            "line 2: '(' was never closed; nothing was written",
        ),
    ],
    ids=["an option", "a value", "a run", "a script"],
)
def test_papermill_stops_at_a_mistake_with_its_message(environment, tmp_path, cell, message):
    write_notebook(tmp_path / "some.ipynb", LOAD, cell, "print('never')")
    ended = subprocess.run(
        [sys.executable, "-m", "papermill", "--no-progress-bar", "some.ipynb", "out.ipynb"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    cells = json.loads((tmp_path / "out.ipynb").read_text())["cells"]
    (error,) = (
        output for each in cells for output in each.get("outputs", ()) if output["output_type"] == "error"
    )

    assert ended.returncode == 1
    assert f": {message}\n" in ended.stderr
    assert error["evalue"] == message
    assert len(error["traceback"]) == 1
    assert "never" not in ended.stdout


def test_papermill_saves_both_cards_in_their_final_state_without_widgets(saved):
    kinds = [set(output.get("data", ())) for cell in saved for output in cell["outputs"]]

    assert card_of(saved[1], "text/plain").startswith("COMPLETED  daily_sales  run ")
    assert card_of(saved[2], "text/plain").startswith("FAILED  broken  run ")
    assert kinds == [{"text/html", "text/plain"}, {"text/html", "text/plain"}, set()]


def test_the_page_of_nbconvert_has_the_text_of_the_card(environment, tmp_path):
    write_notebook(tmp_path / "some.ipynb", LOAD, BROKEN)
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "html", "--execute", "--allow-errors", "some.ipynb"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    page = (tmp_path / "some.html").read_text()

    assert_shown(text_of(page))
    assert "widget-view+json" not in page


def test_the_page_of_a_saved_notebook_needs_no_kernel(executed):
    exporter: Any = HTMLExporter
    page, _ = exporter().from_filename(executed["path"])

    assert_shown(text_of(page))
    assert "COMPLETED" in page
    assert "widget-view+json" not in page


def test_github_strips_no_word_of_the_card_and_joins_none(saved):
    shown = sanitised(card_of(saved[2]))
    words = text_of(shown)

    assert "<style" not in shown
    assert "class=" not in shown
    assert "style=" not in shown
    assert "{" not in words  # of a style sheet nothing is left as text
    assert_shown(words)
    assert_shown_in_order(words, ("FAILED", "broken", run_id_of(saved[2])))


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (None, "ModuleNotFoundError: No module named 'ipywidgets'"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise RuntimeError('built for another kernel')", "RuntimeError: built for another kernel"),
        ("", "ImportError: cannot import name 'HTML' from 'ipywidgets'"),
    ],
    ids=["missing", "half installed", "broken", "an empty module"],
)
def test_a_kernel_without_working_ipywidgets_starts_the_run_and_says_so_once(
    environment, tmp_path, source, why
):
    (tmp_path / "ipywidgets.py").write_text(
        source if source is not None else "raise ModuleNotFoundError(\"No module named 'ipywidgets'\")"
    )
    with open_kernel(environment | {"PYTHONPATH": str(tmp_path)}) as kernel:
        first = kernel.run("%%dataflow_run daily_sales\nday = 1")
        again = kernel.run("%%dataflow_run daily_sales --wait\nday = 2")
        listed = kernel.run("runs = %dataflow_runs\nprint(len(runs))")

    card, *_ = (shown for shown in first if "text/html" in shown)
    note = "".join(shown["stdout"] for shown in first if "stdout" in shown)
    assert set(card) == {"text/html", "text/plain"}
    assert note.startswith("Note: cards have no buttons here")
    assert note.count("Note:") == 1
    assert why in note
    assert [set(shown) for shown in again] == [{"text/html", "text/plain"}]
    assert listed == [{"stdout": "2\n"}]


def test_a_front_end_without_widgets_sees_the_end_of_the_run(environment):
    with open_kernel(environment) as kernel:
        kernel.run("%%dataflow_run slow -o run\nday = 7")
        kernel.refuse_widgets()
        kernel.run("run.cancel()")
        last = kernel.until_shown("CANCELED  slow")

    assert set(last) == {"text/html", "text/plain"}


def test_a_text_front_end_shows_the_card_as_text_at_once_and_on_display(environment):
    # As qtconsole and the console do: input can be asked for, of a bundle the plain text is shown, and no later
    # message to an output that is there already.
    with open_kernel(environment) as kernel:
        (first,) = kernel.run("%%dataflow_run slow -o run\nday = 7")
        run_id = kernel.run("print(run.id)")[0]["stdout"].strip()
        kernel.run("run.cancel(); run.wait(60)")
        (again,) = kernel.run(f"%dataflow_status {run_id}")

    assert first["text/plain"].split("\n")[0].split("  ")[1:3] == ["slow", f"run {run_id}"]
    assert f"refresh with %dataflow_status {run_id}" in first["text/plain"]
    assert again["text/plain"].startswith(f"CANCELED  slow  run {run_id}  ")
    assert "refresh with" not in again["text/plain"]


class _Texts(HTMLParser):
    """The text of a page as a browser would lay it out: what is a block of its own, or a cell, stands alone."""

    INLINE = frozenset(("a", "b", "bdi", "code", "em", "i", "small", "span", "strong"))

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._unseen += tag in ("script", "style")
        self._apart(tag)

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in ("script", "style")
        self._apart(tag)

    def handle_data(self, data: str) -> None:
        self.text += "" if self._unseen else data

    def _apart(self, tag: str) -> None:
        self.text += "" if tag in self.INLINE else "\n"


def text_of(page: str) -> str:
    texts = _Texts()
    texts.feed(page)
    texts.close()
    return texts.text


def sanitised(html: str) -> str:
    """Return what is left of HTML where no style, class or unknown element passes."""
    return nh3.clean(
        html,
        tags=GITHUB_TAGS,
        attributes=GITHUB_ATTRIBUTES,
        clean_content_tags={"script", "style"},
        link_rel=None,
    )


def assert_shown(text: str) -> None:
    assert_shown_in_order(text, (*HEAD, *WHY))
    assert_shown_in_order(text, (*HEAD, *SENT))
    assert_shown_in_order(text, (*HEAD, "workers", "4"))


def assert_shown_in_order(text: str, said: tuple[str, ...]) -> None:
    begin = 0
    for words in said:
        # Neither glued to a word before it nor to one after it.
        found = re.compile(rf"(?<!\w){re.escape(words)}(?!\w)").search(text, begin)
        assert found, f"{words!r} is not shown in its place:\n{text[-3000:]}"
        begin = found.end()


def run_id_of(cell: dict[str, Any]) -> str:
    return card_of(cell, "text/plain").split("  run ")[1].split("  ")[0]
