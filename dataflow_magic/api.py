"""The Python API, and the one session of this process; the only place that knows both the session and the local service."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from dataflow_magic.cell.backfill import grid_rows, make_plan
from dataflow_magic.cell.run import make_request
from dataflow_magic.cell.table import make_listing
from dataflow_magic.config.folders import configure_file
from dataflow_magic.config.settings import Target
from dataflow_magic.config.settings import marker as marker_of_job
from dataflow_magic.errors import CellError, ConfigError
from dataflow_magic.local.launch import attach, default_folder, peek_at
from dataflow_magic.local.objects.paths import find
from dataflow_magic.models.marker import Marker
from dataflow_magic.models.request import RunRequest, SweepRequest
from dataflow_magic.models.view import KST
from dataflow_magic.session.detached import INTERRUPTED_START, detachable, in_one_line
from dataflow_magic.session.handle import Run
from dataflow_magic.session.naming import handle_of
from dataflow_magic.session.service import ServiceAddress
from dataflow_magic.session.session import Session
from dataflow_magic.session.sweep.handle import Sweep

if TYPE_CHECKING:
    import pandas as pd

    from dataflow_magic.client.client import Client
    from dataflow_magic.ledger.frame import RunsFrame
    from dataflow_magic.ledger.record import RunRecord
    from dataflow_magic.ledger.sweeps import SweepSummary
    from dataflow_magic.models.comparison import Comparison

__all__ = ["compare", "connect", "get", "get_session", "local_path", "run", "runs", "start", "sweep"]

START_CONTINUES = "the start continues: %dataflow_runs lists the run if the service received it"

_lock = threading.Lock()
_sessions: dict[int, Session] = {}
"""By process id: threads do not survive a fork, so a child process gets a new session."""


def get_session() -> Session:
    """Return the session of this process, created on first use."""
    with _lock:
        pid = os.getpid()
        if pid not in _sessions:
            _sessions.clear()
            _sessions[pid] = Session(
                os.environ,
                configure_file(),
                _attach,
                find_local=lambda endpoint: peek_at(default_folder(os.environ), endpoint),
            )
        return _sessions[pid]


def close_session() -> None:
    """Stop following runs and release the local service; the runs continue."""
    with _lock:
        session = _sessions.pop(os.getpid(), None)
    if session is not None:
        session.close()


def run(
    job: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    workers: int | None = None,
    timeout: int | None = None,
    worker_type: str | None = None,
    nrn: str | None = None,
    script_path: str | None = None,
    log_path: str | None = None,
    trigger_id: str | None = None,
    workflow_id: str | None = None,
    force: bool = False,
    marker: Marker | None = None,
    target: str | None = None,
    profile: str | None = None,
) -> Run:
    """Start a run, as ``%%dataflow_run`` does, and return it once the service answered. Shows nothing.

    Parameters
    ----------
    job
        A job's name or id; the prefixes ``name:`` and ``id:`` choose one reading.
    parameters
        Name -> value. Names get the ``$`` that the service expects; values become strings by the table at
        `dataflow_magic.cell.values.render`.
    workers
        2 to 10. Each field of the job condition that is None has the value stored in the job.
    timeout
        Minutes, 0 to 1440.
    worker_type, nrn, script_path, log_path
        Further fields of the job condition.
    trigger_id, workflow_id
        Sent in the query.
    force
        Send values outside the documented ranges too.
    marker
        Where to send the run's key, so that the run of a lost response is certainly found: ``log-path`` (a last folder of
        the log path), ``parameter`` (``$dataflow_run``) or ``off``. By default what ``DATAFLOW_MARKER`` says.
    target
        ``cloud``, ``local``, a profile's name or a URL.
    profile
        Profile of ``~/.ncloud/configure``.

    Returns
    -------
    Run
        ``.status`` is its state, ``.result()`` waits for its end, ``.cancel()`` ends it.

    Raises
    ------
    CellError
        A value cannot be sent.
    ConfigError
        No credentials were found, or the local service is not installed.
    RequestRejected, ServiceBroken, Unreachable
        The run was certainly not started.

    Examples
    --------
    >>> runs = [run("daily_delays", {"origin": "JFK", "month": m}) for m in (1, 7)]  # doctest: +SKIP
    >>> [r.result().status for r in runs]  # doctest: +SKIP
    ['COMPLETED', 'COMPLETED']
    """
    session = get_session()
    request, place = request_for(
        session,
        job,
        parameters,
        target=target,
        profile=profile,
        marker=marker,
        workers=workers,
        timeout=timeout,
        worker_type=worker_type,
        nrn=nrn,
        script_path=script_path,
        log_path=log_path,
        trigger_id=trigger_id,
        workflow_id=workflow_id,
        force=force,
    )
    with in_one_line(INTERRUPTED_START):
        return session.start(request, place).handle


async def start(job: str, parameters: Mapping[str, Any] | None = None, **options: Any) -> Run:
    """Start a run as `run` does, without blocking the caller's event loop.

    Parameters
    ----------
    job, parameters, options
        As in `run`.

    Returns
    -------
    Run
        Once the service answered the start.

    Raises
    ------
    Detached, CancelledError
        The user interrupted the cell, or the caller's task was canceled; the start itself continues, and `runs` lists it.
    DataflowError
        As in `run`.

    Examples
    --------
    >>> started = await asyncio.gather(*(start("daily_delays", {"month": m}) for m in (1, 7)))  # doctest: +SKIP
    """
    return await detachable(asyncio.to_thread(run, job, parameters, **options), lambda: START_CONTINUES)


def sweep(
    job: str,
    grid: Mapping[str, Any] | Sequence[Mapping[str, Any]] | pd.DataFrame,
    *,
    max_parallel: int | None = None,
    order: str = "block",
    stop_on_failure: int | None = None,
    retry: int = 0,
    reprocess: str = "all",
    remote: bool = False,
    marker: Marker | None = None,
    target: str | None = None,
    profile: str | None = None,
    **options: Any,
) -> Sweep:
    """Start a run per combination of values, as a cell with ``each`` does, and return the sweep once its first run is answered.

    ``await sweep(...)`` waits for all of them. Shows nothing, and asks nothing of more than 100 runs.

    Parameters
    ----------
    job
        As in `run`.
    grid
        Name -> value, where a list or any other iterable that is no text has one run per item, and several make every
        combination; or a DataFrame or a list of mappings, with one run per row. Values become strings as in `run`; days of a
        pandas index, column or array become ``2026-11-01``.
    max_parallel
        The most runs alive at once; None leaves the limit to the service. `Sweep.max_parallel` changes it.
    order
        ``"block"``, or ``"reverse"`` to start the last first.
    stop_on_failure
        How many runs may fail until no more is started; None starts all.
    retry
        How often a run that FAILED is started again, with growing rests between.
    reprocess
        Of what was run before with the same job, path of the script and parameters: ``"none"`` that completed or is alive is
        started, only what ``"failed"``, or ``"all"``.
    remote
        Whether runs that only the service knows count too for ``reprocess``.
    marker, target, profile, options
        As in `run`.

    Returns
    -------
    Sweep
        With nothing to start it is over at once.

    Raises
    ------
    CellError
        A value cannot be sent, or there are more than 1,000 runs.
    DataflowError
        As `run`, for the first run; then none is started.

    Examples
    --------
    >>> days = pd.date_range("2026-11-01", "2026-11-30")  # doctest: +SKIP
    >>> backfill = sweep("daily_delays", {"run_date": days}, max_parallel=4, retry=1)  # doctest: +SKIP
    """
    plan = make_plan(
        max_parallel=max_parallel,
        order=order,
        stop_on_failure=stop_on_failure,
        retry=retry,
        reprocess=reprocess,
    )
    swept, rows = grid_rows(grid)
    session = get_session()
    request, place = request_for(session, job, {}, target=target, profile=profile, marker=marker, **options)
    requests = tuple(replace(request, parameters=each) for each in rows)
    with in_one_line(INTERRUPTED_START):
        planned, _ = session.planned(SweepRequest(swept, requests, job, plan), place, asks_service=remote)
        return session.sweep(planned, place)


def get(
    name: str | Run | Sweep, *, job: str | None = None, target: str | None = None, profile: str | None = None
) -> Run | Sweep:
    """Return a run or a sweep by its name, also a run of an earlier process; it is watched from now on.

    Parameters
    ----------
    name
        An id or a key, a beginning of one that no other has, ``@last``, or the handle itself. A run that only the service
        knows is found by its whole id.
    job
        The job of a run that only the service knows; without it, the target's jobs are asked one after another.
    target, profile
        Where to look for such a run, as in `run`.

    Raises
    ------
    NoSuchRun
        No run has the name; the message has the nearest names.
    NotFound
        The service has no such run.
    ConfigError
        The run's target cannot be reached from here.

    Examples
    --------
    >>> get("@last").result().status  # doctest: +SKIP
    'COMPLETED'
    """
    session = get_session()
    with in_one_line("interrupted; nothing was changed"):
        found = session.get(name, target=lambda: session.target(target, profile), job=job)
    return handle_of(found)


def compare(first: str | Run, second: str | Run) -> pd.DataFrame:
    """Return what differs between two runs: parameters, condition, script, how they ended, times, and stages.

    Parameters
    ----------
    first, second
        As in `get`, of this machine.

    Returns
    -------
    DataFrame
        One row per fact, those that differ first; see `dataflow_magic.ledger.frame.comparison_frame`. A notebook and a
        terminal show what differs.

    Raises
    ------
    NoSuchRun
        No run has a name; the message has the nearest names.
    CellError
        A name means a sweep, or both mean the same run.

    Examples
    --------
    >>> compare("lE9fjUqW2ICe", "@last")  # doctest: +SKIP
    """
    with in_one_line("interrupted; nothing was changed"):
        return comparison_table(get_session().compare([first, second]))


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """Return a comparison as a table that is shown in few readable columns."""
    # Imported late: pandas takes longer to import than all the rest.
    from dataflow_magic.card.comparison import to_html, to_text
    from dataflow_magic.ledger.frame import comparison_frame

    return comparison_frame(comparison, (to_html, to_text))


def request_for(
    session: Session,
    job: str,
    parameters: Mapping[str, Any] | None,
    *,
    target: str | None,
    profile: str | None,
    marker: Marker | None,
    **options: Any,
) -> tuple[RunRequest, Target]:
    """Return what `run` sends, and where; raises as `run`, and sends nothing."""
    request = make_request(job, parameters, marker=marker or "off", **options)
    place = session.target(target, profile)
    by_default = marker_of_job("", session.environment, job=request.job.text, target=place.name)
    return replace(request, marker=marker or by_default), place


def connect(target: str | None = None, profile: str | None = None) -> Client:
    """Return a client of a target's API, with the target's keys; a local service is started if necessary.

    Parameters
    ----------
    target, profile
        As in `run`.

    Returns
    -------
    Client
        For ``async with``, on the caller's event loop.

    Examples
    --------
    >>> async with connect() as client:  # doctest: +SKIP
    ...     job = await client.create_job("my_job", condition=JobCondition(nrn=..., script_path=..., log_path=...))
    """
    session = get_session()
    return session.new_client(session.target(target, profile))


def runs(
    *,
    all: bool = False,  # noqa: A002 - the magic's word
    job: str | None = None,
    status: str | Iterable[str] | None = None,
    since: str | datetime | timedelta | None = None,
    remote: str | None = None,
    target: str | None = None,
    limit: int | None = None,
) -> RunsFrame:
    """Return runs as a DataFrame, newest first, as ``%dataflow_runs`` does: by default those of this process.

    Parameters
    ----------
    all
        Every run of this machine, from its ledger.
    job
        Only runs of this job, by its name or id.
    status
        Only runs in this state, or in one of these.
    since
        Only runs submitted since then: ``"7d"``, ``"2026-11-01"`` (Korean time), a moment, or a time span before now.
    remote
        Every run of this job that the service lists, at ``target`` as in `run`.
    limit
        Only the newest, so many.

    Returns
    -------
    RunsFrame
        A DataFrame with one row per run and the columns of `dataflow_magic.ledger.frame.records_frame`; its
        ``convert_parameters()`` makes numbers, booleans and days of parameters. A notebook and a terminal show it
        in few readable columns.

    Raises
    ------
    CellError
        A value selects nothing sensible.
    """
    listing = make_listing(
        datetime.now(KST), everywhere=all, job=job, status=status, since=since, remote=remote, limit=limit
    )
    session = get_session()
    return runs_table(listing.of(session.select(listing, session.target(target) if remote else None)))


def runs_table(records: Sequence[RunRecord]) -> RunsFrame:
    """Return records as a table that is shown in few readable columns."""
    # Imported late: pandas takes longer to import than all the rest.
    from dataflow_magic.card.table import to_html, to_text
    from dataflow_magic.ledger.frame import records_frame

    return records_frame(records, (to_html, to_text))


def sweeps() -> pd.DataFrame:
    """Return the sweeps of this machine as a DataFrame, newest first, as ``%dataflow_sweeps`` does.

    Returns
    -------
    DataFrame
        One row per sweep of the ledger, with the columns of `dataflow_magic.ledger.frame.sweeps_frame`. A notebook and a
        terminal show it in readable columns.
    """
    return sweeps_table(get_session().sweeps())


def sweeps_table(sweeps: Sequence[SweepSummary]) -> pd.DataFrame:
    """Return rows of sweeps as a table that is shown in readable columns."""
    from dataflow_magic.card.sweeps import to_html, to_text
    from dataflow_magic.ledger.frame import sweeps_frame

    return sweeps_frame(sweeps, (to_html, to_text))


def local_path(path: str | os.PathLike[str]) -> Path:
    """Return the file of an object of the local service in the default data folder.

    Parameters
    ----------
    path
        ``s3a://bucket/key`` or ``bucket/key``; the object need not exist.

    Raises
    ------
    CellError
        The path is not below the folder of objects.

    Examples
    --------
    >>> local_path("s3a://dataflow-sample/results").name
    'results'
    """
    try:
        return find(default_folder(os.environ).objects, os.fspath(path))
    except ConfigError as error:
        raise CellError(str(error)) from None


def _attach() -> ServiceAddress:
    folder = default_folder(os.environ)
    found, hold = attach(folder)
    return ServiceAddress(found.endpoint, found.access_key, SecretStr(found.secret_key), folder.objects, hold)
