"""Following a log that grows, stalls, is cut, fails or is missing, until its run is over."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import threading
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dataflow_magic.client.objects import FolderObjects, NoObject, RangedObjects
from dataflow_magic.errors import CellError, DataflowError, Unreachable
from dataflow_magic.models.secret import Secret, masked_text
from dataflow_magic.session.logs.follow import LogLines, log_options
from dataflow_magic.session.logs.output import save_lines, text_of, unbounded
from dataflow_magic.session.logs.search import Search
from dataflow_magic.session.loop import LoopThread
from tests.helpers import PATIENCE

T = TypeVar("T")
LOG = "b/logs/run/console.log"


class Storage(FolderObjects):
    """Files, the calls of which are counted and may be given errors."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.errors: list[Exception] = []
        self.parts: list[tuple[int, int]] = []

    async def size(self, path: str) -> int:
        if self.errors:
            raise self.errors.pop(0)
        return await super().size(path)

    async def part(self, path: str, start: int, stop: int) -> bytes:
        self.parts.append((start, stop))
        return await super().part(path, start, stop)


class Source:
    """A run whose log is a file; `steps` happen one after another, each when the reader has nothing to read."""

    def __init__(self, loop: LoopThread, folder: Path) -> None:
        self._loop = loop
        self.file = folder / LOG
        self.file.parent.mkdir(parents=True)
        self.storage = Storage(folder)
        self.is_over = False
        self.steps: list[Callable[[], object]] = []
        self.sleeps: list[float] = []
        self.notes: list[str] = []

    def submit(self, coroutine: Coroutine[Any, Any, T], /) -> concurrent.futures.Future[T]:
        return self._loop.submit(coroutine)

    async def objects(self) -> RangedObjects:
        return self.storage

    async def find(self) -> Search:
        try:
            await self.storage.size(LOG)
        except NoObject:
            return Search(None, (f"s3a://{LOG} (0)",))
        return Search(LOG, ())

    def mask(self, text: str) -> str:
        return masked_text(text, {"$token": Secret.of("hunter2hunter2")})

    def way_back(self) -> str:
        return "run run continues"

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        assert self.steps, "the reader waits though nothing will happen"
        self.steps.pop(0)()
        await asyncio.sleep(0)

    # Steps

    def append(self, text: str | bytes) -> Callable[[], None]:
        def step() -> None:
            with self.file.open("ab") as file:
                file.write(text if isinstance(text, bytes) else text.encode())

        return step

    def end(self) -> None:
        self.is_over = True

    def lines(self, *, most: int | None = None, **options: Any) -> LogLines:
        asked = replace(log_options(**options), most=most, rest="ask for more")
        return LogLines(self, asked, self.notes.append, self.sleep)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    loop = LoopThread()
    yield Source(loop, tmp_path)
    loop.stop()


def test_the_end_of_a_log_is_not_the_end_of_the_run(source):
    source.file.write_bytes(b"one\nha")
    source.steps = [source.append("lf\n"), lambda: None, lambda: None, source.append("two\nlast"), source.end]

    assert list(source.lines(follow=True)) == ["one", "half", "two", "last"]
    assert source.steps == []


def test_a_run_that_is_over_ends_after_a_last_read(source):
    source.file.write_bytes(b"one\n")

    def writes_and_ends() -> None:
        source.append("written at the end\n")()
        source.end()

    source.steps = [writes_and_ends]

    assert list(source.lines(follow=True)) == ["one", "written at the end"]


def test_without_following_the_end_of_the_log_is_the_end(source):
    source.file.write_bytes(b"one\ntwo")

    assert list(source.lines()) == ["one", "two"]
    assert source.sleeps == []


@pytest.mark.anyio
async def test_lines_are_taken_without_blocking_the_event_loop(source):
    source.file.write_bytes(b"one\n")
    source.steps = [source.append("two\n"), source.end]

    assert [line async for line in source.lines(follow=True)] == ["one", "two"]


@pytest.mark.anyio
async def test_a_task_that_follows_can_be_canceled_and_the_log_read_again(source):
    source.file.write_bytes(b"one\n")
    source.sleep = asyncio.sleep
    lines, got = source.lines(follow=True), asyncio.Event()

    async def follow() -> None:
        async for _ in lines:
            got.set()

    task = asyncio.create_task(follow())
    await got.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    source.end()
    assert [line async for line in lines] == ["one"]


def test_a_log_that_does_not_grow_is_asked_for_less_and_less(source):
    source.file.write_bytes(b"one\n")
    looks: list[int] = []
    source.steps = [lambda: looks.append(len(source.storage.parts))] * 61 + [source.end]

    assert list(source.lines(follow=True)) == ["one"]
    # 0.25, 0.5, 1, 2 and then 4 seconds, in steps of 0.25 so that the end of the run is noticed.
    assert set(source.sleeps) == {0.25}
    assert source.storage.parts == [(0, 4)]


def test_a_log_that_is_not_there_yet_is_waited_for_and_what_was_looked_at_is_reported(source):
    source.steps = [lambda: None, source.append("first\n"), source.end]

    assert list(source.lines(follow=True)) == ["first"]
    assert source.notes == [f"the run has no log yet; looked at, with the objects found: s3a://{LOG} (0)"]


def test_a_run_that_ended_without_a_log_is_reported_with_what_was_looked_at(source):
    source.end()

    assert list(source.lines(follow=True, tail=5)) == []
    assert source.notes == [f"the run has no log; looked at, with the objects found: s3a://{LOG} (0)"]


# How much is read


def test_a_long_log_is_read_in_parts_one_behind_the_other(source):
    line = b"0123456789" * 10 + b"\n"
    source.file.write_bytes(line * 100_000)
    source.end()

    lines = list(source.lines(follow=True))

    assert (len(lines), set(lines)) == (100_000, {"0123456789" * 10})
    # Each part begins with what was seen last, so that a log that was cut is noticed.
    assert source.storage.parts == [(0, 4_194_304), (4_194_048, 8_388_608), (8_388_352, 10_100_000)]


@pytest.mark.parametrize(
    ("content", "tail", "lines"),
    [
        (b"one\ntwo\nthree\n", 2, ["two", "three"]),
        (b"one\ntwo\nthree", 2, ["two", "three"]),
        (b"one\ntwo\n", 2, ["one", "two"]),
        (b"one\ntwo\n", 9, ["one", "two"]),
        (b"one\ntwo\n", 0, []),
        (b"\n\n\n", 2, ["", ""]),
        (b"", 2, []),
    ],
)
def test_the_last_lines_are_read(source, content, tail, lines):
    source.file.write_bytes(content)

    assert list(source.lines(tail=tail)) == lines


@pytest.mark.parametrize("tail", [1, 3, 2_000, 50_000, 200_000])
def test_only_the_end_of_a_long_log_is_read_for_its_last_lines(source, tail):
    source.file.write_bytes(b"".join(b"line %07d and so on\n" % number for number in range(400_000)))

    lines = list(source.lines(tail=tail))

    assert lines == [f"line {number:07} and so on" for number in range(400_000 - tail, 400_000)]
    read = sum(stop - start for start, stop in source.storage.parts)
    assert read <= 2 * (24 * tail + 4_194_304 if tail > 10_000 else 262_144)


def test_a_follow_begins_with_the_last_lines(source):
    source.file.write_bytes(b"one\ntwo\nthree\n")
    source.steps = [source.append("four\n"), source.end]

    assert list(source.lines(follow=True, tail=1)) == ["three", "four"]


def test_a_search_reads_all_and_begins_with_the_last_lines_that_match(source):
    source.file.write_bytes(b"".join(b"ERROR %d\nfine\n" % number for number in range(1000)))
    source.steps = [source.append("fine\nERROR new\n"), source.end]

    lines = list(source.lines(follow=True, tail=2, grep="^ERROR"))

    assert lines == ["ERROR 998", "ERROR 999", "ERROR new"]
    assert source.notes == ["earlier lines that match: 998"]


def test_the_last_bytes_begin_with_a_line_and_the_rest_is_counted_unread(source):
    source.file.write_bytes(b"".join(b"%06d\n" % number for number in range(1_000_000)))

    assert text_of(source.lines(most=27)) == "999997\n999998\n999999\n"
    assert source.notes == ["earlier bytes of the log that are not shown: 6,999,979; ask for more"]
    assert sum(stop - start for start, stop in source.storage.parts) < 100


def test_a_log_of_no_more_than_the_bound_is_whole(source):
    source.file.write_bytes(b"one\ntwo\n")

    assert list(source.lines(most=8)) == ["one", "two"]
    assert source.notes == []
    assert list(source.lines(most=7)) == ["two"]


def test_of_long_lines_no_more_than_the_bound_is_returned(source):
    source.file.write_bytes(b"".join(b"%d%s\n" % (number, b"x" * 997) for number in range(10)))

    assert [line[0] for line in source.lines(tail=5, most=2_500)] == ["8", "9"]
    assert source.notes == ["earlier bytes of the log that are not shown: 2,997; ask for more"]
    assert [line[0] for line in source.lines(tail=2, most=2_500)] == ["8", "9"]
    assert len(source.notes) == 1


def test_of_matches_no_more_than_the_bound_is_returned(source):
    source.file.write_bytes(b"".join(b"ERROR %03d\nfine\n" % number for number in range(1000)))

    assert list(source.lines(grep="ERROR", most=20)) == ["ERROR 998", "ERROR 999"]
    assert list(source.lines(grep="ERROR", tail=1, most=20)) == ["ERROR 999"]
    assert source.notes == ["earlier lines that match: 998; ask for more", "earlier lines that match: 999"]


def test_a_secret_that_the_bound_cuts_is_not_shown(source):
    source.file.write_bytes(b"a\ntoken hunter2hunter2 is here\nlast")
    assert list(source.lines(most=len(b"hunter2 is here\nlast"))) == ["last"]

    source.file.write_bytes(b"x" * 20_000 + b"hunter2hunter2" + b"y" * 16_384)
    assert list(source.lines(most=len(b"hunter2") + 16_384)) == ["y" * 8]


def test_lines_are_saved_whole_in_bounded_memory(source, tmp_path):
    line = b"%07d hunter2hunter2 " + b"x" * 2_000 + b"\n"
    source.file.write_bytes(b"".join(line % number for number in range(40_000)))
    long = unbounded(log_options())
    tracemalloc.start()
    try:
        file = save_lines(LogLines(source, long, source.notes.append, source.sleep), tmp_path / "new.log")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert source.file.stat().st_size > 80_000_000
    assert peak < 60_000_000
    with file.open("rb") as saved:
        for number, text in enumerate(saved):
            assert text == (line % number).replace(b"hunter2hunter2", "••••••".encode())
    assert number == 39_999
    assert source.notes == []


def test_a_line_is_saved_that_is_too_long_to_be_shown(source, tmp_path):
    source.file.write_bytes(b"x" * 300_000 + b"\n")

    file = save_lines(LogLines(source, unbounded(log_options())), tmp_path / "new.log")

    assert file.read_bytes() == b"x" * 300_000 + b"\n"


def test_a_file_that_is_there_is_not_replaced_and_nothing_is_read(source, tmp_path):
    source.file.write_bytes(b"one\n")
    (tmp_path / "old.log").write_text("old")

    for grows in (False, True):
        with pytest.raises(CellError, match=r"old.log' exists; name a new one"):
            save_lines(source.lines(), tmp_path / "old.log", grows=grows)
    assert (tmp_path / "old.log").read_text() == "old"
    assert source.storage.parts == []


def test_a_log_that_cannot_be_read_leaves_no_file_and_a_followed_one_what_was_read(source, tmp_path):
    source.file.write_bytes(b"one\n")
    refused = DataflowError("the key pair may not read the log")

    def fails() -> None:
        source.storage.errors = [refused]

    source.storage.errors = [refused]
    with pytest.raises(DataflowError, match="may not read"):
        save_lines(source.lines(), tmp_path / "whole.log")
    source.steps = [fails]
    with pytest.raises(DataflowError, match="may not read"):
        save_lines(source.lines(follow=True), tmp_path / "followed.log", grows=True)

    names = [path.name for path in tmp_path.iterdir() if path.is_file()]
    assert names == ["followed.log"]
    assert (tmp_path / "followed.log").read_text() == "one\n"


def test_invalid_options_are_refused_before_anything_is_read():
    with pytest.raises(CellError, match="is not valid at character 2"):
        log_options(grep="a(")
    with pytest.raises(CellError, match="tail=-1 is not a number of lines; give 0 or more"):
        log_options(tail=-1)
    with pytest.raises(CellError, match="tail and all contradict each other; keep one"):
        log_options(tail=5, whole=True)


# A log that is cut, replaced or removed


def cut(file: Path, kept: int) -> None:
    """Cut a log as the local service does."""
    content = file.read_bytes()
    file.write_bytes(
        b"[%d bytes of older output were dropped here]\n" % (len(content) - kept) + content[-kept:]
    )


def test_a_log_that_the_local_service_cut_goes_on_where_it_was(source):
    source.file.write_bytes(b"".join(b"line %04d\n" % number for number in range(1000)))
    source.steps = [
        lambda: cut(source.file, 1000),
        source.append("one\nha"),
        lambda: cut(source.file, 500),
        source.append("lf\n"),
        source.end,
    ]

    lines = list(source.lines(follow=True))

    assert lines == [f"line {number:04}" for number in range(1000)] + ["one", "half"]
    assert source.notes == []


def test_a_log_that_was_cut_and_has_grown_over_its_old_length_goes_on_where_it_was(source):
    source.file.write_bytes(b"".join(b"line %04d\n" % number for number in range(1000)))

    def cut_and_grow() -> None:
        cut(source.file, 1000)
        source.append(b"more\n" * 3000)()

    source.steps = [cut_and_grow, source.end]

    lines = list(source.lines(follow=True))

    assert lines == [f"line {number:04}" for number in range(1000)] + ["more"] * 3000


def test_a_log_that_was_replaced_is_read_from_its_begin_with_a_note(source):
    source.file.write_bytes(b"old one\nold two\nunfinished")
    source.steps = [lambda: source.file.write_bytes(b"new one\n"), source.end]

    assert list(source.lines(follow=True)) == ["old one", "old two", "unfinished", "new one"]
    assert source.notes == ["the log was replaced; what follows is read from its begin"]


def test_a_log_that_goes_and_comes_back_is_followed(source):
    source.file.write_bytes(b"one\n")
    source.steps = [source.file.unlink, source.append("other\n"), source.end]

    assert list(source.lines(follow=True)) == ["one", "other"]
    assert source.notes == [
        f"the log is gone: no object {LOG!r} (FileNotFoundError)",
        f"the run has no log yet; looked at, with the objects found: s3a://{LOG} (0)",
    ]


# A storage that fails


def test_a_storage_that_does_not_answer_is_asked_again_while_the_run_lives(source):
    source.file.write_bytes(b"one\n")

    def fail() -> None:
        source.storage.errors = [Unreachable("no answer")] * 20
        source.append("two\n")()

    source.steps = [fail, *[lambda: None] * 1000]
    source.sleep = Ending(source, 1000)
    lines = list(source.lines(follow=True))

    assert lines == ["one", "two"]
    assert source.notes == ["the log cannot be read and is tried again: no answer"]


class Ending:
    """Sleeps that take no time; the run is over once the storage has no more errors."""

    def __init__(self, source: Source, most: int) -> None:
        self._source, self._left = source, most

    async def __call__(self, _: float) -> None:
        self._left -= 1
        assert self._left > 0
        if self._source.steps:
            self._source.steps.pop(0)()
        if not self._source.storage.errors and len(self._source.storage.parts) > 1:
            self._source.is_over = True


def test_a_storage_that_does_not_answer_after_the_end_is_an_error_after_five_looks(source):
    source.end()
    source.storage.errors = [Unreachable("no answer")] * 10
    source.steps = [lambda: None] * 1000

    with pytest.raises(Unreachable, match="no answer"):
        list(source.lines(follow=True))
    assert len(source.storage.errors) == 5


def test_keys_that_may_not_read_are_an_error_at_once(source):
    source.storage.errors = [DataflowError("the key pair may not read it")]

    with pytest.raises(DataflowError, match="the key pair may not read it"):
        list(source.lines(follow=True))


# What must not be shown or kept


def test_a_secret_across_the_border_of_two_parts_is_masked(source):
    source.file.write_bytes(b"x" * 100 + b"\n" + b"y" * (4_194_304 - 108) + b" hunter2hunter2 z\n")
    source.steps = [source.append("key hunter2"), source.append("hunter2\n"), source.end]

    lines = list(source.lines(follow=True, grep="z$|key|not shown"))

    assert lines[-1] == "key ••••••"
    assert "hunter2" not in "".join(lines)


def test_notes_of_lines_that_a_program_takes_are_logged(source, caplog):
    source.end()
    caplog.set_level(logging.INFO)

    assert list(LogLines(source, log_options(follow=True))) == []
    assert f"looked at, with the objects found: s3a://{LOG} (0)" in caplog.text


def test_an_interrupt_is_one_line_and_leaves_no_task(source):
    source.file.write_bytes(b"one\n")
    source.sleep = asyncio.sleep
    lines = source.lines(follow=True).batches()
    assert next(lines) == ["one"]
    timer = threading.Timer(0.3, os.kill, (os.getpid(), 2))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt, match=r"^stopped reading the log; run run continues$"):
            next(lines)
    finally:
        timer.join(PATIENCE)
