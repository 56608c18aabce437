"""Which run gets a JVM again, and when JVMs end. Fake JVMs, real but short times."""

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from dataflow_magic.local.spark.jvm import JvmGateway, empty_work_folder, make_work_folder, take_log_back
from dataflow_magic.local.spark.jvm_state import JvmState, thread_names, unusual
from dataflow_magic.local.spark.used_jvms import UsedJvm, UsedJvms

pytestmark = pytest.mark.anyio

SECONDS = 20.0
STATE = JvmState("", "Asia/Seoul", "ko", ())


class Process:
    """The attributes of a process that are read."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None


@dataclass
class Place:
    """A folder of fake JVMs, and what became of them."""

    folder: Path
    reasons: dict[int, str] = field(default_factory=dict)
    used_bytes: int = 50
    discarded: list[int] = field(default_factory=list)
    states: list[JvmState] = field(default_factory=list)

    def used(self, pid: int, key: str = "daily", runs: int = 1) -> UsedJvm:
        folder = self.folder / str(pid)
        make_work_folder(folder)
        gateway = JvmGateway(cast(Any, None), cast(Any, Process(pid)), folder, folder / "jvm.log", {})
        return UsedJvm(key, gateway, STATE, runs)

    def restore(self, gateway: JvmGateway, state: JvmState) -> tuple[str, int]:
        self.states.append(state)
        if (reason := self.reasons.get(gateway.process.pid, "")) == "raises":
            raise ConnectionError
        return reason, self.used_bytes

    async def discard(self, gateway: JvmGateway) -> None:
        self.discarded.append(gateway.process.pid)

    @asynccontextmanager
    async def jvms(self, *, most: int = 2, keep_seconds: float = 600.0, most_runs: int = 25):
        async with UsedJvms(
            self.discard, most=most, restore=self.restore, keep_seconds=keep_seconds, most_runs=most_runs
        ) as jvms:
            yield jvms


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


async def until(holds) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def refusals(caplog) -> list[str]:
    return [record.__dict__["about"]["reason"] for record in caplog.records]


async def test_a_run_of_the_same_key_gets_the_jvm_restored_and_its_folder_empty(place):
    async with place.jvms() as jvms:
        used = place.used(7)
        (used.gateway.folder / "cwd" / "left.txt").write_text("left")
        jvms.put(used)

        assert await jvms.take("other") is None
        again = await jvms.take("daily")

        assert again is not None
        assert (again.gateway, again.runs, again.state.used_bytes) == (used.gateway, 2, 50)
        assert list((used.gateway.folder / "cwd").iterdir()) == []
        assert await jvms.take("daily") is None
    assert place.discarded == []  # its run owns it


async def test_the_heap_after_the_first_run_is_what_later_ones_are_compared_with(place):
    async with place.jvms() as jvms:
        jvms.put(place.used(7))
        again = await jvms.take("daily")
        place.used_bytes = 90
        jvms.put(again)
        third = await jvms.take("daily")

    assert (third.runs, third.state.used_bytes) == (3, 50)


@pytest.mark.parametrize(
    ("reason", "logged"),
    [
        ("threads are left: mine", "threads are left: mine"),
        ("raises", "its state could not be restored (ConnectionError)"),
    ],
)
async def test_a_jvm_that_cannot_be_restored_ends_and_the_next_is_taken(place, caplog, reason, logged):
    caplog.set_level(logging.INFO, "dataflow_magic.local")
    place.reasons[7] = reason
    async with place.jvms() as jvms:
        jvms.put(place.used(7))
        jvms.put(place.used(8))

        again = await jvms.take("daily")

        assert again is not None
        assert again.gateway.process.pid == 8
        assert place.discarded == [7]
    assert refusals(caplog) == [logged]


async def test_a_jvm_ends_after_its_last_run(place, caplog):
    caplog.set_level(logging.INFO, "dataflow_magic.local")
    async with place.jvms(most_runs=3) as jvms:
        jvms.put(place.used(7, runs=3))

        assert await jvms.take("daily") is None
        assert place.discarded == [7]
    assert refusals(caplog) == ["it has served 3 runs"]
    assert place.states == []


async def test_a_jvm_that_no_run_takes_in_time_ends(place):
    async with place.jvms(keep_seconds=0.02) as jvms:
        jvms.put(place.used(7))
        await until(lambda: place.discarded == [7])

        assert await jvms.take("daily") is None


async def test_the_oldest_ends_where_more_wait_than_may(place):
    async with place.jvms(most=2) as jvms:
        for pid in (7, 8, 9):
            jvms.put(place.used(pid))
        await until(lambda: place.discarded == [7])
        jvms.make_room(1)
        await until(lambda: place.discarded == [7, 8])

        again = await jvms.take("daily")
        assert again is not None
        assert again.gateway.process.pid == 9
    assert place.discarded == [7, 8]


async def test_all_end_with_the_service_also_those_a_canceled_run_waited_for(place):
    async with place.jvms() as jvms:
        jvms.put(place.used(7))
        jvms.put(place.used(8))
        taking = asyncio.ensure_future(jvms.take("daily"))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)

    assert sorted(place.discarded) == [7, 8]


def test_a_folder_is_emptied_of_what_a_script_left_and_keeps_what_the_jvm_needs(tmp_path):
    folder = tmp_path / "jvm"
    make_work_folder(folder)
    (tmp_path / "object.txt").write_text("kept")
    for name in ("group", "connection", "archive.log", "jvm.log", "code", "last_words", "cwd/a.txt"):
        (folder / name).write_text("x")
    (folder / "cwd" / "lake").symlink_to(tmp_path)
    (folder / "scratch" / "spark-1" / "deep").mkdir(parents=True)
    (folder / "warehouse" / "t").mkdir(parents=True)
    inode = (folder / "cwd").stat().st_ino

    empty_work_folder(folder)

    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        "archive.log",
        "connection",
        "cwd",
        "group",
        "jvm.log",
        "scratch",
        "script",
    ]
    assert (folder / "cwd").stat().st_ino == inode  # the JVM stands in it
    assert (tmp_path / "object.txt").read_text() == "kept"


def test_a_jvm_takes_its_log_back_and_the_run_keeps_a_copy(tmp_path, place):
    gateway = place.used(7).gateway
    log = tmp_path / "logs" / "jvm.log"
    log.parent.mkdir()
    with log.open("a") as output:
        output.write("of the run\n")
        output.flush()

        own = take_log_back(gateway, log).log

        output.write("after it\n")
    assert own == gateway.folder / "jvm.log"
    assert own.read_text() == "of the run\nafter it\n"
    assert log.read_text() == "of the run\n"
    assert [path.name for path in log.parent.iterdir()] == ["jvm.log"]


@pytest.mark.parametrize(
    "text",
    [
        "[Thread[Reference Handler,10,system], Thread[my, own [pool],5,main], Thread[Thread-3,5,]]",
        "[Thread[#9,Reference Handler,10,system], Thread[#31,my, own [pool],5,main], Thread[#40,Thread-3,5,main]]",
    ],
    ids=["Java 17", "Java 25"],
)
def test_threads_of_a_script_are_told_from_javas_and_sparks(text):
    assert thread_names(text) == ["Reference Handler", "my, own [pool]", "Thread-3"]
    assert unusual(thread_names(text)) == ["my, own [pool]"]


def test_threads_that_end_by_themselves_are_no_scripts():
    assert unusual(
        [
            "rpc-server-14-2",
            "shuffle-boss-18-1",
            "files-client-3-1",
            "dataflow-classes",
            "InnocuousThread-2",
            "rpc-server",
            "my-rpc-server-1-1",
        ]
    ) == [
        "my-rpc-server-1-1",
        "rpc-server",
    ]
