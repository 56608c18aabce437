"""Logs in a real S3-compatible server: found, followed, and what happens with wrong keys, slow and cut connections."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import tracemalloc
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from dataflow_magic.client.objects import CloudObjects, NoObject, RangedObjects
from dataflow_magic.errors import DataflowError, Unreachable
from dataflow_magic.models.secret import Secret, masked_text
from dataflow_magic.session.logs.follow import LogLines, log_options
from dataflow_magic.session.logs.search import Place, Search, find_log
from dataflow_magic.session.loop import LoopThread
from tests.object_storage import SECRET, WEED, ObjectStorage, object_storage, spoiled

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(WEED is None, reason="no SeaweedFS for this machine"),
]

T = TypeVar("T")
RUN = "run000000001"
PLACE = Place(RUN, "", "logs/history/")
PATH = f"logs/history/{RUN}/driver/stdout"
numbers = itertools.count()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    with object_storage(tmp_path_factory.mktemp("storage")) as storage:
        yield storage


class Source:
    """A run whose log is in object storage, at a place that the service does not name."""

    def __init__(self, loop: LoopThread, objects: CloudObjects, place: Place = PLACE) -> None:
        self._loop = loop
        self._objects = objects
        self._place = place
        self.is_over = False
        self.notes: list[str] = []

    def submit(self, coroutine: Coroutine[Any, Any, T], /) -> concurrent.futures.Future[T]:
        return self._loop.submit(coroutine)

    async def objects(self) -> RangedObjects:
        return self._objects

    async def find(self) -> Search:
        return await find_log(self._objects, self._place)

    def mask(self, text: str) -> str:
        return masked_text(text, {"$token": Secret.of(SECRET)})

    def way_back(self) -> str:
        return "run run continues"

    def lines(self, **options: Any) -> LogLines:
        async def sleep(_: float) -> None:
            await asyncio.sleep(0.01)

        return LogLines(self, log_options(**options), self.notes.append, sleep)


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    loop = LoopThread()
    yield loop
    loop.stop()


# Objects


async def test_sizes_parts_and_names_of_objects_are_read(storage):
    objects = storage.objects()
    await objects.put("logs/names/a/1", b"0123456789")
    await objects.put("logs/names/b", b"")

    assert await objects.size("logs/names/a/1") == 10
    assert await objects.size("logs/names/b") == 0
    assert await objects.part("logs/names/a/1", 3, 6) == b"345"
    assert await objects.part("logs/names/a/1", 8, 99) == b"89"
    assert await objects.names("logs/names", 10) == ["logs/names/a/1", "logs/names/b"]
    assert await objects.names("logs/names/", 1) == ["logs/names/a/1"]
    assert await objects.names("logs/names", 10, after="logs/names/a/1") == ["logs/names/b"]
    assert await objects.names("logs/none", 10) == []
    with pytest.raises(NoObject):
        await objects.size("logs/names/none")


async def test_wrong_keys_and_a_missing_bucket_are_errors_that_name_them(storage):
    wrong, right = storage.objects("wrong" + SECRET), storage.objects()

    for reading in wrong.size(PATH), wrong.part(PATH, 0, 1), wrong.names("logs", 1):
        with pytest.raises(
            DataflowError, match=r"^the key pair may not read s3a://logs.* in http://.* \(403\)"
        ) as refused:
            await reading
        assert not isinstance(refused.value, Unreachable)
        assert SECRET not in str(refused.value)
    with pytest.raises(DataflowError, match=r"^there is no bucket 'none' in http://127\.0\.0\.1:\d+$"):
        await right.names("none", 1)


async def test_a_server_that_is_gone_is_unreachable(storage):
    objects = storage.objects(endpoint="http://127.0.0.1:1")

    for reading in objects.size(PATH), objects.part(PATH, 0, 1), objects.names("logs", 1):
        with pytest.raises(Unreachable, match=r"in http://127.* cannot be read"):
            await reading


async def test_what_came_of_a_slow_part_before_the_limit_is_returned(storage):
    await storage.objects().put("logs/slow", b"x" * 4_000_000)

    with spoiled(storage.endpoint, bytes_a_second=1_000_000) as endpoint:
        part = await storage.objects(endpoint=endpoint, seconds=1).part("logs/slow", 0, 4_000_000)

    assert 200_000 < len(part) < 2_000_000


# Logs


def test_a_log_is_found_and_followed_while_its_object_is_replaced_by_longer_ones(storage, loop):
    source = Source(loop, storage.objects())
    storage.put("logs/history/run000000002/driver/stdout", b"of another run\n")
    lines = source.lines(follow=True).batches()

    storage.put(PATH, b"one\nha")
    assert next(lines) == ["one"]
    storage.put(PATH, b"one\nhalf\n" + f"key {SECRET}\n".encode())
    assert next(lines) == ["half", "key ••••••"]
    storage.put(PATH, b"one\nhalf\n" + f"key {SECRET}\nend".encode())
    source.is_over = True
    assert list(lines) == [["end"]]
    assert set(source.notes) <= {
        f"the run has no log yet; looked at, with the objects found: s3a://logs/history/{RUN}/ (0), s3a://logs/history/ (1)"
    }


@pytest.mark.parametrize(
    ("place", "secret", "said"),
    [
        (PLACE, "wrong", r"the key pair may not read s3a://logs/history/run000000001 in http"),
        (Place(RUN, "none/x"), SECRET, "there is no bucket 'none' in http"),
    ],
    ids=["wrong keys", "no bucket"],
)
def test_keys_and_buckets_that_are_wrong_end_a_follow_with_their_name(storage, loop, place, secret, said):
    source = Source(loop, storage.objects(secret), place)

    with pytest.raises(DataflowError, match=f"^{said}"):
        list(source.lines(follow=True))


@pytest.mark.parametrize(
    "spoil", [{"cut_after": 300_000}, {"bytes_a_second": 4_000_000}], ids=["cut", "slow"]
)
def test_a_log_is_read_whole_over_connections_that_are_cut_or_slow(storage, loop, spoil):
    content = b"".join(b"line %07d\n" % number for number in range(200_000))
    storage.put(f"logs/history/{RUN}/driver/stdout", content)

    with spoiled(storage.endpoint, **spoil) as endpoint:
        source = Source(loop, storage.objects(endpoint=endpoint, seconds=0.3))
        source.is_over = True
        lines = list(source.lines(follow=True))

    assert lines == [f"line {number:07}" for number in range(200_000)]


def test_a_long_log_is_searched_in_bounded_memory(storage, loop):
    block = b"2026-11-27 05:14:16 INFO nothing of interest happened in this line of the log\n" * 13_107
    storage.put(f"logs/history/{RUN}/driver/stdout", (block + b"ERROR found\n") * 64)
    source = Source(loop, storage.objects())
    tracemalloc.start()
    try:
        lines = list(source.lines(grep="^ERROR"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert lines == ["ERROR found"] * 64
    assert peak < 48 << 20  # of 64 MiB
