"""Executes a notebook without a browser against the local service, telling in the terminal what its runs do."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from dataflow_magic.client.client import Client
from dataflow_magic.errors import ConfigError, DataflowError
from dataflow_magic.local.folder import Address
from dataflow_magic.local.launch import attach, check_installed, default_folder
from dataflow_magic.models.view import KST

__all__ = ["run_demo", "states_told"]

NEEDED = ("ipykernel", "nbclient", "nbconvert")
CELL_SECONDS = 600
LOOK_SECONDS = 0.2
RUNS_TAG = "runs"
"""Tag of the notebook's cell whose output is the table of runs."""

Say = Callable[[str], None]


def run_demo(notebook: Path, out: Path, say: Say = print, *, cell_seconds: int = CELL_SECONDS) -> int:
    """Execute the notebook; 0 when every cell did what it should, else 1.

    Parameters
    ----------
    notebook
        Never changed.
    out
        Gets the executed notebook, its page, and the local service's data unless ``DATAFLOW_MAGIC_HOME`` is set.
    say
        Takes a line to print.
    cell_seconds
        How long one cell may take.

    Raises
    ------
    ConfigError
        The notebook or a package is missing, or ``out`` cannot be used or is the notebook's own folder.
    """
    check_installed(NEEDED, what="the demo", extra="local,notebook")
    document = _read(notebook)
    if out.resolve() == notebook.parent.resolve():
        raise ConfigError(f"the executed notebook would replace {str(notebook)!r}; give another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the folder {str(out)!r} cannot be used ({error.strerror}); give another --out"
        ) from None
    # The demo needs no account and uses none.
    environment = {
        "DATAFLOW_MAGIC_HOME": str((out / "home").resolve()),
        **os.environ,
        "DATAFLOW_TARGET": "local",
    }
    folder = default_folder(environment)
    address, hold = attach(folder)
    say(f"local Data Flow service at {address.endpoint}, data in {folder.path}")
    try:
        with _telling(address, say):
            failure = _execute(document, notebook.parent, environment, cell_seconds)
    finally:
        os.close(hold)
    executed, page = _write(document, out / notebook.name)
    for text in _tagged_text(document):
        say(f"\n{text}\n")
    say(f"executed notebook  {executed}\nHTML page          {page}")
    if failure:
        say(f"\nfailed: {failure}")
    return 1 if failure else 0


def _read(notebook: Path) -> Any:
    if not notebook.is_file():
        raise ConfigError(f"there is no notebook {str(notebook)!r}; name one")
    import nbformat

    try:
        return nbformat.read(notebook, as_version=4)
    except Exception as error:  # noqa: BLE001 - its errors have no root of their own
        raise ConfigError(f"{str(notebook)!r} is not a notebook ({type(error).__name__}); name one") from None


def _execute(document: Any, folder: Path, environment: Mapping[str, str], cell_seconds: int) -> str:
    """Execute the document's cells in place; returns what went wrong, empty where nothing did."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from nbconvert.filters import strip_ansi

    # Without widget state the page shows the cards' HTML instead of asking the network for a widget manager.
    client = NotebookClient(
        document,
        timeout=cell_seconds,
        kernel_name="python3",
        # On loopback, where it runs here, the kernel's warning that its messages are not encrypted helps nobody.
        extra_arguments=["--log-level=ERROR"],
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env=environment)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return str(strip_ansi(str(error))).strip()
    return ""


def _write(document: Any, executed: Path) -> tuple[Path, Path]:
    import nbformat
    from nbconvert import HTMLExporter

    nbformat.write(document, executed)
    page = executed.with_suffix(".html")
    html, _ = HTMLExporter().from_notebook_node(document)
    page.write_text(html, encoding="utf-8")
    return executed, page


def _tagged_text(document: Any) -> Iterator[str]:
    for cell in document.cells:
        if RUNS_TAG in cell.metadata.get("tags", []):
            for output in cell.get("outputs", []):
                if "data" in output and "text/plain" in output.data:
                    yield output.data["text/plain"]


@contextmanager
def _telling(address: Address, say: Say) -> Iterator[None]:
    """Tell of every run's state as it changes, from a thread of its own, while the block goes on."""
    over = threading.Event()
    teller = threading.Thread(target=lambda: asyncio.run(_tell(address, say, over)), daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join(timeout=10)


async def _tell(address: Address, say: Say, over: threading.Event) -> None:
    told: dict[str, str] = {}
    async with Client(address.access_key, address.secret_key, address.endpoint) as client:
        while True:
            last_look = over.is_set()
            try:
                for line in await states_told(client, told):
                    say(line)
            except DataflowError as error:
                say(f"the service could not be asked: {error}")
            if last_look:
                return
            await asyncio.sleep(LOOK_SECONDS)


async def states_told(client: Client, told: dict[str, str]) -> list[str]:
    """Return a line for each run whose state is not the one told before, oldest first; ``told`` is brought up to date.

    Runs that were over before the first look are not told.
    """
    first = not told
    lines = []
    for job in (await client.list_jobs()).items:
        for run in reversed((await client.list_executions(job.job_id)).items):
            state = " ".join(
                filter(None, [run.status, f"({run.status_detail})" if run.status_detail else ""])
            )
            if told.get(run.job_execution_id) != state and not (first and run.is_final):
                clock = datetime.now(KST).strftime("%H:%M:%S KST")
                lines.append(f"{clock}  {job.name}  {run.job_execution_id}  {state}")
            told[run.job_execution_id] = state
    told.setdefault("", "looked")
    return lines
