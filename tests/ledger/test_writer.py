"""The writer batches changes, keeps the newest of each run, and tries again what it could not write."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest

from dataflow_magic.errors import ConfigError
from dataflow_magic.ledger.ledger import Ledger
from dataflow_magic.ledger.writer import LedgerWriter
from dataflow_magic.models.attempt import Attempt
from dataflow_magic.models.view import RunView
from tests.helpers import execution
from tests.views import run_view

pytestmark = pytest.mark.anyio

SUBMITTED = datetime(2026, 11, 2, 1, 0, tzinfo=UTC)


class CountingLedger(Ledger):
    """A real ledger that remembers its updates, and fails the first ``failures`` of them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.updates: list[list[tuple[str, str]]] = []
        self.failures = 0

    def update(
        self, views: Iterable[RunView], kept: Mapping[str, Iterable[Attempt]] = MappingProxyType({})
    ) -> set[str]:
        views = list(views)
        self.updates.append([(view.key, view.status) for view in views])
        if self.failures:
            self.failures -= 1
            raise ConfigError("no space left")
        return super().update(views, kept)

    def statuses(self) -> dict[str, str]:
        return {record.key: record.status for record in self.records()}


@pytest.fixture
def ledger(tmp_path):
    ledger = CountingLedger(tmp_path / "ledger.sqlite3")
    yield ledger
    ledger.close()


def ran(view: RunView, status: str) -> RunView:
    return replace(view, execution=execution(status, f"run-{view.key}"))


async def started(writer: LedgerWriter, *keys: str) -> list[RunView]:
    views = [run_view(SUBMITTED, key=key) for key in keys]
    for view in views:
        await writer.intend(view)
    return views


async def test_a_start_is_in_the_ledger_before_its_outcome_and_gone_once_withdrawn(ledger):
    writer = LedgerWriter(ledger)
    kept, refused = await started(writer, "kept", "refused")
    assert ledger.statuses() == {"kept": "SUBMITTING", "refused": "SUBMITTING"}

    await writer.settle(ran(kept, "READY"))
    await writer.withdraw(refused)

    assert ledger.statuses() == {"kept": "READY"}


async def test_a_batch_has_the_newest_view_of_each_run(ledger):
    writer = LedgerWriter(ledger)
    one, two = await started(writer, "one", "two")

    for view in ran(one, "READY"), ran(two, "READY"), ran(one, "RUNNING"):
        writer.note(view)
    await writer.flush()
    await writer.flush()

    assert ledger.updates == [[("one", "RUNNING"), ("two", "READY")]]


async def test_changes_are_written_soon_without_a_flush(ledger):
    writer = LedgerWriter(ledger)
    (view,) = await started(writer, "one")

    writer.note(ran(view, "READY"))
    async with asyncio.timeout(10):
        while ledger.statuses() != {"one": "READY"}:  # noqa: ASYNC110 - the ledger has no event
            await asyncio.sleep(0.01)


async def test_what_could_not_be_written_is_in_the_next_batch_unless_something_newer_is(ledger):
    writer = LedgerWriter(ledger)
    one, two = await started(writer, "one", "two")
    ledger.failures = 1

    writer.note(ran(one, "READY"))
    writer.note(ran(two, "READY"))
    await writer.flush()
    assert ledger.statuses() == {"one": "SUBMITTING", "two": "SUBMITTING"}

    writer.note(ran(two, "RUNNING"))
    await writer.flush()
    assert ledger.statuses() == {"one": "READY", "two": "RUNNING"}


async def test_a_run_that_only_the_service_lists_is_not_written(ledger):
    writer = LedgerWriter(ledger)

    writer.note(run_view(SUBMITTED, key=""))
    await writer.flush()

    assert ledger.updates == []
