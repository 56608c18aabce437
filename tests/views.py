"""Views of runs in few words: a test names only what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from dataflow_magic.models.request import JobRef, RunRequest
from dataflow_magic.models.view import RunView

__all__ = ["asking", "run_view"]

REQUESTED = {"condition", "parameters", "trigger_id", "workflow_id", "marker"}


def run_view(submitted_at: datetime, *, job_id: str = "job000000001", **fields: Any) -> RunView:
    """Return a run that was sent; each further field is one of the view or of its request."""
    asked = {name: fields.pop(name) for name in REQUESTED & fields.keys()}
    sent = RunView(
        RunRequest(JobRef(job_id, "id"), **asked), "local", "http://127.0.0.1:4242", "", "daily", submitted_at
    )
    return replace(sent, **fields)


def asking(view: RunView, **fields: Any) -> RunView:
    """Return the view with other fields of its request."""
    return replace(view, request=replace(view.request, **fields))
