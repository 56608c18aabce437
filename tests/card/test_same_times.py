"""The times of a run are the same wherever a person reads them: drawn runs, with and without what services leave out."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dataflow_magic.card import table
from dataflow_magic.card.run.html import line_html, to_html, to_text
from dataflow_magic.card.run.state import card_state
from dataflow_magic.cli.shapes import row_of, run_shape
from dataflow_magic.config.settings import Target
from dataflow_magic.ledger.frame import runs_frame
from dataflow_magic.ledger.record import record_of, view_of
from dataflow_magic.models.view import KST, RunView
from dataflow_magic.models.wire import Job, JobExecution
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.session import _view_of_listed, _with_news
from tests.views import run_view

NOON = datetime(2026, 11, 1, 12, tzinfo=KST)
LATER = NOON + timedelta(days=3)
TARGET = Target("local", "local", "http://127.0.0.1:4242", "key", SecretStr("s"), "chosen")
NAMES = ("waited", "ran", "total")
FINAL = {"COMPLETED", "FAILED", "CANCELED"}

seconds = st.integers(0, 9_000)
parts = st.integers(0, 999_999)
minutes = st.none() | st.integers(0, 150)


@st.composite
def runs(draw: st.DrawFn) -> RunView:
    """Draw a run of the cloud or of a service with exact dates, in any state, seen RUNNING from here or not."""
    status = draw(st.sampled_from(["READY", "RUNNING", "SUSPENDED", *sorted(FINAL)]))
    fields: dict[str, Any] = {"status": status, "jobExecutionId": "run000000001", "jobId": "job000000001"}
    created = NOON + timedelta(seconds=draw(st.integers(-5, 5)))
    running = created + timedelta(seconds=draw(seconds), microseconds=draw(parts))
    ended = running + timedelta(seconds=draw(seconds), microseconds=draw(parts))
    has_run = status in {"RUNNING", "SUSPENDED"} or (status in FINAL and draw(st.booleans()))
    if draw(st.booleans()):
        fields["createdDate"] = created.replace(microsecond=0).isoformat()
    if status in FINAL and draw(st.booleans()):
        fields["endDate"] = ended.replace(microsecond=0).isoformat()
    fields |= {"waitingTime": draw(minutes), "runningTime": draw(minutes)}
    if draw(st.booleans()):
        dates = {"created": created, "running": running if has_run else None, "ended": ended}
        fields["exactDates"] = {
            name: date.isoformat() for name, date in dates.items() if date and draw(st.booleans())
        } | {"created": created.isoformat()}
    seen = running if has_run and draw(st.booleans()) else None
    return run_view(
        NOON, execution=JobExecution.model_validate(fields), running_since=seen, job_id="job000000001"
    )


def numbers(view: RunView) -> dict[str, Any]:
    found = {name: getattr(view.times, name) for name in NAMES}
    return {name: span and span.length for name, span in found.items()}


@given(runs())
def test_python_the_table_the_json_and_the_ledger_have_the_same_numbers(view):
    run = LiveRun(view, cast(Any, None), cast(Any, None)).handle
    record = record_of(view)
    frame = runs_frame([view])
    shape = run_shape(record)

    for name, length in numbers(view).items():
        assert getattr(run, name) == length
        assert frame[name].isna()[0] == (length is None)
        assert length is None or frame[name][0] == pd.Timedelta(length)
        assert shape[name] == (None if length is None else length.total_seconds())
    assert numbers(view_of(record)) == numbers(view)


@given(runs())
def test_the_list_of_the_service_does_not_change_what_is_known(view):
    execution = view.execution
    assert execution is not None
    job = Job.model_validate({"jobId": "job000000001", "name": "daily"})
    listed = _view_of_listed(TARGET, view.endpoint, job, execution, {})

    assert numbers(_with_news(view_of(record_of(view)), listed)) == numbers(view)


@given(runs())
def test_a_time_that_nobody_measured_is_invented_nowhere(view):
    listed = replace(view, running_since=None)
    execution = view.execution
    assert execution is not None
    if execution.exact_dates is None and not execution.waiting_time and not execution.running_time:
        assert (listed.times.waited, listed.times.ran) == (None, None)
    if not execution.is_final:
        assert (view.times.ran, view.times.total) == (None, None)
    for span in (view.times.waited, view.times.ran, view.times.total):
        assert span is None or span.length >= timedelta()


@given(runs())
def test_the_card_and_the_table_say_the_same_words(view):
    state = card_state(view, LATER)
    line = table._line(row_of(record_of(view)), LATER)
    page, text = to_html(state), to_text(state)
    shown = (page, text) if state.is_final else (line_html(state, live=True),)

    # A whole minute is a length to the minute or to the second.
    waited = state.waited.removeprefix("waited ").removesuffix(" 00 s")
    assert line.waited.removesuffix(" 00 s") == waited
    for each in shown:
        assert (state.waited in each) if state.waited else not re.search(r"waited \d", each)
    if view.times.ran:
        assert f"ran {line.ran.removesuffix(' 00 s')}" in text
        assert f"ran {line.ran.removesuffix(' 00 s')}" in page
    else:
        assert not re.search(r"\bran \d", text)
