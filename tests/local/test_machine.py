"""A machine that cannot run Spark is named before a run is accepted, with what was found and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import ModuleSpec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.errors import ConfigError
from dataflow_magic.local.machine import check_machine


def test_this_machine_runs_spark():
    check_machine()


@given(st.integers(0, 2**31 - 1))
def test_a_user_without_an_entry_is_named_with_the_line_to_add(user):
    def has_entry(_: int) -> None:
        raise KeyError(user)

    with pytest.raises(ConfigError) as caught:
        check_machine(user=user, has_entry=has_entry)

    assert f"me:x:{user}:0::/tmp:/bin/sh" in str(caught.value)


def package(folder, version: str | None) -> ModuleSpec:
    spec = ModuleSpec("pyspark", None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    if version is not None:
        (folder / "version.py").write_text(f'#\n# licence\n#\n\n__version__: str = "{version}"\n')
    return spec


@given(major=st.integers(0, 9), minor=st.integers(0, 20), end=st.sampled_from(["", ".1", ".0.dev0", "rc1"]))
def test_only_pyspark_4_is_accepted_and_another_is_named_with_its_folder(tmp_path_factory, major, minor, end):
    folder = tmp_path_factory.mktemp("pyspark")
    version = f"{major}.{minor}{end}"
    spec = package(folder, version)
    if major == 4:
        check_machine(find=lambda _: spec)
        return
    with pytest.raises(ConfigError) as caught:
        check_machine(find=lambda _: spec)

    assert str(caught.value).startswith(
        f"Python finds PySpark {version} in {folder}, and the local service needs version 4"
    )


def test_a_package_without_a_version_is_none(tmp_path):
    with pytest.raises(ConfigError, match=r"^Python finds PySpark of an unknown version in "):
        check_machine(find=lambda _: package(tmp_path, None))


def test_no_pyspark_is_named_with_the_extra():
    with pytest.raises(
        ConfigError, match=r'^PySpark is not installed; pip install "dataflow-magic\[local\]"$'
    ):
        check_machine(find=lambda _: None)


@pytest.mark.parametrize(
    ("file", "source", "said"),
    [
        (
            "pyspark.py",
            "",
            "Python finds {folder}/pyspark.py in place of PySpark, of which the local service needs version 4",
        ),
        (
            "pyspark/version.py",
            '__version__ = "3.5.1"',
            "Python finds PySpark 3.5.1 in {folder}/pyspark, and the local service needs version 4",
        ),
        ("pyspark/readme.txt", "", None),
    ],
    ids=["a module", "an older package", "a folder that Python does not take"],
)
def test_a_service_names_the_pyspark_of_pythonpath(tmp_path, file, source, said):
    found = tmp_path / "found" / file
    found.parent.mkdir(parents=True)
    found.write_text(source)
    if file == "pyspark/version.py":
        found.with_name("__init__.py").write_text("raise RuntimeError('never imported')")
    program = "from dataflow_magic.local.machine import check_machine; check_machine()"
    if said is not None:
        program = "from dataflow_magic.local.__main__ import main; raise SystemExit(main('data'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "found")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    if said is None:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 3
        assert done.stderr.startswith(said.format(folder=tmp_path / "found"))
        assert done.stderr.count("\n") == 1
