"""README, CONTRIBUTING and docs: their links lead somewhere, and their snippets run.

Cells run in a real kernel whose runs go to the scripted service; a page's cells share one namespace. Shell commands run in an empty
folder. What needs Spark is marked so.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataflow_magic.cli.parsers import COMMANDS
from dataflow_magic.ledger.frame import COLUMNS
from dataflow_magic.ledger.stages import STAGE_COLUMNS
from dataflow_magic.local.http.app import Keys
from tests.helpers import CONDITION, ScriptedService, at_a_port
from tests.kernel import Kernel, kernel_environment, open_kernel
from tests.local_service import no_credentials

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LOCAL = "http://127.0.0.1:8970"
"""The address that pages give the local service; tests serve at a free port."""
LOCAL_KEYS = {
    "DATAFLOW_LOCAL_ACCESS_KEY": "DOCUMENTS-ACCESS",
    "DATAFLOW_LOCAL_SECRET_KEY": "DOCUMENTS-SECRET",
}
SERVE = ["dataflow-magic", "local", "--port", "0"]
SECONDS = 180

SNIPPET = re.compile(
    r"(?:^<!-- fails: (?P<fails>.+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
FILE = re.compile(r"`((?:dataflow_magic|tests|docs|notebooks)/[\w./-]*)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Snippet:
    """A fenced block of a page.

    Parameters
    ----------
    fails
        Part of the error that the page says the block ends with, empty where it does not fail.
    """

    language: str
    text: str
    fails: str

    @property
    def is_test(self) -> bool:
        return self.language == "python" and "def test_" in self.text

    @property
    def is_cell(self) -> bool:
        return self.language == "python" and not self.is_test


def snippets(page: Path) -> list[Snippet]:
    return [
        Snippet(found["language"], found["text"], found["fails"] or "")
        for found in SNIPPET.finditer(page.read_text())
    ]


def commands(page: Path) -> list[list[str]]:
    """Return the words of each line of a page's shell snippets."""
    lines = [
        line for snippet in snippets(page) if snippet.language == "sh" for line in snippet.text.splitlines()
    ]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def is_history(words: list[str]) -> bool:
    return words[:3] == ["dataflow-magic", "local", "history"]


def of_pages(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


@of_pages(PAGES)
def test_every_block_of_a_page_is_a_cell_a_command_or_plain_text(page):
    found = snippets(page)

    assert page.read_text().count("```") == 2 * len(found)
    assert {snippet.language for snippet in found} <= {"python", "sh", "text"}
    for snippet in found:
        if snippet.language == "text":
            assert not re.search(r"^\s*(%|import |from |dataflow-magic |make )", snippet.text, re.MULTILINE)


@of_pages(PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page):
    for found in LINK.finditer(page.read_text()):
        link = found[1] or found[2]
        if not link.startswith("https://"):
            path, _, heading = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not heading or heading in headings(target), link


@of_pages(PAGES)
def test_every_file_a_page_names_is_there(page):
    text = page.read_text()
    tests = {test.name for test in (ROOT / "tests").rglob("test_*.py")}

    assert [name for name in FILE.findall(text) if not (ROOT / name).exists()] == []
    assert [name for name in re.findall(r"`(test_\w+\.py)`", text) if name not in tests] == []


def headings(page: Path) -> set[str]:
    """Return the anchors GitHub gives a page's headings."""
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in HEADING.findall(page.read_text())
    }


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with the sample jobs, whose runs need no Spark."""
    service = ScriptedService(tmp_path_factory.mktemp("documents") / "service")
    service.keys = Keys(*LOCAL_KEYS.values())
    for name in ("daily_delays", "slow_count"):
        service.store.add_job(name, "SCRIPT", max_concurrent_runs=None, condition=CONDITION, extra={})
    with at_a_port(service) as address:
        yield address
        service.finish.set()


@pytest.fixture(scope="module")
def kernel(scripted: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kernel, str]]:
    """A kernel whose runs go to that service, and the service's address."""
    folder = tmp_path_factory.mktemp("kernel")
    environment = kernel_environment(folder, scripted, **LOCAL_KEYS, TOKEN="t0k3n-of-the-documents")
    work = tmp_path_factory.mktemp("work")
    with open_kernel(environment) as kernel:
        kernel.run(f"%cd -q {work}")  # cells may write files
        yield kernel, scripted


@of_pages([page for page in PAGES if any(snippet.is_cell for snippet in snippets(page))])
def test_the_cells_of_a_page_run_one_after_another(kernel, page):
    notebook, address = kernel
    notebook.run("%reset -f")
    notebook.run("%config DataflowMagic.language = 'en'")  # an earlier page may have set another
    for snippet in filter(lambda snippet: snippet.is_cell, snippets(page)):
        shown = notebook.run(snippet.text.replace(LOCAL, address))
        said = [str(output[kind]) for output in shown for kind in ("error", "stderr") if kind in output]

        assert bool(said) == bool(snippet.fails), f"{snippet.text}\n{said}"
        assert snippet.fails in "".join(said)


@pytest.mark.parametrize(
    ("asked", "page"),
    [
        ("%dataflow_run --help", "running-jobs.md"),
        ("%dataflow_wait --help", "running-jobs.md"),
        ("%dataflow_script --help", "scripts.md"),
        ("%dataflow_runs --help", "table-of-runs.md"),
        ("!dataflow-magic run --help", "command-line.md"),
        ("!dataflow-magic runs --help", "command-line.md"),
        ("!dataflow-magic status --help", "command-line.md"),
        ("!dataflow-magic logs --help", "command-line.md"),
        ("!dataflow-magic wait --help", "command-line.md"),
        ("!dataflow-magic cancel --help", "command-line.md"),
        ("!dataflow-magic local --help", "local-service.md"),
        ("!dataflow-magic local stop --help", "local-service.md"),
        ("!dataflow-magic local reset --help", "local-service.md"),
        ("!dataflow-magic local history --help", "local-service.md"),
    ],
)
def test_a_page_has_every_option_of_what_it_describes(kernel, asked, page):
    command = asked.replace("!dataflow-magic", f"!{program('dataflow-magic')}")
    shown = "".join(output["stdout"] for output in kernel[0].run(command))
    options = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", shown)) - {"--help"}
    text = (ROOT / "docs" / page).read_text()

    assert options
    assert {option for option in options if f"`{option}" not in text} == set()


def test_the_guide_to_the_stages_has_every_column():
    text = (ROOT / "docs" / "stages.md").read_text()

    assert [name for name in STAGE_COLUMNS if f"`{name}`" not in text] == []


def test_the_guide_to_the_table_has_every_column():
    text = (ROOT / "docs" / "table-of-runs.md").read_text()

    assert [name for name in COLUMNS if f"`{name}`" not in text] == []


@pytest.fixture
def shell(tmp_path):
    """The environment of a terminal in an empty folder, but for the files that commands name."""
    for name in ("sales.csv", "my_job.py"):
        (tmp_path / name).touch()
    kept = {name: value for name, value in os.environ.items() if name not in no_credentials()}
    return kept | {"DATAFLOW_MAGIC_HOME": str(tmp_path / "home")}


@of_pages([page for page in PAGES if any(not is_history(words) for words in commands(page))])
def test_the_commands_of_a_page_work(page, scripted, shell, tmp_path):
    of_runs = {**shell, **LOCAL_KEYS, "DATAFLOW_TARGET": scripted}
    for words in commands(page):
        if not is_history(words):
            is_of_runs = words[0] == "dataflow-magic" and words[1] in COMMANDS
            check_command(words, of_runs if is_of_runs else shell, tmp_path)


@pytest.mark.spark
@of_pages([page for page in PAGES if any(map(is_history, commands(page)))])
def test_the_history_a_page_names_is_served(page, shell, tmp_path):
    serve_and_end(SERVE, shell, tmp_path)  # there is no history of a folder that no service ever used
    for words in filter(is_history, commands(page)):
        serve_and_end([*words, "--port", "0"], shell, tmp_path)


def check_command(words: list[str], environment: dict[str, str], folder: Path) -> None:
    match words:
        case ["make", *targets]:
            # Only whether there are such targets: what they do takes minutes.
            run(["make", "--dry-run", *targets], environment, ROOT)
        case ["pip", "install", requirement]:
            name, _, extra = requirement.rstrip("]").partition("[")
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            assert name == project["name"]
            assert not extra or extra in project["optional-dependencies"]
        case [".venv/bin/python", "-m", "pytest", tests, *_]:
            assert list((ROOT / tests).glob("test_*.py"))
        case ["export", *settings]:
            assert {setting.partition("=")[0] for setting in settings} == set(LOCAL_KEYS)
        case ["dataflow-magic", "local"] | ["dataflow-magic", "local", "--port", *_]:
            serve_and_end(["0" if word == "8970" else word for word in words], environment, folder)
        case ["dataflow-magic", "local", "reset", *_]:
            # It refuses a folder that no service ever used.
            serve_and_end(SERVE, environment, folder)
            run(words, environment, folder)
        case ["dataflow-magic", "local", "status"]:
            run(words, environment, folder, code=3)
        case ["dataflow-magic", *_]:
            run(words, environment, folder)
        case _:
            pytest.fail(f"no test knows how to run {shlex.join(words)}")


def run(words: list[str], environment: dict[str, str], folder: Path, *, code: int = 0) -> None:
    done = subprocess.run(
        [program(words[0]), *words[1:]],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"


def serve_and_end(words: list[str], environment: dict[str, str], folder: Path) -> None:
    """Start what serves until interrupted, wait for its first line and interrupt it."""
    with subprocess.Popen(
        [program(words[0]), *words[1:]], env=environment, cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert " at http://127.0.0.1:" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) in {0, 130}


def program(name: str) -> str:
    """Return a command of this environment, else that of the machine."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"there is no {name}"
    return found


@pytest.mark.spark
@of_pages([page for page in PAGES if any(snippet.is_test for snippet in snippets(page))])
def test_the_tests_a_page_shows_pass_at_a_local_service(page, shell, tmp_path):
    shell |= LOCAL_KEYS
    with subprocess.Popen(
        [program(SERVE[0]), *SERVE[1:]],
        env=shell,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stdout is not None
        address = re.search(r"http://127.0.0.1:\d+", service.stdout.readline())
        assert address
        try:
            for snippet in filter(lambda snippet: snippet.is_test, snippets(page)):
                (tmp_path / "test_page.py").write_text(snippet.text.replace(LOCAL, address[0]))
                run(
                    [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"],
                    shell,
                    tmp_path,
                )
        finally:
            service.send_signal(signal.SIGINT)
            service.wait(SECONDS)
