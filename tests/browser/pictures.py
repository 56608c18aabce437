"""Takes the pictures of README and docs: real Spark runs of the sample jobs in a real JupyterLab and a terminal, light and dark.

``make pictures`` runs it. It is no test; it needs Chromium and takes about three minutes.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Locator, expect, sync_playwright

from tests.browser.lab import CHROMIUM_FLAGS, Lab, OpenNotebook, write_notebook
from tests.local_service import no_credentials, service_folder

WIDTH, HEIGHT, SCALE = 1000, 1600, 1.5
"""CSS pixels of the page, and device pixels per CSS pixel."""
SPARK_MS = 600_000
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
MOST_BYTES = 1_500_000
"""Of all pictures together."""

CELLS = (
    "%load_ext dataflow_magic",
    '%%dataflow_run daily_delays --workers 2\norigin = "EWR"\nmonth = 2',
    '%%dataflow_run daily_delays --workers 2 -o run\norigin = "JFK"\nmonth = 1',
    "%%dataflow_run slow_count --workers 2\nseconds = 4",
    "%%dataflow_run slow_count --workers 2\nseconds = 60",
    '%%dataflow_run daily_delays -o wrong\norigin = "SFO"\nmonth = 1',
    '%%dataflow_run daily_delays -o sweep\norigin = each("SFO", "JFK", "EWR")\nmonth = each(1, 7)',
    "%dataflow_runs --job daily_delays --limit 6",
)
NARROW_WIDTHS = (250, 360)
NARROW = """
.jp-Notebook .jp-OutputArea-child {{ flex: none !important; width: {width}px !important; }}
.jp-Notebook .jp-OutputPrompt {{ display: none !important; }}
"""
COMMANDS = (
    "dataflow-magic run daily_delays origin=EWR month=7 --wait",
    "dataflow-magic logs @last --tail 2",
    "dataflow-magic runs --limit 5",
)
TERMINAL = """<body style="margin: 0; background: #0d1117"><pre style="display: inline-block; margin: 0; padding: 12px 16px;
color: #e6edf3; font: 13px/18px monospace">{lines}</pre></body>"""

FIRST, COMPLETED, SHORT, RUNNING, FAILED, SWEEP, TABLE = range(1, len(CELLS))


class Photographer:
    """One open notebook, and the folder its pictures go to."""

    def __init__(self, notebook: OpenNotebook, folder: Path) -> None:
        self._notebook = notebook
        self._folder = folder

    def take(self, name: str, cell: int, *, scale: Literal["css", "device"] = "device") -> None:
        """Write ``NAME-light.png`` and ``NAME-dark.png`` of a cell and its output; ``css`` makes smaller files."""
        for suffix, theme in THEMES.items():
            self._notebook.theme(theme)
            shown = self._cell(cell)
            shown.scroll_into_view_if_needed()
            # The theme's style sheet is there before its colours have been drawn.
            self._notebook.page.wait_for_timeout(400)
            path = self._folder / f"{name}-{suffix}.png"
            shown.screenshot(path=path, animations="disabled", scale=scale)

    def take_narrow(self, name: str, cell: int) -> None:
        """Write ``NAME-250-light.png`` and so on of a cell's card in a narrow window."""
        page = self._notebook.page
        for suffix, theme in THEMES.items():
            self._notebook.theme(theme)
            for width in NARROW_WIDTHS:
                style = page.add_style_tag(content=NARROW.format(width=width))
                card = self._notebook.output(cell).locator(".dfm-card:visible").first
                card.scroll_into_view_if_needed()
                page.wait_for_timeout(400)
                path = self._folder / f"{name}-{width}-{suffix}.png"
                card.screenshot(path=path, animations="disabled", scale="css")  # a small file
                style.evaluate("style => style.remove()")

    def click(self, cell: int, button: str) -> None:
        """Click a button of a cell's card."""
        self._notebook.output(cell).get_by_role("button", name=button).locator("visible=true").first.click()
        self._notebook.select_cell(0)

    def run(self, cell: int) -> None:
        """Run a cell, then select the first one: no picture has the frame of a selected cell."""
        self._notebook.run_cell(cell)
        self._notebook.select_cell(0)

    def until(self, cell: int, claim: Callable[[str], bool]) -> None:
        """Wait until the text below a cell satisfies the claim."""
        output = self._notebook.output(cell)
        deadline = time.monotonic() + SPARK_MS / 1000
        while not claim(text := output.inner_text()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"cell {cell} did not get there; it shows:\n{text}")
            self._notebook.page.wait_for_timeout(100)

    def until_state(self, cell: int, state: str) -> None:
        """Wait until a run's card shows this state."""
        card = self._notebook.output(cell).locator(".dfm-card:visible").first
        expect(card.locator(".dfm-word").first).to_have_text(state, timeout=SPARK_MS)

    def until_over(self, cell: int) -> None:
        """Wait until a finished card is what a saved notebook keeps."""
        expect(self._notebook.output(cell).locator(".dfm-final")).to_have_count(1, timeout=SPARK_MS)

    def _cell(self, cell: int) -> Locator:
        return self._notebook.page.locator(".jp-NotebookPanel .jp-Notebook .jp-Cell").nth(cell)


def main(folder: Path) -> int:
    """Take all pictures and return the exit code: 1 where they are too large together."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("make pictures needs Chromium; install it", file=sys.stderr)  # noqa: T201
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, service_folder(Path(home) / "magic") as data:
        environment = no_credentials() | {
            "DATAFLOW_MAGIC_HOME": str(data.path.parent),
            "DATAFLOW_TARGET": "local",
            "DATAFLOW_LANGUAGE": "en",
        }
        with Lab(Path(home) / "lab", env=environment) as lab, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
            _take_all(lab, browser, folder)
            _take_terminal(browser, folder, environment)
            browser.close()
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.png"))}
    for name, size in sizes.items():
        print(f"{size / 1000:6.0f} kB  {name}")  # noqa: T201
    total = sum(sizes.values())
    print(f"{total / 1000:6.0f} kB  together; at most {MOST_BYTES / 1000:.0f} kB")  # noqa: T201
    return 0 if total <= MOST_BYTES else 1


def _take_all(lab: Lab, browser: Browser, folder: Path) -> None:
    write_notebook(lab.root / "pictures.ipynb", *CELLS)
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE)
    notebook = lab.open(page, "pictures.ipynb")
    notebook.command("application:toggle-left-area")
    photographer = Photographer(notebook, folder)
    notebook.run_cell(0)

    # Two runs come first, so that the next cards can say how long their jobs usually take.
    for cell in (FIRST, SHORT):
        photographer.run(cell)
        photographer.until_state(cell, "COMPLETED")

    photographer.run(COMPLETED)
    photographer.until_state(COMPLETED, "COMPLETED")
    photographer.until_over(COMPLETED)
    photographer.take("completed", COMPLETED)

    photographer.run(RUNNING)
    photographer.until_state(RUNNING, "RUNNING")
    photographer.until(RUNNING, lambda text: "tasks" in text)
    page.wait_for_timeout(6_000)
    photographer.take("running", RUNNING)
    photographer.take_narrow("narrow-run", RUNNING)
    photographer.click(RUNNING, "Logs")
    photographer.until(RUNNING, lambda text: "hits among" in text)
    photographer.take("log", RUNNING, scale="css")
    photographer.until_state(RUNNING, "COMPLETED")
    photographer.until_over(RUNNING)
    photographer.take("log-over", RUNNING, scale="css")

    photographer.run(FAILED)
    photographer.until_state(FAILED, "FAILED")
    photographer.until_over(FAILED)
    photographer.take("failed", FAILED)

    photographer.run(SWEEP)
    photographer.until(SWEEP, lambda text: "FAILED" in text and "RUNNING" in text and "COMPLETED" in text)
    photographer.take("sweep", SWEEP)
    photographer.take_narrow("narrow-sweep", SWEEP)
    photographer.until(SWEEP, lambda text: "RUNNING" not in text and "READY" not in text)

    photographer.run(TABLE)
    photographer.take("table", TABLE)


def _take_terminal(browser: Browser, folder: Path, changes: Mapping[str, str | None]) -> None:
    """Write ``terminal.png``: commands and what they print in 100 columns."""
    merged = {**os.environ, **changes, "COLUMNS": "100"}
    environment = {name: value for name, value in merged.items() if value is not None}
    bin_folder = Path(sys.executable).parent
    lines = []
    for command in COMMANDS:
        program, *words = shlex.split(command)
        done = subprocess.run(
            [bin_folder / program, *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=SPARK_MS / 1000,
        )
        lines.append(f"$ {command}\n{done.stdout}")
    page = browser.new_page(viewport={"width": WIDTH, "height": 600})
    page.set_content(TERMINAL.format(lines=escape("\n".join(lines))))
    page.locator("pre").screenshot(path=folder / "terminal.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    sys.exit(main(parser.parse_args().folder))
