"""Installs the sample jobs and their open data in an object folder. Overwrites nothing and starts nothing.

``samples/samples.json`` lists each job, and the key of each file.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from dataflow_magic.files import is_inside, write_whole

__all__ = ["SAMPLE_TABLE", "install_samples", "sample_jobs"]

SAMPLE_TABLE = "dataflow-sample/nycflights13/flights.parquet"
"""The object behind ``test.sample_table2``, the table in the example of the executeJob page."""
SAMPLES = files("dataflow_magic.local") / "samples"


def install_samples(objects: Path) -> None:
    """Write the sample scripts and data that are missing under ``objects``, each file atomically.

    An existing file is not changed, so an edited script is kept. Nothing is written through a symbolic link out of `objects`.

    Parameters
    ----------
    objects
        Folder of ``<bucket>/<key>`` files, made if missing. The samples use the bucket ``dataflow-sample``.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    for key, name in _manifest()["objects"].items():
        path = objects / key
        if is_inside(objects, path) and not path.exists():
            with (SAMPLES / name).open("rb") as file:
                write_whole(path, file)


def sample_jobs() -> list[dict[str, Any]]:
    """Return the request body that creates each sample job.

    The script of a job is ``<name>.py`` under its ``scriptPath``; the role in ``nrn`` is a placeholder.
    """
    jobs: list[dict[str, Any]] = _manifest()["jobs"]
    return jobs


def _manifest() -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((SAMPLES / "samples.json").read_text(encoding="utf-8"))
    return manifest
