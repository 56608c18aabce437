"""A group of processes that start and end together, even when the service that started them dies. Knows no Spark.

Two kinds of process can outlive the service. `end_strays` finds a stopped process by the lock it holds, and a child in a
new session by a variable in its environment.
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
_CLOSE_SECONDS = 30.0  # for the JVM to finish the event log once the script has ended
_FILE = "group"
_KILL_POLL_SECONDS = 0.02
_REAP_SECONDS = 10.0  # after SIGKILL; only a process stuck in the kernel takes longer
_MARK = "DATAFLOW_MAGIC_GROUP"  # in the environment of each member, and of the processes that members start
_MOST_SWEEPS = 20  # the next sweep finds a process that forked during the last one


class ProcessGroup:
    """The JVM, the script, and the processes they start: one process group, led by the JVM.

    A group, not a session: the script could not join the JVM's session. The lifeline is a pipe that carries no data. Its
    read end is the JVM's standard input, and the script inherits it. Both end when the write end closes; the system
    closes it when this process dies.

    Parameters
    ----------
    folder
        Receives the file ``group``, which holds the group's id and stays locked while a member lives.

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
            raise BlockingIOError(f"a live process group holds {self._file}")
        self._lock = lock
        # Python makes both ends close on exec, so no other child of this process can hold the pipe open.
        self._held, self._kept = os.pipe()
        self._members: list[Process] = []
        self._is_ended = False

    @property
    def lifeline(self) -> int:
        """The descriptor of the pipe's read end."""
        return self._held

    async def launch(
        self, command: Sequence[str], environment: Mapping[str, str], *, stdin: int, folder: Path, log: Path
    ) -> Process:
        """Start a process whose output the system appends to `log`; the first process leads the group."""
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

    def has_others(self) -> bool:
        """Whether the leader is not alone: another process lives, in the group or outside it, or the system shows none. Blocks."""
        mark = _mark_of(self._file)
        leader = str(self._members[0].pid)
        found = [process.name for process in Path("/proc").glob("[0-9]*") if _is_marked(process, mark)]
        return found != [leader]

    async def terminate(self) -> None:
        """Send SIGTERM and wait up to five seconds, in which the JVM finishes the event log."""
        self._signal(signal.SIGTERM)
        await self._reap(_GRACE_SECONDS)

    async def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Close the lifeline, so that the JVM ends after the script, and wait for both."""
        self._release()
        await self._reap(seconds)

    async def end(self) -> None:
        """Kill the processes that are left, in the group or outside it, and wait for their end."""
        self._signal(signal.SIGKILL)
        self._release()
        if not self._is_ended:  # a second call follows when the first one is cancelled
            self._is_ended = True
            os.close(self._held)
            os.close(self._lock)
        if self._members:
            await asyncio.to_thread(_kill_marked, self._file)
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
    """Kill the processes that groups of an earlier service left, and return how many groups had one. Blocks.

    Parameters
    ----------
    folders
        Holds a folder per group. The id in its file is certainly the group's: the system gives it to no other process
        while a member lives, and the lock shows that one does.
    """
    groups = 0
    for file in folders.glob(f"*/{_FILE}"):
        deadline = time.monotonic() + _REAP_SECONDS
        had_member = is_locked(file)
        while is_locked(file) and time.monotonic() < deadline:
            # No id: the service was killed before it wrote one. Then only the mark finds the members.
            with suppress(ValueError, ProcessLookupError, PermissionError):
                os.killpg(int(file.read_text()), signal.SIGKILL)
            _kill_marked(file)
            time.sleep(_KILL_POLL_SECONDS)
        groups += _kill_marked(file) or had_member
    return groups


def _kill_marked(file: Path) -> bool:
    """Kill the processes whose environment names this group, and return whether there were any.

    Only Linux shows environments (``/proc``); elsewhere a child in a new session outlives its run.
    """
    mark = _mark_of(file)
    for sweep in range(_MOST_SWEEPS):
        if not sum(_kill_if_marked(process, mark) for process in Path("/proc").glob("[0-9]*")):
            return sweep > 0
        time.sleep(_KILL_POLL_SECONDS)
    return True


def _mark_of(file: Path) -> bytes:
    return f"{_MARK}={file.absolute()}".encode()


def _is_marked(process: Path, mark: bytes) -> bool:
    with suppress(OSError):  # it has ended, or belongs to another user
        return mark in (process / "environ").read_bytes().split(b"\0")
    return False


def _kill_if_marked(process: Path, mark: bytes) -> bool:
    with suppress(OSError):
        if _is_marked(process, mark):
            os.kill(int(process.name), signal.SIGKILL)
            return True
    return False
