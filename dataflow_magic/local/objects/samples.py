"""The sample jobs and their open data, ready to be put into an object folder. Overwrites nothing; starts nothing.

What belongs where is said once, in ``samples/samples.json``.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from dataflow_magic.files import write_whole

__all__ = ["SAMPLE_TABLE", "install_samples", "sample_jobs"]

SAMPLE_TABLE = "dataflow-sample/nycflights13/flights.parquet"
"""The object ``test.sample_table2`` is made of, the table the executeJob page's example names."""
SAMPLES = files("dataflow_magic.local") / "samples"


def install_samples(objects: Path) -> None:
    """Put the sample scripts and data under ``objects``, each where it is missing.

    A file that is there stays as it is, so an edited script is kept. Each file appears whole or not at all.

    Parameters
    ----------
    objects
        Folder of ``<bucket>/<key>`` files; made when missing. The samples take the bucket ``dataflow-sample``.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    for key, name in _manifest()["objects"].items():
        path = objects / key
        if not path.exists():
            with (SAMPLES / name).open("rb") as file:
                write_whole(path, file)


def sample_jobs() -> list[dict[str, Any]]:
    """Return one body per sample job, as it is sent to create the job.

    Each job's script is ``<name>.py`` under its ``scriptPath``; the role in ``nrn`` is a placeholder.
    """
    jobs: list[dict[str, Any]] = _manifest()["jobs"]
    return jobs


def _manifest() -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((SAMPLES / "samples.json").read_text(encoding="utf-8"))
    return manifest
