"""Groups of real processes, also of a service that was killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dataflow_magic.files import is_locked
from dataflow_magic.local.spark.process_group import ProcessGroup, end_strays

pytestmark = pytest.mark.anyio

OWNER = """
import asyncio, os, sys
from asyncio.subprocess import DEVNULL
from pathlib import Path
from dataflow_magic.local.spark.process_group import ProcessGroup

async def main():
    folder = Path(sys.argv[1])
    group = ProcessGroup(folder)
    # Unlike a real member, sleep does not watch the lifeline.
    await group.launch(["sleep", "600"], os.environ, stdin=DEVNULL, folder=folder, log=folder / "log")
    print("up", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def leave_processes(folder: Path) -> None:
    """Leave a live group in a folder, and kill the service that started it."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, folder], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        assert owner.stdout.readline() == "up\n"
    owner.kill()
    owner.wait()
    assert is_locked(folder / "group")


async def sleeping(group: ProcessGroup, folder: Path):
    return await group.launch(
        ["sleep", "600"], os.environ, stdin=asyncio.subprocess.DEVNULL, folder=folder, log=folder / "log"
    )


async def test_members_share_one_group_and_end_with_it(tmp_path):
    group = ProcessGroup(tmp_path / "run")
    first = await sleeping(group, tmp_path / "run")
    second = await sleeping(group, tmp_path / "run")
    assert os.getpgid(first.pid) == os.getpgid(second.pid) == first.pid

    await group.end()

    assert first.returncode == second.returncode == -signal.SIGKILL
    assert not is_locked(tmp_path / "run" / "group")


async def test_a_group_may_be_ended_again(tmp_path):
    group = ProcessGroup(tmp_path)
    await sleeping(group, tmp_path)
    ending = asyncio.ensure_future(group.end())
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    reused = os.open(tmp_path / "another", os.O_CREAT | os.O_RDWR)  # likely under a number that the group had

    await group.end()

    os.close(reused)  # raises if the group closed it
    assert not is_locked(tmp_path / "group")


async def test_a_folder_has_one_live_group_at_a_time(tmp_path):
    group = ProcessGroup(tmp_path)
    with pytest.raises(BlockingIOError, match=r"a live process group holds .*/group"):
        ProcessGroup(tmp_path)

    await group.end()

    await ProcessGroup(tmp_path).end()


def test_processes_of_a_killed_service_are_found_and_ended(tmp_path):
    folder = tmp_path / "runs" / "r1"
    leave_processes(folder)
    stray = int((folder / "group").read_text())

    assert end_strays(tmp_path / "runs") == 1

    assert not is_locked(folder / "group")
    deadline = time.monotonic() + 10
    while Path(f"/proc/{stray}").exists() and "Z" not in Path(f"/proc/{stray}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_processes_of_a_service_that_was_killed_before_it_wrote_their_id_are_ended(tmp_path):
    leave_processes(tmp_path / "r1")
    (tmp_path / "r1" / "group").write_text("")

    began = time.monotonic()
    assert end_strays(tmp_path) == 1

    assert not is_locked(tmp_path / "r1" / "group")
    assert time.monotonic() - began < 8  # by their mark; without it, given up after 10 s


def test_no_process_is_killed_for_the_id_of_a_group_that_is_gone(tmp_path):
    folder = tmp_path / "r1"
    folder.mkdir()
    (folder / "group").write_text(str(os.getpgrp()))

    assert end_strays(tmp_path) == 0
    assert end_strays(tmp_path / "nothing here") == 0


# Three ways to leave the group; all close the inherited descriptors.
LEAVERS = {
    "a session of its own": "import subprocess; subprocess.Popen(['sleep', '601'], start_new_session=True)",
    "a daemon": "import os\nif not os.fork():\n    os.setsid()\n    os.fork() or os.execvp('sleep', ['sleep', '601'])",
    "a group of its own": "import subprocess; subprocess.Popen(['sleep', '601'], process_group=0)",
}


@pytest.mark.parametrize("program", LEAVERS.values(), ids=LEAVERS)
async def test_a_child_that_left_the_group_ends_with_it(tmp_path, program):
    group = ProcessGroup(tmp_path)
    await sleeping(group, tmp_path)
    script = await group.launch(
        [sys.executable, "-c", program],
        os.environ,
        stdin=asyncio.subprocess.DEVNULL,
        folder=tmp_path,
        log=tmp_path / "log",
    )
    await script.wait()
    left = sleepers(tmp_path / "group")
    assert len(left) >= 2

    await group.end()

    assert sleepers(tmp_path / "group") == set()


def test_a_child_that_left_the_group_of_a_killed_service_is_ended(tmp_path):
    folder = tmp_path / "runs" / "r1"
    folder.mkdir(parents=True)
    (folder / "group").touch()
    mark = {"DATAFLOW_MAGIC_GROUP": str(folder / "group")}
    child = subprocess.Popen(["sleep", "601"], env={**os.environ, **mark}, start_new_session=True)
    other = subprocess.Popen(["sleep", "601"], env={**os.environ, "DATAFLOW_MAGIC_GROUP": "another"})
    try:
        assert end_strays(tmp_path / "runs") == 1

        assert child.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        child.kill()


def sleepers(file: Path) -> set[int]:
    """Return the processes with the mark of a group."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"DATAFLOW_MAGIC_GROUP={file}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
    return found


async def test_a_leader_is_alone_until_another_process_joins_also_one_in_a_new_session(tmp_path):
    group = ProcessGroup(tmp_path / "run")
    await sleeping(group, tmp_path / "run")
    try:
        assert not group.has_others()
        child = await group.launch(
            ["setsid", "sleep", "600"],
            os.environ,
            stdin=asyncio.subprocess.DEVNULL,
            folder=tmp_path / "run",
            log=tmp_path / "run" / "log",
        )
        assert group.has_others()
        child.kill()
        await child.wait()
        async with asyncio.timeout(20):
            while group.has_others():  # noqa: ASYNC110 - its own child may end a little later
                await asyncio.sleep(0.02)
    finally:
        await group.end()
