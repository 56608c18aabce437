"""A group of processes that begin, are stopped and end together, also when whoever started them dies. Knows no Spark."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import STDOUT, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["ProcessGroup"]

_GRACE_SECONDS = 5.0  # from SIGTERM to SIGKILL
_CLOSE_SECONDS = 30.0  # for the JVM to finish the event log after a script that ended by itself
_REAP_SECONDS = 10.0  # after SIGKILL; only a process stuck in the kernel takes longer


class ProcessGroup:
    """The JVM and the script, and whatever they start: one group, led by the JVM.

    A session of its own would do for the JVM but the script could not join it; a group takes both.
    The lifeline is a pipe nobody writes to. The JVM has its read end as standard input and the script inherits it;
    both end when the write end closes, which happens by itself when this process dies of anything.
    """

    def __init__(self) -> None:
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
                pass_fds=(self._held,),
                process_group=self._members[0].pid if self._members else 0,
            )
        self._members.append(process)
        return process

    async def terminate(self) -> None:
        """Ask both to end, and give them five seconds: the JVM finishes the event log."""
        self._signal(signal.SIGTERM)
        await self._reap(_GRACE_SECONDS)

    async def close(self) -> None:
        """Let the JVM end, now that the script has."""
        self._release()
        await self._reap(_CLOSE_SECONDS)

    async def end(self) -> None:
        """Kill what is left and wait until it is gone; harmless when nothing is."""
        self._signal(signal.SIGKILL)
        self._release()
        os.close(self._held)
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
