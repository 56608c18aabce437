"""A group of processes that start and end together, also when the service that started them dies. Knows no Spark.

Two kinds of process outlive their group: a stopped one, which `end_strays` finds by the lock it holds, and a child that
moved into a session of its own, which is found by a variable in its environment.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from asyncio.subprocess import STDOUT, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dataflow_magic.files import is_locked, try_lock

__all__ = ["ProcessGroup", "end_strays"]

_GRACE_SECONDS = 5.0  # from SIGTERM to SIGKILL
_CLOSE_SECONDS = 30.0  # for the JVM to finish the event log after a script that ended by itself
_FILE = "group"
_KILL_POLL_SECONDS = 0.02
_REAP_SECONDS = 10.0  # after SIGKILL; only a process stuck in the kernel takes longer
_MARK = "DATAFLOW_MAGIC_GROUP"  # in the environment of each member and, inherited, of what members start
_MOST_SWEEPS = 20  # a process that forks while the table is read is found by the next sweep


class ProcessGroup:
    """The JVM, the script, and the processes they start: one process group, led by the JVM.

    The script could not join a session of the JVM's own; a group takes both. The lifeline is a pipe that carries no
    data. The JVM has its read end as standard input and the script inherits it; both end when the write end closes,
    which the system does when this process dies.

    Parameters
    ----------
    folder
        Receives the file ``group``, which holds the group's id and is locked as long as a member lives.

    Raises
    ------
    OSError
        The file cannot be created, or a living group holds its lock.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = folder / _FILE
        lock = try_lock(self._file)
        if lock is None:
            raise BlockingIOError(f"processes that live hold {self._file}")
        self._lock = lock
        # Python makes both ends close on exec, so no other child of this process can hold the pipe open.
        self._held, self._kept = os.pipe()
        self._members: list[Process] = []

    @property
    def lifeline(self) -> int:
        """The descriptor of the pipe's read end."""
        return self._held

    async def launch(
        self, command: Sequence[str], environment: Mapping[str, str], *, stdin: int, folder: Path, log: Path
    ) -> Process:
        """Start a process, its output appended to `log` by the system; the first one leads the group."""
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=stdin,
                stdout=output,
                stderr=STDOUT,
                cwd=folder,
                env={**environment, _MARK: str(self._file.absolute())},
                pass_fds=(self._held, self._lock),
                process_group=self._members[0].pid if self._members else 0,
            )
        if not self._members:
            self._file.write_text(str(process.pid))
        self._members.append(process)
        return process

    async def terminate(self) -> None:
        """Ask both to end and wait up to five seconds, in which the JVM finishes the event log."""
        self._signal(signal.SIGTERM)
        await self._reap(_GRACE_SECONDS)

    async def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Let the JVM end after the script has ended."""
        self._release()
        await self._reap(seconds)

    async def end(self) -> None:
        """Kill every process that is left, in the group or outside it, and wait for its end."""
        self._signal(signal.SIGKILL)
        if self._members:
            await asyncio.to_thread(_kill_marked, self._file)
        self._release()
        os.close(self._held)
        os.close(self._lock)
        await self._reap(_REAP_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        if self._members:
            # The group is gone; macOS raises EPERM for a group of zombies.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._members[0].pid, number)

    def _release(self) -> None:
        if self._kept >= 0:
            os.close(self._kept)
            self._kept = -1

    async def _reap(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for process in self._members:
                    await process.wait()


def end_strays(folders: Path) -> int:
    """Kill what is left of the groups of an earlier service, and return how many groups had a living process.

    Parameters
    ----------
    folders
        Holds a folder per group. A group's id is certain: the system gives it to no other process while a member
        lives, and the lock shows that one does.
    """
    ended = 0
    for file in folders.glob(f"*/{_FILE}"):
        deadline = time.monotonic() + _REAP_SECONDS
        lives = is_locked(file)
        while is_locked(file) and time.monotonic() < deadline:
            with suppress(ValueError, ProcessLookupError, PermissionError):
                os.killpg(int(file.read_text()), signal.SIGKILL)
            time.sleep(_KILL_POLL_SECONDS)
        ended += bool(_kill_marked(file)) or lives
    return ended


def _kill_marked(file: Path) -> int:
    """Kill the processes whose environment names this group, and return how many there were.

    Only Linux shows environments (``/proc``); elsewhere a child in a session of its own outlives its run.
    """
    mark = f"{_MARK}={file.absolute()}".encode()
    killed = 0
    for _ in range(_MOST_SWEEPS):
        found = sum(_kill_if_marked(int(process.name), mark) for process in Path("/proc").glob("[0-9]*"))
        killed += found
        if not found:
            break
        time.sleep(_KILL_POLL_SECONDS)
    return killed


def _kill_if_marked(pid: int, mark: bytes) -> bool:
    """Kill a process if its environment has the mark; the descriptor keeps its id from meaning another one."""
    with suppress(OSError):  # it has ended, or belongs to another user
        descriptor = os.pidfd_open(pid)
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                return True
        finally:
            os.close(descriptor)
    return False
