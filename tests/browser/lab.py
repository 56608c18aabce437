"""A real JupyterLab for the browser tests: a server with separate folders, and the notebooks open in it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

__all__ = ["CHROMIUM_FLAGS", "LAB", "NOTEBOOK_7", "Lab", "OpenNotebook", "open_page", "write_notebook"]

LAB = "lab/tree"
NOTEBOOK_7 = "notebooks"
NOT_OURS = (
    "Cannot read properties of undefined (reading 'schema')",
    "Command 'filebrowser:open-path' not registered.",
)
"""Errors of Notebook 7 while it opens any notebook."""

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)

START_SECONDS = 60
STOP_SECONDS = 20
PATIENCE_MS = 60_000

NO_NEWS: Mapping[str, Mapping[str, Any]] = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}

_SELECT = "panel.content.deselectAll(); panel.content.activeCellIndex = index"

_RECORD = """
    const cell = panel.content.widgets[index.cell].node, said = [];
    (window.recorded ??= {})[index.name] = said;
    const look = () => {
        const text = cell.querySelector(index.selector)?.textContent;
        if (text !== undefined && text !== said.at(-1)) said.push(text);
    };
    new MutationObserver(look).observe(cell, {childList: true, subtree: true, characterData: true});
    look();
"""


class Lab:
    """A JupyterLab server on a free loopback port; close it, or use it in a ``with``.

    Parameters
    ----------
    home
        An empty folder: gets settings, logs and, in ``notebooks``, the served files.
    env
        Variables for the server and its kernels, over those of this process; None removes one.
    settings
        User settings by plugin, ``{"@jupyterlab/apputils-extension/themes": {"theme": "JupyterLab Dark"}}``.

    Raises
    ------
    RuntimeError
        The server did not answer within a minute; the message ends with its log.
    """

    def __init__(
        self,
        home: Path,
        *,
        env: Mapping[str, str | None] | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.root = home / "notebooks"
        self.root.mkdir(parents=True)
        self.log = home / "server.log"
        self.token = "browser-tests"
        self.url = f"http://127.0.0.1:{_free_port()}"
        for plugin, values in {**NO_NEWS, **(settings or {})}.items():
            file = home / "settings" / f"{plugin}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        with self.log.open("wb") as log:
            # A session of its own, so that closing ends the kernels too.
            self._process = subprocess.Popen(
                self._command(),
                env=_environment(home, env or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._await_answer()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, page: Page, name: str, *, kernel: bool = True, app: str = LAB) -> OpenNotebook:
        """Open a notebook of ``root`` in this page, and wait for its kernel unless ``kernel`` is False.

        Parameters
        ----------
        app
            `LAB`, or `NOTEBOOK_7`, which the same server serves.
        """
        page.goto(f"{self.url}/{app}/{name}?token={self.token}&reset")
        notebook = OpenNotebook(page, self.root / name)
        notebook.await_shown(kernel=kernel)
        return notebook

    def close(self) -> None:
        """End the server and its kernels; closing again does nothing."""
        if self._process.poll() is None:
            # SIGTERM lets the server shut its kernels down: they lead process groups of their own.
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(STOP_SECONDS)

    def _command(self) -> list[str]:
        port = self.url.rpartition(":")[2]
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.terminals_enabled=False",
            f"--ServerApp.root_dir={self.root}",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
            "--LabApp.news_url=None",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/api/status?token={self.token}", timeout=2):  # noqa: S310
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"JupyterLab did not start. Its log ends:\n{self.log.read_text()[-2000:]}")


class OpenNotebook:
    """One notebook open in a browser page. Cells are counted from 0; every wait is bounded by a minute."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.path = path

    def await_shown(self, *, kernel: bool = True) -> None:
        """Wait until the cells are there and, unless ``kernel`` is False, a kernel answers."""
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=PATIENCE_MS)
        self._evaluate("await panel.context.ready")
        if kernel:
            # Running before this is done opens the dialog that asks for a kernel.
            self._evaluate("await panel.sessionContext.ready; await panel.sessionContext.session.kernel.info")

    def run_all(self, *, patience_ms: int = PATIENCE_MS) -> None:
        """Run every cell and wait until the kernel is done with them."""
        self._evaluate("await app.commands.execute('notebook:run-all-cells')", patience_ms=patience_ms)

    def run_cell(self, index: int) -> None:
        """Run one cell and wait until the kernel is done with it."""
        self._evaluate(f"{_SELECT}; await app.commands.execute('notebook:run-cell')", index)

    def start_cell(self, index: int) -> None:
        """Send one cell to the kernel without waiting for it."""
        self._evaluate(f"{_SELECT}; app.commands.execute('notebook:run-cell')", index)

    def select_cell(self, index: int) -> None:
        """Make this cell the active one."""
        self._evaluate(_SELECT, index)

    def await_idle(self) -> None:
        """Wait until the kernel has answered every request so far."""
        self._evaluate("await panel.sessionContext.session.kernel.requestKernelInfo()")

    def output(self, index: int) -> Locator:
        """Return the output area of a cell."""
        cells = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell")
        return cells.nth(index).locator(".jp-Cell-outputArea")

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """Return a cell's outputs as a save would write them."""
        found = self._evaluate("return panel.content.widgets[index].model.outputs?.toJSON() ?? []", index)
        return list(found)

    def output_text(self, index: int) -> str:
        """Return what a cell printed, and the last line of its error if it failed."""
        parts = []
        for output in self.outputs(index):
            text = output.get("text", "")
            parts.append("".join(text) if isinstance(text, list) else text)
            if output["output_type"] == "error":
                parts.append(f"{output['ename']}: {output['evalue']}")
        return "".join(parts)

    def record(self, index: int, selector: str) -> None:
        """Record from now on each new text of the first element in a cell that matches; `recorded` returns them."""
        self._evaluate(_RECORD, {"cell": index, "selector": selector, "name": f"{index} {selector}"})

    def recorded(self, index: int, selector: str) -> list[str]:
        """Return the recorded texts, oldest first."""
        return list(self._evaluate("return window.recorded[index]", f"{index} {selector}"))

    def save(self) -> dict[str, Any]:
        """Save the notebook and return the content of its file."""
        self._evaluate("await panel.context.save()")
        notebook: dict[str, Any] = json.loads(self.path.read_text())
        return notebook

    def interrupt(self) -> None:
        """Interrupt the kernel."""
        self._evaluate("await panel.sessionContext.session.kernel.interrupt()")

    def restart(self) -> None:
        """Restart the kernel and wait until it answers."""
        self._evaluate("await panel.sessionContext.session.kernel.restart()")
        self.await_idle()

    def reload(self) -> None:
        """Reload the page; the kernel keeps running."""
        self.page.reload()
        self.await_shown()

    def theme(self, name: str) -> None:
        """Change the theme, to ``JupyterLab Light`` or ``JupyterLab Dark``."""
        self.command("apputils:change-theme", {"theme": name})
        light = "true" if name == "JupyterLab Light" else "false"
        self.page.wait_for_selector(
            f'body[data-jp-theme-light="{light}"]', state="attached", timeout=PATIENCE_MS
        )

    def is_trusted(self) -> bool:
        """Return whether Lab shows the saved outputs without sanitizing them."""
        return bool(self._evaluate("return panel.content.widgets.every(cell => cell.model.trusted)"))

    def command(self, name: str, args: Mapping[str, Any] | None = None) -> None:
        """Execute one of JupyterLab's commands and wait for its promise."""
        self._evaluate(
            "await app.commands.execute(index.name, index.args)", {"name": name, "args": args or {}}
        )

    def screenshot(self, path: Path, *, cell: int | None = None) -> None:
        """Write a PNG of the page, or of one cell's output."""
        shown = self.page if cell is None else self.output(cell)
        shown.screenshot(path=path)

    def _evaluate(self, body: str, index: Any = None, *, patience_ms: int = PATIENCE_MS) -> Any:
        script = f"""async index => {{
            const app = window.jupyterapp, panel = app.shell.currentWidget;
            const late = new Promise((_, no) => setTimeout(() => no(new Error('no end in time')), {patience_ms}));
            return await Promise.race([late, (async () => {{ {body} }})()]);
        }}"""
        return self.page.evaluate(script, index)


@contextmanager
def open_page(browser: Browser) -> Iterator[Page]:
    """Give a new page; an error in its scripts fails at the end."""
    context = browser.new_context(viewport={"width": 1180, "height": 900})
    shown = context.new_page()
    broken: list[str] = []
    shown.on("pageerror", lambda error: broken.append(error.message))
    try:
        yield shown
    finally:
        context.close()

    assert set(broken) <= set(NOT_OURS), "; ".join(broken)


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells for the Python 3 kernel."""
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{index}",
                "metadata": {},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for index, source in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(notebook))


def _environment(home: Path, changes: Mapping[str, str | None]) -> dict[str, str]:
    own = {
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "IPYTHONDIR": home / "ipython",
    }
    merged = {**os.environ, **{name: str(path) for name, path in own.items()}, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
