"""Executes a notebook without a browser against the local service, telling in the terminal what its runs do."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from dataflow_magic.client import Client
from dataflow_magic.errors import ConfigError, DataflowError
from dataflow_magic.local.attach import attach, default_folder
from dataflow_magic.local.folder import Address
from dataflow_magic.view import KST

__all__ = ["run_demo", "states_told"]

CELL_SECONDS = 600
LOOK_SECONDS = 0.2
RUNS_TAG = "runs"
"""Tag of the notebook's cell whose output is the table of runs."""

Say = Callable[[str], None]


def run_demo(notebook: Path, out: Path, say: Say = print) -> int:
    """Execute the notebook; 0 when every cell did what it should.

    Parameters
    ----------
    notebook
        Never changed.
    out
        Gets the executed notebook, its page, and the local service's data unless ``DATAFLOW_MAGIC_HOME`` is set.

    Raises
    ------
    ConfigError
        The notebook or a package is missing.
    """
    missing = [
        name for name in ("nbclient", "nbconvert", "ipykernel") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ConfigError(
            f'the demo needs {", ".join(missing)}: pip install "dataflow-magic[local,notebook]"'
        )
    if not notebook.is_file():
        raise ConfigError(f"there is no notebook {str(notebook)!r}; name one")
    out.mkdir(parents=True, exist_ok=True)
    # For the kernel, which inherits it: the demo needs no account and uses none.
    os.environ.setdefault("DATAFLOW_MAGIC_HOME", str((out / "home").resolve()))
    os.environ["DATAFLOW_TARGET"] = "local"
    folder = default_folder(os.environ)
    address, hold = attach(folder)
    say(f"local Data Flow service at {address.endpoint}, data in {folder.path}")
    try:
        with _telling(address, say):
            document, failure = _execute(notebook)
    finally:
        os.close(hold)
    executed, page = _write(document, out / notebook.name)
    for text in _tagged_text(document):
        say(f"\n{text}\n")
    say(f"executed notebook  {executed}\nHTML page          {page}")
    if failure:
        say(f"\nfailed: {failure}")
    return 1 if failure else 0


def _execute(notebook: Path) -> tuple[Any, str]:
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    document = nbformat.read(notebook, as_version=4)
    # Without widget state the page shows the cards' HTML instead of asking the network for a widget manager.
    client = NotebookClient(
        document,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        # On loopback, where it runs here, the kernel's warning that its messages are not encrypted helps nobody.
        extra_arguments=["--log-level=ERROR"],
        store_widget_state=False,
        resources={"metadata": {"path": str(notebook.parent)}},
    )
    try:
        client.execute()
    except (CellExecutionError, DeadKernelError) as error:
        return document, str(error)
    return document, ""


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
                clock = datetime.now(KST).strftime("%H:%M:%S")
                lines.append(f"{clock}  {job.name}  {run.job_execution_id}  {state}")
            told[run.job_execution_id] = state
    told.setdefault("", "looked")
    return lines
