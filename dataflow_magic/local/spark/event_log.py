"""Reads the event logs of runs while Spark writes them, a bounded piece at a time. For any thread."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dataflow_magic.local.spark.progress import Application, Progress

__all__ = ["EventLogTail", "Tails"]

MOST_BYTES = 8 << 20
"""Read in one look: some 0.1 s."""
LONGEST_LINE = 4 << 20
"""A longer one is passed over; Spark writes plans and lists of stages in one line."""
MOST_RUNS = 256


class EventLogTail:
    """The event logs of one run: of each Spark application it makes, one.

    Parameters
    ----------
    folder
        See `event_log_key`; it need not exist yet.
    most_bytes, longest_line
        Bounds of one look, and of what is kept between two.
    """

    def __init__(
        self, folder: Path, *, most_bytes: int = MOST_BYTES, longest_line: int = LONGEST_LINE
    ) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._longest_line = longest_line
        self._logs: dict[str, _Log] = {}
        self._last = Progress()

    def look(self, *, is_final: bool = False) -> Progress:
        """Read on, and return how far the run is by what was read so far.

        Parameters
        ----------
        is_final
            The run's processes have ended. Once all they wrote is read the progress is over, with no stage running.
        """
        if self._last.is_over:
            return self._last
        left = self._most_bytes
        for folder in sorted(self._folder.glob("eventlog_v2_*")):
            log = self._logs.setdefault(folder.name, _Log(self._longest_line))
            with suppress(OSError):  # somebody removes objects
                left -= log.read(folder, left)
        progress = sum((log.application.progress() for log in self._logs.values()), Progress())
        if is_final and left:
            progress = replace(progress, running=(), is_over=True)
            self._logs.clear()
        self._last = progress
        return progress


class Tails:
    """The tails of many runs; the ones not asked for longest are given up, and would be read from their start.

    One look goes on at a time: reading is work for one core, whoever asks.
    """

    def __init__(self, most: int = MOST_RUNS) -> None:
        self._most = most
        self._tails: OrderedDict[str, EventLogTail] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, run_id: str, folder: Path, *, is_final: bool) -> Progress:
        """Return how far a run is, whose event logs are in the folder; see `EventLogTail.look`."""
        with self._lock:
            tail = self._tails.setdefault(run_id, EventLogTail(folder))
            self._tails.move_to_end(run_id)
            if len(self._tails) > self._most:
                self._tails.popitem(last=False)
            return tail.look(is_final=is_final)


class _Log:
    """The log of one application: files that follow one another by number, of which the last grows."""

    def __init__(self, longest_line: int) -> None:
        self.application = Application()
        self._longest_line = longest_line
        self._number = 0
        self._offset = 0
        self._rest = b""
        self._is_skipping = False

    def read(self, folder: Path, most: int) -> int:
        """Fold at most that many bytes more; return how many it were."""
        read = 0
        # Listed before they are read: Spark closes a file before it makes the next.
        for number, file in sorted(_files(folder)):
            if self.application.is_ended or read == most:
                break
            if number < self._number:
                continue
            if number > self._number:
                self._number, self._offset, self._rest, self._is_skipping = number, 0, b"", False
            with file.open("rb") as log:
                log.seek(self._offset)
                data = log.read(most - read)
            self._offset += len(data)
            read += len(data)
            self._fold(data)
        return read

    def _fold(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines and self._is_skipping:
            del lines[0]
            self._is_skipping = False
        for line in lines:
            if len(line) <= self._longest_line:
                self.application.fold(line)
        if len(self._rest) > self._longest_line:
            self._rest, self._is_skipping = b"", True


def _files(folder: Path) -> Iterator[tuple[int, Path]]:
    for file in folder.iterdir():
        if match := re.fullmatch(r"events_([0-9]{1,9})_.*", file.name):
            yield int(match[1]), file
