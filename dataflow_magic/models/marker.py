"""The marker of a run: its key, sent where every answer of the service echoes it, so that a match is certain. Pure.

A marker is ``dataflow-run-`` and the key, never text of the user. With ``log-path`` it is the last folder of the log path,
which every snapshot echoes; with ``parameter`` it is one more parameter, for scripts that accept it. The ledger holds the
request as asked, and the marked request is made of it and the key: a run that is started again gets the marker of its own key.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from dataflow_magic.models.request import RunRequest
    from dataflow_magic.models.view import RunView
    from dataflow_magic.models.wire import JobExecution

__all__ = [
    "MARKERS",
    "MARKER_PARAMETER",
    "Marker",
    "bare",
    "carries_marker",
    "is_marked",
    "log_path_of",
    "marked",
    "marker_of",
    "marker_problem",
    "unmarked",
]

Marker = Literal["off", "log-path", "parameter"]
"""Where a run's marker is sent."""
MARKERS: Final[tuple[Marker, ...]] = get_args(Marker)
MARKER_PARAMETER: Final = "$dataflow_run"
"""The name of the parameter that holds a marker."""

_MARKER: Final = re.compile(r"dataflow-run-[a-z0-9]{8}")
_SCHEME: Final = re.compile(r"^s3[an]?:/*")


def marker_of(key: str) -> str:
    """Return the marker of a run's key. It begins with letters, so that no service reads it as a number."""
    return f"dataflow-run-{key}"


def marked(request: RunRequest, key: str) -> RunRequest:
    """Return the request as sent: with the marker of a key where the request asks for one.

    A marker that the log path ends with, such as that of an earlier run, is replaced. A request with a `marker_problem`
    gets no marker.
    """
    if request.marker == "off" or marker_problem(request):
        return request
    if request.marker == "parameter":
        return replace(request, parameters={**request.parameters, MARKER_PARAMETER: marker_of(key)})
    path = log_path_of(request.condition.log_path, key, request.marker)
    return replace(request, condition=request.condition.model_copy(update={"log_path": path}))


def log_path_of(path: str | None, key: str, marker: str | None) -> str | None:
    """Return the log path as sent, of one as asked."""
    if marker != "log-path" or not bare(path):
        return path
    return f"{_without_marker(path or '')}/{marker_of(key)}/"


def unmarked(request: RunRequest) -> RunRequest:
    """Return the request of a listed run as it was asked: without the marker it carries, and asking for one in its place.

    What else a service lists in the condition, such as where this run's log lies, was not asked.
    """
    known = request.condition.model_dump(
        include=set(type(request.condition).model_fields), exclude_unset=True
    )
    request = replace(request, condition=type(request.condition)(**known))
    path = request.condition.log_path or ""
    shorter = _without_marker(path)
    if shorter != path.strip().rstrip("/"):
        condition = request.condition.model_copy(update={"log_path": f"{shorter}/"})
        return replace(request, condition=condition, marker="log-path")
    held = request.parameters.get(MARKER_PARAMETER)
    if isinstance(held, str) and _MARKER.fullmatch(held):
        rest = {name: value for name, value in request.parameters.items() if name != MARKER_PARAMETER}
        return replace(request, parameters=rest, marker="parameter")
    return request


def marker_problem(request: RunRequest) -> str:
    """Return why a whole request cannot carry the marker it asks for, and what to do; empty where it can."""
    if request.marker == "log-path" and not bare(request.condition.log_path):
        return (
            "the marker log-path is a folder of the log path, and neither the line nor the job has one; "
            "add --log-path PATH, or --marker off"
        )
    clash = {MARKER_PARAMETER, MARKER_PARAMETER[1:]} & request.parameters.keys()
    if request.marker == "parameter" and clash:
        return (
            f"the parameter {clash.pop()} is the name of the marker; rename the parameter, "
            "or choose --marker log-path"
        )
    return ""


def carries_marker(view: RunView, execution: JobExecution) -> bool:
    """Whether a listed run echoes the marker of a start: exactly, as the log path's last folder or as the parameter."""
    marker = marker_of(view.key)
    if view.request.marker == "log-path":
        condition = execution.job_condition
        return condition is not None and _last_folder(condition.log_path) == marker
    if view.request.marker == "parameter":
        listed = execution.parameters
        return marker in (listed.get(MARKER_PARAMETER), listed.get(MARKER_PARAMETER[1:]))
    return False


def _without_marker(path: str) -> str:
    """Return a log path without slashes at its end, and without a last folder that is a marker."""
    path = path.strip().rstrip("/")
    above, _, last = path.rpartition("/")
    # A bucket may have such a name.
    return above.rstrip("/") if bare(above) and _MARKER.fullmatch(last) else path


def _last_folder(path: str | None) -> str:
    return bare(path).rpartition("/")[2]


def is_marked(log_path: str | None) -> bool:
    """Whether a log path ends with a marker, and so has the logs of one run alone."""
    return bool(_MARKER.fullmatch(_last_folder(log_path)))


def bare(path: str | None) -> str:
    """Return a path without its scheme and its outer slashes and blanks."""
    return _SCHEME.sub("", (path or "").strip()).strip("/ ")
