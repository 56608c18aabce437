"""Reconciles starts whose response was lost: looks through the job's runs until each is found or further looks cannot change the result.

Reads the list and the ledger, waits, and reports to the run; `matching` decides which run is whose. On the loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dataflow_magic import errors
from dataflow_magic.client.client import Client
from dataflow_magic.client.pages import Listing
from dataflow_magic.ledger.ledger import Ledger, Standing
from dataflow_magic.ledger.record import RunRecord, view_of
from dataflow_magic.models.view import NOT_STARTED, UNCLEAR, FoundBy, RunView
from dataflow_magic.models.wire import KST, JobExecution
from dataflow_magic.session.matching import Evidence, Match, Start, closes_at, judge, match, reaches_back_to
from dataflow_magic.session.run import LiveRun
from dataflow_magic.session.service import Service
from dataflow_magic.session.watch import Pace, held_words, next_delay

__all__ = ["LOOK_PACE", "LOST", "PAGES_PER_LOOK", "Found", "Look", "adopt_named", "reconcile", "review"]

LOOK_PACE = Pace(1.0, 30.0, 0.1)
PAGES_PER_LOOK = 100
"""Of a job's runs: a hundred thousand, where the service returns pages as large as asked for."""
MOST_REFUSALS = 20
"""Looks in a row that the service refuses before the outcome counts as unclear: some eight minutes."""
LATE_LOOKS = 2
"""Whole lists, read after no run of the start can be created any more, before they decide: one list may miss a run that moves
between two pages while they are read, or that the service lists late."""
PARTIAL_LOOKS = 20
"""Lists that are not provably whole, read as late, before the outcome counts as unclear: some five minutes."""
REVIEWS = (60.0, 120.0, 240.0, 480.0, 900.0, 1800.0)
"""Seconds between the looks after a search ended without a run: an hour in all, for services that list runs late."""
MOST_UNANSWERED = 48
"""Such looks that the service may leave unanswered, half an hour apart where the user does not act on it: a day."""
LOST = "the answer to its start was lost"
ATTACH = "%dataflow_attach ID takes that run for it"


Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Found:
    """The run of a lost start, which the ledger has as such, and how it was found."""

    execution: JobExecution
    found_by: FoundBy


async def reconcile(
    look: Look,
    *,
    now: Callable[[], float],
    sleep: Sleep,
    jitter: Callable[[], float] = random.random,
) -> Found | None:
    """Look for the run of a lost start until it is found; None where the run gave up, or learned its id otherwise.

    Parameters
    ----------
    now
        This machine's clock, in seconds since the epoch.
    """
    run = look.run
    began, misses, words = now(), 0, ""
    retry_after: float | None = None
    while not run.is_over:
        delay = next_delay(LOOK_PACE, now() - began, misses, retry_after, jitter())
        await (sleep(delay) if retry_after is None else look.hold(delay, words, sleep))
        if run.view.execution:
            return None
        retry_after = None
        try:
            found = await look.once()
        except errors.DataflowError as error:
            misses += 1
            retry_after = getattr(error, "retry_after", None)
            words = ""
            if retry_after is not None and retry_after > LOOK_PACE.last:
                words = held_words(error, retry_after, datetime.fromtimestamp(now(), KST))
            look.failed(error, words)
        else:
            misses = look.refusals = 0
            if found is not None:
                return found
    return None


async def review(look: Look, *, sleep: Sleep, at_once: bool = False) -> Found | None:
    """Look on, ever more rarely, for the run of a start that was given up; None where it did not show within an hour.

    A look that the service does not answer is repeated as soon as it answers the user, or half an hour later.
    """
    unanswered = 0
    for seconds in (0.0, *REVIEWS) if at_once else REVIEWS:
        await sleep(seconds)
        while unanswered < MOST_UNANSWERED:
            if look.run.view.execution:
                return None
            try:
                found = await look.again()
            except errors.DataflowError:  # the verdict stays as it is
                unanswered += 1
                await look.hold(REVIEWS[-1], "", sleep)
                continue
            if found is not None:
                return found
            break
    return None


def adopt_named(ledger: Ledger, execution: JobExecution, view: RunView) -> RunView | None:
    """Adopt a run that the user named as the outcome of a matching lost start, and return the start with it.

    None where no lost start of the job matches, or several do that differ in what they asked for.
    """
    standing = ledger.standing("", view.job_id, [execution.job_execution_id])
    if standing.owned or standing.is_in_flight:
        return None
    matching = [
        record
        for record in standing.lost
        if judge(Start(view_of(record), standing.attempts[record.key]), execution, None)
        > Evidence.CONTRADICTS
    ]
    if not matching or len({(record.parameters, record.more_condition) for record in matching}) > 1:
        return None
    oldest = min(matching, key=lambda record: (record.submitted, record.key))
    found = replace(view_of(oldest), settled="", execution=execution, found_by="user")
    return found if ledger.adopt(found) else None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look shows of a start.

    Parameters
    ----------
    is_disputed
        Whether another start of the job awaits its answer, which a listed run may be.
    is_closed
        Whether the list was read after the last moment at which a run of the start could be created.
    read_at, closes_at
        The service's times when the reading began, and of that moment.
    """

    match: Match
    listing: Listing
    is_disputed: bool
    is_closed: bool
    read_at: datetime
    closes_at: datetime

    @property
    def decides(self) -> bool:
        """Whether the list certainly has the start's run if there is one and the service lists all it has."""
        return self.is_closed and self.listing.is_whole

    @property
    def doubts(self) -> tuple[JobExecution, ...]:
        """The runs that keep the start from counting as not started.

        Those that it shares do not where the list decides: an identical start takes them then.
        """
        found = () if self.match.found is None else (self.match.found,)
        return self.match.others or found or (() if self.decides else self.match.shared)


class Look:
    """The looks for one run."""

    def __init__(self, run: LiveRun, service: Service, ledger: Ledger) -> None:
        self.run = run
        self.refusals = 0
        self.is_doubtful = False
        """Whether the last look of `again` saw a run that may be the start's, or could not decide."""
        self._service = service
        self._ledger = ledger
        self._late_looks = 0
        self._partial_looks = 0

    async def once(self) -> Found | None:
        """Look once, and return the run where it is found; report to the handle what is known otherwise."""
        row = await asyncio.to_thread(self._ledger.look_after, self.run.key)
        if known := _known(row):
            return known
        if row is not None and not self._is_ours(row):
            return None
        if await self._was_never_sent(row):
            return None
        seen = await self._see()
        if seen.is_disputed:
            self.run.blind(f"{LOST}, and what is seen may be another start's, which awaits its answer")
            return None
        self._late_looks += seen.decides
        self._partial_looks += seen.is_closed and not seen.decides
        may_decide = self._late_looks >= LATE_LOOKS
        if self._holds(seen, may_decide=may_decide):
            # None where another kernel was quicker: it adopted that run, or settled this one.
            return await self._adopt(seen.match)
        self._report(seen, may_decide=may_decide)
        return None

    async def again(self) -> Found | None:
        """Look once more for the run of a start that was given up, and return it where it is found.

        Raises
        ------
        DataflowError
            The list or the ledger could not be read.
        """
        row = await asyncio.to_thread(self._ledger.look_after, self.run.key)
        if known := _known(row):
            return known
        seen = await self._see()
        self.is_doubtful = seen.is_disputed or bool(seen.doubts)
        return await self._take(seen)

    async def take_from(self, listing: Listing, read_at: float) -> Found | None:
        """Return the run of a start that was given up, where a list that was read for another purpose shows it.

        Parameters
        ----------
        read_at
            When the reading began, by this machine's steady clock.
        """
        return await self._take(await self._judge(listing, read_at))

    def failed(self, error: errors.DataflowError, held: str = "") -> None:
        """Report a look that failed, and until when the next is held back; after too many refusals the outcome is unclear."""
        self.run.blind(f"{LOST}, and looking for it failed: {held or error}")
        self._service.refresh()
        if isinstance(error, errors.RequestRejected) and not isinstance(error, errors.TooManyRequests):
            self.refusals += 1
        if self.refusals >= MOST_REFUSALS:
            self.run.give_up(errors.OutcomeUnknown(self.run.view.blind_reason), UNCLEAR)

    async def hold(self, seconds: float, words: str, sleep: Sleep) -> None:
        """Sleep before the next look, until the service answers the user at the latest."""
        await self._service.hold(seconds, words, sleep)

    def _is_ours(self, row: RunRecord) -> bool:
        """Whether this kernel looks for the run; reports to the handle what another kernel found."""
        if row.phase == "settled":
            self.run.give_up(errors.OutcomeUnknown(row.story), row.status)
            return False
        if row.kernel != self._ledger.kernel:
            self.run.blind(row.story or LOST)
            return False
        return True

    async def _was_never_sent(self, row: RunRecord | None) -> bool:
        """Whether no request of the start can have reached the service; reports it to the handle."""
        if row is None or not row.keeps_attempts:
            return False
        kept = await asyncio.to_thread(self._ledger.attempts, [self.run.key])
        if not Start(self.run.view, kept[self.run.key]).was_never_sent:
            return False
        words = f"no request of it reached the service: it was not started; {_again(self.run)}"
        self.run.give_up(errors.OutcomeUnknown(words), NOT_STARTED, was_never_sent=True)
        return True

    async def _see(self) -> _Seen:
        client = self._service.client
        since = await asyncio.to_thread(self._reaches_back_to, client)
        read_at = client.clock.steady()
        listing = await client.listing(self.run.view.job_id, most=PAGES_PER_LOOK, since=since)
        return await self._judge(listing, read_at)

    def _reaches_back_to(self, client: Client) -> datetime:
        start, lost, _ = self._standing(())
        return reaches_back_to(start, lost, client.service_clock)

    def _standing(self, run_ids: Iterable[str]) -> tuple[Start, list[Start], Standing]:
        """Return the start, every start of the job without a run, and what else the ledger knows. Blocks."""
        view = self.run.view
        standing = self._ledger.standing(view.key, view.job_id, run_ids)
        start = Start(view, standing.attempts.get(view.key))
        lost = [Start(view_of(record), standing.attempts[record.key]) for record in standing.lost]
        return start, lost, standing

    async def _judge(self, listing: Listing, read_at: float) -> _Seen:
        return await asyncio.to_thread(self._judged, self._service.client, listing, read_at)

    def _judged(self, client: Client, listing: Listing, read_at: float) -> _Seen:
        clock = client.service_clock
        ids = [each.job_execution_id for each in listing.runs]
        self._service.listed.setdefault(self.run.view.job_id, set()).update(ids)
        # After the list was read, so that runs which others started meanwhile count as theirs.
        start, lost, standing = self._standing(ids)
        matched = match(start, lost, listing.runs, standing.owned, clock)
        is_disputed = standing.is_in_flight and matched.found_by != "marker"
        time, closes = datetime.fromtimestamp(client.service_time(read_at), UTC), closes_at(start, clock)
        return _Seen(matched, listing, is_disputed, time >= closes, time, closes)

    def _holds(self, seen: _Seen, *, may_decide: bool) -> bool:
        """Whether a match counts.

        A marker is one start's alone. By its parameters alone, a run is taken only when no other candidate can appear: the
        list is whole, and no run of the start can be created any more. Until then the start's own run may show beside an
        identical one of another user. The local service is this user's own, and this machine's starts are all in the ledger:
        there the whole list is enough.
        """
        is_enough = may_decide or (self._service.is_own and seen.listing.is_whole)
        return seen.match.found_by == "marker" or (seen.match.found_by == "parameters" and is_enough)

    async def _take(self, seen: _Seen) -> Found | None:
        """Return the run of a start that was given up; a run that may be it takes the word back that it was not started."""
        if seen.is_disputed:
            return None
        if self._holds(seen, may_decide=seen.decides):
            return await self._adopt(seen.match)
        if self.run.view.settled == NOT_STARTED and seen.doubts:
            self._leave_open(Match(others=seen.doubts))
            await asyncio.to_thread(self._ledger.update, [self.run.view])
        return None

    def _leave_open(self, matched: Match) -> None:
        words = f"{LOST}, and {_count(matched)} may be it: {_ids(matched)}; {ATTACH}"
        self.run.give_up(errors.OutcomeUnknown(words), UNCLEAR)

    async def _adopt(self, matched: Match) -> Found | None:
        if matched.found is None:
            return None
        view = replace(
            self.run.view, settled="", blind_reason="", execution=matched.found, found_by=matched.found_by
        )
        is_ours = await asyncio.to_thread(self._ledger.adopt, view)
        return Found(matched.found, matched.found_by) if is_ours else None

    def _report(self, seen: _Seen, *, may_decide: bool) -> None:
        matched = seen.match
        if matched.may_clear_up or not (may_decide or self._partial_looks >= PARTIAL_LOOKS):
            self.run.blind(_story(seen))
            return
        if matched.found is not None:
            matched = Match(others=(matched.found,))
        if matched.others:
            self._leave_open(matched)
            return
        if may_decide:
            settled = NOT_STARTED
            words = (
                f"no run of it is in the job's list as of {_clock(seen.read_at)} KST; "
                f"a later list that shows one corrects this; {_again(self.run)}"
            )
        else:
            settled = UNCLEAR
            words = (
                f"it is not among the {len(seen.listing.runs)} runs of the job that were read, "
                f"and there may be more; {ATTACH}"
            )
        self.run.give_up(errors.OutcomeUnknown(f"{LOST}, and {words}"), settled)


def _known(row: RunRecord | None) -> Found | None:
    """Return the run that the ledger has for a start by now."""
    view = view_of(row) if row is not None else None
    return Found(view.execution, view.found_by) if view is not None and view.execution is not None else None


def _again(run: LiveRun) -> str:
    return f"%dataflow_run --again {run.key} looks once more and starts it again"


def _story(seen: _Seen) -> str:
    matched, closes = seen.match, _clock(seen.closes_at)
    if matched.found:
        return f"{LOST}; the run {matched.found.job_execution_id} may be it, and counts as it unless another shows by {closes} KST"
    if not matched.others:
        return f"{LOST}; it is looked for until {closes} KST, when no run of it can be created any more"
    more = "looked at until that is clear" if seen.is_closed else "soon to be clear"
    return f"{LOST}; {_count(matched)} may be it, {more}: {_ids(matched)}"


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(KST):%H:%M:%S}"


def _ids(matched: Match) -> str:
    return ", ".join(each.job_execution_id for each in matched.others)


def _count(matched: Match) -> str:
    return "a run" if len(matched.others) == 1 else f"{len(matched.others)} runs"
