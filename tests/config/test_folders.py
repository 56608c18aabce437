"""One user's folders stay where they were found first, and an error says what a user without a home sets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.config.folders import user_folder
from dataflow_magic.errors import ConfigError
from dataflow_magic.ledger.ledger import ledger_path
from dataflow_magic.local.launch import cache_folder, default_folder

NAMES = st.from_regex(r"[a-z ][a-z0-9 .#%:\[\]{},매]{0,9}[a-z0-9]", fullmatch=True)


@given(name=NAMES)
def test_a_relative_home_is_the_same_folder_wherever_the_notebook_goes_later(tmp_path_factory, name):
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    environment = {"DATAFLOW_MAGIC_HOME": f"./{first.name}/{name}"}
    before = Path.cwd()
    found = []
    try:
        for folder in (first, second):
            os.chdir(folder)
            found.append(
                (ledger_path(environment), default_folder(environment).path, cache_folder(environment))
            )
    finally:
        os.chdir(before)
    home = first / first.name / name

    assert found[0] == (home / "ledger.sqlite3", home / "local", home / "cache")
    assert found[1] == found[0]


@pytest.mark.parametrize("kind", ["data", "state", "cache"])
def test_without_a_variable_the_platform_names_an_absolute_folder(kind):
    folder = user_folder(kind, {})

    assert folder.is_absolute()
    assert folder.name == "dataflow-magic"


def test_a_home_of_an_unknown_user_is_refused():
    with pytest.raises(ConfigError, match="has no home folder"):
        user_folder("data", {"DATAFLOW_MAGIC_HOME": "~no-such-user-here/x"})


NO_ENTRY = ["unshare", "--user", "--map-user=12345"]
"""Runs a command as a user that the user database does not know, without any right of its own."""


def is_possible(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        return False


CELLS = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(ipython_dir="ipython")
shell.run_cell("%load_ext dataflow_magic")
shell.run_cell({cell!r})
"""


@pytest.mark.skipif(not is_possible(*NO_ENTRY, "true"), reason="no user namespaces here")
class TestAUserWithoutAnEntry:
    """As in a container that is started with a number for its user."""

    def run(self, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*NO_ENTRY, sys.executable, *arguments],
            cwd=folder,
            env={"PATH": os.environ["PATH"], **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_the_local_service_ends_at_its_start_with_one_line(self, tmp_path):
        done = self.run(tmp_path, "-m", "dataflow_magic.local", str(tmp_path / "data"), HOME=str(tmp_path))

        assert done.returncode == 3
        assert done.stderr == (
            "the user id 12345 has no name here, and Spark starts only for a user with one; add an entry to /etc/passwd, "
            "as echo 'me:x:12345:0::/tmp:/bin/sh' >> /etc/passwd does as root, or start the container as a user that "
            "has one\n"
        )

    def test_a_cell_shows_that_line_and_the_cloud_is_not_concerned(self, tmp_path):
        keys = {"NCLOUD_ACCESS_KEY": "ACCESS-KEY-1234", "NCLOUD_SECRET_KEY": "S3CR3T"}
        run = CELLS.format(cell="%dataflow_run daily --target local")
        dry = CELLS.format(cell="%dataflow_run daily --dry-run")
        here = self.run(tmp_path, "-c", run, HOME=str(tmp_path), **keys)
        cloud = self.run(tmp_path, "-c", dry, DATAFLOW_MAGIC_HOME="relative", **keys)

        assert (
            "ConfigError: the local service ended at its start (code 3): the user id 12345 has no name"
            in here.stdout
        )
        assert "https://dataflow.apigw.ntruss.com/api/v1/jobs/daily/executions" in cloud.stdout
        assert "ConfigError" not in cloud.stdout

    def test_without_a_home_one_line_names_the_variable_and_no_folder_is_made(self, tmp_path):
        done = self.run(tmp_path, "-c", CELLS.format(cell="%dataflow_run daily"))

        assert "ConfigError: this user (id 12345) has no home folder: HOME is not set" in done.stdout
        assert "set DATAFLOW_MAGIC_HOME to a folder\n" in done.stdout
        assert [path.name for path in tmp_path.iterdir()] == ["ipython"]

    @pytest.mark.parametrize("home", ["/proc", "/dev/null"])
    def test_a_home_that_takes_no_files_is_one_line_with_the_variable(self, tmp_path, home):
        done = self.run(tmp_path, "-c", CELLS.format(cell="%dataflow_run daily"), HOME=home)
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("ConfigError"))

        assert home in line
        assert "DATAFLOW_MAGIC_HOME" in line
