"""What this machine lacks to run Spark, found before a service accepts a run. Imports no Spark."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

from dataflow_magic.errors import ConfigError

__all__ = ["check_machine"]

MAJOR = "4"
"""Of the PySpark that the extra installs; another one starts with other options and fails in the middle of a run."""
VERSION = re.compile(r"^__version__[^=]*=\s*['\"]([^'\"]+)", re.MULTILINE)


def check_machine(
    *,
    user: int | None = None,
    has_entry: Callable[[int], object] = pwd.getpwuid,
    find: Callable[[str], ModuleSpec | None] = importlib.util.find_spec,
) -> None:
    """Raise unless this process can run Spark.

    Parameters
    ----------
    user
        The id of the user that Spark will run as; by default of this process.
    has_entry
        Raises KeyError for a user without an entry in the user database.
    find
        Finds a module as `importlib.util.find_spec` does.

    Raises
    ------
    ConfigError
        The user has no entry in the user database, or Python finds something else than PySpark 4.
    """
    user = os.geteuid() if user is None else user
    try:
        has_entry(user)
    except KeyError:
        # Java asks for the name of the user, and Hadoop's login fails without (UnixLoginModule).
        raise ConfigError(
            f"the user id {user} has no name here, and Spark starts only for a user with one; add an entry to "
            f"/etc/passwd, as echo 'me:x:{user}:0::/tmp:/bin/sh' >> /etc/passwd does as root, or start the "
            "container as a user that has one"
        ) from None
    _check_pyspark(find("pyspark"))


def _check_pyspark(spec: ModuleSpec | None) -> None:
    if spec is None:
        raise ConfigError('PySpark is not installed; pip install "dataflow-magic[local]"')
    if not spec.submodule_search_locations:
        raise ConfigError(
            f"Python finds {spec.origin} in place of PySpark, of which the local service needs version {MAJOR}; "
            "rename it, or take its folder from PYTHONPATH"
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    try:
        text = (folder / "version.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = VERSION.search(text)
    version = found[1] if found else "of an unknown version"
    if version.split(".")[0] != MAJOR:
        raise ConfigError(
            f"Python finds PySpark {version} in {folder}, and the local service needs version {MAJOR}; take "
            'that folder from PYTHONPATH, or pip install "dataflow-magic[local]"'
        )
