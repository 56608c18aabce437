"""`LiveRun`, one run as this process follows it: its state, waiting for it, its log, its card. `Run` is its public handle."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from dataflow_magic import errors
from dataflow_magic.card import format as fmt
from dataflow_magic.card.actions import Actions
from dataflow_magic.card.front_end import current_shell, front_end
from dataflow_magic.card.painter import Painter
from dataflow_magic.card.presenter import Presenter
from dataflow_magic.card.run import RUN_CARD
from dataflow_magic.card.run.reader import Reader
from dataflow_magic.card.run.state import CardState, card_state
from dataflow_magic.card.words import ENGLISH, words_of
from dataflow_magic.client.objects import RangedObjects
from dataflow_magic.models.comparison import Side
from dataflow_magic.models.failure import Failure
from dataflow_magic.models.secret import Parameter, masked
from dataflow_magic.models.text import log_lines
from dataflow_magic.models.view import KST, FoundBy, Past, Progress, RunView
from dataflow_magic.models.wire import JobCondition, JobExecution, RunState
from dataflow_magic.session.comparing import ran_script
from dataflow_magic.session.detached import INTERRUPTED_START, Detached, detachable, in_one_line, way_back
from dataflow_magic.session.diagnosis import explain
from dataflow_magic.session.event_log import folder_of
from dataflow_magic.session.handle import Run
from dataflow_magic.session.logs.follow import LogLines, LogOptions
from dataflow_magic.session.logs.run_log import RunLog
from dataflow_magic.session.logs.search import Stream
from dataflow_magic.session.loop import check_process
from dataflow_magic.session.service import Service
from dataflow_magic.session.stages import RunStages

__all__ = ["LiveRun", "Tracking"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

TAIL_BYTES = 1 << 14
TAIL_LINES = 20
HOTSPOT_SECONDS = 1.0
"""How long the end of a run that a cell waits for is held back, for the stages on its card."""
COMPARED_BYTES = 1 << 28
"""Of an event log that a comparison reads: a few seconds of work."""
LAST_SECONDS = 3.0
"""How long the end of a run waits for the last lines of its log, which only its card shows."""
REASON_LENGTH = 300
"""Characters of a reason in an error's one line; the card and `Run.reason` have the whole reason."""

CHANGED = threading.Condition()
"""Wakes threads that wait, after a change of any run. Shared by all runs: one condition per run would cost too much memory."""
# No thread holds it in a forked process, where that thread would not exist and never release it.
os.register_at_fork(before=CHANGED.acquire, after_in_parent=CHANGED.release, after_in_child=CHANGED.release)


class Tracking(Protocol):
    """What a run needs of the tracker that follows it."""

    def submit(self, coroutine: Coroutine[Any, Any, T], /) -> concurrent.futures.Future[T]:
        """Run a coroutine on the loop, from any thread."""

    def note(self, view: RunView, /) -> None:
        """Record a change of the run. On the loop."""

    def past(self, view: RunView, /) -> Past | None:
        """Return how long earlier runs of the job ran; None where unknown. Blocks."""

    async def start_again(self, view: RunView) -> LiveRun:
        """Start the same once more."""

    def language(self) -> str:
        """Return the language of cards."""


class LiveRun:
    """One run, kept up to date in the background by its job's watch."""

    def __init__(
        self,
        view: RunView,
        service: Service,
        tracker: Tracking,
        on_change: Callable[[LiveRun], None] | None = None,
    ) -> None:
        self.handle = Run(self)
        """What users get."""
        self._view = view
        self._service = service
        self._tracker = tracker
        self._pid = os.getpid()
        self._on_change = on_change
        self._waiters: tuple[concurrent.futures.Future[None], ...] = ()
        self._given_up: errors.DataflowError | None = None
        self.was_never_sent = False
        """Whether the start was given up, and no request of it has left."""
        self._painter: Painter[CardState] | None = None
        self._concluding: asyncio.Task[None] | None = None
        self._saw_waiting = False
        """Whether the run was READY when this kernel last heard of it."""
        self._is_heard = False
        self._console: RunLog | None = None
        self._stages: RunStages | None = None

    def __repr__(self) -> str:
        view = self._view
        known = view.run_id or view.key or "(no id yet)", view.job_name, view.target, view.status
        name, job, target, status = map(fmt.short, known)
        found = f", {ENGLISH.found}" if view.is_unsure else ""
        return f"<Run {name} of {job} on {target}: {status}{found}>"

    @property
    def view(self) -> RunView:
        """All that is known of the run now, frozen."""
        return self._view

    @property
    def status(self) -> str:
        """See `Run.status`."""
        return self._view.status

    @property
    def run_id(self) -> str | None:
        """The service's id of the run; None until it answered."""
        return self._view.run_id

    @property
    def key(self) -> str:
        """The run's short id on this machine."""
        return self._view.key

    @property
    def job(self) -> str:
        """The job's name."""
        return self._view.job_name

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """See `Run.parameters`."""
        return MappingProxyType(dict(self._view.parameters))

    @property
    def condition(self) -> JobCondition:
        """The job condition as sent."""
        return self._view.condition

    @property
    def waited(self) -> timedelta | None:
        """See `Run.waited` and `dataflow_magic.models.times`."""
        span = self._view.times.waited
        return span and span.length

    @property
    def ran(self) -> timedelta | None:
        """See `Run.ran`."""
        span = self._view.times.ran
        return span and span.length

    @property
    def total(self) -> timedelta | None:
        """See `Run.total`."""
        span = self._view.times.total
        return span and span.length

    @property
    def reason(self) -> str | None:
        """See `Run.reason`."""
        return self._view.failure.reason if self._view.failure else str(self._given_up or "") or None

    @property
    def error(self) -> Failure | None:
        """See `Run.error`."""
        return self._view.failure

    @property
    def is_over(self) -> bool:
        """Whether the state is the last one known: the run has ended, or this kernel gave up following it."""
        return self._view.is_final or self._given_up is not None

    @property
    def is_heard(self) -> bool:
        """Whether this process has asked the service about the run, or cannot: the state is the one of now."""
        return self._is_heard or self.is_over or self._view.execution is None

    def result(self, timeout: float | None = None) -> JobExecution:
        """See `Run.result`."""
        self.wait(timeout)
        return self._ended()

    def wait(self, timeout: float | None = None, watch: Callable[[RunView], None] | None = None) -> None:
        """Wait as `Run.wait` does.

        Parameters
        ----------
        watch
            Called in this thread with the view when it changed, and when the displayed time does.
        """
        try:
            self._wait(timeout, watch)
        except KeyboardInterrupt:
            raise Detached(f"stopped waiting; {way_back([self.run_id or self.key])}") from None

    def _wait(self, timeout: float | None, watch: Callable[[RunView], None] | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            view = self._view
            if watch:
                watch(view)
            if view.is_final:
                return
            if self._given_up:
                raise self._given_up
            check_process(self._pid)
            pause = fmt.tick_seconds(view.elapsed_seconds(_now()))
            if deadline is not None:
                pause = min(pause, deadline - time.monotonic())
                if pause <= 0:
                    raise self._still_active(timeout)
            with CHANGED:
                if self._view is view and not self._given_up:
                    CHANGED.wait(pause)

    def __await__(self) -> Generator[Any, None, JobExecution]:
        """See `Run.__await__`."""
        return detachable(self._await(), lambda: way_back([self.run_id or self.key])).__await__()

    def cancel(self, *, sure: bool = False) -> None:
        """See `Run.cancel`."""
        self._tracker.submit(self._cancel(sure=sure)).result()

    def again(self) -> LiveRun:
        """See `Run.again`."""
        with in_one_line(INTERRUPTED_START):
            return self._tracker.submit(self._tracker.start_again(self._view)).result()

    def log_lines(
        self,
        options: LogOptions,
        stream: Stream = "console",
        on_note: Callable[[str], None] = lambda note: logger.info("%s", note),
    ) -> LogLines:
        """Return the lines of a log as they come; ``on_note`` gets what a user should know meanwhile."""
        return LogLines(self._log(stream), options, on_note)

    # What the reading of results needs

    def in_words(self, text: str) -> str:
        """Return a message of this package in the language of the cards."""
        return words_of(self._tracker.language()).sentence(text)

    async def objects(self) -> RangedObjects:
        """Return the storage of the run's service."""
        return await self._service.objects()

    async def outputs(self) -> tuple[str, ...]:
        """Return the paths that the run wrote to, by its event log; raises as `RunStages.read`."""
        return (await self.stages.read()).outputs

    def submit(self, coroutine: Coroutine[Any, Any, T], /) -> concurrent.futures.Future[T]:
        """Run a coroutine on the loop, from any thread."""
        return self._tracker.submit(coroutine)

    @property
    def stages(self) -> RunStages:
        """Its stages; what was read of them is kept."""
        if self._stages is None:
            self._stages = RunStages(self, self._service, self._tracker.submit)
        return self._stages

    def on_change(self, call: Callable[[LiveRun], None]) -> None:
        """Call back after each change of the view from now on; on the loop."""
        self._on_change = call

    def poll_soon(self) -> None:
        """Poll the run soon, also where the service asked for a pause; any thread may call."""

        async def wake() -> None:
            self._service.wake()

        if not self.is_over:
            # A forked process polls nothing: it has the runs of its parent no more.
            with contextlib.suppress(errors.DataflowError):
                self._tracker.submit(wake())

    # What the watch and the tracker report; on the loop

    def seen(self, execution: JobExecution, *, is_stored: bool = False) -> None:
        """Take a snapshot from the service, or with ``is_stored`` the last one of an earlier kernel."""
        view = self._view
        saw_waiting, self._saw_waiting = (
            self._saw_waiting and view.blind_since is None,
            execution.status == RunState.READY and not is_stored,
        )
        if not (is_stored or execution.is_final):
            self._hear()
        execution = masked(execution, view.parameters)
        if (
            view.blind_since is None
            and view.execution is not None
            and _only_time_passed(view.execution, execution)
        ):
            if execution != view.execution:
                self._view = replace(view, execution=execution)
            return
        running_since = view.running_since
        if saw_waiting and execution.status == RunState.RUNNING:
            # Only where the poll before saw it wait: otherwise it may run since long ago.
            running_since = running_since or _now()
        if execution.is_final:
            self._concluding = asyncio.get_running_loop().create_task(self._conclude(execution))
            return
        self._set(
            replace(view, execution=execution, running_since=running_since, blind_since=None, blind_reason="")
        )

    def blind(self, reason: str) -> None:
        """Note that the service does not answer, and why."""
        self._hear()
        self._set(replace(self._view, blind_since=self._view.blind_since or _now(), blind_reason=reason))

    def lost(self, reason: str) -> None:
        """Note that the response to the start was lost."""
        self._set(replace(self._view, is_lost=True, blind_since=_now(), blind_reason=reason))

    def off_clock(self, words: str) -> None:
        """Note by how much this machine's clock is off, in words."""
        self._set(replace(self._view, clock=words))

    def give_up(
        self, error: errors.DataflowError, settled: str = "", *, was_never_sent: bool = False
    ) -> None:
        """Stop expecting news of the run; every wait for it raises the error.

        Parameters
        ----------
        settled
            ``NOT_STARTED`` or ``UNCLEAR`` where reconciling ended.
        was_never_sent
            Whether no request of the start has left.
        """
        self.was_never_sent = was_never_sent
        self._given_up = error
        self._view = replace(self._view, settled=settled)
        self.blind(str(error))
        self._end()
        if self._painter:
            self._painter.paint_now()

    def found(self, execution: JobExecution, found_by: FoundBy) -> None:
        """Take the run that was found for the start, also where this kernel had given it up: waits begin anew."""
        self._given_up = None
        self._view = replace(self._view, settled="", found_by=found_by)
        self.seen(execution)
        if self._painter:
            self._painter.resume()

    # Showing

    def show(self) -> None:
        """Show the run below the running cell and keep it up to date there."""
        self._shown().show()

    def show_and_wait(self, timeout: float | None = None) -> None:
        """Show the run and wait for its end; after an interrupt or an error, what is shown stays up to date.

        Raises
        ------
        WaitTimeout, OutcomeUnknown
            As `wait`.
        """
        self._shown().show_and_wait(lambda paint: self.wait(timeout, lambda _: paint()))

    def show_value(self) -> None:
        """Show the run as the value of a cell, unless that cell has shown it."""
        self._shown().show_value()

    def card_state(self, *, kernel_waits: bool = False) -> CardState:
        """Return what the card of the run shows now."""
        words = words_of(self._tracker.language())
        return card_state(self._view, _now(), kernel_waits=kernel_waits, words=words)

    def _shown(self) -> Painter[CardState]:
        if self._painter is None:
            submit = self._tracker.submit
            actions = Actions(
                cancel=lambda: submit(self._cancel_clicked()),
                again=lambda: submit(self._again_clicked()),
                logs=lambda wanted: reader.read_log(wanted),
            )
            presenter = Presenter(RUN_CARD, actions, front_end(current_shell()))
            reader = Reader(self, lambda: presenter.is_live, submit)
            self._painter = Painter(self, presenter, submit, reader.start)
        return self._painter

    # What a card asks for

    def set_card_fields(self, **changes: Any) -> None:
        """Set fields of the view that only the card shows; on the loop. The ledger does not record them."""
        view = replace(self._view, **changes)
        if view != self._view:
            self._take(view)
            if self.is_over and self._painter is not None:
                self._painter.resume()

    def read_past(self) -> Past | None:
        """Return how long earlier runs of the job ran; None where unknown. Blocks."""
        return self._tracker.past(self._view)

    async def read_progress(self) -> Progress | None:
        """Return how far the run is; None where the service does not report it."""
        if self._view.run_id is None:
            return None
        return await self._service.progress(self._view.job_id, self._view.run_id)

    async def read_log_tail(self) -> tuple[str, ...]:
        """Return the last whole lines of the console log, oldest first: at most 16 KiB."""
        is_over = self.is_over
        text = await self._log().tail(self._view.execution, TAIL_BYTES)
        # A line that is not whole yet may change, and may hold the half of a secret.
        return tuple(log_lines(text if is_over else text[: text.rfind("\n") + 1]))

    async def read_last_lines(self) -> None:
        """Read the end of an ended run's log for its card, unless that is known."""
        view = self._view
        if view.is_final and not (view.last_lines or (view.failure and view.failure.log_tail)):
            with contextlib.suppress(errors.DataflowError):
                self.set_card_fields(last_lines=(await self.read_log_tail())[-TAIL_LINES:])

    async def read_side(self) -> Side:
        """Return the run with its script and its stages, to compare it with another."""
        script = await ran_script(self._view, self._service)
        try:
            return Side(self._view, script, await self.stages.read(COMPARED_BYTES))
        except errors.DataflowError:  # the rest of a comparison helps too
            logger.debug("no stages of %r", self, exc_info=True)
            return Side(self._view, script)

    async def read_hotspots(self) -> None:
        """Read where an ended run's time went for its card, unless that is known."""
        if self._view.is_final and self._view.hotspots is None:
            self.set_card_fields(hotspots=await self.stages.hotspots())

    # Buttons

    async def _cancel_clicked(self) -> None:
        try:
            await self._cancel(sure=True)  # the card's question said how the run was found
        except errors.DataflowError as error:
            logger.warning("cancel of %r: %s", self, error)
            self.set_card_fields(remark=f"the cancel was not accepted: {error}")
            self._shown().presenter.offer()

    async def _again_clicked(self) -> None:
        try:
            run = await self._tracker.start_again(self._view)
        except errors.DataflowError as error:
            self.set_card_fields(remark=f"not started again: {error}")
        else:
            self.set_card_fields(remark="")
            run._shown().show(above=self._shown())  # noqa: SLF001 - of this class

    # Work

    def _set(self, view: RunView) -> None:
        if view != self._view:
            self._take(view)
            self._tracker.note(view)
            if self._on_change is not None:
                self._on_change(self)
        if view.is_final:
            self._end()

    def _hear(self) -> None:
        if not self._is_heard:
            with CHANGED:
                self._is_heard = True
                CHANGED.notify_all()

    def _take(self, view: RunView) -> None:
        with CHANGED:
            self._view = view
            CHANGED.notify_all()
        if self._painter is not None:
            self._painter.changed()

    def _end(self) -> None:
        with CHANGED:
            waiters, self._waiters = self._waiters, ()
            CHANGED.notify_all()
        if self._painter is not None:
            self._painter.changed()
        for waiter in waiters:
            if waiter.set_running_or_notify_cancel():
                waiter.set_result(None)

    async def _conclude(self, execution: JobExecution) -> None:
        # Beside the other reads, and the end does not wait for it.
        is_shown = self._painter is not None and self._painter.presenter.is_shown
        reading = asyncio.ensure_future(self.stages.hotspots()) if is_shown else None
        failure = await self._diagnose(execution)
        progress = await self._last_progress()
        last_lines = () if failure and failure.log_tail else await self._last_lines(execution)
        if reading is not None and self._painter is not None and self._painter.is_waited_on:
            # The cell ends with the run, and its output with the cell.
            await asyncio.wait({reading}, timeout=HOTSPOT_SECONDS)
        hotspots = reading.result() if reading is not None and reading.done() else None
        self._set(
            replace(
                self._view,
                execution=execution,
                failure=failure,
                progress=progress,
                last_lines=last_lines,
                hotspots=hotspots,
                blind_since=None,
                blind_reason="",
                cancel_requested=False,
            )
        )
        if reading is not None and not reading.done():
            self.set_card_fields(hotspots=await reading)
        self._concluding = None  # a task that has ended keeps its coroutine and its context

    async def _last_lines(self, execution: JobExecution) -> tuple[str, ...]:
        # Only where a card shows them, and now: a cell that waits ends with the run, and its output with the cell.
        if self._painter is None or not self._painter.presenter.is_shown:
            return ()
        try:
            async with asyncio.timeout(LAST_SECONDS):
                return tuple(log_lines(await self._log().tail(execution, TAIL_BYTES))[-TAIL_LINES:])
        except (errors.DataflowError, TimeoutError):
            return ()

    async def _last_progress(self) -> Progress | None:
        # Only where a card shows it; what the card read last may be a second old.
        before = self._view.progress
        if before is not None:
            with contextlib.suppress(errors.DataflowError):
                last = await self.read_progress()
                return last.after(before) if last else before
        return before

    async def _diagnose(self, execution: JobExecution) -> Failure | None:
        detail = execution.status_detail or ""
        if execution.status == RunState.COMPLETED:
            return None
        if execution.status == RunState.CANCELED:
            return Failure(detail) if detail else None
        try:
            log = await self._log().tail(execution)
        except Exception:  # a log that cannot be read must not delay the end of the run
            logger.debug("no log of %r", self, exc_info=True)
            log = ""
        condition = execution.job_condition or self._view.condition
        return await explain(
            self._service.objects(),
            log=log,
            folder=folder_of(condition.log_path, execution.job_execution_id),
            script_path=condition.script_path or "",
            detail=detail,
            status=execution.status,
        )

    def _log(self, stream: Stream = "console") -> RunLog:
        if stream != "console":
            return RunLog(self, self._service, self._tracker.submit, stream)
        if self._console is None:
            self._console = RunLog(self, self._service, self._tracker.submit)
        return self._console

    async def _await(self) -> JobExecution:
        # One future per wait: a wait that is cancelled must not cancel another.
        waiter: concurrent.futures.Future[None] = concurrent.futures.Future()
        with CHANGED:
            if self.is_over:
                return self._ended()
            check_process(self._pid)
            self._waiters += (waiter,)
        await asyncio.wrap_future(waiter)
        return self._ended()

    def _ended(self) -> JobExecution:
        view = self._view
        if view.execution is None or not view.is_final:
            assert self._given_up  # noqa: S101 - nothing else ends a wait
            raise self._given_up
        if view.status != RunState.COMPLETED:
            raise self.failed("run.logs() has its log")
        return view.execution

    def failed(self, next_step: str) -> errors.RunFailed:
        """Return the error of a run that is over and did not complete, in one line; ``next_step`` follows where it FAILED."""
        view = self._view
        reason = " ".join((self.reason or "").split())
        said = f": {reason[:REASON_LENGTH]}{'…' if len(reason) > REASON_LENGTH else ''}" if reason else ""
        if view.failure and view.failure.place:
            said += f" ({view.failure.place})"
        more = f"; {next_step}" if view.status != RunState.CANCELED else ""
        return errors.RunFailed(
            f"run {view.run_id} of {fmt.short(view.job_name)} ended {view.status}{said}{more}",
            run=self.handle,
        )

    def _still_active(self, seconds: float | None) -> errors.WaitTimeout:
        view = self._view
        name = view.run_id or "@last"
        return errors.WaitTimeout(
            f"run {name} of {fmt.short(view.job_name)} is still active after {seconds:g} s ({view.status}); wait again, "
            f"or %dataflow_cancel {name} ends it",
            run=self.handle,
        )

    async def _cancel(self, *, sure: bool) -> None:
        view = self._view
        if view.is_final:
            raise errors.BadState(
                f"run {view.run_id} is over ({view.status}); there is nothing to cancel", status=400
            )
        if view.run_id is None:
            raise errors.BadState(
                "the service has not returned the run's id yet, so the run cannot be canceled",
                status=400,
            )
        if view.is_unsure and not sure:
            raise errors.CellError(
                f"run {view.run_id} of {fmt.short(view.job_name)} was found by its parameters and may be an "
                f"identical run of another user; if it is yours, %dataflow_cancel {view.run_id} --yes or cancel(sure=True) ends it"
            )
        await self._service.client.cancel_execution(view.job_id, view.run_id)
        self._service.wake()
        if not self._view.is_final:
            self._set(replace(self._view, cancel_requested=True, remark=""))


def _only_time_passed(before: JobExecution, now: JobExecution) -> bool:
    """Whether two snapshots differ only in the counted minutes, which change no card and no row."""
    minutes = {"running_time": before.running_time, "waiting_time": before.waiting_time}
    return now.model_copy(update=minutes) == before and not now.is_final


def _now() -> datetime:
    return datetime.now(KST)
