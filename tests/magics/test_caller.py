"""A block is evaluated with the names of the code that calls the magic, wherever that code stands."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.magics.caller import names_of_caller
from tests.helpers import notebook_with_magics

CALLS = [
    "get_ipython().run_cell_magic('probe', '', 'x')",
    "get_ipython().run_line_magic('probe', 'x')",
]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    from tests.helpers import Scene

    with Scene(tmp_path_factory.mktemp("caller")) as scene, notebook_with_magics(scene) as notebook:
        notebook.shell.register_magic_function(
            lambda _line, _cell=None: names_of_caller(notebook.shell).get("day"), "line_cell", "probe"
        )
        yield notebook


def indented(lines: str) -> str:
    return "\n".join(f"    {line}" for line in lines.split("\n"))


WAYS = {
    "a cell": "day = 'own'\nseen = {call}",
    "a function": "def f():\n    day = 'own'\n    return {call}\nseen = f()",
    "an argument": "def f(day):\n    return {call}\nseen = f('own')",
    "a default": "def f(day='own'):\n    return {call}\nseen = f()",
    "a lambda": "seen = (lambda day: {call})('own')",
    "a comprehension": "(seen,) = [{call} for day in ['own']]",
    "a comprehension of a function": "def f():\n    day = 'own'\n    return [{call} for _ in [0]][0]\nseen = f()",
    "a generator": "(seen,) = ({call} for day in ['own'])",
    "a loop": "for day in ['own']:\n    seen = {call}",
    "a method": "class C:\n    def f(self, day):\n        return {call}\nseen = C().f('own')",
    "a class body": "class C:\n    day = 'own'\n    seen = {call}\nseen = C.seen",
    "a closure that uses the name": (
        "def g(day):\n    def f():\n        day\n        return {call}\n    return f\nseen = g('own')()"
    ),
    "a coroutine": "async def f(day):\n    return {call}\nseen = await f('own')",
    "a callback": "seen = list(map(lambda day: {call}, ['own']))[0]",
}


@given(way=st.sampled_from(sorted(WAYS)), call=st.sampled_from(CALLS), is_global=st.booleans())
def test_the_names_of_the_calling_code_win_over_the_notebook_s(notebook, way, call, is_global):
    notebook.shell.user_ns.pop("day", None)
    if is_global:
        notebook.shell.user_ns["day"] = "a global"
    ran = notebook.run(WAYS[way].format(call=call))

    assert ran.error is None
    assert notebook.shell.user_ns["seen"] == "own"


@given(call=st.sampled_from(CALLS), above=st.sampled_from(["%%time\n", "%%capture\n", ""]))
def test_a_name_that_the_function_lacks_is_the_notebook_s(notebook, call, above):
    notebook.shell.user_ns["day"] = "a global"
    ran = notebook.run(f"{above}def f(month):\n    return {call}\nseen = f(1)")

    assert ran.error is None
    assert notebook.shell.user_ns["seen"] == "a global"


def test_a_function_of_a_module_sees_its_module_s_names_over_the_notebook_s(notebook):
    module = ModuleType("some_helpers")
    exec(  # noqa: S102 - a module of the user
        f"from IPython import get_ipython\nday = 'of the module'\ndef f():\n    return {CALLS[0]}",
        vars(module),
    )
    sys.modules["some_helpers"] = module
    try:
        ran = notebook.run("day = 'a global'\nimport some_helpers\nseen = some_helpers.f()")
    finally:
        del sys.modules["some_helpers"]

    assert ran.error is None
    assert notebook.shell.user_ns["seen"] == "of the module"


def test_a_run_from_a_function_is_sent_with_the_function_s_names_and_changes_none(scene):
    with notebook_with_magics(scene) as notebook:
        ran = notebook.run(
            "day, job = 1, 'no_such_job'\n"
            "def start(day, job):\n"
            "    run = get_ipython().run_cell_magic('dataflow_run', '$job', 'day = day + 1')\n"
            "    return run, day\n"
            "run, kept = start(7, 'daily_sales')\n"
            "run.wait(60)"
        )

        assert ran.error is None
        assert notebook.shell.user_ns["run"].parameters == {"$day": "8"}
        assert (notebook.shell.user_ns["kept"], notebook.shell.user_ns["day"]) == (7, 1)
