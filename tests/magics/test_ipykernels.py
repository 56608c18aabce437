"""The versions of ipykernel that differ in how they publish: the same cells in each, without a browser and without Spark."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from nbclient.exceptions import CellTimeoutError

from tests.browser.lab import write_notebook
from tests.helpers import ScriptedService, at_a_port
from tests.kernel import Kernel, RequestLost, kernel_environment, open_kernel

LAST_6 = "6.31.0"
LOSES_REQUESTS = ("7.0.1", "7.1.0")
"""These now and then never begin a cell, one in some sixty where a thread publishes, and also where nothing but ``1+1``
is asked: a request stays unread between two of their threads. Nothing of ours can help it, so that a test begins anew."""
VERSIONS = (LAST_6, *LOSES_REQUESTS, "7.4.0")
"""The last without subshells, the first with them, the one that publishes from threads again, and ours."""
MOST_TRIES = 5


@dataclass(frozen=True)
class Installed:
    """One version of ipykernel, and the variables of a kernel that runs on it."""

    version: str
    environment: dict[str, str]

    def play(self, scene: Callable[[], Any]) -> Any:
        """Return what a scene returns, begun anew where the version loses a request."""
        for _ in range(MOST_TRIES if self.version in LOSES_REQUESTS else 1):
            try:
                return scene()
            except (RequestLost, CellTimeoutError) as error:
                lost: Exception = error
        raise lost

    def play_in_kernel(self, scene: Callable[[Kernel], Any]) -> Any:
        def begun_anew() -> Any:
            with open_kernel(self.environment) as kernel:
                return scene(kernel)

        return self.play(begun_anew)


@pytest.fixture(scope="module", params=VERSIONS)
def installed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    """A version in a folder of its own: put first on the path, it is the one kernels run on."""
    wanted: str = request.param
    folder = tmp_path_factory.mktemp(f"ipykernel-{wanted}")
    if wanted != version("ipykernel"):
        # What else it needs is what the installed version does, but for what 6 takes from nest-asyncio.
        packages = [f"ipykernel=={wanted}", *(["nest-asyncio"] if wanted == LAST_6 else [])]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(folder), *packages], check=True, timeout=120)
    path = f"{folder}:{Path(__file__).parents[2]}"
    with at_a_port(ScriptedService(folder / "service")) as address:
        yield Installed(wanted, kernel_environment(folder, address, PYTHONPATH=path))


def test_the_output_of_a_run_is_updated_after_its_cell_and_ends_as_html(installed):
    def scene(kernel: Kernel) -> tuple[Any, ...]:
        (said,) = kernel.run("import ipykernel; print(ipykernel.__version__)")
        (live,) = kernel.run("%%dataflow_run slow -o run\nday = 1")
        kernel.until_ticked()
        kernel.run("run.cancel()")
        return said, live, kernel.until_shown("CANCELED  slow  run ")

    said, live, ended = installed.play_in_kernel(scene)

    assert said == {"stdout": f"{installed.version}\n"}
    assert set(live) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert set(ended) == {"text/html", "text/plain"}
    assert "CANCELED" in ended["text/html"]


def test_the_cancel_button_ends_the_run(installed):
    def scene(kernel: Kernel) -> list[dict[str, Any]]:
        kernel.run("%dataflow_run slow -o run")
        # JupyterLab sends what widgets say to a shell of their own, where there is one.
        subshell = None if installed.version == LAST_6 else kernel.new_subshell()
        kernel.click("Cancel", subshell=subshell)
        kernel.click("Yes, cancel", subshell=subshell)
        kernel.until_shown("CANCELED  slow  run ")
        return kernel.run("run.status")

    assert installed.play_in_kernel(scene) == [{"text/plain": "'CANCELED'"}]


def test_a_cell_that_runs_again_while_its_run_lives_says_so_and_leaves_that_run(installed):
    def scene(kernel: Kernel) -> list[str]:
        start = "%%dataflow_run slow -o run\nday = 1"
        said = [kernel.run(start, cell_id="one")]
        first = kernel.run("first = run; print(first.id)")[0]["stdout"].strip()
        said.append(kernel.run(start, cell_id="two"))
        said.append(kernel.run(start, cell_id="one"))
        kernel.run("run.cancel(); first.cancel(); run.wait(); first.wait()")
        said.append(kernel.run(start, cell_id="one"))
        kernel.run("run.cancel()")
        return ["".join(output.get("stdout", "") for output in shown).replace(first, "ID") for shown in said]

    note = "Note: this cell has started run ID, which continues; %dataflow_cancel ID cancels it\n"
    assert installed.play_in_kernel(scene) == ["", "", note, ""]


def test_nbclient_waits_and_the_notebook_has_the_final_state(installed, tmp_path):
    path = tmp_path / "some.ipynb"
    write_notebook(path, "%load_ext dataflow_magic", "%%dataflow_run daily_sales\nday = 1")

    def scene() -> Any:
        read: Any = nbformat.read
        document = read(path, as_version=4)
        client = nbclient.NotebookClient(document, timeout=15, extra_arguments=["--log-level=ERROR"])
        client.execute(env=installed.environment)
        return document.cells[1].outputs

    (output,) = installed.play(scene)

    assert set(output.data) == {"text/html", "text/plain"}
    assert output.data["text/plain"].startswith("COMPLETED  daily_sales  run ")
