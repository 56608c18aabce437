"""The stages of one run, read from its event log when somebody asks, as tables and as a drawing."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from dataflow_magic import errors
from dataflow_magic.card.actions import Actions
from dataflow_magic.card.front_end import FrontEnd, front_end
from dataflow_magic.card.painter import Painter
from dataflow_magic.card.presenter import Presenter
from dataflow_magic.card.stages import STAGES_CARD
from dataflow_magic.card.stages.state import StagesState, stages_state
from dataflow_magic.card.words import words_of
from dataflow_magic.models.stages import Hotspots, Stage, StageReport
from dataflow_magic.models.view import RunView
from dataflow_magic.session.detached import Detached, detachable, way_back
from dataflow_magic.session.event_log import EventLogs, folder_of
from dataflow_magic.session.service import Service

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_BYTES", "RunStages", "StageFrames", "StagesView", "frame_of"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

MOST_BYTES: Final = 4 << 30
"""Of an event log that a user asks for."""
CARD_BYTES: Final = 64 << 20
"""Of an event log that is read for a card; nothing is shown of a larger one, whose begin alone would mislead."""
CARD_SECONDS: Final = 10.0
CARD_STAGES: Final = 3
CARD_LEAST: Final = 1_000
"""Milliseconds of a stage that a card shows: shorter ones are what any run needs."""
LOOK_SECONDS: Final = 1.0
LONGEST_LOOK: Final = 15.0
STEP_SECONDS: Final = 0.25
"""Between two reads of the log of a live run; a read that finds nothing new doubles the pause. The end of the run ends it."""


class _Run(Protocol):
    """What is known of the run."""

    @property
    def view(self) -> RunView:
        """All that is known now."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be known."""


class RunStages:
    """Reads the stages of one run.

    Parameters
    ----------
    submit
        Runs coroutines on the loop of the service.
    """

    def __init__(
        self,
        run: _Run,
        service: Service,
        submit: Callable[[Coroutine[Any, Any, Any]], concurrent.futures.Future[Any]],
    ) -> None:
        self._run = run
        self._service = service
        self.submit = submit
        self._logs: EventLogs | None = None
        self._last: StageReport | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all of an ended run's event log is read."""
        return self._last is not None

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, or is not followed any more."""
        return self._run.is_over

    @property
    def view(self) -> RunView:
        """The run."""
        return self._run.view

    @property
    def name(self) -> str:
        """What a user names the run by."""
        return self._run.view.run_id or self._run.view.key

    def way_back(self) -> str:
        """Return what goes on after an interrupt, and how to come back."""
        return f"%dataflow_stages {self.name} reads it again" if self.is_over else way_back([self.name])

    async def hotspots(self) -> Hotspots | None:
        """Return where most of an ended run's time went, for its card: with bounded effort; None where that is unknown."""
        try:
            async with asyncio.timeout(CARD_SECONDS):
                report = await self.read(CARD_BYTES, is_over=True)
        except Exception:  # a log that cannot be read costs a card no more than this part
            logger.debug("no stages of %r", self._run, exc_info=True)
            return None
        return report.hotspots(CARD_STAGES, CARD_LEAST) if self.is_whole else None

    async def read(self, most: int = MOST_BYTES, *, is_over: bool = False) -> StageReport:
        """Return the stages so far, as many as `most` bytes of the event log have; on the loop.

        Parameters
        ----------
        is_over
            Whether the run has ended, also where its view does not say so yet.

        Raises
        ------
        DataflowError
            An ended run has no event log, or it cannot be read.
        """
        if self._last is not None:
            return self._last
        is_over = is_over or self.is_over  # before the read, which then has all
        report = await self._read(most, is_over=is_over)
        if self._logs is not None and self._logs.is_whole:
            # All is known: what the fold kept may go.
            self._last, self._logs = report, None
        return report

    async def next(self, last: StageReport | None) -> tuple[StageReport, bool]:
        """Return the stages after a change or at the end, and whether nothing more comes."""
        pause = 0.0
        while True:
            is_over = self.is_over
            report = await self.read()
            if is_over:
                return (last if last is not None and report == last else report), True
            if report != last:
                return report, False
            pause = min(LONGEST_LOOK, 2 * pause) if pause else LOOK_SECONDS
            for _ in range(ceil(pause / STEP_SECONDS)):
                await asyncio.sleep(STEP_SECONDS)
                if self.is_over:
                    break

    async def _read(self, most: int, *, is_over: bool) -> StageReport:
        view = self._run.view
        if view.run_id is None:
            return StageReport()
        execution = view.execution
        condition = (execution and execution.job_condition) or view.condition
        folder = folder_of(condition.log_path or view.condition.log_path, view.run_id)
        if not folder:
            raise errors.DataflowError(
                f"no event log of run {view.run_id}; its job condition names no log path, below which Spark writes one"
            )
        if self._logs is None:
            self._logs = EventLogs(folder)
        report = await self._logs.read(await self._service.objects(), is_over=is_over, most=most)
        if report is None and is_over:
            raise errors.DataflowError(
                f"no event log of run {view.run_id}; looked below s3a://{folder}/: it ended before it had a Spark session, or "
                "spark.eventLog.dir is elsewhere"
            )
        return self._masked(report or StageReport())

    def _masked(self, report: StageReport) -> StageReport:
        """Return stages without the run's secrets: a user may have named a stage or a column by one."""
        clean = self._run.view.without_secrets

        def masked(stage: Stage) -> Stage:
            return replace(stage, name=clean(stage.name), keys=tuple(map(clean, stage.keys)))

        return replace(report, stages=tuple(map(masked, report.stages)))


class StageFrames:
    """The stages of a run as DataFrames, one after each change until the run is over: ``async for``, or ``for``.

    Each loop begins anew; the last one has all stages.

    Raises
    ------
    DataflowError
        In a loop: the event log cannot be read, or the run is over and has none.
    Detached
        In a loop: the user interrupted it; the run continues.
    """

    def __init__(self, stages: RunStages) -> None:
        self._stages = stages

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Yield tables; blocks while nothing changes."""
        last: StageReport | None = None
        while True:
            future = self._stages.submit(self._stages.next(last))
            try:
                report, is_over = future.result()
            except KeyboardInterrupt:
                future.cancel()
                raise Detached(f"stopped reading the stages; {self._stages.way_back()}") from None
            if report is not last:
                yield frame_of(report)
            if is_over:
                return
            last = report

    async def __aiter__(self) -> AsyncIterator[pd.DataFrame]:
        """Yield tables without blocking the event loop."""
        last: StageReport | None = None
        while True:
            future = self._stages.submit(self._stages.next(last))
            report, is_over = await detachable(_result(future), self._stages.way_back)
            if report is not last:
                yield frame_of(report)
            if is_over:
                return
            last = report


class StagesView:
    """The stages of a run as a cell shows them: drawn, and again after each change until the run is over.

    Parameters
    ----------
    language
        Returns the language of cards.
    shell
        The running IPython shell, or None outside IPython.
    """

    def __init__(
        self, stages: RunStages, report: StageReport, language: Callable[[], str], shell: Any
    ) -> None:
        self._stages = stages
        self._report = report
        self._language = language
        self.is_over = stages.is_whole
        # No widgets: there is nothing to click, and a saved notebook then has all of it.
        where = FrontEnd.TERMINAL if front_end(shell) is FrontEnd.TERMINAL else FrontEnd.STATIC
        actions = Actions(cancel=_nothing, again=_nothing, logs=lambda _: None)
        self._painter = Painter(self, Presenter(STAGES_CARD, actions, where), stages.submit, self._begin)

    def show(self) -> None:
        """Show it below the running cell; in a terminal once."""
        self._painter.show()

    def card_state(self, *, kernel_waits: bool = False) -> StagesState:  # noqa: ARG002 - it has no button
        """Return what is shown now."""
        words = words_of(self._language())
        return stages_state(self._stages.view, self._report, is_final=self.is_over, words=words)

    def _begin(self) -> None:
        if not self.is_over:
            self._stages.submit(self._follow())

    async def _follow(self) -> None:
        last, is_over = self._report, False
        while not is_over:
            try:
                last, is_over = await self._stages.next(last)
            except errors.DataflowError:  # what is shown stays; the run's card says why
                logger.debug("the stages of run %s are not drawn on", self._stages.name, exc_info=True)
                is_over = True
            self._report, self.is_over = last, is_over
            self._painter.changed()


def _nothing() -> None:
    """Do nothing: there is no button."""


async def _result(future: concurrent.futures.Future[T]) -> T:
    return await asyncio.wrap_future(future)


def frame_of(report: StageReport) -> pd.DataFrame:
    """Return stages as a table."""
    # Late: pandas takes longer to import than all the rest.
    from dataflow_magic.ledger.stages import stages_frame

    return stages_frame(report)
