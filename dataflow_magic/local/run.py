"""A run between the parts of the service: what to run, how it ended, why a request is refused. No HTTP, no Spark."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["DEFAULT_TIMEOUT_MINUTES", "Outcome", "Refusal", "RefusalKind", "RunSpec", "script_parameters"]

DEFAULT_TIMEOUT_MINUTES = 360
RefusalKind = Literal["bad-parameter", "bad-state", "not-found"]


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What to run and where.

    Parameters
    ----------
    run_id
        Names the run's folder below `log_path`.
    job_name
        Spark's application name, and the script's name where `script_path` is a folder.
    script_path
        ``bucket/key`` of a ``.py``, or ``bucket/prefix/``; see `find_script`.
    log_path
        ``bucket/prefix/``; the bucket must exist.
    parameters
        Name to value, names with their ``$``.
    workers
        The job condition's ``numWorker``: the most cores the run uses.
    timeout_seconds
        Seconds from the start of the script.
    objects
        The folder that holds one folder per bucket.
    work
        This run's private folder: the copy of the script, Spark's scratch files. The runner makes it when it is
        missing; the caller removes it afterwards.
    is_long
        Whether the job's runs take so long that a slower start pays.
    settings
        Spark settings that win over those a run gets by itself: of the shared catalog, of a cluster.
    master
        Address of the cluster the run goes to; empty is this machine.
    jars
        Jars on the run's class path, after Spark's own.
    """

    run_id: str
    job_name: str
    script_path: str
    log_path: str
    parameters: Mapping[str, str]
    workers: int
    timeout_seconds: float
    objects: Path
    work: Path
    is_long: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    master: str = ""
    jars: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Parameters
    ----------
    state
        ``COMPLETED``, ``FAILED`` or ``CANCELED``.
    reason
        One line for people; empty when completed.
    """

    state: str
    reason: str = ""


class Refusal(Exception):
    """The service refuses a request.

    Parameters
    ----------
    kind
        The vendor's word for the reason.
    detail
        One line that names the field, and never a parameter's value, which may be private.
    """

    def __init__(self, kind: RefusalKind, detail: str) -> None:
        self.kind = kind
        self.detail = detail
        super().__init__(detail)


def script_parameters(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
    """Return the script's parameters: the job's with the run's laid over them, all as text, names with ``$``."""
    merged = {f"${name.removeprefix('$')}": value for name, value in [*stored.items(), *given.items()]}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in merged.items()}
