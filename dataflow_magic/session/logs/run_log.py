"""The log of one run: where it lies, its end, and its lines as they come. Knows no card."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from dataflow_magic import errors
from dataflow_magic.client.objects import NoObject, RangedObjects
from dataflow_magic.models.secret import is_any_unknown, masked, masked_text
from dataflow_magic.models.view import RunView
from dataflow_magic.models.wire import JobExecution
from dataflow_magic.session.detached import way_back
from dataflow_magic.session.logs.lines import without_cut_line
from dataflow_magic.session.logs.search import Place, Search, Stream, find_log
from dataflow_magic.session.service import Service

__all__ = ["LOG_BYTES", "RunLog"]

T = TypeVar("T")

LOG_BYTES: Final = 1 << 18
"""Bytes of a log's end that are read for a failure: far more than 20 lines, far less than a script can print."""
LOG_SECONDS: Final = 10.0
"""How long reading the end of a log may take."""
AGAIN_SECONDS: Final = 10.0
"""From a search that found nothing, for a log that the service does not name, to the next one."""


class _Run(Protocol):
    """What is known of the run."""

    @property
    def view(self) -> RunView:
        """All that is known now."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be known."""


class RunLog:
    """One of the logs of a run.

    Parameters
    ----------
    submit
        Runs coroutines on the loop of the service.
    stream
        Which log: what the script printed, or standard error alone.
    """

    def __init__(
        self,
        run: _Run,
        service: Service,
        submit: Callable[[Coroutine[Any, Any, Any]], concurrent.futures.Future[Any]],
        stream: Stream = "console",
    ) -> None:
        self._run = run
        self._service = service
        self._submit = submit
        self._stream = stream
        self._found: Search | None = None
        self._search_again = 0.0

    async def tail(self, execution: JobExecution | None, most: int = LOG_BYTES) -> str:
        """Return the end of the log as a snapshot of the run names it, masked and without a cut line; empty where there is none.

        Raises
        ------
        DataflowError
            It cannot be read, or not within 10 s.
        """
        try:
            async with asyncio.timeout(LOG_SECONDS):
                await self._learn_secrets(execution)
                objects = await self._service.objects()
                # With the byte before them, which may be the end of a line.
                raw = await self._tail(objects, execution, most + 1)
        except TimeoutError:
            raise errors.Unreachable(
                f"the log of run {self._run.view.run_id} was not read within {LOG_SECONDS:g} s; try again"
            ) from None
        whole = without_cut_line(raw) if len(raw) > most else raw
        return self.mask(whole.decode("utf-8", "replace"))

    async def _tail(self, objects: RangedObjects, execution: JobExecution | None, most: int) -> bytes:
        path = _console_log(execution)
        if path:
            try:
                return await objects.tail(path, most)
            except NoObject:
                pass
        found = await self.find(execution)
        if found.path is None:
            return b""
        try:
            return await objects.tail(found.path, most)
        except NoObject:
            return b""

    # What `LogLines` needs

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, or is not followed any more."""
        return self._run.is_over

    def submit(self, coroutine: Coroutine[Any, Any, T], /) -> concurrent.futures.Future[T]:
        """Run a coroutine on the loop, from any thread."""
        return self._submit(coroutine)

    async def objects(self) -> RangedObjects:
        """Return the storage of the run's service."""
        return await self._service.objects()

    async def find(self, execution: JobExecution | None = None) -> Search:
        """Look for the log; what was found is kept, and what was not is looked for again, for a log that the service does not name every 10 s."""
        now = time.monotonic()
        if self._found is not None and (self._found.path or (now < self._search_again and not self.is_over)):
            return self._found
        view = self._run.view
        execution = execution or view.execution
        if execution is None or view.run_id is None:
            return Search(None, ("the service has not returned the run's id yet",))
        await self._learn_secrets(execution)
        if not _console_log(execution):
            # Only the answer about a single run names it.
            execution = await self._service.client.get_execution(view.job_id, execution.job_execution_id)
        condition = execution.job_condition or view.condition
        place = Place(
            execution.job_execution_id,
            _console_log(execution),
            condition.log_path or view.condition.log_path or "",
        )
        self._found = await find_log(await self._service.objects(), place, self._stream)
        # A log whose place is known may come at any moment, and asking for it costs little.
        self._search_again = now + (0.0 if place.console else AGAIN_SECONDS)
        return self._found

    def mask(self, text: str) -> str:
        """Return a text without the run's secrets and the secret key of its target."""
        secrets = {"": self._service.secret, **self._run.view.parameters}
        return masked_text(text, secrets)

    def way_back(self) -> str:
        """Return what goes on after an interrupt, and how to come back."""
        view = self._run.view
        if self.is_over:
            return f"%dataflow_logs {view.run_id or view.key} reads it again"
        return way_back([view.run_id or view.key])

    async def _learn_secrets(self, execution: JobExecution | None) -> None:
        """Learn the value of a secret that only the service knows: the script may have printed it."""
        view = self._run.view
        if execution is not None and is_any_unknown(view.parameters):
            masked(
                await self._service.client.get_execution(view.job_id, execution.job_execution_id),
                view.parameters,
            )


def _console_log(execution: JobExecution | None) -> str:
    condition = execution.job_condition if execution else None
    path = (condition.model_extra or {}).get("consoleLogPath") if condition else None
    return path if isinstance(path, str) else ""
