"""Executes a notebook without a browser against the local service, and prints the states of its runs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from dataflow_magic.cli.terminal import in_words
from dataflow_magic.client.client import Client
from dataflow_magic.errors import ConfigError, DataflowError
from dataflow_magic.local.folder import Address
from dataflow_magic.local.launch import attach, check_installed, default_folder
from dataflow_magic.models.view import KST

__all__ = ["new_states", "run_demo"]

NEEDED = ("ipykernel", "nbclient", "nbconvert")
CELL_SECONDS = 600
POLL_SECONDS = 0.2
RUNS_TAG = "runs"
"""Tag of the cell whose output is the table of runs."""

Say = Callable[[str], None]


def _print(line: str) -> None:
    print(in_words(line), flush=True)  # noqa: T201


def run_demo(
    notebook: Path,
    out: Path,
    say: Say = _print,
    *,
    cell_seconds: int = CELL_SECONDS,
) -> int:
    """Execute the notebook; return 0 when every cell succeeded, else 1.

    Parameters
    ----------
    notebook
        Never changed.
    out
        Folder for the executed notebook, its HTML page, and the local service's data unless ``DATAFLOW_MAGIC_HOME``
        is set.
    say
        Prints one line.
    cell_seconds
        Time limit of a cell.

    Raises
    ------
    ConfigError
        The notebook or a package is missing, or ``out`` cannot be used or is the folder of the notebook.
    KeyboardInterrupt
        The user interrupted the demo; it ended its kernel and wrote nothing.
    """
    check_installed(NEEDED, what="the demo", extra="local,notebook")
    document = _read(notebook)
    if out.resolve() == notebook.parent.resolve():
        raise ConfigError(f"the executed notebook would overwrite {str(notebook)!r}; give another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the folder {str(out)!r} cannot be used ({error.strerror}); give another --out"
        ) from None
    # The demo uses no account, even where the environment has credentials.
    environment = {
        "DATAFLOW_MAGIC_HOME": str((out / "home").resolve()),
        **os.environ,
        "DATAFLOW_TARGET": "local",
    }
    folder = default_folder(environment)
    address, hold = attach(folder)
    say(f"local Data Flow service at {address.endpoint}, data in {folder.path}")
    try:
        with _printing_states(address, say):
            failure = _execute(document, notebook.parent, environment, cell_seconds)
    finally:
        os.close(hold)
    executed, page = _write(document, out / notebook.name)
    for text in _tagged_text(document):
        say(f"\n{text}\n")
    say(f"executed notebook  {executed}")
    say(f"HTML page          {page}")
    if failure:
        say("")
        say(f"the notebook failed: {failure}")
    return 1 if failure else 0


def _read(notebook: Path) -> Any:
    if not notebook.is_file():
        raise ConfigError(f"no notebook {str(notebook)!r}; give the path of a notebook")
    import nbformat

    try:
        return nbformat.read(notebook, as_version=4)
    except Exception as error:  # noqa: BLE001 - nbformat raises errors of many kinds
        raise ConfigError(
            f"{str(notebook)!r} is not a notebook ({type(error).__name__}); give another path"
        ) from None


class _Loop(asyncio.SelectorEventLoop):
    """Leaves signals to `asyncio.Runner`: the handlers of nbclient end the kernel under a notebook that continues."""

    def add_signal_handler(self, *_: object) -> None:
        raise RuntimeError("no handlers")  # as in a thread, where nbclient works without them


def _execute(document: Any, folder: Path, environment: Mapping[str, str], cell_seconds: int) -> str:
    """Execute the document's cells in place; return the error that ended it, empty for none."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from nbconvert.filters import strip_ansi

    # Without widget state the page shows the HTML of the cards, and requests no widget manager from the network.
    client = NotebookClient(
        document,
        timeout=cell_seconds,
        kernel_name="python3",
        # Hides the warning that messages are not encrypted: the kernel listens on loopback.
        extra_arguments=["--log-level=ERROR"],
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )

    async def execution() -> None:
        task = asyncio.current_task()
        try:
            await client.async_execute(env=environment)
        except DeadKernelError:  # nbclient raises it for a canceled task too
            if task and task.cancelling():
                raise asyncio.CancelledError from None
            raise

    try:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(execution())
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
def _printing_states(address: Address, say: Say) -> Iterator[None]:
    """Print each change of a run's state, from a thread, until the block ends."""
    is_over = threading.Event()
    printer = threading.Thread(target=lambda: asyncio.run(_print_states(address, say, is_over)), daemon=True)
    printer.start()
    try:
        yield
    finally:
        is_over.set()
        printer.join(timeout=10)


async def _print_states(address: Address, say: Say, is_over: threading.Event) -> None:
    known: dict[str, str] = {}
    async with Client(address.access_key, address.secret_key, address.endpoint) as client:
        while True:
            is_last = is_over.is_set()
            try:
                for line in await new_states(client, known):
                    say(line)
            except DataflowError as error:
                say(f"the states of the runs are unknown: {error}")
            if is_last:
                return
            await asyncio.sleep(POLL_SECONDS)


async def new_states(client: Client, known: dict[str, str]) -> list[str]:
    """Return a line for each run whose state differs from its known one, oldest first, and update ``known``.

    The first call, with an empty ``known``, skips runs that have ended.
    """
    is_first = not known
    lines = []
    for job in (await client.list_jobs()).items:
        for run in reversed((await client.list_executions(job.job_id)).items):
            state = f"{run.status} ({run.status_detail})" if run.status_detail else str(run.status)
            if known.get(run.job_execution_id) != state and not (is_first and run.is_final):
                clock = datetime.now(KST).strftime("%H:%M:%S KST")
                lines.append(f"{clock}  {job.name}  {run.job_execution_id}  {state}")
            known[run.job_execution_id] = state
    known.setdefault("", "")  # a first call without any run is still the first call
    return lines
