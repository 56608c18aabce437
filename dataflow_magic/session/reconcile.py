"""Reconciles starts whose response was lost: looks through the job's runs until each is found or certainly not started.

Reads the list and the ledger, waits, and reports to the run; `matching` decides which run is whose. On the loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dataflow_magic import errors
from dataflow_magic.client.client import Client
from dataflow_magic.ledger.ledger import Ledger
from dataflow_magic.ledger.record import RunRecord, view_of
from dataflow_magic.models.view import NOT_STARTED, UNCLEAR, RunView
from dataflow_magic.models.wire import KST, JobExecution
from dataflow_magic.session.matching import Match, candidates, expires_at, match
from dataflow_magic.session.run import Run
from dataflow_magic.session.service import Service
from dataflow_magic.session.watch import Pace, next_delay

__all__ = ["LOOK_PACE", "LOST", "adopt_named", "reconcile"]

LOOK_PACE = Pace(1.0, 15.0, 0.1)
PAGES_PER_LOOK = 100
"""Of a job's runs: a hundred thousand."""
MOST_REFUSALS = 20
"""Looks in a row that the service refuses before this kernel stops looking."""
LATE_LOOKS = 2
"""Whole lists, read after the start expired, that must not show the run before it counts as not started."""
LOST = "the answer to its start was lost"
ATTACH = "%dataflow_attach ID takes that run for it"


async def reconcile(
    run: Run,
    service: Service,
    ledger: Ledger,
    *,
    signed_ahead: float | None,
    now: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    jitter: Callable[[], float] = random.random,
) -> JobExecution | None:
    """Look for the run of a lost start until it is found; None where the run gave up, or learned its id otherwise.

    Parameters
    ----------
    signed_ahead
        Seconds by which the time that signed the start was ahead of this machine's clock; None where another kernel
        sent the start.
    now
        This machine's clock, in seconds since the epoch.
    """
    look = _Look(run, service, ledger, signed_ahead, now)
    began, misses, retry_after = now(), 0, None
    while not run.is_over:
        await sleep(next_delay(LOOK_PACE, now() - began, misses, retry_after, jitter()))
        if run.view.execution:
            return None
        retry_after = None
        try:
            found = await look.once()
        except errors.DataflowError as error:
            misses += 1
            retry_after = getattr(error, "retry_after", None)
            look.failed(error)
        else:
            misses = look.refusals = 0
            if found is not None:
                return found
    return None


def adopt_named(ledger: Ledger, execution: JobExecution, view: RunView) -> RunRecord | None:
    """Adopt a run that the user named as the outcome of a matching lost start, and return the start.

    None where no lost start of the job matches, or several do that differ in what they asked for.
    """
    standing = ledger.standing("", view.job_id, [execution.job_execution_id])
    if standing.owned or standing.is_in_flight:
        return None
    matching = [record for record in standing.lost if candidates(view_of(record), [execution], ())]
    if not matching or len({(record.parameters, record.more_condition) for record in matching}) > 1:
        return None
    oldest = min(matching, key=lambda record: (record.submitted, record.key))
    return oldest if ledger.adopt(replace(view_of(oldest), execution=execution)) else None


@dataclass(frozen=True, slots=True)
class _Listed:
    """A job's runs as one look read them."""

    runs: list[JobExecution]
    is_whole: bool
    is_late: bool
    """Whether the reading began after the service stopped accepting the start."""
    offsets: tuple[timedelta, timedelta]
    """By how much the service's clock may be ahead of this machine's."""


class _Look:
    """The looks for one run."""

    def __init__(
        self,
        run: Run,
        service: Service,
        ledger: Ledger,
        signed_ahead: float | None,
        now: Callable[[], float],
    ) -> None:
        self._run = run
        self._service = service
        self._ledger = ledger
        self._now = now
        self.refusals = 0
        self._late_looks = 0
        self._expires = run.view.submitted_at
        if signed_ahead is not None:
            self._expires = expires_at(run.view, timedelta(seconds=signed_ahead))

    async def once(self) -> JobExecution | None:
        """Look once, and return the run where it is found; report to the handle what is known otherwise."""
        row = await asyncio.to_thread(self._ledger.look_after, self._run.key)
        if row is not None and row.run_id:
            return view_of(row).execution
        if row is not None and not self._is_ours(row):
            return None
        listed = await self._list(self._service.client)
        matched = await self._match(listed)
        if matched is None:
            self._run.blind(f"{LOST}, and what is seen may be another start's, which awaits its answer")
        elif matched.found is None:
            self._report(matched, listed)
        elif await asyncio.to_thread(self._ledger.adopt, replace(self._run.view, execution=matched.found)):
            return matched.found
        # Otherwise another kernel was quicker: it adopted that run, or settled this one.
        return None

    def failed(self, error: errors.DataflowError) -> None:
        """Report a look that failed; the run gives up after too many refusals that no other key can change."""
        self._run.blind(f"{LOST}, and looking for it failed: {error}")
        self._service.refresh()
        self.refusals += isinstance(error, errors.RequestRejected) and not _may_change(error)
        if self.refusals >= MOST_REFUSALS:
            # Not settled: the next kernel looks again.
            self._run.give_up(errors.OutcomeUnknown(self._run.view.blind_reason))

    def _is_ours(self, row: RunRecord) -> bool:
        """Whether this kernel looks for the run; reports to the handle what another kernel found."""
        if row.phase == "settled":
            self._run.give_up(errors.OutcomeUnknown(row.story), row.status)
            return False
        if row.kernel != self._ledger.kernel:
            self._run.blind(row.story or LOST)
            return False
        return True

    async def _list(self, client: Client) -> _Listed:
        begun = self._now()
        runs: list[JobExecution] = []
        pages = 0
        async for page in client.pages(self._run.view.job_id, most=PAGES_PER_LOOK):
            runs += page.items
            pages += 1
        offset = timedelta(seconds=client.clock_offset)
        self._expires = max(self._expires, expires_at(self._run.view, offset))
        is_late = client.service_time(begun) >= self._expires.timestamp()
        return _Listed(runs, pages < PAGES_PER_LOOK, is_late, (timedelta(0), offset))

    async def _match(self, listed: _Listed) -> Match | None:
        """Return which run of the list is the start's; None while another start of the job awaits its answer."""
        view = self._run.view
        ids = [each.job_execution_id for each in candidates(view, listed.runs, (), listed.offsets)]
        # After the list was read, so that runs which others started meanwhile count as theirs.
        standing = await asyncio.to_thread(self._ledger.standing, view.key, view.job_id, ids)
        if standing.is_in_flight:
            return None
        lost = [view_of(record) for record in standing.lost]
        return match(view, lost, listed.runs, standing.owned, listed.offsets, is_late=listed.is_late)

    def _report(self, matched: Match, listed: _Listed) -> None:
        # A run that two whole late lists do not show was not started; one list may miss a run that moves between two
        # pages while they are read.
        self._late_looks += listed.is_late
        if self._late_looks < LATE_LOOKS or matched.may_clear_up:
            self._run.blind(_story(matched, self._expires, is_late=listed.is_late))
            return
        if matched.others:
            settled, words = UNCLEAR, f"{_count(matched)} may be it: {_ids(matched)}; {ATTACH}"
        elif listed.is_whole:
            settled = NOT_STARTED
            words = (
                "the job's list has no such run: it was not started; "
                f"%dataflow_run --again {self._run.key} starts it again"
            )
        else:
            settled = UNCLEAR
            words = (
                f"it is not among the job's first {len(listed.runs)} runs, the most that are read; {ATTACH}"
            )
        self._run.give_up(errors.OutcomeUnknown(f"{LOST}, and {words}"), settled)


def _story(matched: Match, expires: datetime, *, is_late: bool) -> str:
    if not matched.others:
        return f"{LOST}; if no run shows by {expires.astimezone(KST):%H:%M:%S} KST, it was not started"
    more = "looked at until that is clear" if is_late else "soon to be clear"
    return f"{LOST}; {_count(matched)} may be it, {more}: {_ids(matched)}"


def _ids(matched: Match) -> str:
    return ", ".join(each.job_execution_id for each in matched.others)


def _count(matched: Match) -> str:
    return "a run" if len(matched.others) == 1 else f"{len(matched.others)} runs"


def _may_change(error: errors.RequestRejected) -> bool:
    """Whether other keys, other rights or patience may change the answer."""
    return isinstance(error, errors.NotSignedIn | errors.NotAllowed | errors.TooManyRequests)
