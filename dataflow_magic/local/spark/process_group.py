"""A group of processes that begin, are stopped and end together, also when whoever started them dies. Knows no Spark.

What outlives even that, a stopped script say, is found by the lock its group holds, and ended by `end_strays`.
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
_LOOK_SECONDS = 0.02
_REAP_SECONDS = 10.0  # after SIGKILL; only a process stuck in the kernel takes longer


class ProcessGroup:
    """The JVM and the script, and whatever they start: one group, led by the JVM.

    A session of its own would do for the JVM but the script could not join it; a group takes both.
    The lifeline is a pipe nobody writes to. The JVM has its read end as standard input and the script inherits it;
    both end when the write end closes, which happens by itself when this process dies of anything.

    Parameters
    ----------
    folder
        Gets the file ``group``: locked as long as a member lives, it holds the group's id.

    Raises
    ------
    OSError
        The file cannot be made, or a group that lives holds it.
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
        """The descriptor both hold."""
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
                env=environment,
                pass_fds=(self._held, self._lock),
                process_group=self._members[0].pid if self._members else 0,
            )
        if not self._members:
            self._file.write_text(str(process.pid))
        self._members.append(process)
        return process

    async def terminate(self) -> None:
        """Ask both to end, and give them five seconds: the JVM finishes the event log."""
        self._signal(signal.SIGTERM)
        await self._reap(_GRACE_SECONDS)

    async def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Let the JVM end, now that the script has."""
        self._release()
        await self._reap(seconds)

    async def end(self) -> None:
        """Kill what is left and wait until it is gone; harmless when nothing is."""
        self._signal(signal.SIGKILL)
        self._release()
        os.close(self._held)
        os.close(self._lock)
        await self._reap(_REAP_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        if self._members:
            # Gone already; macOS says EPERM of a group that is all zombies.
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
    """Kill the groups of an earlier process that still live, and return how many there were.

    Parameters
    ----------
    folders
        Holds a folder per group. Each group's id is sure: no process can be given it while a member lives, and the
        lock tells that one does.
    """
    ended = 0
    for file in folders.glob(f"*/{_FILE}"):
        deadline = time.monotonic() + _REAP_SECONDS
        ended += is_locked(file)
        while is_locked(file) and time.monotonic() < deadline:
            with suppress(ValueError, ProcessLookupError, PermissionError):
                os.killpg(int(file.read_text()), signal.SIGKILL)
            time.sleep(_LOOK_SECONDS)
    return ended
