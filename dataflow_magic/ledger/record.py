"""A run as one flat row of plain values: what the ledger stores and the table of runs shows. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, cast

from dataflow_magic.models.failure import Failure, Place
from dataflow_magic.models.marker import Marker
from dataflow_magic.models.request import JobRef, RunRequest, SweepPlace
from dataflow_magic.models.secret import Parameter, Secret
from dataflow_magic.models.times import Span
from dataflow_magic.models.view import FoundBy, RunView
from dataflow_magic.models.wire import KST, JobCondition, JobExecution, RunState
from dataflow_magic.reasons.advice import advised

__all__ = ["RunRecord", "failure_of", "json_of", "microseconds", "parameters_of", "record_of", "view_of"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CONDITION_COLUMNS = {
    "workers": "numWorker",
    "timeout_minutes": "timeout",
    "worker_type": "workerType",
    "nrn": "nrn",
    "script_path": "scriptPath",
    "log_path": "logPath",
}
"""Column -> field of the job condition, by its name on the wire."""


class RunRecord(NamedTuple):
    """One run, flat.

    Attributes
    ----------
    key
        Short id on this machine, known before the service's id.
    submitted, running, ended
        Microseconds since 1970, UTC. ``running`` is by the service where it says so, else as seen from here. ``ended`` is
        never before ``running``, though the service's end has whole seconds.
    waited, ran, total
        Microseconds; None where unknown. See `dataflow_magic.models.times`.
    timed_by
        Who measured ``ran``, or ``waited`` where that is unknown: ``service``, ``minutes`` or ``here``.
    parameters, more_condition, execution
        JSON objects as on the wire, empty where there is none. ``more_condition`` has the fields of the condition
        without a column; ``execution`` is the newest snapshot. A secret parameter is an object ``{"secret": mark}``.
    phase
        ``sending`` until the start is answered, ``lost`` while it is reconciled, ``started`` once the run's id is
        known, ``settled`` when reconciling ended without one.
    is_live
        1 while the run's state may still change, else 0.
    story
        Why the run's state is unknown, in words.
    kernel
        Id of the process that owns the run.
    marker
        Where the request has the run's key; None in rows of versions that knew no marker.
    found_by
        How the run of a lost start was found; see `FoundBy`.
    keeps_attempts
        1 where the ledger has each attempt of the start, so that a start without one was certainly not sent; 0 for runs
        of older versions, and for runs written anew after the ledger was deleted whose attempts were no longer known.
    error, error_class, own_line
        Why the run did not complete, its class, and a JSON list of the user's own file, line, function and text; None and
        empty where unknown.
    sweep, number
        The key of the run's sweep, and the number of its request there; None for a run of no sweep.
    """

    key: str
    run_id: str | None
    job: str
    status: str
    submitted: int
    running: int | None
    ended: int | None
    waited: int | None
    ran: int | None
    total: int | None
    timed_by: str | None
    workers: int | None
    timeout_minutes: int | None
    error: str | None
    target: str
    job_id: str
    worker_type: str | None
    nrn: str | None
    script_path: str | None
    log_path: str | None
    trigger_id: str | None
    workflow_id: str | None
    parameters: str
    notebook: str | None
    endpoint: str
    more_condition: str
    phase: str
    is_live: int
    story: str
    kernel: str
    execution: str
    marker: str | None = None
    found_by: str = ""
    keeps_attempts: int = 0
    error_class: str | None = None
    own_line: str = ""
    sweep: str | None = None
    number: int | None = None


def record_of(view: RunView, kernel: str = "") -> RunRecord:
    """Return a run as a row."""
    condition = view.request.condition.to_wire()
    asked: dict[str, Any] = {column: condition.pop(name, None) for column, name in CONDITION_COLUMNS.items()}
    asked |= view.request.query
    execution, times = view.execution, view.times
    ended = execution.end_date if execution else None
    if execution and execution.exact_dates:
        ended = execution.exact_dates.ended
    # The service's end has whole seconds, so a short run could end before it began.
    ended = None if ended is None else max(ended, times.running or view.submitted_at)
    measured = times.ran or times.waited
    record = RunRecord(
        key=view.key,
        run_id=view.run_id,
        job=view.job_name,
        status=view.status,
        submitted=microseconds(view.submitted_at),
        running=None if times.running is None else microseconds(times.running),
        ended=None if ended is None else microseconds(ended),
        waited=_length(times.waited),
        ran=_length(times.ran),
        total=_length(times.total),
        timed_by=measured and measured.source,
        error=view.failure.reason if view.failure else None,
        target=view.target,
        job_id=view.job_id,
        **asked,
        parameters=json_of(dict(view.request.parameters)),
        notebook=view.notebook or None,
        endpoint=view.endpoint,
        more_condition=json_of(condition),
        phase=_phase(view),
        is_live=int(not (view.is_final or view.settled)),
        story=view.blind_reason,
        kernel=kernel,
        execution=json_of(view.execution.to_wire()) if view.execution else "",
        marker=view.request.marker,
        found_by=view.found_by,
        error_class=(view.failure and view.failure.error_class) or None,
        own_line=_own_line(view.failure),
        sweep=view.place and view.place.sweep,
        number=view.place and view.place.number,
    )
    # JSON may contain half of a surrogate pair; neither SQLite nor Arrow can store one.
    return RunRecord._make(
        value.encode(errors="replace").decode() if isinstance(value, str) and not value.isascii() else value
        for value in record
    )


def view_of(record: RunRecord) -> RunView:
    """Return the run of a row, as it was known then."""
    return RunView(
        request=_request(record),
        target=record.target,
        endpoint=record.endpoint,
        key=record.key,
        job_name=record.job,
        submitted_at=_moment(record.submitted),
        notebook=record.notebook or "",
        execution=JobExecution.model_validate_json(record.execution) if record.execution else None,
        running_since=None if record.running is None else _moment(record.running),
        blind_reason=record.story,
        is_lost=record.phase == "lost",
        found_by=cast(FoundBy, record.found_by),
        settled=record.status if record.phase == "settled" else "",
        failure=failure_of(record),
        place=None
        if record.sweep is None or record.number is None
        else SweepPlace(record.sweep, record.number),
    )


def parameters_of(text: str) -> dict[str, Parameter]:
    """Return the parameters that a row holds as JSON; empty for none."""
    stored = json.loads(text) if text else {}
    return {
        name: Secret(value["secret"]) if isinstance(value, dict) else value for name, value in stored.items()
    }


def _request(record: RunRecord) -> RunRequest:
    condition = _condition(
        tuple(getattr(record, column) for column in CONDITION_COLUMNS), record.more_condition
    )
    parameters = parameters_of(record.parameters)
    return RunRequest(
        JobRef(record.job_id, "id"),
        condition,
        parameters,
        record.trigger_id,
        record.workflow_id,
        cast(Marker, record.marker or "off"),
    )


@lru_cache(maxsize=256)
def _condition(values: tuple[str | int | None, ...], more: str) -> JobCondition:
    # Cached, so that the thousands of runs of a backfill share one condition.
    named = zip(CONDITION_COLUMNS.values(), values, strict=True)
    fields = {name: value for name, value in named if value is not None}
    return JobCondition.model_validate(fields | (json.loads(more) if more else {}))


def _own_line(failure: Failure | None) -> str:
    place = failure.place if failure else None
    return json.dumps(astuple(place)) if place else ""


def failure_of(record: RunRecord) -> Failure | None:
    """Return why the run of a row did not complete; None where no reason is known."""
    if not record.error:
        return None
    place = Place(*json.loads(record.own_line)) if record.own_line else None
    known = Failure(record.error, error_class=record.error_class or "", place=place)
    return advised(known) if record.status == RunState.FAILED else known


def _phase(view: RunView) -> str:
    if view.execution:
        return "started"
    if view.settled:
        return "settled"
    return "lost" if view.is_lost else "sending"


def json_of(fields: Mapping[str, object]) -> str:
    """Return fields as JSON, a secret as its mark; empty for none."""
    # ASCII, so that half of a surrogate pair survives.
    return json.dumps(fields, separators=(",", ":"), default=_marked) if fields else ""


def _marked(value: object) -> dict[str, str]:
    if not isinstance(value, Secret):
        raise TypeError(f"{type(value).__name__} is no JSON")
    return {"secret": value.mark}


def microseconds(moment: datetime) -> int:
    """Return an aware time as microseconds since 1970, UTC."""
    return (moment - EPOCH) // MICROSECOND


def _length(span: Span | None) -> int | None:
    return span and span.length // MICROSECOND


def _moment(microseconds: int) -> datetime:
    return (EPOCH + microseconds * MICROSECOND).astimezone(KST)
