"""Looks for runs whose answer was lost, until each is found or certainly was not started. Runs on the loop.

Which of a job's runs is whose is `reconcile`'s; this module asks, waits and tells the story.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from dataflow_magic import errors
from dataflow_magic.client import Client
from dataflow_magic.connection import Connection
from dataflow_magic.handle import Run
from dataflow_magic.ledger import Ledger
from dataflow_magic.models import KST, JobExecution
from dataflow_magic.reconcile import Match, candidates, expires_at, match
from dataflow_magic.record import RunRecord, view_of
from dataflow_magic.view import NOT_STARTED, UNCLEAR, RunView
from dataflow_magic.watch import Pace, next_delay

__all__ = ["LOOK_PACE", "LOST", "search", "start_of"]

LOOK_PACE = Pace(1.0, 15.0, 0.1)
MOST_PAGES = 100
"""Of a job's runs per look: a hundred thousand."""
MOST_REFUSALS = 20
LOST = "the answer to its start was lost"


async def search(
    run: Run,
    connection: Connection,
    ledger: Ledger,
    *,
    now: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    seek: Callable[[], None],
    jitter: Callable[[], float] = random.random,
) -> JobExecution | None:
    """Look for a run until it is found; None where the run was told of the end of it, or learned its id otherwise.

    Parameters
    ----------
    now
        Seconds since the epoch on this machine.
    seek
        Has a service that gives no answer looked for, and keys that are refused read anew.
    """
    began, misses, refusals = now(), 0, 0
    delay = next_delay(LOOK_PACE, 0.0, 0, None, jitter())
    while not run.is_over:
        await sleep(delay)
        if run.view.execution:
            return None
        retry_after = None
        try:
            found = await _look(run, connection.client, ledger, now)
        except errors.DataflowError as error:
            misses += 1
            refusals += isinstance(error, errors.RequestRejected) and not _may_be_mended(error)
            retry_after = getattr(error, "retry_after", None)
            run.blind(f"{LOST}, and looking for it failed: {error}")
            seek()
            if refusals >= MOST_REFUSALS:
                # Not settled: the next kernel looks again.
                run.give_up(errors.OutcomeUnknown(run.view.blind_reason))
        else:
            misses = refusals = 0
            if found is not None:
                return found
        delay = next_delay(LOOK_PACE, now() - began, misses, retry_after, jitter())
    return None


def start_of(ledger: Ledger, execution: JobExecution, view: RunView) -> RunRecord | None:
    """Return the start whose answer was lost that somebody named a run for, after it was written down as that one's.

    None where no such start of the run's job can be meant, or where several are that asked for different things.
    """
    standing = ledger.standing("", view.job_id, [execution.job_execution_id])
    if standing.owned or standing.is_in_flight:
        return None
    meant = [record for record in standing.lost if candidates(view_of(record), [execution], ())]
    if not meant or len({(record.parameters, record.more_condition) for record in meant}) > 1:
        return None
    record = min(meant, key=lambda each: (each.submitted, each.key))
    return record if ledger.adopt(replace(view_of(record), execution=execution)) else None


async def _look(run: Run, client: Client, ledger: Ledger, now: Callable[[], float]) -> JobExecution | None:
    """Look once; the run is told what is known now, and its end where there is nothing more to look for."""
    view = run.view
    own = await asyncio.to_thread(ledger.look_after, view.key)
    if own is not None and own.run_id:
        return view_of(own).execution
    if own is not None and own.phase == "settled":
        run.give_up(errors.OutcomeUnknown(own.story), own.status)
        return None
    if own is not None and own.kernel != ledger.kernel:
        # One kernel looks for a run; this one looks on.
        run.blind(own.story or LOST)
        return None
    begun = now()
    listed, is_whole = await _list(client, view.job_id)
    offset = timedelta(seconds=client.clock_offset)
    offsets = timedelta(0), offset
    ids = [each.job_execution_id for each in candidates(view, listed, (), offsets)]
    # After the list was read: what others have started by now is told as theirs.
    standing = await asyncio.to_thread(ledger.standing, view.key, view.job_id, ids)
    expires = expires_at(view, offset)
    # What its whole list does not show at this time is not there and will not be.
    is_late = client.service_time(begun) >= expires.timestamp() and not standing.is_in_flight
    lost = [view_of(record) for record in standing.lost]
    matched = match(view, lost, listed, standing.owned, offsets, is_late=is_late)
    if matched.found and not standing.is_in_flight:
        if await asyncio.to_thread(ledger.adopt, replace(view, execution=matched.found)):
            return matched.found
        return None  # another kernel was quicker: it has that run, or this one is settled there
    if standing.is_in_flight:
        run.blind(f"{LOST}, and what is seen may be another start's, which awaits its answer")
    elif not is_late or matched.may_clear_up:
        run.blind(_story(matched, expires, is_late=is_late))
    elif matched.others:
        run.give_up(
            errors.OutcomeUnknown(
                f"{LOST}, and {_count(matched.others)} may be it: {_ids(matched)}; %dataflow_attach ID takes that one for it"
            ),
            UNCLEAR,
        )
    elif is_whole:
        run.give_up(
            errors.OutcomeUnknown(
                f"{LOST}, and no such run is to be seen: it was not started; "
                f"%dataflow_run --again {run.key} starts it again"
            ),
            NOT_STARTED,
        )
    else:
        run.give_up(
            errors.OutcomeUnknown(
                f"{LOST}, and it is not among the job's first {len(listed)} runs; whether it is among the others "
                "cannot be told; %dataflow_attach ID takes a run for it"
            ),
            UNCLEAR,
        )
    return None


async def _list(client: Client, job_id: str) -> tuple[list[JobExecution], bool]:
    """Return the runs of a job, and whether those are all there are."""
    listed: list[JobExecution] = []
    pages = 0
    async for page in client.pages(job_id, most=MOST_PAGES):
        listed += page.items
        pages += 1
    return listed, pages < MOST_PAGES


def _story(matched: Match, expires: datetime, *, is_late: bool) -> str:
    if not matched.others:
        return (
            f"{LOST}, and no such run is to be seen yet; if none is by {expires.astimezone(KST):%H:%M:%S} KST, "
            "it was not started"
        )
    more = "which is looked at until that is clear" if is_late else "which will be clear soon"
    return f"{LOST}, and {_count(matched.others)} may be it: {_ids(matched)}; {more}"


def _ids(matched: Match) -> str:
    return ", ".join(each.job_execution_id for each in matched.others)


def _count(runs: tuple[JobExecution, ...]) -> str:
    return "a run" if len(runs) == 1 else f"{len(runs)} runs"


def _may_be_mended(error: errors.RequestRejected) -> bool:
    """Whether other keys, rights or patience may change the answer."""
    return isinstance(error, errors.NotSignedIn | errors.NotAllowed | errors.TooManyRequests)
