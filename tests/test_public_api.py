"""The public names of the package, and what importing them loads."""

import importlib
import pkgutil
import subprocess
import sys
from importlib.metadata import version

import pytest

import dataflow_magic

PUBLIC = [
    "Client",
    "DataflowError",
    "Job",
    "JobCondition",
    "JobExecution",
    "Page",
    "Run",
    "RunFailed",
    "RunState",
    "Sweep",
    "SweepFailed",
    "WaitTimeout",
    "compare",
    "connect",
    "get",
    "load_ipython_extension",
    "local_path",
    "run",
    "runs",
    "secret",
    "start",
    "sweep",
    "sweeps",
    "unload_ipython_extension",
]
HEAVY = [
    "IPython",
    "httpx",
    "ipywidgets",
    "numpy",
    "obstore",
    "pandas",
    "pydantic",
    "pyspark",
    "re2",
    "starlette",
    "uvicorn",
]


def test_the_public_names_are_these():
    assert dataflow_magic.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_exists_and_is_listed(name):
    assert getattr(dataflow_magic, name).__name__ == name
    assert name in dir(dataflow_magic)


RUN = [
    "again", "cancel", "error", "id", "is_done", "job", "key", "logs", "parameters", "ran", "reason", "result", "show",
    "stages", "status", "submitted", "table", "total", "wait", "waited",
]  # fmt: skip


def test_the_public_names_of_a_run_are_these():
    assert [name for name in dir(dataflow_magic.Run) if not name.startswith("_")] == RUN


def test_the_version_is_that_of_the_distribution():
    assert dataflow_magic.__version__ == version("dataflow-magic")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'dataflow_magic' has no attribute 'execute'"):
        dataflow_magic.execute  # noqa: B018


def modules() -> list[str]:
    found = pkgutil.walk_packages(dataflow_magic.__path__, "dataflow_magic.")
    return [module.name for module in found if not module.name.endswith("__main__")]


@pytest.mark.parametrize("name", modules())
def test_a_module_has_every_name_it_exports(name):
    module = importlib.import_module(name)

    assert [word for word in getattr(module, "__all__", ()) if not hasattr(module, word)] == []


def loaded_after(program: str) -> set[str]:
    """Return the heavy packages that a new process has loaded after a program that prints nothing."""
    report = f"\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program + report], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1, "the program itself printed something"
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import dataflow_magic; dir(dataflow_magic)") == set()


def test_loading_the_extension_prints_nothing_and_loads_only_ipython():
    program = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "dataflow_magic")
shell.run_line_magic("reload_ext", "dataflow_magic")
shell.run_line_magic("unload_ext", "dataflow_magic")
"""
    assert loaded_after(program) == {"IPython"}


def test_starting_runs_from_python_loads_neither_pandas_nor_a_web_server():
    assert loaded_after("from dataflow_magic import run, Run, Client") == {"httpx", "pydantic"}


def test_a_log_record_is_not_printed_without_a_handler():
    assert (
        loaded_after(
            "import logging, dataflow_magic\nlogging.getLogger('dataflow_magic.session.run').warning('x')"
        )
        == set()
    )
