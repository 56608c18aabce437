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
from dataflow_magic.client.client import Client
from dataflow_magic.ledger.ledger import Ledger
from dataflow_magic.ledger.record import RunRecord, view_of
from dataflow_magic.models.view import NOT_STARTED, UNCLEAR, RunView
from dataflow_magic.models.wire import KST, JobExecution
from dataflow_magic.session.connection import Connection
from dataflow_magic.session.matching import Match, candidates, expires_at, match
from dataflow_magic.session.run import Run
from dataflow_magic.session.watch import Pace, next_delay

__all__ = ["LOOK_PACE", "LOST", "search", "start_of"]

LOOK_PACE = Pace(1.0, 15.0, 0.1)
MOST_PAGES = 100
"""Of a job's runs per look: a hundred thousand."""
MOST_REFUSALS = 20
LATE_LOOKS = 2
ATTACH = "%dataflow_attach ID takes that run for it"
LOST = "the answer to its start was lost"


async def search(
    run: Run,
    connection: Connection,
    ledger: Ledger,
    *,
    signed_ahead: float | None,
    now: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    seek: Callable[[], None],
    jitter: Callable[[], float] = random.random,
) -> JobExecution | None:
    """Look for a run until it is found; None where the run was told of the end of it, or learned its id otherwise.

    Parameters
    ----------
    signed_ahead
        Seconds that the time its start was signed with was ahead of this machine's; None where another kernel did.
    now
        Seconds since the epoch on this machine.
    seek
        Has a service that gives no answer looked for, and keys that are refused read anew.
    """
    return await _Search(run, connection, ledger, signed_ahead, now, seek).until_settled(sleep, jitter)


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


class _Search:
    """One run that is looked for."""

    def __init__(
        self,
        run: Run,
        connection: Connection,
        ledger: Ledger,
        signed_ahead: float | None,
        now: Callable[[], float],
        seek: Callable[[], None],
    ) -> None:
        self._run = run
        self._connection = connection
        self._ledger = ledger
        self._now = now
        self._seek = seek
        self._refusals = 0
        self._late_looks = 0
        view = run.view
        self._expires = view.submitted_at
        if signed_ahead is not None:
            self._expires = expires_at(view, timedelta(seconds=signed_ahead))

    async def until_settled(
        self, sleep: Callable[[float], Awaitable[None]], jitter: Callable[[], float]
    ) -> JobExecution | None:
        run, began, misses, retry_after = self._run, self._now(), 0, None
        while not run.is_over:
            await sleep(next_delay(LOOK_PACE, self._now() - began, misses, retry_after, jitter()))
            if run.view.execution:
                return None
            retry_after = None
            try:
                found = await self._look(self._connection.client)
            except errors.DataflowError as error:
                misses += 1
                retry_after = getattr(error, "retry_after", None)
                self._miss(error)
            else:
                misses = self._refusals = 0
                if found is not None:
                    return found
        return None

    def _miss(self, error: errors.DataflowError) -> None:
        self._run.blind(f"{LOST}, and looking for it failed: {error}")
        self._seek()
        self._refusals += isinstance(error, errors.RequestRejected) and not _may_be_mended(error)
        if self._refusals >= MOST_REFUSALS:
            # Not settled: the next kernel looks again.
            self._run.give_up(errors.OutcomeUnknown(self._run.view.blind_reason))

    async def _look(self, client: Client) -> JobExecution | None:
        """Look once; the run is told what is known now, and its end where there is nothing more to look for."""
        view, ledger = self._run.view, self._ledger
        own = await asyncio.to_thread(ledger.look_after, view.key)
        if own is not None and own.run_id:
            return view_of(own).execution
        if own is not None and own.phase == "settled":
            self._run.give_up(errors.OutcomeUnknown(own.story), own.status)
            return None
        if own is not None and own.kernel != ledger.kernel:
            # One kernel looks for a run; this one looks on.
            self._run.blind(own.story or LOST)
            return None
        begun = self._now()
        listed, is_whole = await _list(client, view.job_id)
        offset = timedelta(seconds=client.clock_offset)
        offsets = timedelta(0), offset
        self._expires = max(self._expires, expires_at(view, offset))
        ids = [each.job_execution_id for each in candidates(view, listed, (), offsets)]
        # After the list was read: what others have started by now is told as theirs.
        standing = await asyncio.to_thread(ledger.standing, view.key, view.job_id, ids)
        if standing.is_in_flight:
            self._run.blind(f"{LOST}, and what is seen may be another start's, which awaits its answer")
            return None
        is_late = client.service_time(begun) >= self._expires.timestamp()
        lost = [view_of(record) for record in standing.lost]
        matched = match(view, lost, listed, standing.owned, offsets, is_late=is_late)
        if matched.found is None:
            self._tell(matched, len(listed), is_late=is_late, is_whole=is_whole)
        elif await asyncio.to_thread(ledger.adopt, replace(view, execution=matched.found)):
            return matched.found
        # Else another kernel was quicker: it has that run, or this one is settled there.
        return None

    def _tell(self, matched: Match, listed: int, *, is_late: bool, is_whole: bool) -> None:
        # What two whole lists of this time do not show is not there and will not be; in one it may move from a page to
        # another while they are read.
        self._late_looks += is_late
        if self._late_looks < LATE_LOOKS or matched.may_clear_up:
            self._run.blind(_story(matched, self._expires, is_late=is_late))
            return
        if matched.others:
            settled, words = UNCLEAR, f"{_count(matched)} may be it: {_ids(matched)}; {ATTACH}"
        elif is_whole:
            settled = NOT_STARTED
            words = (
                "no such run is to be seen: it was not started; "
                f"%dataflow_run --again {self._run.key} starts it again"
            )
        else:
            settled = UNCLEAR
            words = f"it is not among the job's first {listed} runs, which is all that is looked through; {ATTACH}"
        self._run.give_up(errors.OutcomeUnknown(f"{LOST}, and {words}"), settled)


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
        return f"{LOST}; if no run shows by {expires.astimezone(KST):%H:%M:%S} KST, it was not started"
    more = "looked at until that is clear" if is_late else "soon to be clear"
    return f"{LOST}; {_count(matched)} may be it, {more}: {_ids(matched)}"


def _ids(matched: Match) -> str:
    return ", ".join(each.job_execution_id for each in matched.others)


def _count(matched: Match) -> str:
    return "a run" if len(matched.others) == 1 else f"{len(matched.others)} runs"


def _may_be_mended(error: errors.RequestRejected) -> bool:
    """Whether other keys, rights or patience may change the answer."""
    return isinstance(error, errors.NotSignedIn | errors.NotAllowed | errors.TooManyRequests)
