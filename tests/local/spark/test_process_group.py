"""Groups of real processes, and those of an owner that was killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
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
    # Unlike the real ones it does not look at the lifeline.
    await group.launch(["sleep", "600"], os.environ, stdin=DEVNULL, folder=folder, log=folder / "log")
    print("up", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def leave_processes(folder: Path) -> None:
    """Leave a group that lives in a folder, and no owner of it."""
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


async def test_all_members_are_of_one_group_and_end_with_it(tmp_path):
    group = ProcessGroup(tmp_path / "run")
    first = await sleeping(group, tmp_path / "run")
    second = await sleeping(group, tmp_path / "run")
    assert os.getpgid(first.pid) == os.getpgid(second.pid) == first.pid

    await group.end()

    assert first.returncode == second.returncode == -signal.SIGKILL
    assert not is_locked(tmp_path / "run" / "group")


async def test_a_folder_whose_group_lives_takes_no_other(tmp_path):
    group = ProcessGroup(tmp_path)
    with pytest.raises(BlockingIOError, match=r"processes that live hold .*/group"):
        ProcessGroup(tmp_path)

    await group.end()

    await ProcessGroup(tmp_path).end()


def test_processes_whose_owner_was_killed_are_found_and_ended(tmp_path):
    folder = tmp_path / "runs" / "r1"
    leave_processes(folder)
    stray = int((folder / "group").read_text())

    assert end_strays(tmp_path / "runs") == 1

    assert not is_locked(folder / "group")
    deadline = time.monotonic() + 10
    while Path(f"/proc/{stray}").exists() and "Z" not in Path(f"/proc/{stray}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_id_of_a_group_that_is_gone_is_nobodys_end(tmp_path):
    folder = tmp_path / "r1"
    folder.mkdir()
    (folder / "group").write_text(str(os.getpgrp()))

    assert end_strays(tmp_path) == 0
    assert end_strays(tmp_path / "nothing here") == 0
